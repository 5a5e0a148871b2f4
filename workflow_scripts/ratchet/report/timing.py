"""When the machine worked and when it waited, from the journal, counted from the start.

Only runs count: what was written down afterwards (another report, say) changes
nothing, and so the same session has the same timeline.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from math import fsum
from typing import Any

from ratchet.errors import OtherHardwareError
from ratchet.report import text
from ratchet.report.inputs import Facts

LANES = {"search": "experiments", "remeasure": "incumbent", "confirm": "confirmation"}
"""What a run's role is called; the first runs of the unchanged code are the baseline."""


def timeline(events: Iterable[dict[str, Any]], busy_gpu: float | None) -> Facts | None:
    """Runs by start and end in seconds; ``None`` if none was made in this session.

    ``busy_gpu`` is the mean utilisation of the GPU during runs, in percent.  Runs
    that came from the store took no time and are missing; those that a stop cut
    short are counted as ``interrupted``, and as ``misplaced`` those that were not
    started, since they had landed on hardware of another class.
    """
    start: datetime.datetime | None = None
    open_runs: dict[tuple[Any, ...], float] = {}
    runs: list[Facts] = []
    interrupted = misplaced = 0
    for event in events:
        kind, when = event.get("event"), _time(event)
        misplaced += kind == "failed" and event.get("error") == OtherHardwareError.__name__
        if when is None or kind not in ("session_started", "run_started", "run_finished"):
            continue
        start = start or when
        seconds = round((when - start).total_seconds(), 3)
        name = (event.get("number"), event.get("role"), event.get("replicate"), event.get("seed"))
        if kind == "run_started":
            interrupted += name in open_runs
            open_runs[name] = seconds
        elif kind == "run_finished" and name in open_runs:
            runs.append(_run(event, open_runs.pop(name), seconds))
    if not runs:
        return None
    runs.sort(key=lambda run: (run["start"], run["number"]))
    end = max(run["end"] for run in runs)
    gaps = _gaps(runs)
    idle = fsum(length for _, length in gaps)
    longest = max(gaps, key=lambda gap: gap[1], default=None)
    return {
        "runs": runs,
        "seconds": end,
        "idle_seconds": idle,
        "busy_share": (end - idle) / end if end > 0 else None,
        "longest_gap": {"from": longest[0], "seconds": longest[1]} if longest else None,
        "interrupted": interrupted + len(open_runs),
        "misplaced": misplaced,
        "gpu_utilisation": busy_gpu,
    }


def _time(event: dict[str, Any]) -> datetime.datetime | None:
    try:
        found = datetime.datetime.fromisoformat(str(event.get("time")))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _run(event: dict[str, Any], start: float, end: float) -> Facts:
    number = event.get("number") if isinstance(event.get("number"), int) else 0
    lane = LANES.get(str(event.get("role")), "experiments")
    if lane == "experiments" and number == 0:
        lane = "baseline"
    return {
        "number": number,
        "lane": lane,
        "start": start,
        "end": max(start, end),
        "outcome": text.label(str(event.get("outcome")), 40),
        "key": text.label(str(event.get("key")), 64),
    }


def _gaps(runs: Sequence[Facts]) -> list[tuple[float, float]]:
    """Begin and length of the times in which no run was at work."""
    gaps, free_from = [], 0.0
    for run in runs:
        if run["start"] > free_from:
            gaps.append((free_from, run["start"] - free_from))
        free_from = max(free_from, run["end"])
    return gaps
