"""Steering in the simulated bandit, beside the released autosteer and simple habits.

Every policy plays the same sessions with the same luck; what differs is only which
category it tries next::

    make bench
    .venv-bench/bin/python tests/bench/steering.py --play restless --sessions 400

The released tool is not imitated: its own ``generate_suggestions`` is asked, and the
first suggestion is followed.  It knows twenty directions and drops each once it was
tried; after the last one, categories are chosen at random.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from random import Random

import auto_steer

from bandit import ARMS, PLAYS, POLICIES, Score, compare, play_session
from ratchet.steering.bandit import BanditPull

RELEASED = "autosteer 1.0.1"
STEERED = "steered"
RUNS = (100, 300)
LEAST_GAIN = {100: 0.03, 300: 0.01}
MOST_REGRET = {100: 0.96, 300: 0.94}
"""Bars of the standard play: gain over random and share of its regret."""

METRIC, MEMORY_GB = 0.99, 44.0
CATEGORIES = {category.value: category for category in auto_steer.Category}
DIRECTIONS = {known.title: known for known in auto_steer.KNOWN_DIRECTIONS}
NAMES = (*POLICIES, RELEASED)


class Released:
    """Asks the released tool; tells it of a direction by the words it looks for."""

    def __init__(self) -> None:
        self._log: list[auto_steer.Experiment] = [self._row("baseline", "other", True)]
        self._open = ""

    def __call__(self, trials: Sequence[BanditPull], luck: Random) -> str:
        if trials:
            last = trials[-1]
            self._log.append(self._row(self._open, last.category, last.kept))
        left = self._suggested() if len(self._log) <= len(DIRECTIONS) + 1 else []
        if not left:
            self._open = ""
            return luck.choice(ARMS)
        self._open = " ".join(DIRECTIONS[left[0].title].keywords[:2])
        return str(left[0].category.value)

    def _suggested(self) -> list[auto_steer.Suggestion]:
        stats = auto_steer.compute_category_stats(self._log, METRIC)
        return auto_steer.generate_suggestions(self._log, stats, auto_steer.Strategy.AUTO, 1)

    @staticmethod
    def _row(text: str, category: str, kept: bool) -> auto_steer.Experiment:
        status = auto_steer.Status.KEEP if kept else auto_steer.Status.DISCARD
        return auto_steer.Experiment(
            "x", METRIC, MEMORY_GB, status, text, category=CATEGORIES[category]
        )


def scored(name: str, play: str, runs: int, seed: int, number: int) -> Score:
    """One policy in one session."""
    policy = Released() if name == RELEASED else POLICIES[name]
    return play_session(policy, PLAYS[play], runs, seed, number)


def measure(play: str, runs: int, options: argparse.Namespace) -> bool:
    """Print one table; whether steering passes the bars of the standard play."""
    began, passed = time.monotonic(), True
    scores: dict[str, list[Score]] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for name in NAMES:
            one = partial(scored, name, play, runs, options.seed)
            scores[name] = list(pool.map(one, range(options.sessions), chunksize=10))
    print(f"{play}: {runs} runs, {options.sessions} sessions, seed {options.seed}")
    print(f"  {'':20}{'gain x1e-3':>11}{'over random, %':>18}{'regret/random':>15}")
    for name, found in scores.items():
        row = compare(found, scores["random"])
        print(
            f"  {name:20}{1e3 * row.gain:11.2f}{100 * row.over:+11.1f} ± {100 * row.margin:.1f}"
            f"{row.regret:15.2f}"
        )
    if play == "standard":
        row = compare(scores[STEERED], scores["random"])
        rivals = (scores[name] for name in NAMES if name != STEERED)
        passed = row.over >= LEAST_GAIN[runs] and row.regret <= MOST_REGRET[runs]
        passed &= all(compare(scores[STEERED], rival).over > 0 for rival in rivals)
        bars = f"gain >= {100 * LEAST_GAIN[runs]:+.0f} %, regret <= {MOST_REGRET[runs]}"
        print(f"  bars ({bars}, gain above all others): {'passed' if passed else 'MISSED'}")
    rival = compare(scores[STEERED], scores[RELEASED])
    print(f"  steered over the released tool: {100 * rival.over:+.1f} ± {100 * rival.margin:.1f} %")
    print(f"  {time.monotonic() - began:.0f} s\n", flush=True)
    return passed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--play", choices=PLAYS, default="standard", help="kind of world")
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    passed = [measure(options.play, runs, options) for runs in RUNS]
    sys.exit(not all(passed))
