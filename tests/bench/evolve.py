"""Simulated tournaments: how wins are passed on, with the truth at hand.

The distance to the best that can be reached is split over categories, as in
``bandit.py``, and every strategy looks mostly at categories of
its own: that is what makes strategies different, and one alone run dry.  An edit
improves by a part of what its category still has to give where it was found.

In the ``independent`` world the effects of edits add up.  In the ``overlapping``
one every improvement works through one of a few mechanisms; of those that share
one only the largest counts, and each further one does a little harm: gains do not
add up.  Some patches conflict and are not applied.

Sizes and chances are those of :mod:`ratchet.simulation.worlds`, fitted to one
published log; the split, the mechanisms and the shares below are assumed.  Gains
are in validation bits per byte; positive is better.

Every way to pass wins on plays the same tournaments with the same luck and the same
number of runs::

    make bench
    .venv-bench/bin/python tests/bench/evolve.py --tournaments 400 --rounds 5

Shown is the true gain of the champion, in all and per run, and how far each way is
behind the first one.
"""

import argparse
import itertools
import math
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from ratchet.base.structs import Frozen, Struct, field
from ratchet.judge.judge import Judge
from ratchet.judge.settings import Mode, Settings
from ratchet.records.records import Verdict
from ratchet.simulation.measures import Estimate, mean_estimate
from ratchet.simulation.worlds import LARGEST_CHANCE, LARGEST_SHARE, Draws, draw_landscape

BASELINE = 3
"""Runs of the common baseline, on top of those that are counted."""

CATEGORIES = 9
CONCENTRATION = 0.7
"""Of the Dirichlet distribution that splits the distance over categories."""
CHANCES = (0.3, 0.9)
"""Range of a category's chance to improve at the start."""
OWN_SHARE = 0.85
"""Of a strategy's proposals, those in its own categories; the rest go anywhere."""
MECHANISMS = 8
"""In the overlapping world; improvements fall on them by chance."""
HARM = 0.25
"""Part of its size that a further improvement by the same mechanism costs there."""
CONFLICT = 0.15
"""Patches that cannot be applied where the same category was changed."""
CRASH_SHARE = 0.03
NOISE_SD = 5e-4


class Cup(Frozen):
    """What to simulate: ``runs`` are those of each competitor in each round."""

    overlapping: bool = False
    competitors: int = 3
    rounds: int = 3
    runs: int = 20
    mode: Mode = Mode.GAIN

    @property
    def total(self) -> int:
        """Runs of the whole tournament; the common baseline comes on top."""
        return self.competitors * self.rounds * self.runs


class Edit(Frozen):
    """One proposal; ``size`` is what it brings where nothing overlaps."""

    name: tuple[int, int]
    category: int
    mechanism: int
    size: float


