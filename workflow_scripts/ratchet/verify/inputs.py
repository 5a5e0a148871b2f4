"""What a session froze, as it lies in the checkout now: fixed files, brief, task, lock."""

from __future__ import annotations

import os
from pathlib import Path

import ratchet
from ratchet import files, preset_files, task, tasks
from ratchet.errors import InputMissingError
from ratchet.manifest import harness_digest
from ratchet.paths import StorePaths
from ratchet.records import Fingerprint, Manifest
from ratchet.verify.finding import NO_FILE, Findings

PACKAGE = Path(ratchet.__file__).parent


def check(manifest: Manifest, root: Path, store: StorePaths, findings: Findings) -> None:
    """Compare fixed files, brief, definition and lock with the manifest.

    An edited mutable file and a newer harness are no deviation (the session goes
    on with its own copy, and a change of how to judge judges again); they are noted.
    """
    harness = harness_of(manifest, root)
    wanted = manifest.frozen["task"]
    folder = tasks.folder(wanted, root, harness, manifest.origin)
    place = tasks.named(wanted, root, harness).definition
    defined = task.build(manifest.values, folder, harness, place, manifest.origin)
    entries = {folder / entry.path: entry for entry in (*manifest.fixed, manifest.brief)}
    for path, entry in {**entries, place: manifest.definition}.items():
        copy = findings.name(store.blob(entry.sha256))
        _compare(path, entry, f"put it back: cp {copy} PLACE", findings)
    _compare(
        defined.environment,
        manifest.environment,
        "put the lock back as it was, for example: git checkout -- PLACE",
        findings,
    )
    for name in preset_files.edited(manifest, folder):
        findings.notes.append(
            f"{findings.name(folder / name)}: not what session {manifest.session!r} started from; "
            "it goes on with its own copy"
        )
    if harness_digest(PACKAGE) != manifest.harness_sha256:
        findings.notes.append(
            f"session {manifest.session!r} was started by another version of Ratchet's code"
        )


def _compare(path: Path, entry: Fingerprint, todo: str, findings: Findings) -> None:
    place = todo.replace("PLACE", findings.name(path))
    findings.compare(path, entry.sha256, _digest(path), place)


def harness_of(manifest: Manifest, root: Path) -> Path:
    """The folder of the Snakefile, below which locks lie, and definitions of repositories."""
    named = os.environ.get("RATCHET_HARNESS")
    places = [*([Path(named)] if named else []), root, PACKAGE.parents[1]]
    wanted = manifest.frozen["task"]

    def holds(place: Path) -> bool:
        if manifest.origin is None:
            return (place / str(manifest.values["environment"])).is_file()
        # The lock is the repository's.
        return tasks.named(wanted, root, place).definition.is_file()

    return next((place for place in places if holds(place)), root)


def _digest(path: Path) -> str:
    try:
        return files.digest_file(path)
    except InputMissingError:
        return NO_FILE
