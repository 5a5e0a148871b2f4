"""GPUs without a GPU: leases, telemetry and contention against a stand-in for NVML."""

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
    foreign_processes,
    gpu_contention,
    lease_gpu,
    list_gpus,
)


class Nvml:
    """What is used of pynvml; ``users`` tells who has a GPU open at the moment."""

    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __init__(self, count: int, users: Callable[[], list[int]] = list) -> None:
        self.count, self.users = count, users
        self.throttle = 0
        self.deaf: set[str] = set()

    def _check(self, name: str) -> None:
        if name in self.deaf:
            raise self.NVMLError(name)

    def nvmlInit(self) -> None:
        self._check("init")

    def nvmlDeviceGetCount(self) -> int:
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> bytes:
        return f"GPU-{handle}aaa".encode()

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "NVIDIA H200"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=3 << 20)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        self._check("utilisation")
        return SimpleNamespace(gpu=50)

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


TWO = [Gpu(0, "GPU-0aaa", "NVIDIA H200"), Gpu(1, "GPU-1aaa", "NVIDIA H200")]


def test_the_gpus_of_a_machine() -> None:
    assert list_gpus(Nvml(2)) == TWO
    assert list_gpus(None) == []


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
    assert [found.index for found in allowed_gpus(TWO, visible)] == indices


def test_without_a_gpu_there_is_no_lease(tmp_path: Path) -> None:
    for nvml, visible in ((None, None), (Nvml(0), None), (Nvml(2), "")):
        with lease_gpu(nvml, visible, tmp_path) as lease:
            assert lease is None


def test_two_leases_have_two_gpus_and_a_third_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = Nvml(2)
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
    with lease_gpu(Nvml(1), None, tmp_path) as lease:
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
    users = [10]
    nvml = Nvml(1, lambda: list(users))
    users.clear()
    sampler = GpuSampler(nvml, TWO[0], lambda: [10])
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


def test_nothing_seen_is_no_number() -> None:
    found = GpuSampler(Nvml(1), TWO[0], list).summary()
    assert (found["samples"], found["memory_mb"], found["foreign"]) == (0, None, [])


SOURCE = """
import os, time
print("device", os.environ.get("CUDA_VISIBLE_DEVICES"))
time.sleep(1.0)
print("val: 1")
"""


def run_on_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nvml: Nvml | None) -> Any:
    monkeypatch.setattr(hardware, "nvml_library", lambda: nvml)
    monkeypatch.setattr(hardware.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(hardware, "SAMPLE_SECONDS", 0.1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    folder = tmp_path / "run"
    record = launch(tmp_path, folder, SOURCE, device="gpu")
    return record, (folder / LOG).read_text(), folder


def test_a_run_has_its_gpu_and_its_telemetry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, log, folder = run_on_gpu(tmp_path, monkeypatch, Nvml(2))
    assert record.outcome is Outcome.OK, record
    assert "device GPU-0aaa" in log
    assert record.telemetry["uuid"] == "GPU-0aaa"
    assert record.telemetry["samples"] >= 1
    assert (folder / TELEMETRY).read_text().startswith("seconds,")


def test_a_run_that_shared_its_gpu_is_contended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, _, _ = run_on_gpu(tmp_path, monkeypatch, Nvml(1, lambda: [1]))
    assert record.outcome is Outcome.CONTENDED
    assert "process 1 used NVIDIA H200 too" in record.reason


def test_a_gpu_task_runs_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, log, folder = run_on_gpu(tmp_path, monkeypatch, None)
    assert record.outcome is Outcome.OK
    assert record.telemetry is None
    assert "device None" in log
    assert not (folder / TELEMETRY).exists()
