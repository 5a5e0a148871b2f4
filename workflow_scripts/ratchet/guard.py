"""What happens when the Snakefile is parsed: check everything, own the folder."""

from __future__ import annotations

import ast
import fcntl
import functools
import logging
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ratchet import config, files, manifest, task
from ratchet.canonical import canonical_json, digest, digest_bytes
from ratchet.codec import encode
from ratchet.config import Config
from ratchet.errors import EXIT_IO, DataError, InputMissingError, RatchetError, SessionBusyError
from ratchet.paths import SessionPaths
from ratchet.records import Experiment, Proposals
from ratchet.repo import SessionRepo
from ratchet.store import Store

RESUME_HINT = "ratchet: nothing that was finished is lost; the same command goes on from here"

# The owner's lock lives as long as the process that parsed the Snakefile.
_owner: list[int] = []


@dataclass(frozen=True)
class Plan:
    """What the rules need to know, derived once from the configuration."""

    config: Config
    paths: SessionPaths
    harness: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables that the rules' commands and the scripts rest on."""
        return {
            "RATCHET_PYTHON": sys.executable,
            "RATCHET_SCRIPTS": str(self.harness.resolve() / "workflow_scripts"),
            "RATCHET_HARNESS": str(self.harness.resolve()),
            "RATCHET_CONFIG": canonical_json(encode(self.config)),
        }

    @functools.cached_property
    def limits_file(self) -> Path:
        """The file of the limits in force; a new one whenever a limit has changed.

        Going back to earlier limits is a change too: what was skipped under the
        others must find a newer file.
        """
        token = self.config.limits_token
        number, last = (self.paths.known_limits() or [(0, "")])[-1]
        return self.paths.limits(number if last == token else number + 1, token)

    def limits_for_proposals(self, number: int) -> list[str]:
        """The limits file, unless the round's proposals are made already.

        What was done is a fact and is not redone when a limit changes; what was
        skipped is.  The limits file is new whenever a limit is, so it makes
        exactly the skipped parts out of date.
        """
        path = self.paths.round(number).proposals
        found = _read(Proposals, path)
        return self._limits(open_=found is None or found.stop is not None)

    def limits_for_experiment(self, number: int, candidate: int) -> list[str]:
        """The limits file, unless the experiment was run already."""
        found = _read(Experiment, self.paths.round(number).experiment(candidate))
        return self._limits(open_=found is None or found.run is None)

    def _limits(self, open_: bool) -> list[str]:
        return [str(self.limits_file)] if open_ else []

    @property
    def judge_digest(self) -> str:
        """Changes when a verdict may: judging is redone then, training is not."""
        settings = self.config.judging
        code = code_digest("ratchet.stages.baseline", "ratchet.stages.judge")
        return digest([settings, code])

    @property
    def steer_digest(self) -> str:
        return digest([code_digest("ratchet.stages.steer")])

    @property
    def confirm_digest(self) -> str:
        settings = [self.config.confirm_replicates, self.config.rounds]
        return digest([settings, code_digest("ratchet.stages.confirm")])

    @property
    def report_digest(self) -> str:
        return digest([self.config.rounds, code_digest("ratchet.report.publish")])


def _read(cls: type[Any], path: Path) -> Any:
    try:
        return files.read_record(cls, path)
    except (InputMissingError, DataError):
        return None


