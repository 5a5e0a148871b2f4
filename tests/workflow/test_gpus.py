"""Sessions on two GPUs that a stand-in for NVML makes up."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.boxes import REPO, Box, make_box
from helpers.edits import change, constant, declare

NVML = '''
"""What is used of pynvml: two GPUs, and who has them open."""
import pathlib
from types import SimpleNamespace

NVML_CLOCK_SM = NVML_TEMPERATURE_GPU = 0
HERE = pathlib.Path(__file__).parent
TOKEN = HERE.parent.name


class NVMLError(Exception):
    pass


def nvmlInit():
    pass


nvmlShutdown = nvmlInit


def nvmlDeviceGetCount():
    return 2


def nvmlDeviceGetHandleByIndex(index):
    return index


def nvmlDeviceGetUUID(handle):
    return f"GPU-{handle}-{TOKEN}"


def nvmlDeviceGetName(handle):
    names = HERE / "names"
    return names.read_text().split(",")[handle] if names.exists() else "Made-up 9000"


def nvmlDeviceGetMemoryInfo(handle):
    return SimpleNamespace(used=3 << 30)


def nvmlDeviceGetComputeRunningProcesses(handle):
    wanted = f"CUDA_VISIBLE_DEVICES=GPU-{handle}-{TOKEN}".encode()
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "environ").read_bytes().split(b"\\0")
            if wanted in words and b"train.py" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    foreign = HERE / f"foreign-{handle}"
    return [SimpleNamespace(pid=pid) for pid in [*found, *([1] if foreign.exists() else [])]]


def nvmlDeviceGetGraphicsRunningProcesses(handle):
    raise NVMLError
'''
# The run says which GPU it sees, and when it was at work.
WORKS = """
print("device", os.environ.get("CUDA_VISIBLE_DEVICES"), time.time())
time.sleep(1.2)
print("until", time.time())
print("---")
"""


@dataclass(frozen=True)
class Work:
    """One run, by its log."""

    device: str
    began: float
    ended: float
    record: dict


def gpu_box(path: Path, **settings: object) -> tuple[Box, Path]:
    """A session of the fake task on GPUs; with it the stand-in's folder."""
    box = make_box(path, **settings)
    task = box.path / "tasks/fake/task.yaml"
    task.write_text(task.read_text().replace("timeout_seconds: 3", "timeout_seconds: 30"))
    task.write_text(task.read_text() + "device: gpu\n")
    change(box, 'print("---")\n', WORKS)
    fake = box.path / "fake"
    fake.mkdir()
    (fake / "pynvml.py").write_text(NVML)
    declare(box, constant("RATE", 0.12, 0.13))
    # Locks are in the temporary folder; it is ours alone here.
    (box.path / "tmp").mkdir()
    box.environment |= {"PYTHONPATH": str(fake), "TMPDIR": str(box.path / "tmp")}
    return box, fake


def works(box: Box) -> list[Work]:
    found = []
    for key in box.runs():
        folder = box.path / "store/runs" / key[:2] / key
        log = (folder / "run.log").read_text()
        device, began = re.search(r"device (\S*) (\S+)", log).groups()  # type: ignore[union-attr]
        ended = re.search(r"until (\S+)", log)
        assert ended is not None
        record = json.loads((folder / "run.json").read_text())["record"]
        found.append(Work(device, float(began), float(ended[1]), record))
    return sorted(found, key=lambda work: work.began)


def overlaps(found: list[Work]) -> list[tuple[Work, Work]]:
    return [(a, b) for i, a in enumerate(found) for b in found[i + 1 :] if b.began < a.ended]


def test_candidates_of_a_round_run_side_by_side(tmp_path: Path) -> None:
    box, _ = gpu_box(tmp_path / "side", rounds=1, candidates=2, max_replicates=1)
    box.settings |= {"confirm_replicates": 1, "baseline_replicates": 2}
    box.run("--cores", "2", "--profile", str(REPO / "profiles/multi-gpu"))
    found = works(box)
    names = {"GPU-0-side", "GPU-1-side"}
    assert {work.device for work in found} <= names
    # The baseline's replicates, and the round's candidates.
    together = overlaps(found)
    assert len(together) == 2
    for side_by_side in together:
        assert {work.device for work in side_by_side} == names
    for work in found:
        assert work.record["outcome"] == "ok"
        assert work.record["telemetry"]["uuid"] == work.device
        assert work.record["telemetry"]["foreign"] == []
        assert work.record["telemetry"]["memory_mb"]["max"] == 3072
    assert len(box.rulings()) == 2


