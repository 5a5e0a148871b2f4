"""Measures of simulated sessions under a rule, each with its 95 % interval.

Sessions are independent, so intervals come from the spread between sessions: normal
for means, bootstrap percentiles for ratios of sums.  Where not a single false keep
was seen the upper limit is the exact Poisson one.  Rules are compared session by
session, because they meet the same proposals.  Figures are shown as lines of text
that fit 100 columns, and as JSON values.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ratchet.base.stats import FloatArray
from ratchet.base.structs import Frozen, to_json_values
from ratchet.base.terminal import align_columns
from ratchet.records.records import Verdict
from ratchet.simulation.session import Rule, SimulatedSession, SimulationPlan

LEVEL = 0.95

Z = 1.959964
"""Half-width of a normal interval of that level, in standard errors."""

RESAMPLES = 1000

BOOTSTRAP_SEED = 20
"""Fixed: the same sessions always give the same intervals."""

BINS = 10
"""Bins of the calibration error; more would hold too few candidates each."""

NONE_SEEN = -math.log((1 - LEVEL) / 2)
"""Upper Poisson limit of the expected count where none was counted."""

MISSING = "-"

THOUSANDTHS = 1e3
"""Gains are shown in thousandths of the metric's unit."""

FORMAT = 1
"""Raised when a field of the JSON changes its meaning."""

LEGEND = (
    "Gains are in thousandths of the metric, per session; ± and [ ] are 95 % intervals.",
    "over: paired by session.  false: kept without being better, per session and as a share of",
    "keeps.  missed: share of improvements above 2e-4 that were not kept.  tried: proposals.",
    "incumbent: its re-runs.  ECE: calibration error in 10 bins.  noise/true: estimated over true.",
)


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


def summarize_sessions(
    records: Sequence[SimulatedSession], against: Sequence[SimulatedSession]
) -> Summary:
    """Measures of a rule's sessions, compared with another's of the same plan."""
    gain = column([record.true_gain for record in records])
    claimed = column([record.claimed_gain for record in records])
    keeps = column([sum(row.decision.keep for row in r.rows) for r in records])
    false = column([sum(row.decision.keep and not row.better for row in r.rows) for r in records])
    material = column([sum(row.material for row in r.rows) for r in records])
    missed = column(
        [sum(row.material and not row.decision.keep for row in r.rows) for r in records]
    )
    return Summary(
        true_gain=mean_estimate(gain),
        over=mean_estimate(gain - column([record.true_gain for record in against])),
        bias=mean_estimate(claimed - gain),
        keeps=mean_estimate(keeps),
        false_keeps=_rate(false, np.ones_like(false)) or Estimate(0.0, 0.0, 0.0),
        false_share=_rate(false, keeps),
        missed=_rate(missed, material),
        proposals=mean_estimate(column([record.proposals for record in records])),
        retests=mean_estimate(column([record.retests for record in records])),
        incumbent_runs=mean_estimate(column([record.incumbent_runs for record in records])),
        **_calibration(records),
        noise_ratio=_noise_ratio(records),
        hit_rates=hit_rates(records),
    )


def mean_estimate(values: FloatArray) -> Estimate:
    """Mean over sessions, with a normal interval."""
    value = float(values.mean())
    margin = Z * float(values.std(ddof=1)) / math.sqrt(values.size)
    return Estimate(value, value - margin, value + margin)


def ratio_estimate(numerators: FloatArray, denominators: FloatArray) -> Estimate | None:
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


def hit_rates(records: Sequence[SimulatedSession]) -> tuple[HitRate, ...]:
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


def _calibration(records: Sequence[SimulatedSession]) -> dict[str, Estimate | None]:
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
    brier = ratio_estimate(squares, counts)
    if brier is None:
        return {"brier": None, "calibration_error": None}
    error = calibration_error(*np.moveaxis(bins.sum(axis=0), -1, 0))
    resampled = _resampled(bins)
    spread = [calibration_error(*np.moveaxis(one, -1, 0)) for one in resampled]
    low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"brier": brier, "calibration_error": Estimate(error, float(low), float(high))}


def _noise_ratio(records: Sequence[SimulatedSession]) -> Estimate | None:
    """Geometric mean of the noise ratios, if every session has one."""
    ratios = [record.noise_ratio for record in records if record.noise_ratio]
    if len(ratios) < len(records):
        return None
    logs = mean_estimate(np.log(column(ratios)))
    return Estimate(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high))


