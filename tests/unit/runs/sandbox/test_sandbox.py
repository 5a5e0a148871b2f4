"""What a run can reach under each kind of isolation, and that nothing survives it."""

import os
import shutil
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.candidates import apart, every_kind, needs
from helpers.commands import Patch
from helpers.run_plans import DATA, launch, processes_named, store
from ratchet.base.errors import ConfigError, StoreError
from ratchet.base.io import digest_bytes
from ratchet.records.records import Outcome
from ratchet.records.store import RunRecord
from ratchet.runs.sandbox import sandbox
from ratchet.runs.sandbox.landlock import SCOPE_VERSION, landlock_version
from ratchet.runs.sandbox.sandbox import SandboxKind, choose_sandbox, landlock_rules
from ratchet.runs.spec import Box

FIXED = b"VALUE = 1\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a secret in it, beside the run's folder, and a file outside."""
    (tmp_path / "outside").write_bytes(b"mine")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "audit.bin").write_bytes(b"secret")
    return tmp_path


def run(root: Path, kind: SandboxKind, source: str, **changes: object) -> tuple[RunRecord, str]:
    given = {"fixed": {"prepare.py": FIXED}, "isolation": kind.value, **changes}
    found = launch(root, source, "store/run with space", **given)
    shutil.rmtree(root / "store" / "run with space")
    return found


def tried(root: Path, kind: SandboxKind, *expressions: str, **changes: object) -> dict[str, str]:
    """What each expression gives inside a run, or the class of its error."""
    source = f"""
import glob, os, socket, sys
for expression in {expressions!r}:
    try: print(repr(eval(expression)))
    except Exception as error: print(type(error).__name__)
print('val: 1')
"""
    record, log = run(root, kind, source, **changes)
    assert record.outcome is Outcome.OK, (record, log)
    return dict(zip(expressions, log.splitlines(), strict=False))


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
    assert record.peak_rss_mb > 5


