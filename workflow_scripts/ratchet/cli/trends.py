"""Counts, streaks and the frontier of a log, as the released tool reports them."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from ratchet.cli.answer import Answer
from ratchet.cli.session import Experiments
from ratchet.codec import Frozen
from ratchet.dialects import RowStatus
from ratchet.vocabulary import Verdict

RATE_WINDOW = 5
"""Kept results over which the rate of improvement is taken, as in the released tool."""

STUCK = 5
"""Unkept experiments in a row after which a change of approach is suggested."""


class Trends(Frozen):
    """Streaks and totals of logged statuses; a streak of the past may be over."""

    discard_streak: int
    crash_streak: int
    keep_streak: int
    longest_keep_streak: int
    longest_discard_streak: int
    total_keeps: int
    total_discards: int
    total_crashes: int
    experiments_analyzed: int
    best_val_bpb: float | None
    improvement_rate_pct: float | None


def trends(past: Experiments) -> Trends:
    """Totals over the experiments of a log."""
    words = [_word(row.status) for row in past.rows]
    streaks = [(word, len(list(group))) for word, group in groupby(words)]
    last = streaks[-1] if streaks else ("", 0)
    sign = past.table.direction.sign
    kept = [v for v, k in zip(past.values, past.kept, strict=True) if k and v is not None]
    recent = kept[-RATE_WINDOW:]
    rate = None
    if len(recent) > 1 and recent[0]:
        share = (recent[0] - recent[-1]) / abs(recent[0])
        rate = round(100 * share / (len(recent) - 1), 4)
    return Trends(
        discard_streak=last[1] if last[0] == "discard" else 0,
        crash_streak=last[1] if last[0] == "crash" else 0,
        keep_streak=last[1] if last[0] == "keep" else 0,
        longest_keep_streak=max((n for word, n in streaks if word == "keep"), default=0),
        longest_discard_streak=max((n for word, n in streaks if word == "discard"), default=0),
        total_keeps=words.count("keep"),
        total_discards=words.count("discard"),
        total_crashes=words.count("crash"),
        experiments_analyzed=len(words),
        best_val_bpb=sign * min(kept) if kept else None,
        improvement_rate_pct=rate,
    )


def _word(status: RowStatus) -> str:
    return "keep" if status is RowStatus.BASELINE else status.value


def frontier(past: Experiments) -> list[dict[str, Any]]:
    """Kept rows that no kept row beats in metric without more memory, best first.

    By the logged values alone; ``pareto status`` is what accounts for noise.
    """
    kept = [
        (value, row, number)
        for value, row, number, keep in zip(
            past.values, past.rows, past.numbers, past.kept, strict=True
        )
        if keep and value is not None and row.memory_gb is not None
    ]
    found: list[dict[str, Any]] = []
    least = float("inf")
    for _, row, number in sorted(kept, key=lambda item: item[0]):
        memory = row.memory_gb
        if memory is not None and memory <= least:
            least = memory
            point = {"index": number, "commit": row.commit}
            found.append({**point, "val_bpb": row.value, "memory_gb": memory})
    return found


_NEXT = {
    Verdict.STRONG_KEEP: "Keep the change.",
    Verdict.KEEP: "Keep the change.",
    Verdict.MARGINAL: "Revert the change, or note it for a second try on a later incumbent.",
    Verdict.RETEST: "Run the same code once more with a fresh seed, log it, and ask again.",
    Verdict.DISCARD: "Revert the change.",
    Verdict.CRASH: "Read the run log; fix the change or revert it.",
    Verdict.TAMPERED: "Restore the fixed files and run again.",
}


def suggestion(answer: Answer, found: Trends) -> str:
    """What to do next, in one or two sentences."""
    text = _NEXT[answer.verdict]
    streak = found.discard_streak + found.crash_streak
    if streak >= STUCK and not answer.verdict.is_keep:
        text += f" The last {streak} experiments were not kept: try a different kind of change."
    return text
