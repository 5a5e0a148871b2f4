"""Compile caches: what PyTorch's compilers made for one source, kept in the store.

A cache holds code that whoever reads it executes, written by a candidate.  So it is filled
by a warm-up of that very source alone, which sees no data that a model could learn from, and
every run gets a copy of its own, which nobody reads after it.  What the warm-up left is taken
as it lies: regular files with plain names, bounded in number and size.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import DataError, InputMissingError
from ratchet.base.io import digest, digest_bytes, digest_file, read_json, write_json
from ratchet.base.structs import Frozen
from ratchet.records.store import Store
from ratchet.runs.hardware import driver_versions, nvml_library

FOLDER = ".compile_cache"
"""Where a run has its own copy, below its folder."""

_PLACES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
# TorchInductor keeps its graphs and those of AOTAutograd below its own folder.

MOST_FILES = 20_000
"""A model of a hundred kernels leaves some thousand files."""
MOST_BYTES = 1 << 30
"""Kernels of such a model are some ten megabytes."""
MOST_LEVELS = 8
"""The compilers' own folders are three levels deep."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,199}")
# Left by the compilers and worth nothing to another process.
_LOCKS = ".lock"

IN_USE_SECONDS = 600.0
"""An entry that was used so lately may be being copied now."""

LISTING = "cache.json"
FILES = "files"
_FORMAT = 1

_APART = frozenset(
    {"seed", "budget_seconds", "budget_steps", "timeout_seconds", "attempt", "occasion"}
    | {"renewal", "guard", "metric", "evaluator", "evaluation_data", "audit_data", "patterns"}
    | {"names", "counted", "limits"}
)
"""Inputs of a run that nothing compiled depends on."""


class CompileCache(Frozen):
    """One entry: files by path below ``folder`` with their digests, made within ``seconds``.

    Without files there is nothing to start from, and the runs of the source compile.
    """

    key: str
    folder: Path
    files: Mapping[str, str]
    seconds: float

    @property
    def state(self) -> str:
        """Word for a run's record."""
        return "warm" if self.files else "empty"

    def lay_out(self, work: Path, for_others: bool) -> None:
        """Copy the files into a run's folder, where they are its own.

        An entry that went meanwhile, for others that are used more, is none: the run compiles.
        ``for_others`` if the run is another user, as in a container.
        """
        place = work / FOLDER
        for name in _PLACES.values():
            (place / name).mkdir(parents=True, exist_ok=True)
        for name in self.files:
            target = place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(self.folder / FILES / name, target)
        for folder, _, _ in os.walk(place) if for_others else ():
            Path(folder).chmod(0o777)


def cache_variables(work: Path) -> dict[str, str]:
    """Environment variables by which a run in ``work`` finds its own copy."""
    return {variable: str(work / FOLDER / name) for variable, name in _PLACES.items()}


def cache_key(
    inputs: Mapping[str, Any], isolation: str, blank: Sequence[str] = (), hidden: Sequence[str] = ()
) -> str:
    """Key of the cache of a run with these inputs, under this kind of isolation, here.

    Seed and budget are left out, so replicates, retests and confirmation share one.  What a
    warm-up may not see, ``blank`` files and ``hidden`` packages, is part of it: what another
    saw serves nobody who hides it.
    """
    rest = {name: value for name, value in inputs.items() if name not in _APART}
    unseen = {"blank": sorted(blank), "hidden": sorted(hidden)}
    kind = {"format": _FORMAT, "isolation": isolation, **unseen}
    return digest({**kind, "run": rest, **_machine(inputs)})


def _machine(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What compiled code may be bound to, beside the kind of hardware that a run's key names."""
    driver = driver_versions(nvml_library()) if inputs["device"] == "gpu" else None
    known = {"processor": platform.machine()}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "flags", "Features"):
                known.setdefault(name.strip(), value.strip())
    return {"driver": list(driver or ()), "machine": known}


