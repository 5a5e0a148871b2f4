"""Verdicts on a log: one candidate after the rows before it, or every row.

The judge is fed the rows with the decisions that their author took; what is not in
the log is assumed, and said.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from ratchet.base.errors import DataError
from ratchet.base.structs import Frozen, replace
from ratchet.base.text import plural
from ratchet.judge.judge import Assessment, Judge, Replay, replay
from ratchet.judge.settings import Settings, scale_from
from ratchet.judge.tradeoffs import Configuration, Efficiency, efficiency_bounds
from ratchet.logs.experiments import LogCandidate, LogExperiments
from ratchet.logs.table import first_of
from ratchet.records.history import COARSE_REPEATS, SeedEffect, is_coarse, seed_effect
from ratchet.records.records import Verdict

EXIT_KEEP, EXIT_DISCARD, EXIT_RETEST = 0, 1, 2

SPAN_SDS = 4.0
"""Half-width of the noise grid, in sds of what replicates leave open about ln s."""

LEAST_SPAN, MOST_SPAN = 0.05, 2.4
"""In ln: around a noise floor that the user states, and as without any replicates."""


class Answer(Frozen):
    """The verdict on one candidate.

    ``value``, ``incumbent``, ``best`` (of the rows kept before), ``delta``
    (value minus incumbent), ``noise_sd`` and ``gain`` are in the metric's unit;
    the first four also in its own direction, while a positive gain is better.
    ``confidence`` is the probability that the candidate is truly better; there is none
    where it ``repeats`` its incumbent's value to the last digit.
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
    efficiency: Efficiency | None = None
    expected_false_keeps: float | None = None
    repeats: bool = False

    @property
    def exit_code(self) -> int:
        """0 keep, 2 retest, 1 all else."""
        if self.verdict is Verdict.RETEST:
            return EXIT_RETEST
        return EXIT_KEEP if self.verdict.is_keep else EXIT_DISCARD

    @property
    def pareto(self) -> str:
        """EFFICIENT, DOMINATED or, without memory in the log, UNKNOWN."""
        return "UNKNOWN" if self.efficiency is None else self.efficiency.status


class Rules(Frozen):
    """The user's choices: mode by name, noise floor in the metric's unit."""

    mode: str = "auto"
    noise_sd: float | None = None


REPEATED = (
    "the same value as its incumbent's to the last digit: the run was cached or copied, or "
    "neither the change nor the seed has an effect; that is no evidence of the noise"
)

NOT_BY_ACCIDENT = 3
"""Values that repeat are no accident where they are more often equal than this many times
what their neighbours on either side let expect."""

_NEAR = (1, 5)
"""Steps of the metric's last digit within which neighbours are counted."""


def repeating_rows(every: LogExperiments) -> list[bool]:
    """Mask of rows that repeat the value of their incumbent, or of their own code's last run.

    Equal to the last digit, and not by accident: a metric of few levels is often equal
    beside being one level off, a fine one hardly ever.
    """
    known, pending = list[float](), list[int]()
    equal, near = [False] * len(every.values), [0, 0]
    step = _last_digit([value for value in every.values if value is not None])
    columns = every.values, every.kept, every.again, every.undecided
    for place, (value, keep, again, waits) in enumerate(zip(*columns, strict=True)):
        if value is None:
            continue
        for earlier in pending:  # runs of the same candidate, which the last one decides
            equal[earlier] |= every.values[earlier] == value
        away = min((abs(value - other) for other in known), default=math.inf)
        equal[place] = away == 0 and not waits and not pending
        for i, steps in enumerate(_NEAR):
            near[i] += 0 < away <= (steps + 0.5) * step
        pending = [*pending, place] if waits else []
        if place == every.first or keep:
            known = [value]
        elif again and value not in known:
            known.append(value)
    repeated = {value for value, yes in zip(every.values, equal, strict=True) if yes}
    least = COARSE_REPEATS if all(is_coarse(value) for value in repeated if value) else 1
    by_accident = max(count / (2 * steps) for count, steps in zip(near, _NEAR, strict=True))
    if sum(equal) < least or sum(equal) <= NOT_BY_ACCIDENT * by_accident:
        return [False] * len(equal)
    return equal


