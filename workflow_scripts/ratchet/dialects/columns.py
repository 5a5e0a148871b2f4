"""Which column is what: by its name, and by what stands in it."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.codec import Frozen
from ratchet.dialects import words
from ratchet.errors import DataError
from ratchet.results_tsv import MEMORY_COLUMN, one_line

_SAMPLE = 400
"""Rows from which columns are recognised; a choice does not need more."""

_STATED = 0.5
"""Share of filled cells that must read as a status in a column named for it."""

_STATED_UNNAMED = 0.8
"""The same for a column whose name says nothing of it."""


class Columns(Frozen):
    """Places of the columns in a row, from 0; ``None`` where there is none.

    ``label`` is a column that names the metric of each row and ``own`` says
    that the table is in Karpathy's five columns, where 0.000000 is no metric.
    """

    names: tuple[str, ...]
    metric: int
    metric_name: str
    status: int
    commit: int | None
    memory: int | None
    description: int | None
    agent: int | None
    label: int | None = None
    flag: bool = False
    own: bool = False
    assumptions: tuple[str, ...] = ()

    @property
    def least(self) -> int:
        """Cells that a row must have to be understood at all."""
        return max(self.metric, self.status) + 1


def find_columns(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    metric: str | None,
    config_metric: str | None,
    name: str,
) -> Columns:
    """Recognise the columns of a table.

    ``metric`` is the user's choice and ``config_metric`` what the file itself
    calls its column ``metric``.  Raises :class:`DataError` where no column can
    be the status or the metric, or the user's choice is none of them.
    """
    sample = rows[:_SAMPLE]
    names = tuple(one_line(text).strip("|*`\"' ") for text in header)
    if _is_own(names) and metric in (None, names[1]):
        return Columns(names, 1, names[1], 3, 0, 2, 4, None, own=True)
    finder = _Finder(names, sample, name)
    status = finder.status()
    commit = finder.named(words.COMMIT_NAMES, besides=(status,))
    description = finder.named(words.DESCRIPTION_NAMES, besides=(status, commit))
    agent = finder.named(words.AGENT_NAMES, besides=(status, commit, description))
    memory = finder.memory()
    taken = (status, commit, description, agent, memory)
    label = finder.label() if metric is None and config_metric is None else None
    place = finder.metric(metric, taken, label)
    metric_name = names[place]
    if label is not None:
        metric_name = finder.most_frequent(label)
    elif config_metric and words.normal_name(metric_name) == "metric":
        metric_name = config_metric
    return Columns(
        names=names,
        metric=place,
        metric_name=metric_name,
        status=status,
        commit=commit,
        memory=None if memory == place else memory,
        description=description,
        agent=agent,
        label=label,
        flag=words.normal_name(names[status]) in words.FLAG_NAMES,
        assumptions=tuple(finder.assumptions),
    )


def _is_own(names: Sequence[str]) -> bool:
    """Whether these are Karpathy's five columns, whatever the metric is called."""
    return len(names) == 5 and (names[0], *names[2:]) == (
        "commit",
        MEMORY_COLUMN,
        "status",
        "description",
    )


