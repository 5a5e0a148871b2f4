"""Runs under watch: every way to end is recorded, and nothing is left behind."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from helpers.run_plans import DATA, launch, plan, store
from ratchet.base.errors import StoreError
from ratchet.records.records import Outcome
from ratchet.records.store import LOG
from ratchet.runs import outcome
from ratchet.runs.outcome import memory_limit_mb
from ratchet.runs.run import LOG_LIMIT_BYTES, Workspace
from ratchet.runs.sandbox.sandbox import SandboxKind

FIXED = b"VALUE = 1\n"


def run(tmp_path: Path, source: str, **changes: object):
    folder = tmp_path / "run"
    given = {"fixed": {"prepare.py": FIXED}, "data": {"val.bin": DATA}, "timeout_seconds": 5.0}
    record = launch(tmp_path, folder, source, **{**given, **changes})
    return record, (folder / LOG).read_text(errors="replace"), folder


def alive(pid_file: Path) -> list[int]:
    pids = [int(line) for line in pid_file.read_text().split()]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and not zombie(pid)]


def zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_run_that_ends_well(tmp_path: Path) -> None:
    source = "import time; time.sleep(.3)\nprint('---')\nprint('val: 0.25')\nprint('mem: inf')\n"
    record, log, folder = run(tmp_path, source)
    assert record.outcome is Outcome.OK
    assert (record.exit_code, record.signal, record.reason) == (0, None, "")
    assert record.metrics == {"val": 0.25, "mem": None}
    assert 0.3 <= record.wall_seconds < 5
    assert record.cpu_seconds > 0
    assert record.peak_rss_mb is not None
    assert 1 < record.peak_rss_mb < 200
    assert log == "---\nval: 0.25\nmem: inf\n"
    assert sorted(p.name for p in folder.iterdir()) == [LOG, "source"]


ENDS = [
    ("raise ValueError('no')", Outcome.CRASH, "exit status 1: ValueError: no"),
    ("import sys; sys.exit(3)", Outcome.CRASH, "exit status 3"),
    ("x = (", Outcome.IMPORT_ERROR, "SyntaxError"),
    ("pass", Outcome.NO_METRIC, "without printing val"),
    ("print('val: nan')", Outcome.NAN, "val: nan"),
    ("print('val: -inf')", Outcome.NAN, "val: -inf"),
    ("import os; os.abort()", Outcome.CRASH, "SIGABRT"),
    ("import os; os.kill(os.getpid(), 9)", Outcome.KILLED, "twice"),
    ("import os; os.kill(os.getpid(), 15)", Outcome.CRASH, "SIGTERM"),
    ("open('prepare.py', 'a').write('x')\nprint('val: 1')", Outcome.TAMPERED, "prepare.py"),
    ("import os; os.remove('data/val.bin')\nprint('val: 1')", Outcome.TAMPERED, "data/val.bin"),
]


@pytest.mark.parametrize(("source", "outcome", "words"), ENDS)
def test_every_way_to_end(tmp_path: Path, source: str, outcome: Outcome, words: str) -> None:
    if os.geteuid() != 0 and outcome is Outcome.TAMPERED and "open(" in source:
        source = "import os; os.chmod('prepare.py', 0o644)\n" + source
    record, _, _ = run(tmp_path, source)
    assert record.outcome is outcome
    assert words in record.reason


def test_a_hang_is_stopped_with_everything_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    source = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for detach in (False, True):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if detach:
            os.setsid()
            if os.fork():
                os._exit(0)
        open({str(pids)!r}, "a").write(f"{{os.getpid()}}\\n")
        time.sleep(600)
open({str(pids)!r}, "a").write(f"{{os.getpid()}}\\n")
print("started", flush=True)
time.sleep(600)
"""
    began = time.monotonic()
    record, log, _ = run(tmp_path, source, timeout_seconds=1.0)
    assert record.outcome is Outcome.TIMEOUT
    assert "after 1 s" in record.reason
    assert time.monotonic() - began < 60
    assert "started" in log
    assert len(pids.read_text().split()) == 3
    assert alive(pids) == []


def test_children_left_behind_are_gone_after_a_good_end(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    source = f"""
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        open({str(pids)!r}, "a").write(f"{{os.getpid()}}\\n")
        time.sleep(600)
while len(open({str(pids)!r}).read().split() if os.path.exists({str(pids)!r}) else []) < 3:
    time.sleep(0.01)
print("val: 1")
"""
    record, _, _ = run(tmp_path, source)
    assert record.outcome is Outcome.OK
    assert alive(pids) == []


def test_a_flood_keeps_its_head_and_its_tail(tmp_path: Path) -> None:
    source = "print('first')\nfor i in range(300): print('x' * 20000)\nprint('---\\nval: 2')\n"
    record, log, _ = run(tmp_path, source)
    assert record.outcome is Outcome.OK
    assert record.metrics["val"] == 2.0
    assert len(log) < LOG_LIMIT_BYTES + 200
    assert log.startswith("first\n")
    assert "bytes of output left out here" in log


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    source = "import sys; sys.stdout.buffer.write(b'\\xff\\x00\\n---\\nval: 3\\n')"
    record, _, _ = run(tmp_path, source)
    assert record.metrics == {"val": 3.0}


def test_the_environment_is_an_allow_list(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    source = "import os\nfor k, v in os.environ.items(): print(k + '=' + v)\nprint('val: 1')\n"
    _, log, _ = run(tmp_path, source, threads=2)
    assert "s3cret" not in log
    assert "PYTHONPATH" not in log
    assert "RATCHET_SEED=3" in log
    assert "RATCHET_BUDGET_SECONDS=1.0" in log
    assert "RATCHET_BUDGET_STEPS" not in log
    assert "OMP_NUM_THREADS=2" in log
    assert "PYTHONHASHSEED=0" in log
    spec = plan(tmp_path, "", budget_seconds=None, budget_steps=9)
    place = tmp_path / "other"
    steps = Workspace(spec, store(tmp_path), SandboxKind.NONE, place, place).environment()
    assert steps["RATCHET_BUDGET_STEPS"] == "9"
    assert "RATCHET_BUDGET_SECONDS" not in steps


def test_inputs_are_read_only_and_where_they_should_be(tmp_path: Path) -> None:
    source = """
import os, stat
for name in ("prepare.py", "data/val.bin", "train.py"):
    print(name, oct(stat.S_IMODE(os.stat(name).st_mode)))
print(open(os.path.join(os.environ["RATCHET_DATA"], "val.bin")).read())
print("val: 1")
"""
    _, log, _ = run(tmp_path, source)
    assert "prepare.py 0o444" in log
    assert "data/val.bin 0o444" in log
    assert "train.py 0o644" in log
    assert "some data" in log


def test_a_command_that_does_not_exist_is_the_tasks_fault(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"'no-such-program' cannot be started.*task\.yaml"):
        run(tmp_path, "", command=["no-such-program"])


def test_python_is_the_environments(tmp_path: Path) -> None:
    _, log, _ = run(tmp_path, "import sys; print(sys.executable); print('val: 1')")
    assert log.splitlines()[0] == sys.executable


def test_the_memory_limit_is_at_most_the_machine_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(outcome, "CGROUP_LIMITS", (str(limit),))
    assert memory_limit_mb() == machine
    limit.write_text("max\n")
    assert memory_limit_mb() == machine
    limit.write_text(f"{64 * 2**20}\n")
    assert memory_limit_mb() == 64
