"""What a log's noise floor is from, in words; the same wherever a log is judged."""

from __future__ import annotations

from ratchet.cli.session import Experiments
from ratchet.judge import Settings
from ratchet.report.text import plural

SHOWN_LINES = 6


def further_runs(every: Experiments) -> list[int]:
    """Lines of the rows that are further runs of the incumbent."""
    return [
        row.line
        for place, (row, again) in enumerate(zip(every.rows, every.again, strict=True))
        if again and place != every.first
    ]


def noise_source(
    every: Experiments, settings: Settings, stated: bool, by_differences: bool
) -> tuple[str, str]:
    """What the noise floor is from, and where it was looked for; ``settings`` are the replay's."""
    center = f"{settings.noise_center:.2g}"
    if stated:
        return f"stated as {center}, taken as known within 5 %", ""
    lines = further_runs(every)
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
    shown = ", ".join(map(str, lines[:SHOWN_LINES])) + (" …" if len(lines) > SHOWN_LINES else "")
    runs = f"{plural(len(lines), 'further run')} of the incumbent (line {shown})"
    return f"estimated from {runs} and {scatter}", guess
