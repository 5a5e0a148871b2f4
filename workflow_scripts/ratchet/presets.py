"""Presets of a task: constants and variables for a device of a certain size.

A task that is to run on a laptop and on a large GPU names a preset for each.  One is
chosen when a session starts, by name or by the memory of the device, and is part of
everything that the session measures from then on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ratchet.codec import Frozen, field
from ratchet.errors import ConfigError

AUTO = "auto"
GB = 1e9
"""Bytes of a gigabyte: cards and memory modules are sold by these, or by more."""

VARIABLE = re.compile(r"RATCHET_[A-Z][A-Z0-9_]*")
# What the harness says to a run by itself; a preset must not speak for it.
OWN = re.compile(r"RATCHET_(SEED|DATA|CONFIG|HARNESS|PARENT|PYTHON|SCRIPTS|(BUDGET|EVALUAT)\w*)")


class Preset(Frozen):
    """One size of a task.

    ``constants`` are values of top-level constants of the mutable files,
    ``environment`` variables of preparation, runs and evaluator.  ``budget`` is what
    each run may spend instead of the task's budget, ``seconds`` or ``steps``, if
    anything.  It is meant for devices with at least ``min_memory_gb`` (1e9 bytes each),
    and for another ``device`` than the task's if it names one.
    """

    name: str
    description: str = ""
    min_memory_gb: float = 0.0
    constants: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    budget: Mapping[str, float] = field(default_factory=dict)
    device: str = ""


def parse(values: Mapping[str, Any], where: str) -> tuple[Preset, ...]:
    """The presets of a ``task.yaml`` whose schema was checked, in its order.

    Raises :class:`ConfigError` for a reserved name of a preset or a variable.
    """
    found = []
    for name, given in values.items():
        preset = Preset(name, **given)
        if name in (AUTO, "null"):
            raise ConfigError(f"{where}: presets.{name}: the name is taken; choose another one")
        if len(preset.budget) > 1:
            raise ConfigError(
                f"{where}: presets.{name}.budget: give either seconds or steps, and not both"
            )
        for variable in preset.environment:
            if not VARIABLE.fullmatch(variable) or OWN.fullmatch(variable):
                raise ConfigError(
                    f"{where}: presets.{name}.environment: expected names such as "
                    "RATCHET_EVAL_BATCHES (RATCHET_, capitals, digits and _) that the harness does "
                    f"not set itself, found {variable!r}"
                )
        found.append(preset)
    return tuple(found)


def choose(
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
