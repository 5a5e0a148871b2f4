"""ratchet export: a session, or anybody's log, for other tools.

    ratchet export --to csv -o night.csv
    ratchet export night --to wandb -o wandb-night
    ratchet export --results results.tsv --to json

What the format has no place for is told on standard error.  Nothing is sent
anywhere: mlflow and wandb write offline files through these libraries, to be
installed by: pip install mlflow-skinny, or wandb.

Exit codes: 0, or 64 usage, 65 data, 66 no input, 70 internal error, 74 output.
"""

from __future__ import annotations

import argparse
import contextlib
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
from ratchet.base.structs import to_json_values
from ratchet.base.text import one_line
from ratchet.cli.main import (
    CommandParser,
    OutputError,
    add_log_options,
    make_command,
    read_log,
    tell,
    write_output,
)
from ratchet.cli.sessions import add_session, chosen_session
from ratchet.logs.export import SHEET_FORMATS, ExportedExperiment, Sheet, sheet_of
from ratchet.records.history import History, Trial
from ratchet.records.records import Status

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


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Errors of writing become one line; the libraries keep their chatter to themselves."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from None


WRITERS: dict[str, Writer] = {"mlflow": to_mlflow, "wandb": to_wandb}
"""Formats that are a folder, by the name of their library."""

NAME = "ratchet export"
_ELSEWHERE = {"number", "commit", "verdict", "mean", "memory_mb", "runs"}
"""Parts of a ruling that an entry has already."""

SHOWN = 20
"""What is left out, told item by item; the rest is counted."""


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    formats = [*SHEET_FORMATS, *WRITERS]
    add("--to", required=True, metavar="FORMAT", choices=formats, help=", ".join(formats))
    add("-o", "--output", type=Path, help="new file or, for mlflow and wandb, folder")
    add_log_options(parser, None)
    add_session(parser)
    options = parser.parse_args(argv)
    if options.results is not None and options.session is not None:
        raise UsageError("expected a session or --results, found both")
    if options.results is None and (options.metric or options.direction or options.agent):
        raise UsageError("--metric, --direction and --agent are of a log: add --results")
    if options.to in WRITERS and options.output is None:
        raise UsageError(f"--to {options.to} writes a folder: add -o FOLDER")
    return options


def _run(options: argparse.Namespace) -> int:
    output: Path | None = options.output
    if output is not None and (output.exists() or output.is_symlink()):
        raise OutputError(f"{output}: exists already; name another with -o")
    sheet = _of_log(options) if options.results is not None else _of_session(options)
    if output is not None and options.to in WRITERS:
        left_out = WRITERS[options.to](sheet, output)
    else:
        made = SHEET_FORMATS[options.to](sheet)
        left_out = made.left_out
        if output is None:
            sys.stdout.write(made.text)
        else:
            write_output(output, made.text)
    for note in sheet.assumptions:
        tell(NAME, f"assumed: {note}")
    for note in left_out[:SHOWN]:
        tell(NAME, f"left out: {note}")
    if len(left_out) > SHOWN:
        tell(NAME, f"left out: {len(left_out) - SHOWN} more")
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
