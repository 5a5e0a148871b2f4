"""GPUs, memory and hardware classes, against a stand-in for NVML."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.run_plans import launch
from ratchet.records.records import Outcome
from ratchet.records.store import LOG, TELEMETRY
from ratchet.runs import hardware
from ratchet.runs.hardware import (
    Gpu,
    GpuSampler,
    _lock,
    allowed_gpus,
    current_hardware,
    describe_hardware,
    driver_versions,
    foreign_processes,
    gpu_contention,
    gpu_model_of,
    gpu_models,
    lease_gpu,
    list_gpus,
    memory_gb,
    ram_bytes,
    visible_gpus,
)


class Nvml:
    """What is used of pynvml, with GPUs of these models.

    ``users`` tells who has a GPU open at the moment; ``deaf`` names calls, and GPUs whose
    memory, that are not answered.
    """

    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __init__(self, *models: str, users: Callable[[], list[int]] = list) -> None:
        self.models, self.users = models, users
        self.throttle = 0
        self.deaf: set[str | int] = set()

    def _answer(self, name: str | int, value: Any) -> Any:
        if name in self.deaf:
            raise self.NVMLError(name)
        return value

    def nvmlInit(self) -> None:
        self._answer("init", None)

    def nvmlShutdown(self) -> None:
        pass

    def nvmlSystemGetDriverVersion(self) -> str:
        return "550.1"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 12040

    def nvmlDeviceGetCount(self) -> int:
        return len(self.models)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}aaa"

    def nvmlDeviceGetName(self, handle: int) -> str:
        return self.models[handle]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return self._answer(handle, SimpleNamespace(total=24 * 10**9, used=3 << 20))

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return self._answer("utilisation", SimpleNamespace(gpu=50))

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return 250_000

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:
        return 1980

    def nvmlDeviceGetTemperature(self, handle: int, kind: int) -> int:
        return 60

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:
        return self.throttle

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        return [SimpleNamespace(pid=pid) for pid in self.users()]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> list[Any]:
        raise self.NVMLError("not supported")


H200, A100 = "NVIDIA H200", "NVIDIA A100"
TWO = [Gpu(0, "GPU-0aaa", H200), Gpu(1, "GPU-1aaa", H200)]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[[Nvml], None]:
    """Puts a stand-in in the place of pynvml; models are asked for once in a process."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(hardware, "gpu_models", gpu_models.__wrapped__)
    return lambda nvml: monkeypatch.setitem(sys.modules, "pynvml", nvml)


def no_driver() -> Nvml:
    nvml = Nvml(H200)
    nvml.deaf = {"init"}
    return nvml


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        (None, [0, 1]),
        ("", []),
        ("1", [1]),
        ("1,0", [1, 0]),
        ("GPU-1", [1]),
        ("GPU-0aaa, 1", [0, 1]),
        ("0,7,1", [0]),
        ("-1,0", []),
        ("GPU-", []),
    ],
)
def test_an_outer_choice_is_respected(visible: str | None, indices: list[int]) -> None:
    assert list_gpus(Nvml(H200, H200)) == TWO
    assert list_gpus(None) == []
    assert [found.index for found in allowed_gpus(TWO, visible)] == indices


def test_leases_have_gpus_of_their_own_and_wait_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for none, visible in ((None, None), (Nvml(), None), (Nvml(H200, H200), "")):
        with lease_gpu(none, visible, tmp_path) as lease:
            assert lease is None
    nvml = Nvml(H200, H200)
    waited: list[float] = []
    with lease_gpu(nvml, None, tmp_path) as first, lease_gpu(nvml, None, tmp_path) as second:
        assert first is not None
        assert second is not None
        assert {first.gpu.index, second.gpu.index} == {0, 1}
        assert first.environment == {"CUDA_VISIBLE_DEVICES": first.gpu.uuid}

        def free(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 3:
                os.close(second.descriptor)
                os.open(os.devnull, os.O_RDONLY)  # Its number is closed again below.

        monkeypatch.setattr(hardware.time, "sleep", free)
        with lease_gpu(nvml, None, tmp_path) as third:
            assert third is not None
            assert third.gpu == second.gpu
    assert len(waited) == 3


def test_a_lease_lasts_as_long_as_a_child_that_has_it(tmp_path: Path) -> None:
    with lease_gpu(Nvml(H200), None, tmp_path) as lease:
        assert lease is not None
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lease.descriptor]
        )
    path = tmp_path / "ratchet-GPU-0aaa.lock"
    assert _lock(path) is None
    child.communicate(b"\n")
    found = _lock(path)
    assert found is not None
    os.close(found)


@pytest.mark.parametrize(
    ("before", "during", "own", "expected"),
    [
        ([], [10], [10, 11], []),
        ([], [10, 99], [10, 11], [99]),
        ([7], [7, 10], [10], [7]),
        ([7], [10], [10], []),
        ([], [4242], [10], []),  # Ids of another name space: nothing is proven.
        ([7], [7, 4242], [10], [7]),
        ([], [], [10], []),
    ],
)
def test_who_shared_a_gpu(
    before: list[int], during: list[int], own: list[int], expected: list[int]
) -> None:
    assert foreign_processes(before, during, own) == expected


