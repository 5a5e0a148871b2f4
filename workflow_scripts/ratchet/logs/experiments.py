"""The experiments of a log, in order, as the judge is fed them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from ratchet.base.errors import DataError, UsageError
from ratchet.base.structs import Frozen, replace
from ratchet.base.text import one_line
from ratchet.logs.reader import RunLog
from ratchet.logs.table import LogRow, RowStatus, Table, first_of
from ratchet.records.history import (
    NO_SEED_EFFECT,
    SATURATED,
    SeedEffect,
    seed_effect,
)

SAME_VALUE = 5e-7
"""A run log and a row that differ by less are of one run: the row has six decimals."""

SATURATED_ROWS = 3
"""So many rows with one value, re-runs not counted, are no accident."""

# A hash after "seed-" names a proposal; "data_seed" is a setting.
_AGAIN = re.compile(
    r"\b(re-?runs?|re-?measur\w*|replicates?|replica|seeds?(?!-[0-9a-f]{6})|repeat(ed)?"
    r"|same (code|config\w*|settings))\b",
    re.IGNORECASE,
)


class LogCandidate(Frozen):
    """The experiment to judge; ``values`` are all its runs, in the metric's unit.

    ``number`` counts the log's rows from 0, which is the baseline as in a session; a run
    that is not in the log yet has no ``row``.  ``since`` is the number of the first of
    its runs.
    """

    number: int
    since: int
    values: tuple[float, ...]
    memory_gb: float | None
    evidence: str = ""
    row: LogRow | None = None


class LogExperiments(Frozen, dict=True):
    """The rows that are about runs, with their numbers and what the replay needs of each."""

    table: Table
    rows: tuple[LogRow, ...]
    numbers: tuple[int, ...]

    @cached_property
    def values(self) -> list[float | None]:
        """Metrics, negated where higher is better; ``None`` for a crash."""
        sign = self.table.direction.sign
        return [
            None if row.value is None or row.status is RowStatus.CRASH else sign * row.value
            for row in self.rows
        ]

    @cached_property
    def again(self) -> list[bool]:
        """Mask of rows that are further runs of the incumbent's unchanged code.

        Rows that were not kept and speak of a seed, a re-run or a replicate, and
        baselines logged before anything was kept.
        """
        found, kept = [], False
        for row in self.rows:
            unkept = row.status in (RowStatus.DISCARD, RowStatus.PENDING)
            again = unkept and _AGAIN.search(row.description) is not None
            first = row.status is RowStatus.BASELINE and not kept
            found.append(row.value is not None and (again or first))
            kept |= row.status is RowStatus.KEEP
        return found

    @cached_property
    def undecided(self) -> list[bool]:
        """Mask of rows whose code the next row measures again, before anything is decided."""
        pairs = zip(self.rows, (*self.rows[1:], None), strict=True)
        return [after is not None and _same_candidate(row, after) for row, after in pairs]

    @cached_property
    def further_runs(self) -> list[int]:
        """Lines of the rows that are further runs of the incumbent."""
        places = [place for place, again in enumerate(self.again) if again and place != self.first]
        return [self.rows[place].line for place in places]

    @cached_property
    def kept(self) -> list[bool]:
        """Mask of rows that became the incumbent; a later baseline starts anew."""
        return [
            row.status is RowStatus.KEEP
            or (row.status is RowStatus.BASELINE and (place == self.first or not self.again[place]))
            for place, row in enumerate(self.rows)
        ]

    @cached_property
    def kept_changes(self) -> list[bool]:
        """Mask of candidates that were kept; a baseline is none."""
        return [
            row.status is RowStatus.KEEP and place in self.incumbents
            for place, row in enumerate(self.rows)
        ]

    @cached_property
    def starts_anew(self) -> list[bool]:
        """Mask of the baseline and of later ones, which are incumbents and no candidates."""
        baseline = RowStatus.BASELINE
        return [
            place == self.first or (row.status is baseline and self.kept[place])
            for place, row in enumerate(self.rows)
        ]

    @property
    def count(self) -> int:
        """Number of experiments, crashes too: no baseline, and each candidate once."""
        others = zip(self.starts_anew, self.again, self.undecided, strict=True)
        return sum(not any(each) for each in others)

    def before(self, number: int) -> LogExperiments:
        """The experiments of the rows before ``number``."""
        left = [(row, n) for row, n in zip(self.rows, self.numbers, strict=True) if n < number]
        return LogExperiments(self.table, tuple(r for r, _ in left), tuple(n for _, n in left))

    @cached_property
    def first(self) -> int | None:
        """Place of the first row with a metric, which is the baseline."""
        return next((i for i, value in enumerate(self.values) if value is not None), None)

    @cached_property
    def best(self) -> float | None:
        """Best metric that was kept, lower being better."""
        pairs = zip(self.values, self.kept, strict=True)
        return min((v for v, keep in pairs if keep and v is not None), default=None)

    @cached_property
    def incumbents(self) -> dict[int, int]:
        """Places of incumbents, by the place of each row that was kept after the first."""
        return incumbents_of(self.values, self.kept)

    @cached_property
    def baseline_runs(self) -> list[float]:
        """Metrics of the baseline and its further runs before any candidate was kept."""
        first = self.first
        if first is None:
            return []
        found = [first]
        for place in range(first + 1, len(self.rows)):
            if self.kept[place]:
                break
            if self.again[place]:
                found.append(place)
        return [value for place in found if (value := self.values[place]) is not None]

    @cached_property
    def replicates(self) -> list[list[float]]:
        """Metrics of each incumbent and of the further runs of its unchanged code."""
        found: list[list[float]] = []
        for place, value in enumerate(self.values):
            if value is None:
                continue
            if place == self.first or self.kept[place]:
                found.append([value])
            elif self.again[place]:
                found[-1].append(value)
        return found

    @cached_property
    def held(self) -> list[float | None]:
        """Measured metric of each row's incumbent, the last kept before it; lower is better."""
        found, latest = list[float | None](), None
        for place, (value, keep) in enumerate(zip(self.values, self.kept, strict=True)):
            found.append(latest)
            if value is not None and (keep or place == self.first):
                latest = value
        return found

    @property
    def is_saturated(self) -> bool:
        """Whether every value is the same, of changed code too."""
        values = {value for value in self.values if value is not None}
        return len(values) == 1 and sum(not again for again in self.again) >= SATURATED_ROWS

    def assumptions(self) -> list[str]:
        """Assumptions of the replay about these rows."""
        said, again = [], self.further_runs
        if again:
            shown = first_of(again, 8)
            where = f"line {shown} is" if len(again) == 1 else f"lines {shown} are"
            said.append(f"{where} read as further runs of the incumbent")
        first = self.first
        if first is not None and self.rows[first].status is RowStatus.DISCARD:
            line = self.rows[first].line
            said.append(f"line {line} has the first metric and is the baseline, though discarded")
        if seed_effect(self.replicates) is SeedEffect.NONE:
            said.append(f"re-runs are equal: {NO_SEED_EFFECT}, or was not changed")
        if self.is_saturated:
            said.append(SATURATED)
        return said


