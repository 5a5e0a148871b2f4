"""A preset applied to a task's mutable files: what a session starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ratchet import files, surface
from ratchet.canonical import digest_bytes
from ratchet.errors import ConfigError
from ratchet.records import Manifest
from ratchet.task import Task


def baseline(task: Task, constants: Mapping[str, Any], preset: str) -> dict[str, bytes]:
    """Content of the mutable files with some constants set, by name.

    Raises :class:`ConfigError` for a constant that is not, exactly once, a top-level
    ``NAME = literal`` of a mutable Python file, or a key of a YAML or JSON file.
    """
    contents = {name: files.read_bytes(task.folder / name) for name in task.mutable}
    for constant, value in constants.items():
        places = [name for name in contents if _find(contents[name], name, constant) is not None]
        if len(places) != 1:
            found = "in none of them" if not places else f"in {', '.join(places)}"
            raise ConfigError(
                f"{task.definition}: presets.{preset}.constants: expected {constant} to be set "
                f"once, by a line like `{constant} = 1` at the top level or as a key of YAML or "
                f"JSON, in one of the mutable files ({', '.join(contents)}), found it {found}"
            )
        (name,) = places
        contents[name] = _set(contents[name], name, constant, value)
    return contents


def _find(content: bytes, name: str, constant: str) -> surface.Place | None:
    return surface.find(name, _text(content), constant)


def _set(content: bytes, name: str, constant: str, value: Any) -> bytes:
    new = surface.replaced(name, _text(content), constant, value)
    if new is None:
        raise ConfigError(
            f"{name}: {constant} cannot be set to {value!r} in its place without changing "
            "something else; write it on a line of its own, without an anchor"
        )
    return new.encode("utf-8", errors="surrogateescape")


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="surrogateescape")


def edited(manifest: Manifest, folder: Path) -> list[str]:
    """Mutable files in ``folder`` that differ from what a session started from.

    The session goes on with its own copy.
    """
    preset = manifest.preset
    constants = preset.constants if preset else {}
    contents = {entry.path: _read(folder / entry.path) for entry in manifest.baseline}
    for constant, value in constants.items():
        for name, content in contents.items():
            if content is not None and _find(content, name, constant) is not None:
                contents[name] = _set(content, name, constant, value)
    return [
        entry.path for entry in manifest.baseline if _digest(contents[entry.path]) != entry.sha256
    ]


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _digest(content: bytes | None) -> str | None:
    return None if content is None else digest_bytes(content)