def _rate(false: FloatArray, of: FloatArray) -> Estimate | None:
    """A ratio whose upper limit holds where nothing was counted."""
    rate = ratio_estimate(false, of)
    if rate is None or rate.value > 0:
        return rate
    return Estimate(0.0, 0.0, min(NONE_SEEN / float(of.sum()), 1.0))


def _resampled(values: FloatArray) -> FloatArray:
    """Sums over resampled sessions; every call draws the same sessions."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    size = values.shape[0]
    weights = rng.multinomial(size, np.full(size, 1 / size), RESAMPLES).astype(float)
    sums: FloatArray = np.tensordot(weights, values, axes=1)
    return sums


def column(values: Sequence[float]) -> FloatArray:
    return np.array(values, dtype=float)


def simulation_heading(plan: SimulationPlan) -> str:
    """Plan of a simulation, in one line."""
    return (
        f"{plan.world.name}: {plan.world.summary}; {plan.runs} runs, "
        f"noise sd {plan.noise_sd:g}, {plan.sessions} sessions, seed {plan.seed}"
    )


def simulation_lines(summaries: Mapping[str, Summary], against: str) -> list[str]:
    """Three tables: what was gained, what it took, and what the words are worth."""
    gained = [
        ("rule", "true gain", f"over {against}", "claimed-true", "keeps", "false", "false share")
    ]
    took = [("rule", "missed", "tried", "retests", "incumbent", "Brier", "ECE", "noise/true")]
    for name, one in summaries.items():
        over = MISSING if name == against else signed(one.over)
        gain, keeps = _around(one.true_gain, 2, THOUSANDTHS), _around(one.keeps, 1)
        false = _around(one.false_keeps, 2), _between(one.false_share, 3)
        gained.append((name, gain, over, signed(one.bias), keeps, *false))
        runs = _around(one.retests, 1), _around(one.incumbent_runs, 1)
        error, noise = _between(one.calibration_error, 3), _between(one.noise_ratio, 2)
        missed, tried = _around(one.missed, 3), f"{one.proposals.value:.0f}"
        took.append((name, missed, tried, *runs, _around(one.brier, 3), error, noise))
    tables = align_columns(gained, left=(0,)), align_columns(took, left=(0,))
    return [*tables[0], "", *tables[1], *_words(summaries)]


def simulation_values(
    plan: SimulationPlan, rules: Sequence[Rule], summaries: Mapping[str, Summary], against: str
) -> dict[str, Any]:
    """Plan, rules and figures as JSON values; gains are in the metric's unit."""
    settings = to_json_values(plan)
    settings["world"] = plan.world.name
    return {
        "format": FORMAT,
        "plan": settings,
        "against": against,
        "rules": [
            {"name": rule.name, "summary": rule.summary, **to_json_values(summaries[rule.name])}
            for rule in rules
        ],
    }


def _words(summaries: Mapping[str, Summary]) -> list[str]:
    """Share truly better by verdict, for the rules that give verdicts."""
    given = {name: one.hit_rates for name, one in summaries.items() if one.hit_rates}
    if not given:
        return []
    seen = {hit.verdict for hits in given.values() for hit in hits}
    verdicts = [verdict for verdict in Verdict if verdict in seen]
    rows = [("truly better", *verdicts)]
    for name, hits in given.items():
        by_verdict = {hit.verdict: f"{_bare(hit.share, 3)} of {hit.count}" for hit in hits}
        rows.append((name, *(by_verdict.get(verdict, MISSING) for verdict in verdicts)))
    return ["", *align_columns(rows, left=(0,))]


def _around(estimate: Estimate | None, digits: int, factor: float = 1.0) -> str:
    """Value and half-width of its interval; only a limit where nothing was counted."""
    if estimate is None:
        return MISSING
    if estimate.value == 0 and estimate.low == 0 < estimate.high:
        return f"<{_bare(estimate.high * factor, digits)}"
    return f"{_bare(estimate.value * factor, digits)}±{_bare(estimate.margin * factor, digits)}"


def signed(estimate: Estimate) -> str:
    return f"{estimate.value * THOUSANDTHS:+.2f}±{estimate.margin * THOUSANDTHS:.2f}"


def _between(estimate: Estimate | None, digits: int) -> str:
    """Value and interval, which need not lie evenly around it."""
    if estimate is None:
        return MISSING
    value, low, high = (
        _bare(part, digits) for part in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low},{high}]"


def _bare(value: float, digits: int) -> str:
    """Without the zero before the point: the tables need the room."""
    text = f"{value:.{digits}f}"
    return text[1:] if text.startswith("0.") else text
