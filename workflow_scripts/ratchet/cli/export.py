"""ratchet export: a session, or anybody's log, for other tools.

    ratchet export --to csv -o night.csv
    ratchet export --results results.tsv --to json

What the format has no place for is told on standard error.  Nothing is sent
anywhere.

Exit codes: 0, or 64 usage, 65 data, 66 no input, 70 internal error, 74 output.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ratchet.base.structs import to_json_values
from ratchet.base.text import one_line
from ratchet.cli.main import (
    CommandParser,
    OutputError,
    add_log_options,
    check_log_options,
    make_command,
    read_log,
    tell,
    write_output,
)
from ratchet.cli.sessions import add_session, chosen_session
from ratchet.logs.export import SHEET_FORMATS, ExportedExperiment, Sheet, sheet_of
from ratchet.records.history import History, Trial
from ratchet.records.records import Status

NAME = "ratchet export"
_ELSEWHERE = {"number", "commit", "verdict", "mean", "memory_mb", "runs"}
"""Parts of a ruling that an entry has already."""

SHOWN = 20
"""Notes on what is left out that are told one by one; the rest is counted."""


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    formats = [*SHEET_FORMATS]
    add("--to", required=True, metavar="FORMAT", choices=formats, help=", ".join(formats))
    add("-o", "--output", type=Path, help="new file (default: standard output)")
    add_log_options(parser, None)
    add_session(parser)
    options = parser.parse_args(argv)
    check_log_options(options, "metric", "direction", "agent")
    return options


def _run(options: argparse.Namespace) -> int:
    output: Path | None = options.output
    if output is not None and (output.exists() or output.is_symlink()):
        raise OutputError(f"{output}: exists already; name another with -o")
    sheet = _of_log(options) if options.results is not None else _of_session(options)
    made = SHEET_FORMATS[options.to](sheet)
    if output is None:
        sys.stdout.write(made.text)
    else:
        write_output(output, made.text)
    for note in sheet.assumptions:
        tell(NAME, f"assumed: {note}")
    for note in made.left_out[:SHOWN]:
        tell(NAME, f"left out: {note}")
    if len(made.left_out) > SHOWN:
        tell(NAME, f"left out: {len(made.left_out) - SHOWN} more")
    return 0


def _of_log(options: argparse.Namespace) -> Sheet:
    every, data = read_log(options)
    return sheet_of(every.table, data, one_line(str(options.results)))


def _of_session(options: argparse.Namespace) -> Sheet:
    session = chosen_session(options)
    history = History.read(session.paths)
    return Sheet(
        name=session.config.session,
        metric=session.task.metric.name,
        direction=session.task.metric.direction.value,
        entries=tuple(exported_experiment(trial) for trial in (history.start, *history.judged)),
    )


def exported_experiment(trial: Trial) -> ExportedExperiment:
    """One trial of a session, or its baseline, with ruling and runs."""
    ruling = {} if trial.ruling is None else to_json_values(trial.ruling)
    known = {name: value for name, value in ruling.items() if name not in _ELSEWHERE}
    return ExportedExperiment(
        number=trial.number,
        line=None,
        commit=trial.commit,
        value=trial.mean,
        memory_gb=None if trial.memory_mb is None else trial.memory_mb / 1024,
        status=(trial.status or Status.DISCARD).value,
        description=trial.description,
        fields={
            "round": trial.round,
            "verdict": trial.word,
            "kept": trial.kept,
            **known,
            "category": trial.category,
            "hypothesis": trial.proposal.hypothesis,
            "proposer": trial.proposal.proposer,
            "memory_mb": trial.memory_mb,
            "runs": to_json_values(trial.runs),
        },
    )


main = make_command(NAME, _parse, _run)
