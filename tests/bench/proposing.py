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
import functools
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
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


def play(
    kinds: Sequence[str], seed: int, runs: int, settings: dict[str, object]
) -> list[list[float]]:
    """Confirmed values of each proposer's incumbents after each of :data:`POINTS` runs.

    The sessions of a seed share a store: what two of them ask for is trained once.
    """
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        return [_session(kind, root, seed, runs, settings) for kind in kinds]


def _session(
    kind: str, root: Path, seed: int, runs: int, settings: dict[str, object]
) -> list[float]:
    values: dict[str, object] = {
        "session": kind,
        "seed": seed,
        "proposer": kind,
        "rounds": runs,
        "confirm_replicates": 1,
        "certify": False,
        "seeds": "public",
        "isolation": "none",
        **settings,
    }
    Box(root, values).play(last=player.ROUNDS)
    with player.inside(root, {}):
        plan = make_plan(player._parsed(values), Path(), REPO, owner=False)
        session = Session.open(plan.config, Path(), REPO, Journal(plan.paths.events))
        states = History.read(plan.paths).states
        points = [point for point in POINTS if point <= runs]
        held = [[s for s in states if s.runs_used <= point][-1].incumbent for point in points]
        found = [confirmed(session, dict(each.files)) for each in held]
    print(f"{kind:<9} {seed:>4}  {_row(found)}", flush=True)
    return found


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
        "timeout_seconds": 900,  # other work may take nearly all of the processor
        "preset": options.preset,
    }
    if options.python:
        settings["python"] = str(options.python.resolve())
    seeds = range(options.first, options.first + options.seeds)
    print("proposer  seed  confirmed after " + ", ".join(map(str, POINTS)) + " runs", flush=True)
    play_seed = functools.partial(play, options.kinds, runs=options.runs, settings=settings)
    with ProcessPoolExecutor(options.workers) as pool:
        found = list(pool.map(play_seed, seeds))
    print("medians")
    for kind, sessions in zip(options.kinds, zip(*found, strict=True), strict=True):
        medians = [statistics.median(column) for column in zip(*sessions, strict=True)]
        print(f"{kind:<9}       {_row(medians)}")


def _row(values: Sequence[float]) -> str:
    return "  ".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
