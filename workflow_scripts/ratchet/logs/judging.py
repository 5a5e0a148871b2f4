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
from ratchet.judge.tradeoffs import Configuration, Efficiency, efficiency_bounds
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

SPAN_SDS = 4.0
"""Half-width of the noise grid, in sds of what replicates leave open about ln s."""

LEAST_SPAN, MOST_SPAN = 0.05, 2.4
"""In ln: around a noise floor that the user states, and as without any replicates."""


class Answer(Frozen):
    """The verdict on one candidate.

    ``value``, ``incumbent``, ``best`` (of the rows kept before), ``delta``
    (value minus incumbent), ``noise_sd`` and ``gain`` are in the metric's unit;
    the first four also in its own direction, while a positive gain is better.
    ``confidence`` is the probability that the candidate is truly better.
    Where the seed has no effect (``seedless``), nothing is said that rests on noise.
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
        return "UNKNOWN" if self.efficiency is None else self.efficiency.status


class Rules(Frozen):
    """The user's choices: mode by name, noise floor in the metric's unit."""

    mode: str = "auto"
    noise_sd: float | None = None


def settings_for(past: LogExperiments, planned: int, rules: Rules) -> Settings:
    """The judge's settings for a log."""
    if not past.baseline_runs:
        raise DataError("expected a row with a metric before the one to judge, found none")
    settings = Settings.for_session(rules.mode, planned, scale_from(past.baseline_runs))
    if rules.noise_sd is not None:
        settings = settings.around(rules.noise_sd, LEAST_SPAN)
    return settings


def noise_span(left_open: float) -> float:
    """Half-width of the noise grid where replicates leave this sd of ln s open."""
    return min(max(SPAN_SDS * left_open, LEAST_SPAN), MOST_SPAN)


def replay_rows(every: LogExperiments, settings: Settings, before: int | None = None) -> Replay:
    """The judge after all rows, or those ``before`` a number, with their author's decisions.

    Where no re-run of the log has differed, re-runs are repetitions and no evidence of
    little noise.  The last row can be repeated, so that its verdict may be RETEST.
    """
    past = every if before is None else every.before(before)
    values = past.values
    if seed_effect(every.replicates) is not SeedEffect.SHOWN:
        alike = zip(values, past.again, strict=True)
        values = [
            None if again and place != past.first else value
            for place, (value, again) in enumerate(alike)
        ]
    return replay(values, past.kept, past.again, settings, past.undecided, last_is_open=True)


def is_seedless(every: LogExperiments, rules: Rules, *candidate: float) -> bool:
    """Whether the seed has no effect, by a log and a candidate's runs, and no noise is stated."""
    effect = seed_effect([*every.replicates, candidate])
    return rules.noise_sd is None and effect is SeedEffect.NONE


def without_chance(found: Assessment, delta: float) -> Assessment:
    """The assessment where one run of each code tells, with its measured difference."""
    verdict = Verdict.KEEP if found.keep else found.verdict
    return replace(found, delta=delta, verdict=verdict if delta < 0 else Verdict.DISCARD)


def expected_false_keeps(every: LogExperiments, done: Replay) -> float:
    """Expected number of kept changes that are no improvement, each by the rows up to it."""
    pairs = zip(every.kept_changes, done.assessments, strict=True)
    return math.fsum(1 - found.confidence for keep, found in pairs if keep and found is not None)


def judge_candidate(
    every: LogExperiments, candidate: LogCandidate, rules: Rules
) -> tuple[Answer, list[str]]:
    """Judge one candidate by the rows before it, as :func:`replay_rows` judges its row.

    The settings are those of the whole log.
    """
    past = every.before(candidate.since)
    said = past.assumptions()
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
    values = [sign * value for value in candidate.values]
    if seed_effect([*every.replicates, values]) is not SeedEffect.SHOWN:
        del values[1:]  # they are all equal
    assessment = judge.assess(values)
    if place is not None and place < len(every.rows) - 1:  # decided long ago, it is not run again
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
    if is_seedless(every, rules, *candidate.values):
        found = assessment.without_retest(settings)
        answer = _without_chance(
            answer, without_chance(found, values[0] - past.replicates[-1][0]), sign
        )
    return answer, said


def _without_chance(answer: Answer, found: Assessment, sign: int) -> Answer:
    """An answer by single measurements; it claims nothing about chance, which was not measured."""
    direction = "better" if found.delta < 0 else "worse"
    return replace(
        answer,
        verdict=found.verdict,
        delta=sign * found.delta,
        incumbent=None if answer.value is None else answer.value - sign * found.delta,
        reason=f"{abs(found.delta):.4g} {direction} than the incumbent; {NO_SEED_EFFECT} "
        f"({SEED_HINT}): {NO_CHANCE_MEASURED}; {NOISE_UNKNOWN}",
        seedless=True,
        confidence=None,
        incumbent_sd=None,
        noise_sd=None,
        noise_interval=None,
        expected_false_keeps=None,
        efficiency=None,
    )


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
    lines = every.further_runs
    candidates = sum(value is not None for value in every.values) - len(lines) - 1
    scatter = f"the scatter of {plural(candidates, 'candidate')}, most of which change little"
    if len(every.baseline_runs) > 1:
        why = f"what {len(every.baseline_runs)} runs of the baseline show"
    else:
        why = "3e-4 of the metric, as val_bpb has after five minutes on one GPU"
    guess = f"looked for around {center}, which is {why}"
    if not lines:
        return f"assumed from {scatter}, as no row is a run of unchanged code", guess
    runs = f"{plural(len(lines), 'further run')} of the incumbent (line {first_of(lines, 6)})"
    return f"estimated from {runs} and {scatter}", guess
