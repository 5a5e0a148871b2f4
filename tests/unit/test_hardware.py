"""The hardware class: stable, and about what matters for the task."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest

from ratchet import hardware


def test_a_cpu_task_does_not_care_about_gpus() -> None:
    found = hardware.current("cpu")
    assert set(found) == {"machine", "cpu"}
    assert found == hardware.current("cpu")
    assert found["cpu"]


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Models are asked for once in a process."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    hardware._gpu_models.cache_clear()
    yield
    hardware._gpu_models.cache_clear()


class NVMLError(Exception):
    pass


def fake_pynvml(names: list[str | bytes] | None) -> ModuleType:
    module = ModuleType("pynvml")

    def init() -> None:
        if names is None:
            raise NVMLError("no driver")

    module.__dict__.update(
        NVMLError=NVMLError,
        nvmlInit=init,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: len(names or []),
        nvmlDeviceGetHandleByIndex=lambda i: SimpleNamespace(index=i),
        nvmlDeviceGetName=lambda handle: (names or [])[handle.index],
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle.index}",
    )
    return module


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (None, []),
        ([], []),
        (["NVIDIA H200", b"NVIDIA A100", "NVIDIA H200"], ["NVIDIA H200"]),
    ],
)
def test_a_gpu_task_names_its_model(forget, monkeypatch, names, expected) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_pynvml(names))
    found = hardware.current("gpu")
    assert found["gpus"] == expected
    assert hardware.gpu_model(found) == (expected[0] if expected else None)


def test_of_several_models_one_counts(forget, monkeypatch) -> None:
    """A session's own where it is there, else the first that runs may have."""
    monkeypatch.setitem(sys.modules, "pynvml", fake_pynvml(["H200", "A100"]))
    assert hardware.current("gpu", "A100")["gpus"] == ["A100"]
    assert hardware.current("gpu", "T4")["gpus"] == ["H200"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    hardware._gpu_models.cache_clear()
    assert hardware.current("gpu", "H200")["gpus"] == ["A100"]
    assert hardware.gpu_model(hardware.current("cpu")) is None


def test_in_words() -> None:
    assert hardware.describe({"cpu": "EPYC", "gpus": ["H200"]}) == "EPYC, H200"
    assert hardware.describe({"cpu": "EPYC"}) == "EPYC"
