"""Verdicts on a log: one candidate after the rows before it, or every row.

The judge is fed the rows with the decisions that their author took; what is not in
the log is assumed, and said.
"""

import math

from ratchet.base.errors import DataError
from ratchet.base.structs import Frozen, replace
from ratchet.base.text import plural
from ratchet.judge.judge import Assessment, Judge, Replay, replay
from ratchet.judge.settings import Settings, scale_from
from ratchet.judge.tradeoffs import MEMORY_TOLERANCE, Prices, efficiency
from ratchet.logs.experiments import LogCandidate, LogExperiments
from ratchet.logs.table import first_of
from ratchet.records.history import (
    NO_CHANCE_MEASURED,
    NO_SEED_EFFECT,
    NOISE_UNKNOWN,
    SEED_HINT,
    SeedEffect,
    seed_effect,
)
from ratchet.records.records import Verdict

EXIT_KEEP, EXIT_DISCARD, EXIT_RETEST = 0, 1, 2

SCALE_RANGE = 10.0
"""Typical differences between candidates may be this many times larger or smaller
than the scale that the baseline gives suggests; beyond, they set the scale."""

DIFFERENCE_PER_SCALE = 3.0
"""Median size of a proposal's effect in effect scales, by the judge's prior."""

SPAN_SDS = 4.0
"""Half-width of the noise grid, in sds of what replicates leave open about ln s."""

LEAST_SPAN, MOST_SPAN = 0.05, 2.4
"""In ln: around a noise floor that the user states, and as without any replicates."""

MOST_MEMORY_RATIO = 50.0
"""No edit changes memory by such a factor; megabytes read as gigabytes do."""

MEMORY_STEP_GB = 0.1 + 1e-9
"""A log gives memory with one decimal; a change of the last digit may be none."""

MOST_RIVALS = 20
"""Kept codes of less memory that a candidate is compared with, the best ones."""


class Answer(Frozen):
    """The verdict on one candidate.

    ``value``, ``incumbent``, ``best`` (of the rows kept before), ``delta``
    (value minus incumbent), ``noise_sd`` and ``gain`` are in the metric's unit;
    the first four also in its own direction, while a positive gain is better.
    ``confidence`` is the probability that the candidate is truly better.
    ``threshold`` is the gain that the candidate's memory must bring, ``memory_ratio``
    candidate over incumbent.  Where the seed has no effect (``seedless``), nothing is said
    that rests on noise.
    """

    candidate: LogCandidate
    verdict: Verdict
    reason: str
    confidence: float | None = None
    value: float | None = None
    incumbent: float | None = None
    incumbent_sd: float | None = None
    best: float | None = None
    delta: float | None = None
    gain: float | None = None
    noise_sd: float | None = None
    noise_interval: tuple[float, float] | None = None
    keep_probability: float | None = None
    efficiency: tuple[float, float] | None = None
    expected_false_keeps: float | None = None
    threshold: float | None = None
    confidence_at_threshold: float | None = None
    memory_ratio: float | None = None
    seedless: bool = False

    @property
    def exit_code(self) -> int:
        """0 keep, 2 retest, 1 all else."""
        if self.verdict is Verdict.RETEST:
            return EXIT_RETEST
        return EXIT_KEEP if self.verdict.is_keep else EXIT_DISCARD

    @property
    def pareto(self) -> str:
        """EFFICIENT, DOMINATED or, without memory in the log, UNKNOWN."""
        if self.efficiency is None:
            return "UNKNOWN"
        return "EFFICIENT" if self.efficiency[0] >= 0.5 else "DOMINATED"


class Rules(Frozen):
    """The user's choices: mode by name, noise floor in the metric's unit."""

    mode: str = "auto"
    noise_sd: float | None = None


def settings_for(past: LogExperiments, planned: int, rules: Rules) -> tuple[Settings, list[str]]:
    """The judge's settings for a log, and what was assumed for them."""
    if not past.baseline_runs:
        raise DataError("expected a row with a metric before the one to judge, found none")
    scale, said = scale_from(past.baseline_runs), []
    typical = past.typical_difference
    if typical:
        ratio = typical / DIFFERENCE_PER_SCALE / scale
        if not 1 / SCALE_RANGE <= ratio <= SCALE_RANGE:
            scale *= ratio
            said.append(f"effects of a scale of {scale:.2g} are expected, as candidates differ so")
    settings = Settings.for_session(rules.mode, planned, scale)
    if rules.noise_sd is not None:
        settings = replace(settings, noise_center=rules.noise_sd, noise_span=LEAST_SPAN)
    return settings, said


def noise_span(left_open: float) -> float:
    """Half-width of the noise grid where replicates leave this sd of ln s open."""
    return min(max(SPAN_SDS * left_open, LEAST_SPAN), MOST_SPAN)


