"""GPUs, memory and hardware classes, against a stand-in for NVML."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from helpers.commands import Patch
from helpers.run_plans import launch
from ratchet.records.records import Outcome
from ratchet.records.store import TELEMETRY
from ratchet.runs import hardware
from ratchet.runs.hardware import Gpu, GpuSampler


class Process(NamedTuple):
    """A process that has a GPU open."""

    pid: int


def stand_in(*models: str, users: Callable[[], list[int]] = list) -> Any:
    """What is used of pynvml, with GPUs of these models.

    ``users`` tells who has a GPU open at the moment; ``deaf`` names calls, and GPUs whose
    memory, that are not answered.
    """

    class NVMLError(Exception):
        pass

    def answer(name: str | int, value: object = None) -> object:
        if name in nvml.deaf:
            raise NVMLError(name)
        return value

    memory, load = SimpleNamespace(total=24 * 10**9, used=3 << 20), SimpleNamespace(gpu=50)
    nvml = SimpleNamespace(
        deaf={"graphics"},
        throttle=0,
        NVML_CLOCK_SM=1,
        NVML_TEMPERATURE_GPU=0,
        NVMLError=NVMLError,
        nvmlInit=lambda: answer("init"),
        nvmlShutdown=lambda: None,
        nvmlSystemGetDriverVersion=lambda: "550.1",
        nvmlSystemGetCudaDriverVersion=lambda: 12040,
        nvmlDeviceGetCount=lambda: len(models),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}aaa",
        nvmlDeviceGetName=lambda handle: models[handle],
        nvmlDeviceGetMemoryInfo=lambda handle: answer(handle, memory),
        nvmlDeviceGetUtilizationRates=lambda handle: answer("utilisation", load),
        nvmlDeviceGetPowerUsage=lambda handle: 250_000,
        nvmlDeviceGetClockInfo=lambda handle, kind: 1980,
        nvmlDeviceGetTemperature=lambda handle, kind: 60,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: nvml.throttle,
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [*map(Process, users())],
        nvmlDeviceGetGraphicsRunningProcesses=lambda handle: answer("graphics"),
    )
    return nvml


H200, A100 = "NVIDIA H200", "NVIDIA A100"
TWO = [Gpu(0, "GPU-0aaa", H200), Gpu(1, "GPU-1aaa", H200)]


@pytest.fixture
def put(monkeypatch: Patch) -> Callable[[Any], None]:
    """Puts a stand-in in the place of pynvml; models are asked for once in a process."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(hardware, "gpu_models", hardware.gpu_models.__wrapped__)
    return lambda nvml: monkeypatch.setitem(sys.modules, "pynvml", nvml)


def no_driver() -> Any:
    nvml = stand_in(H200)
    nvml.deaf |= {"init"}
    return nvml


def test_an_outer_choice_is_respected() -> None:
    assert hardware.list_gpus(stand_in(H200, H200)) == TWO
    assert hardware.list_gpus(None) == []
    some = {
        None: [0, 1],
        "1": [1],
        "1,0": [1, 0],
        "GPU-1": [1],
        "GPU-0aaa, 1": [0, 1],
        "0,7,1": [0],
    }
    for visible, indices in {**some, "": [], "-1,0": [], "GPU-": []}.items():
        found = [gpu.index for gpu in hardware.allowed_gpus(TWO, visible)]
        assert found == indices, visible


