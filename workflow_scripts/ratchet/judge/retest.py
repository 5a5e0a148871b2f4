"""What another run of a candidate is worth, against a run of a fresh proposal.

Both values are expected gains per run, in the metric's unit, under one noise
node (the likeliest); a decision that is not taken is worth nothing.
"""

from __future__ import annotations

import math

import numpy as np

from ratchet.codec import Frozen
from ratchet.judge.effects import EffectModel, EffectPosterior, FloatArray

_POINTS, _RAW_WEIGHTS = np.polynomial.hermite_e.hermegauss(11)
_WEIGHTS = _RAW_WEIGHTS / _RAW_WEIGHTS.sum()


def _difference_grid() -> tuple[FloatArray, FloatArray]:
    """Midpoints and widths, in noise sds, for differences a keep can rest on.

    Steps of 0.35 up to 6, where decisions change; then growing by a quarter up
    to 120, where only the tail of the effect prior is left.
    """
    widths, reached, step = [], 0.0, 0.35
    while reached < 120:
        widths.append(step)
        reached += step
        step *= 1.25 if reached > 6 else 1.0
    width = np.array(widths)
    return np.cumsum(width) - 0.5 * width, width


_MIDPOINTS, _WIDTHS = _difference_grid()


class Prospect(Frozen):
    """One noise node's view, from which both values follow.

    ``threshold`` is the gain that the candidate must exceed to be kept.
    """

    effects: EffectModel
    weights: FloatArray
    noise_sd: float
    incumbent_mean: float
    incumbent_variance: float
    keep_probability: float
    threshold: float = 0.0

    def fresh_value(self) -> float:
        """Expected gain of a fresh proposal after one run, priced at 0."""
        difference = _MIDPOINTS * self.noise_sd
        variance = np.asarray(self.incumbent_variance + self.noise_sd**2)
        seen = self.effects.posterior(difference, variance, self.weights)
        density = np.exp(seen.log_marginal) * _WIDTHS * self.noise_sd
        return float(density @ utility(seen, self.keep_probability, 0.0))

    def retest_value(self, mean: float, count: int, most: int) -> float:
        """Largest expected gain per run of up to ``most`` further runs.

        The candidate has ``count`` runs with this mean.  The predictive
        distribution of the mean after m more runs is taken as normal with the
        mixture's first two moments (11-point Gauss-Hermite).
        """
        if most < 1:
            return 0.0
        run_variance = self.noise_sd**2 / count
        total = self.incumbent_variance + run_variance
        difference = self.incumbent_mean - mean
        now = self._posterior(np.asarray(difference), total)
        toward = run_variance / total
        candidate = mean + toward * (difference - float(now.mean))
        spread = self.incumbent_variance * toward + toward**2 * float(now.variance)
        more = np.arange(1.0, most + 1)[:, None]
        share = more / (count + more)
        sd = share * np.sqrt(spread + self.noise_sd**2 / more)
        later_mean = mean + share * (candidate - mean) + sd * _POINTS
        later_variance = self.incumbent_variance + self.noise_sd**2 / (count + more)
        later = self._posterior(self.incumbent_mean - later_mean, later_variance)
        expected = self._utility(later) @ _WEIGHTS
        rates = (expected - float(self._utility(now))) / more[:, 0]
        return max(0.0, float(rates.max()))

    def _posterior(self, difference: FloatArray, variance: FloatArray | float) -> EffectPosterior:
        return self.effects.posterior(
            difference, np.asarray(variance), self.weights, self.threshold
        )

    def _utility(self, seen: EffectPosterior) -> FloatArray:
        return utility(seen, self.keep_probability, self.threshold)


def utility(seen: EffectPosterior, keep_probability: float, threshold: float) -> FloatArray:
    """Expected gain beyond the threshold of what the keep rule would keep."""
    kept = (seen.above >= keep_probability) & (seen.mean > threshold)
    return np.where(kept, seen.mean - threshold, 0.0)


def nearest_node(noise: FloatArray, noise_sd: float) -> int:
    """Index of the noise node closest to ``noise_sd`` on the log scale."""
    return int(np.argmin(np.abs(np.log(noise) - math.log(noise_sd))))
