"""How busy the device is while an agent proposes, with and without asking ahead.

A scripted agent takes as long as a run.  Real sessions of the fake task, one with each
``lookahead``, under Snakemake; the share is that of the search, from the first run of a
candidate to the last::

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/lookahead.py --seconds 20 --rounds 12
"""

import argparse
import datetime
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

from helpers.agents import good, hire
from helpers.boxes import Box, make_box

# Each is another edit of its own: the names are those of the fake task's constants.
CONSTANTS = ("RATE", "DECAY", "WIDTH")


def slow_box(path: Path, seconds: float, rounds: int, lookahead: int, candidates: int) -> Box:
    """A session whose agent and whose runs take so many seconds each."""
    box = make_box(path, rounds=rounds, candidates=candidates, confirm_replicates=1)
    train = box.path / "tasks" / "fake" / "train.py"
    text = train.read_text()
    assert text.count("\nimport ") >= 1
    train.write_text(text.replace("\nimport ", f"\nimport time\ntime.sleep({seconds})\nimport ", 1))
    values = itertools.product((0.19, 0.21, 0.23, 0.25, 0.27, 0.29, 0.31, 0.33), CONSTANTS[:2])
    plan = [[["sleep", seconds], *good(name, value)] for value, name in values]
    hire(box, *plan, lookahead=lookahead, budget_steps=5, timeout_seconds=600)
    return box


def busy_share(box: Box) -> tuple[float, float, int]:
    """Share of the search in which a run was under way, seconds of the search, its runs."""
    events = [json.loads(line) for line in (box.session / "events.jsonl").read_text().splitlines()]
    spans, began = [], {}
    for event in events:
        if event.get("role") != "search" or not event.get("number"):
            continue
        key = event["number"], event["replicate"]
        at = datetime.datetime.fromisoformat(event["time"]).timestamp()
        if event["event"] == "run_started":
            began[key] = at
        elif event["event"] == "run_finished":
            spans.append((began[key], at))
    first, last = min(a for a, _ in spans), max(b for _, b in spans)
    return sum(b - a for a, b in spans) / (last - first), last - first, len(spans)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--candidates", type=int, default=1)
    parser.add_argument("--lookahead", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    print("lookahead  busy  search  runs  session")
    for lookahead in options.lookahead:
        with tempfile.TemporaryDirectory() as name:
            box = slow_box(
                Path(name) / "box", options.seconds, options.rounds, lookahead, options.candidates
            )
            began = time.monotonic()
            box.run()
            share, search, runs = busy_share(box)
            whole = time.monotonic() - began
            print(
                f"{lookahead:>9}  {share:.2f}  {search:5.0f} s  {runs:>4}  {whole:5.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
