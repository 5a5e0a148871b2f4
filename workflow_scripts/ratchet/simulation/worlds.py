"""Worlds to simulate sessions in, and the random numbers that all rules share.

A world is the fitted landscape with one thing changed: the shape of the noise,
or what proposals can do.  Random numbers are keyed by seed, session, proposal
and replicate, never by the order of calls.  So every rule meets the same
proposals with the same luck, worlds differ by that one thing only, and a longer
session begins like a shorter one.
"""

from __future__ import annotations

import enum
import math

import numpy as np

from ratchet.codec import Frozen
from ratchet.simulation.landscape import Draws, draw_landscape

OPTIMUM = 0.97
"""Best metric that can be reached; with the landscape's distance, sessions start
near 1 like validation bits per byte do."""

DIVERGENCE = (0.5, 3.0)
"""Range of what a diverged training adds to the metric.  The published log holds
one such run, at 3.2 where the others are near 1."""

HEAVY_FREEDOM = 4
SKEW_SHAPE = 4.0
"""A gamma distribution of this shape has skewness 1, as seen in public replicates."""


class Noise(enum.StrEnum):
    """Shape of run-to-run noise; all have mean 0 and sd 1."""

    NORMAL = "normal"
    HEAVY = "heavy"
    SKEWED = "skewed"


class Effects(enum.StrEnum):
    """What proposals can do."""

    FITTED = "fitted"
    NO_GAIN = "no gain"
    NONE = "none"


class World(Frozen):
    """A named kind of session.

    ``crash_share`` and ``divergent_share`` are probabilities per proposal,
    ``unevenness`` is the log-sd of the noise sd between candidates, and
    ``drift`` is what the machine adds to the metric per run, in noise sds,
    upwards in one half of the sessions and downwards in the other.
    """

    name: str
    summary: str
    noise: Noise = Noise.NORMAL
    effects: Effects = Effects.FITTED
    crash_share: float = 0.03
    divergent_share: float = 0.0
    unevenness: float = 0.0
    drift: float = 0.0


WORLDS = {
    world.name: world
    for world in (
        World("typical", "normal noise; 3 % of proposals crash"),
        World("heavy", "noise of Student's t with 4 degrees of freedom", noise=Noise.HEAVY),
        World("skewed", "noise with skewness 1: bad luck is larger than good", noise=Noise.SKEWED),
        World(
            "uneven", "each candidate's own noise sd, by a factor exp(N(0, 0.5))", unevenness=0.5
        ),
        World("drift", "the machine drifts by 1 noise sd per 100 runs", drift=0.01),
        World("crashes", "20 % of proposals crash", crash_share=0.2),
        World("null", "nothing improves: no effect at all, or harm", effects=Effects.NO_GAIN),
        World("all-null", "no proposal has any effect: the worst case", effects=Effects.NONE),
        World("divergent", "5 % of proposals diverge: 0.5 to 3 worse", divergent_share=0.05),
    )
}


class Proposal(Frozen):
    """One proposal as all rules meet it; ``divergence`` is 0 unless it diverges."""

    crashes: bool
    divergence: float
    noise_factor: float
    draws: Draws


# Purposes of random streams: numbers, since a generator is seeded by numbers.
_SESSION, _PROPOSAL, _CANDIDATE_RUNS, _INCUMBENT_RUNS = range(4)


class Stream:
    """Everything random in one session.

    ``seed`` and ``session`` are not negative; noise is in noise sds.
    """

    def __init__(self, world: World, seed: int, session: int) -> None:
        self.world = world
        self._key = (seed, session)
        rng = self._generator(_SESSION)
        self.landscape = draw_landscape(rng)
        self.drift = world.drift if rng.random() < 0.5 else -world.drift
        self._proposals: list[Proposal] = []
        self._runs: dict[int, tuple[np.random.Generator, list[float]]] = {}
        self._incumbent = (self._generator(_INCUMBENT_RUNS), list[float]())

    def _generator(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*self._key, *purpose])

    def proposal(self, number: int) -> Proposal:
        """The proposal of this number, from 0."""
        while len(self._proposals) <= number:
            rng = self._generator(_PROPOSAL, len(self._proposals))
            self._proposals.append(_draw_proposal(self.world, rng))
        return self._proposals[number]

    def effect(self, number: int, distance: float) -> float:
        """True improvement by that proposal at so much distance from the optimum."""
        proposal = self.proposal(number)
        if self.world.effects is Effects.NONE:
            return 0.0
        if proposal.divergence:
            return -proposal.divergence
        if self.world.effects is Effects.NO_GAIN:
            return self.landscape.effect_without_improvements(proposal.draws)
        return self.landscape.effect(proposal.draws, distance)

    def candidate_noise(self, number: int, replicate: int) -> float:
        """Noise of a proposal's run, its own noise sd included."""
        if number not in self._runs:
            self._runs[number] = (self._generator(_CANDIDATE_RUNS, number), [])
        return self.proposal(number).noise_factor * self._nth(*self._runs[number], replicate)

    def incumbent_noise(self, count: int) -> float:
        """Noise of the session's run number ``count`` of baseline or incumbent."""
        return self._nth(*self._incumbent, count)

    def _nth(self, rng: np.random.Generator, drawn: list[float], number: int) -> float:
        while len(drawn) <= number:
            drawn.append(draw_noise(self.world.noise, rng))
        return drawn[number]


def _draw_proposal(world: World, rng: np.random.Generator) -> Proposal:
    """One proposal; every world uses the same numbers in the same order."""
    draws = Draws(
        chance=float(rng.random()),
        kind=float(rng.random()),
        size=float(rng.standard_exponential()),
        deviation=float(rng.standard_normal()),
    )
    crashes = bool(rng.random() < world.crash_share)
    diverges = bool(rng.random() < world.divergent_share)
    divergence = float(rng.uniform(*DIVERGENCE))
    noise_factor = math.exp(world.unevenness * float(rng.standard_normal()))
    return Proposal(crashes, divergence if diverges else 0.0, noise_factor, draws)


def draw_noise(noise: Noise, rng: np.random.Generator) -> float:
    """One value of mean 0 and sd 1."""
    if noise is Noise.HEAVY:
        sd = math.sqrt(HEAVY_FREEDOM / (HEAVY_FREEDOM - 2))
        return float(rng.standard_t(HEAVY_FREEDOM)) / sd
    if noise is Noise.SKEWED:
        return (float(rng.standard_gamma(SKEW_SHAPE)) - SKEW_SHAPE) / math.sqrt(SKEW_SHAPE)
    return float(rng.standard_normal())
