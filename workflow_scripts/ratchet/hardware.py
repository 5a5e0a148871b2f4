"""What a run executes on: measurements of different hardware are never mixed."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ratchet import gpu


def current(device: str, model: str | None = None) -> dict[str, Any]:
    """The hardware class of this machine, as part of a run's key.

    ``device`` is the task's: on ``cpu`` the GPUs of the machine do not matter.  On a
    machine with GPUs of several models one counts: ``model`` if it is there, which
    is a started session's, else the first that runs may have.
    """
    found: dict[str, Any] = {"machine": platform.machine(), "cpu": _cpu_model()}
    if device == "gpu":
        here = _gpu_models()
        found["gpus"] = [model] if model in here else list(here[:1])
    return found


def gpu_model(hardware: Mapping[str, Any]) -> str | None:
    """The GPU that all runs of a hardware class have; ``None`` where there is none."""
    return next(iter(hardware.get("gpus", ())), None)


def describe(hardware: dict[str, Any]) -> str:
    """The same in words."""
    gpus = hardware.get("gpus")
    return ", ".join([str(hardware.get("cpu")), *(gpus or [])])


@functools.cache
def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "cpu model"):
            return " ".join(value.split())
    return platform.machine()


@functools.cache
def _gpu_models() -> tuple[str, ...]:
    return gpu.models()
