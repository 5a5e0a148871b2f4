"""What a run can reach under each kind of isolation, and that nothing survives it."""

import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.candidates import KINDS, apart, every_kind, needs
from helpers.commands import Patch
from helpers.run_plans import DATA, launch, processes_named, store
from ratchet.base.errors import ConfigError, StoreError
from ratchet.base.io import digest_bytes
from ratchet.records.records import Outcome
from ratchet.records.store import RunRecord
from ratchet.runs.sandbox import sandbox
from ratchet.runs.sandbox.landlock import SCOPE_VERSION
from ratchet.runs.sandbox.sandbox import (
    SandboxKind,
    bubblewrap_arguments,
    choose_sandbox,
    confine_command,
    landlock_rules,
    mount_plan,
    mounts_inputs,
    sandbox_holds,
    stronger_advice,
)
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


# Kinds under which inputs are mounted.
mounted = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[needs(kind), pytest.mark.skipif(not there, reason="no mounts")])
        for kind in KINDS
        for there in [sandbox.sandbox_fault(kind) is None and mounts_inputs(kind)]
    ],
)


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


@apart
def test_a_run_has_no_rights_to_give_up(root: Path, kind: SandboxKind) -> None:
    status = "[l for l in open('/proc/self/status') if l[:6] in ('CapEff', 'CapBnd', 'NoNewP')]"
    found = dict(line.split(":\t") for line in eval(tried(root, kind, status)[status]))
    assert found.pop("NoNewPrivs") == "1\n"
    assert {int(rights, 16) for rights in found.values()} == {0}


@mounted
def test_empty_folders_and_own_processes_are_left(root: Path, kind: SandboxKind) -> None:
    expressions = (
        f"os.listdir({str(root / 'store')!r})",
        "len(glob.glob('/proc/[0-9]*')) <= 3",
        "os.listdir('/dev/shm') + os.listdir('/run')",
    )
    said = tried(root, kind, *expressions)
    assert [*said.values()] == ["['run with space']", "True", "[]"]


