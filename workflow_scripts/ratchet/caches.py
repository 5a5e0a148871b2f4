"""Folders outside of a task that its runs read: an own cache of data, tokenizers, kernels.

They are fingerprinted when a session starts, and looked at again before every run:
names, sizes and digests of all files.  The digest of a large file is remembered by its
size and time.  Runs see them read-only, as far as the kind of isolation can do that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ratchet import container, files
from ratchet.canonical import digest
from ratchet.codec import Frozen
from ratchet.declared_values import Cache
from ratchet.errors import ConfigError, FixedInputChangedError, InputMissingError
from ratchet.isolation import Kind
from ratchet.records import CacheFingerprint
from ratchet.store import Store

LARGE_BYTES = 32 << 20
"""A file from this size on takes long enough to hash that its digest is worth keeping."""

DIGESTS = "digests"
HOME = "~"


class Mount(Frozen):
    """A folder of this machine, and where a run finds it.

    ``place`` is relative to the run's folder, which is its home too, or absolute.
    """

    source: Path
    place: Path


def source(cache: Cache, clone: Path | None) -> Path:
    """Where a declared folder is on this machine.

    Raises :class:`ConfigError` for a relative one without a clone that it is in.
    """
    if cache.folder.startswith(HOME):
        return Path(cache.folder).expanduser()
    path = Path(cache.folder)
    if not path.is_absolute() and clone is None:
        raise ConfigError(
            f"cache: {cache.folder} is relative, so that it lies in a clone on this machine, and "
            "there is none; clone the repository and name the clone's folder by `repo`"
        )
    return path if path.is_absolute() else Path(os.path.abspath(clone / path))  # type: ignore[operator]  # noqa: PTH100


def mount(cache: Cache, clone: Path | None) -> Mount:
    """A declared folder with the place where runs find it."""
    place = Path(cache.folder)
    if cache.folder.startswith(HOME):
        place = Path(*place.parts[1:])
    return Mount(source(cache, clone), place)


def require(caches: Sequence[Cache], clone: Path | None) -> None:
    """Raise :class:`InputMissingError` for a folder that is not there and is not optional."""
    for cache in caches:
        folder = source(cache, clone)
        if not folder.is_dir() and not cache.optional:
            todo = cache.prepare or "the repository's own preparation, such as: uv run prepare.py"
            where = f" in {clone}" if clone else ""
            raise InputMissingError(
                f"{folder}: expected the folder that runs read (`cache`), found none; run{where}: "
                f"{todo}"
            )


def complete(caches: Sequence[Cache], clone: Path | None) -> bool:
    """Whether all folders that have to be there are."""
    return all(cache.optional or source(cache, clone).is_dir() for cache in caches)


def fingerprints(
    caches: Sequence[Cache], clone: Path | None, store: Store
) -> tuple[CacheFingerprint, ...]:
    """All folders that are there, by what they hold; raises as :func:`require` does."""
    require(caches, clone)
    folders = [(cache.folder, source(cache, clone)) for cache in caches]
    found = [_fingerprint(name, folder, store) for name, folder in folders if folder.is_dir()]
    return tuple(found)


def _fingerprint(name: str, folder: Path, store: Store) -> CacheFingerprint:
    entries: dict[str, tuple[int, str]] = {}
    for path in _files(folder):
        size = path.stat().st_size
        entries[str(path.relative_to(folder))] = (size, _digest(path, store))
    if not entries:
        raise InputMissingError(f"{folder}: expected files that runs read (`cache`), found none")
    total = sum(size for size, _ in entries.values())
    return CacheFingerprint(name, digest(entries), len(entries), total)


def _files(folder: Path) -> Iterable[Path]:
    """All files below a folder in a fixed order, also those that links lead to."""
    for place, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        yield from (path for n in sorted(names) if (path := Path(place) / n).is_file())


def _digest(path: Path, store: Store) -> str:
    state = path.stat()
    if state.st_size < LARGE_BYTES:
        return files.digest_file(path)
    question = {"path": str(path), "bytes": state.st_size, "time": state.st_mtime_ns}
    return str(store.memo(DIGESTS, question, lambda: files.digest_file(path)))


def check(
    frozen: Sequence[CacheFingerprint], caches: Sequence[Cache], clone: Path | None, store: Store
) -> None:
    """Raise :class:`FixedInputChangedError` for a folder that is not what it was."""
    if not caches:
        return
    now = {entry.folder: entry.sha256 for entry in fingerprints(caches, clone, store)}
    for entry in frozen:
        found = now.pop(entry.folder, "no such folder")
        if found != entry.sha256:
            raise FixedInputChangedError(
                f"cache: {entry.folder}: expected contents with sha256 {entry.sha256}, found "
                f"{found}; put them back as they were, or start another session: "
                "snakemake --cores 1 --config session=NAME"
            )
    if now:
        raise FixedInputChangedError(
            f"cache: {next(iter(now))}: was not there when the session started; take it away, or "
            "start another session: snakemake --cores 1 --config session=NAME"
        )


# ------------------------------------------------------------------- one run's


def lay_out(mounts: Sequence[Mount], work: Path, kind: Kind) -> None:
    """Make the places in a run's folder; where nothing can be mounted, links or copies."""
    for entry in mounts:
        if entry.place.is_absolute():
            if kind is Kind.CONTAINER and not container.mounted():
                raise ConfigError(
                    f"cache: {entry.source} cannot be shown to a run in another container that "
                    "nothing can be mounted into; set isolation to auto"
                )
            continue
        place = work / entry.place
        if kind is Kind.BUBBLEWRAP or (kind is Kind.CONTAINER and container.mounted()):
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if kind is Kind.CONTAINER:
            shutil.copytree(entry.source, place)
        else:
            place.symlink_to(entry.source.resolve(), target_is_directory=True)


def mounted(mounts: Sequence[Mount], work: Path) -> Mapping[Path, Path]:
    """Places by what is mounted there, for a box."""
    return {
        (e.place if e.place.is_absolute() else work / e.place): e.source.resolve() for e in mounts
    }


def readable(mounts: Sequence[Mount]) -> list[Path]:
    """What a run has to be able to read where nothing is mounted."""
    return [entry.source.resolve() for entry in mounts]
