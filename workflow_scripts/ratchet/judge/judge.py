"""The judge: fed every run of a session in order, it says what each candidate is worth.

:class:`Judge` for a session at work, :func:`replay` for a finished log.  Beside the
verdict stands the worth of one more run of the candidate, compared with a run of a
fresh proposal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ratchet.base.errors import DataError
from ratchet.base.stats import FloatArray
from ratchet.base.structs import Frozen, from_json_values, replace, to_json_values
from ratchet.judge.effects import EffectModel, EffectPosterior
from ratchet.judge.filter import CandidateView, IncumbentFilter
from ratchet.judge.guarantee import FUTILITY, Confirmations, Look
from ratchet.judge.settings import Settings
from ratchet.records.records import Verdict

STATE_FORMAT = 2
"""Raised when a stored state would be read wrongly by this code."""

RETEST_RESOLUTION = 1e-9
"""A retest worth less than this share of the noise floor is worth nothing."""

TELLING_BELIEF = 0.03
"""Noise nodes with less belief have no say in what a retest is worth."""

# Gauss-Hermite quadrature over a standard normal, 11 points: the points at and above 0 and
# their weights, from numpy.polynomial.hermite_e.hermegauss.  They are written down since a
# processor of another kind would compute another last digit, and since that import is slow.
_HALF_POINTS = np.array(
    [
        0.0,
        0.928868997381064,
        1.876035020154846,
        2.865123160643645,
        3.936166607129977,
        5.1880012243748705,
    ]
)
_HALF_WEIGHTS = np.array(
    [
        0.3694083694083693,
        0.24224029987396997,
        0.06613874607105778,
        0.0067202852355372706,
        0.0001956719302712236,
        8.121849790214909e-07,
    ]
)
_POINTS = np.concatenate([-_HALF_POINTS[:0:-1], _HALF_POINTS])
_WEIGHTS = np.concatenate([_HALF_WEIGHTS[:0:-1], _HALF_WEIGHTS])


class Assessment(Frozen):
    """The judge's belief about a candidate after ``n`` runs of it.

    ``confidence`` is P(g > 0), ``confidence_at_threshold`` P(g > threshold)
    and ``gain`` E[g], where g is the true improvement (positive is better).
    ``delta`` is the candidate's mean minus the incumbent's and ``delta_sd`` its
    sampling noise (incumbent included); ``noise_sd`` is the noise floor of one
    run.  ``retest_value`` and ``fresh_value`` are expected gains per run; both
    are 0 where a retest is out of the question.  ``p_value`` and ``level`` are
    those of the test that mode ``guaranteed`` rests on, ``None`` in the others.
    Lower metrics are better and all but the probabilities are in the metric's
    unit.
    """

    verdict: Verdict
    confidence: float
    confidence_at_threshold: float
    gain: float
    delta: float
    delta_sd: float
    noise_sd: float
    keep_probability: float
    threshold: float
    retest_value: float
    fresh_value: float
    n: int
    p_value: float | None = None
    level: float | None = None

    @property
    def keep(self) -> bool:
        """Whether to keep the candidate if no further run is to be had."""
        if self.p_value is not None and self.level is not None and self.p_value > self.level:
            return False
        return keep_is_sure(
            self.confidence_at_threshold, self.gain, self.keep_probability, self.threshold
        )

    def without_retest(self, settings: Settings) -> Assessment:
        """Assessment with the verdict that holds without a further run."""
        p, sure = self.confidence_at_threshold, settings.strong_probability
        verdict = name_verdict(self.keep, False, p, self.gain, self.threshold, sure)
        return replace(self, verdict=verdict)


def keep_is_sure(confidence: float, gain: float, keep_probability: float, threshold: float) -> bool:
    """The keep rule: the candidate is surely, and on average, beyond the threshold."""
    return confidence >= keep_probability and gain > threshold


def name_verdict(
    keep: bool, retest: bool, confidence: float, gain: float, threshold: float, strong: float
) -> Verdict:
    """The verdict by the P(gain > threshold) that decides; MARGINAL is likely, yet not enough."""
    if retest:
        return Verdict.RETEST
    if keep:
        return Verdict.STRONG_KEEP if confidence >= strong else Verdict.KEEP
    if confidence >= 0.5 and gain > threshold:
        return Verdict.MARGINAL
    return Verdict.DISCARD


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

    def incumbent(self, y: float, anew: bool = False) -> None:
        """Learn from a run of the baseline or incumbent.

        With ``anew`` its earlier runs are compared with nothing any more, since the
        machine has become another.  Raises :class:`DataError` for a value that is not finite.
        """
        (value,) = _finite([y])
        if anew:
            self._filter.forget()
            if self._tests is not None:
                self._tests.forget()
        self._pending = None
        self._wanted = max(0, self._wanted - 1)
        self._filter.measure(float(value))
        if self._tests is not None:
            self._tests.measure(float(value))

    def replicates(self, ys: Sequence[float]) -> None:
        """Learn the noise from runs of one code, whose mean is of no interest here.

        Raises :class:`DataError` for fewer than two and for values that are not finite.
        """
        self._filter.measure_spread(_finite(ys, least=2))

    def crash(self) -> None:
        """A fresh proposal gave no metric: only time has passed."""
        self._pending = None
        self._wanted = 0
        self._filter.drift()

    def assess(
        self,
        ys: Sequence[float],
        threshold: float = 0.0,
        others_tested: int = 0,
        ideas_left: bool = True,
    ) -> Assessment:
        """Judge a candidate by all its runs so far; the state stays as it is.

        Where no ``ideas_left`` could use the run instead, a retest need not be worth
        more than one.

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
        keep = keep_is_sure(above, gain, self.settings.keep_probability, threshold)
        look = self._look(view, runs, threshold, others_tested, gain)
        if look is None:
            retest, fresh = self._values(view, above, gain, threshold, ideas_left)
            again = retest > max(
                self.settings.retest_price * fresh, RETEST_RESOLUTION * self.settings.effect_scale
            )
        else:
            retest = fresh = 0.0
            keep = keep and look.shown
            again = not look.shown and look.prospect >= FUTILITY
        # What a keep claims: to be worth its price.
        self._pending = (view, above, runs)
        strong = self.settings.strong_probability
        self._wanted = self._tests.runs_wanted(view.count) if self._tests and again else 0
        return Assessment(
            verdict=name_verdict(keep, again, above, gain, threshold, strong),
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

    def _values(
        self, view: CandidateView, above: float, gain: float, threshold: float, ideas_left: bool
    ) -> tuple[float, float]:
        """Values of a retest and of a fresh proposal; 0 where no retest is possible."""
        settings = self.settings
        most = min(settings.look_ahead, settings.max_replicates - view.count)
        if most < 1 or not settings.retest_low <= above <= settings.retest_high:
            return 0.0, 0.0
        belief = view.belief
        if settings.likeliest_noise:
            off = np.abs(np.log(self._filter.noise) - math.log(self.noise_sd))
            return self._prospect(view, int(np.argmin(off)), threshold).values(
                view.mean, view.count, most, ideas_left
            )
        kept = keep_is_sure(above, gain, settings.keep_probability, threshold)
        values = np.zeros(2)
        for node in np.flatnonzero(belief >= TELLING_BELIEF):
            prospect = self._prospect(view, int(node), threshold)
            found = prospect.values(view.mean, view.count, most, ideas_left, kept)
            values += belief[node] * np.array(found)
        retest, fresh = values / belief[belief >= TELLING_BELIEF].sum()
        return float(retest), float(fresh)

    def _prospect(self, view: CandidateView, node: int, threshold: float) -> _Prospect:
        """Prospects as one noise node sees them."""
        return _Prospect(
            effects=self._filter.effects,
            weights=self._filter.weights[node],
            noise_sd=float(self._filter.noise[node]),
            incumbent_mean=float(self._filter.known_mean[node]),
            incumbent_variance=float(view.incumbent_variance[node]),
            keep_probability=self.settings.keep_probability,
            unit=self._filter.unit[node, 0],
            threshold=threshold,
        )

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

        That is an improvement beyond its price; of a simplification, which may cost a
        little, that it costs no more.
        """
        return math.fsum(self._doubts)

    def to_dict(self) -> dict[str, Any]:
        """Settings and state as JSON values, without a candidate not yet committed."""
        return {
            "format": STATE_FORMAT,
            "settings": to_json_values(self.settings),
            "doubts": list(self._doubts),
            **self._filter.to_dict(),
            **({} if self._tests is None else {"tests": self._tests.to_dict()}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Judge:
        """The judge that :meth:`to_dict` was called on, exact to the bit.

        Raises :class:`DataError` for anything else.
        """
        if (stored := data.get("format")) != STATE_FORMAT:
            raise DataError(f"judge state: expected format {STATE_FORMAT}, found {stored!r}")
        judge = cls(from_json_values(Settings, data.get("settings"), "judge state: settings"))
        judge._filter = IncumbentFilter.from_dict(judge.settings, data)
        if judge._tests is not None:
            judge._tests.restore(data.get("tests", {}))
        judge._doubts = _finite(data.get("doubts", ()), least=0).tolist()
        return judge


class Replay(Frozen):
    """The judge after the log, and its view of each row at that row's time.

    ``assessments`` holds ``None`` for the baseline, for further runs of the
    incumbent, for rows without a metric and for runs that the next row decides.
    ``weights`` are those of the effect
    prior, by noise node, that each assessment rests on.  ``beliefs`` are mean and sd
    of the incumbent's true metric after each row, ``None`` before the baseline.
    """

    judge: Judge
    assessments: tuple[Assessment | None, ...]
    weights: tuple[FloatArray | None, ...]
    beliefs: tuple[tuple[float, float] | None, ...]


def replay(
    values: Sequence[float | None],
    kept: Sequence[bool],
    replicate_mask: Sequence[bool],
    settings: Settings,
    undecided: Sequence[bool] = (),
    last_is_open: bool = False,
) -> Replay:
    """Replay rows in order with the decisions that were taken.

    ``values`` holds ``None`` where a row has no valid metric; lower is better.
    The first valid row is the baseline.  Rows of ``replicate_mask`` that were
    not kept are further runs of the incumbent.  Rows of ``undecided`` are runs of the
    code that the next row measures once more, and are judged with it.  No assessment
    asks for a retest, but for that of the last row if it ``is_open``.  Raises
    :class:`DataError` for sequences of unequal length and for values that are not finite.
    """
    if not len(values) == len(kept) == len(replicate_mask):
        sizes = f"{len(values)}, {len(kept)} and {len(replicate_mask)}"
        raise DataError(
            f"replay: expected values, kept and replicates of equal length, found {sizes}"
        )
    judge = Judge(replace(settings, max_replicates=1))
    assessments: list[Assessment | None] = []
    weights: list[FloatArray | None] = []
    beliefs: list[tuple[float, float] | None] = []
    started, runs, waits = False, list[float](), undecided or [False] * len(values)
    for row, (value, keep, again) in enumerate(zip(values, kept, replicate_mask, strict=True), 1):
        assessments.append(None)
        weights.append(None)
        if row == len(values) and last_is_open:
            judge.settings = settings
        if value is not None and started and waits[row - 1]:
            runs.append(value)
        elif value is None:
            if started:
                judge.crash()
        elif not started or (again and not keep):
            judge.incumbent(value)
            started = True
        else:
            weights[-1] = judge._filter.weights
            assessments[-1] = judge.assess([*runs, value])
            judge.commit(keep)
            runs = []
        beliefs.append((judge.incumbent_mean, judge.incumbent_sd) if started else None)
    return Replay(judge, tuple(assessments), tuple(weights), tuple(beliefs))


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


class _Prospect(Frozen):
    """Expected gains per run, in the metric's unit, as one noise node sees them.

    A decision that is not taken is worth nothing.  ``threshold`` is the gain that
    the candidate must exceed to be kept.
    """

    effects: EffectModel
    weights: FloatArray
    noise_sd: float
    incumbent_mean: float
    incumbent_variance: float
    keep_probability: float
    unit: FloatArray
    threshold: float = 0.0

    def fresh_value(self) -> float:
        """Expected gain of a fresh proposal after one run, priced at 0."""
        difference = _MIDPOINTS * self.noise_sd
        variance = np.asarray(self.incumbent_variance + self.noise_sd**2)
        seen = self.effects.posterior(difference, variance, self.weights, 0.0, self.unit)
        density = np.exp(seen.log_marginal) * _WIDTHS * self.noise_sd
        return float(density @ _utility(seen, self.keep_probability, 0.0))

    def values(
        self, mean: float, count: int, most: int, ideas_left: bool, kept: bool | None = None
    ) -> tuple[float, float]:
        """Values of a retest and, where ideas are left, of a fresh proposal."""
        fresh = self.fresh_value() if ideas_left else 0.0
        return self.retest_value(mean, count, most, kept), fresh

    def retest_value(self, mean: float, count: int, most: int, kept: bool | None) -> float:
        """Largest expected gain per run of up to ``most`` further runs.

        ``kept`` says whether the candidate would be kept as it is, by default as this
        node alone would have it.
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
        expected = self._expected(later) @ _WEIGHTS
        present = float(self._expected(now))
        if kept is not None:
            present = float(now.mean) - self.threshold if kept else 0.0
        rates = (expected - present) / more[:, 0]
        return max(0.0, float(rates.max()))

    def _posterior(self, difference: FloatArray, variance: FloatArray | float) -> EffectPosterior:
        return self.effects.posterior(
            difference, np.asarray(variance), self.weights, self.threshold, self.unit
        )

    def _expected(self, seen: EffectPosterior) -> FloatArray:
        return _utility(seen, self.keep_probability, self.threshold)


def _utility(seen: EffectPosterior, keep_probability: float, threshold: float) -> FloatArray:
    """Expected gain beyond the threshold of what the keep rule would keep."""
    kept = (seen.above >= keep_probability) & (seen.mean > threshold)
    return np.where(kept, seen.mean - threshold, 0.0)


def _finite(values: Sequence[float], least: int = 1) -> FloatArray:
    """Values as an array; raises :class:`DataError` for too few or non-finite ones."""
    try:
        array = np.array(values, dtype=float)
    except (TypeError, ValueError):
        array = np.array([math.nan])
    if array.ndim != 1 or array.size < least or not np.isfinite(array).all():
        raise DataError(f"judge: expected finite metric values, found {values!r:.200}")
    return array
