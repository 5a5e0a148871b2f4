"""Sheets as offline files of MLflow and Weights & Biases, through their own libraries.

Both are optional: they are imported here alone, when asked for.  Nothing is sent:
MLflow writes its file store, W&B an offline run that ``wandb sync`` can send later.
A log has no times of day and none is invented: MLflow's are milliseconds of 1970 that
count the experiments.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ratchet.cli import command
from ratchet.errors import InputMissingError
from ratchet.exports import Entry, Sheet
from ratchet.results_tsv import one_line

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


def _mlflow_run(client: Any, experiment: str, sheet: Sheet, entry: Entry) -> Iterator[str]:
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


def _named(sheet: Sheet, entry: Entry) -> Iterator[tuple[str, Any]]:
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


def _title(entry: Entry) -> str:
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
            raise command.OutputError(f"{self.folder}: cannot be written: {reason}") from None


WRITERS: dict[str, Writer] = {"mlflow": to_mlflow, "wandb": to_wandb}
"""Formats that are a folder, by the name of their library."""
