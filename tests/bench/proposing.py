"""Pairs of real sessions of the default task: steered, and without any steering.

Both sessions of a pair have the same seed, hence the same baseline runs, and end when
the incumbent is believed to be so much better than the baseline, or when nothing is
left to be tried.  The unsteered one goes through the same declared edits in random
order: its task names one category for all of them.  Runs are limited in steps, so that
other work on the machine changes nothing::

    make bench-proposing
    PYTHONPATH=tests .venv-dev/bin/python tests/bench/proposing.py --pairs 4 --steps 150

What is printed are the training runs that each session needed, baseline and retests
counted.  A session that never got there is listed with a ``>`` and counts as all the
runs that it made, which flatters it.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

import yaml

from helpers import BYTELM
from helpers.boxes import Box

STEERED, UNSTEERED = "steered", "unsteered"
# More than there are declared edits: every session can try all of them.
ROUNDS = 60


@dataclass(frozen=True)
class Played:
    """One session: runs until the goal, or all it made; ``best`` in bits from baseline."""

    runs: int
    reached: bool
    best: float

    def __str__(self) -> str:
        return f"{'' if self.reached else '>'}{self.runs}"


def make_box(root: Path, name: str, seed: int, steps: int) -> Box:
    """A working folder for one session; the store is shared by all of them."""
    place = root / f"{name}-{seed}"
    place.mkdir()
    (root / "store").mkdir(exist_ok=True)
    (place / "store").symlink_to(root / "store")
    task = place / "tasks" / "bytelm"
    shutil.copytree(BYTELM, task, ignore=shutil.ignore_patterns("__pycache__"))
    if name == UNSTEERED:
        path = task / "task.yaml"
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        space = _single(values["search_space"])
        Random(seed).shuffle(space)
        values["search_space"] = [{**change, "category": "other"} for change in space]
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    settings = {"seed": seed, "budget_steps": steps, "rounds": ROUNDS, "confirm_replicates": 1}
    return Box(place, {"task": "tasks/bytelm", **settings})


def _single(space: list[dict]) -> list[dict]:
    """Every value of a constant as a change of its own, to be shuffled with the others."""
    found = []
    for change in space:
        values = change.get("values", [None])
        found += [change if v is None else {**change, "values": [v]} for v in values]
    return found


def play(root: Path, name: str, seed: int, steps: int, goal: float) -> Played:
    """Run one session until the goal is reached or nothing is left."""
    box = make_box(root, name, seed, steps)
    box.run("baseline")
    start = box.json("rounds/0000/steer.json")["incumbent"]["mean"]
    last = f"rounds/{ROUNDS:04d}/steer.json"
    box.run(f"results/default/{last}", target=f"{start - goal:.6f}")
    state = box.json(last)
    best = state["incumbent"]["mean"] - start
    return Played(state["runs_used"], best <= -goal + 1e-6, best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=150, help="budget of each run")
    parser.add_argument("--goal", type=float, default=0.4, help="bits per byte below the baseline")
    parser.add_argument("--first-seed", type=int, default=1)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.pairs)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        root = Path(name)
        jobs = {
            (kind, seed): pool.submit(play, root, kind, seed, options.steps, options.goal)
            for seed in seeds
            for kind in (STEERED, UNSTEERED)
        }
        print(
            f"runs until {options.goal:g} bits below the baseline, {options.steps} steps a run\n"
            f"{'seed':>6}{STEERED:>12}{UNSTEERED:>12}{'ratio':>8}",
            flush=True,
        )
        pairs = []
        for seed in seeds:
            ours, theirs = jobs[STEERED, seed].result(), jobs[UNSTEERED, seed].result()
            pairs.append((ours, theirs))
            ratio = ours.runs / theirs.runs
            print(f"{seed:>6}{ours!s:>12}{theirs!s:>12}{ratio:>8.2f}", flush=True)
    print(_summary(pairs))


def _summary(pairs: list[tuple[Played, Played]]) -> str:
    ours, theirs = zip(*((a.runs, b.runs) for a, b in pairs), strict=True)
    reached = [sum(p.reached for p in side) for side in zip(*pairs, strict=True)]
    fewer = sum(a < b for a, b in zip(ours, theirs, strict=True))
    return (
        f"median {statistics.median(ours):g} and {statistics.median(theirs):g} runs, mean "
        f"{statistics.fmean(ours):.1f} and {statistics.fmean(theirs):.1f}; steered had fewer in "
        f"{fewer} of {len(pairs)} pairs; the goal was reached {reached[0]} and {reached[1]} times"
    )


if __name__ == "__main__":
    main()
