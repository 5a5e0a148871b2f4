"""Cheats with the kernel: what a run reaches past its files, under each kind of isolation.

Each attack is made for real; without isolation most of them get through, which shows that
they are attacks.  The table in SECURITY.md is made of these.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import REPO
from helpers.attacks import (
    INTEL,
    MESSAGES,
    Cell,
    Listeners,
    forget,
    leaving,
    listening,
    messages,
    others,
    refusals,
)
from helpers.candidates import FIRST, KINDS, Arena, asking, before, needs, open_hole
from helpers.commands import Patch
from ratchet.runs.process import let_last
from ratchet.runs.sandbox import sandbox
from ratchet.runs.sandbox.landlock import SCOPE_VERSION, landlock_version
from ratchet.runs.sandbox.sandbox import SandboxKind
from ratchet.runs.sandbox.seccomp import filter_program

FILTERED = bool(filter_program(os.uname().machine))
pytestmark = pytest.mark.skipif(not FILTERED, reason="no filter of system calls on this machine")

# Landlock where no namespaces can be made, as in most containers.
BARE = "landlock alone"
NONE, LANDLOCK, BUBBLEWRAP = SandboxKind.NONE.value, *(kind.value for kind in KINDS)
needs_namespaces = pytest.mark.skipif(
    sandbox.sandbox_fault(SandboxKind.LANDLOCK) is not None
    or sandbox.namespaces_fault() is not None,
    reason="no namespaces can be made",
)
CONFINED = [
    pytest.param(BARE, marks=needs(SandboxKind.LANDLOCK)),
    pytest.param(LANDLOCK, marks=[needs(SandboxKind.LANDLOCK), needs_namespaces]),
    pytest.param(BUBBLEWRAP, marks=needs(SandboxKind.BUBBLEWRAP)),
]
confined = pytest.mark.parametrize("kind", CONFINED)
every = pytest.mark.parametrize("kind", [NONE, *CONFINED])


@pytest.fixture
def cell(tmp_path: Path, kind: str, monkeypatch: Patch) -> Cell:
    if kind == BARE:
        monkeypatch.setattr(sandbox, "namespaces_fault", lambda: "switched off")
    (tmp_path / "store").mkdir()
    return Cell(tmp_path, LANDLOCK if kind == BARE else kind)


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    with listening() as found:
        yield found


@every
def test_nobody_outside_is_reached_by_a_socket(cell: Cell, kind: str, listeners: Listeners) -> None:
    reached, heard = cell.reached(messages(listeners.places)), listeners.heard()
    if kind == NONE:
        # The attacks are attacks.
        assert reached >= set(MESSAGES) - {"mptcp", "fast open"}
        assert heard == set(listeners.sockets)
    else:
        assert (reached, heard) == (set(), set())


@confined
def test_a_task_with_a_network_gets_that_alone(cell: Cell, kind: str, listeners: Listeners) -> None:
    cell.changes["network"] = True
    cell.run(messages(listeners.places))
    heard = listeners.heard()
    assert heard >= {"tcp", "udp"}
    assert heard <= {"tcp", "udp", "udp6"}


@confined
def test_processes_of_a_run_talk_over_sockets_of_their_own(cell: Cell, kind: str) -> None:
    pair = "a, b = socket.socketpair()\na.sendall(b'x')\nassert b.recv(1) == b'x'"
    listening = (
        "s = socket.socket(socket.AF_UNIX)\ns.bind('/tmp/own')\ns.listen()\n"
        "socket.socket(socket.AF_UNIX).connect('/tmp/own')"
    )
    # Without namespaces a path could be anybody's.
    own = {"pair"} if kind == BARE else {"pair", "listening"}
    assert cell.reached({"pair": pair, "listening": listening}) == own


@pytest.fixture
def victim() -> Iterator[int]:
    """A process of the same user that ignores signal 23 and does nothing."""
    wait = "import signal; signal.signal(23, signal.SIG_IGN); print(flush=True); signal.pause()"
    process = subprocess.Popen([sys.executable, "-c", wait], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    # The harness ends all other children of this process with a run.
    let_last(process.pid)
    yield process.pid
    process.kill()
    process.communicate()


def settings(pid: int) -> tuple[object, ...]:
    """Limits, processors and priority of a process."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    return limits, os.sched_getaffinity(pid), os.getpriority(os.PRIO_PROCESS, pid)


