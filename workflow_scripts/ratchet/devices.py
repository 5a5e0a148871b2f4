"""What the machine's GPUs and memory are like at the moment."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from ratchet import gpu
from ratchet.codec import Frozen
from ratchet.presets import GB

# Where containers state their limit, cgroup version 2 and version 1.
LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class GpuState(Frozen):
    """One GPU with its memory in bytes and the processes that have it open."""

    name: str
    uuid: str
    total_bytes: int | None
    used_bytes: int | None
    processes: tuple[int, ...]


def visible_gpus(nvml: Any | None, visible: str | None) -> list[GpuState]:
    """The GPUs that an outer ``CUDA_VISIBLE_DEVICES`` leaves; none without a library."""
    found = []
    for one in gpu.allowed(gpu.gpus(nvml), visible):
        total = used = None
        processes: tuple[int, ...] = ()
        assert nvml is not None
        with contextlib.suppress(nvml.NVMLError):
            handle = nvml.nvmlDeviceGetHandleByIndex(one.index)
            processes = tuple(sorted(gpu.look(nvml, handle, 0.0).processes))
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            total, used = int(memory.total), int(memory.used)
        found.append(GpuState(one.name, one.uuid, total, used, processes))
    return found


def driver(nvml: Any | None) -> tuple[str | None, str | None]:
    """Versions of the driver and of CUDA that it offers."""
    if nvml is None:
        return None, None
    version = cuda = None
    with contextlib.suppress(nvml.NVMLError, AttributeError):
        text = nvml.nvmlSystemGetDriverVersion()
        version = text if isinstance(text, str) else text.decode()
    with contextlib.suppress(nvml.NVMLError, AttributeError):
        number = int(nvml.nvmlSystemGetCudaDriverVersion())
        cuda = f"{number // 1000}.{number % 1000 // 10}"
    return version, cuda


def memory_gb(device: str) -> float | None:
    """Memory that a task on ``cpu`` or ``gpu`` can count on, in 1e9 bytes.

    Of several visible GPUs the smallest, since a run may get any of them; of a
    machine what a container leaves of its RAM.  ``None`` if nothing is known.
    """
    if device != "gpu":
        return ram_gb()
    nvml = gpu.library()
    states = visible_gpus(nvml, os.environ.get(gpu.VISIBLE))
    totals = [state.total_bytes for state in states if state.total_bytes is not None]
    return min(totals) / GB if totals else None


def ram_gb(limits: tuple[Path, ...] = LIMITS) -> float | None:
    """RAM of the machine, or of the container if that is less."""
    sizes = []
    with contextlib.suppress(OSError, ValueError):
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in limits:
        with contextlib.suppress(OSError, ValueError):
            sizes.append(int(path.read_text()))  # `max` is no number and no limit
    return min(sizes) / GB if sizes else None
