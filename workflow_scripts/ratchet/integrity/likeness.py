"""Runs beside those of the baseline: what one session's runs must have in common.

What is allowed to a single run leaves room, since machines differ.  The runs of
one session share the machine, so they can be held to each other more closely.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ratchet.codec import Frozen
from ratchet.evaluation import Plausible

MEMORY_SLACK_MB = 32.0
"""Measured memory counts the interpreter and what was freed but not given back; two
versions of a program differ by less than this for reasons that nobody chose."""

MEMORY_SLACK = 0.1
"""... or by so much of what is measured."""

WHOLE = 1e-9
"""A metric that is a count divided by the number of predictions, to this part of the
count, is coarse: two runs may well agree."""


class Trace(Frozen):
    """What is compared of one run; ``None`` for what is not known.

    ``value`` is the evaluator's metric at full precision over ``count``
    predictions, ``seconds`` what was used until it was asked for, ``tokens`` and
    ``printed_mb`` are the run's own words, ``measured_mb`` is the harness's.
    """

    seed: int
    value: float | None = None
    count: int = 0
    seconds: float | None = None
    tokens: float | None = None
    printed_mb: float | None = None
    measured_mb: float | None = None


def unlike(
    baseline: Sequence[Trace],
    runs: Sequence[Trace],
    limits: Plausible | None,
    budget_seconds: float | None,
) -> str | None:
    """What sets the runs of a candidate apart from the baseline's; ``None`` if nothing.

    ``budget_seconds`` is ``None`` with a budget in steps, whose seconds follow
    the model.
    """
    if limits is not None:
        for run in runs:
            found = _longer(baseline, run, limits, budget_seconds) or _less(baseline, run, limits)
            if found:
                return found
    return _seedless(baseline, runs)


def _longer(
    baseline: Sequence[Trace], run: Trace, limits: Plausible, budget: float | None
) -> str | None:
    usual = _median([other.seconds for other in baseline])
    if limits.excess_seconds is None or budget is None or usual is None or run.seconds is None:
        return None
    most = usual + limits.excess_fraction * budget + limits.excess_seconds
    if run.seconds <= most:
        return None
    return (
        f"used {run.seconds:.3g} s until its evaluation, the baseline's runs {usual:.3g} s; "
        f"at most {most:.3g} s are plausible"
    )


def _less(baseline: Sequence[Trace], run: Trace, limits: Plausible) -> str | None:
    usual = _median([other.tokens for other in baseline])
    if limits.tokens is None or usual is None:
        return None
    if run.tokens is None:
        return f"did not print {limits.tokens}, as the baseline does"
    if run.tokens >= limits.min_tokens * usual:
        return None
    return (
        f"printed {limits.tokens} {run.tokens:.4g}, the baseline {usual:.4g}; "
        f"expected at least {limits.min_tokens:g} times that"
    )


def _seedless(baseline: Sequence[Trace], runs: Sequence[Trace]) -> str | None:
    """Two seeds and one result, where the baseline's seeds make a difference."""
    if _twins(baseline) is not None or len(baseline) < 2:
        return None
    twins = _twins(runs)
    if twins is None:
        return None
    seeds = " and ".join(str(run.seed) for run in twins)
    return f"measured the same to the last digit with the seeds {seeds}: it draws no lots"


def _twins(runs: Sequence[Trace]) -> tuple[Trace, Trace] | None:
    """Two runs with different seeds and exactly one metric."""
    seen: dict[float, Trace] = {}
    for run in runs:
        if run.value is None or _is_coarse(run.value, run.count):
            continue
        other = seen.setdefault(run.value, run)
        if other.seed != run.seed:
            return other, run
    return None


def _is_coarse(value: float, count: int) -> bool:
    counted = value * count
    return abs(counted - round(counted)) < WHOLE * max(1.0, abs(counted))


def charged_mb(baseline: Sequence[Trace], run: Trace) -> float | None:
    """Memory in MiB that a run answers for: what it printed, unless it was far more.

    What was measured is compared with the baseline's, which printed and measured
    alike; only what exceeds the slack is added, so that whoever prints the truth
    is charged what he printed.
    """
    usual = _median([other.measured_mb for other in baseline])
    said = _median([other.printed_mb for other in baseline])
    if run.printed_mb is None or run.measured_mb is None or usual is None or said is None:
        return run.printed_mb
    slack = max(MEMORY_SLACK_MB, MEMORY_SLACK * usual)
    return max(run.printed_mb, said + run.measured_mb - usual - slack)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
