"""What a trusted evaluator found, and whether the run it belongs to is believable.

The evaluator runs beside the candidate and computes the metric itself; the
harness measures what the candidate had used when it asked.  Here both are
compared with what was printed and with the budget.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ratchet.codec import Frozen, field

# Printed metrics are rounded; with few digits the rounding itself is allowed for.
AGREEMENT = 1e-4
# Replies of one run take about equally long; a machine that is busy makes some of
# them several times as long, and the processor time of all of them less so.
REPLY_FACTOR = 3.0
# With fewer parts than this a median says little, and the replies' own times count.
FEWEST_PARTS = 4


class Plausible(Frozen):
    """What a run may use of a budget in seconds, measured by the harness.

    Until it asks for its evaluation it must have used at least ``min_fraction``
    of the budget and at most ``max_fraction`` of it plus ``startup_seconds``
    (imports, building the model).  The evaluation may take
    ``evaluation_seconds`` more than its replies explain (compilation), which is
    at most ``evaluation_fraction`` of the budget, if that is given.
    Seconds are CPU seconds of the whole process tree, on GPUs wall-clock ones.

    In a session a run is also compared with the baseline's.  If ``excess_seconds``
    is given, it may use so many and ``excess_fraction`` of the budget more than
    their median until it asks.  If ``tokens`` is given, it must print that name,
    with at least ``min_tokens`` times their median.
    """

    min_fraction: float = 0.5
    max_fraction: float = 1.5
    startup_seconds: float = 10.0
    evaluation_seconds: float = 10.0
    evaluation_fraction: float | None = None
    excess_fraction: float = 0.05
    excess_seconds: float | None = None
    tokens: str | None = None
    min_tokens: float = 0.0


class Evaluation(Frozen):
    """The evaluator's result with what the harness measured.

    ``value`` is the metric at full precision, ``None`` if a prediction was not
    finite.  ``seconds`` is what the evaluation took, ``trained_…`` what the
    candidate had used when it asked, ``evaluating_cpu_seconds`` what it used
    from then on.  ``audit`` is the metric on the locked data, where they were
    read (``audit_tokens`` above 0).  ``checks`` are the evaluator's canaries.
    ``usual_cpu_seconds`` is what all replies would have used if each part of them
    had used the median; ``None`` where the evaluator reports no parts.
    """

    value: float | None
    tokens: int
    batches: int
    seconds: float
    reply_seconds: float
    trained_cpu_seconds: float
    trained_wall_seconds: float
    evaluating_cpu_seconds: float
    audit: float | None = None
    audit_tokens: int = 0
    checks: Mapping[str, float | None] = field(default_factory=dict)
    usual_cpu_seconds: float | None = None


class Verified(Frozen):
    """The evaluation, if there was a whole one, and what is wrong with the run."""

    evaluation: Evaluation | None = None
    tampered: str | None = None


class Expected(Frozen):
    """What the task says about a run; ``budget_seconds`` is ``None`` for steps."""

    metric: str
    budget_seconds: float | None
    plausible: Plausible | None
    device: str = "cpu"


def verify(
    expected: Expected,
    answer: Mapping[str, Any] | None,
    metrics: Mapping[str, float],
) -> Verified:
    """Compare what a run that ended by itself printed with what was measured.

    ``answer`` is the supervisor's about the evaluator.  A run that printed no
    metric is not judged here.
    """
    answer = answer or {}
    result, asked = answer.get("result"), answer.get("asked")
    printed = metrics.get(expected.metric)
    if result is None or asked is None:
        if printed is None:
            return Verified()
        return Verified(tampered=_without_evaluation(expected.metric, answer))
    found = _evaluation(result, asked, answer["answered"], answer.get("progress", ()))
    if printed is None:
        return Verified(found)
    wrong = _disagreement(expected.metric, printed, found.value) or result.get("tampered")
    # A run that gave up when its loss became NaN is a failed run, not a cheat.
    if not wrong and found.value is not None:
        wrong = implausible(expected, found)
    return Verified(found, wrong)


def _without_evaluation(metric: str, answer: Mapping[str, Any]) -> str:
    if answer.get("asked") is None:
        return f"printed {metric} without an evaluation"
    why = answer.get("failed") or f"the evaluator ended (status {answer.get('exit_code')})"
    return f"printed {metric}, but its evaluation failed: {why}"


def _evaluation(
    result: Mapping[str, Any],
    asked: Mapping[str, float],
    answered: Mapping[str, float],
    progress: Sequence[float],
) -> Evaluation:
    trained = asked["cpu_seconds"]
    audit = result.get("audit") or {}
    return Evaluation(
        value=result["value"],
        tokens=result["tokens"],
        batches=result["batches"],
        seconds=result["seconds"],
        reply_seconds=result["reply_seconds"],
        trained_cpu_seconds=trained,
        trained_wall_seconds=asked["wall_seconds"],
        evaluating_cpu_seconds=round(max(0.0, answered["cpu_seconds"] - trained), 3),
        audit=audit.get("value"),
        audit_tokens=audit.get("tokens", 0),
        checks=result.get("checks", {}),
        usual_cpu_seconds=_usual([trained, *progress, answered["cpu_seconds"]]),
    )


def _usual(readings: Sequence[float]) -> float | None:
    """What all parts would have used if each had used the median, of two the lower one."""
    parts = sorted(max(0.0, after - before) for before, after in itertools.pairwise(readings))
    if len(parts) < FEWEST_PARTS:
        return None
    return round(parts[(len(parts) - 1) // 2] * len(parts), 3)


def _disagreement(metric: str, printed: float, measured: float | None) -> str | None:
    if measured is None:
        agree = math.isnan(printed) or math.isinf(printed)
    else:
        agree = math.isfinite(printed) and abs(printed - measured) <= AGREEMENT * max(
            abs(measured), abs(printed)
        )
    if agree:
        return None
    words = "no finite number" if measured is None else f"{measured:.6g}"
    return f"printed {metric} {printed:.6g}, the evaluator measured {words}"


def implausible(expected: Expected, found: Evaluation) -> str | None:
    """What is not believable about the time that a run took; ``None`` if nothing.

    With a budget in steps only the wall-clock limit of the run applies.
    """
    limits, budget = expected.plausible, expected.budget_seconds
    if limits is None or budget is None:
        return None
    on_gpu = expected.device == "gpu"
    used = found.trained_wall_seconds if on_gpu else found.trained_cpu_seconds
    unit = "seconds" if on_gpu else "CPU seconds"
    if used < limits.min_fraction * budget:
        return f"trained {used:.2g} of {budget:g} {unit}"
    if used > limits.max_fraction * budget + limits.startup_seconds:
        return f"trained {used:.3g} {unit}, the budget is {budget:g}"
    spent = found.seconds if on_gpu else found.evaluating_cpu_seconds
    usual = found.batches * found.reply_seconds
    if not on_gpu and found.usual_cpu_seconds is not None:
        # Replies that sleep last long and use nothing.
        usual = found.usual_cpu_seconds
    explained = REPLY_FACTOR * usual
    if limits.evaluation_fraction is not None:
        explained = min(explained, limits.evaluation_fraction * budget)
    if spent > limits.evaluation_seconds + explained:
        return (
            f"used {spent:.3g} {unit} for an evaluation that needs about {usual:.2g}: "
            "it went on with something else"
        )
    return None
