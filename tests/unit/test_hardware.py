"""The hardware class: stable, and about what matters for the task."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from ratchet import hardware


def test_a_cpu_task_does_not_care_about_gpus() -> None:
    found = hardware.current("cpu")
    assert set(found) == {"machine", "cpu"}
    assert found == hardware.current("cpu")
    assert found["cpu"]


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
    )
    return module


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (None, []),
        ([], []),
        (["NVIDIA H200", b"NVIDIA A100", "NVIDIA H200"], ["NVIDIA A100", "NVIDIA H200"]),
    ],
)
def test_a_gpu_task_names_its_models(monkeypatch, names, expected) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_pynvml(names))
    hardware._gpu_models.cache_clear()
    assert hardware.current("gpu")["gpus"] == expected
    hardware._gpu_models.cache_clear()


def test_in_words() -> None:
    assert hardware.describe({"cpu": "EPYC", "gpus": ["H200"]}) == "EPYC, H200"
    assert hardware.describe({"cpu": "EPYC"}) == "EPYC"
