"""What a run executes on: measurements of different hardware or packages are never mixed."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet import gpu
from ratchet.errors import FixedInputChangedError, OtherHardwareError
from ratchet.records import Manifest

if TYPE_CHECKING:
    from ratchet.interpreters import Interpreter


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
    """A hardware class in words."""
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


def check(manifest: Manifest, device: str, python: Interpreter | None) -> None:
    """Raise :class:`FixedInputChangedError` where new runs could not be compared.

    ``python`` is the task's own interpreter as it is now.
    """
    _check_hardware(manifest, device)
    _check_python(manifest, python)


def _check_hardware(manifest: Manifest, device: str) -> None:
    here = current(device, gpu_model(manifest.hardware))
    if here != manifest.hardware:
        raise OtherHardwareError(
            f"session {manifest.session!r} was started on "
            f"{describe(dict(manifest.hardware))}, this machine has "
            f"{describe(here)}; measurements of the two cannot be compared. Go on "
            "there, or start another session here: snakemake --cores 1 --config session=NAME"
        )


def _check_python(manifest: Manifest, python: Interpreter | None) -> None:
    frozen = manifest.python
    if frozen is None or (python is not None and python.packages_sha256 == frozen.packages_sha256):
        return
    place = python.executable if python else "the harness's own interpreter"
    raise FixedInputChangedError(
        f"session {manifest.session!r} was started with other packages for its task's runs than "
        f"{place} has now; put them back, name that environment again (--config python=PLACE), or "
        "start another session: snakemake --cores 1 --config session=NAME"
    )
