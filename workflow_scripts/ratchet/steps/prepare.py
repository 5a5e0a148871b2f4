"""Hash every input, prepare the data, freeze the manifest."""

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ratchet
from ratchet.base.errors import DataError, StoreError
from ratchet.base.io import (
    Fingerprint,
    digest,
    digest_bytes,
    digest_file,
    read_bytes,
    read_record,
    write_bytes,
    write_json,
)
from ratchet.base.structs import Frozen, from_json_values, replace, to_json_values
from ratchet.base.text import clean_text, one_line
from ratchet.config import Config
from ratchet.judge.settings import settle_mode
from ratchet.manifest import build_manifest, harness_digest
from ratchet.proposers.memory import freeze_memories
from ratchet.proposers.program_md import budget_of, contract_of, render_program
from ratchet.records.events import Journal
from ratchet.records.ownership import Owner
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Outcome, Preset, Start, TaskPython
from ratchet.records.session_repo import protect_folder
from ratchet.records.store import Store
from ratchet.runs.causes import LABELS, NETWORK, find_failure
from ratchet.runs.hardware import memory_gb
from ratchet.runs.log import log_tail
from ratchet.runs.sandbox.container import run_facts
from ratchet.runs.sandbox.sandbox import (
    SandboxKind,
    choose_sandbox,
    sandbox_holds,
    stronger_advice,
)
from ratchet.steps.plan import planned_facts
from ratchet.task.environment import (
    Interpreter,
    cache_fingerprints,
    caches_complete,
    package_deviations,
    resolve_command,
    task_interpreter,
    verify_packages,
)
from ratchet.task.packages import installed_packages, resolve_packages
from ratchet.task.presets import choose_preset
from ratchet.task.repository import checkout_of, say_changed
from ratchet.task.task import AUTO, Task

# Preparation may download and tokenize; it is bounded all the same.
PREPARE_TIMEOUT_SECONDS = 24 * 3600.0
PREPARED = "prepared"
# So many packages that differ are named; the manifest has all.
TOLD = 3
# So many bytes of what a failed preparation said are shown.
SAID = 2000
# Nobody guesses so many.
SECRET_BYTES = 32


def write_manifest(config: Config, task: Task, root: Path, harness: Path, journal: Journal) -> None:
    """Write the manifest of a new session."""
    paths = SessionPaths(config.session, root)
    store = Store(paths.store)
    with store.locked("repository"):  # others may start at this moment
        protect_folder(store.paths.root)
    preset = choose_session_preset(config, task)
    task = task.sized(preset)
    journal.append(
        "session_started",
        **planned_facts(config),
        task=task.name,
        metric=task.metric.name,
        device=task.device,
    )
    python = task_interpreter(config, task, root, harness)
    told = _check_environment(config, task, python)
    # Said, and refused, before anything is run.
    kept_apart = choose_sandbox(config.isolation)
    preparation = Preparation(task, task.environment_of(preset), python, config.session)
    allowed = resolve_packages(task, python, store, harness)
    if allowed is not None:
        installed_packages(allowed, task, python, store, harness)
    data = preparation.data(store)
    preparation.fill_caches(store)
    read = cache_fingerprints(task.caches, task.clone, store)
    code = harness_digest(Path(ratchet.__file__).parent)
    mode = judge_mode(config)
    start = read_record(Start, paths.start) if paths.start.exists() else None
    secret = draw_seed_secret(paths) if config.seeds == "secret" else ""
    remembered = freeze_memories(config, store, root, secret)
    # Of a task without a brief, whoever proposes is told what the task says.
    brief = "" if task.brief else render_program(contract_of(task, config, budget_of(task, config)))
    found = checkout_of(task)
    if found is not None:
        say_changed(found, task)
    about = code, mode, preset, told, read, start, secret, remembered, allowed, brief, found
    frozen = build_manifest(config, task, store, data, *about)
    if kept_apart == SandboxKind.CONTAINER:
        versions = {**frozen.versions, **run_facts()}
        frozen = replace(frozen, versions=versions)
    write_json(paths.manifest, frozen)
    journal.append(
        "prepared",
        data={name: entry.sha256 for name, entry in data.items()},
        isolation=kept_apart,
        holds=sandbox_holds(kept_apart, task.network),
        stronger=stronger_advice(config.isolation, kept_apart),
        **({"preset": preset.name} if preset else {}),
    )


def draw_seed_secret(paths: SessionPaths) -> str:
    """Digest of the session's secret, which is drawn now unless somebody put it there."""
    if not paths.seed_secret.exists():
        write_bytes(paths.seed_secret, f"{secrets.token_hex(SECRET_BYTES)}\n".encode(), mode=0o600)
    return digest_bytes(read_bytes(paths.seed_secret))


