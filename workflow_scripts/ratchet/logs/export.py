"""A session or any log as a sheet of rows, and the sheet as text in other formats.

Nothing is dropped and nothing is invented: a missing value is empty (``null`` in
JSON), and ``0.000000`` stands for one in ``results.tsv`` alone.  What a format has
no place for is told, see :attr:`SheetText.left_out`.  Pure: records in, text out.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ratchet.base.structs import Frozen, field, to_json_values
from ratchet.base.text import one_line
from ratchet.logs.cells import split_lines
from ratchet.logs.reader import decode_text, numbered_lines
from ratchet.logs.table import RowStatus, Table, first_of
from ratchet.records.records import Status
from ratchet.records.results_table import table_header

ABSENT = "0.000000"
"""A missing metric in ``results.tsv``."""

SHORT_HASH = 7
"""Characters of a full git hash in ``results.tsv``; other names stay whole."""

_FULL_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_STATUSES = {status.value for status in Status}


class ExportedExperiment(Frozen):
    """One experiment; ``fields`` is what else is known of it, by name.

    ``value`` is in the metric's own unit and direction.  ``line`` is the line of the
    log it was read from.  ``status`` is Karpathy's word or, where it is none of the
    three, that of :class:`ratchet.logs.table.RowStatus`.
    """

    number: int
    line: int | None
    commit: str
    value: float | None
    memory_gb: float | None
    status: str
    description: str
    agent: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


class Sheet(Frozen):
    """A session's experiments with the problems of reading them."""

    name: str
    metric: str
    direction: str
    entries: tuple[ExportedExperiment, ...]
    assumptions: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def extra(self) -> list[str]:
        """Names of all fields, in the order in which they appear."""
        return list(dict.fromkeys(name for entry in self.entries for name in entry.fields))


class SheetText(Frozen):
    """A file's text, and what of the sheet is not in it."""

    text: str
    left_out: tuple[str, ...] = ()


def sheet_of(table: Table, data: bytes, name: str) -> Sheet:
    """The sheet of a log that :func:`ratchet.logs.reader.read_table` made a table of.

    All cells of the log are among the fields, as ``log.<column>``.
    """
    cells = _cells(data, name)
    return Sheet(
        name=name,
        metric=table.metric,
        direction=table.direction.value,
        entries=tuple(
            ExportedExperiment(
                number=number,
                line=row.line,
                commit=row.commit,
                value=row.value,
                memory_gb=row.memory_gb,
                status=row.status.value,
                description=row.description,
                agent=row.agent,
                fields=cells.get(row.line, {}),
            )
            for number, row in enumerate(table.rows, 1)
        ),
        assumptions=table.assumptions,
        problems=tuple(str(problem) for problem in table.problems),
    )


def _cells(data: bytes, name: str) -> dict[int, dict[str, Any]]:
    """Every cell of a log by line and column name."""
    lines = numbered_lines(decode_text(data, name)[0])
    cells = split_lines(lines, name)
    if cells.separator == "{":
        whole = dict(lines)
        return {
            line: {f"log.{key}": cell for key, cell in _plain(json.loads(whole[line])).items()}
            for line, _ in cells.lines
        }
    header = _distinct([one_line(title) for title in cells.header])
    found = {}
    for line, row in cells.lines:
        names = [*header, *(f"column {n}" for n in range(len(header) + 1, len(row) + 1))]
        pairs = zip(names, row, strict=False)
        found[line] = {f"log.{title}": one_line(cell) for title, cell in pairs}
    return found


def _plain(value: Any) -> Any:
    """A JSON value without control characters; what is no number in JSON, as text."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {one_line(key): _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of which none is empty or another's."""
    found: list[str] = []
    for place, name in enumerate(names, 1):
        plain = name or f"column {place}"
        found.append(f"{plain} ({place})" if plain in found else plain)
    return found


def to_json(sheet: Sheet) -> SheetText:
    """Whole sheet as one JSON object."""
    whole = {
        "session": sheet.name,
        "metric": sheet.metric,
        "direction": sheet.direction,
        "experiments": [to_json_values(entry) for entry in sheet.entries],
        "assumptions": list(sheet.assumptions),
        "problems": list(sheet.problems),
    }
    return SheetText(json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def to_csv(sheet: Sheet) -> SheetText:
    """A line for each experiment, with all its fields; lists are JSON in one cell."""
    names = ("number", "line", "commit", one_line(sheet.metric), "memory_gb", "status")
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n").writerow
    write(_distinct([*names, "agent", *sheet.extra, "description"]))
    for entry in sheet.entries:
        known = (entry.number, entry.line, entry.commit, entry.value, entry.memory_gb)
        extra = (entry.fields.get(name) for name in sheet.extra)
        cells = (*known, entry.status, entry.agent, *extra, entry.description)
        write([_cell(cell) for cell in cells])
    return SheetText(text.getvalue(), sheet.problems)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str | int):
        return one_line(str(value))
    return one_line(json.dumps(value, ensure_ascii=False))


def to_results_tsv(sheet: Sheet) -> SheetText:
    """Karpathy's five columns.

    Six decimals and one, as he writes them, unless they would change a value.  The
    baseline is a keep, as there; statuses that he has no word for stay as they are.
    """
    lines = [table_header(one_line(sheet.metric) or "metric")]
    first = next((e.number for e in sheet.entries if e.value is not None), None)
    odd: dict[str, int] = {}
    for entry in sheet.entries:
        status = entry.status
        if status == RowStatus.BASELINE.value and entry.number == first:
            status = Status.KEEP.value
        if status not in _STATUSES:
            odd[status] = odd.get(status, 0) + 1
        commit = one_line(entry.commit)
        memory = "0.0" if entry.memory_gb is None else _fixed(entry.memory_gb, 1)
        metric = ABSENT if entry.value is None else _fixed(entry.value, 6)
        short = commit[:SHORT_HASH] if _FULL_HASH.fullmatch(commit) else commit
        lines.append("\t".join((short, metric, memory, status, one_line(entry.description))))
    return SheetText("\n".join(lines) + "\n", (*sheet.problems, *_beyond(sheet, odd)))


def _fixed(value: float, decimals: int) -> str:
    """With so many decimals if the value survives it, else the shortest exact form."""
    text = f"{value:.{decimals}f}"
    # 0.000000 would read as no value.
    return text if value and float(text) == value else repr(value)


def _beyond(sheet: Sheet, odd: Mapping[str, int]) -> Iterable[str]:
    """Notes on what five columns have no place for."""
    own = {"log.commit", f"log.{sheet.metric}", "log.memory_gb", "log.status", "log.description"}
    extra = [name for name in sheet.extra if name not in own]
    if any(entry.agent for entry in sheet.entries):
        extra.append("agent")
    if extra:
        shown = first_of(extra, 8)
        yield f"{len(extra)} columns that results.tsv does not have ({shown}); --to csv has them"
    for status, count in odd.items():
        yield f"{count} rows have the status {status!r}, which is none of results.tsv's own three"


SHEET_FORMATS = {"results.tsv": to_results_tsv, "csv": to_csv, "json": to_json}
"""Formats that are one text, by their name."""
