"""Proposers side by side: real sessions of a task, each with another one.

Sessions of one seed have the same baseline runs.  Runs are limited in steps, so that other
work on the machine changes nothing.  After so many runs, retests counted, the incumbent is
measured by three fresh seeds::

    make bench-proposing
    PYTHONPATH=tests .venv-dev/bin/python tests/bench/proposing.py --seeds 6 --runs 60
    PYTHONPATH=tests .venv-dev/bin/python tests/bench/proposing.py --task tasks/gpt \\
        --preset cpu-tiny --python .venv-torch --steps 60 --runs 20 --seeds 2

Printed are the confirmed values of every session, and their medians.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from helpers import REPO, player
from helpers.boxes import Box
from ratchet.records.events import Journal
from ratchet.records.history import History
from ratchet.records.records import Role
from ratchet.runs.executor import Executor
from ratchet.session import Session
from ratchet.steps.plan import make_plan

KINDS = ("random", "declared", "tpe", "cmaes", "auto")
POINTS = (10, 20, 40, 60)
FRESH = 3
"""Fresh seeds that confirm an incumbent."""


def play(kind: str, seed: int, runs: int, settings: dict[str, object]) -> list[float]:
    """Confirmed values of one session's incumbents after each of :data:`POINTS` runs."""
    values: dict[str, object] = {
        "seed": seed,
        "proposer": kind,
        "rounds": runs,
        "confirm_replicates": 1,
        "seeds": "public",
        "isolation": "none",
        **settings,
    }
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        box = Box(root, values)
        box.play(last=player.ROUNDS)
        with player.inside(root, {}):
            known = {"session": "default", "certify": False, **values}
            plan = make_plan(player._parsed(known), Path(), REPO, owner=False)
            session = Session.open(plan.config, Path(), REPO, Journal(plan.paths.events))
            states = History.read(plan.paths).states
            points = [point for point in POINTS if point <= runs]
            held = [[s for s in states if s.runs_used <= point][-1].incumbent for point in points]
            return [confirmed(session, dict(each.files)) for each in held]


def confirmed(session: Session, files: dict[str, str]) -> float:
    """Mean metric of a code over fresh seeds; those that were made before are found again."""
    made = [Executor(session).run(files, Role.CONFIRM, number) for number in range(FRESH)]
    return statistics.fmean(run.value for run in made if run.value is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first", type=int, default=1, help="the first of the seeds")
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--steps", type=int, default=300, help="budget of each run")
    parser.add_argument("--task", default=str(REPO / "tasks" / "bytelm"))
    parser.add_argument("--preset")
    parser.add_argument("--python", type=Path, help="environment of the task, if it has its own")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    settings: dict[str, object] = {
        "task": str(Path(options.task).resolve()),
        "budget_steps": options.steps,
        "preset": options.preset,
    }
    if options.python:
        settings["python"] = str(options.python.resolve())
    seeds = range(options.first, options.first + options.seeds)
    found: dict[tuple[str, int], list[float]] = {}
    print("proposer  seed  confirmed after " + ", ".join(map(str, POINTS)) + " runs")
    with ProcessPoolExecutor(options.workers) as pool:
        jobs = {
            pool.submit(play, kind, seed, options.runs, settings): (kind, seed)
            for seed, kind in itertools.product(seeds, options.kinds)
        }
        for job in as_completed(jobs):
            kind, seed = jobs[job]
            found[kind, seed] = job.result()
            print(f"{kind:<9} {seed:>4}  {_row(found[kind, seed])}", flush=True)
    print("medians")
    for kind in options.kinds:
        columns = zip(*(found[kind, seed] for seed in seeds), strict=True)
        print(f"{kind:<9}       {_row([statistics.median(column) for column in columns])}")


def _row(values: Sequence[float]) -> str:
    return "  ".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
