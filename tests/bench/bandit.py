"""Simulated sessions in which only the choice of the next category counts.

Every category has a distance of its own that its proposals can still take, so
that success makes further success rarer; a part of every gain opens new room in
the other categories, and now and then room appears from nowhere.  What a good
policy is today is a bad one tomorrow: a non-stationary bandit.

Sizes of steps, chances and harm are those of :mod:`ratchet.simulation.worlds`,
fitted to one published log of 126 runs; the split into categories is assumed.
Gains are in validation bits per byte, and positive is better.
"""

import math
from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from ratchet.base.structs import Frozen
from ratchet.records.records import CATEGORIES
from ratchet.simulation.worlds import LARGEST_CHANCE, LARGEST_SHARE, Draws, draw_landscape
from ratchet.steering.bandit import BanditPull, SteeringMode, rank_categories

ARMS = CATEGORIES[:7] + CATEGORIES[-1:]
"""Categories that are played; eight, as the released tool has no ``data``."""

CONCENTRATION = 0.7
"""Of the Dirichlet distribution that splits the distance: below 1, few have most."""

CHANCES = (0.3, 0.9)
"""Range of a category's chance to improve at the start."""

CRASH_SHARE = 0.03
NOISE_SD = 3e-4
"""Noise of one run,"""

COMPARISON = math.sqrt(1.3)
"""and factor of a difference to an incumbent that is known better than one run."""

KEEP_ABOVE = 0.6
"""A proposal is kept if it looks better by so many sds of the comparison."""

ROOM_FROM_NOWHERE = 0.002
"""Mean of the distance that a surprise adds to one category."""

LEAST_ROOM = 1e-6
HOPE = 1e-4
"""Added to a category's distance in its chance, so that none starts at zero."""

GAIN_SCALE = 5e-4
"""Gain worth having, as steering is told."""


class Play(Frozen):
    """The kind of world: part of a gain that opens room elsewhere, and how often
    room appears from nowhere per run."""

    name: str = "standard"
    spill: float = 0.3
    surprise: float = 0.01


PLAYS = {
    play.name: play
    for play in (Play(), Play("closed", 0.0, 0.0), Play("restless", spill=0.5, surprise=0.05))
}

Policy = Callable[[Sequence[BanditPull], Random], str]
"""Chooses a category by what was tried so far, with a source of luck of its own."""


class Score(Frozen):
    """Of one session: true gain of what was kept, and expected gain missed by
    not choosing the best category each time."""

    gain: float
    regret: float


class _World:
    """One session; the same luck, run by run, for every policy."""

    def __init__(self, play: Play, runs: int, seed: int, session: int) -> None:
        rng = np.random.default_rng([seed, session])
        self.play = play
        self.shape = draw_landscape(rng)
        count = len(ARMS)
        self.room = [float(x) for x in self.shape.distance * rng.dirichlet([CONCENTRATION] * count)]
        self.start = [room + HOPE for room in self.room]
        self.chances = [float(x) for x in rng.uniform(*CHANCES, count)]
        self.uniform = rng.random((runs, 4)).tolist()
        self.normal = rng.standard_normal((runs, 2)).tolist()
        self.sizes = rng.standard_exponential((runs, 2)).tolist()
        self.places = rng.integers(0, count, runs).tolist()

    def _chance(self, arm: int) -> float:
        left = min(max(self.room[arm] / self.start[arm], 0.0), 1.5)
        return float(min(self.chances[arm] * left**self.shape.decay, LARGEST_CHANCE))

    def expected(self) -> list[float]:
        """Expected gain of one proposal in each category."""
        return [self._chance(a) * self.shape.share * room for a, room in enumerate(self.room)]

    def step(self, run: int, arm: int) -> tuple[bool, float, float]:
        """One proposal: whether it is kept, its measured and its true gain."""
        improves, is_null, crashes, surprises = self.uniform[run]
        size, surprise = self.sizes[run]
        deviation, noise = self.normal[run]
        if improves < self._chance(arm):
            effect = self.room[arm] * min(self.shape.share * size, LARGEST_SHARE)
        else:
            draws = Draws(improves, is_null, size, deviation)
            effect = self.shape.effect_without_improvements(draws)
        sd = NOISE_SD * COMPARISON
        measured = effect + sd * noise
        kept = crashes >= CRASH_SHARE and measured > KEEP_ABOVE * sd
        if kept:
            self.room[arm] = max(self.room[arm] - effect, LEAST_ROOM)
            opened = max(effect, 0.0) * self.play.spill / (len(ARMS) - 1)
            self.room = [room + opened * (a != arm) for a, room in enumerate(self.room)]
        if surprises < self.play.surprise:
            self.room[self.places[run]] += ROOM_FROM_NOWHERE * surprise
        return kept, measured, effect


def play_session(policy: Policy, play: Play, runs: int, seed: int, session: int) -> Score:
    """One session of ``runs`` proposals; all policies meet the same luck."""
    world, luck = _World(play, runs, seed, session), Random(f"{seed} {session}")
    trials: list[BanditPull] = []
    gain = regret = 0.0
    for run in range(runs):
        choice = policy(trials, luck)
        arm, expected = ARMS.index(choice), world.expected()
        regret += max(expected) - expected[arm]
        kept, measured, effect = world.step(run, arm)
        trials.append(BanditPull(choice, kept, measured if kept else 0.0))
        gain += effect if kept else 0.0
    return Score(gain, regret)


class Comparison(Frozen):
    """A policy beside random choice, over paired sessions.

    ``over`` and ``margin`` (95 %) are the gain over random and ``regret`` the
    regret, both as a share of random's.
    """

    gain: float
    over: float
    margin: float
    regret: float


def compare(scores: Sequence[Score], random: Sequence[Score]) -> Comparison:
    """Summarize the sessions of a policy against those of random choice."""
    gains = np.array([score.gain for score in scores])
    others = np.array([score.gain for score in random])
    mean = float(others.mean())
    spread = 1.96 * float((gains - others).std(ddof=1)) / math.sqrt(gains.size)
    regret = math.fsum(score.regret for score in scores) / math.fsum(s.regret for s in random)
    return Comparison(float(gains.mean()), float(gains.mean()) / mean - 1, spread / mean, regret)


def steered(mode: SteeringMode = SteeringMode.AUTO) -> Policy:
    """Steering itself, as a session uses it."""

    def choose(trials: Sequence[BanditPull], luck: Random) -> str:
        return rank_categories(trials, luck.getrandbits(60), GAIN_SCALE, mode, ARMS)[0]

    return choose


def at_random(trials: Sequence[BanditPull], luck: Random) -> str:
    """Every category alike."""
    return luck.choice(ARMS)


def in_turn(trials: Sequence[BanditPull], luck: Random) -> str:
    """One category after the other."""
    return ARMS[len(trials) % len(ARMS)]


def highest_keep_rate(trials: Sequence[BanditPull], luck: Random) -> str:
    """What was kept most often per try, after two tries of each."""
    tried = dict.fromkeys(ARMS, 0)
    kept = dict.fromkeys(ARMS, 0)
    for trial in trials:
        tried[trial.category] += 1
        kept[trial.category] += trial.kept
    rarest = min(ARMS, key=lambda arm: tried[arm])
    if tried[rarest] < 2:
        return rarest
    return max(ARMS, key=lambda arm: (kept[arm] / tried[arm], luck.random()))


POLICIES: dict[str, Policy] = {
    "random": at_random,
    "in turn": in_turn,
    "highest keep rate": highest_keep_rate,
    "steered": steered(),
    "largest mean": steered(SteeringMode.EXPLOIT),
}
