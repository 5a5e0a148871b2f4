"""The installed packages: whether they are the ones that a lock names, and where they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ratchet import files, uv_lock
from ratchet.errors import DataError
from ratchet.interpreters import Interpreter

# Where packages of an interpreter lie, and of the system's beside it.
PACKAGE_FOLDERS = ("lib/python*/site-packages", "lib/python*/dist-packages")
SYSTEM_PREFIXES = ("/usr", "/usr/local")
UV_LOCK = "uv.lock"

_PIN = re.compile(
    r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*==\s*([^\s;\\]+)\s*(?:;\s*([^\\]+))?"
)


def pins(lock: Path, markers: Mapping[str, str] | None = None) -> dict[str, str]:
    """Versions by package name in a lock of pip's or of uv's, for this platform.

    ``markers`` are conditions of another interpreter than this one.
    Raises :class:`DataError` for a lock without pins.
    """
    if lock.suffix == ".toml" or lock.name == UV_LOCK:
        return uv_lock.pins(lock, lambda marker: _applies(marker, markers))
    found: dict[str, str] = {}
    for line in files.read_bytes(lock).decode().splitlines():
        match = _PIN.match(line)
        if match and _applies(match.group(3), markers):
            found[match.group(1)] = match.group(2)
    if not found:
        raise DataError(
            f"{lock}: names no package with its version; make it again with: make lock, or: "
            "uv pip compile"
        )
    return found


def _applies(marker: str | None, markers: Mapping[str, str] | None) -> bool:
    if marker is None:
        return True
    from packaging.markers import Marker

    return Marker(marker.strip()).evaluate(dict(markers) if markers else None)


def verify(lock: Path) -> None:
    """Raise :class:`DataError` if this interpreter has other versions."""
    wrong = _deviations(pins(lock), _installed)
    if wrong:
        raise _not_as_locked(lock, sys.executable, wrong, "make env")


def verify_other(lock: Path, interpreter: Interpreter) -> None:
    """Raise :class:`DataError` if a task's own interpreter has other versions."""
    wrong = deviations(lock, interpreter)
    if wrong:
        todo = "uv sync" if lock.name == UV_LOCK else f"make env-{lock.stem}"
        raise _not_as_locked(lock, interpreter.executable, wrong, todo)


def deviations(lock: Path, interpreter: Interpreter) -> list[str]:
    """Where the packages of a task's own interpreter differ from a lock."""
    from packaging.utils import canonicalize_name

    def installed(name: str) -> str | None:
        return interpreter.packages.get(canonicalize_name(name))

    return _deviations(pins(lock, interpreter.markers), installed)


def _deviations(wanted: Mapping[str, str], find: Callable[[str], str | None]) -> list[str]:
    return [
        f"{name}: expected {version}, found {find(name) or 'none'}"
        for name, version in wanted.items()
        if find(name) != version
    ]


def _installed(name: str) -> str | None:
    import importlib.metadata  # slow; most steps have no question about packages

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _not_as_locked(lock: Path, program: str, wrong: Sequence[str], todo: str) -> DataError:
    return DataError(
        f"{lock}: {program} does not have the locked packages ({'; '.join(wrong)}); "
        f"install them with: {todo}"
    )


def package_paths(names: Sequence[str], prefixes: Sequence[str] = ()) -> list[Path]:
    """Everything installed under the names of some packages, wherever Python finds it.

    ``prefixes`` are those of an interpreter beside this one.
    """
    found: set[Path] = set()
    own = {sys.prefix, sys.base_prefix, *SYSTEM_PREFIXES, "/usr/lib", "/usr/local/lib"}
    for prefix in own | set(prefixes):
        for pattern in (*PACKAGE_FOLDERS, "python*/dist-packages"):
            for folder in Path(prefix).resolve().glob(pattern):
                for name in names:
                    plain = name.replace("-", "_")
                    found |= {folder / plain, folder / f"{plain}.py"}
                    found |= set(folder.glob(f"{plain}-*.dist-info"))
                    found |= set(folder.glob(f"{plain}-*.egg*"))
    return sorted(path for path in found if path.exists())
