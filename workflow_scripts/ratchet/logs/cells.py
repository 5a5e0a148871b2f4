"""Lines to cells: tabs, commas, aligned spaces, JSON lines."""

import csv
import json
import re
from collections.abc import Callable
from typing import Any

from ratchet.base.errors import DataError
from ratchet.base.structs import Struct, field
from ratchet.base.text import one_line
from ratchet.logs.columns import (
    COMMIT_NAMES,
    DESCRIPTION_NAMES,
    PREFERRED,
    STATUS_NAMES,
    STATUSES,
    direction_of,
    is_number,
    normal_name,
)
from ratchet.logs.table import Problem

_KNOWN = {*STATUS_NAMES, *COMMIT_NAMES, *DESCRIPTION_NAMES, *PREFERRED}
_GAP = re.compile(r"\s{2,}")

MAX_CELLS = 2000
"""More columns than any log has; a file with more is no log."""


class Cells(Struct):
    """A file's lines as cells; ``header`` holds the names of the columns."""

    header: list[str]
    lines: list[tuple[int, list[str]]]
    separator: str
    assumptions: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=dict)


def split_lines(lines: list[tuple[int, str]], name: str) -> Cells:
    """Find the separator and the header, and cut every line.

    Raises :class:`DataError` where there is no table.
    """
    if lines[0][1].lstrip().startswith("{"):
        return _json_lines(lines, name)
    data = [(n, line) for n, line in lines if not line.lstrip().startswith(("#", "//"))]
    comments = len(lines) - len(data)
    if not data:
        raise DataError(f"{name}: line {lines[0][0]}, column 1: expected rows, found only comments")
    first = data[0][1]
    separator = "\t" if "\t" in first else "," if _names_columns(_quoted(first)) else " "
    cut = {"\t": _tabbed, ",": _quoted, " ": _spaces(first)}[separator]
    if not is_header(cut(first)):
        raise DataError(
            f"{name}: line {data[0][0]}, column 1: expected a header that names the columns, found "
            f"{one_line(first)!r:.60}; write one above it, such as commit, val_bpb, memory_gb, "
            "status, description"
        )
    cells = Cells(cut(first), [(n, cut(line)) for n, line in data[1:]], separator)
    if separator != "\t":
        named = "commas" if separator == "," else "spaces"
        cells.assumptions.append(f"columns are separated by {named}")
    if comments:
        cells.assumptions.append(f"{comments} comment lines were passed over")
    if max(map(len, (c for _, c in cells.lines)), default=0) > MAX_CELLS:
        raise DataError(f"{name}: expected at most {MAX_CELLS} columns, found more")
    return cells


def is_header(cells: list[str]) -> bool:
    """Whether these are column names: several, no number, a known one among them."""
    names = [normal_name(cell) for cell in cells]
    # "keep" may be a column's name, yet alone it is more likely a row's status.
    known = any(name in _KNOWN and name not in STATUSES for name in names)
    return len(cells) > 1 and known and not any(is_number(cell) for cell in cells)


def _names_columns(cells: list[str]) -> bool:
    """Whether cells are a header of which two names tell what stands below them."""
    names = {normal_name(cell) for cell in cells}
    telling = [name for name in names if name in _KNOWN or direction_of(name)]
    return len(telling) > 1 and is_header(cells)


def _tabbed(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("\t")]


def _quoted(line: str) -> list[str]:
    """Cells between commas that may be in double quotes, inside which commas count as text."""
    # The limit is the whole process's, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), len(line) + 1))
    return [cell.strip() for cell in next(csv.reader([line], skipinitialspace=True))]


def _spaces(first: str) -> Callable[[str], list[str]]:
    """Cut at gaps where that gives the right number of cells, else at each space.

    The last column takes the rest.
    """
    count = len(first.split())

    def cut(line: str) -> list[str]:
        wide = _GAP.split(line.strip())
        return wide if len(wide) == count else line.split(None, max(0, count - 1))

    return cut


def _json_lines(lines: list[tuple[int, str]], name: str) -> Cells:
    """One object a line; the columns are all keys in the order they appear."""
    objects: list[tuple[int, dict[str, str]]] = []
    problems = []
    header: dict[str, None] = {}
    config: dict[str, str] = {}
    for n, line in lines:
        try:
            values = _flat(json.loads(line))
        except (ValueError, RecursionError) as error:
            reason = one_line(str(error))[:80]
            problems.append(Problem(n, 1, f"expected a JSON object, found {reason}", True))
            continue
        header.update(dict.fromkeys(values))
        if values.get("type") == "config":
            config = values
            values = {"status": "config", "description": values.get("name", ""), **values}
            header.update(dict.fromkeys(values))
        objects.append((n, values))
        if len(header) > MAX_CELLS:
            raise DataError(f"{name}: line {n}: expected at most {MAX_CELLS} keys, found more")
    if not objects:
        raise DataError(f"{name}: {problems[0]}")
    names = list(header)
    rows = [(n, [values.get(key, "") for key in names]) for n, values in objects]
    return Cells(names, rows, "{", ["each line is a JSON object"], problems, config)


def _flat(value: Any) -> dict[str, str]:
    """An object's scalars as text; one nested level is named by its own keys."""
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__}")
    flat = {key: _text(cell) for key, cell in value.items() if not isinstance(cell, dict | list)}
    nested = [item for cell in value.values() if isinstance(cell, dict) for item in cell.items()]
    for key, inner in nested:
        if not isinstance(inner, dict | list):
            flat.setdefault(key, _text(inner))
    return flat


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