def test_leases_have_their_own_gpus_and_wait_for_one(tmp_path: Path, monkeypatch: Patch) -> None:
    for none, visible in ((None, None), (stand_in(), None), (stand_in(H200, H200), "")):
        with hardware.lease_gpu(none, visible, tmp_path) as lease:
            assert lease is None
    nvml = stand_in(H200, H200)
    waited: list[float] = []
    with (
        hardware.lease_gpu(nvml, None, tmp_path) as first,
        hardware.lease_gpu(nvml, None, tmp_path) as second,
    ):
        assert {first.gpu.index, second.gpu.index} == {0, 1}

        def free(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 3:
                os.close(second.descriptor)
                os.open(os.devnull, os.O_RDONLY)  # Its number is closed again below.

        monkeypatch.setattr(hardware.time, "sleep", free)
        with hardware.lease_gpu(nvml, None, tmp_path) as third:
            assert third.gpu == second.gpu
    assert len(waited) == 3


def test_a_lease_lasts_as_long_as_a_child_that_has_it(tmp_path: Path) -> None:
    with hardware.lease_gpu(stand_in(H200), None, tmp_path) as lease:
        wait = [sys.executable, "-c", "input()"]
        child = subprocess.Popen(wait, stdin=subprocess.PIPE, pass_fds=[lease.descriptor])
    path = tmp_path / "ratchet-GPU-0aaa.lock"
    assert hardware._lock(path) is None
    child.communicate(b"\n")
    found = hardware._lock(path)
    os.close(found)


@pytest.mark.parametrize(
    ("before", "during", "expected"),
    [
        ([], [10], []),
        ([], [10, 99], [99]),
        ([7], [7, 10], [7]),
        ([7], [10], []),
        ([], [4242], []),  # Ids of another name space: nothing is proven.
        ([7], [7, 4242], [7]),
        ([], [], []),
    ],
)
def test_who_shared_a_gpu(before: list[int], during: list[int], expected: list[int]) -> None:
    assert hardware.foreign_processes(before, during, [10, 11]) == expected


def test_a_summary_of_what_was_seen() -> None:
    users: list[int] = []
    nvml = stand_in(H200, users=lambda: list(users))
    sampler = GpuSampler(nvml, TWO[0], lambda: [10])
    found = sampler.summary()
    assert (found["samples"], found["memory_mb"], found["foreign"]) == (0, None, [])
    users.append(10)
    sampler.sample()
    nvml.throttle = 0x4 | 0x1
    nvml.deaf |= {"utilisation"}
    users.append(99)
    sampler.sample()
    found = sampler.summary()
    assert found["memory_mb"] == {"min": 3.0, "mean": 3.0, "max": 3.0}
    assert found["utilisation"] == {"min": 50, "mean": 50.0, "max": 50}
    assert found["power_watts"]["max"] == 250.0
    assert found["throttled"] == ["power cap"]
    assert (found["samples"], found["foreign"]) == (2, [99])
    assert hardware.gpu_contention(found) == "process 99 used NVIDIA H200 too"
    assert hardware.gpu_contention({**found, "foreign": []}) is None
    assert hardware.gpu_contention(None) is None
    lines = sampler.table().splitlines()
    assert lines[0].startswith("seconds,memory_mb,utilisation")
    assert len(lines) == 3
    assert ",,250," in lines[2]


def test_memory_of_gpus_and_machine(put: Any, tmp_path: Path) -> None:
    nvml = stand_in("Big", "Big", users=lambda: [12])
    nvml.deaf |= {1}
    first, second = hardware.visible_gpus(nvml, None)
    assert (first.name, first.total_bytes, first.used_bytes) == ("Big", 24 * 10**9, 3 << 20)
    assert first.processes == second.processes == (12,)
    assert (second.uuid, second.total_bytes) == ("GPU-1aaa", None)
    assert hardware.visible_gpus(nvml, "1") == [second]
    assert hardware.visible_gpus(None, None) == []
    assert hardware.driver_versions(nvml) == ("550.1", "12.4")
    assert hardware.driver_versions(None) == (None, None)
    put(nvml)
    assert hardware.memory_gb("gpu") == 24.0
    put(no_driver())
    assert hardware.memory_gb("gpu") is None
    limit, none, missing = (tmp_path / name for name in ("limit", "none", "missing"))
    limit.write_text("2000000000\n")
    none.write_text("max\n")
    assert hardware.ram_bytes((limit,)) == 2 * 10**9
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert hardware.ram_bytes((none, missing)) == hardware.ram_bytes(()) == machine
    assert hardware.memory_gb("cpu") == (hardware.ram_bytes() or 0) / 1e9


def test_the_class_of_the_hardware(put: Any, monkeypatch: Patch) -> None:
    """GPUs count for their tasks alone; of several models one, the session's own if it is there."""
    cpu = hardware.current_hardware("cpu")
    assert set(cpu) == {"machine", "cpu"}
    assert cpu["cpu"]
    assert hardware.gpu_model_of(cpu) is None
    for nvml in (no_driver(), stand_in()):
        put(nvml)
        assert hardware.current_hardware("gpu") == {**cpu, "gpus": []}
    put(stand_in(H200, A100, H200))
    assert hardware.current_hardware("gpu") == {**cpu, "gpus": [H200]}
    assert hardware.gpu_model_of(hardware.current_hardware("gpu", A100)) == A100
    assert hardware.current_hardware("gpu", "T4")["gpus"] == [H200]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert hardware.current_hardware("gpu", H200)["gpus"] == [A100]
    assert hardware.describe_hardware({"cpu": "EPYC", "gpus": ["H200"]}) == "EPYC, H200"
    assert hardware.describe_hardware({"cpu": "EPYC"}) == "EPYC"


SOURCE = """
import os, time
print("device", os.environ.get("CUDA_VISIBLE_DEVICES"))
time.sleep(1.0)
print("val: 1")
"""


@pytest.mark.parametrize("users", [[], [1]], ids=["alone", "shared"])
def test_a_run_has_its_gpu_and_its_telemetry(put, tmp_path, monkeypatch, users) -> None:
    put(stand_in(H200, H200, users=lambda: users))
    monkeypatch.setattr(hardware.tempfile, "gettempdir", lambda: str(tmp_path))
    record, log = launch(tmp_path, SOURCE, device="gpu")
    assert record.outcome is (Outcome.CONTENDED if users else Outcome.OK), record
    assert ("process 1 used NVIDIA H200 too" in record.reason) == bool(users)
    assert "device GPU-0aaa\n" in log
    assert record.telemetry["uuid"] == "GPU-0aaa"
    assert record.telemetry["samples"] >= 1
    assert (tmp_path / "run" / TELEMETRY).read_text().startswith("seconds,")


def test_without_a_driver_a_run_has_no_gpu(put: Any, tmp_path: Path) -> None:
    put(no_driver())
    record, log = launch(tmp_path, SOURCE, device="gpu")
    assert (record.outcome, record.telemetry) == (Outcome.OK, None)
    assert "device None\n" in log
    assert not (tmp_path / "run" / TELEMETRY).exists()
