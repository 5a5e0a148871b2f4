"""What sessions under a rule amount to, each figure with its 95 % interval.

Sessions are independent, so intervals come from the spread between sessions:
normal for means, bootstrap percentiles for ratios of sums.  Where not a single
false keep was seen the upper limit is the exact Poisson one.  Rules are compared
session by session, because they meet the same proposals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ratchet.codec import Frozen
from ratchet.simulation.session import Record
from ratchet.vocabulary import Verdict

FloatArray = NDArray[np.float64]

LEVEL = 0.95
Z = 1.959964
"""Half-width of a normal interval of that level, in standard errors."""

RESAMPLES = 1000
BOOTSTRAP_SEED = 20
"""Fixed: the same sessions always give the same intervals."""

BINS = 10
"""Of the calibration error; more would hold too few candidates each."""

NONE_SEEN = -math.log((1 - LEVEL) / 2)
"""Upper Poisson limit of the expected count where none was counted."""


class Estimate(Frozen):
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def margin(self) -> float:
        """Half the interval's width."""
        return (self.high - self.low) / 2


class HitRate(Frozen):
    """Share of the candidates with this verdict that are truly better."""

    verdict: Verdict
    share: float
    count: int


class Summary(Frozen):
    """All measures of one rule, per session unless they are shares.

    Gains are in the metric's unit.  ``over`` is the paired gain over the rule
    compared with, ``bias`` claimed minus true gain, ``missed`` the share of
    material improvements that were not kept and ``noise_ratio`` the geometric
    mean of estimated over true noise sd.  ``None``: the rule has no such thing,
    or there was nothing to count.
    """

    true_gain: Estimate
    over: Estimate
    bias: Estimate
    keeps: Estimate
    false_keeps: Estimate
    false_share: Estimate | None
    missed: Estimate | None
    proposals: Estimate
    retests: Estimate
    incumbent_runs: Estimate
    brier: Estimate | None
    calibration_error: Estimate | None
    noise_ratio: Estimate | None
    hit_rates: tuple[HitRate, ...]


def summarize(records: Sequence[Record], against: Sequence[Record]) -> Summary:
    """Measures of a rule's sessions, compared with another's of the same plan."""
    gain = column([record.true_gain for record in records])
    claimed = column([record.claimed_gain for record in records])
    keeps = column([sum(row.decision.keep for row in r.rows) for r in records])
    false = column([false_keeps_of(record) for record in records])
    material = column([sum(row.material for row in r.rows) for r in records])
    missed = column(
        [sum(row.material and not row.decision.keep for row in r.rows) for r in records]
    )
    return Summary(
        true_gain=mean(gain),
        over=mean(gain - column([record.true_gain for record in against])),
        bias=mean(claimed - gain),
        keeps=mean(keeps),
        false_keeps=_rate(false, np.ones_like(false)) or Estimate(0.0, 0.0, 0.0),
        false_share=_rate(false, keeps),
        missed=_rate(missed, material),
        proposals=mean(column([record.proposals for record in records])),
        retests=mean(column([record.retests for record in records])),
        incumbent_runs=mean(column([record.incumbent_runs for record in records])),
        **_calibration(records),
        noise_ratio=_noise_ratio(records),
        hit_rates=hit_rates(records),
    )


def mean(values: FloatArray) -> Estimate:
    """Mean over sessions, with a normal interval."""
    value = float(values.mean())
    margin = Z * float(values.std(ddof=1)) / math.sqrt(values.size)
    return Estimate(value, value - margin, value + margin)


def ratio(numerators: FloatArray, denominators: FloatArray) -> Estimate | None:
    """Ratio of sums over sessions, with a bootstrap interval; ``None`` over 0."""
    if not denominators.sum() > 0:
        return None
    over = _resampled(denominators)
    shares = _resampled(numerators)[over > 0] / over[over > 0]
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(numerators.sum() / denominators.sum()), float(low), float(high))


def calibration_error(counts: FloatArray, stated: FloatArray, better: FloatArray) -> float:
    """Expected calibration error from sums per bin (Naeini et al., AAAI 2015).

    ``counts`` are candidates per bin of stated probability, ``stated`` the sums
    of their probabilities and ``better`` how many of them are truly better.
    """
    return float(np.abs(stated - better).sum() / counts.sum())


def hit_rates(records: Sequence[Record]) -> tuple[HitRate, ...]:
    """Share truly better by verdict, surest verdict first."""
    rates = []
    for verdict in Verdict:
        better = [
            row.better
            for record in records
            for row in record.rows
            if row.decision.verdict is verdict
        ]
        if better:
            rates.append(HitRate(verdict, sum(better) / len(better), len(better)))
    return tuple(rates)


def _calibration(records: Sequence[Record]) -> dict[str, Estimate | None]:
    """Brier score and calibration error over all candidates with a probability."""
    bins = np.zeros((len(records), BINS, 3))
    squares = np.zeros(len(records))
    for session, record in enumerate(records):
        for row in record.rows:
            stated = row.decision.confidence
            if stated is None:
                continue
            bins[session, min(int(stated * BINS), BINS - 1)] += (1.0, stated, row.better)
            squares[session] += (stated - row.better) ** 2
    counts = bins[:, :, 0].sum(axis=1)
    brier = ratio(squares, counts)
    if brier is None:
        return {"brier": None, "calibration_error": None}
    error = calibration_error(*np.moveaxis(bins.sum(axis=0), -1, 0))
    resampled = _resampled(bins)
    spread = [calibration_error(*np.moveaxis(one, -1, 0)) for one in resampled]
    low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"brier": brier, "calibration_error": Estimate(error, float(low), float(high))}


def _noise_ratio(records: Sequence[Record]) -> Estimate | None:
    """Geometric mean of the noise ratios, if every session has one."""
    found = [record.noise_ratio for record in records if record.noise_ratio]
    if len(found) < len(records):
        return None
    logs = mean(np.log(column(found)))
    return Estimate(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high))


def _rate(false: FloatArray, of: FloatArray) -> Estimate | None:
    """A ratio whose upper limit holds where nothing was counted."""
    found = ratio(false, of)
    if found is None or found.value > 0:
        return found
    return Estimate(0.0, 0.0, min(NONE_SEEN / float(of.sum()), 1.0))


def _resampled(values: FloatArray) -> FloatArray:
    """Sums over resampled sessions; every call draws the same sessions."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    size = values.shape[0]
    weights = rng.multinomial(size, np.full(size, 1 / size), RESAMPLES).astype(float)
    sums: FloatArray = np.tensordot(weights, values, axes=1)
    return sums


def false_keeps_of(record: Record) -> int:
    return sum(row.decision.keep and not row.better for row in record.rows)


def column(values: Sequence[float]) -> FloatArray:
    return np.array(values, dtype=float)