class CompileCaches:
    """The caches of a store, of ``limit_bytes`` in all; whoever makes one holds its key there."""

    def __init__(self, store: Store, limit_bytes: float) -> None:
        self.store = store
        self.limit_bytes = limit_bytes

    def find(self, key: str) -> tuple[CompileCache | None, str]:
        """The entry of a key with every file as it was kept, and what was wrong with a damaged one.

        A damaged one is moved to the folder ``damaged`` and counts as none.
        """
        folder = self.store.paths.cache(key)
        if not folder.exists():
            return None, ""
        try:
            entry = read_json(folder / LISTING)
            files, seconds = entry["files"], float(entry["seconds"])
            if entry["key"] != key or digest([files, seconds]) != entry["digest"]:
                raise DataError(f"{folder / LISTING}: does not fit its digest")
            for name, sha in files.items():
                if not all(_NAME.fullmatch(part) for part in name.split("/")):
                    raise DataError(f"{folder / LISTING}: names {name!r}")
                if digest_file(folder / FILES / name) != sha:
                    raise DataError(f"{folder / FILES / name}: does not fit its digest")
            os.utime(folder / LISTING)
            return CompileCache(key, folder, dict(files), seconds), ""
        except (InputMissingError, DataError, KeyError, TypeError, ValueError, OSError) as error:
            self.store.set_aside(folder)
            return None, str(error)

    def keep(self, key: str, made: Path, files: Mapping[str, str], seconds: float) -> CompileCache:
        """Keep collected ``files`` below ``made``, read-only, as the entry of a key."""
        for name in files:
            (made / FILES / name).chmod(0o444)
        entry = {"files": dict(files), "seconds": seconds}
        listed = {**entry, "key": key, "digest": digest([entry["files"], seconds])}
        write_json(made / LISTING, listed)
        folder = self.store.paths.cache(key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        made.rename(folder)
        self.trim()
        return CompileCache(key, folder, dict(files), seconds)

    def trim(self) -> None:
        """Remove entries, the longest unused first, until the rest fits the limit."""
        known = []
        for path in self.store.paths.caches.glob(f"*/*/{LISTING}"):
            with contextlib.suppress(OSError):
                size = sum(each.lstat().st_size for each in path.parent.rglob("*"))
                known.append((path.stat().st_mtime, size, path.parent))
        left = sum(size for _, size, _ in known)
        for used, size, folder in sorted(known):
            if left <= self.limit_bytes or used > time.time() - IN_USE_SECONDS:
                return
            # Gone at once for whoever looks for it, then file by file.
            away = folder.with_name(f".{folder.name}.partial")
            with contextlib.suppress(OSError):
                folder.rename(away)
                shutil.rmtree(away, ignore_errors=True)
            left -= size


def collect_cache(work: Path, target: Path) -> dict[str, str]:
    """Copy what a run left in its cache to ``target``; digests by path.

    Links, devices, odd names, whatever cannot be read and what lies beside the compilers'
    folders are passed over; of too much nothing is taken.  No link is followed, not even of a
    process that still lives.
    """
    found: dict[str, str] = {}
    size = 0
    with contextlib.suppress(OSError):
        if not stat.S_ISDIR((work / FOLDER).lstat().st_mode):
            return {}
        for root, folders, names, handle in os.fwalk(work / FOLDER, follow_symlinks=False):
            below = Path(root).relative_to(work / FOLDER)
            deep = len(below.parts) >= MOST_LEVELS
            folders[:] = [] if deep else sorted(n for n in folders if _NAME.fullmatch(n))
            if not below.parts:
                # A file here would be where every run has one of these folders.
                folders[:] = [name for name in folders if name in _PLACES.values()]
                continue
            for name in sorted(names):
                if not _NAME.fullmatch(name) or name.endswith(_LOCKS):
                    continue
                content = _regular(name, handle, MOST_BYTES - size)
                if content is None:
                    continue
                size += len(content)
                if size > MOST_BYTES or len(found) >= MOST_FILES:
                    shutil.rmtree(target, ignore_errors=True)
                    return {}
                place = target / below / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
                found[str(below / name)] = digest_bytes(content)
    return found


def _regular(name: str, folder: int, most: int) -> bytes | None:
    """Content of a regular file with one name, at most one byte more than ``most``."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as stream:
        kind = os.fstat(handle)
        if not stat.S_ISREG(kind.st_mode) or kind.st_nlink != 1:
            return None
        try:
            return stream.read(most + 1)
        except OSError:
            return None
