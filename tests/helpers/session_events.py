"""Events as sessions write them, for whoever reads journals."""

import datetime
import json
from pathlib import Path
from typing import Any

BEGAN = datetime.datetime(2026, 1, 2, 3, 0, 0, tzinfo=datetime.UTC)
NOW = BEGAN.timestamp()


def at(second: float, event: str, **facts: Any) -> dict[str, Any]:
    stamp = BEGAN + datetime.timedelta(seconds=second)
    return {"time": stamp.isoformat(timespec="milliseconds"), "event": event, **facts}


def run(second: float, end: bool, number: int = 0, **facts: Any) -> dict[str, Any]:
    about = {
        "number": number,
        "description": "baseline" if not number else f"edit {number}",
        "role": "search",
        "replicate": 0,
        "seed": 1,
    }
    about |= facts
    if not end:
        budget = {"seconds": 60.0, "steps": None, "timeout_seconds": 300.0}
        return at(second, "run_started", **about, budget=budget)
    kept = {"key": "k", "outcome": "ok", "reason": "", "value": 0.5, "wall_seconds": 60.0}
    return at(second, "run_finished", **{**kept, **about})


def verdict(second: float, number: int, word: str = "DISCARD", **facts: Any) -> dict[str, Any]:
    said = {
        "round": number,
        "rounds": 4,
        "number": number,
        "description": f"edit {number}",
        "category": "other",
        "verdict": word,
        "reason": "as it is",
        "mean": None if word in ("CRASH", "TAMPERED") else 0.5,
        "n": 1,
        "confidence": 0.4,
        "near_miss": False,
        "changes": 1,
        "price": 0.0,
        "best": 0.5,
        "estimate": 0.51,
        "noise": 0.01,
        "kept": 1,
        "confirm_replicates": 2,
    }
    return at(second, "verdict", **{**said, **facts})


def started(**facts: Any) -> list[dict[str, Any]]:
    """A session up to its baseline, at second 200."""
    said = {"session": "night", "rounds": 4, "confirm_replicates": 2, "proposer": "declared"}
    said |= {"task": "fake", "metric": "val_loss", "device": "cpu", **facts}
    return [
        at(0, "session_started", **said),
        at(5, "prepared", data={"a": "b"}, isolation="none"),
        run(10, False),
        run(70, True),
        run(75, False, replicate=1),
        run(135, True, replicate=1),
        at(200, "baseline", mean=0.6, noise=0.01, n=2),
    ]


def rounds(*words: str) -> list[dict[str, Any]]:
    """Rounds of a hundred seconds after :func:`started`, with these verdicts."""
    found = []
    for number, word in enumerate(words, 1):
        then = 100 + 100 * number
        found += [run(then + 10, False, number), run(then + 70, True, number)]
        found += [verdict(then + 90, number, word)]
        found += [at(then + 100, "round_finished", round=number, rounds=4, ranking=[])]
    return found


def write(folder: Path, events: list[dict[str, Any]], session: str = "night") -> Path:
    """A journal below a folder; gives its path."""
    path = folder / "results" / session / "events.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path
