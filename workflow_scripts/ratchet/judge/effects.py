"""Posterior of a proposal's true effect, given one observed difference.

The effect ``g = theta_incumbent - theta_candidate`` (positive is better) has a
mixture prior: a point mass at 0 and half-normals of ten scales on either side,
in the order [null, ten positive, ten negative].  Scales count in a unit that the
caller gives, in that of the metric.  The observed difference is
``d = g + N(0, v)``, so every component has a closed-form posterior: a normal
N(m, tau^2) cut off at 0, with t = sigma^2 + v, m = d sigma^2 / t and
tau^2 = sigma^2 v / t (the product of two normals), whose moments follow from
the hazard h = phi(z) / Phi(z), z = +-m / tau.  Its marginal density is
2 N(d; 0, t) Phi(z).
"""

import math

import numpy as np
from numpy.typing import NDArray

from ratchet.base.stats import HALF_LOG_2PI, PEAK, FloatArray, log_ndtr, mills
from ratchet.base.structs import Frozen
from ratchet.judge.settings import Settings

SCALES = 2.0 ** np.arange(-3, 7)
"""Half-normal widths in that unit: from effects that no session can see to the few
that dwarf everything (a halved batch, a broken model)."""

POSITIVE = np.array([1, 1, 1, 1, 1, 1, 0.7, 0.4, 0.2, 0.1])
"""Relative weights of improvements by scale: large ones are rare."""

NEGATIVE = np.array([0.5, 0.7, 1, 1.5, 2, 2, 1.5, 1, 0.6, 0.3])
"""Relative weights of harm by scale: most harm is plain to see."""

SIDE = SCALES.size
COMPONENTS = 1 + 2 * SIDE
LOG_2 = math.log(2)


class Components(Frozen):
    """Posterior of each component; arrays of shape (..., 21).

    ``mode`` and ``sd`` are m and tau of the normal before it is cut off.
    """

    log_marginal: FloatArray
    mean: FloatArray
    variance: FloatArray
    mode: FloatArray
    sd: FloatArray


class _Cut(Frozen):
    """Normals before they are cut off: |m| / tau is ``size``, phi of it ``density``."""

    d: FloatArray
    v: FloatArray
    total: FloatArray
    mode: FloatArray
    sd: FloatArray
    positive: NDArray[np.bool_]
    size: FloatArray
    half_square: FloatArray
    density: FloatArray


class EffectPosterior(Frozen):
    """P(g > 0), P(g > threshold), E[g], Var[g] and the log density of ``d``."""

    better: FloatArray
    above: FloatArray
    mean: FloatArray
    variance: FloatArray
    log_marginal: FloatArray


