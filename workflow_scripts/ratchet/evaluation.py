"""What a trusted evaluator finds of a run, and what a run may use of its budget."""

from __future__ import annotations

from collections.abc import Mapping

from ratchet.codec import Frozen, field


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