def test_a_summary_of_what_was_seen() -> None:
    users: list[int] = []
    nvml = Nvml(H200, users=lambda: list(users))
    sampler = GpuSampler(nvml, TWO[0], lambda: [10])
    found = sampler.summary()
    assert (found["samples"], found["memory_mb"], found["foreign"]) == (0, None, [])
    users.append(10)
    sampler.sample()
    nvml.throttle, nvml.deaf = 0x4 | 0x1, {"utilisation"}
    users.append(99)
    sampler.sample()
    found = sampler.summary()
    assert found["memory_mb"] == {"min": 3.0, "mean": 3.0, "max": 3.0}
    assert found["utilisation"] == {"min": 50, "mean": 50.0, "max": 50}
    assert found["power_watts"]["max"] == 250.0
    assert found["throttled"] == ["power cap"]
    assert (found["samples"], found["foreign"]) == (2, [99])
    assert gpu_contention(found) == "process 99 used NVIDIA H200 too"
    assert gpu_contention({**found, "foreign": []}) is None
    assert gpu_contention(None) is None
    lines = sampler.table().splitlines()
    assert lines[0].startswith("seconds,memory_mb,utilisation")
    assert len(lines) == 3
    assert ",,250," in lines[2]


def test_memory_of_gpus_and_machine(put: Any, tmp_path: Path) -> None:
    nvml = Nvml("Big", "Big", users=lambda: [12])
    nvml.deaf = {1}
    first, second = visible_gpus(nvml, None)
    assert (first.name, first.total_bytes, first.used_bytes) == ("Big", 24 * 10**9, 3 << 20)
    assert first.processes == second.processes == (12,)
    assert (second.uuid, second.total_bytes) == ("GPU-1aaa", None)
    assert visible_gpus(nvml, "1") == [second]
    assert visible_gpus(None, None) == []
    assert driver_versions(nvml) == ("550.1", "12.4")
    assert driver_versions(None) == (None, None)
    put(nvml)
    assert memory_gb("gpu") == 24.0
    put(no_driver())
    assert memory_gb("gpu") is None
    limit, none, missing = (tmp_path / name for name in ("limit", "none", "missing"))
    limit.write_text("2000000000\n")
    none.write_text("max\n")
    assert ram_bytes((limit,)) == 2 * 10**9
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert ram_bytes((none, missing)) == ram_bytes(()) == machine
    assert memory_gb("cpu") == (ram_bytes() or 0) / 1e9


def test_the_class_of_the_hardware(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs count for their tasks alone; of several models one, the session's own if it is there."""
    cpu = current_hardware("cpu")
    assert set(cpu) == {"machine", "cpu"}
    assert cpu["cpu"]
    assert gpu_model_of(cpu) is None
    for nvml in (no_driver(), Nvml()):
        put(nvml)
        assert current_hardware("gpu") == {**cpu, "gpus": []}
    put(Nvml(H200, A100, H200))
    assert current_hardware("gpu") == {**cpu, "gpus": [H200]}
    assert gpu_model_of(current_hardware("gpu", A100)) == A100
    assert current_hardware("gpu", "T4")["gpus"] == [H200]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert current_hardware("gpu", H200)["gpus"] == [A100]
    assert describe_hardware({"cpu": "EPYC", "gpus": ["H200"]}) == "EPYC, H200"
    assert describe_hardware({"cpu": "EPYC"}) == "EPYC"


SOURCE = """
import os, time
print("device", os.environ.get("CUDA_VISIBLE_DEVICES"))
time.sleep(1.0)
print("val: 1")
"""


@pytest.mark.parametrize(
    ("nvml", "outcome", "device"),
    [
        (Nvml(H200, H200), Outcome.OK, "GPU-0aaa"),
        (Nvml(H200, users=lambda: [1]), Outcome.CONTENDED, "GPU-0aaa"),
        (no_driver(), Outcome.OK, None),
    ],
    ids=["alone", "shared", "without a driver"],
)
def test_a_run_has_its_gpu_and_its_telemetry(
    put: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    nvml: Nvml,
    outcome: Outcome,
    device: str | None,
) -> None:
    put(nvml)
    monkeypatch.setattr(hardware.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = tmp_path / "run"
    record = launch(tmp_path, folder, SOURCE, device="gpu")
    assert record.outcome is outcome, record
    assert f"device {device}\n" in (folder / LOG).read_text()
    assert (folder / TELEMETRY).exists() == (device is not None)
    if device is None:
        assert record.telemetry is None
        return
    assert record.telemetry is not None
    assert record.telemetry["uuid"] == device
    assert record.telemetry["samples"] >= 1
    assert (folder / TELEMETRY).read_text().startswith("seconds,")
    shared = "process 1 used NVIDIA H200 too" in record.reason
    assert shared == (outcome is Outcome.CONTENDED)
