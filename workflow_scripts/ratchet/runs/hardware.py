"""GPUs, memory and processors: what is there, and what a session was measured on.

The only module that imports ``pynvml`` (nvidia-ml-py), when it is first needed.  Without a
driver, or without a GPU, there is no lease and no telemetry, and runs go on as they are.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import operator
import os
import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.base.errors import NEW_SESSION, FixedInputChangedError, OtherHardwareError
from ratchet.base.structs import Frozen, Struct, field
from ratchet.records.records import Manifest
from ratchet.records.series import Sample
from ratchet.runs.devices import ALL, VISIBLE_GPUS, Devices, Gpu, allowed_gpus, list_gpus
from ratchet.runs.sandbox.cgroups import own_cgroup
from ratchet.task.task import GB

if TYPE_CHECKING:
    from ratchet.task.environment import Interpreter


SAMPLE_SECONDS = 0.5
# Names by bit, as nvidia-smi shows them; idleness and the application's own
# clock settings are no throttling.
THROTTLE_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}


def nvml_library() -> Any | None:
    """``pynvml``, ready to use; ``None`` without it or without a driver."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def chosen_gpus(devices: Devices = ALL) -> list[Gpu]:
    """The GPUs that runs of this process may have; none without a driver.

    Raises :class:`ratchet.base.errors.ConfigError` for one of ``devices`` that is not there.
    """
    nvml = nvml_library()
    try:
        return allowed_gpus(list_gpus(nvml), os.environ.get(VISIBLE_GPUS), devices)
    finally:
        if nvml is not None:
            nvml.nvmlShutdown()


@functools.cache
def gpu_models(devices: str | tuple[int | str, ...] = ALL) -> tuple[str, ...]:
    """Names of the GPUs that runs of this process may have, in the order of their choice.

    Each once; empty without a driver, or where an outer choice leaves none.
    """
    return tuple(dict.fromkeys(gpu.name for gpu in chosen_gpus(devices)))


class GpuSample(Frozen):
    """One look at a GPU; ``None`` for what it does not tell.

    ``processes`` are the ids of all processes that have it open.
    """

    seconds: float
    memory_mb: float | None
    utilisation: float | None
    power_watts: float | None
    sm_clock_mhz: float | None
    temperature_c: float | None
    throttle: int
    processes: frozenset[int]

    NUMBERS = ("memory_mb", "utilisation", "power_watts", "sm_clock_mhz", "temperature_c")


