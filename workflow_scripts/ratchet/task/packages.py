"""Packages that a task allows its candidates beside its lock (``allow_packages``).

They are resolved once, with the lock as constraint, into a hash lock of their own that the
store keeps.  Its digest is part of every run's key.  What it names is installed once into a
folder of the store, which runs read beside the packages of their interpreter; preparation and
evaluator do not.  Only wheels count: nothing is built, and so nothing of them is executed
outside of a run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ratchet.base.errors import THIS_SESSION, ConfigError, DataError
from ratchet.base.io import Fingerprint, digest, remove_run_folder, sync_folder, write_bytes
from ratchet.base.text import one_line
from ratchet.records.paths import StorePaths
from ratchet.records.records import CacheFingerprint
from ratchet.records.store import Store
from ratchet.task.environment import Interpreter, folder_fingerprint, locked_versions
from ratchet.task.task import Task

PLACE = Path(".packages")
"""Where a run finds them, below its folder."""

LOCK = "allow_packages.lock"
RESOLVED = "packages"
UV_SECONDS = 3600.0
"""A wheel of gigabytes over a slow line takes as long."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Bytecode has no times in it, so that equal wheels are equal folders.
_SETTINGS = {
    "PYC_INVALIDATION_MODE": "UNCHECKED_HASH",
    "UV_NO_PROGRESS": "1",
    # A hard link would let who can write here change the cache of uv.
    "UV_LINK_MODE": "copy",
}
# What uv writes down of an installation is of no use to who imports.
_NOTES = ("uv_cache.json", "REQUESTED", "INSTALLER", "direct_url.json")


def package_name(requirement: str) -> str:
    """The normalised name at the start of a requirement."""
    match = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def resolve_packages(
    task: Task, python: Interpreter | None, store: Store, harness: Path
) -> Fingerprint | None:
    """The hash lock of a task's allowed packages, in the store; ``None`` where there are none.

    It holds them and what they need beyond the task's own lock, or what is installed.  Equal
    questions have one answer, whatever is released later.  Raises :class:`ConfigError` for a
    package that is there already, and where they cannot be resolved.
    """
    if not task.allow_packages:
        return None
    if task.environment is not None:
        locked = locked_versions(task.environment, python.markers if python else None)
    else:
        locked = dict(python.packages) if python else {}
    known = {package_name(name) for name in locked}
    for requirement in task.allow_packages:
        if package_name(requirement) in known:
            raise ConfigError(
                f"{task.definition}: allow_packages: {requirement}: is in "
                f"{'the lock ' + task.environment.name if task.environment else 'its environment'}"
                " already, so that candidates may import it; leave it out"
            )
    question = {
        "packages": sorted(task.allow_packages),
        "locked": locked,
        "python": _version(python),
        "platform": sysconfig.get_platform(),
    }
    sha = str(
        store.memo(RESOLVED, question, lambda: store.put(_resolved(task, locked, python, harness)))
    )
    return Fingerprint(LOCK, sha, len(store.get(sha)))


def _resolved(
    task: Task, locked: Mapping[str, str], python: Interpreter | None, harness: Path
) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        wanted, bounds = Path(folder) / "allowed.in", Path(folder) / "locked.txt"
        wanted.write_text("".join(f"{each}\n" for each in task.allow_packages))
        bounds.write_text("".join(f"{name}=={version}\n" for name, version in locked.items()))
        words = ["compile", "--no-header", "--no-annotate", "--generate-hashes", "--no-build"]
        found = _uv(harness, [*words, "--constraint", str(bounds), str(wanted)], python, task)
    return "\n".join(_without(found, {package_name(name) for name in locked})).encode()


def _without(lock: str, names: Iterable[str]) -> list[str]:
    """Lines of a lock without the entries of some packages, and without options of the index."""
    kept: list[str] = []
    left_out = True
    for line in lock.splitlines():
        if line[:1].strip():  # the first line of an entry, or an option
            left_out = line.startswith(("-", "#")) or package_name(line) in names
        kept += [] if left_out else [line]
    return [*kept, ""]