class Ground:
    """One tournament's truth; the same luck for every way to pass wins on."""

    def __init__(self, cup: Cup, seed: int, number: int) -> None:
        """``seed`` and ``number`` of the tournament are not negative."""
        self.cup, self._key = cup, (seed, number)
        rng = np.random.default_rng([seed, number, 0])
        self.shape = draw_landscape(rng)
        split = rng.dirichlet([CONCENTRATION] * CATEGORIES)
        self.room = [float(x) for x in self.shape.distance * split]
        self.chances = [float(x) for x in rng.uniform(*CHANCES, CATEGORIES)]
        order = [int(x) for x in rng.permutation(CATEGORIES)]
        self.own = [order[i :: cup.competitors] for i in range(cup.competitors)]

    def noise(self, *purpose: int) -> float:
        """Noise of one run; keyed by what it is for, never by the order of calls."""
        rng = np.random.default_rng([*self._key, 2, *purpose])
        return NOISE_SD * float(rng.standard_normal())

    def propose(self, strategy: int, number: int, held: Sequence[Edit]) -> Edit | None:
        """What a strategy proposes next on a configuration; ``None`` for a crash."""
        rng = np.random.default_rng([*self._key, 1, strategy, number])
        own, improves, null, crashes = (float(x) for x in rng.random(4))
        place, mechanism = (int(x) for x in rng.integers(0, 2**31, 2))
        size, deviation = float(rng.standard_exponential()), float(rng.standard_normal())
        if crashes < CRASH_SHARE:
            return None
        mine = self.own[strategy] if own < OWN_SHARE else range(CATEGORIES)
        category = mine[place % len(mine)]
        room = self.room[category]
        taken = math.fsum(max(e.size, 0.0) for e in held if e.category == category)
        left = max(room - taken, 0.0)
        part = left / room if room > 0 else 0.0
        chance = min(self.chances[category] * part**self.shape.decay, LARGEST_CHANCE)
        if improves < chance:
            effect = left * min(self.shape.share * size, LARGEST_SHARE)
        else:
            draws = Draws(improves, null, size, deviation)
            effect = self.shape.effect_without_improvements(draws)
        return Edit((strategy, number), category, mechanism % MECHANISMS, effect)

    def gain(self, held: Sequence[Edit]) -> float:
        """True gain of a configuration over the baseline."""
        if not self.cup.overlapping:
            return math.fsum(edit.size for edit in held)
        total = math.fsum(min(edit.size, 0.0) for edit in held)
        for mechanism in range(MECHANISMS):
            sizes = sorted(e.size for e in held if e.mechanism == mechanism and e.size > 0)
            if sizes:
                total += sizes[-1] - HARM * math.fsum(sizes[:-1])
        return total

    def lot(self) -> int:
        """A strategy, drawn by lot."""
        return int(np.random.default_rng([*self._key, 4]).integers(0, self.cup.competitors))

    def conflicts(self, edit: Edit, held: Sequence[Edit], recipient: int) -> bool:
        """Whether a patch does not apply there."""
        if not any(other.category == edit.category for other in held):
            return False
        rng = np.random.default_rng([*self._key, 3, recipient, *edit.name])
        return bool(rng.random() < CONFLICT)


class Score(Frozen):
    """The champion of one tournament: its true gain, and all runs that were used.

    ``false_share`` is the part of the champion's edits that harm or do nothing.
    """

    gain: float
    runs: int
    false_share: float

    @property
    def per_run(self) -> float:
        return self.gain / self.runs


class Competitor(Struct):
    """One competitor at work: its configuration, its judge, the runs that it used."""

    ground: Ground
    strategy: int
    name: int
    judge: Judge
    held: list[Edit] = field(default_factory=list)
    used: int = 0
    proposed: int = 0
    tried: set[tuple[int, int]] = field(default_factory=set)

    def play(self, until: int, queue: Sequence[Edit] = ()) -> None:
        """Go on until so many runs are used; wins of others are tried first."""
        waiting = list(queue)
        while self.used < until:
            while waiting and self._passes(waiting[0]):
                waiting.pop(0)
            edit = waiting.pop(0) if waiting else self._own()
            if edit is None:
                self.used += 1
                self.judge.crash()
            else:
                self._try(edit)

    def _passes(self, edit: Edit) -> bool:
        """Whether a win is not tried: it was, or its patch conflicts."""
        known = edit.name in self.tried
        return known or self.ground.conflicts(edit, self.held, self.name)

    def _own(self) -> Edit | None:
        self.proposed += 1
        return self.ground.propose(self.strategy, self.proposed, self.held)

    def _try(self, edit: Edit) -> None:
        """Run an edit, again as often as the judge asks, and keep it or not."""
        self.tried.add(edit.name)
        truth = self.ground.gain([*self.held, edit])
        ys = [self._run(edit, truth, 0)]
        found = self.judge.assess(ys)
        while found.verdict is Verdict.RETEST:
            ys.append(self._run(edit, truth, len(ys)))
            found = self.judge.assess(ys)
        self.judge.commit(found.keep)
        if found.keep:
            self.held.append(edit)

    def _run(self, edit: Edit, truth: float, replicate: int) -> float:
        self.used += 1
        return 1.0 - truth + self.ground.noise(self.name, *edit.name, replicate)