def load(overrides: Mapping[str, Any], root: Path, harness: Path, owner: bool) -> Plan:
    """Check everything, or end the process with one message and its exit code."""
    try:
        return plan(overrides, root, harness, owner)
    except RatchetError as error:
        print(f"ratchet: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    except OSError as error:
        place = error.filename or root.resolve()
        print(f"ratchet: {place}: {error.strerror}; nothing was changed", file=sys.stderr)
        sys.exit(EXIT_IO)


def plan(overrides: Mapping[str, Any], root: Path, harness: Path, owner: bool) -> Plan:
    """Check configuration, task and frozen inputs; take the folder if ``owner``.

    ``overrides`` (Snakemake's ``--config`` and ``--configfile``) count before
    ``config/config.yaml`` of the working folder, or else of the harness.
    Nothing is written before everything was checked.  Raises a
    :class:`ratchet.errors.RatchetError` with one clear message.
    """
    schema_path = harness / "config" / "schema.yaml"
    own = root / "config" / "config.yaml"
    path = own if own.exists() else harness / "config" / "config.yaml"
    # Snakemake reads `--config target=null` as the text "null".
    given = {key: None if value == "null" else value for key, value in overrides.items()}
    settings = config.parse({**config.read(path), **given}, schema_path, _where(path, given))
    folder = config.resolve(settings.task, root, harness)
    defined = task.load(folder, harness)
    paths = SessionPaths(settings.session, root)
    frozen = manifest.check(paths, settings, defined)
    if owner and not _owner:
        _own(root, paths)
        if frozen is not None:
            for name in manifest.edited_baseline(frozen, defined):
                print(
                    f"ratchet: {folder / name} is not what session {settings.session!r} started "
                    "from; it goes on with its own copy",
                    file=sys.stderr,
                )
    return Plan(settings, paths, harness)


def _where(path: Path, given: Mapping[str, Any]) -> str:
    """Where a mistake in the settings may stand."""
    return f"{path}, --config" if given else str(path)


# Options of Snakemake with which it runs no job; it decides that after parsing.
_LOOKING = re.compile(
    r"-[A-Za-z]*n[A-Za-z]*|--(dry-?run|lint|report|summary|detailed-summary|dag|rulegraph|filegraph"
    r"|d3dag|list.*|help|version|containerize|archive|unlock|delete.*)(=.*)?"
)


def only_looks(arguments: Sequence[str]) -> bool:
    """Whether a call of Snakemake will run no job, so that it need not own the folder."""
    return any(_LOOKING.fullmatch(word) for word in arguments[1:])


def _own(root: Path, paths: SessionPaths) -> None:
    """Be the only session in this folder; clear what dead ones left locked.

    The lock is released by the kernel when the process ends, however it ends,
    so whoever gets it knows that nobody else lives here.
    """
    state = root / ".snakemake"
    state.mkdir(exist_ok=True)
    handle = os.open(state / "ratchet.owner", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        other = os.pread(handle, 32, 0).decode(errors="replace").strip()
        os.close(handle)
        raise SessionBusyError(
            f"{root.resolve()}: another session is running here (process {other}); wait for it, "
            "stop it with Ctrl-C, or run this one in a clone of its own"
        ) from None
    os.truncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    _owner.append(handle)
    shutil.rmtree(state / "locks", ignore_errors=True)
    Store(paths.store).clear_partial()
    SessionRepo(paths.repository, paths.session).clear_stale_locks()


_CHATTER = re.compile(
    r"Select jobs to execute|Execute \d+ jobs|Using shell|Singularity containers: ignored"
    r"|Assuming unrestricted shared filesystem"
)


# A failed step's whole command says less than its name and how it ended.
_FAILED_STEP = re.compile(
    r"RuleException:.*RATCHET_SCRIPTS/(?P<step>\w+)\.py.* --log '?(?P<log>\S+?)'? .*"
    r"(?:returned non-zero exit (?P<status>status \d+)|died with <Signals\.(?P<signal>\w+))",
    re.DOTALL,
)


def hush(logger: logging.Logger) -> None:
    """Drop or shorten those of Snakemake's lines that say little about the session."""

    def keep(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        failed = _FAILED_STEP.match(text)
        if failed is not None:
            end = failed["status"] or str(failed["signal"])
            record.msg = f"the step {failed['step']} ended with {end}; its log is {failed['log']}"
            record.args = ()
        return not _CHATTER.match(text)

    logger.addFilter(keep)


def install_graceful_sigterm(workflow: Any) -> None:
    """Let SIGTERM finish the running jobs and then end.

    Snakemake's own handler takes a lock that the interrupted thread may hold;
    the same call in a thread of its own cannot deadlock.
    """

    def stop(*_: object) -> None:
        threading.Thread(target=workflow.scheduler.exit_gracefully, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)


@functools.cache
def code_digest(*modules: str) -> str:
    """Digest over the sources of these modules and all that they import of ratchet."""
    package = Path(__file__).parent
    todo, seen = list(modules), dict[str, str]()
    while todo:
        path = _module_path(package, todo.pop())
        name = "" if path is None else str(path.relative_to(package))
        if path is None or name in seen:
            continue
        source = path.read_bytes()
        seen[name] = digest_bytes(source)
        todo += _imported(source)
        for extra in [*path.parent.glob("*.html"), *path.parent.glob("*.css")]:
            seen[str(extra.relative_to(package))] = digest_bytes(extra.read_bytes())
    return digest(seen)


def _imported(source: bytes) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ratchet"):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
            names += [str(node.module)] if node.module != "ratchet" else []
        elif isinstance(node, ast.Import):
            names += [a.name for a in node.names if a.name.startswith("ratchet.")]
    return names


def _module_path(package: Path, name: str) -> Path | None:
    path = package.joinpath(*name.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file() and candidate != package / "__init__.py":
            return candidate
    return None
