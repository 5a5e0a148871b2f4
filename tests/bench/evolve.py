"""Simulated tournaments: wins passed on patch by patch with a re-test, and other ways.

Every way plays the same tournaments with the same luck and the same number of runs::

    make bench
    .venv-bench/bin/python tests/bench/evolve.py --tournaments 400 --rounds 5

Shown is the true gain of the champion, in all and per run, and how far each way is
behind the first one.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tournament import Cup, compare, play


def measure(cup: Cup, options: argparse.Namespace) -> bool:
    """Print one table; whether the first way is ahead of "best" and "alone"."""
    began = time.monotonic()
    with ProcessPoolExecutor(options.jobs) as pool:
        scores = list(pool.map(partial(play, cup, options.seed), range(options.tournaments)))
    kind = "overlapping" if cup.overlapping else "independent"
    print(
        f"{kind} effects: {cup.competitors} competitors, {cup.rounds} rounds of {cup.runs} runs, "
        f"{options.tournaments} tournaments, seed {options.seed}"
    )
    print(f"  {'':28}{'gain x1e-3':>11}{'per run x1e-6':>18}{'behind':>16}{'false keeps':>13}")
    lines = compare(scores)
    for line in lines:
        print(
            f"  {line.name:28}{1e3 * line.gain.value:11.2f}"
            f"{1e6 * line.per_run.value:11.1f} ± {1e6 * line.per_run.margin:4.1f}"
            f"{1e6 * line.behind.value:9.1f} ± {1e6 * line.behind.margin:4.1f}"
            f"{line.false_share:12.0%}"
        )
    passed = all(line.behind.low > 0 for line in lines[1:])
    print(f"  the first is ahead of all others: {'yes' if passed else 'NO'}")
    print(f"  {time.monotonic() - began:.0f} s\n", flush=True)
    return passed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tournaments", type=int, default=200)
    parser.add_argument("--competitors", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=20, help="of each competitor in each round")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    sizes = {"competitors": options.competitors, "rounds": options.rounds, "runs": options.runs}
    passed = [measure(Cup(overlapping=over, **sizes), options) for over in (False, True)]
    sys.exit(not all(passed))