def _last_digit(values: Sequence[float]) -> float:
    """Step between the levels of a metric, by its decimals or, of a coarse one, its values."""
    different = sorted(set(values))
    for decimals in range(10):
        if all(abs(round(value, decimals) - value) <= 1e-12 * abs(value) for value in different):
            return 10.0**-decimals
    if all(is_coarse(value) for value in different):
        return min((b - a for a, b in pairwise(different)), default=0.0)
    return 0.0


def evidence_values(every: LogExperiments) -> list[float | None]:
    """Metrics as a judge is fed them: ``None`` too where a value repeats and is no evidence.

    Where no re-run of the log has differed, re-runs are repetitions as well.
    """
    unshown = seed_effect(every.replicates) is not SeedEffect.SHOWN
    columns = every.values, repeating_rows(every), every.again
    return [
        None if repeats or (unshown and again and place != every.first) else value
        for place, (value, repeats, again) in enumerate(zip(*columns, strict=True))
    ]


def repeat_notes(every: LogExperiments) -> list[str]:
    """What repeated values mean, for people."""
    repeats = repeating_rows(every)
    lines = [row.line for row, yes in zip(every.rows, repeats, strict=True) if yes]
    if not lines:
        return []
    which = f"line {first_of(lines, 8)}: {REPEATED}"
    kept = sum(yes and keep for yes, keep in zip(repeats, every.kept_changes, strict=True))
    return [which + (f"; {plural(kept, 'kept change')} among them, not audited" if kept else "")]


def settings_for(past: LogExperiments, planned: int, rules: Rules) -> Settings:
    """The judge's settings for a log."""
    if not past.baseline_runs:
        raise DataError("expected a row with a metric before the one to judge, found none")
    runs = past.baseline_runs
    if any(repeating_rows(past)):
        runs = list(dict.fromkeys(runs))
    settings = Settings.for_session(rules.mode, planned, scale_from(runs))
    if rules.noise_sd is not None:
        settings = settings.around(rules.noise_sd, LEAST_SPAN)
    return settings


def noise_span(left_open: float) -> float:
    """Half-width of the noise grid where replicates leave this sd of ln s open."""
    return min(max(SPAN_SDS * left_open, LEAST_SPAN), MOST_SPAN)


def replay_rows(every: LogExperiments, settings: Settings, before: int | None = None) -> Replay:
    """The judge after all rows, or those ``before`` a number, with their author's decisions.

    What is no evidence by the whole log counts as a row without a metric.  The last row
    can be run again, so that its verdict may be RETEST, unless re-runs repeat themselves.
    """
    past = every if before is None else every.before(before)
    values = evidence_values(every)[: len(past.rows)]
    is_open = seed_effect(every.replicates) is not SeedEffect.NONE
    return replay(values, past.kept, past.again, settings, past.undecided, last_is_open=is_open)


def expected_false_keeps(every: LogExperiments, done: Replay) -> float:
    """Expected number of kept changes that are no improvement, each by the rows up to it.

    A change that was kept with its incumbent's value shows none.
    """
    pairs = zip(every.kept_changes, done.assessments, strict=True)
    return math.fsum(1 - (found.confidence if found else 0) for keep, found in pairs if keep)


def judge_candidate(
    every: LogExperiments, candidate: LogCandidate, rules: Rules
) -> tuple[Answer, list[str]]:
    """Judge one candidate by the rows before it, as :func:`replay_rows` judges its row.

    The settings are those of the whole log.
    """
    past = every.before(candidate.since)
    said = [*past.assumptions(), *repeat_notes(every)]
    place = every.numbers.index(candidate.number) if candidate.row in every.rows else None
    if past.first is None or (place is not None and every.starts_anew[place]):
        return _baseline(candidate), said
    settings = settings_for(every, len(every.rows), rules)
    done = replay_rows(every, settings, candidate.since)
    judge, sign, answer = done.judge, past.table.direction.sign, _answer(candidate, past, done)
    if not candidate.values:
        why = _no_metric(f"no valid {past.table.metric}", candidate)
        return replace(answer, reason=why), said
    if place is not None and every.again[place]:
        why = "read as a further run of the incumbent's code, of which nothing is to be decided"
        return replace(answer, verdict=Verdict.DISCARD, reason=why), said
    if place is not None and repeating_rows(every)[place]:
        delta, verdict = 0.0, Verdict.DISCARD
        return replace(answer, verdict=verdict, delta=delta, reason=REPEATED, repeats=True), said
    values = [sign * value for value in candidate.values]
    effect = seed_effect([*every.replicates, values])
    if effect is not SeedEffect.SHOWN or not is_coarse(values[0]):
        values = list(dict.fromkeys(values))  # what repeats is no evidence
    assessment = judge.assess(values)
    decided = place is not None and place < len(every.rows) - 1  # long ago
    if decided or effect is SeedEffect.NONE:
        assessment = assessment.without_retest(settings)
    answer = replace(
        answer,
        verdict=assessment.verdict,
        confidence=assessment.confidence,
        delta=sign * assessment.delta,
        gain=assessment.gain,
        keep_probability=assessment.keep_probability,
        reason=verdict_reason(assessment),
        efficiency=_efficiency(candidate, past, assessment, judge),
    )
    return answer, said


