"""Worlds to simulate sessions in, and the random numbers that all rules share.

A session starts at a distance from the best value that can be reached.  An improvement
takes a share of the distance that is left, and the nearer the end the rarer it is.
Everything else changes nothing or does harm.  All distances and effects are in
validation bits per byte; lower is better and a positive effect is an improvement.

A world is the fitted landscape with one thing changed: the shape of the noise, or what
proposals can do.  Random numbers are keyed by seed, session, proposal and replicate,
never by the order of calls.  So every rule meets the same proposals with the same luck,
worlds differ by that one thing only, and a longer session begins like a shorter one.
"""

import enum
import math

import numpy as np

from ratchet.base.structs import Frozen

TINY_EFFECT = 5e-5
"""Sd of the effects that are too small to be called anything but null."""

LARGEST_SHARE = 0.9
"""No proposal takes more than this share of the distance that is left."""

LARGEST_CHANCE = 0.97
"""No proposal improves more surely than this."""

LEAST_DISTANCE = 1e-7
"""The distance never reads as less, so that a chance of improving stays positive."""

OPTIMUM = 0.97
"""Best metric that can be reached; with the landscape's distance, sessions start
near 1 like validation bits per byte do."""

DIVERGENCE = (0.5, 3.0)
"""Range of what a diverged training adds to the metric.  The published log holds
one such run, at 3.2 where the others are near 1."""

HEAVY_FREEDOM = 4

SKEW_SHAPE = 4.0
"""A gamma distribution of this shape has skewness 1, as seen in public replicates."""

# How the parameters of a landscape vary between sessions.  Origin: approximate
# Bayesian computation, 400 accepted draws, against the one published log of 126
# runs of validation bits per byte; each parameter was drawn uniformly from the
# range below.  The table describes those draws:
#     parameter = low + (high - low) / (1 + exp(-x)), x normal with mean and sd,
# for `harm` on the log scale.  One log is little: the ranges are wide.
#           low    high   mean   sd
_FITTED = {
    "distance": (0.026, 0.045, -1.70, 1.19),
    "chance": (0.30, 0.95, 1.08, 1.43),
    "decay": (0.30, 1.60, 0.19, 1.87),
    "share": (0.05, 0.20, 0.54, 1.35),
    "null": (0.0, 0.50, 0.27, 1.59),
    "harm": (math.log(2e-4), math.log(2e-3), 0.02, 1.29),
    "harm_spread": (0.70, 1.80, 0.29, 1.72),
}

# Correlations of the x; the others are within 0.1 of 0, two standard errors.
_CORRELATED = {
    ("distance", "decay"): 0.41,
    ("distance", "share"): -0.21,
    ("decay", "share"): -0.16,
    ("null", "harm"): 0.30,
    ("null", "harm_spread"): -0.11,
    ("harm", "harm_spread"): -0.26,
}


def _root() -> np.ndarray:
    """Lower triangular root of the correlation matrix."""
    names = list(_FITTED)
    matrix = np.eye(len(names))
    for (one, other), value in _CORRELATED.items():
        i, j = names.index(one), names.index(other)
        matrix[i, j] = matrix[j, i] = value
    return np.linalg.cholesky(matrix)


_ROOT = _root()


class Draws(Frozen):
    """The random numbers behind one proposal, the same wherever it is made.

    ``chance`` and ``kind`` are uniform, ``size`` exponential and ``deviation``
    normal, all of unit scale.
    """

    chance: float
    kind: float
    size: float
    deviation: float


