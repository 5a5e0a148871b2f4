"""A session as a command finds it, to be read; and the workflow as a command starts it."""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ratchet
from ratchet.base.errors import (
    EXIT_TEMPORARY,
    EXIT_USAGE,
    InputMissingError,
    RatchetError,
    UsageError,
)
from ratchet.base.io import read_record
from ratchet.base.structs import asdict
from ratchet.config import FROZEN_KEYS, Config, parse_config, read_config
from ratchet.records.events import Journal
from ratchet.records.history import History, Trial
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Manifest
from ratchet.session import Session
from ratchet.task.repository import task_of_config
from ratchet.task.task import Task

PACKAGE = Path(ratchet.__file__).resolve().parent


class WorkflowError(RatchetError):
    """Snakemake ended early; its status is passed on from ``least`` on.

    By default none is that could be taken for a verdict.
    """

    def __init__(self, message: str, code: int, least: int = EXIT_USAGE) -> None:
        super().__init__(f"{message}; the reason is above, the same command goes on")
        by_signal = 128 - code if code < 0 else code
        self.exit_code = by_signal if by_signal >= least else EXIT_TEMPORARY


def harness_folder(root: Path) -> Path:
    """The folder of the Snakefile: named by the environment, or the package's own checkout."""
    named = os.environ.get("RATCHET_HARNESS")
    places = [*([Path(named)] if named else []), root, PACKAGE.parents[1]]
    schema = Path("config") / "schema.yaml"
    folder = next((place for place in places if (place / schema).is_file()), None)
    if folder is None:
        raise InputMissingError(
            f"{root}: expected the checkout of Ratchet with {schema}, found none; go to its folder "
            "or name it: RATCHET_HARNESS=/path/to/ratchet"
        )
    return folder


def add_root(parser: argparse.ArgumentParser) -> None:
    """``--root``: where results and store are."""
    parser.add_argument(
        "--root", type=Path, default=Path(), help="folder with results and store (default: here)"
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--root`` and ``--config``, as Snakemake has it."""
    add_root(parser)
    parser.add_argument(
        "--config",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings instead of those in config/config.yaml",
    )


def add_session(parser: argparse.ArgumentParser, *, positional: bool = True) -> None:
    """The session's name, as an argument or as ``--session``; and :func:`add_options`."""
    shown = "name of the session (default: the configured one)"
    if positional:
        parser.add_argument("session", nargs="?", help=shown)
    else:
        parser.add_argument("--session", metavar="NAME", help=shown)
    add_options(parser)


def parse_overrides(given: Sequence[str]) -> dict[str, Any]:
    """Values of ``KEY=VALUE`` pairs, read as YAML."""
    from ratchet.base.schema import parse_yaml

    values = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--config: expected KEY=VALUE, found {pair!r}")
        values[key] = parse_yaml(value.encode(), f"--config {key}")
    return values


def read_settings(root: Path, given: Sequence[str] = ()) -> Config:
    """The configuration in force in ``root``, with ``KEY=VALUE`` pairs before it.

    Raises :class:`ratchet.base.errors.ConfigError` for a mistake in it and
    :class:`UsageError` for a pair that is none.
    """
    place = harness_folder(root)
    own = root / "config" / "config.yaml"
    path = own if own.exists() else place / "config" / "config.yaml"
    where = f"{path}, --config" if given else str(path)
    values = {**read_config(path), **parse_overrides(given)}
    return parse_config(values, place / "config" / "schema.yaml", where, root / "config")


def task_of(settings: Config, root: Path) -> Task:
    """The task that the configuration names."""
    return task_of_config(settings, root, harness_folder(root))


def chosen_session(options: argparse.Namespace) -> Session:
    """The session that the options of :func:`add_session` name."""
    return session_of(options.session, options.root, options.config)


def session_of(name: str | None, root: Path, given: Sequence[str] = ()) -> Session:
    """A started session by name (default: the configured one), to be read.

    Its frozen settings are the manifest's, all others the configuration's.  Raises
    :class:`InputMissingError` if there is none of this name.
    """
    settings = read_settings(root, [*given, *([f"session={name}"] if name else [])])
    paths = SessionPaths(settings.session, root)
    if not paths.manifest.is_file():
        started = sorted(path.parent.name for path in (root / "results").glob("*/manifest.json"))
        raise InputMissingError(
            f"{paths.folder}: expected a started session, found none; "
            + (f"there are: {', '.join(started)}" if started else "run one: snakemake --cores 1")
        )
    if paths.rerun_plan.is_file():
        raise InputMissingError(
            f"{paths.folder}: expected a session with rounds, found an audit, which has runs of a "
            f"log's kept changes alone; its page is {paths.audit_html}"
        )
    if not paths.baseline.is_file():
        raise InputMissingError(
            f"{paths.baseline}: the session has no baseline yet; let it run: "
            f"snakemake --cores 1 --config session={settings.session}"
        )
    frozen = read_record(Manifest, paths.manifest).frozen
    values = {**asdict(settings), **{k: v for k, v in frozen.items() if k in FROZEN_KEYS}}
    return Session.open(Config(**values), root, harness_folder(root), Journal(paths.events))


def trial_of(session: Session, history: History, number: int) -> Trial:
    """The judged trial of a number, 0 for the baseline.

    Raises :class:`UsageError` if there is none.
    """
    known = {trial.number: trial for trial in (history.start, *history.judged)}
    if number not in known:
        raise UsageError(
            f"session {session.config.session!r}: expected an experiment from 0 (the baseline) to "
            f"{max(known)} that was judged, found {number}; ratchet runs lists them"
        )
    return known[number]


def snakemake(
    root: Path, harness: Path, values: Mapping[str, Any], targets: Sequence[str], gpus: int = 1
) -> int:
    """Run the workflow to some targets under these settings; its exit status.

    What it says goes to standard error: standard output is the command's own.  A
    SIGTERM is passed on, and an interrupt reaches it from the terminal; this process
    ends when it has ended.
    """
    words = [sys.executable, "-m", "snakemake", "-s", str(harness.resolve() / "Snakefile")]
    words += ["--cores", str(gpus), "--resources", f"gpu={gpus}", "--quiet", "all"]
    if values:
        words += ["--config", *(f"{key}={setting(value)}" for key, value in sorted(values.items()))]
    received = list[int]()
    process: subprocess.Popen[bytes] | None = None

    def note(number: int, _: object) -> None:
        received.append(number)
        if process is not None and number == signal.SIGTERM:
            process.terminate()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with subprocess.Popen([*words, "--", *targets], cwd=root, stdout=sys.stderr) as process:
            if signal.SIGTERM in received:  # it came before there was a process
                process.terminate()
            code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        sys.exit(128 + received[0])
    return code


def setting(value: Any) -> str:
    """A setting as Snakemake reads it after ``--config KEY=``."""
    simple = isinstance(value, str) and value.isalnum()
    return value if simple else json.dumps(value, ensure_ascii=False)
