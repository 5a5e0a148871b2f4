"""Simulated tournaments: how wins are passed on, with the truth at hand.

What is proposed and what it is worth is in :mod:`ratchet.simulation.ground`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ratchet.codec import Frozen, Struct, field
from ratchet.judge import Judge, Settings
from ratchet.simulation.ground import Cup, Edit, Ground
from ratchet.simulation.measures import Estimate, mean
from ratchet.vocabulary import Verdict

BASELINE = 3
"""Runs of the common baseline, on top of those that are counted."""


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
    """One competitor at work: its configuration, its judge, the runs that it used.

    ``measured`` is the best value that any keep of its configuration had.
    """

    ground: Ground
    strategy: int
    name: int
    judge: Judge
    held: list[Edit] = field(default_factory=list)
    used: int = 0
    proposed: int = 0
    measured: float = 1.0
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
            self.measured = min(self.measured, math.fsum(ys) / len(ys))

    def _run(self, edit: Edit, truth: float, replicate: int) -> float:
        self.used += 1
        return 1.0 - truth + self.ground.noise(self.name, *edit.name, replicate)


def _enter(ground: Ground, strategy: int, name: int) -> Competitor:
    """A competitor at the common baseline."""
    judge = Judge(Settings.for_session(ground.cup.mode))
    for replicate in range(BASELINE):
        judge.incumbent(1.0 + ground.noise(999, replicate))
    return Competitor(ground, strategy, name, judge)


def _believed(one: Competitor) -> float:
    return one.judge.incumbent_mean


def _measured(one: Competitor) -> float:
    return one.measured


def _score(
    ground: Ground,
    competitors: Sequence[Competitor],
    by: Callable[[Competitor], float] = _believed,
) -> Score:
    """The one that is believed to be the best is the champion."""
    champion = min(competitors, key=by)
    harmful = 0
    for place, edit in enumerate(champion.held):
        before = champion.held[:place]
        harmful += ground.gain([*before, edit]) <= ground.gain(before)
    return Score(
        gain=ground.gain(champion.held),
        runs=sum(one.used for one in competitors),
        false_share=harmful / max(len(champion.held), 1),
    )


def patches(ground: Ground) -> Score:
    """Every win goes to all others as a patch and is re-tested there."""
    cup = ground.cup
    all_ = [_enter(ground, i, i) for i in range(cup.competitors)]
    queues: list[list[Edit]] = [[] for _ in all_]
    for number in range(1, cup.rounds + 1):
        for one, queue in zip(all_, queues, strict=True):
            one.play(number * cup.runs, queue)
        ahead = min(all_, key=_believed)
        order = sorted(all_, key=lambda one: one is not ahead)
        wins = [e for one in order for e in one.held if e.name[0] == one.strategy]
        queues = [[e for e in wins if e.name not in one.tried] for one in all_]
    return _score(ground, all_)


def best(ground: Ground, by: Callable[[Competitor], float] = _believed) -> Score:
    """After every round all go on from the leader's configuration, without a re-test."""
    cup = ground.cup
    all_ = [_enter(ground, i, i) for i in range(cup.competitors)]
    for number in range(1, cup.rounds + 1):
        for one in all_:
            one.play(number * cup.runs)
        if number < cup.rounds:
            ahead = min(all_, key=by)
            for one in all_:
                if one is not ahead:
                    one.held, one.measured = list(ahead.held), ahead.measured
                    one.judge = Judge.from_dict(ahead.judge.to_dict())
    return _score(ground, all_, by)


def best_measured(ground: Ground) -> Score:
    """The same, with the leader by the best value that was measured, as tools have it."""
    return best(ground, _measured)


def nothing(ground: Ground) -> Score:
    """Everybody for himself; the best of them counts."""
    cup = ground.cup
    all_ = [_enter(ground, i, i) for i in range(cup.competitors)]
    for one in all_:
        one.play(cup.rounds * cup.runs)
    return _score(ground, all_)


def alone(ground: Ground) -> Score:
    """One strategy, drawn by lot, with all the runs."""
    cup = ground.cup
    strategy = ground.lot()
    one = _enter(ground, strategy, strategy)
    one.play(cup.total)
    return _score(ground, [one])


WAYS = {
    "patch by patch, re-tested": patches,
    "best config to everyone": best,
    "the same, by measured value": best_measured,
    "nothing passed on": nothing,
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
                gain=mean(np.array([score[name].gain for score in scores])),
                per_run=mean(per_run),
                behind=mean(lead),
                false_share=float(np.mean([score[name].false_share for score in scores])),
            )
        )
    return lines