def installed_packages(
    lock: Fingerprint, task: Task, python: Interpreter | None, store: Store, harness: Path
) -> Path:
    """The folder of the store with the packages of a lock; made, or mended, where it has to be.

    Raises :class:`ConfigError` where they cannot be installed.
    """
    folder = packages_folder(lock, _version(python), store.paths)
    with store.locked(folder.parent.name):
        if not _is_whole(folder.parent, store):
            remove_run_folder(folder.parent)
            _install(lock, task, python, store, harness, folder.parent)
    return folder


def packages_folder(lock: Fingerprint, version: str, paths: StorePaths) -> Path:
    """Where the packages of a lock are for a version of Python on this platform."""
    token = digest([lock.sha256, version, sysconfig.get_platform()])
    return paths.environment(token) / PLACE.name


def _is_whole(place: Path, store: Store) -> bool:
    """Whether a folder is as it was installed."""
    said, folder = place / "SHA256", place / PLACE.name
    return (
        said.is_file()
        and folder.is_dir()
        and said.read_text().strip() == _contents(folder, store).sha256
    )


def _contents(folder: Path, store: Store) -> CacheFingerprint:
    return folder_fingerprint(PLACE.name, folder, store)


def _install(
    lock: Fingerprint,
    task: Task,
    python: Interpreter | None,
    store: Store,
    harness: Path,
    place: Path,
) -> None:
    with store.partial_folder("packages-") as partial:
        made = partial.resolve() / "made"
        folder, listed = made / PLACE.name, made / lock.path
        write_bytes(listed, store.get(lock.sha256))
        words = ["install", "--no-deps", "--require-hashes", "--no-build", "--compile-bytecode"]
        _uv(harness, [*words, "--target", str(folder), "-r", str(listed)], python, task)
        for path in folder.rglob("*"):
            if path.name in _NOTES and path.parent.suffix == ".dist-info":
                path.unlink()
        (folder / ".lock").unlink(missing_ok=True)
        write_bytes(made / "SHA256", f"{_contents(folder, store).sha256}\n".encode())
        for path in made.rglob("*"):
            if path.is_file() and not path.is_symlink():
                path.chmod(0o444)
        place.parent.mkdir(parents=True, exist_ok=True)
        made.rename(place)
        sync_folder(place.parent)


def _version(python: Interpreter | None) -> str:
    return python.version if python else ".".join(map(str, sys.version_info[:3]))


def _uv(harness: Path, words: Sequence[str], python: Interpreter | None, task: Task) -> str:
    """What a command of ``uv pip`` prints.  Raises :class:`ConfigError` where it fails."""
    program = uv_program(harness)
    where, names = f"{task.definition}: allow_packages", ", ".join(task.allow_packages)
    if program is None:
        raise ConfigError(f"{where}: {names}: uv, which resolves them, is not here; make env")
    interpreter = python.executable if python else sys.executable
    order = [str(program), "pip", words[0], "--quiet", "--python", interpreter, *words[1:]]
    try:
        done = subprocess.run(
            order,
            env={**os.environ, **_SETTINGS},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=UV_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DataError(f"{where}: {names}: {program} cannot be run: {error}") from None
    if done.returncode:
        said = " ".join(one_line(done.stderr.decode(errors="replace"))[:1500].split()).rstrip(".")
        raise ConfigError(
            f"{where}: {names} cannot be had: {said}. Correct the names; or connect to the network "
            f"once and start again: {THIS_SESSION}; or put their wheels into a folder and name it: "
            f"UV_NO_INDEX=1 UV_FIND_LINKS=FOLDER {THIS_SESSION}"
        )
    return done.stdout.decode()


def uv_program(harness: Path) -> Path | None:
    """The project's own uv, else the one on the path; ``None`` without any."""
    own = (harness / ".uv/bin/uv", Path(sys.prefix).parent / ".uv/bin/uv")
    found = shutil.which("uv")
    return next((place for place in own if place.is_file()), Path(found) if found else None)