def replay_rows(past: LogExperiments, settings: Settings) -> Replay:
    """The judge after these rows, with the decisions that their author took.

    Where no re-run has differed, re-runs are repetitions and no evidence of little noise.
    """
    values = past.values
    if seed_effect(past.replicates) is not SeedEffect.SHOWN:
        alike = zip(values, past.again, strict=True)
        values = [
            None if again and place != past.first else value
            for place, (value, again) in enumerate(alike)
        ]
    return replay(values, past.kept, past.again, settings)


def is_seedless(past: LogExperiments, rules: Rules, *candidate: float) -> bool:
    """Whether the seed has no effect, by a log and a candidate's runs, and no noise is stated."""
    effect = seed_effect([*past.replicates, candidate])
    return rules.noise_sd is None and effect is SeedEffect.NONE


def judge_candidate(
    every: LogExperiments, candidate: LogCandidate, rules: Rules
) -> tuple[Answer, list[str]]:
    """Judge one candidate by the rows before it.

    Unlike in a replay a re-run may be asked for, as this run can be repeated,
    and memory has its price; past decisions are what they are.
    """
    past = every.before(candidate.since + 1)
    said = past.assumptions()
    if past.first is None:
        return _baseline(candidate), said
    settings, more = settings_for(past, len(every.rows), rules)
    state = replay_rows(past, settings).judge.to_dict()
    state["settings"]["max_replicates"] = settings.max_replicates
    judge = Judge.from_dict(state)
    if not candidate.values:
        why = _no_metric(f"no valid {past.table.metric}", candidate)
        return replace(_answer(candidate, past, judge), reason=why), [*said, *more]
    sign = past.table.direction.sign
    ratio = memory_ratio(candidate, past)
    # Less memory earns nothing; lines of code, which no log tells, are free.
    prices = Prices().scaled(judge.settings.effect_scale)
    threshold = max(0.0, prices.threshold(0, judge.noise_sd, ratio))
    values = [sign * value for value in candidate.values]
    if seed_effect([*past.replicates, values]) is not SeedEffect.SHOWN:
        del values[1:]  # they are all equal
    assessment = judge.assess(values, threshold)
    answer = replace(
        _answer(candidate, past, judge),
        verdict=assessment.verdict,
        confidence=assessment.confidence,
        delta=sign * assessment.delta,
        gain=assessment.gain,
        keep_probability=assessment.keep_probability,
        reason=verdict_reason(assessment) + _said_of_price(threshold, ratio),
        threshold=threshold,
        confidence_at_threshold=assessment.confidence_at_threshold,
        memory_ratio=ratio,
        efficiency=_efficiency(candidate, past, assessment, judge),
    )
    if is_seedless(past, rules, *candidate.values):
        delta = values[0] - past.replicates[-1][0]
        found = replace(assessment.without_retest(judge.settings), delta=delta)
        answer = _without_chance(answer, found, sign)
    return answer, [*said, *more]


def _without_chance(answer: Answer, assessment: Assessment, sign: int) -> Answer:
    """An answer by single measurements; it claims nothing about chance, which was not measured."""
    better = -assessment.delta > assessment.threshold
    verdict = Verdict.KEEP if assessment.keep else assessment.verdict
    direction = "better" if assessment.delta < 0 else "worse"
    return replace(
        answer,
        verdict=verdict if better else Verdict.DISCARD,
        delta=sign * assessment.delta,
        incumbent=None if answer.value is None else answer.value - sign * assessment.delta,
        reason=f"{abs(assessment.delta):.4g} {direction} than the incumbent; {NO_SEED_EFFECT} "
        f"({SEED_HINT}): {NO_CHANCE_MEASURED}; {NOISE_UNKNOWN}",
        seedless=True,
        confidence=None,
        confidence_at_threshold=None,
        incumbent_sd=None,
        noise_sd=None,
        noise_interval=None,
        expected_false_keeps=None,
        efficiency=None,
    )


def _answer(candidate: LogCandidate, past: LogExperiments, judge: Judge) -> Answer:
    """Answer without its verdict: the fields that every row after the first has."""
    sign, values = past.table.direction.sign, candidate.values
    return Answer(
        candidate=candidate,
        verdict=Verdict.CRASH,
        reason="",
        value=math.fsum(values) / len(values) if values else None,
        incumbent=sign * judge.incumbent_mean,
        incumbent_sd=judge.incumbent_sd,
        best=None if past.best is None else sign * past.best,
        noise_sd=judge.noise_sd,
        noise_interval=judge.noise_interval(),
        keep_probability=judge.settings.keep_probability,
        expected_false_keeps=judge.expected_false_keeps,
    )


