"""The supervisor's own death, and what it needs to start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from helpers.run_plans import launch
from ratchet.records.records import Outcome
from ratchet.runs import supervisor
from ratchet.runs.process import cpu_seconds, descendants
from ratchet.runs.sandbox import sandbox
from ratchet.runs.sandbox.sandbox import SandboxKind


def processes_named(mark: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("kind", [SandboxKind.NONE, SandboxKind.LANDLOCK, SandboxKind.BUBBLEWRAP])
def test_a_killed_supervisor_takes_everything_along(tmp_path: Path, kind: SandboxKind) -> None:
    if sandbox.sandbox_fault(kind):
        pytest.skip(f"{kind} does not work here")
    mark = uuid.uuid4().hex
    source = (
        "import subprocess, sys, time\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(600)', sys.argv[1]]\n"
        "subprocess.Popen(sleep, start_new_session=True)\ntime.sleep(600)\n"
    )
    killed: list[int] = []

    def kill_supervisors() -> None:
        limit = time.monotonic() + 50
        while len(killed) < 2 and time.monotonic() < limit:
            for pid in descendants(os.getpid()):
                try:
                    line = Path(f"/proc/{pid}/cmdline").read_bytes()
                except OSError:
                    continue
                is_one = os.fsencode(supervisor.__file__) in line and pid not in killed
                below = set(descendants(pid)) & set(processes_named(mark))
                if is_one and len(below) >= 2:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_supervisors)
    killer.start()
    record = launch(
        tmp_path,
        tmp_path / "run",
        source,
        command=["python", "train.py", mark],
        timeout_seconds=60.0,
        isolation=kind.value,
    )
    killer.join()
    assert len(killed) == 2
    assert record.outcome is Outcome.KILLED
    assert processes_named(mark) == []


def test_it_needs_the_standard_library_alone() -> None:
    path = repr(supervisor.__file__)
    source = (
        f"import runpy, sys; sys.path[0] = {str(Path(supervisor.__file__).parent)!r}; "
        f"runpy.run_path({path}); print(*sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", source], capture_output=True, text=True, check=True
    )
    names = {name.split(".")[0] for name in done.stdout.split()}
    assert names - set(sys.stdlib_module_names) <= {"__main__", "ratchet"}
    own = {name for name in done.stdout.split() if name.startswith("ratchet.")}
    modules = ("runs", "runs.evaluator", "runs.process", "runs.sandbox")
    sandboxes = (f"runs.sandbox.{name}" for name in ("cgroups", "container_rpc", "landlock"))
    assert own == {f"ratchet.{name}" for name in (*modules, *sandboxes)}


def test_processor_time_of_a_tree() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import time\nwhile time.process_time() < .5: pass\ninput()"],
        stdin=subprocess.PIPE,
    )
    limit = time.monotonic() + 30
    while cpu_seconds([child.pid]) < 0.45 and time.monotonic() < limit:
        time.sleep(0.02)
    assert 0.4 < cpu_seconds([child.pid]) < 5
    child.communicate(b"\n")
    assert cpu_seconds([child.pid]) == 0.0