@mounted
def test_inputs_are_read_only_even_for_root(root: Path, kind: SandboxKind) -> None:
    said = tried(
        root,
        kind,
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


@every_kind
def test_a_command_may_end_itself_when_told_to_and_nothing_survives(
    root: Path, kind: SandboxKind
) -> None:
    mark = uuid.uuid4().hex
    source = f"""
import signal, subprocess, sys, time
def stop(*_):
    print("flushed", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
sleep = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
for new in (False, True):
    subprocess.Popen([sys.executable, "-c", sleep, {mark!r}], start_new_session=new)
print("val: 1", flush=True)
time.sleep(600)
"""
    record, log = run(root, kind, source, timeout_seconds=3.0)
    assert record.outcome is Outcome.TIMEOUT
    assert "val: 1" in log and "flushed" in log
    assert processes_named(mark) == []
    assert record.wall_seconds < 60


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


def test_bubblewrap_and_namespaces_show_the_same(tmp_path: Path, monkeypatch: Patch) -> None:
    """One plan of mounts for both; a driver's device files are in it, folders of them too."""
    devices = [tmp_path / name for name in ("nvidia-caps", "nvidia0", "nvidiactl")]
    monkeypatch.setattr(sandbox, "gpu_devices", lambda: devices)
    data, work = tmp_path / "blob", tmp_path / "work"
    box = Box(work=work, fixed=[work / "prepare.py"], mounts={work / "data": data}, gpu=True)
    plan, words = mount_plan(box), bubblewrap_arguments(box)
    assert [*words[-2:]] == ["--chdir", str(work)]
    for what, place, source in plan:
        if what in ("read", "try", "write", "device"):
            at = next(i for i, word in enumerate(words) if words[i + 1 : i + 3] == [source, place])
            assert words[at].startswith({"write": "--bind", "device": "--dev"}.get(what, "--ro"))
    assert [row for row in plan if row[0] == "device"] == [
        ("device", *[str(p)] * 2) for p in devices
    ]
    assert ("read", str(work / "data"), str(data)) in plan
    assert [row[1] for row in plan if row[0] == "write"] == [str(work)]
    assert not any(row[0] == "device" for row in mount_plan(Box(work=work)))


def test_device_files_of_a_driver_are_found(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm", "sda", "tty"):
        (tmp_path / name).touch()
    (tmp_path / "nvidia-caps").mkdir()
    found = [path.name for path in sandbox.gpu_devices(tmp_path)]
    assert found == ["nvidia-caps", "nvidia-uvm", "nvidia0", "nvidiactl"]


HOLES = {"namespaces_fault": lambda: "none", "landlock_version": lambda: 5}


def test_one_line_says_what_a_kind_holds(monkeypatch: Patch) -> None:
    assert sandbox_holds(SandboxKind.NONE).startswith("no sandbox")
    monkeypatch.setattr(sandbox, "namespaces_fault", lambda: None)
    monkeypatch.setattr(sandbox, "filter_program", lambda machine: b"x")
    strong = sandbox_holds(SandboxKind.BUBBLEWRAP)
    assert strong.endswith("; open: the kernel")
    assert "network" in strong.split(";")[0]
    assert "network" in sandbox_holds(SandboxKind.BUBBLEWRAP, network=True).split(";")[1]
    assert sandbox_holds(SandboxKind.LANDLOCK) == strong
    for name, value in HOLES.items():
        monkeypatch.setattr(sandbox, name, value)
    monkeypatch.setattr(sandbox, "filter_program", lambda machine: b"")
    held, left = sandbox_holds(SandboxKind.LANDLOCK).split("; ")
    assert held == "closed: other files, TCP"
    for hole in (
        "signals",
        "sockets",
        "shared memory",
        "keyrings",
        "limits",
        "names of other",
        "none)",
    ):
        assert hole in left
    assert "keyrings" in sandbox_holds(SandboxKind.BUBBLEWRAP).split(";")[1]


def test_auto_says_how_to_get_more(monkeypatch: Patch) -> None:
    monkeypatch.delenv("RATCHET_EXCHANGE", raising=False)
    monkeypatch.setattr(sandbox, "sandbox_fault", lambda kind: "there is no program bwrap")
    assert "apt-get install bubblewrap" in stronger_advice("auto", SandboxKind.LANDLOCK)
    monkeypatch.setattr(sandbox, "sandbox_fault", lambda kind: "No permissions")
    assert stronger_advice("auto", SandboxKind.NONE).endswith("it says: No permissions")
    assert stronger_advice("auto", SandboxKind.BUBBLEWRAP) is None
    assert stronger_advice("none", SandboxKind.NONE) is None, "it is as it was wanted"


def test_sockets_in_files_are_had_where_they_lead_nowhere(tmp_path: Path, faults: Patch) -> None:
    box, online = Box(work=tmp_path), Box(work=tmp_path, network=True)

    def unix(kind: SandboxKind, box: Box) -> bool:
        return confine_command(kind, box, []).seccomp["unix"]

    faults.setattr(sandbox, "namespaces_fault", lambda: None)
    assert [unix(kind, b) for kind in KINDS for b in (box, online)] == [True] * 4
    # A network that is shared has abstract sockets, which older kernels do not close.
    faults.setattr(sandbox, "landlock_version", lambda: SCOPE_VERSION - 1)
    assert [unix(kind, b) for kind in KINDS for b in (box, online)] == [True, False] * 2
    faults.setattr(sandbox, "namespaces_fault", lambda: "none can be made")
    assert not unix(SandboxKind.LANDLOCK, box)
    assert confine_command(SandboxKind.NONE, box, []).seccomp is None


@needs(SandboxKind.LANDLOCK)
def test_without_namespaces_landlock_still_works(root: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(sandbox, "namespaces_fault", lambda: "switched off")
    said = tried(
        root,
        SandboxKind.LANDLOCK,
        f"open({str(root)!r} + '/store/audit.bin').read()",
        "open('/dev/shm/x', 'w')",
        "open('/tmp/x', 'w')",
        "__import__('tempfile').gettempdir() == os.getcwd()",
        "open('prepare.py').read()",
    )
    assert [*said.values()] == [*["PermissionError"] * 3, "True", repr(FIXED.decode())]


@needs(SandboxKind.LANDLOCK)
def test_why_there_are_no_namespaces_is_said(monkeypatch: Patch) -> None:
    missing = ("read", "/nowhere", "/is not there")
    monkeypatch.setattr(sandbox, "mount_plan", lambda box: [missing])
    monkeypatch.setattr(sandbox, "namespaces_fault", sandbox.namespaces_fault.__wrapped__)
    assert "No such file" in sandbox_holds(SandboxKind.LANDLOCK)


@needs(SandboxKind.LANDLOCK)
def test_a_sandbox_that_stops_working_stops_the_run(root: Path, monkeypatch: Patch) -> None:
    """A run is never made with less than its record says."""
    if sandbox.namespaces_fault() is not None:
        pytest.skip("no namespaces can be made")
    broken = ("read", "/nowhere", str(root / "is not there"))
    usual = sandbox.mount_plan
    monkeypatch.setattr(sandbox, "mount_plan", lambda box: [*usual(box), broken])
    with pytest.raises(StoreError, match="cannot be started"):
        run(root, SandboxKind.LANDLOCK, "print('val: 1')")
