"""Hash every input, prepare the data, freeze the manifest."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import ratchet
from ratchet import environment, files, isolation, manifest
from ratchet.codec import decode, encode
from ratchet.config import Config
from ratchet.errors import DataError, StoreError
from ratchet.journal import Journal
from ratchet.paths import SessionPaths
from ratchet.records import Fingerprint
from ratchet.repo import protect
from ratchet.store import Store
from ratchet.task import Task

# Preparation may download and tokenize; it is bounded all the same.
PREPARE_TIMEOUT_SECONDS = 24 * 3600.0


def run(config: Config, task: Task, root: Path, journal: Journal) -> None:
    """Write the manifest of a new session."""
    paths = SessionPaths(config.session, root)
    store = Store(paths.store)
    protect(store.paths.root)
    journal.append("session_started", session=config.session, task=task.name)
    environment.verify(task.environment)
    # Said, and refused, before anything is run.
    kept_apart = isolation.describe(config.isolation)
    data = _data(task, store)
    harness = manifest.harness_digest(Path(ratchet.__file__).parent)
    frozen = manifest.build(config, task, store, data, harness, judge_mode(config))
    files.write_json(paths.manifest, frozen)
    journal.append(
        "prepared",
        data={name: entry.sha256 for name, entry in data.items()},
        isolation=kept_apart,
    )


def judge_mode(config: Config) -> str:
    """``auto`` as decided at the start, so that extending does not re-judge."""
    if config.mode != "auto":
        return config.mode
    from ratchet.judge import Mode, Settings  # slow to import

    planned = config.rounds * config.candidates
    short = Settings.for_session(Mode.AUTO, planned).keep_probability
    gain = Settings.for_session(Mode.GAIN, planned).keep_probability
    return str(Mode.GAIN if short == gain else Mode.BALANCED)


def _data(task: Task, store: Store) -> dict[str, Fingerprint]:
    """Prepared data files by name; prepared once for all sessions with equal inputs."""
    names = list(task.data_names)
    if not names:
        return {}
    question = {
        "command": list(task.prepare),
        "fixed": {n: files.fingerprint(task.folder / n).sha256 for n in task.fixed},
        "environment": files.digest_file(task.environment),
        "names": names,
    }
    answer = store.memo("prepared", question, lambda: encode(_prepare(task, store, names)))
    found = {name: decode(Fingerprint, value, name) for name, value in answer.items()}
    try:
        for entry in found.values():
            store.path(entry.sha256)
    except StoreError:
        again = _prepare(task, store, names)
        if encode(again) != answer:
            raise DataError(
                f"{task.folder}: preparing the data again gave other bytes than before; "
                "its `prepare` command must be deterministic"
            ) from None
    return found


def _prepare(task: Task, store: Store, names: list[str]) -> dict[str, Fingerprint]:
    """Run the task's own preparation in a folder of its own and keep what it made."""
    store.paths.partial.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.paths.partial, prefix="prepare-") as name:
        folder = Path(name).resolve()
        work, out = folder / "task", folder / "out"
        out.mkdir()
        for fixed in task.fixed:
            files.write_bytes(work / fixed, files.read_bytes(task.folder / fixed))
        _call(task, work, out)
        missing = [n for n in names if not (out / n).is_file()]
        if missing:
            raise DataError(
                f"{task.definition}: the prepare command made no file {missing[0]} in its {{out}}"
            )
        return {n: store.fingerprint(out / n, n) for n in names}


def _call(task: Task, work: Path, out: Path) -> None:
    words: list[str] = [sys.executable if w == "python" else w for w in task.prepare]
    command = [word.replace("{out}", str(out)) for word in words]
    settings: dict[str, Any] = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command,
        cwd=work,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PREPARE_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()[-2000:]
        raise DataError(
            f"{task.definition}: the prepare command ended with status {done.returncode}:\n{said}"
        )
