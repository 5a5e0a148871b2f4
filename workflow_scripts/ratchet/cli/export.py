"""``ratchet export``: a session, or anybody's log, for other tools.

    ratchet export --to csv -o night.csv
    ratchet export night --to wandb -o wandb-night
    ratchet export --results results.tsv --to json

Exit codes: 0, or 64 usage, 65 data, 66 no input, 70 internal, 74 output.  What the
format has no place for is told on standard error.  Nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import InputMissingError, UsageError
from ratchet.base.io import read_file
from ratchet.base.text import one_line
from ratchet.cli.main import CommandParser, OutputError, run_command
from ratchet.cli.sessions import add_options, session_of
from ratchet.logs.export import SHEET_FORMATS, ExportedExperiment, Sheet, sheet_of
from ratchet.logs.reader import read_table
from ratchet.records.history import History, Trial
from ratchet.records.records import Direction, Status

MLFLOW_TEXT = 5000
"""Longest text that every version of MLflow takes as a tag."""

_ODD = re.compile(r"[^\w ./-]")
"""Characters that MLflow does not take in names."""

Writer = Callable[[Sheet, Path], tuple[str, ...]]


def to_mlflow(sheet: Sheet, folder: Path) -> tuple[str, ...]:
    """An MLflow file store with one experiment, and a run for each row.

    Numbers are metrics, texts tags.  Returns what was left out.  Raises
    :class:`InputMissingError` without the library.
    """
    # Newer versions write the file store only where it is asked for by name.
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    library = _library("mlflow", "mlflow.tracking", "mlflow-skinny")
    left_out = list(sheet.problems)
    with _written(folder):
        client = library.MlflowClient(tracking_uri=folder.resolve().as_uri())
        name = one_line(sheet.name).replace("/", " ").strip() or "session"
        tags = {"metric": one_line(sheet.metric), "direction": sheet.direction}
        experiment = client.create_experiment(name, tags=tags)
        for entry in sheet.entries:
            left_out += _mlflow_run(client, experiment, sheet, entry)
    return tuple(left_out)


def _mlflow_run(
    client: Any, experiment: str, sheet: Sheet, entry: ExportedExperiment
) -> Iterator[str]:
    tags: dict[str, str] = {}
    numbers: dict[str, float] = {}
    for name, value in _named(sheet, entry):
        plain = _ODD.sub("_", name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            numbers[plain] = float(value)
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if len(text) > MLFLOW_TEXT:
            lost = len(text) - MLFLOW_TEXT
            yield f"experiment {entry.number}: the last {lost} characters of {name}"
        tags[plain] = text[:MLFLOW_TEXT]
    run = client.create_run(experiment, start_time=entry.number, tags=tags, run_name=_title(entry))
    for name, number in numbers.items():
        client.log_metric(run.info.run_id, name, number, timestamp=entry.number, step=entry.number)
    failed = entry.status == "crash"
    client.set_terminated(run.info.run_id, "FAILED" if failed else "FINISHED", entry.number)


def to_wandb(sheet: Sheet, folder: Path) -> tuple[str, ...]:
    """An offline W&B run with a step for each row.

    Returns what was left out.  Raises :class:`InputMissingError` without the library.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    library = _library("wandb", "wandb", "wandb")
    with _written(folder):
        folder.mkdir(parents=True)
        run = library.init(
            mode="offline",
            dir=str(folder),
            project="ratchet",
            name=one_line(sheet.name),
            config={"metric": one_line(sheet.metric), "direction": sheet.direction},
            # No picture of this machine, its code or its terminal.
            settings=library.Settings(
                console="off",
                disable_git=True,
                save_code=False,
                x_disable_meta=True,
                x_save_requirements=False,
                x_disable_stats=True,
            ),
        )
        for entry in sheet.entries:
            run.log(dict(_named(sheet, entry)), step=entry.number)
        run.finish()
    return sheet.problems