@every
def test_no_other_process_is_touched(cell: Cell, kind: str, victim: int) -> None:
    attempts = others(victim)
    before = settings(victim)
    if kind == NONE:
        # Those that are not the harness's own death; root's need root, and not all are there.
        del attempts["limits of the parent"], attempts["priority of the user"]
        roots = {"settings of the kernel": "/proc/sys/vm/swappiness"}
        roots["keys of the machine"] = "/proc/sysrq-trigger"
        for name, path in roots.items():
            if not os.access(path, os.W_OK):
                del attempts[name]
        assert cell.reached(attempts) == set(attempts)
        return
    reached = cell.reached(attempts)
    if kind != BARE:
        reached -= {"priority of the user"}  # of whom only the run's own are there
    elif landlock_version() < SCOPE_VERSION:
        reached -= {"signal", "signal by descriptor"}  # open on such kernels, and said so
    assert reached == set()
    assert settings(victim) == before


@confined
def test_a_run_sees_and_sets_its_own_limits(cell: Cell, kind: str) -> None:
    own = {
        "reads": "resource.getrlimit(resource.RLIMIT_NOFILE)",
        "sets": "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
        "processors": "os.sched_setaffinity(0, os.sched_getaffinity(0))",
        "priority": "os.nice(1)",
        "thread": "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
        "process": "import subprocess\nsubprocess.run(['sh', '-c', 'exit'], check=True)",
        "its own child": "import signal\np = os.fork() or os._exit(signal.pause() or 0)\n"
        "os.kill(p, 9)\nos.waitpid(p, 0)",
        "memory file": "os.write(os.memfd_create('own'), b'x')",
    }
    assert cell.reached(own) == set(own)


@every
def test_nothing_in_memory_is_left_to_the_next_run(cell: Cell, kind: str) -> None:
    mark, name = int(uuid.uuid4().hex[:7], 16), f"ratchet-{uuid.uuid4().hex}"
    leaves, finds = leaving(mark, name)
    try:
        left = cell.reached(leaves)
        found = cell.reached(finds)
    finally:
        forget(mark, name)
    if kind == NONE:
        # What a machine does not have cannot be left there either.
        assert found == left
        assert found >= {"shared memory", "semaphore", "temporary file"}
    else:
        assert found == set()


@confined
def test_the_filter_refuses_what_opens_the_kernel(cell: Cell, kind: str) -> None:
    attempts = refusals()
    assert cell.reached(attempts) == set(attempts)


GETPID = """
int own(void) {
    int found;
    __asm__ volatile("int $0x80" : "=a"(found) : "a"(20));
    return found;
}
"""


@confined
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
@pytest.mark.skipif(not INTEL, reason="another processor")
def test_calls_of_an_older_processor_are_no_way_around(cell: Cell, kind: str) -> None:
    lines = (
        f"import errno, subprocess\nPath('a.c').write_text({GETPID!r})\n"
        "subprocess.run(['gcc', '-shared', '-fPIC', '-o', 'a.so', 'a.c'], check=True)\n"
        "assert ctypes.CDLL('./a.so').own() == -errno.ENOSYS"
    )
    assert cell.reached({"refused": lines}) == {"refused"}


def test_descriptors_sent_to_the_evaluator_are_dropped(arena: Arena) -> None:
    lines = """    import os, socket
    sent = []
    def sendall(channel, data):
        own = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
        data = bytes(data)
        while data:
            sent.append(socket.send_fds(channel, [data], own))
            data = data[sent[-1]:]
        for descriptor in own:
            os.close(descriptor)
    socket.socket.sendall = sendall
    value = evaluate_bpb(model.predict)
    assert sent
"""
    attempt = arena.attempt(asking(lines, "value"))
    assert attempt.value == arena.honest()


