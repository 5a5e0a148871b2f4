"""What a run can reach under each kind of isolation, and that nothing survives it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.run_plans import launch, processes_named, store
from ratchet.base.errors import ConfigError, StoreError
from ratchet.base.io import digest_bytes
from ratchet.records.records import Outcome
from ratchet.records.store import LOG, RunRecord
from ratchet.runs.sandbox import sandbox
from ratchet.runs.sandbox.landlock import SCOPE_VERSION, landlock_version
from ratchet.runs.sandbox.sandbox import (
    SandboxKind,
    choose_sandbox,
    landlock_rules,
)
from ratchet.runs.spec import Box
from ratchet.task.environment import package_paths

FIXED = b"VALUE = 1\n"
DATA = b"some data"


def needs(kind: SandboxKind) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        sandbox.sandbox_fault(kind) is not None, reason=f"{kind} does not work"
    )


APART = [
    pytest.param(kind, marks=needs(kind)) for kind in (SandboxKind.LANDLOCK, SandboxKind.BUBBLEWRAP)
]
ALL = [SandboxKind.NONE, *APART]
every_kind = pytest.mark.parametrize("kind", ALL)
apart = pytest.mark.parametrize("kind", APART)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a secret in it, beside the run's folder."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "audit.bin").write_bytes(b"secret")
    return tmp_path


def run(root: Path, kind: SandboxKind, source: str, **changes: object) -> tuple[RunRecord, str]:
    folder = root / "store" / "run with space"
    given = {"fixed": {"prepare.py": FIXED}, "isolation": kind.value, **changes}
    record = launch(root, folder, source, **given)
    log = (folder / LOG).read_text(errors="replace")
    shutil.rmtree(folder)
    return record, log


def tried(root: Path, kind: SandboxKind, expression: str, **changes: object) -> str:
    """What an expression gives inside a run, or the class of its error."""
    source = (
        "import glob, os, signal, socket, subprocess, sys, tempfile\nfrom pathlib import Path\n"
        f"try: said = repr({expression})\nexcept Exception as error: said = type(error).__name__\n"
        "print(said)\nprint('val: 1')\n"
    )
    record, log = run(root, kind, source, **changes)
    assert record.outcome is Outcome.OK, (record, log)
    return log.splitlines()[0]


@every_kind
def test_a_run_works_and_says_under_what(root: Path, kind: SandboxKind) -> None:
    source = (
        "import json, math, numpy, prepare\nfrom pathlib import Path\n"
        "Path('note').write_text('x')\n"
        "print(prepare.VALUE, Path('data/train.bin').read_text(), float(numpy.ones(3).sum()))\n"
        "print('val: 0.5')\n"
    )
    record, log = run(root, kind, source)
    assert (record.outcome, record.isolation) == (Outcome.OK, kind.value)
    assert log.splitlines()[0] == "1 some data 3.0"
    assert record.peak_rss_mb is not None
    assert record.peak_rss_mb > 5


REFUSED = {
    "PermissionError",
    "FileNotFoundError",
    "OSError",
    "ProcessLookupError",
    "ConnectionRefusedError",
}
HIDDEN = [
    "open({root!r} + '/store/audit.bin').read()",
    "os.listdir({root!r} + '/store/..').index('outside')",
    f"os.listdir({str(Path(__file__).parent)!r})",
    f"open({__file__!r}).read()",
    "open(os.path.expanduser('~root') + '/.bashrc').read() or open('/root/.bashrc').read()",
    "open('/etc/shadow').read()",
    "open('/usr/ratchet', 'w').write('x')",
    "open(sys.prefix + '/ratchet', 'w').write('x')",
    "socket.create_connection(('127.0.0.1', {port}), 2)",
    "os.kill({pid}, 0)",
]


@apart
@pytest.mark.parametrize("expression", HIDDEN)
def test_nothing_else_can_be_reached(root: Path, kind: SandboxKind, expression: str) -> None:
    if "os.kill" in expression and landlock_version() < SCOPE_VERSION:
        pytest.skip("this kernel cannot keep signals in")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = tried(root, kind, expression.format(root=str(root), port=port, pid=os.getpid()))
    assert said in REFUSED | {"ValueError"}


@apart
def test_nothing_is_written_outside(root: Path, kind: SandboxKind) -> None:
    tried(root, kind, f"open({str(root / 'outside')!r}, 'w').write('x')")
    tried(root, kind, f"open({str(root / 'store' / 'audit.bin')!r}, 'w').write('x')")
    assert sorted(path.name for path in root.iterdir()) == ["store"]
    assert (root / "store" / "audit.bin").read_bytes() == b"secret"


@needs(SandboxKind.BUBBLEWRAP)
def test_bubblewrap_leaves_empty_folders_and_own_processes(root: Path) -> None:
    said = tried(root, SandboxKind.BUBBLEWRAP, f"os.listdir({str(root / 'store')!r})")
    assert said == "['run with space']"
    said = tried(root, SandboxKind.BUBBLEWRAP, "len(glob.glob('/proc/[0-9]*')) <= 3")
    assert said == "True"


@needs(SandboxKind.BUBBLEWRAP)
@pytest.mark.parametrize(
    "expression",
    [
        "open('prepare.py', 'a').write('x')",
        "os.remove('prepare.py')",
        "os.chmod('prepare.py', 0o777)",
        "open('data/train.bin', 'w').write('x')",
        "os.rename('data', 'other')",
        "open('data/more', 'w').write('x')",
    ],
)
def test_bubblewrap_makes_inputs_read_only_even_for_root(root: Path, expression: str) -> None:
    assert tried(root, SandboxKind.BUBBLEWRAP, expression) in ("OSError", "PermissionError")
    assert store(root).get(digest_bytes(DATA)) == DATA


@apart
def test_hidden_packages_cannot_be_read(root: Path, kind: SandboxKind) -> None:
    look = "len(open(__import__('docutils').__file__).read()) > 0"
    assert tried(root, kind, look) == "True"
    assert tried(root, kind, look, hidden=["docutils"]) != "True"
    assert tried(root, kind, "__import__('numpy').ones(2).sum() > 1", hidden=["docutils"]) != "x"
    paths = package_paths(["docutils"])
    assert any(path.name == "docutils" for path in paths)
    assert any(path.name.endswith(".dist-info") for path in paths)


@apart
def test_a_task_may_ask_for_the_network(root: Path, kind: SandboxKind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        look = f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5).close()"
        assert tried(root, kind, look, network=True) == "None"


@every_kind
@pytest.mark.parametrize("hangs", [True, False])
def test_nothing_survives(root: Path, kind: SandboxKind, hangs: bool) -> None:
    mark = uuid.uuid4().hex
    source = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
for new in (False, True):
    subprocess.Popen([sys.executable, "-c", sleep, {mark!r}], start_new_session=new)
print("val: 1", flush=True)
if {hangs}: time.sleep(600)
"""
    began = time.monotonic()
    record, log = run(root, kind, source, timeout_seconds=3.0 if hangs else 60.0)
    assert record.outcome is (Outcome.TIMEOUT if hangs else Outcome.OK)
    assert "val: 1" in log
    assert processes_named(mark) == []
    assert time.monotonic() - began < 60


