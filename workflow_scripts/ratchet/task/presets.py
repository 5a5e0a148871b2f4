"""Presets of a task: constants and variables for a device of a certain size.

A task that is to run on a laptop and on a large GPU names a preset for each.  One is
chosen when a session starts, by name or by the memory of the device, and is part of
everything that the session measures from then on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import ConfigError, raise_faults
from ratchet.base.io import digest_bytes, read_bytes
from ratchet.records.records import Manifest, Preset
from ratchet.task.edits import (
    constant_values,
    find_value,
    meant_value,
    misplaced_words,
    replace_value,
)
from ratchet.task.task import AUTO, Task


def choose_preset(
    wanted: str | None, presets: Sequence[Preset], memory_gb: float | None, where: str
) -> Preset | None:
    """The preset that a session starts with; ``None`` if none is wanted.

    For ``auto`` the one with the largest ``min_memory_gb`` that ``memory_gb``, the
    memory of the task's device, reaches; of equal ones the first.  Those for another
    device are taken by name only.  Raises
    :class:`ConfigError` for an unknown name, and where nothing fits.
    """
    if wanted is None:
        return None
    known = ", ".join(preset.name for preset in presets)
    if not presets:
        raise ConfigError(f"preset: expected null, since {where} has no presets, found {wanted!r}")
    if wanted != AUTO:
        named = {preset.name: preset for preset in presets}
        if wanted not in named:
            raise ConfigError(
                f"preset: expected null, {AUTO} or one of {where} ({known}), found {wanted!r}"
            )
        return named[wanted]
    if memory_gb is None:
        raise ConfigError(
            f"preset: {AUTO} needs the memory of the device, which is not known here (no GPU with "
            f"a driver?); name one of {known}"
        )
    own = [preset for preset in presets if not preset.device] or list(presets)
    fitting = [preset for preset in own if preset.min_memory_gb <= memory_gb]
    if not fitting:
        least = min(preset.min_memory_gb for preset in own)
        raise ConfigError(
            f"preset: {AUTO} finds none of {where} for a device of {memory_gb:.3g} GB; the "
            f"smallest needs {least:g} GB. Name one all the same ({known}), or use another machine"
        )
    return max(fitting, key=lambda preset: preset.min_memory_gb)


def preset_sources(task: Task, constants: Mapping[str, Any], preset: str) -> dict[str, bytes]:
    """Content of the task's own mutable files with some constants set, by name.

    Raises :class:`ConfigError` as :func:`with_constants` does.
    """
    contents = {name: _text(read_bytes(task.folder / name)) for name in task.mutable}
    where = f"{task.definition}: presets.{preset}.constants"
    return {n: _bytes(t) for n, t in with_constants(contents, constants, where).items()}


def with_constants(
    contents: Mapping[str, str], constants: Mapping[str, Any], where: str
) -> dict[str, str]:
    """Texts of mutable files with some constants set, by name.

    Raises :class:`ConfigError` for a constant that is not, exactly once, a top-level
    ``NAME = literal`` of a Python file, or a key of a YAML or JSON file.
    """
    contents = dict(contents)
    for constant, value in constants.items():
        places = [n for n, text in contents.items() if find_value(n, text, constant) is not None]
        if len(places) != 1:
            found = f"found it in {', '.join(places)}" if places else ""
            raise ConfigError(
                f"{where}: expected {constant} to be set once, by a line like `{constant} = 1` at "
                "the top level or as a key of YAML or JSON, in one of the mutable files "
                f"({', '.join(contents)}), {found or misplaced_words(contents, constant)}"
            )
        (name,) = places
        contents[name] = _with_constant(name, contents[name], constant, value)
    return contents


def sole_value(contents: Mapping[str, str], constant: str) -> Any:
    """Value of a constant in mutable files; :data:`ABSENT` where it is not set once."""
    values = constant_values(contents, constant)
    return values[0] if len(values) == 1 else ABSENT


ABSENT = object()
"""No value, which even ``None`` is."""


def carried_constants(
    champion: Mapping[str, str], baseline: Mapping[str, str], constants: Mapping[str, Any]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Champion's files with another preset's constants, and the names of those that stay.

    A constant stays as the champion has it where the champion's own edits changed it since
    the ``baseline``, or removed it: that is part of the gain.
    """
    found, kept = dict(champion), []
    for constant, value in constants.items():
        own = sole_value(found, constant)
        value = meant_value(own, value)
        if own is ABSENT or own != sole_value(baseline, constant):
            kept += [constant] if own != value else []
            continue
        for name, text in found.items():
            if find_value(name, text, constant) is not None:
                found[name] = _with_constant(name, text, constant, value)
    return found, tuple(kept)


def check_constants(task: Task) -> None:
    """Check that the mutable files have the constants that search space and presets name.

    A definition of somebody's repository may serve forks, which need not have them all.
    Raises :class:`ConfigError` with all that are missing, each with the nearest names.
    """
    faults = [] if task.origin is not None else constant_faults(task)
    raise_faults([ConfigError(f"{task.definition}: {fault}") for fault in faults])


def constant_faults(task: Task) -> list[str]:
    """Constants of search space and presets that the mutable files do not set once, in words."""
    contents = {name: _text(read_bytes(task.folder / name)) for name in task.mutable}
    named = [(f"search_space: {c.name}", c.name) for c in task.search_space if c.is_constant]
    named += [
        (f"presets.{preset.name}.constants: {constant}", constant)
        for preset in task.presets
        for constant in preset.constants
    ]
    return [
        f"{place}: expected a constant that is set once in {' or '.join(contents)}, "
        f"{misplaced_words(contents, constant)}"
        for place, constant in dict(named).items()
        if not constant_values(contents, constant)
    ]


def _with_constant(name: str, text: str, constant: str, value: Any) -> str:
    new = replace_value(name, text, constant, value)
    if new is None:
        raise ConfigError(
            f"{name}: {constant} cannot be set to {value!r} in its place without changing "
            "something else; write it on a line of its own, without an anchor"
        )
    return new


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")


def edited_files(manifest: Manifest, folder: Path) -> list[str]:
    """Mutable files in ``folder`` that differ from what a session started from.

    The session goes on with its own copy.
    """
    preset = manifest.preset
    constants = preset.constants if preset else {}
    edited = []
    for entry in manifest.baseline:
        path = folder / entry.path
        text = _text(path.read_bytes()) if path.is_file() else None
        for constant, value in constants.items():
            if text is not None and find_value(entry.path, text, constant) is not None:
                text = _with_constant(entry.path, text, constant, value)
        if text is None or digest_bytes(_bytes(text)) != entry.sha256:
            edited.append(entry.path)
    return edited
