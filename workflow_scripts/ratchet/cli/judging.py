"""The judge on a log: one candidate after the rows before it, or every row."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ratchet.cli.answer import Answer
from ratchet.cli.session import Candidate, Experiments
from ratchet.errors import DataError
from ratchet.judge import Assessment, Judge, Replay, Settings, efficiency, replay, scale_from
from ratchet.judge.pareto import MEMORY_TOLERANCE
from ratchet.records import Verdict

SCALE_RANGE = 10.0
"""Typical differences between candidates may be this many times larger or smaller
than the scale that the baseline gives suggests; beyond, they set the scale."""

DIFFERENCE_PER_SCALE = 3.0
"""Median size of a proposal's effect in effect scales, by the judge's prior."""

KNOWN_NOISE_SPAN = 0.05
"""Half-width, in ln, of the noise grid around a noise floor that the user states."""

REPLICATES = 5
"""Runs of one candidate after which no further one is asked for."""

RULE = "probability that the true metric is better"


@dataclass(frozen=True)
class Rules:
    """What the user chose: mode by name, noise floor in the metric's unit."""

    mode: str = "auto"
    noise_sd: float | None = None


def settings_for(past: Experiments, planned: int, rules: Rules) -> tuple[Settings, list[str]]:
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
    settings = Settings.for_session(rules.mode, planned, scale, REPLICATES)
    if rules.noise_sd is not None:
        settings = replace(settings, noise_center=rules.noise_sd, noise_span=KNOWN_NOISE_SPAN)
    return settings, said


def replayed(past: Experiments, settings: Settings) -> Replay:
    """The judge after these rows, with the decisions that their author took."""
    return replay(past.values, past.kept, past.again, settings)


def judge_candidate(
    every: Experiments, candidate: Candidate, rules: Rules
) -> tuple[Answer, list[str]]:
    """Judge one candidate by the rows before it.

    Unlike in a replay a re-run may be asked for, as this run can be repeated.
    """
    past = every.before(candidate.since + 1)
    said = past.assumptions()
    if past.first is None:
        return _baseline(candidate), said
    settings, more = settings_for(past, len(every.rows), rules)
    state = replayed(past, settings).judge.to_dict()
    state["settings"]["max_replicates"] = settings.max_replicates
    judge = Judge.from_dict(state)
    if not candidate.values:
        return _crash(candidate, past, judge), [*said, *more]
    sign = past.table.direction.sign
    assessment = judge.assess([sign * value for value in candidate.values])
    answer = replace(
        _answer(candidate, past, judge),
        verdict=assessment.verdict,
        confidence=assessment.confidence,
        delta=sign * assessment.delta,
        gain=assessment.gain,
        keep_probability=assessment.keep_probability,
        reason=reason(assessment),
        efficiency=_efficiency(candidate, past, assessment, judge),
    )
    return answer, [*said, *more]


def reason(assessment: Assessment) -> str:
    """Why the verdict is what it is, in one sentence."""
    p, pk = f"{assessment.confidence:.2f}", f"{assessment.keep_probability:.2f}"
    gain = f"expected gain {assessment.gain:.2g}"
    if assessment.verdict is Verdict.RETEST:
        return (
            f"P(better) is {p}; another run of the same code with a fresh seed is worth more "
            "than a new proposal"
        )
    if assessment.keep:
        return f"P(better) {p} reaches the {pk} that a keep needs; {gain}"
    if assessment.verdict is Verdict.MARGINAL:
        return f"more likely better than not, yet P(better) {p} is below {pk}; {gain}"
    return f"P(better) {p} is below the {pk} that a keep needs; {gain}"


def _answer(candidate: Candidate, past: Experiments, judge: Judge) -> Answer:
    """What holds for every verdict after the first row."""
    sign = past.table.direction.sign
    kept = [v for v, k in zip(past.values, past.kept, strict=True) if k and v is not None]
    values = candidate.values
    return Answer(
        candidate=candidate,
        verdict=Verdict.CRASH,
        reason="",
        rule=RULE,
        value=math.fsum(values) / len(values) if values else None,
        incumbent=sign * judge.incumbent_mean,
        incumbent_sd=judge.incumbent_sd,
        best=sign * min(kept) if kept else None,
        noise_sd=judge.noise_sd,
        noise_interval=judge.noise_interval(),
        keep_probability=judge.settings.keep_probability,
        expected_false_keeps=judge.expected_false_keeps,
    )


def _crash(candidate: Candidate, past: Experiments, judge: Judge) -> Answer:
    why = f"no valid {past.table.metric}"
    if candidate.evidence:
        why += f": {candidate.evidence}"
    return replace(_answer(candidate, past, judge), reason=why)


def _baseline(candidate: Candidate) -> Answer:
    """The first run of a log: there is nothing to compare it with."""
    if not candidate.values:
        why = f"no valid metric: {candidate.evidence}" if candidate.evidence else "no valid metric"
        return Answer(candidate, Verdict.CRASH, why, RULE)
    value = math.fsum(candidate.values) / len(candidate.values)
    why = "the baseline: there is no earlier run to compare it with"
    return Answer(candidate, Verdict.KEEP, why, RULE, value=value)


def _efficiency(
    candidate: Candidate, past: Experiments, assessment: Assessment, judge: Judge
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
    rivals = sorted(smaller)[:20]
    mean = judge.incumbent_mean + assessment.delta
    bounds = efficiency(
        [mean, *(v for v, _ in rivals)],
        [judge.noise_sd / math.sqrt(assessment.n), *(judge.noise_sd for _ in rivals)],
        [candidate.memory_gb, *(m for _, m in rivals)],
    )[0]
    return bounds.low * incumbent, min(bounds.high, incumbent)