def test_an_outer_choice_of_gpus_is_respected(tmp_path: Path) -> None:
    """Two are allowed at once, one is visible: they wait for each other."""
    box, _ = gpu_box(tmp_path / "outer", rounds=1, candidates=2, max_replicates=1)
    box.settings |= {"confirm_replicates": 1, "baseline_replicates": 2}
    box.environment["CUDA_VISIBLE_DEVICES"] = "1"
    box.run("--cores", "2", "--resources", "gpu=2")
    found = works(box)
    assert {work.device for work in found} == {"GPU-1-outer"}
    assert overlaps(found) == []


def test_a_run_that_lands_on_another_model_is_made_where_its_own_is(tmp_path: Path) -> None:
    """As a cluster's job may: it runs nothing there, says so, and is sent again."""
    box, fake = gpu_box(tmp_path / "landed", rounds=1, max_replicates=1, candidates=1)
    box.settings |= {"confirm_replicates": 1, "baseline_replicates": 2}
    (fake / "names").write_text("Large 2,Small 1")
    box.run("baseline", "--cores", "2", "--resources", "gpu=2")
    kept = box.runs()
    assert box.json("manifest.json")["hardware"]["gpus"] == ["Large 2"]
    assert [work.device for work in works(box)] == ["GPU-0-landed"] * 2, "of two models, one"
    (fake / "names").write_text("Small 1,Small 1")
    said = box.run(check=False)
    assert box.status != 0
    assert "Large 2, this machine has" in said
    assert "measurements of the two cannot be compared" in said
    assert box.runs() == kept
    assert "OtherHardwareError" in {event["error"] for event in box.events("failed")}
    (fake / "names").write_text("Small 1,Large 2")
    box.run()
    found = [work for work in works(box) if work.device == "GPU-1-landed"]
    assert len(found) == len(box.runs()) - len(kept)
    assert box.rulings()[0]["runs"]
    page = (box.session / "report.html").read_text()
    assert "1 run landed on other hardware than the session's and was not started there." in page


def test_a_run_that_shared_its_gpu_is_made_again(tmp_path: Path) -> None:
    box, fake = gpu_box(tmp_path / "shared", rounds=1, max_replicates=1, candidates=1)
    box.settings |= {"confirm_replicates": 1, "baseline_replicates": 2}
    box.environment["CUDA_VISIBLE_DEVICES"] = "0"
    foreign = fake / "foreign-0"
    foreign.touch()

    def leave() -> None:
        while not (contended := [w for w in outcomes(box) if w == "contended"]):
            time.sleep(0.05)
        assert contended
        foreign.unlink()

    leaving = threading.Thread(target=leave, daemon=True)
    leaving.start()
    box.run()
    leaving.join(5)
    said = outcomes(box)
    assert "contended" in said
    assert said[-1] == "ok"
    (event,) = [e for e in box.events("run_finished") if e["outcome"] == "contended"][:1]
    assert "process 1 used Made-up 9000 too" in event["reason"]
    assert event["value"] is None
    runs = [*box.json("baseline.json")["runs"], *(r for x in box.rulings() for r in x["runs"])]
    assert len(runs) == 3
    assert {run["outcome"] for run in runs} == {"ok"}
    assert event["key"] not in {run["key"] for run in runs}


def outcomes(box: Box) -> list[str]:
    """How the runs ended so far, in order."""
    return [event["outcome"] for event in box.events("run_finished")]


@pytest.mark.parametrize("visible", ["", "5"])
def test_without_a_visible_gpu_runs_go_on_without(tmp_path: Path, visible: str) -> None:
    box, _ = gpu_box(tmp_path / "none", rounds=1, max_replicates=1, candidates=1)
    box.settings |= {"confirm_replicates": 1, "baseline_replicates": 2}
    box.environment["CUDA_VISIBLE_DEVICES"] = visible
    box.run()
    assert {w.record["telemetry"] is None for w in works(box)} == {True}