def incumbents_of(values: Sequence[float | None], kept: Sequence[bool]) -> dict[int, int]:
    """Place of the value kept before, by the place of each kept value after the first."""
    found: dict[int, int] = {}
    incumbent = None
    for place, (value, keep) in enumerate(zip(values, kept, strict=True)):
        if value is None or not (keep or incumbent is None):
            continue
        if incumbent is not None:
            found[place] = incumbent
        incumbent = place
    return found


def log_experiments(table: Table) -> LogExperiments:
    """All experiments of a table; runs without end or metric yet are left out."""
    found = [
        (row, number)
        for number, row in enumerate(table.rows)
        if row.status.is_experiment and not _unfinished(row)
    ]
    return LogExperiments(table, tuple(r for r, _ in found), tuple(n for _, n in found))


SHARED_NOTE = " agents share the file ("
"""Words of the reader's assumption about several agents, which a choice of one voids."""


def of_agent(table: Table, agent: str) -> Table:
    """The rows of one agent, and those that name none, such as a common baseline.

    Raises :class:`UsageError` for an agent that the log does not know.
    """
    known = list(dict.fromkeys(row.agent for row in table.rows if row.agent))
    if agent not in known:
        shown = first_of(known, 8) or "it names none"
        raise UsageError(
            f"--agent: expected one that the log names ({shown}), found {one_line(agent)!r:.60}"
        )
    rows = tuple(row for row in table.rows if row.agent in (None, "", agent))
    notes = [note for note in table.assumptions if SHARED_NOTE not in note]
    notes.append(f"only the {len(rows)} rows of {agent} or of nobody, of {len(table.rows)}")
    return replace(table, rows=rows, assumptions=tuple(notes))


