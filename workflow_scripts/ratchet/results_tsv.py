"""Karpathy's ``results.tsv``: five columns, one row per experiment.

``0.000000`` stands for a missing metric in this file, and only here.
"""

from __future__ import annotations

import re

from ratchet.codec import Frozen
from ratchet.records import Status

MEMORY_COLUMN = "memory_gb"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


class Row(Frozen):
    """One experiment; ``metric`` and ``memory_mb`` are ``None`` if unknown."""

    commit: str
    metric: float | None
    memory_mb: float | None
    status: Status
    description: str


def header(metric_name: str) -> str:
    """The first line, without its end."""
    return "\t".join(("commit", metric_name, MEMORY_COLUMN, "status", "description"))


def format_row(row: Row) -> str:
    """One line, without its end; the description cannot break the table."""
    metric = 0.0 if row.metric is None else row.metric
    memory_gb = (row.memory_mb or 0.0) / 1024
    return "\t".join(
        (
            row.commit[:7],
            f"{metric:.6f}",
            # Karpathy's one decimal would show a small task's memory as none.
            f"{memory_gb:.1f}" if memory_gb >= 0.1 or not memory_gb else f"{memory_gb:.4f}",
            row.status.value,
            one_line(row.description),
        )
    )


def one_line(text: str) -> str:
    """Text that stays on one line and in one column, and cannot reorder it."""
    return _CONTROL.sub(" ", _BIDI.sub("", text)).strip()
