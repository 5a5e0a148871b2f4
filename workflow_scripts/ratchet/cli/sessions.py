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
from ratchet.config import (
    FROZEN_KEYS,
    Config,
    parse_config,
    read_config,
    session_values,
    setting,
    settle_config,
    workflow_command,
)
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


class _NamedSession(argparse.Action):
    """Takes a bare name for the setting ``session``, and bare ``KEY=VALUE`` as they are."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        names = [each for each in values or () if "=" not in each]
        if len(names) > 1:
            parser.error(f"expected one session, found {', '.join(names)}")
        pairs = [each if "=" in each else f"session={json.dumps(each)}" for each in values or ()]
        namespace.config = [*namespace.config, *pairs]


def bare_name(text: str) -> str:
    """The name of a session, as it is or as ``session=NAME``."""
    return text.removeprefix("session=")


def add_options(parser: argparse.ArgumentParser, *, named: bool = False) -> None:
    """``--root`` and ``--config``, as Snakemake has it; ``named``: the session's bare name too."""
    add_root(parser)
    if named:
        parser.add_argument(
            "session",
            nargs="*",
            metavar="SESSION|KEY=VALUE",
            type=bare_name,
            action=_NamedSession,
            help=f"{_WHICH}, and settings",
        )
    parser.add_argument(
        "--config",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings instead of those in config/config.yaml",
    )


def add_session(parser: argparse.ArgumentParser, *, positional: bool = True) -> None:
    """The session's name, as an argument or as ``--session``; and :func:`add_options`."""
    if positional:
        parser.add_argument("session", nargs="?", type=bare_name, help=_WHICH)
    else:
        parser.add_argument("--session", metavar="NAME", help=_WHICH)
    add_options(parser)


_WHICH = "name of the session (default: the configured one)"


def add_numbers(parser: argparse.ArgumentParser, help: str) -> None:
    """Numbers of experiments and a session's bare name, in any order; and ``--session``."""
    parser.add_argument("what", nargs="*", metavar="NUMBER|SESSION", type=bare_name, help=help)
    add_session(parser, positional=False)


def take_numbers(options: argparse.Namespace, counts: Sequence[int]) -> list[int]:
    """The numbers among the words of :func:`add_numbers`, as many as one of ``counts``.

    A word that is no number names the session.  Raises :class:`UsageError`.
    """
    numbers = [int(word) for word in options.what if word.isdecimal()]
    names = [*filter(None, [options.session]), *(w for w in options.what if not w.isdecimal())]
    if len(numbers) not in counts or len(names) > 1:
        wanted = " or ".join(map(str, counts))
        raise UsageError(
            f"expected {wanted} numbers of experiments and at most one session, found "
            f"{' '.join([*map(str, numbers), *names]) or 'none'}"
        )
    options.session = names[0] if names else None
    return numbers


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
    place, path, where = _places(root, given)
    values = session_values(read_config(path), parse_overrides(given), root)
    return parse_config(values, place / "config" / "schema.yaml", where, root / "config")


def usable_settings(root: Path, given: Sequence[str] = ()) -> tuple[Config, list[RatchetError]]:
    """The configuration as far as it is right, and its faults.

    Raises :class:`ConfigError` for a file that is no mapping, and :class:`UsageError` for a
    pair that is none.
    """
    place, path, where = _places(root, given)
    values = session_values(read_config(path), parse_overrides(given), root)
    return settle_config(values, place, where, root)


def _places(root: Path, given: Sequence[str]) -> tuple[Path, Path, str]:
    """The harness, the configuration file that counts, and how messages name it."""
    place = harness_folder(root)
    own = root / "config" / "config.yaml"
    path = own if own.exists() else place / "config" / "config.yaml"
    return place, path, f"{path}, --config" if given else str(path)


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
        run = workflow_command(paths, parse_overrides(given), harness=harness_folder(root))
        raise InputMissingError(
            f"{paths.folder}: expected a started session, found none; "
            + (f"there are: {', '.join(started)}; " if started else "")
            + f"run one: {run}"
        )
    if paths.rerun_plan.is_file():
        raise InputMissingError(
            f"{paths.folder}: expected a session with rounds, found an audit, which has runs of a "
            f"log's kept changes alone; its page is {paths.audit_html}"
        )
    if not paths.baseline.is_file():
        raise InputMissingError(
            f"{paths.baseline}: the session has no baseline yet; let it run: "
            f"{workflow_command(paths, harness=harness_folder(root))}"
        )
    frozen = read_record(Manifest, paths.manifest).frozen
    values = {**asdict(settings), **{k: v for k, v in frozen.items() if k in FROZEN_KEYS}}
    return Session.open(Config(**values), root, harness_folder(root), Journal(paths.events))


def place_of(word: str, root: Path) -> tuple[str, Path]:
    """Name and root of a session by its name, or by its folder, perhaps of another clone.

    Raises :class:`UsageError` for a folder that is none of a session's.
    """
    if "/" not in word:
        return word, root
    path = Path(word)
    if path.parent.name != "results" or path.name in ("", ".", ".."):
        raise UsageError(
            f"{word!r:.80}: expected a session's name, or its folder CLONE/results/NAME, found "
            "another path"
        )
    return path.name, path.parent.parent


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