def _unfinished(row: LogRow) -> bool:
    return row.status is RowStatus.PENDING and row.value is None


def choose_experiment(
    table: Table, number: int | None, run: RunLog | None, file: str
) -> tuple[LogCandidate, list[str]]:
    """The experiment to judge, and what was assumed about it.

    Row ``number`` if given, else the last one; with a run log its metric counts
    and, unless the last row reports the same value, it is a new experiment.
    Raises :class:`UsageError` for a row that is not there and
    :class:`DataError` for one that cannot be judged.
    """
    if number is not None and not 0 <= number < len(table.rows):
        raise UsageError(f"--row: expected 0 to {len(table.rows) - 1} for {file}, found {number}")
    if run is not None and number is None:
        return _from_run(table, run)
    if number is None:
        number = _last(table, file)
    row = table.rows[number]
    if run is not None:
        values = (run.value,) if run.value is not None else ()
        memory = run.memory_gb or row.memory_gb
        evidence = one_line(run.evidence)[:200]
        return LogCandidate(number, number, values, memory, evidence, row), []
    if not row.status.is_experiment or _unfinished(row):
        raise DataError(
            f"{file}: line {row.line}, column 1: expected an experiment with a metric to judge, "
            f"found {row.status_text!r:.40}; choose another with --row"
        )
    if row.value is None or row.status is RowStatus.CRASH:
        evidence = row.description[:200]
        return LogCandidate(number, number, (), row.memory_gb, evidence, row), []
    return _with_earlier(table, row, number)


def _from_run(table: Table, run: RunLog) -> tuple[LogCandidate, list[str]]:
    number, said = len(table.rows), []
    last = table.rows[-1]
    if run.value is not None and last.value is not None:
        if abs(run.value - last.value) <= SAME_VALUE * max(1.0, abs(run.value)):
            said.append(f"the run log is of line {last.line}, which has the same metric")
            memory = run.memory_gb or last.memory_gb
            return LogCandidate(number - 1, number - 1, (run.value,), memory, row=last), said
        said.append(f"the run log is of a new experiment, number {number}")
    values = () if run.value is None else (run.value,)
    return LogCandidate(number, number, values, run.memory_gb, run.evidence), said


def _last(table: Table, file: str) -> int:
    """Number of the last experiment; an unread line after it is an error."""
    number = max((n for n, row in enumerate(table.rows) if row.status.is_experiment), default=None)
    if number is None:
        raise DataError(f"{file}: line 1, column 1: expected an experiment, found only notes")
    line = table.rows[number].line
    unread = [problem for problem in table.problems if problem.unread and problem.line > line]
    if unread:
        raise DataError(
            f"{file}: expected the last row to be an experiment; {unread[0]}; "
            f"choose a row with --row (the last that was read is {number})"
        )
    return number


def _with_earlier(table: Table, row: LogRow, number: int) -> tuple[LogCandidate, list[str]]:
    """A row together with undecided runs of the same commit just before it."""
    first = number
    while first and _same_candidate(table.rows[first - 1], row):
        first -= 1
    runs = table.rows[first : number + 1]
    values = tuple(r.value for r in runs if r.value is not None)
    said = [] if first == number else [f"lines {runs[0].line} to {row.line} are runs of one commit"]
    return LogCandidate(number, first, values, row.memory_gb, row=row), said


def _same_candidate(row: LogRow, after: LogRow) -> bool:
    """Whether a row is an undecided run of the commit that the row after it measures too."""
    named = row.commit.lower() not in ("", "-", "none", "baseline")
    undecided = row.status is RowStatus.PENDING and row.value is not None
    return named and undecided and row.commit == after.commit and after.value is not None
