"""Whole sessions of the default task with recorded training, in seconds each.

Judge, steering and proposer are measured through the code that real sessions run:
only the training is looked up in a table of real runs.  Edits add up in it, so the
true gain of whatever was kept is known::

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/sessions.py --sessions 20 --rounds 40

Printed are, over all sessions, the runs that were made, the keeps, how many of them
were no gain in truth, and how much better the last incumbent truly is.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from helpers import BYTELM
from helpers.boxes import Box
from helpers.recorded import Edits, Recorded


@dataclass(frozen=True)
class Played:
    """One session: runs, keeps, keeps without a true gain, true gain, seconds that it took."""

    runs: int
    keeps: int
    false_keeps: int
    gain: float
    seconds: float


def play(root: Path, seed: int, settings: dict[str, object]) -> Played:
    """Play one session up to its last round and compare what it kept with the truth."""
    table = Recorded.load("bytelm", BYTELM)
    box = Box(root, {"task": str(BYTELM), "budget_steps": 40, "seed": seed, **settings})
    box.backend, box.clock = table, table.clock
    began = time.perf_counter()
    box.play(last="rounds")
    took = time.perf_counter() - began
    means = [_truth(table, edits) for edits in _incumbents(box, table)]
    pairs = list(itertools.pairwise(means))
    false = sum(new >= old for old, new in pairs)
    return Played(table.runs, len(pairs), false, means[0] - means[-1], took)


def _truth(table: Recorded, edits: Edits) -> float:
    mean = table.mean(edits)
    assert mean is not None, "a candidate that does not train is never kept"
    return mean


def _incumbents(box: Box, table: Recorded) -> list[Edits]:
    """The edits of every incumbent, the baseline first."""
    commits = box.git("rev-list", "--reverse", "ratchet/default").split()
    return [table.edits({"train.py": box.git("show", f"{c}:train.py").encode()}) for c in commits]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--modes", nargs="+", default=["gain", "balanced", "strict"])
    options = parser.parse_args()
    print(f"{'mode':10}{'runs':>8}{'keeps':>8}{'false':>8}{'true gain':>11}{'seconds':>9}")
    for mode in options.modes:
        found = []
        for seed in range(1, options.sessions + 1):
            with tempfile.TemporaryDirectory() as name:
                settings = {"rounds": options.rounds, "mode": mode}
                found.append(play(Path(name).resolve(), seed, settings))
        means = [
            statistics.fmean(getattr(one, name) for one in found)
            for name in ("runs", "keeps", "false_keeps", "gain", "seconds")
        ]
        runs, keeps, false, gain, seconds = means
        print(f"{mode:10}{runs:8.1f}{keeps:8.1f}{false:8.2f}{gain:11.4f}{seconds:9.2f}", flush=True)


if __name__ == "__main__":
    main()
