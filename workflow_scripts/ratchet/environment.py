"""The installed packages: whether they are the ones that a lock names, and where they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ratchet import files
from ratchet.errors import DataError

# Where packages of an interpreter lie, and of the system's beside it.
PACKAGE_FOLDERS = ("lib/python*/site-packages", "lib/python*/dist-packages")
SYSTEM_PREFIXES = ("/usr", "/usr/local")

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)\s*(?:;\s*([^\\]+))?")


def pins(lock: Path) -> dict[str, str]:
    """Versions by package name in a hash lock, for this platform.

    Raises :class:`DataError` for a lock without pins.
    """
    found: dict[str, str] = {}
    for line in files.read_bytes(lock).decode().splitlines():
        match = _PIN.match(line)
        if match and _applies(match.group(3)):
            found[match.group(1)] = match.group(2)
    if not found:
        raise DataError(f"{lock}: names no package; make it again with: make lock")
    return found


def _applies(marker: str | None) -> bool:
    if marker is None:
        return True
    from packaging.markers import Marker

    return Marker(marker.strip()).evaluate()


def verify(lock: Path) -> None:
    """Raise :class:`DataError` if this interpreter has other versions."""
    import importlib.metadata  # slow; most steps have no question about packages

    wrong = []
    for name, wanted in pins(lock).items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "none"
        if found != wanted:
            wrong.append(f"{name}: expected {wanted}, found {found}")
    if wrong:
        raise DataError(
            f"{lock}: {sys.executable} does not have the locked packages ({'; '.join(wrong)}); "
            "install them with: make env"
        )


def package_paths(names: Sequence[str]) -> list[Path]:
    """Everything installed under the names of some packages, wherever Python finds it."""
    found: set[Path] = set()
    for prefix in {sys.prefix, sys.base_prefix, *SYSTEM_PREFIXES, "/usr/lib", "/usr/local/lib"}:
        for pattern in (*PACKAGE_FOLDERS, "python*/dist-packages"):
            for folder in Path(prefix).resolve().glob(pattern):
                for name in names:
                    plain = name.replace("-", "_")
                    found |= {folder / plain, folder / f"{plain}.py"}
                    found |= set(folder.glob(f"{plain}-*.dist-info"))
                    found |= set(folder.glob(f"{plain}-*.egg*"))
    return sorted(path for path in found if path.exists())
