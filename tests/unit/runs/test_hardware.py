"""GPUs, memory and hardware classes, against a stand-in for NVML."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import Patch
from helpers.gpus import stand_in
from helpers.run_plans import launch
from ratchet.records.records import Outcome
from ratchet.records.series import SAMPLES, Sample, parse_series
from ratchet.runs import hardware
from ratchet.runs.hardware import Gpu, GpuSample, GpuSampler

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
    nvml = stand_in(H200, users=lambda _: list(users))
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


def test_memory_of_gpus_and_machine(put: Any, tmp_path: Path) -> None:
    nvml = stand_in("Big", "Big", users=lambda _: [12])
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
    assert hardware.current_hardware("gpu", devices=[1, 0])["gpus"] == [A100]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert hardware.current_hardware("gpu", H200)["gpus"] == [A100]
    assert hardware.describe_hardware({"cpu": "EPYC", "gpus": ["H200"]}) == "EPYC, H200"
    assert hardware.describe_hardware({"cpu": "EPYC"}) == "EPYC"


SOURCE = """
import os, time
print("device", os.environ.get("CUDA_VISIBLE_DEVICES"))
time.sleep(1.5)
print("val: 1")
"""


@pytest.mark.parametrize("users", [[], [1]], ids=["alone", "shared"])
def test_a_run_has_its_gpu_and_its_telemetry(put, tmp_path, monkeypatch, users) -> None:
    put(stand_in(H200, H200, users=lambda _: users))
    record, log = launch(tmp_path, SOURCE, device="gpu")
    assert record.outcome is (Outcome.CONTENDED if users else Outcome.OK), record
    assert ("process 1 used NVIDIA H200 too" in record.reason) == bool(users)
    assert "device GPU-0aaa\n" in log
    assert record.telemetry["uuid"] == "GPU-0aaa"
    assert record.telemetry["samples"] >= 1
    table = (tmp_path / "run" / SAMPLES).read_text()
    samples = parse_series(Sample, table, SAMPLES)
    assert samples and samples[0].seconds >= 1.0
    assert (samples[0].power_watts, samples[0].gpu_percent) == (250.0, 50.0)
    assert samples[0].memory_mb > 1 and samples[0].cpu_percent >= 0


def test_without_a_driver_a_run_has_no_gpu(put: Any, tmp_path: Path) -> None:
    put(no_driver())
    record, log = launch(tmp_path, SOURCE, device="gpu")
    assert (record.outcome, record.telemetry) == (Outcome.OK, None)
    assert "device None\n" in log
    (sample,) = parse_series(Sample, (tmp_path / "run" / SAMPLES).read_text(), SAMPLES)
    assert sample.memory_mb > 1 and sample.gpu_percent is None


def test_a_run_of_less_than_a_second_has_no_samples_even_if_an_earlier_try_had(tmp_path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / SAMPLES).write_text("seconds\n")
    record, _ = launch(tmp_path, "print('val: 1')")
    assert record.outcome is Outcome.OK
    assert not (tmp_path / "run" / SAMPLES).exists()


def look(seconds: float, load: float | None, throttle: int = 0) -> GpuSample:
    return GpuSample(
        seconds, 100.0 * seconds, load, 200.0, None, 50 + seconds, throttle, frozenset()
    )


def test_samples_join_what_the_run_used_and_what_its_gpu_did_in_the_same_time() -> None:
    usage = [(1.0, 0.5, 20.0), (3.0, 4.5, None), (4.0, 4.4, 30.0)]
    gpu = [look(0.5, 10), look(1.0, 30), look(1.5, None, 0x4), look(2.5, 80, 0x40), look(9, 1)]
    first, second, third = hardware.machine_samples(usage, gpu)
    assert first == Sample(1.0, 50.0, 20.0, 20.0, 100.0, 200.0, 51.0, None, 0)
    assert second == Sample(3.0, 200.0, None, 80.0, 250.0, 200.0, 52.5, None, 0x44)
    # A process that ended unseen gives no time back.
    assert third == Sample(4.0, 0.0, 30.0)
    assert hardware.machine_samples([], gpu) == []
    assert hardware.throttle_names(0x44) == ["power cap", "hardware thermal slowdown"]


def test_the_machine_is_named_with_what_a_run_may_use(put: Any, tmp_path: Path) -> None:
    put(stand_in(H200, H200))
    found = hardware.machine_description("gpu")
    assert found["gpus"] == [{"name": H200, "memory_bytes": 24 * 10**9}] * 2
    assert (found["driver"], found["cuda"]) == ("550.1", "12.4")
    assert 0 < found["usable_threads"] <= found["threads"]
    assert "gpus" not in hardware.machine_description("cpu")
    words = hardware.describe_machine({**found, "cores": 8, "threads": 16, "usable_threads": 2.5})
    assert "8 cores, 16 threads (2.5 usable)" in words
    assert "2 × NVIDIA H200, 22 GiB, driver 550.1, CUDA up to 12.4" in words
    assert hardware.describe_machine({}) == ""
    quota, none = tmp_path / "quota", tmp_path / "none"
    quota.write_text("50000 100000\n")
    none.write_text("max 100000\n")
    assert hardware.usable_threads((quota, none)) == 0.5
    assert hardware.usable_threads((none, tmp_path / "missing")) >= 0.5
    info = tmp_path / "cpuinfo"
    info.write_text("".join(f"physical id : 0\ncore id : {n // 2}\n\n" for n in range(8)))
    assert hardware._physical_cores(info) == 4
    assert hardware._physical_cores(none) is None