@every_kind
def test_a_command_may_end_itself_when_told_to(root: Path, kind: SandboxKind) -> None:
    source = """
import signal, sys, time
def stop(*_):
    print("flushed", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
time.sleep(600)
"""
    record, log = run(root, kind, source, timeout_seconds=2.0)
    assert record.outcome is Outcome.TIMEOUT
    assert "flushed" in log


ENDS = [
    ("import sys; sys.exit(3)", 3, None),
    ("import os; os.abort()", None, 6),
    ("import os; os.kill(os.getpid(), 11)", None, 11),
]


@every_kind
@pytest.mark.parametrize(("source", "code", "signal"), ENDS)
def test_ends_are_told_as_they_are(
    root: Path, kind: SandboxKind, source: str, code: int | None, signal: int | None
) -> None:
    record, _ = run(root, kind, source)
    assert (record.outcome, record.exit_code, record.signal) == (Outcome.CRASH, code, signal)


@every_kind
def test_a_program_that_does_not_exist_is_the_tasks_fault(root: Path, kind: SandboxKind) -> None:
    with pytest.raises(StoreError, match=r"'no-such-program' cannot be started.*task\.yaml"):
        run(root, kind, "", command=["no-such-program"])


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Whatever is asked of the machine is asked anew."""
    monkeypatch.delenv("RATCHET_EXCHANGE", raising=False)
    sandbox.sandbox_fault.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    sandbox.sandbox_fault.cache_clear()


def test_auto_takes_the_strongest_that_works(faults: pytest.MonkeyPatch) -> None:
    broken: set[SandboxKind] = set()
    faults.setattr(sandbox, "sandbox_fault", lambda kind: "none" if kind in broken else None)
    for kind in reversed(SandboxKind):
        assert choose_sandbox("auto") is kind
        broken.add(kind)
    with pytest.raises(ConfigError, match=r"bubblewrap does not work.*apt-get install bubblewrap"):
        choose_sandbox("bubblewrap")
    with pytest.raises(ConfigError, match=r"one of auto, none, .*bubblewrap, found 'jail'"):
        choose_sandbox("jail")


def test_two_containers_are_used_where_they_were_set_up(
    tmp_path: Path, faults: pytest.MonkeyPatch
) -> None:
    faults.setenv("RATCHET_EXCHANGE", str(tmp_path))
    assert choose_sandbox("auto") is SandboxKind.CONTAINER
    faults.setenv("RATCHET_EXCHANGE", str(tmp_path / "missing"))
    sandbox.sandbox_fault.cache_clear()
    with pytest.raises(ConfigError, match=r"cannot be written to.*both containers share"):
        choose_sandbox("auto")


def test_a_broken_bubblewrap_is_noticed(tmp_path: Path, faults: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to make one' >&2\nexit 1\n")
    program.chmod(0o755)
    faults.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "No permissions" in (sandbox.sandbox_fault(SandboxKind.BUBBLEWRAP) or "")


def test_an_environment_around_the_runs_does_not_open_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    for name in ("bin", "lib", "store"):
        (tmp_path / name).mkdir()
    box = Box(work=tmp_path / "store" / "work")
    found = landlock_rules(box)["read"]
    assert str(tmp_path / "bin") in found
    assert str(tmp_path) not in found
    assert str(tmp_path / "store") not in found