class Landscape(Frozen):
    """One session's parameters.

    At distance D a proposal improves with probability
    ``chance * (D / distance) ** decay`` and then by ``D * share * Exp(1)``; with
    probability ``null`` of the rest it changes nothing (half of these exactly,
    half by a normal with sd ``TINY_EFFECT``), and else it does harm, lognormal
    with median ``harm`` and log-sd ``harm_spread``.
    """

    distance: float
    chance: float
    decay: float
    share: float
    null: float
    harm: float
    harm_spread: float

    def effect(self, draws: Draws, distance: float) -> float:
        """True improvement by the proposal when so much distance is left."""
        left = max(distance, LEAST_DISTANCE)
        chance = min(self.chance * (left / self.distance) ** self.decay, LARGEST_CHANCE)
        if draws.chance < chance:
            return left * min(self.share * draws.size, LARGEST_SHARE)
        if draws.kind < self.null:
            return TINY_EFFECT * draws.deviation if draws.kind < 0.5 * self.null else 0.0
        return self._harmful(draws)

    def effect_without_improvements(self, draws: Draws) -> float:
        """True effect of the proposal where nothing can improve: none at all, or harm."""
        return 0.0 if draws.kind < self.null else self._harmful(draws)

    def _harmful(self, draws: Draws) -> float:
        return -self.harm * math.exp(self.harm_spread * draws.deviation)


def draw_landscape(rng: np.random.Generator) -> Landscape:
    """A session's parameters, from the distribution fitted to the published log."""
    x = _ROOT @ rng.standard_normal(len(_FITTED))
    drawn = {}
    for (name, (low, high, mean, sd)), value in zip(_FITTED.items(), x, strict=True):
        drawn[name] = low + (high - low) / (1 + math.exp(-(mean + sd * float(value))))
    drawn["harm"] = math.exp(drawn["harm"])
    return Landscape(**drawn)


class Noise(enum.StrEnum):
    """Shape of run-to-run noise; all have mean 0 and sd 1."""

    NORMAL = "normal"
    HEAVY = "heavy"
    SKEWED = "skewed"


class Effects(enum.StrEnum):
    """Kinds of effects that proposals can have."""

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


class SimulatedProposal(Frozen):
    """One proposal as all rules meet it; ``divergence`` is 0 unless it diverges."""

    crashes: bool
    divergence: float
    noise_factor: float
    draws: Draws


# Purposes of random streams: numbers, since a generator is seeded by numbers.
_SESSION, _PROPOSAL, _CANDIDATE_RUNS, _INCUMBENT_RUNS = range(4)


class Stream:
    """Source of everything random in one session.

    ``seed`` and ``session`` are not negative; noise is in noise sds.
    """

    def __init__(self, world: World, seed: int, session: int) -> None:
        self.world = world
        self._key = (seed, session)
        rng = self._generator(_SESSION)
        self.landscape = draw_landscape(rng)
        self.drift = world.drift if rng.random() < 0.5 else -world.drift
        self._proposals: list[SimulatedProposal] = []
        self._noise: dict[tuple[int, ...], tuple[np.random.Generator, list[float]]] = {}

    def _generator(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*self._key, *purpose])

    def proposal(self, number: int) -> SimulatedProposal:
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
        return self.proposal(number).noise_factor * self._nth(replicate, _CANDIDATE_RUNS, number)

    def incumbent_noise(self, count: int) -> float:
        """Noise of the session's run number ``count`` of baseline or incumbent."""
        return self._nth(count, _INCUMBENT_RUNS)

    def _nth(self, number: int, *purpose: int) -> float:
        if purpose not in self._noise:
            self._noise[purpose] = self._generator(*purpose), []
        rng, drawn = self._noise[purpose]
        while len(drawn) <= number:
            drawn.append(draw_noise(self.world.noise, rng))
        return drawn[number]


def _draw_proposal(world: World, rng: np.random.Generator) -> SimulatedProposal:
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
    return SimulatedProposal(crashes, divergence if diverges else 0.0, noise_factor, draws)


def draw_noise(noise: Noise, rng: np.random.Generator) -> float:
    """One value of mean 0 and sd 1."""
    if noise is Noise.HEAVY:
        sd = math.sqrt(HEAVY_FREEDOM / (HEAVY_FREEDOM - 2))
        return float(rng.standard_t(HEAVY_FREEDOM)) / sd
    if noise is Noise.SKEWED:
        return (float(rng.standard_gamma(SKEW_SHAPE)) - SKEW_SHAPE) / math.sqrt(SKEW_SHAPE)
    return float(rng.standard_normal())