HOLDS = """    import ctypes, os, socket, struct
    line = socket.socket(fileno=os.dup(int(os.environ["RATCHET_EVALUATOR_FD"])))
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        held = struct.unpack("i", line.getsockopt(socket.SOL_SOCKET, 77, 4))[0]  # SO_PEERPIDFD
        for call in ((424, held, 0, None, 0), (438, held, 1, 0), (308, held, 0x20000)):
            print("HELD" if libc.syscall(*call) >= 0 else "REFUSED", call[0])
    except OSError:
        print("REFUSED, as on a kernel without it")
"""


@confined
def test_the_evaluators_socket_leads_to_no_process(
    arena: Arena, kind: str, monkeypatch: Patch
) -> None:
    """Whoever made the pair is its other end for the kernel: that is the supervisor."""
    if kind == BARE:
        monkeypatch.setattr(sandbox, "namespaces_fault", lambda: "switched off")
    attempt = arena.attempt(before(FIRST, HOLDS), SandboxKind(LANDLOCK if kind == BARE else kind))
    assert "REFUSED" in attempt.log
    allowed = kind == BARE and landlock_version() < SCOPE_VERSION
    assert "HELD" not in attempt.log or allowed


@open_hole("files of the system are the same for all runs, and so are locks on them")
@confined
def test_no_lock_is_seen_by_who_runs_beside(cell: Cell, kind: str) -> None:
    with Path(os.__file__).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        look = "fcntl.flock(open(os.__file__), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert cell.run({"lock": look}) == {"lock": "reached"}


@every
def test_rights_and_times_of_files_outside_stay(cell: Cell, kind: str) -> None:
    """Landlock does not ask about these, and what a run writes there another could read."""
    place = cell.root / "outside"
    place.write_text("mine")
    place.chmod(0o600)
    attempts = {}
    # The last one is the run's own way to a device of the machine.
    for name, path in {"file": str(place), "program": sys.executable, "input": 0}.items():
        attempts |= {
            f"times of the {name}": f"s = os.stat({path!r})\n"
            f"os.utime({path!r}, ns=(s.st_atime_ns, s.st_mtime_ns))",
            f"rights of the {name}": f"os.chmod({path!r}, os.stat({path!r}).st_mode & 0o777)",
            f"owner of the {name}": f"os.chown({path!r}, os.getuid(), os.getgid())",
        }
    attempts["attribute"] = f"os.setxattr({str(place)!r}, 'user.weights', b'x')"
    attempts["device"] = "os.utime('/dev/null', (0, 0))"
    own = {name for name in attempts if "input" in name}
    if kind == NONE:
        del attempts["device"]
        assert cell.reached(attempts) >= set(attempts) - {"attribute"}
    else:
        # Its input is a pipe, which ends with it.
        assert cell.reached(attempts) == (set() if kind == BARE else own)
        assert Path("/dev/null").stat().st_mtime > 0


@every
def test_other_processes_are_seen_or_not(cell: Cell, kind: str) -> None:
    line = Path("/proc/self/cmdline").read_bytes()
    look = {"command line": f"assert Path('/proc/{os.getpid()}/cmdline').read_bytes() == {line!r}"}
    assert cell.reached(look) == (set(look) if kind in (NONE, BARE) else set())


def test_each_line_of_the_table_has_its_test() -> None:
    text = (REPO / "SECURITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\| `(test_\w+\.py)::(test_\w+)` \|$", text, re.MULTILINE)
    assert len(rows) > 15
    for file, name in rows:
        assert f"def {name}(" in Path(__file__).with_name(file).read_text(encoding="utf-8"), name
    _, _, cheats = text.partition("## Cheats, whatever the isolation\n")
    files = re.findall(r"`(tests/[\w/]+\.py)`", cheats)
    assert len(files) > 30
    assert [file for file in files if not (REPO / file).is_file()] == []
    named = {name for file, name in rows if file == Path(__file__).name}
    assert {n for n in globals() if n.startswith("test_")} - named == UNLISTED


# What shows that honest runs are left alone, and this.
UNLISTED = {
    "test_processes_of_a_run_talk_over_sockets_of_their_own",
    "test_a_run_sees_and_sets_its_own_limits",
    "test_each_line_of_the_table_has_its_test",
    # Of the cheats below the table.
    "test_the_evaluators_socket_leads_to_no_process",
    "test_no_lock_is_seen_by_who_runs_beside",
}
