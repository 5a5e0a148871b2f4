"""Sessions on two GPUs that a stand-in for NVML makes up."""

import contextlib
import json
import re
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from helpers.boxes import Box, make_box
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
    return SimpleNamespace(used=3 << 30, total=24 << 30)


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
    return [SimpleNamespace(pid=pid) for pid in found]


def nvmlDeviceGetGraphicsRunningProcesses(handle):
    raise NVMLError
'''
# Each run waits for one more, however busy the machine is: the first for the second, and so on.
MEETS = """
open(f"{MEETING}/{os.getpid()}", "x").close()
mine = len(os.listdir(MEETING))
while len(os.listdir(MEETING)) < mine + mine % 2:
    time.sleep(0.01)
"""
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


def gpu_box(path: Path, meet: bool = False, **settings: object) -> tuple[Box, Path]:
    """A session of the fake task on GPUs; with it the stand-in's folder.

    Where its runs ``meet``, each is at work together with one other, and none improves.
    """
    box = make_box(path, **settings)
    task = box.path / "tasks/fake/task.yaml"
    task.write_text(task.read_text() + "device: gpu\n")
    works = WORKS
    if meet:
        (box.path / "meeting").mkdir()
        works = f"MEETING = {str(box.path / 'meeting')!r}\n" + MEETS + WORKS
        box.settings["isolation"] = "none"
    change(box, 'print("---")\n', works)
    fake = box.path / "fake"
    fake.mkdir()
    (fake / "pynvml.py").write_text(NVML)
    declare(box, constant("RATE", *((0.08, 0.07) if meet else (0.12, 0.13))))
    # Leases are in the temporary folder; it is ours alone here.
    (box.path / "tmp").mkdir()
    # Where the session is played in this process, the module is put in place.
    box.backend = lambda: _in_place(fake / "pynvml.py")
    box.environment |= {"PYTHONPATH": str(fake), "TMPDIR": str(box.path / "tmp")}
    box.environment["RATCHET_LEASES"] = str(box.path / "tmp" / "leases")
    return box, fake


@contextlib.contextmanager
def _in_place(path: Path) -> Iterator[None]:
    module = SimpleNamespace(**runpy.run_path(str(path)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pynvml", module)
        yield


def works(box: Box) -> list[Work]:
    found = []
    for key in box.runs():
        folder = box.path / "store/runs" / key[:2] / key
        log = (folder / "run.log").read_text()
        said = re.search(r"(?s)device (\S*) (\S+).*until (\S+)", log)
        assert said is not None
        device, began, ended = said.groups()
        record = json.loads((folder / "run.json").read_text())["record"]
        found.append(Work(device, float(began), float(ended), record))
    return sorted(found, key=lambda work: work.began)


def overlaps(found: list[Work]) -> list[tuple[Work, Work]]:
    return [(a, b) for i, a in enumerate(found) for b in found[i + 1 :] if b.began < a.ended]


class Process(NamedTuple):
    """A process that has a GPU open."""

    pid: int


def stand_in(
    *models: str,
    users: Callable[[Any], list[int]] = lambda handle: [],
    mig: Mapping[int, Sequence[str | None]] | None = None,
) -> Any:
    """What is used of pynvml, with GPUs of these models.

    ``users`` tells who has a GPU open at the moment; ``deaf`` names calls, and GPUs whose
    memory, that are not answered.  Those of ``mig`` are in MIG mode: names of their instances,
    with gaps.
    """

    class NVMLError(Exception):
        pass

    def answer(name: object, value: object = None) -> object:
        if name in nvml.deaf:
            raise NVMLError(name)
        return value

    parts: Mapping[int, Sequence[str | None]] = mig or {}

    def instance(handle: int, number: int) -> tuple[int, int]:
        if parts[handle][number] is None:
            raise NVMLError("not found")
        return handle, number

    def name(handle: Any) -> str:
        found = parts[handle[0]][handle[1]] if isinstance(handle, tuple) else models[handle]
        return str(found)

    def uuid(handle: Any) -> str:
        return f"MIG-{handle[0]}-{handle[1]}" if isinstance(handle, tuple) else f"GPU-{handle}aaa"

    def size(handle: Any) -> object:
        part = SimpleNamespace(total=5 << 30, used=1 << 20)
        return answer(handle, part if isinstance(handle, tuple) else memory)

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
        nvmlDeviceGetUUID=uuid,
        nvmlDeviceGetName=name,
        nvmlDeviceGetMemoryInfo=size,
        nvmlDeviceGetMigMode=lambda handle: (int(handle in parts), 0),
        nvmlDeviceGetMaxMigDeviceCount=lambda handle: len(parts[handle]),
        nvmlDeviceGetMigDeviceHandleByIndex=instance,
        nvmlDeviceGetUtilizationRates=lambda handle: answer("utilisation", load),
        nvmlDeviceGetPowerUsage=lambda handle: 250_000,
        nvmlDeviceGetClockInfo=lambda handle, kind: 1980,
        nvmlDeviceGetTemperature=lambda handle, kind: 60,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: nvml.throttle,
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [*map(Process, users(handle))],
        nvmlDeviceGetGraphicsRunningProcesses=lambda handle: answer("graphics"),
    )
    return nvml