def sample_gpu(nvml: Any, handle: Any, seconds: float) -> GpuSample:
    """One look at a GPU; ``None`` for what it does not tell."""

    def value(read: Callable[[], Any]) -> Any | None:
        try:
            return read()
        except (nvml.NVMLError, AttributeError):
            return None

    memory = value(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / 2**20)
    power = value(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000.0)
    processes: set[int] = set()
    for name in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
        processes |= {p.pid for p in value(lambda name=name: getattr(nvml, name)(handle)) or ()}  # type: ignore[misc]
    return GpuSample(
        seconds=round(seconds, 3),
        memory_mb=memory,
        utilisation=value(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        power_watts=power,
        sm_clock_mhz=value(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        temperature_c=value(
            lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
        ),
        throttle=value(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)) or 0,
        processes=frozenset(processes),
    )


def foreign_processes(
    before: Collection[int], during: Collection[int], own: Collection[int]
) -> list[int]:
    """Processes that shared the GPU with a run.

    ``before`` had it open when the run began, ``own`` belong to the run.  In a
    container the driver may name processes by the ids of the host: if none of
    the run's own is among them, a new id proves nothing.
    """
    found = set(before) & set(during)
    if set(own) & set(during):
        found |= set(during) - set(own)
    return sorted(found)


class GpuSampler(Struct, dict=True):
    """Looks at a GPU from a thread of its own while a run lasts.

    ``own`` tells the ids of the run's processes at the moment.
    """

    nvml: Any
    gpu: Gpu
    own: Callable[[], Collection[int]]
    every_seconds: float = SAMPLE_SECONDS
    samples: list[GpuSample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._handle = self.gpu.handle(self.nvml)
        self.began = time.monotonic()
        self._before = sample_gpu(self.nvml, self._handle, 0.0).processes
        self._own: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> GpuSampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.every_seconds):
            self.sample()

    def sample(self) -> None:
        """Look once; what cannot be read is left out."""
        # Asked for before and after: a process may start or end meanwhile.
        self._own |= set(self.own())
        self.samples.append(sample_gpu(self.nvml, self._handle, time.monotonic() - self.began))
        self._own |= set(self.own())

    def summary(self) -> dict[str, Any]:
        """The whole run in a few numbers, as JSON values."""
        during = frozenset().union(*(sample.processes for sample in self.samples))
        reasons = 0
        for sample in self.samples:
            reasons |= sample.throttle
        return {
            "gpu": self.gpu.name,
            "uuid": self.gpu.uuid,
            "samples": len(self.samples),
            **{
                name: _range([getattr(s, name) for s in self.samples]) for name in GpuSample.NUMBERS
            },
            "throttled": throttle_names(reasons),
            "foreign": foreign_processes(self._before, during, self._own),
        }


def _range(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    return {"min": min(known), "mean": round(mean, 3), "max": max(known)}


Usage = tuple[float, float, float | None]
"""Seconds since a run began, its CPU seconds until then, its memory in MiB since the last row."""


def machine_samples(usage: Sequence[Usage], gpu: Sequence[GpuSample] = ()) -> list[Sample]:
    """Series of a run's machine, a sample for each row of its usage.

    The samples of its GPU, if it has one, are in the same time, and in order.
    """
    found, left = [], 0
    before: Usage = (0.0, 0.0, None)
    for row in usage:
        seconds, cpu_seconds, memory = row
        lasted = seconds - before[0]
        end = left
        while end < len(gpu) and gpu[end].seconds <= seconds:
            end += 1
        share = max(0.0, cpu_seconds - before[1]) / lasted if lasted > 0 else None
        during = _gpu_values(gpu[left:end])
        found.append(Sample(seconds, None if share is None else 100 * share, memory, **during))
        before, left = row, end
    return found


def _gpu_values(samples: Sequence[GpuSample]) -> dict[str, Any]:
    """Fields of a sample from all looks at a GPU in its time; none without a look."""
    if not samples:
        return {}
    ranges = {name: _range([getattr(s, name) for s in samples]) for name in GpuSample.NUMBERS}
    taken = {
        "gpu_percent": ("utilisation", "mean"),
        "gpu_memory_mb": ("memory_mb", "max"),
        "power_watts": ("power_watts", "mean"),
        "temperature_c": ("temperature_c", "max"),
        "sm_clock_mhz": ("sm_clock_mhz", "mean"),
    }
    values = {
        n: None if (r := ranges[of]) is None else r[which] for n, (of, which) in taken.items()
    }
    throttle = functools.reduce(operator.or_, (sample.throttle for sample in samples))
    return {**values, "throttle": throttle}


def throttle_names(bits: int) -> list[str]:
    """What slowed a GPU's clock down, in words."""
    return [name for bit, name in THROTTLE_REASONS.items() if bits & bit]


def gpu_contention(telemetry: Mapping[str, Any] | None) -> str | None:
    """Other users of the GPU of a run, in words; ``None`` for nobody."""
    pids = (telemetry or {}).get("foreign") or []
    if not pids:
        return None
    return f"process {', '.join(map(str, pids))} used {(telemetry or {}).get('gpu')} too"


# Where containers state their limit, cgroup version 2 and version 1.
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class GpuState(Frozen):
    """One GPU with its memory in bytes and the processes that have it open.

    ``number`` is what ``devices`` calls it, and ``holder`` has a lease of it.
    """

    name: str
    uuid: str
    total_bytes: int | None
    used_bytes: int | None
    processes: tuple[int, ...]
    number: int | None = None
    holder: str = ""


def visible_gpus(nvml: Any | None, visible: str | None, devices: Devices = ALL) -> list[GpuState]:
    """The GPUs that an outer ``CUDA_VISIBLE_DEVICES`` and a session's ``devices`` leave."""
    found = []
    for one in allowed_gpus(list_gpus(nvml), visible, devices):
        total = used = None
        processes: tuple[int, ...] = ()
        assert nvml is not None
        with contextlib.suppress(nvml.NVMLError):
            handle = one.handle(nvml)
            processes = tuple(sorted(sample_gpu(nvml, handle, 0.0).processes))
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            total, used = int(memory.total), int(memory.used)
        found.append(GpuState(one.name, one.uuid, total, used, processes))
    return found


def driver_versions(nvml: Any | None) -> tuple[str | None, str | None]:
    """Versions of the driver and of CUDA that it offers."""
    if nvml is None:
        return None, None
    version = cuda = None
    with contextlib.suppress(nvml.NVMLError, AttributeError):
        version = nvml.nvmlSystemGetDriverVersion()
    with contextlib.suppress(nvml.NVMLError, AttributeError):
        number = int(nvml.nvmlSystemGetCudaDriverVersion())
        cuda = f"{number // 1000}.{number % 1000 // 10}"
    return version, cuda


def memory_gb(device: str, devices: Devices = ALL) -> float | None:
    """Memory that a task on ``cpu`` or ``gpu`` can count on, in 1e9 bytes.

    Of several visible GPUs the smallest, since a run may get any of them; of a
    machine what a container leaves of its RAM.  ``None`` if nothing is known.
    """
    if device != "gpu":
        size = ram_bytes()
        return None if size is None else size / GB
    nvml = nvml_library()
    states = visible_gpus(nvml, os.environ.get(VISIBLE_GPUS), devices)
    totals = [state.total_bytes for state in states if state.total_bytes is not None]
    return min(totals) / GB if totals else None


def ram_bytes(limits: Sequence[Path] = LIMITS) -> int | None:
    """RAM of the machine, or of the container if that is less."""
    sizes = []
    with contextlib.suppress(OSError, ValueError):
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in limits:
        with contextlib.suppress(OSError, ValueError):
            sizes.append(int(path.read_text()))  # `max` is no number and no limit
    return min(sizes, default=None)


def current_hardware(
    device: str, model: str | None = None, devices: Devices = ALL
) -> dict[str, Any]:
    """The hardware class of this machine, as part of a run's key.

    ``device`` is the task's: on ``cpu`` the GPUs of the machine do not matter.  On a
    machine with GPUs of several models one counts: ``model`` if it is there, which
    is a started session's, else the first that runs may have.
    """
    found: dict[str, Any] = {"machine": platform.machine(), "cpu": _cpu_model()}
    if device == "gpu":
        here = gpu_models(devices if isinstance(devices, str) else tuple(devices))
        found["gpus"] = [model] if model in here else list(here[:1])
    return found


def gpu_model_of(hardware: Mapping[str, Any]) -> str | None:
    """The GPU that all runs of a hardware class have; ``None`` where there is none."""
    return next(iter(hardware.get("gpus", ())), None)


def describe_hardware(hardware: Mapping[str, Any]) -> str:
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


CPU_LIMITS = (Path("/sys/fs/cgroup/cpu.max"),)
"""Where containers state how much of the processors they may use, cgroup version 2."""


def machine_description(device: str, devices: Devices = ALL) -> dict[str, Any]:
    """Names and sizes of this machine: processor, memory, system and, for ``gpu``, its GPUs.

    For readers alone: nothing of it is part of a run's key.  What is not known is left out.
    """
    found: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cores": _physical_cores(),
        "threads": os.cpu_count(),
        "usable_threads": usable_threads(),
        "memory_bytes": ram_bytes(),
        "system": _system_name(),
        "kernel": f"{platform.system()} {platform.release()}",
    }
    nvml = nvml_library() if device == "gpu" else None
    if nvml is not None:
        states = visible_gpus(nvml, os.environ.get(VISIBLE_GPUS), devices)
        found["gpus"] = [{"name": s.name, "memory_bytes": s.total_bytes} for s in states]
        found["driver"], found["cuda"] = driver_versions(nvml)
    return {name: value for name, value in found.items() if value}


def describe_machine(machine: Mapping[str, Any]) -> str:
    """A :func:`machine_description` in one line; empty for an empty one."""
    parts, cores, threads = [machine.get("cpu")], machine.get("cores"), machine.get("threads")
    usable = machine.get("usable_threads")
    if threads:
        counted = f"{cores} cores, {threads} threads" if cores else f"{threads} threads"
        parts.append(f"{counted} ({usable:g} usable)" if usable and usable < threads else counted)
    if machine.get("memory_bytes"):
        parts.append(f"{_gib(machine['memory_bytes'])} of memory")
    for (name, size), count in Counter(
        (gpu.get("name"), gpu.get("memory_bytes")) for gpu in machine.get("gpus") or ()
    ).items():
        parts.append(f"{f'{count} × ' if count > 1 else ''}{name}")
        parts += [_gib(size)] if size else []
    parts += [f"driver {machine['driver']}"] if machine.get("driver") else []
    parts += [f"CUDA up to {machine['cuda']}"] if machine.get("cuda") else []
    parts += [machine.get("system"), machine.get("kernel")]
    return ", ".join(str(part) for part in parts if part)


def _gib(size: int) -> str:
    return f"{size / 2**30:.0f} GiB"


def usable_cores() -> list[int]:
    """Numbers of the hardware threads that runs of this process may have, at least one."""
    known = sorted(os.sched_getaffinity(0))
    return known[: max(1, int(usable_threads()))]


def usable_threads(limits: Sequence[Path] = CPU_LIMITS) -> float:
    """Hardware threads that this process may use: by its affinity and its container's share."""
    try:
        found: float = len(os.sched_getaffinity(0))
    except AttributeError:
        found = os.cpu_count() or 1
    own = own_cgroup()
    for path in (*limits, *([own / "cpu.max"] if own else [])):
        with contextlib.suppress(OSError, ValueError):
            quota, period = path.read_text().split()
            found = min(found, int(quota) / int(period))  # `max` is no number and no limit
    return found


def _physical_cores(path: Path = Path("/proc/cpuinfo")) -> int | None:
    """Cores of all processors; ``None`` where the kernel does not tell."""
    found, place = set(), {"physical id": "", "core id": ""}
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in place:
                place[key.strip()] = value.strip()
            elif not line.strip() and place["core id"]:
                found.add(tuple(place.values()))
    return len(found) or None


def _system_name() -> str | None:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    return None


def check_hardware(
    manifest: Manifest, device: str, python: Interpreter | None, devices: Devices = ALL
) -> None:
    """Raise :class:`FixedInputChangedError` where new runs could not be compared.

    ``python`` is the task's own interpreter as it is now.
    """
    here = current_hardware(device, gpu_model_of(manifest.hardware), devices)
    if here != manifest.hardware:
        raise OtherHardwareError(
            f"session {manifest.session!r} was started on "
            f"{describe_hardware(manifest.hardware)}, this machine has "
            f"{describe_hardware(here)}; measurements of the two cannot be compared. Go on "
            f"there, or {NEW_SESSION}"
        )
    frozen = manifest.python
    if frozen is None or (python is not None and python.packages_sha256 == frozen.packages_sha256):
        return
    place = python.executable if python else "the harness's own interpreter"
    raise FixedInputChangedError(
        f"session {manifest.session!r} was started with other packages for its task's runs than "
        f"{place} has now; put them back, name that environment again (--config python=PLACE), or "
        f"{NEW_SESSION}"
    )
