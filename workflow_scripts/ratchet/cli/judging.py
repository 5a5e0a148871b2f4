"""The judge on a log: one candidate after the rows before it, or every row."""

from __future__ import annotations

import math
from itertools import pairwise

from ratchet.cli.answer import Answer
from ratchet.cli.session import Candidate, Experiments
from ratchet.codec import Frozen, replace
from ratchet.errors import DataError
from ratchet.judge import (
    Assessment,
    Judge,
    Prices,
    Replay,
    Settings,
    credit,
    efficiency,
    replay,
    scale_from,
)
from ratchet.judge.pareto import MEMORY_TOLERANCE
from ratchet.vocabulary import Verdict

SCALE_RANGE = 10.0
"""Typical differences between candidates may be this many times larger or smaller
than the scale that the baseline gives suggests; beyond, they set the scale."""

DIFFERENCE_PER_SCALE = 3.0
"""Median size of a proposal's effect in effect scales, by the judge's prior."""

KNOWN_NOISE_SPAN = 0.05
"""Half-width, in ln, of the noise grid around a noise floor that the user states."""

REPLICATES = 5
"""Runs of one candidate after which no further one is asked for."""

MOST_MEMORY_RATIO = 50.0
"""No edit changes memory by such a factor; megabytes read as gigabytes do."""

MEMORY_STEP_GB = 0.1 + 1e-9
"""A log gives memory with one decimal; a change of the last digit may be none."""

RULE = "probability that the true metric is better"


class Rules(Frozen):
    """What the user chose: mode by name, noise floor in the metric's unit."""

    mode: str = "auto"
    noise_sd: float | None = None


class Paid(Frozen):
    """What the candidate adds and what that costs, in the metric's unit.

    ``None`` is the judge's own price, scaled to the metric.
    """

    lines: int = 0
    per_line: float | None = None
    per_log_memory: float | None = None

    def prices(self, settings: Settings) -> Prices:
        """The judge's prices with the user's in their place."""
        prices = Prices().scaled(settings.effect_scale)
        line, memory = self.per_line, self.per_log_memory
        return replace(
            prices,
            per_line=prices.per_line if line is None else line,
            per_log_memory=prices.per_log_memory if memory is None else memory,
        )


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
    every: Experiments, candidate: Candidate, rules: Rules, paid: Paid | None = None
) -> tuple[Answer, list[str]]:
    """Judge one candidate by the rows before it.

    Unlike in a replay a re-run may be asked for, as this run can be repeated,
    and lines and memory have their price; past decisions are what they are.
    """
    paid = paid or Paid()
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
    ratio = memory_ratio(candidate, past)
    threshold = _threshold(paid, past, judge, ratio)
    assessment = judge.assess([sign * value for value in candidate.values], threshold)
    answer = replace(
        _answer(candidate, past, judge),
        verdict=assessment.verdict,
        confidence=assessment.confidence,
        delta=sign * assessment.delta,
        gain=assessment.gain,
        keep_probability=assessment.keep_probability,
        reason=reason(assessment) + _said_of_price(threshold, ratio, paid),
        threshold=threshold,
        confidence_at_threshold=assessment.confidence_at_threshold,
        memory_ratio=ratio,
        efficiency=_efficiency(candidate, past, assessment, judge),
    )
    return answer, [*said, *more]


def reason(assessment: Assessment) -> str:
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


def memory_ratio(candidate: Candidate, past: Experiments) -> float | None:
    """Memory of the candidate over the incumbent's; ``None`` unless both are known."""
    held = _kept_memory(past)
    return _ratio(held[-1], candidate.memory_gb) if held else None


def _ratio(before: float | None, after: float | None) -> float | None:
    """Growth of memory in GB, where both are known and of the same unit."""
    if not before or not after or after < 0:
        return None
    if abs(after - before) <= MEMORY_STEP_GB:
        return 1.0
    ratio = after / before
    return ratio if 1 / MOST_MEMORY_RATIO < ratio < MOST_MEMORY_RATIO else None


def _kept_memory(past: Experiments) -> list[float | None]:
    """Memory of each incumbent so far; none of a log is 0 or negative."""
    return [
        row.memory_gb if row.memory_gb is not None and row.memory_gb > 0 else None
        for row, keep, value in zip(past.rows, past.kept, past.values, strict=True)
        if keep and value is not None
    ]


def _threshold(paid: Paid, past: Experiments, judge: Judge, ratio: float | None) -> float:
    """Gain that the candidate must bring, in the metric's unit.

    Only a user who says what lines or memory are worth lets a simplification
    cost something: else no keep is expected to be worse.  Earlier keeps with less
    memory than their predecessor have used credit, whether or not they needed
    it; their lines nobody knows.
    """
    prices, noise_sd, used = paid.prices(judge.settings), judge.noise_sd, 0.0
    for before, after in pairwise(_kept_memory(past)):
        used += credit(prices.threshold(0, noise_sd, _ratio(before, after), used))
    threshold = prices.threshold(paid.lines, noise_sd, ratio, used)
    stated = paid.lines != 0 or paid.per_log_memory is not None
    return threshold if stated else max(0.0, threshold)


def _said_of_price(threshold: float, ratio: float | None, paid: Paid) -> str:
    """What is paid for, where anything is."""
    if threshold == 0:
        return ""
    parts = []
    free = ratio is None or abs(math.log(ratio)) <= Prices().memory_tolerance
    if ratio is not None and not free and paid.per_log_memory != 0:
        parts.append(f"memory {100 * (ratio - 1):+.0f} %")
    if paid.lines and paid.per_line != 0:
        parts.append(f"lines {paid.lines:+d}")
    verb = "must bring" if threshold > 0 else "may cost"
    return f"; {', '.join(parts)} {verb} {abs(threshold):.2g}"


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
