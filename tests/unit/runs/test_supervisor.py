"""The supervisor's own death, and what it needs to start."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from helpers.candidates import every_kind
from helpers.run_plans import launch, processes_named
from ratchet.records.records import Outcome
from ratchet.runs import supervisor
from ratchet.runs.process import descendants
from ratchet.runs.sandbox import container_init
from ratchet.runs.sandbox.sandbox import SandboxKind


@every_kind
def test_a_killed_supervisor_takes_everything_along(tmp_path: Path, kind: SandboxKind) -> None:
    mark = uuid.uuid4().hex
    source = (
        "import subprocess, sys, time\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(600)', sys.argv[1]]\n"
        "subprocess.Popen(sleep, start_new_session=True)\ntime.sleep(600)\n"
    )
    killed: list[int] = []
    gone: set[int] = set()

    def kill_supervisors() -> None:
        limit = time.monotonic() + 50
        while len(killed) < 2 and time.monotonic() < limit:
            for pid in descendants(os.getpid()):
                try:
                    line = Path(f"/proc/{pid}/cmdline").read_bytes()
                    parent = int(
                        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
                    )
                except OSError:
                    continue
                # Those that it forks, to make namespaces, have its command line too.
                is_one = os.fsencode(supervisor.__file__) in line and parent == os.getpid()
                below = set(descendants(pid))
                if is_one and pid not in gone and len(below & set(processes_named(mark))) >= 2:
                    gone.update(below | {pid})
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_supervisors)
    killer.start()
    changes = {"command": ["python", "train.py", mark], "isolation": kind.value}
    record, _ = launch(tmp_path, source, timeout_seconds=60.0, **changes)
    killer.join()
    assert len(killed) == 2
    assert record.outcome is Outcome.KILLED
    assert processes_named(mark) == []
    # It was not the run's own doing, so it was tried again, and that is told.
    (told,) = record.earlier_tries
    assert told.endswith("s, as its supervisor was killed")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_kills_itself_gets_no_second_try(tmp_path: Path, number: int) -> None:
    """Else it could have its number drawn again, before it is asked, until it suits."""
    source = f"import os; print('on' 'ce', flush=True); os.kill(os.getpid(), {int(number)})"
    record, log = launch(tmp_path, source)
    assert record.outcome in (Outcome.KILLED, Outcome.CRASH)
    assert record.earlier_tries == ()
    assert log.count("once") == 1


def test_what_else_may_have_ended_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watch = supervisor.Watch({"log": str(tmp_path / "log"), "log_limit_bytes": 99})
    kills = [5]
    monkeypatch.setattr(supervisor, "out_of_memory_kills", lambda: kills[0])
    watch.killed_before = 5
    assert watch.outside(-9) == ""
    kills[0] = 6
    assert watch.outside(-9) == "the machine ran out of memory"
    assert watch.outside(-15) == watch.outside(-11) == watch.outside(0) == ""
    monkeypatch.setattr(supervisor, "_got", [15])
    assert watch.outside(-15) == "whoever runs the session was told to stop"
    assert supervisor.out_of_memory_kills() == 6


BESIDE = ("cgroups", "container_rpc", "landlock", "namespaces", "seccomp")
SHARED = {"ratchet.runs", "ratchet.runs.process", "ratchet.runs.sandbox"} | {
    f"ratchet.runs.sandbox.{name}" for name in BESIDE
}


@pytest.mark.parametrize(
    ("program", "more"), [(supervisor, {"ratchet.runs.evaluator"}), (container_init, set())]
)
def test_what_is_started_by_path_needs_the_standard_library_alone(program, more) -> None:
    path = program.__file__
    source = (
        f"import runpy, sys; sys.path[0] = {str(Path(path).parent)!r}; "
        f"runpy.run_path({path!r}); print(*sorted(sys.modules))"
    )
    names = subprocess.check_output([sys.executable, "-S", "-E", "-c", source], text=True).split()
    others = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert others <= {"__main__", "ratchet"}
    assert {name for name in names if name.startswith("ratchet.")} == SHARED | more


def test_times_of_output_are_few_and_as_exact_as_their_interval() -> None:
    stamps = supervisor.Stamps(0.1)
    for number in range(50_000):
        stamps.add(number + 1, number / 50)
    assert len(stamps.entries) <= supervisor.Stamps.MOST
    sizes, seconds = zip(*stamps.entries, strict=True)
    assert sizes[-1] == 50_000 and list(sizes) == sorted(sizes)
    late = [(size - 1) / 50 - told for size, told in zip(sizes, seconds, strict=True)]
    assert all(0 <= each <= 2 * stamps.interval for each in late)
    # A line after a long silence is not taken for one before it.
    quiet = supervisor.Stamps(0.1)
    for size, when in ((1, 0.0), (2, 0.05), (3, 60.0)):
        quiet.add(size, when)
    assert quiet.entries == [(2, 0.0), (3, 60.0)]
