"""ratchet export: a session, or anybody's log, for other tools.

    ratchet export --to csv -o night.csv
    ratchet export night --to wandb -o wandb-night
    ratchet export --results results.tsv --to json

Nothing is dropped and nothing is invented: a missing value is empty (null in
JSON), and 0.000000 stands for one in results.tsv alone.  What the format has no
place for is told on standard error.  trackio, wandb and mlflow get what they do
not have yet, where their own settings say; with -o all is written into a new
folder.

Exit codes: 0, or 64 usage, 65 data, 66 no input, 70 internal error, 74 output.
"""

import argparse
import contextlib
import csv
import io
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.io import lock_file
from ratchet.base.structs import Frozen, field, to_json_values
from ratchet.base.terminal import signs_of_life
from ratchet.base.text import one_line, plural, shorten
from ratchet.cli.main import (
    CommandParser,
    OutputError,
    add_log_options,
    check_log_options,
    make_command,
    read_log,
    tell,
    tell_some,
    write_output,
)
from ratchet.cli.sessions import add_session, chosen_session
from ratchet.config import TRACKERS
from ratchet.logs.cells import split_lines
from ratchet.logs.reader import decode_text, numbered_lines
from ratchet.logs.table import RowStatus, Table, first_of
from ratchet.records.confirmed import confirmed_gain, gain_sentence
from ratchet.records.history import History, Trial
from ratchet.records.records import Standing, Status
from ratchet.records.results_table import table_header
from ratchet.records.store import Store
from ratchet.runs.throughput import seconds_of_trial, use_of_trial
from ratchet.session import Session
from ratchet.trackers.tracked import TrackedRun, known_values, project_name, run_id, run_name
from ratchet.trackers.tracker import keep_in, require_tracker, send_runs, sync_session

NAME = "ratchet export"
_ELSEWHERE = {"number", "commit", "verdict", "mean", "memory_mb", "runs"}
"""Parts of a ruling that an entry has already."""

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
    """A session's experiments with the problems of reading them.

    ``gain`` is that of its champion by fresh runs; ``None`` before there are any, and in a log.
    """

    name: str
    metric: str
    direction: str
    entries: tuple[ExportedExperiment, ...]
    gain: Mapping[str, Any] | None = None
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
            for number, row in enumerate(table.rows)
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
        "champion_gain": sheet.gain,
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
    return SheetText(text.getvalue(), (*sheet.problems, *_gain_left_out(sheet)))


def _gain_left_out(sheet: Sheet) -> Iterable[str]:
    """A note on the champion's gain, which is no experiment's."""
    if sheet.gain is not None:
        said = one_line(gain_sentence(sheet.gain, "{:.6g}".format))
        yield f"the champion's gain ({said}); --to json has it"


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
    left_out = (*sheet.problems, *_beyond(sheet, odd), *_gain_left_out(sheet))
    return SheetText("\n".join(lines) + "\n", left_out)


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


def to_tracker(sheet: Sheet, name: str) -> int:
    """Send a log to a tracker, a run for each row; returns their number."""
    project, group = project_name(Path(sheet.name).stem), project_name(sheet.name)
    runs = [_tracked_row(sheet, entry, group) for entry in sheet.entries]
    return sum(1 for _ in send_runs(name, project, group, runs))


def _tracked_row(sheet: Sheet, entry: ExportedExperiment, group: str) -> TrackedRun:
    id_ = run_id(group, [entry.number, entry.line])
    config = {"commit": entry.commit, "description": entry.description, "agent": entry.agent}
    result = {sheet.metric or "metric": entry.value, "memory_gb": entry.memory_gb}
    return TrackedRun(
        id=id_,
        name=run_name(entry.number, entry.description, id_),
        group=group,
        config=known_values({**entry.fields, **config, "direction": sheet.direction}),
        summary=known_values({**result, "status": entry.status}),
        failed=entry.status == Status.CRASH,
    )


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    formats = [*SHEET_FORMATS, *TRACKERS]
    add("--to", required=True, metavar="FORMAT", choices=formats, help=", ".join(formats))
    add("-o", "--output", type=Path, help="new file or, for a tracker, folder")
    add_log_options(parser, None)
    add_session(parser)
    options = parser.parse_args(argv)
    check_log_options(options, "metric", "direction", "status", "label", "agent")
    return options


