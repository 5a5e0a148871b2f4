"""NVIDIA GPUs: one run per GPU at a time, and what the GPU did meanwhile.

The only module that imports ``pynvml`` (nvidia-ml-py), when it is first needed.
Without a driver, or without a GPU, there is no lease and no telemetry, and
runs go on as they are.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.codec import Frozen, Struct, field

SAMPLE_SECONDS = 0.5
# Between two looks for a free GPU.
WAIT_SECONDS = 0.5
VISIBLE = "CUDA_VISIBLE_DEVICES"
# Names by bit, as nvidia-smi shows them; idleness and the application's own
# clock settings are no throttling.
THROTTLE_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}


def library() -> Any | None:
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


class Gpu(Frozen):
    """One GPU: its place in the order of the bus, its lasting id, its model."""

    index: int
    uuid: str
    name: str


def gpus(nvml: Any | None) -> list[Gpu]:
    """All GPUs of this machine; none without a library."""
    if nvml is None:
        return []
    found = []
    with contextlib.suppress(nvml.NVMLError):
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
            found.append(Gpu(index, _text(uuid), _text(name)))
    return found


def models() -> tuple[str, ...]:
    """Names of the GPUs that runs of this process may have, in the order of their choice.

    Each once; empty without a driver, or where an outer choice leaves none.
    """
    nvml = library()
    if nvml is None:
        return ()
    try:
        return tuple(dict.fromkeys(g.name for g in allowed(gpus(nvml), os.environ.get(VISIBLE))))
    finally:
        nvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


def allowed(found: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    """The GPUs that an outer ``CUDA_VISIBLE_DEVICES`` leaves, in its order.

    As CUDA does: indices or the beginnings of ids, and nothing after the first
    entry that fits none.
    """
    if visible is None:
        return list(found)
    chosen: list[Gpu] = []
    for word in (part.strip() for part in visible.split(",")):
        match = [
            gpu
            for gpu in found
            if str(gpu.index) == word or (not word.isdigit() and word and gpu.uuid.startswith(word))
        ]
        if len(match) != 1:
            break
        chosen += match
    return chosen


class Lease(Frozen):
    """One GPU that is ours while ``descriptor`` is open, here or in a child."""

    gpu: Gpu
    descriptor: int

    @property
    def environment(self) -> dict[str, str]:
        """What makes a run see this GPU alone."""
        return {VISIBLE: self.gpu.uuid}


@contextlib.contextmanager
def leased(
    nvml: Any | None, visible: str | None, folder: Path | None = None, model: str | None = None
) -> Iterator[Lease | None]:
    """Hold one free GPU, of ``model`` if that is given, against all other processes here.

    Waits until one is free.  ``None`` where no such GPU is visible.  The lock is an
    flock on a file in ``folder`` (by default the machine's temporary one), which
    ends with the last process that has the descriptor.
    """
    candidates = [g for g in allowed(gpus(nvml), visible) if model in (None, g.name)]
    if not candidates:
        yield None
        return
    place = folder or Path(tempfile.gettempdir())
    while True:
        for gpu in candidates:
            descriptor = _lock(place / f"ratchet-{gpu.uuid}.lock")
            if descriptor is None:
                continue
            try:
                yield Lease(gpu, descriptor)
            finally:
                os.close(descriptor)
            return
        time.sleep(WAIT_SECONDS)


def _lock(path: Path) -> int | None:
    # Another user's file in a sticky folder cannot be opened to be created.
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return None
    return descriptor


class Sample(Frozen):
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


def look(nvml: Any, handle: Any, seconds: float) -> Sample:
    """Read everything once."""

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
    return Sample(
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


def foreign(before: Collection[int], during: Collection[int], own: Collection[int]) -> list[int]:
    """Processes that shared the GPU with a run.

    ``before`` had it open when the run began, ``own`` belong to the run.  In a
    container the driver may name processes by the ids of the host: if none of
    the run's own is among them, a new id proves nothing.
    """
    found = set(before) & set(during)
    if set(own) & set(during):
        found |= set(during) - set(own)
    return sorted(found)


class Sampler(Struct):
    """Looks at a GPU from a thread of its own while a run lasts.

    ``own`` tells the ids of the run's processes at the moment.
    """

    nvml: Any
    gpu: Gpu
    own: Callable[[], Collection[int]]
    every_seconds: float = SAMPLE_SECONDS
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._handle = self.nvml.nvmlDeviceGetHandleByIndex(self.gpu.index)
        self._began = time.monotonic()
        self._before = look(self.nvml, self._handle, 0.0).processes
        self._own: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
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
        self.samples.append(look(self.nvml, self._handle, time.monotonic() - self._began))
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
            **{name: _range([getattr(s, name) for s in self.samples]) for name in Sample.NUMBERS},
            "throttled": [name for bit, name in THROTTLE_REASONS.items() if reasons & bit],
            "foreign": foreign(self._before, during, self._own),
        }

    def table(self) -> str:
        """All samples as comma-separated values."""
        lines = [",".join(("seconds", *Sample.NUMBERS, "throttle", "processes"))]
        for sample in self.samples:
            values = [getattr(sample, name) for name in Sample.NUMBERS]
            cells = ["" if value is None else f"{value:g}" for value in values]
            row = (f"{sample.seconds:g}", *cells, str(sample.throttle), str(len(sample.processes)))
            lines.append(",".join(row))
        return "\n".join(lines) + "\n"


def _range(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    return {"min": min(known), "mean": round(mean, 3), "max": max(known)}


def contention(telemetry: Mapping[str, Any] | None) -> str | None:
    """Who else used the GPU of a run, in words; ``None`` for nobody."""
    pids = (telemetry or {}).get("foreign") or []
    if not pids:
        return None
    return f"process {', '.join(map(str, pids))} used {(telemetry or {}).get('gpu')} too"
