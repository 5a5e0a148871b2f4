"""Pinned versions in a ``uv.lock``: what its project needs on this platform.

A lock of uv's holds all platforms, groups and extras at once; what is installed by
``uv sync`` is what can be reached from the project itself.  Development groups are left
out: a run needs none of them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet import files
from ratchet.errors import DataError

# Where the project's own packages are from, as uv writes it.
OWN = ("virtual", "editable", "directory")


def pins(lock: Path, applies: Callable[[str | None], bool]) -> dict[str, str]:
    """Versions by package name; ``applies`` evaluates the condition of a requirement.

    Raises :class:`DataError` for a file that is no lock of uv's.
    """
    packages = _packages(lock)
    own = [entry for entry in packages if _is_own(entry)]
    if not own:
        raise DataError(f"{lock}: holds no project of its own; make it again with: uv lock")
    named: dict[str, list[Mapping[str, Any]]] = {}
    for entry in packages:
        named.setdefault(entry["name"], []).append(entry)
    found: dict[str, str] = {}
    todo = [need for entry in own for need in entry.get("dependencies", ())]
    seen = set()
    while todo:
        need = todo.pop()
        if not applies(need.get("marker")):
            continue
        here = _chosen(need, named.get(need["name"], ()), applies)
        extras = tuple(sorted(need.get("extra", ())))
        if here is None or (id(here), extras) in seen:
            continue
        seen.add((id(here), extras))
        if not _is_own(here) and "version" in here:
            found[here["name"]] = here["version"]
        todo += here.get("dependencies", ())
        optional = here.get("optional-dependencies", {})
        todo += [more for extra in extras for more in optional.get(extra, ())]
    if not found:
        raise DataError(f"{lock}: its project needs no package; make it again with: uv lock")
    return dict(sorted(found.items()))


def _packages(lock: Path) -> Sequence[Mapping[str, Any]]:
    try:
        data = tomllib.loads(files.read_bytes(lock).decode())
        packages = data["package"]
        whole = all(isinstance(p, dict) and isinstance(p["name"], str) for p in packages)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{lock}: is no lock of uv's ({type(error).__name__}: {error}); make it with: uv lock"
        ) from None
    if not whole:
        raise DataError(f"{lock}: has packages without a name; make it again with: uv lock")
    found: Sequence[Mapping[str, Any]] = packages
    return found


def _is_own(entry: Mapping[str, Any]) -> bool:
    source = entry.get("source", {})
    return isinstance(source, dict) and any(kind in source for kind in OWN)


def _chosen(
    need: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    applies: Callable[[str | None], bool],
) -> Mapping[str, Any] | None:
    """The one of several versions of a package that a requirement means here."""
    exact = [e for e in entries if need.get("version") in (None, e.get("version"))]
    exact = [e for e in exact if need.get("source") in (None, e.get("source"))]
    here = [
        e
        for e in exact
        if "resolution-markers" not in e or any(applies(m) for m in e["resolution-markers"])
    ]
    return next(iter(here or exact), None)
