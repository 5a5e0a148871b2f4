"""Honest candidates on a busy machine: how many are accused, and how many off their budget.

Each is a random point of the default task's search space, trained once as a session trains
it and held to runs of the baseline that were made before the machine became busy::

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/honest.py --candidates 200 --busy 2

Prints a line for each candidate that does not count, and a summary.  Its exit status is 1
if any was accused.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from helpers.candidates import TASK, TRAIN, Arena, blocked
from ratchet.base.structs import replace
from ratchet.integrity.run_checks import RunTrace, off_budget, run_trace, unlike_baseline
from ratchet.records.records import Outcome
from ratchet.runs.run import execute_run
from ratchet.runs.sandbox.sandbox import SandboxKind
from ratchet.task.edits import applicable_changes

MOST_CHANGES = 5
"""Changes of one candidate, at most; some do not fit together and are left out."""


def points(draw: random.Random, count: int) -> Iterator[tuple[str, str]]:
    """Random points of the search space: the names of their changes, and the source."""
    for _ in range(count):
        texts, names = {"train.py": TRAIN}, []
        for change in draw.sample(list(TASK.search_space), draw.randint(1, MOST_CHANGES)):
            drafts = list(applicable_changes([change], texts))
            if drafts:
                chosen = draw.choice(drafts)
                texts = dict(chosen.contents)
                names.append(chosen.edit.label)
        yield " ".join(names), texts["train.py"]


def loop() -> None:
    while True:
        pass


@contextlib.contextmanager
def busy(programs: int) -> Iterator[None]:
    """So many programs at work beside what is done within."""
    started = [multiprocessing.Process(target=loop, daemon=True) for _ in range(programs)]
    for each in started:
        each.start()
    try:
        yield
    finally:
        for each in started:
            each.kill()


def train(arena: Arena, source: str, seed: int, seconds: float, usual: float | None) -> RunTrace:
    """The comparable values of one run; raises :class:`RuntimeError` for one that failed."""
    spec = arena.plan(source, SandboxKind.NONE, seed=seed, budget_seconds=seconds)
    spec = replace(spec, evaluation_seconds=usual)
    folder = Path(tempfile.mkdtemp(dir=arena.root))
    record = execute_run(spec, arena.store, folder)
    if record.outcome is not Outcome.OK:
        raise RuntimeError(f"{record.outcome.value}: {record.reason}")
    return run_trace(TASK, seed, record)


def measure(options: argparse.Namespace, root: Path) -> dict[str, int]:
    """Counts of endings of the candidates, by name."""
    arena, draw = Arena(root), random.Random(options.seed)
    seconds = options.seconds
    baseline = [train(arena, TRAIN, seed, seconds, None) for seed in (1, 2, 3)]
    usual = statistics.median(run.evaluating for run in baseline)
    found: collections.Counter[str] = collections.Counter()
    excess: list[float] = []
    with busy(options.busy):
        for number, (names, source) in enumerate(points(draw, options.candidates)):
            assert not blocked(source), names
            try:
                run = train(arena, source, 10 + number, seconds, usual)
            except RuntimeError as error:
                kind = "tampered" if f"{error}".startswith("tampered") else "failed"
                found[kind] += 1
                print(f"{kind}: {names}: {error}", flush=True)
                continue
            bent = unlike_baseline(baseline, [run], TASK.plausible)
            over = off_budget(baseline, [run], TASK.plausible, seconds)
            kind = "tampered" if bent else "off budget" if over else "counts"
            found[kind] += 1
            assert run.used is not None
            excess.append(run.used)
            if kind != "counts":
                print(f"{kind}: {names}: {bent or over}", flush=True)
    most = statistics.median(run.used or 0.0 for run in baseline)
    print(
        f"seconds from the start to the last reply: baseline {most:.2f}, candidates "
        f"{min(excess):.2f} to {max(excess):.2f}, median {statistics.median(excess):.2f}"
    )
    return dict(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--busy", type=int, default=2, help="programs at work beside the runs")
    parser.add_argument("--seconds", type=float, default=TASK.budget_seconds, help="budget")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        found = measure(options, Path(name).resolve())
    shown = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items()))
    print(f"{options.candidates} honest candidates: {shown} ({time.monotonic() - began:.0f} s)")
    return 1 if found.get("tampered") else 0


if __name__ == "__main__":
    sys.exit(main())