def _answer(candidate: LogCandidate, past: LogExperiments, done: Replay) -> Answer:
    """Answer without its verdict: the fields that every row after the first has."""
    judge, sign, values = done.judge, past.table.direction.sign, candidate.values
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
        expected_false_keeps=expected_false_keeps(past, done),
    )


def _baseline(candidate: LogCandidate) -> Answer:
    """The first run of a log, or a baseline that starts anew: compared with nothing."""
    if not candidate.values:
        return Answer(candidate, Verdict.CRASH, _no_metric("no valid metric", candidate))
    value = math.fsum(candidate.values) / len(candidate.values)
    why = "the baseline: there is no earlier run of this kind to compare it with"
    return Answer(candidate, Verdict.KEEP, why, value=value)


def _no_metric(why: str, candidate: LogCandidate) -> str:
    return f"{why}: {candidate.evidence}" if candidate.evidence else why


def verdict_reason(assessment: Assessment) -> str:
    """Why the verdict is what it is, in one sentence."""
    p, pk = f"P(better) {assessment.confidence:.2f}", f"{assessment.keep_probability:.2f}"
    gain = f"expected gain {assessment.gain:.2g}"
    if assessment.verdict is Verdict.RETEST:
        return (
            f"{p}; another run of the same code with a fresh seed is worth more than a new proposal"
        )
    if assessment.keep:
        return f"{p} reaches the {pk} that a keep needs; {gain}"
    if assessment.confidence >= assessment.keep_probability:
        return f"{p} would do, yet the {gain} is not above 0"
    if assessment.verdict is Verdict.MARGINAL:
        return f"more likely better than not, yet {p} is below {pk}; {gain}"
    return f"{p} is below the {pk} that a keep needs; {gain}"


def _efficiency(
    candidate: LogCandidate, past: LogExperiments, assessment: Assessment, judge: Judge
) -> Efficiency | None:
    """Bounds on P(no kept code of no more memory is better), if memory is known."""
    kept = [
        Configuration(value, judge.noise_sd, row.memory_gb)
        for row, value, keep in zip(past.rows, past.values, past.kept, strict=True)
        if keep and value is not None
    ]
    sd = judge.noise_sd / math.sqrt(assessment.n)
    believed = Configuration(judge.incumbent_mean - assessment.gain, sd, candidate.memory_gb)
    return efficiency_bounds(believed, assessment.confidence, kept)


def noise_source(every: LogExperiments, settings: Settings, stated: bool) -> tuple[str, str]:
    """Source of the noise floor, and where it was looked for; ``settings`` are the replay's."""
    center = f"{settings.expected_noise:.2g}"
    if stated:
        return f"stated as {center}, taken as known within 5 %", ""
    told = [value is not None for value in evidence_values(every)]
    further = {row.line for row, again in zip(every.rows, told, strict=True) if again}
    lines = [line for line in every.further_runs if line in further]
    candidates = sum(told) - len(lines) - 1
    scatter = "the metric's magnitude alone"
    if candidates:
        scatter = f"the scatter of {plural(candidates, 'candidate')}, most of which change little"
    if len(set(every.baseline_runs)) > 1:
        why = f"what {len(every.baseline_runs)} runs of the baseline show"
    else:
        why = "3e-4 of the metric, as val_bpb has after five minutes on one GPU"
    guess = f"looked for around {center}, which is {why}"
    if not lines:
        of_code = "no row is a run of unchanged code"
        if again := first_of(every.further_runs, 6):
            of_code = f"line {again} only repeats a value to the last digit"
        return f"assumed from {scatter}, as {of_code}", guess
    runs = f"{plural(len(lines), 'further run')} of the incumbent (line {first_of(lines, 6)})"
    return f"estimated from {runs} and {scatter}", guess
