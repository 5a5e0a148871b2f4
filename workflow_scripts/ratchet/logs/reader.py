"""Reader of a session's log, in any dialect, and of run logs."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from ratchet.base.errors import DataError
from ratchet.base.structs import Frozen, replace
from ratchet.base.text import one_line, strip_escapes
from ratchet.logs.cells import Cells, split_lines
from ratchet.logs.columns import Columns, find_columns, votes_of
from ratchet.logs.table import LogRow, Problem, RowStatus, Table, first_of, quoted
from ratchet.logs.words import direction_of, is_number, memory_of, number_of, status_of
from ratchet.records.records import Direction
from ratchet.runs.log import failure_evidence, finite_metric, parse_summary

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)

# Never str.splitlines: it also splits at form feeds and Unicode separators.
_LINE_END = re.compile(r"\r*\n|\r")


def decode_text(data: bytes, name: str) -> tuple[str, list[str]]:
    """The text of a file without terminal colours, and what was assumed.

    Raises :class:`DataError` for an empty and for a binary file.
    """
    if not data.strip(b"\x00\t\n\r \xef\xbb\xbf\xff\xfe"):
        raise DataError(f"{name}: expected text, found an empty file ({len(data)} bytes)")
    marks = ((name, len(mark)) for mark, name in _MARKS if data.startswith(mark))
    encoding, skip = next(marks, ("utf-8", 0))
    assumptions = [] if encoding == "utf-8" else [f"the file is {encoding.upper()}"]
    try:
        text = data[skip:].decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise DataError(
                f"{name}: expected {encoding} text, found other bytes at {error.start + skip}"
            ) from None
        text = data[skip:].decode("latin-1")
        assumptions = [f"the file is not UTF-8 (byte {error.start + skip}); read as Latin-1"]
    place = text.find("\x00")
    if place >= 0:
        line, start = text.count("\n", 0, place) + 1, text.rfind("\n", 0, place)
        raise DataError(
            f"{name}: line {line}, character {place - start}: expected text, found a zero "
            "byte; this is a binary file, or UTF-16 without its mark"
        )
    if "\x1b" in text:
        text = strip_escapes(text)
        assumptions.append("terminal colours were removed")
    return text, assumptions


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """The lines that are not blank, counted from 1."""
    return [(i, line) for i, line in enumerate(_LINE_END.split(text), 1) if line.strip()]


_PREFIX = re.compile(r"^((?:agent|worker|gpu|rank|node)[-_ ]?\w{1,20}):", re.IGNORECASE)
_OWN_MISSING = "0.000000"


def read_table(
    data: bytes,
    name: str,
    metric: str | None = None,
    direction: Direction | None = None,
    status: Sequence[str] = (),
    label: str | None = None,
) -> Table:
    """Read a session's log.

    ``name`` is what messages call the file.  ``metric``, ``direction``,
    ``status`` (a column, and ``WORD=MEANING``) and ``label`` (what the rows that
    count are about) replace what would be recognised or assumed.  Raises
    :class:`DataError`, with line and column, for what is no table of
    experiments, and where two readings stay possible.
    """
    text, assumptions = decode_text(data, name)
    lines = numbered_lines(text)
    if not lines:
        raise DataError(f"{name}: line 1, column 1: expected rows, found only blank lines")
    cells = split_lines(lines, name, metric or "metric")
    if not cells.lines:
        raise DataError(
            f"{name}: line {lines[-1][0]}, column 1: expected experiments below the header, "
            "found none"
        )
    rows = [row for _, row in cells.lines]
    columns = find_columns(cells.header, rows, name, metric, status, label)
    reader = _Reader(cells, columns)
    reader.read()
    if not reader.rows:
        first = min(reader.problems, key=lambda problem: problem.line)
        raise DataError(f"{name}: expected at least one row that can be understood; {first}")
    reader.refuse_unknown(name)
    chosen, said = _direction(columns.metric_name, reader.rows, direction, cells.stated, name)
    reader.unzero(chosen)
    found, agents = _agents(reader.rows)
    notes = [*assumptions, *cells.assumptions, *columns.assumptions, *said, *reader.notes, *agents]
    problems = sorted(reader.problems, key=lambda p: (p.line, p.column))
    return Table(columns.metric_name, chosen, tuple(found), tuple(notes), tuple(problems))


class _Reader:
    """Turns cells into rows, one line at a time."""

    def __init__(self, cells: Cells, columns: Columns) -> None:
        self.cells = cells
        self.columns = columns
        self.rows: list[LogRow] = []
        self.problems = list(cells.problems)
        self._counted: Counter[str] = Counter()
        self._synonyms: dict[str, RowStatus] = {}
        self._unknown: Counter[str] = Counter()
        self._zeros: list[int] = []

    def read(self) -> None:
        for line, cells in self.cells.lines:
            row = self._row(line, cells)
            if row is not None:
                self.rows.append(row)

    def refuse_unknown(self, name: str) -> None:
        """Refuse a log with many rows of a status word whose meaning only its author knows."""
        for word, count in self._unknown.most_common(1):
            if count > max(1, 0.2 * len(self.rows)):
                raise DataError(
                    f"{name}: expected status words that are known, found {quoted(word)} in "
                    f"{count} of {len(self.rows)} rows; say what it means: --status "
                    f"'{one_line(word)[:60]}=keep' (or discard, crash, baseline, pending, note)"
                )

    @property
    def notes(self) -> list[str]:
        """Assumptions about rows."""
        words = [f"{one_line(text)[:40]!r} as {s.value}" for text, s in self._synonyms.items()]
        notes = [f"status read: {first_of(words, 12)}"] if words else []
        return notes + [f"{count} {what}" for what, count in sorted(self._counted.items())]

    def _row(self, line: int, cells: list[str]) -> LogRow | None:
        columns = self.columns
        if len(cells) <= max(columns.metric, columns.status):
            found = f"{len(cells)} where {len(columns.names)} were expected"
            self._note(line, len(cells), f"the row ends early, after cell {found}", unread=True)
            return None
        whole = len(cells) == len(columns.names)
        cells = self._fold(line, cells)
        text = cells[columns.status]
        status = status_of(text, columns.flag, columns.words)
        if status is None:
            # Of a whole row the measurement is certain, whatever the author's word means.
            word = len(text.split()) <= 3 and text.strip("*_ ")[:1].isalpha()
            word &= whole and self.cells.separator != " "
            open_ = word and is_number(cells[columns.metric])
            found = f"expected a status, found {quoted(text)}"
            hint = "; read as undecided (say what it means with --status WORD=keep)"
            self._note(line, columns.status + 1, found + hint * open_, unread=not open_)
            if not open_:
                return None
            self._unknown[text.strip().lower()] += 1
            status = RowStatus.PENDING
        if self.cells.separator == " " and not self._plausible(line, cells):
            return None
        self._remember(text, status)
        value = self._value(line, cells, status)
        commit = _cell(cells, columns.commit)
        description = _cell(cells, columns.description)
        if columns.label is not None and _cell(cells, columns.label) != columns.about:
            status, value = RowStatus.NOTE, None
        opening = re.match(r"baseline\b", description or commit, re.IGNORECASE)
        if status is RowStatus.PENDING and opening and not self.rows:
            status = RowStatus.BASELINE
        memory, agent = self._memory(line, cells), _cell(cells, columns.agent) or None
        return LogRow(line, commit, value, memory, status, one_line(text), description, agent)

    def _fold(self, line: int, cells: list[str]) -> list[str]:
        """Give the surplus cells of a long row to a description that comes last."""
        columns = self.columns
        width = len(columns.names)
        if len(cells) <= width or not any(cells[width:]):
            return cells
        if columns.description == width - 1:
            self._counted["rows had more cells than columns; the rest joined the description"] += 1
            separator = self.cells.separator if self.cells.separator != "\t" else " "
            return [*cells[: width - 1], separator.join(cells[width - 1 :])]
        found = f"found {len(cells)}; the rest was left out"
        self._note(line, width + 1, f"expected {width} cells, {found}")
        return cells

    def _plausible(self, line: int, cells: list[str]) -> bool:
        """Between spaces prose looks like a row: each number must be one."""
        for place in (self.columns.metric, self.columns.memory):
            try:
                number_of("" if place is None else cells[place])
            except ValueError:
                found = f"expected a number, found {quoted(cells[place or 0])}"
                self._note(line, (place or 0) + 1, found, unread=True)
                return False
        return True

    def _value(self, line: int, cells: list[str], status: RowStatus) -> float | None:
        place = self.columns.metric
        text = cells[place]
        missing = self.columns.own and text == _OWN_MISSING
        try:
            value = None if missing else number_of(text)
        except ValueError:
            self._note(line, place + 1, f"expected a number, found {quoted(text)}")
            return None
        if value is None and status in (RowStatus.KEEP, RowStatus.BASELINE):
            self._note(line, place + 1, f"a kept row without metric, found {quoted(text)}")
        if value is not None and text.rstrip("*` ").endswith("%"):
            self._counted["values were read without their percent signs"] += 1
        if value == 0 and status is RowStatus.CRASH:
            return None
        if value == 0 and status is not RowStatus.KEEP:
            self._zeros.append(len(self.rows))
        return value

    def unzero(self, direction: Direction) -> None:
        """A perfect 0 that was not kept is a crash marker, if no row keeps a 0."""
        kept = any(row.value == 0 for row in self.rows if row.status is RowStatus.KEEP)
        if direction is Direction.MAXIMIZE or kept or not self._zeros:
            return
        for place in self._zeros:
            self.rows[place] = replace(self.rows[place], value=None)
        what = "rows with a metric of 0 were not kept; read as rows without metric"
        self._counted[what] = len(self._zeros)

    def _memory(self, line: int, cells: list[str]) -> float | None:
        place = self.columns.memory
        if place is None or place >= len(cells):
            return None
        try:
            return memory_of(cells[place], self.columns.names[place])
        except ValueError:
            self._note(line, place + 1, f"expected an amount of memory, found {cells[place]!r:.60}")
            return None

    def _remember(self, text: str, status: RowStatus) -> None:
        if text.strip() != status.value and len(self._synonyms) < 1000:
            self._synonyms.setdefault(re.split(r"[(:]", text, maxsplit=1)[0].strip(), status)

    def _note(self, line: int, column: int, message: str, unread: bool = False) -> None:
        self.problems.append(Problem(line, column, message, unread))


def _cell(cells: Sequence[str], place: int | None) -> str:
    return one_line(cells[place]) if place is not None and place < len(cells) else ""


def _direction(
    name: str,
    rows: Sequence[LogRow],
    given: Direction | None,
    stated: Mapping[str, Direction],
    file: str,
) -> tuple[Direction, list[str]]:
    """Direction of the metric, and what was assumed about it.

    The user decides, else the file's own statement, else the author's keeps
    where they speak clearly, else the name.  Raises :class:`DataError` where
    nothing says so, or name and decisions contradict each other.
    """
    stated_one = stated.get(name, stated.get(""))
    if given is not None or stated_one is not None:
        return given or stated_one or Direction.MINIMIZE, []
    votes, guess = votes_of((row.value, row.status) for row in rows), direction_of(name)
    kept = [row.value for row in rows if row.status is RowStatus.KEEP and row.value is not None]
    went = f"its kept values went from {kept[0]:.6g} to {kept[-1]:.6g}" if kept else ""
    if votes.clear is not None:
        said = "" if guess in (None, votes.clear) else ", whatever its name says"
        return votes.clear, [f"{name} is taken to {votes.clear.value}: {went}{said}"]
    which = "add --direction minimize or --direction maximize"
    where = f"{file}: line 1, column 1: the name of the metric {one_line(name)!r:.60}"
    if guess is None:
        if votes.likely is None:
            raise DataError(f"{where} does not say which way is better; {which}")
        return votes.likely, [f"{name} is taken to {votes.likely.value}, by what was kept"]
    if votes.contradicts(guess):
        raise DataError(
            f"{where} says {guess.value}, yet the author's decisions say the other way ({went}); "
            f"{which}"
        )
    return guess, [f"{name} is taken to {guess.value}, by its name"]


def _agents(rows: list[LogRow]) -> tuple[list[LogRow], list[str]]:
    """Rows with their agents, which a description may name as ``agent1: …``."""
    if not any(row.agent for row in rows):
        found = [_PREFIX.match(row.description) for row in rows]
        if sum(match is not None for match in found) >= len(rows) / 2:
            rows = [
                replace(row, agent=match.group(1) if match else None)
                for row, match in zip(rows, found, strict=True)
            ]
    agents = list(dict.fromkeys(row.agent for row in rows if row.agent))
    if len(agents) < 2:
        return rows, []
    said = f"{len(agents)} agents share the file ({first_of(agents, 6)}); read as one session, in "
    return rows, [said + "the file's order"]


_FAILED = re.compile(r"Traceback \(most recent|[Oo]ut of memory|OutOfMemory|Killed|Segmentation")
_SUMMARY = re.compile(r"^---\s*$", re.MULTILINE)

_MEMORY_NAMES = {
    **dict.fromkeys(("peak_vram_mb", "memory_mb", "peak_memory_mb"), 1024),
    **dict.fromkeys(("memory_gb", "peak_vram_gb", "peak_memory_gb"), 1),
}


class RunLog(Frozen):
    """A run as its log tells it; ``value`` is ``None`` where it has no metric.

    ``evidence`` is the line that says why.  ``metrics`` are all numbers of the
    summary.
    """

    value: float | None
    memory_gb: float | None
    metrics: Mapping[str, float]
    evidence: str
    assumptions: tuple[str, ...]


def read_run(data: bytes, name: str, metric: str) -> RunLog:
    """Read a run log for one metric.

    A log that ends in an error, or without the metric, is a crash and no
    failure.  Raises :class:`DataError` for a binary file, and for a finished
    run that reports other metrics than this one, or only the best of all runs.
    """
    if not data.strip():
        return RunLog(None, None, {}, "the run log is empty", ())
    text, assumptions = decode_text(data, name)
    metrics = parse_summary(text)
    value = finite_metric(metrics, metric)
    unnamed = value is None and metric not in metrics
    found, others = _last_mention(text, metric) if unnamed else (None, "")
    if found is not None:
        value, line = found
        assumptions.append(f"{metric} is read from line {line}, as no summary line has it")
    elif unnamed and not _FAILED.search(text) and (others or (metrics and _SUMMARY.search(text))):
        raise DataError(
            f"{name}: line {text.count(chr(10)) + 1}, column 1: expected a line "
            f"'{one_line(metric)}: number', found {others or ', '.join(list(metrics)[:8])}; name "
            "the metric with --metric"
        )
    why = ""
    if value is None:
        why = failure_evidence(text) if unnamed else f"{metric} is no number"
    return RunLog(value, _memory(metrics), metrics, why, tuple(assumptions))


_ANOTHER = re.compile(
    r"\b(best|lowest|highest|record|previous|prev|old|baseline|incumbent|champion|target)"
    r"([\s_:-]+(so far|overall|ever|run|trial|known|kept))?[\s_:-]*$",
    re.IGNORECASE,
)


def _last_mention(text: str, metric: str) -> tuple[tuple[float, int] | None, str]:
    """The last ``metric: number`` within a line with that line, unless the run failed after it.

    A value of other runs, such as the best so far, does not count; the text of
    the last such one comes along.
    """
    pattern = re.compile(rf"(?<![\w-]){re.escape(metric)}\s*[:=]\s*([^\s,;|]+)")
    last, other = None, ""
    for match in pattern.finditer(text):
        start = text.rfind("\n", 0, match.start()) + 1
        another = _ANOTHER.search(text[max(start, match.start() - 60) : match.start()])
        if another is None:
            last = match
        else:
            other = quoted(another.group() + match.group())
    if last is None or _FAILED.search(text, last.end()):
        return None, other
    try:
        value = number_of(last.group(1).rstrip("."))
    except ValueError:
        return None, other
    line = text.count("\n", 0, last.start()) + 1
    return (None if value is None else (value, line)), other


def _memory(metrics: Mapping[str, float]) -> float | None:
    for name, divisor in _MEMORY_NAMES.items():
        value = finite_metric(metrics, name)
        if value is not None and value > 0:
            return value / divisor
    return None
