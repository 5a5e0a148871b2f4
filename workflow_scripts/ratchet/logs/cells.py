"""Lines to cells: tabs, commas, semicolons, pipes, aligned spaces, JSON lines."""

import csv
import json
import re
from collections.abc import Callable
from typing import Any

from ratchet.base.errors import DataError
from ratchet.base.structs import Struct, field
from ratchet.base.text import one_line
from ratchet.logs.columns import COMMIT_NAMES, DESCRIPTION_NAMES, PREFERRED, STATUS_NAMES
from ratchet.logs.table import Problem
from ratchet.logs.words import STATUSES, direction_of, is_number, normal_name, status_of
from ratchet.records.records import Direction

_KNOWN = {*STATUS_NAMES, *COMMIT_NAMES, *DESCRIPTION_NAMES, *PREFERRED}
_SEPARATORS = {"\t": "tabs", "|": "pipes", ",": "commas", ";": "semicolons"}
_BARE = {4: "commit {} status description", 5: "commit {} memory_gb status description"}
_GAP = re.compile(r"\s{2,}")
_RULE = re.compile(r"[\s|:,+=-]+")

MAX_CELLS = 2000  # More columns than any log has; a file with more is no log.


class Cells(Struct):
    """A file's lines as cells; ``header`` holds the names of the columns.

    ``stated`` are directions that the file itself gives, by metric; that of ``""`` is of all.
    """

    header: list[str]
    lines: list[tuple[int, list[str]]]
    separator: str
    assumptions: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    stated: dict[str, Direction] = field(default_factory=dict)


def split_lines(lines: list[tuple[int, str]], name: str, metric: str = "metric") -> Cells:
    """Find the separator and the header, and cut every line; without header ``metric`` is used.

    Raises :class:`DataError` where there is no table.
    """
    if lines[0][1].lstrip().startswith("{"):
        return _json_lines(lines, name)
    data, comments = _without_comments(lines)
    if not data:
        raise DataError(f"{name}: line {lines[0][0]}, column 1: expected rows, found only comments")
    first = data[0][1]
    separator = next((s for s in _SEPARATORS if _splits(first, s)), " ")
    cut = _cutter(separator, first)
    names = cut(first)
    bare = _BARE.get(len(names), "") if separator == "\t" and _is_row(first) else ""
    if bare and names[-2] and status_of(names[-2]) and is_number(names[1]):
        data, names = [(0, ""), *data], bare.format(metric).split()
    elif not is_header(names):
        raise DataError(
            f"{name}: line {data[0][0]}, column 1: expected a header that names the columns, found "
            f"{one_line(first)!r:.60}; write one above it, such as commit, val_bpb, memory_gb, "
            "status, description"
        )
    body = data[2:] if len(data) > 1 and _rule(data[1][1]) else data[1:]
    rows = [(n, cut(line)) for n, line in body if separator != "|" or not _rule(line)]
    rows, later = _one_header(names, rows)
    cells = Cells(names, rows, separator)
    if bare:
        cells.assumptions.append(f"there is no header; the columns are {', '.join(names)}")
    for way in filter(None, map(_way, comments)):
        cells.stated[""] = way
    if separator != "\t":
        cells.assumptions.append(f"columns are separated by {_SEPARATORS.get(separator, 'spaces')}")
    if later:
        cells.assumptions.append(f"{later} repetitions of the header were passed over")
    if comments:
        cells.assumptions.append(f"{len(comments)} comment lines were passed over")
    if max(map(len, (c for _, c in cells.lines)), default=0) > MAX_CELLS:
        raise DataError(f"{name}: expected at most {MAX_CELLS} columns, found more")
    return cells


def is_header(cells: list[str]) -> bool:
    """Whether these are column names: several, no number, a known one among them."""
    names = [normal_name(cell) for cell in cells]
    # "keep" may be a column's name, yet alone it is more likely a row's status.
    known = any(name in _KNOWN and name not in STATUSES for name in names)
    known |= any(name in STATUS_NAMES for name in names) and any(map(direction_of, names))
    return len(cells) > 1 and known and not any(is_number(cell) for cell in cells)


_STATEMENT = re.compile(r"direction\W+(lower|higher|min|max)", re.IGNORECASE)


def _way(text: str) -> Direction | None:
    """Direction that a comment states: ``# metric_direction: lower_is_better``."""
    found = _STATEMENT.search(text)
    lower = found is not None and found.group(1).lower() in ("lower", "min")
    return found and (Direction.MINIMIZE if lower else Direction.MAXIMIZE)


