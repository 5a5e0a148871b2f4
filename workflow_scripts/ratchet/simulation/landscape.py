"""What proposals do in one simulated session: how often they improve, and how much.

A session starts at a distance from the best value that can be reached.  An
improvement takes a share of the distance that is left, and the nearer the end
the rarer it is.  Everything else changes nothing or does harm.

All distances and effects are in validation bits per byte; lower is better and a
positive effect is an improvement.
"""

from __future__ import annotations

import math

import numpy as np

from ratchet.codec import Frozen

TINY_EFFECT = 5e-5
"""Sd of the effects that are too small to be called anything but null."""

LARGEST_SHARE = 0.9
"""No proposal takes more than this share of the distance that is left."""

LARGEST_CHANCE = 0.97
"""No proposal improves more surely than this."""

LEAST_DISTANCE = 1e-7
"""The distance never reads as less, so that a chance of improving stays positive."""

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
        return -self.harm * math.exp(self.harm_spread * draws.deviation)

    def effect_without_improvements(self, draws: Draws) -> float:
        """The same where nothing can improve: no effect at all, or harm."""
        if draws.kind < self.null:
            return 0.0
        return -self.harm * math.exp(self.harm_spread * draws.deviation)


def draw_landscape(rng: np.random.Generator) -> Landscape:
    """A session's parameters, from the distribution fitted to the published log."""
    x = _ROOT @ rng.standard_normal(len(_FITTED))
    found = {}
    for (name, (low, high, mean, sd)), value in zip(_FITTED.items(), x, strict=True):
        found[name] = low + (high - low) / (1 + math.exp(-(mean + sd * float(value))))
    found["harm"] = math.exp(found["harm"])
    return Landscape(**found)