def _enter(ground: Ground, strategy: int, name: int) -> Competitor:
    """A competitor at the common baseline."""
    judge = Judge(Settings.for_session(ground.cup.mode))
    for replicate in range(BASELINE):
        judge.incumbent(1.0 + ground.noise(999, replicate))
    return Competitor(ground, strategy, name, judge)


def _leader(competitors: Sequence[Competitor]) -> Competitor:
    """The one that is believed to be the best."""
    return min(competitors, key=lambda one: one.judge.incumbent_mean)


def _score(ground: Ground, competitors: Sequence[Competitor]) -> Score:
    """The leader is the champion."""
    held = _leader(competitors).held
    gains = [ground.gain(held[:count]) for count in range(len(held) + 1)]
    harmful = sum(after <= before for before, after in itertools.pairwise(gains))
    runs = sum(one.used for one in competitors)
    return Score(gains[-1], runs, false_share=harmful / max(len(held), 1))


def patches(ground: Ground) -> Score:
    """Every win goes to all others as a patch and is re-tested there."""
    cup = ground.cup
    all_ = [_enter(ground, i, i) for i in range(cup.competitors)]
    queues: list[list[Edit]] = [[] for _ in all_]
    for number in range(1, cup.rounds + 1):
        for one, queue in zip(all_, queues, strict=True):
            one.play(number * cup.runs, queue)
        ahead = _leader(all_)
        order = sorted(all_, key=lambda one: one is not ahead)
        wins = [e for one in order for e in one.held if e.name[0] == one.strategy]
        queues = [[e for e in wins if e.name not in one.tried] for one in all_]
    return _score(ground, all_)


def best(ground: Ground) -> Score:
    """After every round all go on from the leader's configuration, without a re-test."""
    cup = ground.cup
    all_ = [_enter(ground, i, i) for i in range(cup.competitors)]
    for number in range(1, cup.rounds + 1):
        for one in all_:
            one.play(number * cup.runs)
        if number < cup.rounds:
            ahead = _leader(all_)
            for one in all_:
                if one is not ahead:
                    one.held = list(ahead.held)
                    one.judge = Judge.from_dict(ahead.judge.to_dict())
    return _score(ground, all_)


def alone(ground: Ground) -> Score:
    """One strategy, drawn by lot, with all the runs."""
    strategy = ground.lot()
    one = _enter(ground, strategy, strategy)
    one.play(ground.cup.total)
    return _score(ground, [one])


WAYS = {
    "patch by patch, re-tested": patches,
    "best config to everyone": best,
    "one competitor alone": alone,
}
"""How wins are passed on; all use the same number of runs."""


def play(cup: Cup, seed: int, number: int) -> dict[str, Score]:
    """One tournament under every way, with the same luck."""
    ground = Ground(cup, seed, number)
    return {name: way(ground) for name, way in WAYS.items()}


class Line(Frozen):
    """One way over many tournaments; ``behind`` is the first way's lead over it."""

    name: str
    gain: Estimate
    per_run: Estimate
    behind: Estimate
    false_share: float


def compare(scores: Sequence[dict[str, Score]]) -> list[Line]:
    """Means with their 95 % intervals; differences are paired by tournament."""
    first = next(iter(WAYS))
    lines = []
    for name in WAYS:
        per_run = np.array([score[name].per_run for score in scores])
        lead = np.array([score[first].per_run for score in scores]) - per_run
        lines.append(
            Line(
                name=name,
                gain=mean_estimate(np.array([score[name].gain for score in scores])),
                per_run=mean_estimate(per_run),
                behind=mean_estimate(lead),
                false_share=float(np.mean([score[name].false_share for score in scores])),
            )
        )
    return lines


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
