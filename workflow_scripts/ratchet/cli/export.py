"""``ratchet export``: a session, or anybody's log, for other tools.

    ratchet export --to csv -o night.csv
    ratchet export night --to wandb -o wandb-night
    ratchet export --results results.tsv --to json

Exit codes: 0, or 64 usage, 65 data, 66 no input, 70 internal, 74 output.  What the
format has no place for is told on standard error.  Nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ratchet import exports
from ratchet.cli import command, settings
from ratchet.dialects import read_table
from ratchet.errors import UsageError
from ratchet.exports import Entry, Sheet
from ratchet.history import History, Trial
from ratchet.results_tsv import one_line
from ratchet.vocabulary import Direction, Status

NAME = "ratchet export"
FOLDERS = ("mlflow", "wandb")
_ELSEWHERE = {"number", "commit", "verdict", "mean", "memory_mb", "runs"}
"""Parts of a ruling that an entry has already."""

SHOWN = 20
"""What is left out, told item by item; the rest is counted."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return command.run(NAME, lambda given: _run(_parse(given)), argv)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog=NAME,
        description="Write a session, or anybody's log, for other tools.",
        epilog="mlflow and wandb write offline files through these libraries: "
        "pip install mlflow-skinny, or wandb",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("session", nargs="?", help="name of the session (default: the configured one)")
    add("--results", type=Path, help="a log in any dialect instead of a session")
    add("--to", required=True, choices=[*exports.TEXTS, *FOLDERS], help="the format")
    add("-o", "--output", type=Path, help="new file or, for mlflow and wandb, folder")
    add("--metric", help="column of a log's metric (default: recognised)")
    add("--direction", choices=[d.value for d in Direction], help="of a log's metric")
    settings.add_options(parser)
    options = parser.parse_args(argv)
    if options.results is not None and options.session is not None:
        raise UsageError("expected a session or --results, found both")
    if options.results is None and (options.metric or options.direction):
        raise UsageError("--metric and --direction are of a log: add --results")
    if options.to in FOLDERS and options.output is None:
        raise UsageError(f"--to {options.to} writes a folder: add -o FOLDER")
    return options


def _run(options: argparse.Namespace) -> int:
    output: Path | None = options.output
    if output is not None and (output.exists() or output.is_symlink()):
        raise command.OutputError(f"{output}: exists already; name another with -o")
    sheet = _of_log(options) if options.results is not None else _of_session(options)
    if options.to in FOLDERS:
        from ratchet.cli import export_tracking

        assert output is not None
        left_out = export_tracking.WRITERS[options.to](sheet, output)
    else:
        made = exports.TEXTS[options.to](sheet)
        left_out = made.left_out
        _write(output, made.text)
    _tell(sheet, left_out)
    return 0


def _write(output: Path | None, text: str) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    from ratchet.files import write_bytes

    try:
        write_bytes(output, text.encode("utf-8", errors="replace"))
    except OSError as error:
        reason = error.strerror or error
        raise command.OutputError(f"{output}: cannot be written: {reason}") from None


def _tell(sheet: Sheet, left_out: Sequence[str]) -> None:
    for note in sheet.assumptions:
        print(f"{NAME}: assumed: {one_line(note)}", file=sys.stderr)
    for note in left_out[:SHOWN]:
        print(f"{NAME}: left out: {one_line(note)}", file=sys.stderr)
    if len(left_out) > SHOWN:
        print(f"{NAME}: left out: {len(left_out) - SHOWN} more", file=sys.stderr)


def _of_log(options: argparse.Namespace) -> Sheet:
    name = one_line(str(options.results))
    data = command.read(options.results)
    direction = None if options.direction is None else Direction(options.direction)
    return exports.sheet_of(read_table(data, name, options.metric, direction), data, name)


def _of_session(options: argparse.Namespace) -> Sheet:
    session = settings.session_of(options.session, options.root, options.config)
    history = History.read(session.paths)
    return Sheet(
        name=session.config.session,
        metric=session.task.metric.name,
        direction=session.task.metric.direction.value,
        entries=tuple(entry_of(trial) for trial in (history.start, *history.judged)),
    )


def entry_of(trial: Trial) -> Entry:
    """One trial of a session, or its baseline, with ruling and runs."""
    from ratchet.codec import encode

    ruling = {} if trial.ruling is None else encode(trial.ruling)
    known = {name: value for name, value in ruling.items() if name not in _ELSEWHERE}
    return Entry(
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
            "runs": encode(trial.runs),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