REFUSED = {"PermissionError", "FileNotFoundError", "OSError", "ValueError"}
REFUSED |= {"ProcessLookupError", "ConnectionRefusedError"}
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
def test_nothing_else_can_be_reached(root: Path, kind: SandboxKind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        places = {"root": str(root), "port": server.getsockname()[1], "pid": os.getpid()}
        hidden = [expression.format(**places) for expression in HIDDEN]
        # Bubblewrap lets names be written into an empty folder that nobody sees.
        written = [
            f"open({str(root)!r} + {name!r}, 'w')" for name in ("/outside", "/store/audit.bin")
        ]
        said = tried(root, kind, *hidden, *written)
    reached = {expression for expression in hidden if said[expression] not in REFUSED}
    if landlock_version() < SCOPE_VERSION:
        reached -= {hidden[-1]}  # this kernel cannot keep signals in
    assert reached == set()
    assert (root / "outside").read_bytes() == b"mine"
    assert (root / "store" / "audit.bin").read_bytes() == b"secret"


@needs(SandboxKind.BUBBLEWRAP)
def test_bubblewrap_leaves_empty_folders_and_own_processes(root: Path) -> None:
    expressions = (f"os.listdir({str(root / 'store')!r})", "len(glob.glob('/proc/[0-9]*')) <= 3")
    said = tried(root, SandboxKind.BUBBLEWRAP, *expressions)
    assert [*said.values()] == ["['run with space']", "True"]


@needs(SandboxKind.BUBBLEWRAP)
def test_bubblewrap_makes_inputs_read_only_even_for_root(root: Path) -> None:
    said = tried(
        root,
        SandboxKind.BUBBLEWRAP,
        "open('prepare.py', 'a').write('x')",
        "os.remove('prepare.py')",
        "os.chmod('prepare.py', 0o777)",
        "open('data/train.bin', 'w').write('x')",
        "os.rename('data', 'other')",
        "open('data/more', 'w').write('x')",
    )
    assert set(said.values()) <= {"OSError", "PermissionError"}
    assert len(said) == 6
    assert store(root).get(digest_bytes(DATA)) == DATA


@apart
def test_a_task_may_ask_for_the_network(root: Path, kind: SandboxKind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        look = f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5).close()"
        assert tried(root, kind, look, network=True)[look] == "None"


@every_kind
def test_nothing_survives(root: Path, kind: SandboxKind) -> None:
    mark = uuid.uuid4().hex
    source = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
for new in (False, True):
    subprocess.Popen([sys.executable, "-c", sleep, {mark!r}], start_new_session=new)
print("val: 1", flush=True)
time.sleep(600)
"""
    record, log = run(root, kind, source, timeout_seconds=3.0)
    assert record.outcome is Outcome.TIMEOUT
    assert "val: 1" in log
    assert processes_named(mark) == []
    assert record.wall_seconds < 60


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


@every_kind
def test_ends_are_told_as_they_are(root: Path, kind: SandboxKind) -> None:
    exited, _ = run(root, kind, "import sys; sys.exit(3)")
    killed, _ = run(root, kind, "import os; os.kill(os.getpid(), 11)")
    assert exited.outcome is killed.outcome is Outcome.CRASH
    assert (exited.exit_code, exited.signal) == (3, None)
    assert (killed.exit_code, killed.signal) == (None, 11)


@every_kind
def test_a_program_that_does_not_exist_is_the_tasks_fault(root: Path, kind: SandboxKind) -> None:
    with pytest.raises(StoreError, match=r"'no-such-program' cannot be started.*task\.yaml"):
        run(root, kind, "", command=["no-such-program"])


@pytest.fixture
def faults(monkeypatch: Patch) -> Iterator[Patch]:
    """Whatever is asked of the machine is asked anew."""
    monkeypatch.delenv("RATCHET_EXCHANGE", raising=False)
    sandbox.sandbox_fault.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    sandbox.sandbox_fault.cache_clear()


def test_auto_takes_the_strongest_that_works(faults: Patch) -> None:
    broken: set[SandboxKind] = set()
    faults.setattr(sandbox, "sandbox_fault", lambda kind: "none" if kind in broken else None)
    for kind in reversed(SandboxKind):
        assert choose_sandbox("auto") is kind
        broken.add(kind)
    with pytest.raises(ConfigError, match=r"bubblewrap does not work.*apt-get install bubblewrap"):
        choose_sandbox("bubblewrap")


def test_two_containers_are_used_where_they_were_set_up(tmp_path: Path, faults: Patch) -> None:
    faults.setenv("RATCHET_EXCHANGE", str(tmp_path))
    assert choose_sandbox("auto") is SandboxKind.CONTAINER
    faults.setenv("RATCHET_EXCHANGE", str(tmp_path / "missing"))
    sandbox.sandbox_fault.cache_clear()
    with pytest.raises(ConfigError, match=r"cannot be written to.*both containers share"):
        choose_sandbox("auto")


def test_a_broken_or_missing_bubblewrap_is_noticed(tmp_path: Path, faults: Patch) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to make one' >&2\nexit 1\n")
    program.chmod(0o755)
    faults.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "No permissions" in sandbox.sandbox_fault(SandboxKind.BUBBLEWRAP)
    sandbox.sandbox_fault.cache_clear()
    faults.setenv("PATH", str(tmp_path / "none"))
    assert sandbox.sandbox_fault(SandboxKind.BUBBLEWRAP) == "there is no program bwrap"


def test_an_environment_around_runs_opens_nothing(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    for name in ("bin", "lib/hidden", "lib/shown", "store"):
        (tmp_path / name).mkdir(parents=True)
    box = Box(work=tmp_path / "store" / "work", hidden=[tmp_path / "lib" / "hidden"])
    rules = landlock_rules(box)
    assert {str(tmp_path / name) for name in ("bin", "lib/shown")} <= set(rules["read"])
    closed = {str(tmp_path / name) for name in (".", "store", "lib", "lib/hidden")}
    assert not closed & set(rules["read"])
    assert str(tmp_path / "lib") in rules["list"], "its other names are seen"
