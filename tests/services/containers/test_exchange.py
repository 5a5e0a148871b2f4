"""The container's first process and the harness, beside each other on one machine.

Two users stand for two containers.  What only a container's first process can do
(nobody can kill it, nothing survives it) is tested with an engine.
"""

import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import ratchet
from helpers.commands import Patch
from helpers.run_plans import plan, processes_named, store
from ratchet.base.errors import ConfigError, StoreError
from ratchet.records.records import Outcome
from ratchet.records.series import SAMPLES, Sample, parse_series
from ratchet.records.store import LOG, RunRecord
from ratchet.runs.run import execute_run
from ratchet.runs.sandbox import sandbox

SYSTEM_PYTHON = "/usr/bin/python3"
USER, GROUP = 10001, 65534

pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user"),
    pytest.mark.skipif(not Path(SYSTEM_PYTHON).exists(), reason=f"there is no {SYSTEM_PYTHON}"),
]


def copied_package(folder: Path) -> Path:
    """The package, where other users may read it."""
    package = folder / "package" / "ratchet"
    shutil.copytree(Path(ratchet.__file__).parent, package)
    return package


@pytest.fixture
def exchange(monkeypatch: Patch) -> Iterator[Path]:
    """A shared folder, with a server of the other user that waits there."""
    # Other users may not look into pytest's own folders.
    folder = Path(tempfile.mkdtemp()).resolve()
    folder.chmod(0o755)
    first = copied_package(folder) / "runs" / "sandbox" / "container_init.py"
    shared = folder / "exchange"
    shared.mkdir()
    monkeypatch.setenv("RATCHET_EXCHANGE", str(shared))
    sandbox.sandbox_fault.cache_clear()
    words = [SYSTEM_PYTHON, "-S", "-E", str(first), str(shared / "call"), "--stay"]
    server = subprocess.Popen(words, user=USER, group=GROUP, extra_groups=[], cwd="/")
    yield shared
    server.terminate()
    server.wait()
    shutil.rmtree(folder)
    sandbox.sandbox_fault.cache_clear()


def run(root: Path, source: str, **changes: object) -> tuple[RunRecord, str]:
    fixed = {"prepare.py": b"VALUE = 1\n"}
    given = {"fixed": fixed, "timeout_seconds": 30.0, "isolation": "container", **changes}
    order = plan(root, source, **given)
    folder = root / "run"
    folder.mkdir(exist_ok=True)
    # In a process of its own, since at a run's end the harness kills all of its children.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=context) as apart:
        record = apart.submit(execute_run, order, store(root), folder).result()
    return record, (folder / LOG).read_text(errors="replace")


def test_one_run_after_another(exchange: Path, tmp_path: Path) -> None:
    source = """
import os
from pathlib import Path
import prepare
print(prepare.VALUE, Path("data/train.bin").read_text(), os.getuid(), os.listdir())
Path("mine").mkdir()
Path("mine/note").write_text("x")
Path("mine").chmod(0)
print("val: 0.5")
"""
    for _ in range(2):
        record, log = run(tmp_path, source)
        assert (record.outcome, record.isolation) == (Outcome.OK, "container"), log
        first = log.splitlines()[0]
        assert first.startswith(f"1 some data {USER} ")
        # What the run before left is gone.
        assert "mine" not in first
    assert [path.name for path in exchange.iterdir()] == ["lock"]


ATTEMPTS = [
    "open('prepare.py', 'w')",
    "os.remove('prepare.py')",
    "os.rename('data', 'other')",
    "open('data/more', 'w')",
    "os.chmod('prepare.py', 0o777)",
    "open('../lock')",
    "open('../call/door', 'w')",
    "os.rename('../work', '../other')",
]


def test_inputs_cannot_be_changed_and_nobody_else_can_be_called(
    exchange: Path, tmp_path: Path
) -> None:
    source = f"""
import os
for attempt in {ATTEMPTS!r}:
    try: eval(attempt)
    except PermissionError: print("refused", attempt)
print(os.listdir("../call"))
print("val: 1")
"""
    record, log = run(tmp_path, source)
    assert record.outcome is Outcome.OK, (record, log)
    assert log.splitlines()[:-1] == [*(f"refused {attempt}" for attempt in ATTEMPTS), "[]"]


def test_time_and_memory_are_measured_inside(exchange: Path, tmp_path: Path) -> None:
    source = """
import time
block = bytearray(b"x" * 80_000_000)
while time.process_time() < 0.7: pass
time.sleep(1.0)
print("val: 1")
"""
    record, _ = run(tmp_path, source)
    assert 0.6 < record.cpu_seconds < 3.0
    samples = parse_series(Sample, (tmp_path / "run" / SAMPLES).read_text(), SAMPLES)
    assert 80 < max(sample.memory_mb or 0.0 for sample in samples) < 300
    assert record.peak_rss_mb is not None
    assert 80 < record.peak_rss_mb < 300


def test_a_hanging_run_is_asked_to_end_and_then_ended(exchange: Path, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    source = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", {mark!r}],
                 start_new_session=True)
while True: time.sleep(1)
"""
    record, log = run(tmp_path, source, timeout_seconds=2.0)
    assert record.outcome is Outcome.TIMEOUT
    assert "asked" in log
    assert processes_named(mark) == []


def test_ends_are_told(exchange: Path, tmp_path: Path) -> None:
    record, _ = run(tmp_path, "import sys; sys.exit(3)")
    assert (record.outcome, record.exit_code) == (Outcome.CRASH, 3)
    record, _ = run(tmp_path, "import os; os.abort()")
    assert (record.outcome, record.signal) == (Outcome.CRASH, int(signal.SIGABRT))
    with pytest.raises(StoreError, match="'no-such-program' cannot be started"):
        run(tmp_path, "", command=["no-such-program"])


def test_an_image_that_lacks_something_is_refused(exchange: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not have the packages.*both containers share"):
        run(tmp_path, "", environment_sha256="0" * 64)
    with pytest.raises(ConfigError, match="does not hide docutils"):
        run(tmp_path, "", hidden=["docutils"])


def test_the_server_cannot_be_meddled_with(exchange: Path, tmp_path: Path) -> None:
    source = """
import os, resource, time
resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))
time.sleep(0.6)
print("val: 1")
"""
    record, _ = run(tmp_path, source)
    # Where there is no filter of system calls it is done, seen, and TAMPERED.
    assert record.outcome is Outcome.CRASH
    assert "PermissionError" in record.reason


def test_the_server_is_gone(exchange: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    # The server must have said that the command runs, or the first try counts as no start.
    source = "import os, time\ntime.sleep(4)\nos.kill(os.getppid(), 9)\ntime.sleep(60)"
    began = time.monotonic()
    with pytest.raises(ConfigError, match="no container answered"):
        # The first try ends with its server (no container protects it here), the
        # second finds none.
        monkeypatch.setattr("ratchet.runs.supervisor.__file__", _impatient(tmp_path))
        run(tmp_path, source)
    assert time.monotonic() - began < 110


def _impatient(folder: Path) -> str:
    """A supervisor that waits two seconds for a container instead of two minutes."""
    runs = copied_package(folder) / "runs"
    rpc = runs / "sandbox" / "container_rpc.py"
    text = rpc.read_text()
    assert "START_SECONDS = 120.0" in text
    rpc.write_text(text.replace("START_SECONDS = 120.0", "START_SECONDS = 2.0"))
    return str(runs / "supervisor.py")
