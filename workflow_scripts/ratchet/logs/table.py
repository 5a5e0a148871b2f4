"""Rows of a log, in whatever dialect it was written, and problems of reading it."""

import enum
from collections.abc import Iterable

from ratchet.base.structs import Frozen
from ratchet.base.text import one_line
from ratchet.records.records import Direction


def first_of(items: Iterable[object], most: int) -> str:
    """The first of some items, for a message, and how many more there are."""
    shown = [str(item) for item in items]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def quoted(text: str) -> str:
    """The beginning of a cell or name, for a message."""
    return repr(one_line(text)[:60])


class RowStatus(enum.StrEnum):
    """Decision of the log's author about a row."""

    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"
    BASELINE = "baseline"
    # A run whose fate is open: running, to be tested again, no status yet.
    PENDING = "pending"
    # No experiment: a remark, an analysis, something skipped.
    NOTE = "note"

    @property
    def is_experiment(self) -> bool:
        """Whether the row is about a run at all."""
        return self is not RowStatus.NOTE


class LogRow(Frozen):
    """One row that was understood; texts hold no control characters.

    ``line`` counts the file's lines from 1.  ``value`` is in the metric's own
    unit and direction and is ``None`` where the row has none; a crashed row may
    have one nevertheless.  ``status_text`` is the author's own word.
    """

    line: int
    commit: str
    value: float | None
    memory_gb: float | None
    status: RowStatus
    status_text: str
    description: str
    agent: str | None


class Problem(Frozen):
    """A cell or line that was not understood.

    ``column`` counts cells from 1.  ``unread`` says that the whole line is
    missing from the rows; else only the cell is.
    """

    line: int
    column: int
    message: str
    unread: bool

    def __str__(self) -> str:
        lost = "; the row is not judged" if self.unread else ""
        return f"line {self.line}, column {self.column}: {self.message}{lost}"


class Table(Frozen):
    """A session's log: what was understood, assumed, and not understood."""

    metric: str
    direction: Direction
    rows: tuple[LogRow, ...]
    assumptions: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def line_count(self) -> int:
        """Number of data rows in the file, understood or not."""
        return len(self.rows) + sum(problem.unread for problem in self.problems)