def _run(options: argparse.Namespace) -> int:
    output: Path | None = options.output
    if output is not None and (output.exists() or output.is_symlink()):
        raise OutputError(f"{output}: exists already; name another with -o")
    if options.to in TRACKERS:
        return _track(options)
    with signs_of_life(NAME, "reading"):
        sheet = _of_log(options) if options.results is not None else _of_session(options)
    made = SHEET_FORMATS[options.to](sheet)
    if output is None:
        sys.stdout.write(made.text)
    else:
        write_output(output, made.text)
    _tell_notes(sheet, made.left_out)
    return 0


def _track(options: argparse.Namespace) -> int:
    """Send a session or a log to a tracker: into a folder, or to where its settings say."""
    name, output = options.to, options.output
    require_tracker(name)
    sheet = None if options.results is None else _of_log(options)
    session = chosen_session(options) if sheet is None else None
    try:
        if output is not None:
            keep_in(name, output)
        # What the packages print is no output of this command.
        with contextlib.redirect_stdout(sys.stderr):
            if sheet is not None:
                sent = to_tracker(sheet, name)
            else:
                assert session is not None
                sent = _send_session(session, name, anew=output is not None)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"--to {name}: {error}") from None
    except Exception as error:  # whatever the package raises
        raise OutputError(
            f"--to {name}: {type(error).__name__}: {shorten(one_line(str(error)), 300)}"
        ) from None
    if sheet is not None:
        _tell_notes(sheet, sheet.problems)
    tell(NAME, f"sent {plural(sent, 'run')} to {name}")
    return 0


def _send_session(session: Session, name: str, anew: bool) -> int:
    """Send a session's runs; those of experiments without a verdict only if none will come."""
    lock, over = session.paths.tracking_lock, session.paths.confirmation.is_file()
    lock.parent.mkdir(exist_ok=True)
    if anew:  # into a folder of its own, which the session's own sender does not know
        return sync_session(session, name, over, anew)
    try:
        with lock_file(lock, wait=False):
            return sync_session(session, name, over, anew)
    except BlockingIOError:
        raise OutputError(
            "the session sends its runs itself now; try again in half a minute, or add -o"
        ) from None


def _tell_notes(sheet: Sheet, left_out: Sequence[str]) -> None:
    for note in sheet.assumptions:
        tell(NAME, f"assumed: {note}")
    tell_some(NAME, "left out", left_out)


def _of_log(options: argparse.Namespace) -> Sheet:
    every, data = read_log(options)
    return sheet_of(every.table, data, one_line(str(options.results)))


def _of_session(options: argparse.Namespace) -> Sheet:
    session = chosen_session(options)
    history = History.read(session.paths)
    standings = {number: each.standing for number, each in history.contributions.items()}
    confirmed = history.confirmation
    return Sheet(
        name=session.config.session,
        metric=session.task.metric.name,
        direction=session.task.metric.direction.value,
        entries=tuple(
            exported_experiment(
                trial, standings.get(trial.number), machine_fields(trial, session.store)
            )
            for trial in (history.start, *history.judged)
        ),
        gain=confirmed_gain(confirmed) if confirmed is not None else None,
    )


def machine_fields(trial: Trial, store: Store) -> dict[str, Any]:
    """Seconds of all runs of a trial, and how a run of it used its machine, by name."""
    training, wall = seconds_of_trial(trial, store)
    use = to_json_values(use_of_trial(trial, store)) or {}
    rates = {name: value for name, value in use.items() if not name.endswith("_seconds")}
    return {"train_seconds": training, "wall_seconds": wall, **rates}


def exported_experiment(
    trial: Trial, standing: Standing | None = None, machine: Mapping[str, Any] | None = None
) -> ExportedExperiment:
    """One trial of a session, or its baseline, with ruling, runs, standing and machine."""
    ruling = {} if trial.ruling is None else to_json_values(trial.ruling)
    known = {name: value for name, value in ruling.items() if name not in _ELSEWHERE}
    return ExportedExperiment(
        number=trial.number,
        line=None,
        commit=trial.commit,
        value=trial.mean,
        memory_gb=None if trial.memory_mb is None else trial.memory_mb / 1024,
        status=(trial.status or Status.DISCARD).value,
        description=trial.title,
        fields={
            "round": trial.round,
            "verdict": trial.word,
            "kept": trial.kept,
            "standing": None if standing is None else standing.value,
            **known,
            "category": trial.category,
            "hypothesis": trial.proposal.hypothesis,
            "proposer": trial.proposal.proposer,
            "memory_mb": trial.memory_mb,
            **(machine or {}),
            "runs": to_json_values(trial.runs),
        },
    )


main = make_command(NAME, _parse, _run)