def _check_environment(config: Config, task: Task, python: Interpreter | None) -> TaskPython | None:
    """Compare what is installed with the task's lock.

    An interpreter that the configuration names may differ; that is said, and kept
    in the manifest.
    """
    if task.environment is None:
        assert python is not None
        return TaskPython(python.version, python.packages_sha256)
    if python is None:
        verify_packages(task.environment)
        return None
    if config.python is None:
        verify_packages(task.environment, python)
        return TaskPython(python.version, python.packages_sha256)
    found = package_deviations(task.environment, python)
    if found:
        more = f"; and {len(found) - TOLD} more" if len(found) > TOLD else ""
        print(
            f"ratchet: python: {config.python} is not as {task.environment.name} says "
            f"({'; '.join(found[:TOLD])}{more}); the manifest keeps what it has",
            file=sys.stderr,
        )
    return TaskPython(python.version, python.packages_sha256, tuple(found))


def choose_session_preset(config: Config, task: Task) -> Preset | None:
    """The preset of a new session; for ``auto`` by what this machine has."""
    memory = memory_gb(task.device, config.devices) if config.preset == AUTO else None
    return choose_preset(config.preset, task.presets, memory, str(task.definition))


def judge_mode(config: Config) -> str:
    """``auto`` as decided at the start, so that extending does not re-judge."""
    return str(settle_mode(config.mode, config.rounds * config.candidates))


class Preparation(Frozen):
    """The preparation of a task's data by its own command, with its variables and interpreter."""

    task: Task
    variables: Mapping[str, str]
    python: Interpreter | None = None
    session: str = ""

    @property
    def inputs(self) -> dict[str, Any]:
        """Inputs that the prepared data depend on."""
        task, python = self.task, self.python
        return {
            "command": list(task.prepare),
            "fixed": {n: digest_file(task.folder / n) for n in task.fixed},
            "environment": digest_file(task.environment) if task.environment else "",
            "names": list(task.data_names),
            # Only where there are any, so that what was prepared without stays known.
            **({"variables": dict(self.variables)} if self.variables else {}),
            **({"python": python.packages_sha256} if python else {}),
        }

    def data(self, store: Store) -> dict[str, Fingerprint]:
        """Prepared data files by name; prepared once for all sessions with equal inputs."""
        if not self.task.data_names:
            return {}
        answer = store.memo(
            PREPARED,
            self.inputs,
            lambda: to_json_values(self._files(store)),
            self.session,
            self._say_awaited,
        )
        found = {name: from_json_values(Fingerprint, value, name) for name, value in answer.items()}
        try:
            for entry in found.values():
                store.path(entry.sha256)
        except StoreError:
            if to_json_values(self._files(store)) != answer:
                raise DataError(
                    f"{self.task.folder}: preparing the data again gave other bytes than before; "
                    "its `prepare` command must be deterministic"
                ) from None
        return found

    def fill_caches(self, store: Store) -> None:
        """Run the preparation of a task that fills a cache, where one is missing.

        Of sessions that start at once, one does so.
        """
        if not self.task.fills_caches:
            return
        with store.locked(digest(["caches", self.inputs]), self.session, self._say_awaited):
            if not caches_complete(self.task.caches, self.task.clone):
                with self._executed(store):
                    pass

    def _say_awaited(self, owner: Owner) -> None:
        """Say why nothing happens: to fetch and tokenize may take hours."""
        who = f"session {owner.session}" if owner.session else "another session"
        print(
            f"ratchet: waits for {one_line(who)} (process {owner.pid or 'unknown'}), which "
            f"prepares the data of task {self.task.name} that this one needs too",
            file=sys.stderr,
            flush=True,
        )

    def _files(self, store: Store) -> dict[str, Fingerprint]:
        """Files that the preparation makes, kept in the store."""
        with self._executed(store) as out:
            for name in self.task.data_names:
                if not (out / name).is_file():
                    raise DataError(
                        f"{self.task.definition}: the prepare command made no file {name} in its "
                        "{out}"
                    )
            return {n: store.fingerprint(out / n, n) for n in self.task.data_names}

    @contextlib.contextmanager
    def _executed(self, store: Store) -> Iterator[Path]:
        """The folder ``{out}`` in which the command has left its files."""
        task = self.task
        with store.partial_folder("prepare-") as folder:
            work, out = folder.resolve() / "task", folder.resolve() / "out"
            work.mkdir()
            out.mkdir()
            for fixed in task.fixed:
                write_bytes(work / fixed, read_bytes(task.folder / fixed))
            words = resolve_command(task.prepare, self.python)
            settings = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", **self.variables}
            done = subprocess.run(
                [word.replace("{out}", str(out)) for word in words],
                cwd=work,
                env={**os.environ, **settings},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PREPARE_TIMEOUT_SECONDS,
                check=False,
            )
            if done.returncode:
                raise DataError(self._failure(done.returncode, done.stderr or done.stdout))
            yield out

    def _failure(self, status: int, output: bytes) -> str:
        """What to say of a command that failed: its cause, what to do, its last words."""
        said = log_tail(output.strip(), SAID)
        failure = find_failure(Outcome.CRASH, f"status {status}", said)
        cause = LABELS[failure.cause]
        todo = "see that this machine reaches the network, and start again"
        if not NETWORK.search(said):
            todo = "run it by hand to see more, mend it, and start again"
        return (
            f"{self.task.definition}: the prepare command ended with status {status}, by "
            f"{cause}: {one_line(failure.words)}; {todo}. Its last words:\n{clean_text(said)}"
        )