def _baseline(candidate: LogCandidate) -> Answer:
    """The first run of a log: there is nothing to compare it with."""
    if not candidate.values:
        return Answer(candidate, Verdict.CRASH, _no_metric("no valid metric", candidate))
    value = math.fsum(candidate.values) / len(candidate.values)
    why = "the baseline: there is no earlier run to compare it with"
    return Answer(candidate, Verdict.KEEP, why, value=value)


def _no_metric(why: str, candidate: LogCandidate) -> str:
    return f"{why}: {candidate.evidence}" if candidate.evidence else why


def verdict_reason(assessment: Assessment) -> str:
    """Why the verdict is what it is, in one sentence."""
    asked = assessment.threshold
    event = f"P(gain > {asked:.2g})" if asked else "P(better)"
    p, pk = f"{assessment.confidence_at_threshold:.2f}", f"{assessment.keep_probability:.2f}"
    gain = f"expected gain {assessment.gain:.2g}"
    if assessment.verdict is Verdict.RETEST:
        return (
            f"{event} is {p}; another run of the same code with a fresh seed is worth more "
            "than a new proposal"
        )
    if assessment.keep:
        return f"{event} {p} reaches the {pk} that a keep needs; {gain}"
    if assessment.confidence_at_threshold >= assessment.keep_probability:
        return f"{event} {p} would do, yet the {gain} is not above {asked:.2g}"
    if assessment.verdict is Verdict.MARGINAL:
        return f"more likely better than not, yet {event} {p} is below {pk}; {gain}"
    return f"{event} {p} is below the {pk} that a keep needs; {gain}"


def memory_ratio(candidate: LogCandidate, past: LogExperiments) -> float | None:
    """Memory of the candidate over the incumbent's; ``None`` unless both have the same unit."""
    held = [
        row.memory_gb
        for row, keep, value in zip(past.rows, past.kept, past.values, strict=True)
        if keep and value is not None
    ]
    before, after = held[-1] if held else None, candidate.memory_gb
    if before is None or after is None or before <= 0 or after <= 0:
        return None
    if abs(after - before) <= MEMORY_STEP_GB:
        return 1.0
    ratio = after / before
    return ratio if 1 / MOST_MEMORY_RATIO < ratio < MOST_MEMORY_RATIO else None


def _said_of_price(threshold: float, ratio: float | None) -> str:
    """Words about the price of memory; empty where it is free."""
    if threshold == 0 or ratio is None:
        return ""
    return f"; memory {100 * (ratio - 1):+.0f} % must bring {threshold:.2g}"


def _efficiency(
    candidate: LogCandidate, past: LogExperiments, assessment: Assessment, judge: Judge
) -> tuple[float, float] | None:
    """Bounds on P(no kept code of no more memory is better), if memory is known."""
    if candidate.memory_gb is None:
        return None
    limit = (1 + MEMORY_TOLERANCE) * candidate.memory_gb
    kept = [
        (value, row.memory_gb)
        for row, value, keep in zip(past.rows, past.values, past.kept, strict=True)
        if keep and value is not None and row.memory_gb is not None
    ]
    if not kept:
        return None
    # The incumbent's true metric is known better than by its one lucky run.
    incumbent = assessment.confidence if kept[-1][1] <= limit else 1.0
    smaller = [(v, m) for v, m in kept[:-1] if m <= min(limit, kept[-1][1] * 0.995)]
    rivals = sorted(smaller)[:MOST_RIVALS]
    bounds = efficiency(
        [judge.incumbent_mean + assessment.delta, *(v for v, _ in rivals)],
        [judge.noise_sd / math.sqrt(assessment.n), *(judge.noise_sd for _ in rivals)],
        [candidate.memory_gb, *(m for _, m in rivals)],
    )[0]
    return bounds.low * incumbent, min(bounds.high, incumbent)


def noise_source(
    every: LogExperiments, settings: Settings, stated: bool, by_differences: bool
) -> tuple[str, str]:
    """Source of the noise floor, and where it was looked for; ``settings`` are the replay's."""
    center = f"{settings.noise_center:.2g}"
    if stated:
        return f"stated as {center}, taken as known within 5 %", ""
    lines = every.further_runs
    candidates = sum(value is not None for value in every.values) - len(lines) - 1
    scatter = f"the scatter of {plural(candidates, 'candidate')}, most of which change little"
    if by_differences:
        why = "a third of the median difference between candidates"
    elif len(every.baseline_runs) > 1:
        why = f"what {len(every.baseline_runs)} runs of the baseline show"
    else:
        why = "3e-4 of the metric, as val_bpb has after five minutes on one GPU"
    guess = f"looked for around {center}, which is {why}"
    if not lines:
        return f"assumed from {scatter}, as no row is a run of unchanged code", guess
    runs = f"{plural(len(lines), 'further run')} of the incumbent (line {first_of(lines, 6)})"
    return f"estimated from {runs} and {scatter}", guess