def _one_header(
    header: list[str], rows: list[tuple[int, list[str]]]
) -> tuple[list[tuple[int, list[str]]], int]:
    """Rows without later headers, and how many of these there were.

    Cells below a later header stand in the places that the first one gives their names.
    """
    names = [normal_name(cell) for cell in header]
    places = {place: place for place in range(len(names))}
    later, width, found = 0, len(names), []
    for n, row in rows:
        again = [normal_name(cell) for cell in row]
        shared = sum(name in names for name in again)
        if len(row) > 2 and 2 * shared > len(row) and is_header(row):
            places = {names.index(name): place for place, name in enumerate(again) if name in names}
            later, width = later + 1, len(row)
        elif later and len(row) == width:
            found.append((n, [row[places[p]] if p in places else "" for p in range(len(names))]))
        else:
            found.append((n, row))
    return found, later


def _without_comments(lines: list[tuple[int, str]]) -> tuple[list[tuple[int, str]], list[str]]:
    """Lines without comments, and these; a commented header that precedes the data stays."""
    data = [(n, line) for n, line in lines if not line.lstrip().startswith(("#", "//"))]
    comments = [(n, line) for n, line in lines if line.lstrip().startswith(("#", "//"))]
    numbered = [(n, line) for n, line in comments if _is_row(line)]
    data = sorted([*data, *numbered]) if numbered else data
    if comments and data:
        n, line = comments[0]
        text = line.lstrip("#/ ")
        named = "\t" in text and is_header(text.split("\t")) and n < data[0][0]
        if named and not is_header(data[0][1].split("\t")):
            return [(n, text), *data], [line for n, line in comments[1:]]
    return data, [line for n, line in comments if (n, line) not in numbered]


def _is_row(line: str) -> bool:
    """Whether a line that starts like a comment has a number and a status: ``#12``."""
    cells = line.split("\t")
    stated = any(cell.strip() and status_of(cell) for cell in cells[1:])
    return len(cells) > 2 and stated and any(is_number(cell) for cell in cells[1:])


def _splits(line: str, separator: str) -> bool:
    """Whether the first line, so cut, looks like names."""
    cells = _cutter(separator, line)(line)
    if len(cells) < 2 or separator == "\t":
        return len(cells) > 1
    names = {normal_name(cell) for cell in cells}
    telling = [name for name in names if name in _KNOWN or direction_of(name)]
    return len(telling) > 1 and is_header(cells)


def _cutter(separator: str, first: str) -> Callable[[str], list[str]]:
    if separator == "\t":
        # A shell's echo may have written the two characters instead of the tab.
        return lambda line: [cell.strip() for cell in line.split("\t" if "\t" in line else r"\t")]
    if separator == "|":
        return lambda line: [cell.strip() for cell in line.strip().strip("|").split("|")]
    if separator in ",;":
        return lambda line: _quoted(line, separator)
    return _spaces(first)


def _quoted(line: str, separator: str) -> list[str]:
    """Cells that may be in double quotes, inside which separators count as text."""
    # The limit is the whole process's, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), len(line) + 1))
    cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    return [cell.strip() for cell in cells]


def _rule(line: str) -> bool:
    """Whether a line only rules off the header of its table: ``|---|:--|``."""
    return bool(_RULE.fullmatch(line)) and ("--" in line or "==" in line)


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
    """One object a line; the columns are all keys in the order they appear.

    An object that only configures says what the metric of the rows below it is.
    """
    objects: list[tuple[int, dict[str, str]]] = []
    problems = []
    header: dict[str, None] = {}
    stated: dict[str, Direction] = {}
    metric = ""
    for n, line in lines:
        try:
            values = _flat(json.loads(line))
        except (ValueError, RecursionError) as error:
            reason = one_line(str(error))[:80]
            problems.append(Problem(n, 1, f"expected a JSON object, found {reason}", True))
            continue
        if "config" in (values.get("type"), values.get("kind")) or values.get("kind") == "init":
            metric = values.get("metricName") or values.get("metric") or ""
            way = _way("direction " + (values.get("bestDirection") or values.get("direction", "")))
            stated |= {metric: way} if way is not None else {}
            values = {"status": "config", "description": values.get("name", "")}
        if metric:
            values = {"metricName": metric, **values}
        header.update(dict.fromkeys(values))
        objects.append((n, values))
        if len(header) > MAX_CELLS:
            raise DataError(f"{name}: line {n}: expected at most {MAX_CELLS} keys, found more")
    if not objects:
        raise DataError(f"{name}: {problems[0]}")
    names = list(header)
    rows = [(n, [values.get(key, "") for key in names]) for n, values in objects]
    return Cells(names, rows, "{", ["each line is a JSON object"], problems, stated)


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
