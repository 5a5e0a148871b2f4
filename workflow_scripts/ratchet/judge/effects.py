"""What one difference says about the true effect of a proposal.

The effect ``g = theta_incumbent - theta_candidate`` (positive is better) has a
mixture prior: a point mass at 0 and half-normals of ten scales on either side,
in the order [null, ten positive, ten negative].  The observed difference is
``d = g + N(0, v)``, so every component has a closed-form posterior: a normal
N(m, tau^2) cut off at 0, with t = sigma^2 + v, m = d sigma^2 / t and
tau^2 = sigma^2 v / t (the product of two normals), whose moments follow from
the hazard h = phi(z) / Phi(z), z = +-m / tau.  Its marginal density is
2 N(d; 0, t) Phi(z).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

from ratchet.judge.settings import Settings

FloatArray = NDArray[np.float64]

SCALES = 2.0 ** np.arange(-3, 7)
"""Half-normal widths in units of the effect scale: from effects that no session
can see to the few that dwarf everything (a halved batch, a broken model)."""

POSITIVE = np.array([1, 1, 1, 1, 1, 1, 0.7, 0.4, 0.2, 0.1])
"""Relative weights of improvements by scale: large ones are rare."""

NEGATIVE = np.array([0.5, 0.7, 1, 1.5, 2, 2, 1.5, 1, 0.6, 0.3])
"""Relative weights of harm by scale: most harm is plain to see."""

COMPONENTS = 1 + 2 * SCALES.size
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Components:
    """Posterior of each component; arrays of shape (..., 21).

    ``mode`` and ``sd`` are m and tau of the normal before it is cut off.
    """

    log_marginal: FloatArray
    mean: FloatArray
    variance: FloatArray
    mode: FloatArray
    sd: FloatArray


@dataclass(frozen=True)
class EffectPosterior:
    """P(g > 0), P(g > threshold), E[g], Var[g] and the log density of ``d``."""

    better: FloatArray
    above: FloatArray
    mean: FloatArray
    variance: FloatArray
    log_marginal: FloatArray


class EffectModel:
    """The mixture prior at one effect scale (in the metric's unit)."""

    def __init__(self, settings: Settings) -> None:
        self._variance: FloatArray = np.square(SCALES * settings.effect_scale)
        better, null = settings.improvement_weight, settings.null_weight
        positive = better * POSITIVE / POSITIVE.sum()
        negative = (1 - null - better) * NEGATIVE / NEGATIVE.sum()
        self.prior: FloatArray = np.concatenate([[null], positive, negative])

    def components(self, d: FloatArray, v: FloatArray) -> Components:
        """Posterior per component of differences ``d`` with variances ``v``."""
        d, v = np.broadcast_arrays(d, v)
        d, v = d[..., None], v[..., None]
        total = self._variance + v
        mode = d * self._variance / total
        variance = self._variance * v / total
        sd = np.sqrt(variance)
        log_cdf, hazard = _normal_tails(mode / sd)
        log_density = math.log(2) - 0.5 * d * d / total - 0.5 * np.log(total) - HALF_LOG_2PI
        log_null = -0.5 * d * d / v - 0.5 * np.log(v) - HALF_LOG_2PI
        z = np.stack([mode / sd, -mode / sd])
        magnitude = sd * np.maximum(z + hazard, 0.0)
        spread = variance * np.clip(1 - hazard * (z + hazard), 0.0, 1.0)
        zero = np.zeros_like(log_null)
        marginal = log_density + log_cdf
        return Components(
            log_marginal=np.concatenate([log_null, marginal[0], marginal[1]], axis=-1),
            mean=np.concatenate([zero, magnitude[0], -magnitude[1]], axis=-1),
            variance=np.concatenate([zero, spread[0], spread[1]], axis=-1),
            mode=mode,
            sd=sd,
        )

    def posterior(
        self, d: FloatArray, v: FloatArray, weights: FloatArray, threshold: float = 0.0
    ) -> EffectPosterior:
        """Mix the components with ``weights`` of shape (..., 21)."""
        parts = self.components(d, v)
        log_weight = parts.log_marginal + np.log(weights)
        top = log_weight.max(axis=-1, keepdims=True)
        share = np.exp(log_weight - top)
        total = share.sum(axis=-1, keepdims=True)
        share = share / total
        mean = (share * parts.mean).sum(axis=-1)
        about_mean = parts.variance + (parts.mean - mean[..., None]) ** 2
        better = share[..., 1 : 1 + SCALES.size].sum(axis=-1)
        above = better if threshold == 0 else (share * _above(parts, threshold)).sum(axis=-1)
        return EffectPosterior(
            better=better,
            above=above,
            mean=mean,
            variance=(share * about_mean).sum(axis=-1),
            log_marginal=(top + np.log(total))[..., 0],
        )

    def likelihood(self, d: FloatArray, v: FloatArray) -> FloatArray:
        """Marginal density of each component, relative to the largest."""
        log_marginal = self.components(d, v).log_marginal
        relative: FloatArray = np.exp(log_marginal - log_marginal.max(axis=-1, keepdims=True))
        return relative


def _normal_tails(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """ln Phi and phi/Phi at z and at -z, stacked; exact far into the tails.

    Both sides follow from the scaled complementary error function at |z|.
    """
    size = np.abs(z)
    half_tail = 0.5 * erfcx(size / math.sqrt(2))
    log_tail = np.log(half_tail) - 0.5 * size * size
    tail = np.exp(log_tail)
    density = np.exp(-0.5 * size * size - HALF_LOG_2PI)
    log_body = np.log1p(-tail)
    hazard_tail = math.exp(-HALF_LOG_2PI) / half_tail
    hazard_body = density / (1 - tail)
    up = z >= 0
    log_cdf = np.stack([np.where(up, log_body, log_tail), np.where(up, log_tail, log_body)])
    hazard = np.stack(
        [np.where(up, hazard_body, hazard_tail), np.where(up, hazard_tail, hazard_body)]
    )
    return log_cdf, hazard


def _above(parts: Components, threshold: float) -> FloatArray:
    """P(g > threshold) in each component, for a threshold other than 0."""
    z, edge = parts.mode / parts.sd, (parts.mode - threshold) / parts.sd
    one_sided = np.ones_like(z)
    if threshold > 0:
        positive = np.exp(np.minimum(log_ndtr(edge) - log_ndtr(z), 0.0))
        null, negative = 0.0, 0.0 * one_sided
    else:
        positive = one_sided
        null, negative = 1.0, -np.expm1(np.minimum(log_ndtr(-edge) - log_ndtr(-z), 0.0))
    at_null = np.full_like(z[..., :1], null)
    return np.concatenate([at_null, positive, negative], axis=-1)
