"""Sessions on a busy machine beside the same ones on a quiet machine: are the keeps the same?

Recorded sessions of the default task (some minutes), whose runs lose .3 bits per byte while
the machine is busy, with and without a probe that sees it; and with ``--real`` one session
that trains for real, with two busy loops from its middle on (a quarter of an hour)::

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/busy.py --sessions 10
    PYTHONPATH=tests .venv-dev/bin/python tests/bench/busy.py --sessions 0 --real
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from helpers import BYTELM
from helpers.boxes import Box, make_box
from helpers.recorded import Recorded
from ratchet.records.records import RunSummary
from ratchet.runs import executor

STRETCHES: Mapping[str, Container[int]] = {
    "two short stretches": {7, 10, 11},
    "from the middle on": range(9, 999),
    "in the middle": range(9, 16),
    "at the start": range(1, 6),
}
LOSS = 0.3
SETTINGS = {"task": str(BYTELM), "budget_steps": None, "rounds": 12, "confirm_replicates": 1}


def kept(box: Box) -> set[str]:
    """Descriptions of the edits that a session keeps."""
    found = [event for event in box.events("verdict") if "KEEP" in event["verdict"]]
    return {event["description"] for event in found}


def recorded(path: Path, seed: int, busy: Container[int] = (), blind: bool = False) -> Box:
    """A session that is looked up; ``blind`` leaves out what would notice the busy machine."""
    box = make_box(path, **SETTINGS, seed=seed)
    table = Recorded.load("bytelm", BYTELM)
    table.busy, table.loss = busy, LOSS
    box.backend, box.clock = table, table.clock
    with contextlib.ExitStack() as held:
        if blind:
            held.enter_context(mock.patch.object(executor, "slowing", lambda *_: ""))
            same = mock.patch.object(RunSummary, "is_of_another_pace", lambda *_: False)
            held.enter_context(same)
        box.play(last="rounds")
    return box


def compare_recorded(root: Path, sessions: int) -> None:
    print("keeps of a quiet machine that are missed / further keeps, per session; runs")
    totals: dict[str, list[float]] = {}
    for seed in range(1, sessions + 1):
        quiet = recorded(root / f"quiet-{seed}", seed)
        for name, busy in STRETCHES.items():
            for blind in (False, True):
                place = root / f"{name}-{blind}-{seed}"
                box = recorded(place, seed, busy, blind)
                row = totals.setdefault(f"{name}, {'not seen' if blind else 'seen'}", [0.0] * 4)
                found = len(kept(quiet) - kept(box)), len(kept(box) - kept(quiet))
                for column, value in enumerate((*found, len(quiet.runs()), len(box.runs()))):
                    row[column] += value / sessions
    for name, (missed, further, before, after) in totals.items():
        print(f"{name:<32} {missed:5.2f} / {further:4.2f}   {before:.1f} -> {after:.1f} runs")


LOOP = """
import os, sys, time
while os.path.isdir(os.path.dirname(sys.argv[1])):
    while os.path.exists(sys.argv[1]):
        sum(range(100000))
    time.sleep(0.2)
"""
"""Wants a processor while a file exists, and ends with the file's folder."""


def start_loops(count: int, flag: Path) -> None:
    """Processes that nobody here is a parent of: a session ends whatever its runs leave behind."""
    command = '"$0" -c "$1" "$2" &'
    for _ in range(count):
        subprocess.run(["sh", "-c", command, sys.executable, LOOP, str(flag)], check=True)


@contextlib.contextmanager
def busy(flag: Path) -> Iterator[None]:
    flag.touch()
    try:
        yield
    finally:
        flag.unlink()


def compare_real(root: Path, loops: int) -> None:
    """Two quiet sessions, which differ by chance, and one with loops from its middle on."""
    flag = root / "busy now"
    root.mkdir()
    start_loops(loops, flag)
    for name in ("quiet", "busy", "quiet again"):
        box = make_box(root / name, **SETTINGS)
        half = int(str(SETTINGS["rounds"])) // 2
        box.play(last="rounds", rounds=half)
        with busy(flag) if name == "busy" else contextlib.nullcontext():
            box.play(first="rounds")
        print(f"{name}: {len(box.runs())} runs, kept {', '.join(sorted(kept(box)))}")
        for event in box.events("run_finished"):
            print(f"  {_line(event)}")
        for event in box.events("remeasured"):
            print(f"  incumbent measured anew before round {event['round']}: {event['value']}")


def _line(event: Mapping[str, Any]) -> str:
    pace = dict(event["pace"])
    slowed, again = pace.pop("slowed"), " AGAIN" if event["again"] else ""
    told = f"{event['role']} {event['number']}: {event['value']} in {event['wall_seconds']:.1f} s"
    return f"{told}{again} {slowed} {json.dumps(pace)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=10, help="recorded ones of each kind")
    parser.add_argument("--real", action="store_true", help="train for real too")
    parser.add_argument("--loops", type=int, default=2, help="busy loops beside the real one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        if options.sessions:
            compare_recorded(root / "recorded", options.sessions)
        if options.real:
            compare_real(root / "real", options.loops)


if __name__ == "__main__":
    main()
