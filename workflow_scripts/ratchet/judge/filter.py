"""Filter: belief about the incumbent, the noise floor and the effects of proposals.

A filter over a grid of noise nodes S_j.  Each node holds its log evidence, a
normal belief N(mean_j, ratio_j * S_j^2) about the incumbent's true metric and
its own mixture weights of the effect prior.  Runs of the incumbent, kept and
discarded candidates all update it; that a discard tells of the incumbent too
is what undoes the luck by which the incumbent was once kept.

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

    ``difference`` is incumbent mean minus candidate mean and ``variance`` its
    sampling variance, of which ``run_variance`` is the candidate's part.
    ``belief`` are the node weights after the candidate.
    """

    count: int
    mean: float
    difference: FloatArray
    incumbent_variance: FloatArray
    run_variance: FloatArray
    effect: EffectPosterior
    log_evidence: FloatArray
    belief: FloatArray

    @property
    def variance(self) -> FloatArray:
        """Variance of the difference given the effect."""
        return self.incumbent_variance + self.run_variance


class IncumbentFilter:
    """The judge's whole memory; see the module's text for the model."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.effects = EffectModel(settings)
        grid = np.linspace(-settings.noise_span, settings.noise_span, settings.noise_nodes)
        self.noise: FloatArray = settings.noise_center * np.exp(grid)
        self.log_evidence: FloatArray = -0.5 * (grid / settings.noise_prior_sd) ** 2
        self.mean: FloatArray | None = None
        self.ratio: FloatArray = np.ones(grid.size)
        self.weights: FloatArray = np.tile(self.effects.prior, (grid.size, 1))
        self._differences: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=settings.window)
        self._likelihoods: deque[FloatArray] = deque(maxlen=settings.window)
        # The floor is a density, so it shrinks as the metric's unit grows.
        scale = settings.effect_scale / REFERENCE_SCALE
        self._log_floor = math.log(settings.outlier_floor / scale)

    @property
    def belief(self) -> FloatArray:
        """Probability of each noise node."""
        return _normalised(self.log_evidence)

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
        total = (1 + self.ratio) * self.noise**2
        off = y - self.mean
        log_density = -0.5 * off**2 / total - 0.5 * np.log(total) - HALF_LOG_2PI
        most = self.settings.surprise_residual
        off = self._credible(off, total, self.belief, log_density, most)
        self.log_evidence = self.log_evidence + np.maximum(log_density, self._log_floor)
        self.mean = self.mean + self.ratio / (1 + self.ratio) * off
        self.ratio = self.ratio / (1 + self.ratio)

    def forget(self) -> None:
        """The next run of the incumbent is its first: what others showed holds no more."""
        self.mean, self.ratio = None, np.ones(self.noise.size)

    def drift(self) -> None:
        """A fresh proposal passed by without a measurement."""
        self.known_mean  # noqa: B018  raises before any run of the incumbent
        self.ratio = self.ratio + self.settings.drift

    def view(self, ys: FloatArray, threshold: float) -> CandidateView:
        """Look at a fresh proposal's runs without learning from them."""
        count, mean = ys.size, float(ys.mean())
        noise_variance = self.noise**2
        incumbent_variance = (self.ratio + self.settings.drift) * noise_variance
        run_variance = noise_variance / count
        difference = self.known_mean - mean
        effect = self.effects.posterior(
            difference, incumbent_variance + run_variance, self.weights, threshold
        )
        within = float(((ys - mean) ** 2).sum())
        log_evidence = np.maximum(effect.log_marginal, self._log_floor)
        if count > 1:
            log_evidence = log_evidence + self._log_within(count, within)
        return CandidateView(
            count=count,
            mean=mean,
            difference=difference,
            incumbent_variance=incumbent_variance,
            run_variance=run_variance,
            effect=effect,
            log_evidence=log_evidence,
            belief=_normalised(self.log_evidence + log_evidence),
        )

    def _log_within(self, count: int, within: float) -> FloatArray:
        """Log density of replicates about their mean, floored like a single run."""
        extra = count - 1
        log_density = -0.5 * within / self.noise**2 - extra * (np.log(self.noise) + HALF_LOG_2PI)
        floored: FloatArray = np.maximum(
            log_density - 0.5 * math.log(count), extra * self._log_floor
        )
        return floored

    def learn(self, view: CandidateView, keep: bool) -> None:
        """Fold a decided candidate in: it is the new incumbent, or it is not.

        Given the effect, incumbent and candidate have a common normal
        posterior; E[g] and Var[g] of the mixture replace the difference
        (moment matching).  For a keep this is the winner's-curse correction.
        """
        before = self.belief
        self.log_evidence = self.log_evidence + view.log_evidence
        self._remember(view, before >= LEARNING_WEIGHT)
        self._revise_weights(before > UPDATING_WEIGHT)
        total = view.variance
        toward_candidate = view.run_variance / total
        toward_incumbent = view.incumbent_variance / total
        joint = view.incumbent_variance * toward_candidate
        residual = view.difference - view.effect.mean
        most = self.settings.outlier_residual
        noise = self._credible(residual, total, before, view.effect.log_marginal, most)
        if keep:
            mean = view.mean + toward_candidate * noise
            variance = joint + toward_candidate**2 * view.effect.variance
        else:
            mean = self.known_mean - toward_incumbent * noise
            variance = joint + toward_incumbent**2 * view.effect.variance
        self.mean, self.ratio = mean, variance / self.noise**2

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
        """Append the candidate to the window; nan marks nodes that do not learn."""
        difference = np.where(learning, view.difference, np.nan)
        variance = np.where(learning, view.variance, np.nan)
        self._differences.append((difference, variance))
        self._likelihoods.append(self._likelihood(difference, variance))

    def _likelihood(self, difference: FloatArray, variance: FloatArray) -> FloatArray:
        learning = np.isfinite(difference)
        likelihood = np.ones((difference.size, COMPONENTS))
        likelihood[learning] = self.effects.likelihood(difference[learning], variance[learning])
        return likelihood

    def _revise_weights(self, updating: np.ndarray) -> None:
        """EM steps on the effect weights over the window plus the prior's pseudo-counts."""
        window = np.stack(self._likelihoods)[:, updating]
        prior = self.settings.prior_count * self.effects.prior
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
            "window": [[_sparse(d), _sparse(v)] for d, v in self._differences],
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
            for difference, variance in data["window"]:
                entry = (
                    _array(difference, (nodes,), nan=True),
                    _array(variance, (nodes,), nan=True),
                )
                state._differences.append(entry)
                state._likelihoods.append(state._likelihood(*entry))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"judge state: cannot be read ({type(error).__name__}: {error})"
            ) from None
        return state


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