class _Finder:
    """Looks for columns in a header and a sample of rows."""

    def __init__(self, names: tuple[str, ...], rows: Sequence[Sequence[str]], file: str) -> None:
        self.names = names
        self.plain = [words.normal_name(name) for name in names]
        self.rows = rows
        self.file = file
        self.assumptions: list[str] = []

    def cells(self, place: int) -> list[str]:
        """Filled cells of a column."""
        column = (row[place].strip() for row in self.rows if place < len(row))
        return [cell for cell in column if cell]

    def named(self, known: Sequence[str], besides: tuple[int | None, ...]) -> int | None:
        """The column of the first known name."""
        for word in known:
            for place, plain in enumerate(self.plain):
                if plain == word and place not in besides:
                    return place
        return None

    def _stated(self, place: int) -> float:
        flag = self.plain[place] in words.FLAG_NAMES
        cells = self.cells(place)
        known = sum(words.status_of(cell, flag) is not None for cell in cells)
        return known / len(cells) if cells else 0.0

    def status(self) -> int:
        """The column that says what was kept."""
        for word in words.STATUS_NAMES:
            for place, plain in enumerate(self.plain):
                if plain == word and self._stated(place) >= _STATED:
                    return place
        shares = [(self._stated(place), -place) for place in range(len(self.names))]
        share, place = max(shares, default=(0.0, 0))
        if share >= _STATED_UNNAMED:
            self.assumptions.append(f"column {_said(self.names[-place])} is the status")
            return -place
        raise DataError(
            f"{self.file}: line 1, column 1: expected a column that says what was kept "
            f"(status, decision, verdict, kept), found {_listed(self.names)}"
        )

    def memory(self) -> int | None:
        """The column of the peak memory, in gigabytes if there is a choice."""
        found = [p for p, plain in enumerate(self.plain) if words.MEMORY_NAME.search(plain)]
        return min(found, key=lambda p: (not self.plain[p].endswith("gb"), p), default=None)

    def label(self) -> int | None:
        """A column ``metric`` that holds names, where another holds the values."""
        for place, plain in enumerate(self.plain):
            cells = self.cells(place)
            words_only = cells and not any(words.is_number(cell) for cell in cells)
            if plain in words.METRIC_LABELS and words_only and self._values(place) is not None:
                return place
        return None

    def _values(self, label: int) -> int | None:
        return self.named(words.VALUE_NAMES, besides=(label,))

    def most_frequent(self, place: int) -> str:
        """The metric that most rows are about; of equals the first."""
        cells = self.cells(place)
        name = max(dict.fromkeys(cells), key=cells.count)
        others = len(set(cells)) - 1
        if others:
            self.assumptions.append(f"rows of {others} metrics other than {name} are not judged")
        return one_line(name)

    def _numeric(self, place: int) -> bool:
        cells = self.cells(place)
        return sum(words.is_number(cell) for cell in cells) > len(cells) * 0.2

    def metric(
        self, chosen: str | None, taken: tuple[int | None, ...], label: int | None = None
    ) -> int:
        """The column of the metric."""
        if chosen is not None:
            return self._chosen(chosen)
        values = self._values(label) if label is not None else None
        if values is not None:
            return values
        free = [p for p in range(len(self.names)) if p not in taken and self._numeric(p)]
        plain = [p for p in free if not words.NOT_A_METRIC.search(self.plain[p])]
        if not free:
            raise DataError(
                f"{self.file}: line 1, column 1: expected a column of numbers that is the "
                f"metric, found {_listed(self.names)}; name it with --metric"
            )
        place = min(plain or free, key=self._rank)
        others = [self.names[p] for p in plain if p != place]
        if others:
            self.assumptions.append(
                f"the metric is {_said(self.names[place])}, not {_listed(others)} "
                "(choose with --metric)"
            )
        return place

    def _chosen(self, chosen: str) -> int:
        plain = words.normal_name(chosen)
        if plain not in self.plain:
            raise DataError(
                f"{self.file}: line 1, column 1: expected a column {_said(chosen)}, "
                f"found {_listed(self.names)}"
            )
        return self.plain.index(plain)

    def _rank(self, place: int) -> tuple[int, int]:
        """Known metrics first, then validation, then names with a direction."""
        plain = self.plain[place]
        if plain in words.PREFERRED:
            return words.PREFERRED.index(plain), place
        known = words.direction_of(plain) is not None
        held_out = plain.startswith(("val_", "valid_", "test_", "eval_"))
        return len(words.PREFERRED) + 2 - held_out - known, place


def _said(name: str) -> str:
    return repr(one_line(name)[:60])


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(one_line(name)[:40] for name in names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")
