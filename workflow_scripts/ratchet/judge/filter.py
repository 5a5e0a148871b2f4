"""Filter: belief about the incumbent, the noise floor and the effects of proposals.

A filter over a grid of noise nodes S_j.  Each node holds its log evidence, a
normal belief N(mean_j, ratio_j * S_j^2) about the incumbent's true metric and
its own mixture weights of the effect prior.  Runs of the incumbent, kept and
discarded candidates all update it; that a discard tells of the incumbent too
is what undoes the luck by which the incumbent was once kept.

The noise of one code may differ from the session's by a factor: how likely each factor
is, is told beforehand, and by the replicates of that code.

Lower is better.  All values are in the metric's unit.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ratchet.base.errors import DataError
from ratchet.base.stats import HALF_LOG_2PI, FloatArray
from ratchet.base.structs import Frozen
from ratchet.judge.effects import COMPONENTS, EffectModel, EffectPosterior
from ratchet.judge.settings import REFERENCE_SCALE, Settings

LEARNING_WEIGHT = 1e-6
"""A node with less belief than this learns no effect weights from a candidate:
its view of the candidate is wrong, and leaving it out keeps the state small."""

UPDATING_WEIGHT = 1e-3
"""A node with less belief than this does not revise its effect weights now; it
weighs nothing in the result, and skipping it saves most of the work."""

TINY = 1e-300
"""Keeps the logarithm of a probability finite."""


class CandidateView(Frozen):
    """One candidate as every noise node sees it; arrays over the nodes.

    ``difference`` is incumbent mean minus candidate mean, ``within`` the sum of squares of
    the candidate's runs about their mean.  ``run_variance``, the sampling variance of that
    mean, the posterior ``shares`` of the factors, and ``given``, the effect given a factor,
    have the shape (nodes, factors); ``effect`` is the mixture over the factors.
    ``belief`` are the node weights after the candidate.
    """

    count: int
    mean: float
    difference: FloatArray
    incumbent_variance: FloatArray
    run_variance: FloatArray
    within: float
    shares: FloatArray
    given: EffectPosterior
    effect: EffectPosterior
    log_evidence: FloatArray
    belief: FloatArray

    @property
    def variance(self) -> FloatArray:
        """Variance of the difference given the effect."""
        of_runs: FloatArray = (self.shares * self.run_variance).sum(axis=-1)
        return self.incumbent_variance + of_runs


class _Remembered(Frozen):
    """What a candidate told of the effects: its difference, nan where a node does not learn."""

    difference: FloatArray
    variance: FloatArray
    count: int
    within: float


class IncumbentFilter:
    """The judge's whole memory; see the module's text for the model."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.effects = EffectModel(settings)
        grid = np.linspace(-settings.noise_span, settings.noise_span, settings.noise_nodes)
        self.noise: FloatArray = settings.noise_center * np.exp(grid)
        off = (grid - settings.noise_prior_mean) / settings.noise_prior_sd
        self.log_evidence: FloatArray = -0.5 * off**2
        factors, chances = np.array(settings.noise_factors).T
        self._factor_variance: FloatArray = np.square(self.noise[:, None] * factors)
        self._log_chances: FloatArray = np.log(chances / chances.sum())
        unit = self.noise if settings.effects_by_noise else settings.effect_scale + 0 * grid
        self.unit: FloatArray = unit[:, None]
        self.mean: FloatArray | None = None
        self.ratio: FloatArray = np.ones(grid.size)
        self.weights: FloatArray = np.tile(self.effects.prior(), (grid.size, 1))
        self.proposals = 0
        self._remembered: deque[_Remembered] = deque(maxlen=settings.window)
        # Those of the candidates that are remembered lie one after the other, oldest first.
        self._likelihoods = np.empty((2 * settings.window, grid.size, COMPONENTS))
        self._end = 0
        self._normalised: tuple[FloatArray, FloatArray] | None = None
        # The floor is a density, so it shrinks as the metric's unit grows.
        scale = settings.effect_scale / REFERENCE_SCALE
        self._log_floor = math.log(settings.outlier_floor / scale)

    @property
    def belief(self) -> FloatArray:
        """Probability of each noise node."""
        if self._normalised is None or self._normalised[0] is not self.log_evidence:
            self._normalised = self.log_evidence, _normalised(self.log_evidence)
        return self._normalised[1]

    @property
    def known_mean(self) -> FloatArray:
        """Incumbent mean per node; raises :class:`DataError` before any run of it."""
        if self.mean is None:
            raise DataError("judge: expected a run of the incumbent or baseline first, found none")
        return self.mean

    def measure(self, y: float) -> None:
        """Learn from one run of the incumbent or baseline."""
        if self.mean is None:
            self.mean = np.full(self.noise.size, y)
            return
        known = (self.ratio * self.noise**2)[:, None]
        total = known + self._factor_variance
        off = (y - self.mean)[:, None]
        joint = self._log_chances - 0.5 * off**2 / total - 0.5 * np.log(total) - HALF_LOG_2PI
        log_density = np.logaddexp.reduce(joint, axis=-1)
        shares = np.exp(joint - log_density[:, None])
        most = self.settings.surprise_residual
        off = self._credible(off, total, self.belief, log_density, most)
        self.log_evidence = self.log_evidence + np.maximum(log_density, self._log_floor)
        toward = known / total
        self._believe(shares, self.mean[:, None] + toward * off, known * (1 - toward))

    def measure_spread(self, values: FloatArray) -> None:
        """Learn the noise from replicates of a code whose mean is of no interest here."""
        within = float(((values - values.mean()) ** 2).sum())
        joint = self._log_chances + self._log_within(values.size, within)
        self.log_evidence = self.log_evidence + np.logaddexp.reduce(joint, axis=-1)

    def _believe(self, shares: FloatArray, mean: FloatArray, variance: FloatArray) -> None:
        """The incumbent's metric as a mixture over the factors, with its two moments."""
        self.mean = (shares * mean).sum(axis=-1)
        variance = variance + (mean - self.mean[:, None]) ** 2
        self.ratio = (shares * variance).sum(axis=-1) / self.noise**2

    def forget(self) -> None:
        """The next run of the incumbent is its first: what others showed holds no more."""
        self.mean, self.ratio = None, np.ones(self.noise.size)

    def drift(self) -> None:
        """A fresh proposal passed by without a measurement."""
        self.known_mean  # noqa: B018  raises before any run of the incumbent
        self.ratio = self.ratio + self.settings.drift
        self.proposals += 1

    def view(self, ys: FloatArray, threshold: float) -> CandidateView:
        """Look at a fresh proposal's runs without learning from them."""
        count, mean = ys.size, float(ys.mean())
        incumbent_variance = (self.ratio + self.settings.drift) * self.noise**2
        run_variance = self._factor_variance / count
        difference = self.known_mean - mean
        within = float(((ys - mean) ** 2).sum())
        given = self.effects.posterior(
            difference[:, None],
            incumbent_variance[:, None] + run_variance,
            self.weights[:, None, :],
            threshold,
            self.unit,
        )
        joint = self._log_chances + given.log_marginal + self._log_within(count, within)
        log_marginal = np.logaddexp.reduce(joint, axis=-1)
        shares = np.exp(joint - log_marginal[:, None])
        log_evidence = np.maximum(log_marginal, count * self._log_floor)
        return CandidateView(
            count=count,
            mean=mean,
            difference=difference,
            incumbent_variance=incumbent_variance,
            run_variance=run_variance,
            within=within,
            shares=shares,
            given=given,
            effect=_mixture(given, shares, log_marginal),
            log_evidence=log_evidence,
            belief=_normalised(self.log_evidence + log_evidence),
        )

    def _log_within(self, count: int, within: float) -> FloatArray:
        """Log density of replicates about their mean, by node and factor."""
        variance = self._factor_variance
        if count == 1:
            return np.zeros_like(variance)
        log_density: FloatArray = (
            -0.5 * within / variance
            - (count - 1) * (0.5 * np.log(variance) + HALF_LOG_2PI)
            - 0.5 * math.log(count)
        )
        return log_density

    def learn(self, view: CandidateView, keep: bool) -> None:
        """Fold a decided candidate in: it is the new incumbent, or it is not.

        Given the effect, incumbent and candidate have a common normal
        posterior; E[g] and Var[g] of the mixture replace the difference
        (moment matching).  For a keep this is the winner's-curse correction.
        """
        before = self.belief
        self.log_evidence = self.log_evidence + view.log_evidence
        self.proposals += 1
        self._remember(view, before >= LEARNING_WEIGHT)
        self._revise_weights(before > UPDATING_WEIGHT)
        incumbent_variance, effect = view.incumbent_variance[:, None], view.given
        total = incumbent_variance + view.run_variance
        toward_candidate = view.run_variance / total
        toward_incumbent = incumbent_variance / total
        joint = incumbent_variance * toward_candidate
        residual = view.difference[:, None] - effect.mean
        most = self.settings.outlier_residual
        noise = self._credible(residual, total, before, view.effect.log_marginal, most)
        if keep:
            mean = view.mean + toward_candidate * noise
            variance = joint + toward_candidate**2 * effect.variance
        else:
            mean = self.known_mean[:, None] - toward_incumbent * noise
            variance = joint + toward_incumbent**2 * effect.variance
        self._believe(view.shares, mean, variance)

    def _credible(
        self,
        residual: FloatArray,
        variance: FloatArray,
        belief: FloatArray,
        log_density: FloatArray,
        most_sds: float,
    ) -> FloatArray:
        """Part of a residual by which the incumbent may move.

        Where the model cannot explain a measurement the residual grows with the
        measurement and would drag the incumbent along; there it is held to
        ``most_sds`` of sampling noise.  ``log_density`` is the measurement's in
        each node and ``belief`` that before it; what the likely nodes explain is
        no outlier to the others either.
        """
        explained = np.logaddexp.reduce(np.log(belief + TINY) + log_density)
        if float(explained) >= self._log_floor:
            return residual
        most = most_sds * np.sqrt(variance)
        held: FloatArray = np.clip(residual, -most, most)
        return held

    def _remember(self, view: CandidateView, learning: np.ndarray) -> None:
        """Append the candidate to the window."""
        difference = np.where(learning, view.difference, np.nan)
        variance = np.where(learning, view.incumbent_variance, np.nan)
        self._append(_Remembered(difference, variance, view.count, view.within))

    def _append(self, seen: _Remembered) -> None:
        learning = np.isfinite(seen.difference)
        likelihood = np.ones((learning.size, COMPONENTS))
        run_variance = self._factor_variance[learning] / seen.count
        likelihood[learning] = self.effects.likelihood(
            seen.difference[learning, None],
            seen.variance[learning, None] + run_variance,
            self.unit[learning],
            self._log_chances + self._log_within(seen.count, seen.within)[learning],
        )
        self._remembered.append(seen)
        if self._end == len(self._likelihoods):
            self._end //= 2
            self._likelihoods[: self._end] = self._likelihoods[self._end :]
        self._likelihoods[self._end] = likelihood
        self._end += 1

    def _revise_weights(self, updating: np.ndarray) -> None:
        """EM steps on the effect weights over the window plus the prior's pseudo-counts."""
        window = self._likelihoods[self._end - len(self._remembered) : self._end, updating]
        prior = self.settings.prior_count * self.effects.prior(self.proposals)
        weights = self.weights[updating]
        for _ in range(self.settings.em_steps):
            share = weights * window
            share /= share.sum(axis=-1, keepdims=True)
            counts = prior + share.sum(axis=0)
            weights = counts / counts.sum(axis=-1, keepdims=True)
        self.weights = self.weights.copy()
        self.weights[updating] = weights

    def to_dict(self) -> dict[str, Any]:
        """State as JSON values; floats survive ``json`` exactly."""
        return {
            "log_evidence": self.log_evidence.tolist(),
            "mean": None if self.mean is None else self.mean.tolist(),
            "ratio": self.ratio.tolist(),
            "weights": self.weights.tolist(),
            "proposals": self.proposals,
            "window": [
                [_sparse(r.difference), _sparse(r.variance), r.count, r.within]
                for r in self._remembered
            ],
        }

    @classmethod
    def from_dict(cls, settings: Settings, data: Mapping[str, Any]) -> IncumbentFilter:
        """Inverse of :meth:`to_dict`; raises :class:`DataError` for anything else."""
        state = cls(settings)
        nodes = state.noise.size
        try:
            state.log_evidence = _array(data["log_evidence"], (nodes,))
            state.mean = None if data["mean"] is None else _array(data["mean"], (nodes,))
            state.ratio = _array(data["ratio"], (nodes,))
            state.weights = _array(data["weights"], (nodes, COMPONENTS))
            state.proposals = int(data["proposals"])
            for difference, variance, count, within in data["window"]:
                seen = _Remembered(
                    _array(difference, (nodes,), nan=True),
                    _array(variance, (nodes,), nan=True),
                    int(count),
                    float(within),
                )
                state._append(seen)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"judge state: cannot be read ({type(error).__name__}: {error})"
            ) from None
        return state


def _mixture(
    given: EffectPosterior, shares: FloatArray, log_marginal: FloatArray
) -> EffectPosterior:
    """The effect whatever the factor is."""
    mean = (shares * given.mean).sum(axis=-1)
    about_mean = given.variance + (given.mean - mean[:, None]) ** 2
    return EffectPosterior(
        better=(shares * given.better).sum(axis=-1),
        above=(shares * given.above).sum(axis=-1),
        mean=mean,
        variance=(shares * about_mean).sum(axis=-1),
        log_marginal=log_marginal,
    )


def _normalised(log_weight: FloatArray) -> FloatArray:
    weight = np.exp(log_weight - log_weight.max())
    share: FloatArray = weight / weight.sum()
    return share


def _array(values: Sequence[Any], shape: tuple[int, ...], nan: bool = False) -> FloatArray:
    """Numbers of a stored state; ``None`` is read as a nan where there may be any."""
    array = np.array(values, dtype=float)
    if array.shape != shape or not (nan or np.isfinite(array).all()):
        raise ValueError(f"expected finite numbers of shape {shape}, found shape {array.shape}")
    return array


def _sparse(values: FloatArray) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
