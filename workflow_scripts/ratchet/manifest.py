"""The session's manifest: every input by hash, frozen when the session starts."""

import importlib.metadata
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import NEW_SESSION, THIS_SESSION, FixedInputChangedError
from ratchet.base.io import Fingerprint, digest, digest_bytes, fingerprint, read_record
from ratchet.base.structs import to_json_values
from ratchet.config import Config
from ratchet.records.paths import SessionPaths
from ratchet.records.records import (
    CacheFingerprint,
    Checkout,
    Manifest,
    Preset,
    Start,
    TaskPython,
)
from ratchet.records.store import Store
from ratchet.runs.hardware import current_hardware, machine_description
from ratchet.runs.sandbox.container import own_facts
from ratchet.task.presets import preset_sources
from ratchet.task.task import BRIEF, Task

# Packages whose versions a reader of the report may want to know, beside Python and image.
REPORTED_PACKAGES = ("snakemake", "numpy", "scipy")


def build_manifest(
    config: Config,
    task: Task,
    store: Store,
    data: Mapping[str, Fingerprint],
    harness_sha256: str,
    mode: str,
    preset: Preset | None = None,
    python: TaskPython | None = None,
    caches: tuple[CacheFingerprint, ...] = (),
    start: Start | None = None,
    seed_secret_sha256: str = "",
    remembered: tuple[Fingerprint, ...] = (),
    allowed: Fingerprint | None = None,
    brief: str = "",
    checkout: Checkout | None = None,
) -> Manifest:
    """Freeze the inputs: their content goes to the store, their digests here.

    The mutable files are the task's with its preset, or those of ``start``.  ``brief`` is the
    text of one for a task that has none.
    """
    frozen = {**config.frozen, "mode": mode}
    keep = [store.fingerprint(task.folder / name, name) for name in task.fixed]
    name, constants = (preset.name, preset.constants) if preset else ("", {})
    if start is None:
        started = preset_sources(task, constants, name)
    else:
        started = {name: store.get(sha) for name, sha in start.files.items()}
    return Manifest(
        session=config.session,
        task=task.name,
        fixed=tuple(keep),
        baseline=tuple(Fingerprint(n, store.put(c), len(c)) for n, c in started.items()),
        brief=_brief(task, store, brief),
        values=task.values,
        data=tuple(data[name] for name in task.visible_data),
        locked=tuple(data[name] for name in task.locked_data),
        evaluation=tuple(data[name] for name in task.evaluation_data),
        environment=fingerprint(task.environment) if task.environment else None,
        definition=store.fingerprint(task.definition, task.definition.name),
        frozen=frozen,
        config_sha256=digest(frozen),
        harness_sha256=harness_sha256,
        hardware=current_hardware(task.device, devices=config.devices),
        versions={
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in REPORTED_PACKAGES},
            **own_facts(),
        },
        preset=preset,
        python=python,
        origin=task.origin,
        caches=caches,
        start=start,
        seed_secret_sha256=seed_secret_sha256,
        remembered=remembered,
        allowed=allowed,
        checkout=checkout,
        machine=machine_description(task.device, config.devices),
    )


def _brief(task: Task, store: Store, made: str) -> Fingerprint:
    """The task's brief, or the one that was made for it."""
    if task.brief:
        return store.fingerprint(task.folder / task.brief, task.brief)
    data = made.encode()
    return Fingerprint(BRIEF, store.put(data), len(data))


def harness_digest(package: Path) -> str:
    """Digest over the harness's own source files."""
    sources = sorted(p for p in package.rglob("*") if p.suffix in (".py", ".yaml", ".html", ".css"))
    return digest({str(p.relative_to(package)): digest_bytes(p.read_bytes()) for p in sources})


def check_manifest(paths: SessionPaths, config: Config, task: Task) -> Manifest | None:
    """Compare a started session's frozen inputs with what is there now.

    Returns the manifest, ``None`` if the session has not started.  Raises
    :class:`FixedInputChangedError` naming each file and both digests.
    """
    if not paths.manifest.exists():
        return None
    manifest = read_record(Manifest, paths.manifest)
    settings = [*_changed_settings(manifest.frozen, config.frozen)]
    own = f"take its own settings with: {THIS_SESSION}; " if settings else ""
    _refuse(manifest, [*_changed_files(manifest, task), *settings], own)
    return manifest


def check_files(manifest: Manifest, task: Task) -> None:
    """Compare the files of a task with those that a session froze.

    For a step that reads the checkout of a session which runs.  Raises
    :class:`FixedInputChangedError`.
    """
    _refuse(manifest, [*_changed_files(manifest, task)])


def _refuse(manifest: Manifest, problems: Sequence[str], way: str = "") -> None:
    if problems:
        raise FixedInputChangedError(
            f"session {manifest.session!r} cannot go on, since what it froze at its start has "
            "changed:\n"
            + "\n".join(f"  {line}" for line in problems)
            + f"\nPut it back as it was; {way}or {NEW_SESSION}"
        )


def _changed_files(manifest: Manifest, task: Task) -> Iterable[str]:
    files = [*manifest.fixed, *([manifest.brief] if task.brief else [])]
    frozen = {
        task.definition: manifest.definition,
        **{task.folder / entry.path: entry for entry in files},
    }
    if task.environment is not None and manifest.environment is not None:
        frozen[task.environment] = manifest.environment
    for path, entry in frozen.items():
        actual = digest_bytes(path.read_bytes()) if path.is_file() else "no such file"
        if actual != entry.sha256:
            yield f"{path}: expected sha256 {entry.sha256}, found {actual}"


def _changed_settings(frozen: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[str]:
    for key, value in now.items():
        # A session of an earlier version goes on without the settings that it did not have.
        if key in frozen and frozen[key] != to_json_values(value):
            yield f"configuration key {key}: expected {frozen.get(key)!r}, found {value!r}"
