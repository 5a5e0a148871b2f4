"""Control groups: of a made-up kernel everywhere, of the real one where it lets us."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.commands import Patch
from helpers.run_plans import launch
from ratchet.records.records import Outcome
from ratchet.records.store import RunRecord
from ratchet.runs.sandbox import cgroups
from ratchet.runs.sandbox.cgroups import MEMORY_LIMIT, PROCESSES_LIMIT, ControlGroup, create_cgroup

FILES = {
    "cgroup.procs": "",
    "cgroup.kill": "",
    "cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
    "memory.peak": "5242880\n",
    "memory.events": "low 0\noom 2\noom_kill 1\n",
    "memory.max": "max",
    "memory.swap.max": "max",
    "pids.max": "max",
}


def made_up(path: Path, *names: str) -> Path:
    """A group's folder as the kernel fills it."""
    path.mkdir()
    for name in names:
        (path / name).write_text(FILES[name])
    return path


def proc(folder: Path, group: str, mounts: str) -> Path:
    folder.mkdir()
    (folder / "cgroup").write_text(f"9:memory:/old\n0::{group}\n")
    (folder / "mounts").write_text(mounts)
    return folder


def test_our_own_group_is_found_in_the_process_table(tmp_path: Path) -> None:
    (tmp_path / "fs" / "user" / "scope").mkdir(parents=True)
    mounts = f"tmpfs / tmpfs rw 0 0\ncgroup2 {tmp_path / 'fs'} cgroup2 rw 0 0\n"
    found = cgroups.own_cgroup(proc(tmp_path / "a", "/user/scope", mounts))
    assert found == tmp_path / "fs" / "user" / "scope"
    assert cgroups.own_cgroup(proc(tmp_path / "b", "/elsewhere", mounts)) is None
    assert cgroups.own_cgroup(proc(tmp_path / "c", "/", "tmpfs / tmpfs rw 0 0\n")) is None
    assert cgroups.own_cgroup(tmp_path / "nothing") is None


def test_what_a_group_tells(tmp_path: Path) -> None:
    group = ControlGroup(made_up(tmp_path / "g", *FILES))
    assert group.cpu_seconds() == 1.5
    assert group.peak_mb() == 5.0
    assert group.out_of_memory()
    assert group.join()
    assert (group.path / "cgroup.procs").read_text() == "0"
    group.kill()
    assert (group.path / "cgroup.kill").read_text() == "1"
    # What it does not tell is not made up.
    group = ControlGroup(made_up(tmp_path / "empty"))
    assert (group.cpu_seconds(), group.peak_mb(), group.out_of_memory()) == (0.0, None, False)
    assert not group.join()
    group.kill()
    assert list(group.path.iterdir()) == []


def test_limits_are_set_where_the_controllers_are(tmp_path: Path, monkeypatch: Patch) -> None:
    """Our own group holds us and hands nothing on; the one above does."""
    # New groups are filled as by a kernel: by the name of the group above.
    files = {"above": ("memory.max", "memory.swap.max", "pids.max"), "alone": ("pids.max",)}

    def made(base: Path) -> Path:
        number = len(list(base.glob("ratchet-*")))
        return made_up(base / f"ratchet-{number}", *files.get(base.name, ()))

    monkeypatch.setattr(cgroups, "_made", made)
    own = made_up(made_up(tmp_path / "above", "cgroup.procs") / "own", "cgroup.procs")
    group = create_cgroup({MEMORY_LIMIT: 3, PROCESSES_LIMIT: 40}, own)
    assert (group.path.parent, group.unenforced) == (own.parent, ())
    assert (group.path / "memory.max").read_text() == str(3 << 20)
    assert (group.path / "memory.swap.max").read_text() == "0"
    assert (group.path / "pids.max").read_text() == "40"
    assert list(own.glob("ratchet-*")) == []
    alone = made_up(tmp_path / "alone", "cgroup.procs")
    group = create_cgroup({MEMORY_LIMIT: 3, PROCESSES_LIMIT: 40}, alone)
    assert group.unenforced == (MEMORY_LIMIT,)
    assert (group.path / "pids.max").read_text() == "40"


def test_groups_that_were_left_behind_are_removed(tmp_path: Path, monkeypatch: Patch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    own = tmp_path / "own"
    (own / f"ratchet-{gone.pid}-0" / "below").mkdir(parents=True)
    (own / "ratchet-1-0").mkdir()
    group = create_cgroup({}, own)
    names = {group.path.name, "ratchet-1-0"}
    assert {path.name for path in own.iterdir()} == names
    assert group.remove()
    assert not group.path.exists()
    assert create_cgroup({MEMORY_LIMIT: 3}, tmp_path / "missing") is None
    monkeypatch.setattr(cgroups, "own_cgroup", lambda: None)
    assert create_cgroup() is None


def needs(**limits: int) -> pytest.MarkDecorator:
    """Skips a test where no control group with these limits can be made."""
    group = create_cgroup(limits)
    works = group is not None and (group.path / "cgroup.kill").exists() and group.remove()
    lacks = not works or group is None or group.unenforced
    return pytest.mark.skipif(bool(lacks), reason=f"no control group with {limits} here")


def run(tmp_path: Path, source: str, **limits: int) -> RunRecord:
    command = ["python", "-S", "train.py"]
    return launch(tmp_path, source, command=command, limits=limits)[0]


@needs()
def test_all_of_a_group_is_killed_and_the_group_is_gone(tmp_path: Path) -> None:
    group = create_cgroup()
    words = [sys.executable, "-c", "import os, time; os.fork(); os.fork(); time.sleep(600)"]
    child = subprocess.Popen(words, preexec_fn=group.join, start_new_session=True)
    time.sleep(0.2)
    assert len((group.path / "cgroup.procs").read_text().split()) == 4
    assert group.cpu_seconds() > 0
    assert group.remove()
    assert child.wait() == -9
    assert not group.path.exists()


def test_a_limit_without_a_group_is_in_the_record(tmp_path: Path) -> None:
    record = run(tmp_path, "print('val: 1')", memory_mb=4000, processes=100)
    assert record.outcome is Outcome.OK
    # The run has left no group.
    home = cgroups.own_cgroup() or tmp_path
    own = [p for p in home.glob("ratchet-*") if (p / "cgroup.procs").read_text() == ""]
    assert [p for p in own if not Path("/proc", p.name.split("-")[1]).exists()] == []
    group = create_cgroup({MEMORY_LIMIT: 4000, PROCESSES_LIMIT: 100})
    expected = (MEMORY_LIMIT, PROCESSES_LIMIT) if group is None else tuple(sorted(group.unenforced))
    assert record.unenforced == expected
    assert group is None or group.remove()


@needs(memory_mb=100)
def test_too_much_memory_is_out_of_memory(tmp_path: Path) -> None:
    record = run(tmp_path, "x = b'1' * (1 << 29)\nprint('val: 1')", memory_mb=100)
    assert record.outcome is Outcome.OOM_HOST, record
    assert record.peak_group_mb is not None


@needs(processes=100)
def test_too_many_processes_are_refused(tmp_path: Path) -> None:
    source = "import os\nfor _ in range(50):\n    if os.fork() == 0: os.read(0, 1)\n"
    record = run(tmp_path, source, processes=20)
    assert record.outcome is Outcome.CRASH, record
    assert os.strerror(11) in record.reason
