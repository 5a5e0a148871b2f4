"""The judge: fed every run of a session in order, it says what each is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ratchet.codec import decode, encode
from ratchet.errors import DataError
from ratchet.judge.assessment import RETEST_RESOLUTION, Assessment, keeps, name_verdict
from ratchet.judge.effects import FloatArray
from ratchet.judge.guarantee import FUTILITY, Confirmations, Look
from ratchet.judge.incumbent import CandidateView, IncumbentFilter
from ratchet.judge.retest import Prospect, nearest_node
from ratchet.judge.settings import Settings

STATE_FORMAT = 1
"""Raised when a stored state would be read wrongly by this code."""


class Judge:
    """Judges candidates against an incumbent under noise it learns itself.

    Model: ``y ~ N(theta, s^2)`` with one ``s`` per session; lower is better, so
    the caller negates a maximised metric.  Feed it in the session's order:
    :meth:`incumbent` for every run of the baseline or incumbent, then for every
    proposal :meth:`crash`, or :meth:`assess` (again with more runs while it says
    RETEST) and one :meth:`commit`.  Equal calls give equal answers to the bit.

    In mode ``guaranteed`` a keep also needs a test on fresh runs; see
    :mod:`ratchet.judge.guarantee`.  There :attr:`incumbent_runs_wanted` tells
    after each assessment how many runs of the incumbent to feed in first.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._filter = IncumbentFilter(self.settings)
        self._pending: tuple[CandidateView, float, FloatArray] | None = None
        self._doubts: list[float] = []
        bound = self.settings.false_keep_bound
        runs = self.settings.max_replicates
        self._tests = None if bound is None else Confirmations(bound, runs)
        self._wanted = 0

    def incumbent(self, y: float) -> None:
        """Learn from a run of the baseline or incumbent.

        Raises :class:`DataError` for a value that is not finite.
        """
        (value,) = _finite([y])
        self._pending = None
        self._wanted = max(0, self._wanted - 1)
        self._filter.measure(float(value))
        if self._tests is not None:
            self._tests.measure(float(value))

    def crash(self) -> None:
        """A fresh proposal gave no metric: only time has passed."""
        self._pending = None
        self._wanted = 0
        self._filter.drift()

    def assess(
        self, ys: Sequence[float], threshold: float = 0.0, others_tested: int = 0
    ) -> Assessment:
        """Judge a candidate by all its runs so far; the state stays as it is.

        ``threshold`` is the gain it must exceed, see ``Prices.threshold``; mode
        ``guaranteed`` gives no credit, there it is at least 0.  The mode counts
        tests, so it must know of ``others_tested``, the candidates with more
        than one run that were assessed before this one and are not committed.
        Raises :class:`DataError` before any run of the incumbent, without runs
        and for values that are not finite.
        """
        runs = _finite(ys)
        _finite([threshold])
        if self._tests is not None:
            threshold = max(threshold, 0.0)
        view = self._filter.view(runs, threshold)
        confidence = float(view.belief @ view.effect.better)
        above = float(view.belief @ view.effect.above)
        gain = float(view.belief @ view.effect.mean)
        keep = keeps(above, gain, self.settings.keep_probability, threshold)
        look = self._look(view, runs, threshold, others_tested, gain)
        if look is None:
            retest, fresh = self._values(view, above, threshold)
            again = retest > max(
                self.settings.retest_price * fresh, RETEST_RESOLUTION * self.settings.effect_scale
            )
        else:
            retest = fresh = 0.0
            keep = keep and look.shown
            again = not look.shown and look.prospect >= FUTILITY
        # What a keep claims: to be better, or not to cost more than it may.
        self._pending = (view, max(confidence, above), runs)
        self._wanted = self._tests.runs_wanted(view.count) if self._tests and again else 0
        return Assessment(
            verdict=name_verdict(keep, again, confidence, gain, self.settings.strong_probability),
            confidence=confidence,
            confidence_at_threshold=above,
            gain=gain,
            delta=view.mean - self.incumbent_mean,
            delta_sd=math.sqrt(float(self._filter.belief @ view.variance)),
            noise_sd=self.noise_sd,
            keep_probability=self.settings.keep_probability,
            threshold=threshold,
            retest_value=retest,
            fresh_value=fresh,
            n=view.count,
            p_value=look.p_value if look else None,
            level=look.level if look else None,
        )

    def _look(
        self, view: CandidateView, runs: FloatArray, threshold: float, others: int, gain: float
    ) -> Look | None:
        """The test of mode ``guaranteed``, of which the belief tells the prospects."""
        if self._tests is None:
            return None
        off_mean = view.effect.mean - gain
        variance = float(view.belief @ (view.effect.variance + off_mean**2))
        return self._tests.look(runs, threshold, others, gain, variance)

    def commit(self, keep: bool) -> None:
        """Learn from the last assessed candidate, kept or not.

        Raises :class:`DataError` unless :meth:`assess` was the call before.
        """
        if self._pending is None:
            raise DataError("judge: expected a candidate to be assessed before commit, found none")
        (view, confident, runs), self._pending = self._pending, None
        self._wanted = 0
        self._filter.learn(view, keep)
        if self._tests is not None:
            self._tests.close(runs, keep)
        if keep:
            self._doubts.append(1 - confident)

    def _values(self, view: CandidateView, above: float, threshold: float) -> tuple[float, float]:
        """Values of a retest and of a fresh proposal; 0 where no retest is possible."""
        settings = self.settings
        most = min(settings.look_ahead, settings.max_replicates - view.count)
        if most < 1 or not settings.retest_low <= above <= settings.retest_high:
            return 0.0, 0.0
        node = nearest_node(self._filter.noise, self.noise_sd)
        prospect = Prospect(
            effects=self._filter.effects,
            weights=self._filter.weights[node],
            noise_sd=float(self._filter.noise[node]),
            incumbent_mean=float(self._filter.known_mean[node]),
            incumbent_variance=float(view.incumbent_variance[node]),
            keep_probability=settings.keep_probability,
            threshold=threshold,
        )
        return prospect.retest_value(view.mean, view.count, most), prospect.fresh_value()

    @property
    def noise_sd(self) -> float:
        """Noise floor: geometric posterior mean of the sd of one run."""
        return math.exp(float(self._filter.belief @ np.log(self._filter.noise)))

    def noise_interval(self, level: float = 0.9) -> tuple[float, float]:
        """Central interval of the noise floor, between the nodes by ln S."""
        belief = self._filter.belief
        below = np.cumsum(belief) - 0.5 * belief
        tails = [(1 - level) / 2, (1 + level) / 2]
        low, high = np.exp(np.interp(tails, below, np.log(self._filter.noise)))
        return float(low), float(high)

    @property
    def effect_weights(self) -> FloatArray:
        """Weights of the effect prior by noise node, as learned so far."""
        return self._filter.weights

    @property
    def incumbent_mean(self) -> float:
        """Posterior mean of the incumbent's true metric."""
        return float(self._filter.belief @ self._filter.known_mean)

    @property
    def incumbent_sd(self) -> float:
        """Posterior sd of the incumbent's true metric."""
        off_mean = self._filter.known_mean - self.incumbent_mean
        variance = self._filter.ratio * self._filter.noise**2 + off_mean**2
        return math.sqrt(float(self._filter.belief @ variance))

    @property
    def incumbent_runs_wanted(self) -> int:
        """Fresh runs of the incumbent to feed in before the next assessment."""
        return self._wanted

    @property
    def error_spent(self) -> float | None:
        """Expected false keeps that the tests so far may have cost at most.

        ``None`` but in mode ``guaranteed``; there never above the bound.
        """
        return None if self._tests is None else self._tests.spent

    @property
    def expected_false_keeps(self) -> float:
        """Expected number of keeps so far that do not hold what they were kept for.

        That is an improvement; of a simplification, which may cost a little, that
        it costs no more.
        """
        return math.fsum(self._doubts)

    def to_dict(self) -> dict[str, Any]:
        """Settings and state as JSON values, without a candidate not yet committed."""
        return {
            "format": STATE_FORMAT,
            "settings": encode(self.settings),
            "doubts": list(self._doubts),
            **self._filter.to_dict(),
            **({} if self._tests is None else {"tests": self._tests.to_dict()}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Judge:
        """The judge that :meth:`to_dict` was called on, exact to the bit.

        Raises :class:`DataError` for anything else.
        """
        found = data.get("format")
        if found != STATE_FORMAT:
            raise DataError(f"judge state: expected format {STATE_FORMAT}, found {found!r}")
        judge = cls(decode(Settings, data.get("settings"), "judge state: settings"))
        judge._filter = IncumbentFilter.from_dict(judge.settings, data)
        if judge._tests is not None:
            judge._tests.restore(data.get("tests", {}))
        judge._doubts = _finite(data.get("doubts", ()), least=0).tolist()
        return judge


def _finite(values: Sequence[float], least: int = 1) -> FloatArray:
    """Values as an array; raises :class:`DataError` for too few or non-finite ones."""
    try:
        array = np.array(values, dtype=float)
    except (TypeError, ValueError):
        array = np.array([math.nan])
    if array.ndim != 1 or array.size < least or not np.isfinite(array).all():
        raise DataError(f"judge: expected finite metric values, found {values!r:.200}")
    return array
