"""The hardware class: stable, and about what matters for the task."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest

from ratchet.runs.hardware import _gpu_models, current_hardware, describe_hardware, gpu_model_of


def test_a_cpu_task_does_not_care_about_gpus() -> None:
    found = current_hardware("cpu")
    assert set(found) == {"machine", "cpu"}
    assert found == current_hardware("cpu")
    assert found["cpu"]


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Models are asked for once in a process."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    _gpu_models.cache_clear()
    yield
    _gpu_models.cache_clear()


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
    found = current_hardware("gpu")
    assert found["gpus"] == expected
    assert gpu_model_of(found) == (expected[0] if expected else None)


def test_of_several_models_one_counts(forget, monkeypatch) -> None:
    """A session's own where it is there, else the first that runs may have."""
    monkeypatch.setitem(sys.modules, "pynvml", fake_pynvml(["H200", "A100"]))
    assert current_hardware("gpu", "A100")["gpus"] == ["A100"]
    assert current_hardware("gpu", "T4")["gpus"] == ["H200"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    _gpu_models.cache_clear()
    assert current_hardware("gpu", "H200")["gpus"] == ["A100"]
    assert gpu_model_of(current_hardware("cpu")) is None


def test_in_words() -> None:
    assert describe_hardware({"cpu": "EPYC", "gpus": ["H200"]}) == "EPYC, H200"
    assert describe_hardware({"cpu": "EPYC"}) == "EPYC"