class EffectModel:
    """The mixture prior; ``unit`` is that of its scales, by default the effect scale."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._unit = np.asarray(settings.effect_scale)
        uneven = 1 - settings.even_scales
        self._positive = POSITIVE**uneven / (POSITIVE**uneven).sum()
        self._negative = NEGATIVE**uneven / (NEGATIVE**uneven).sum()

    def prior(self, proposals: int = 0) -> FloatArray:
        """Weights of the components once so many proposals were judged."""
        settings = self._settings
        better = settings.improvement_weight / (1 + settings.fading * proposals)
        null = settings.null_weight
        worse = 1 - null - better
        return np.concatenate([[null], better * self._positive, worse * self._negative])

    def components(
        self, d: FloatArray, v: FloatArray, unit: FloatArray | None = None
    ) -> Components:
        """Posterior per component of differences ``d`` with variances ``v``."""
        cut = self._cut(d, v, unit)
        ratio = mills(cut.size)
        log_marginal, body = self._log_marginal(cut, ratio)
        # phi / Phi at |z| and at -|z|: on the difference's side and on the other.
        near = cut.density / body
        far = 1 / ratio
        toward, against = cut.size + near, np.maximum(far - cut.size, 0.0)
        variance = cut.sd * cut.sd
        mean, spread = np.zeros((2, *log_marginal.shape))
        _both_sides(mean, cut.positive, cut.sd * toward, cut.sd * against)
        np.negative(mean[..., 1 + SIDE :], out=mean[..., 1 + SIDE :])
        spread_toward = variance * np.clip(1 - near * toward, 0.0, 1.0)
        spread_against = variance * np.clip(1 - far * against, 0.0, 1.0)
        _both_sides(spread, cut.positive, spread_toward, spread_against)
        return Components(log_marginal, mean, spread, cut.mode, cut.sd)

    def _cut(self, d: FloatArray, v: FloatArray, unit: FloatArray | None) -> _Cut:
        """The normal of each scale, before it is cut off at 0."""
        d, v = np.broadcast_arrays(d, v)
        d, v = d[..., None], v[..., None]
        wide = np.asarray(self._unit if unit is None else unit)
        variance = np.square(SCALES * wide[..., None])
        total = variance + v
        shrink = variance / total
        mode, sd = d * shrink, np.sqrt(v * shrink)
        size = np.abs(mode) / sd
        half_square = 0.5 * size * size
        return _Cut(d, v, total, mode, sd, d >= 0, size, half_square, PEAK * np.exp(-half_square))

    def _log_marginal(self, cut: _Cut, ratio: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log density of each component, and what is left of its normal on the mode's side."""
        body = 1 - cut.density * ratio
        off = -0.5 * cut.d * cut.d
        log_density = (LOG_2 - HALF_LOG_2PI) + off / cut.total - 0.5 * np.log(cut.total)
        toward = log_density + np.log(body)
        against = log_density + (np.log(ratio) - cut.half_square - HALF_LOG_2PI)
        log_marginal = np.empty((*cut.d.shape[:-1], COMPONENTS))
        log_marginal[..., :1] = off / cut.v - 0.5 * np.log(cut.v) - HALF_LOG_2PI
        _both_sides(log_marginal, cut.positive, toward, against)
        return log_marginal, body

    def posterior(
        self,
        d: FloatArray,
        v: FloatArray,
        weights: FloatArray,
        threshold: float = 0.0,
        unit: FloatArray | None = None,
    ) -> EffectPosterior:
        """Mix the components with ``weights`` of shape (..., 21)."""
        parts = self.components(d, v, unit)
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

    def log_density(
        self, d: FloatArray, v: FloatArray, weights: FloatArray, unit: FloatArray | None = None
    ) -> FloatArray:
        """Log density of ``d`` alone, as :meth:`posterior` has it, at half the cost."""
        cut = self._cut(d, v, unit)
        log_weight = self._log_marginal(cut, mills(cut.size))[0] + np.log(weights)
        top = log_weight.max(axis=-1)
        total: FloatArray = top + np.log(np.exp(log_weight - top[..., None]).sum(axis=-1))
        return total

    def likelihood(
        self, d: FloatArray, v: FloatArray, unit: FloatArray, log_share: FloatArray
    ) -> FloatArray:
        """Marginal density of each component, relative to the largest.

        ``d``, ``v`` and ``unit`` have the shape (nodes, factors); ``log_share`` is what a
        factor adds to the log density, over which the densities are summed.
        """
        cut = self._cut(d, v, unit)
        log_marginal, _ = self._log_marginal(cut, mills(cut.size))
        log_marginal = log_marginal + log_share[..., None]
        top = log_marginal.max(axis=(-2, -1), keepdims=True)
        density: FloatArray = np.exp(log_marginal - top).sum(axis=-2)
        density /= density.max(axis=-1, keepdims=True)
        return density


def _both_sides(
    out: FloatArray, positive: NDArray[np.bool_], toward: FloatArray, against: FloatArray
) -> None:
    """Fill in the improving and the harmful components.

    ``toward`` is for the side on which the difference lies.
    """
    out[..., 1 : 1 + SIDE] = np.where(positive, toward, against)
    out[..., 1 + SIDE :] = np.where(positive, against, toward)


def _above(parts: Components, threshold: float) -> FloatArray:
    """P(g > threshold) in each component, for a threshold other than 0."""
    z, edge = parts.mode / parts.sd, (parts.mode - threshold) / parts.sd
    above = np.empty((*z.shape[:-1], COMPONENTS))
    positive, negative = above[..., 1 : 1 + SIDE], above[..., 1 + SIDE :]
    # One call for both, as a call costs more than its numbers.
    if threshold > 0:
        beyond, all_of_it = log_ndtr(np.stack([edge, z]))
        above[..., 0], negative[...] = 0.0, 0.0
        positive[...] = np.exp(np.minimum(beyond - all_of_it, 0.0))
    else:
        beyond, all_of_it = log_ndtr(np.stack([-edge, -z]))
        above[..., 0], positive[...] = 1.0, 1.0
        negative[...] = -np.expm1(np.minimum(beyond - all_of_it, 0.0))
    return above