def _named(sheet: Sheet, entry: ExportedExperiment) -> Iterator[tuple[str, Any]]:
    """All that is known of an experiment, by name; what is missing is not there."""
    own = {
        "number": entry.number,
        "line": entry.line,
        "commit": one_line(entry.commit),
        one_line(sheet.metric) or "metric": entry.value,
        "memory_gb": entry.memory_gb,
        "status": entry.status,
        "agent": entry.agent,
        "description": one_line(entry.description),
    }
    for name, value in {**entry.fields, **own}.items():
        finite = not isinstance(value, float) or math.isfinite(value)
        if value is not None and value != "" and finite:
            yield name, value


def _title(entry: ExportedExperiment) -> str:
    return f"{entry.number} {one_line(entry.description)}"[:200].strip()


def _library(name: str, module: str, package: str) -> Any:
    """An optional library; says how to get it where it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputMissingError(
            f"--to {name}: expected the library {name} in this environment, found none "
            f"({one_line(str(error))[:100]}); install it: pip install {package}; or choose "
            "--to csv or json"
        ) from None


class _written:  # noqa: N801  (reads as a phrase)
    """Errors of writing become one line; the libraries keep their chatter to themselves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        logging.getLogger("mlflow").setLevel(logging.ERROR)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise OutputError(f"{self.folder}: cannot be written: {reason}") from None


WRITERS: dict[str, Writer] = {"mlflow": to_mlflow, "wandb": to_wandb}
"""Formats that are a folder, by the name of their library."""


NAME = "ratchet export"
FOLDERS = ("mlflow", "wandb")
_ELSEWHERE = {"number", "commit", "verdict", "mean", "memory_mb", "runs"}
"""Parts of a ruling that an entry has already."""

SHOWN = 20
"""What is left out, told item by item; the rest is counted."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return run_command(NAME, lambda given: _run(_parse(given)), argv)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=NAME,
        description="Write a session, or anybody's log, for other tools.",
        epilog="mlflow and wandb write offline files through these libraries: "
        "pip install mlflow-skinny, or wandb",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("session", nargs="?", help="name of the session (default: the configured one)")
    add("--results", type=Path, help="a log in any dialect instead of a session")
    add("--to", required=True, choices=[*SHEET_FORMATS, *FOLDERS], help="the format")
    add("-o", "--output", type=Path, help="new file or, for mlflow and wandb, folder")
    add("--metric", help="column of a log's metric (default: recognised)")
    add("--direction", choices=[d.value for d in Direction], help="of a log's metric")
    add_options(parser)
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
        raise OutputError(f"{output}: exists already; name another with -o")
    sheet = _of_log(options) if options.results is not None else _of_session(options)
    if options.to in FOLDERS:
        assert output is not None
        left_out = WRITERS[options.to](sheet, output)
    else:
        made = SHEET_FORMATS[options.to](sheet)
        left_out = made.left_out
        _write(output, made.text)
    _tell(sheet, left_out)
    return 0


def _write(output: Path | None, text: str) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    from ratchet.base.io import write_bytes

    try:
        write_bytes(output, text.encode("utf-8", errors="replace"))
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{output}: cannot be written: {reason}") from None


def _tell(sheet: Sheet, left_out: Sequence[str]) -> None:
    for note in sheet.assumptions:
        print(f"{NAME}: assumed: {one_line(note)}", file=sys.stderr)
    for note in left_out[:SHOWN]:
        print(f"{NAME}: left out: {one_line(note)}", file=sys.stderr)
    if len(left_out) > SHOWN:
        print(f"{NAME}: left out: {len(left_out) - SHOWN} more", file=sys.stderr)


def _of_log(options: argparse.Namespace) -> Sheet:
    name = one_line(str(options.results))
    data = read_file(options.results)
    direction = None if options.direction is None else Direction(options.direction)
    return sheet_of(read_table(data, name, options.metric, direction), data, name)


def _of_session(options: argparse.Namespace) -> Sheet:
    session = session_of(options.session, options.root, options.config)
    history = History.read(session.paths)
    return Sheet(
        name=session.config.session,
        metric=session.task.metric.name,
        direction=session.task.metric.direction.value,
        entries=tuple(exported_experiment(trial) for trial in (history.start, *history.judged)),
    )


def exported_experiment(trial: Trial) -> ExportedExperiment:
    """One trial of a session, or its baseline, with ruling and runs."""
    from ratchet.base.structs import to_json_values

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


if __name__ == "__main__":
    sys.exit(main())
