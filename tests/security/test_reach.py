"""Cheats with the kernel: what a run reaches past its files, under each kind of isolation.

Each attack is made for real; without isolation most of them get through, which shows that
they are attacks.  The table in SECURITY.md is made of these.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import select
import shutil
import socket
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from helpers.candidates import KINDS, Arena, asking, needs
from helpers.commands import Patch
from helpers.run_plans import launch
from ratchet.records.records import Outcome
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


@dataclass
class Cell:
    """Where runs of a few lines are made, all under one kind of isolation."""

    root: Path
    kind: str
    changes: dict[str, object] = field(default_factory=dict)

    def run(self, attempts: Mapping[str, str]) -> dict[str, str]:
        """What each attempt ends with: ``reached``, or the class of its error."""
        source = (
            "import ctypes, fcntl, os, resource, socket, struct, sys\nfrom pathlib import Path\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "def call(*words):\n"
            "    found = libc.syscall(*words)\n"
            "    if found < 0: raise OSError(ctypes.get_errno(), 'refused')\n"
            "    return found\n"
        )
        for name, lines in attempts.items():
            source += (
                f"try:\n{textwrap.indent(lines.strip(), '    ')}\n"
                f"    print('=', {name!r}, 'reached', sep='|')\n"
                f"except Exception as error:\n"
                f"    print('=', {name!r}, type(error).__name__, sep='|')\n"
            )
        kind = SandboxKind.LANDLOCK.value if self.kind == BARE else self.kind
        given = {"isolation": kind, "timeout_seconds": 60.0, **self.changes}
        record, log = launch(self.root, f"{source}print('val: 1')\n", "store/run", **given)
        shutil.rmtree(self.root / "store" / "run")
        assert record.outcome is Outcome.OK, (record, log)
        rows = [line.split("|") for line in log.splitlines() if line.startswith("=|")]
        assert [row[1] for row in rows] == list(attempts), log
        return {name: said for _, name, said in rows}

    def reached(self, attempts: Mapping[str, str]) -> set[str]:
        """Names of the attempts that nothing refused."""
        return {name for name, said in self.run(attempts).items() if said == "reached"}


@pytest.fixture
def cell(tmp_path: Path, kind: str, monkeypatch: Patch) -> Cell:
    if kind == BARE:
        monkeypatch.setattr(sandbox, "namespaces_fault", lambda: "switched off")
    (tmp_path / "store").mkdir()
    return Cell(tmp_path, kind)


# Each says something to whoever listens; {path}, {packets}, {name} and the ports are ours.
MESSAGES = {
    "path socket": "s = socket.socket(socket.AF_UNIX)\ns.connect({path!r})\ns.sendall(b'sh')",
    "path datagrams": (
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.sendto(b'sh', {packets!r})"
    ),
    "pair turned around": (
        "s, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.sendto(b'sh', {packets!r})"
    ),
    "raw pair turned around": (
        "s, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW)\ns.sendto(b'sh', {packets!r})"
    ),
    "abstract socket": "s = socket.socket(socket.AF_UNIX)\ns.connect({name!r})\ns.sendall(b'sh')",
    "abstract datagrams": (
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.sendto(b'sh', {name!r} + 'd')"
    ),
    "tcp": "socket.create_connection(('127.0.0.1', {tcp}), 5).sendall(b'sh')",
    "mptcp": (
        "s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)\n"
        "s.connect(('127.0.0.1', {tcp}))\ns.sendall(b'sh')"
    ),
    "fast open": (
        "s = socket.socket()\ns.sendto(b'sh', socket.MSG_FASTOPEN, ('127.0.0.1', {tcp}))"
    ),
    "udp": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'sh', ('127.0.0.1', {udp}))",
    "udp6": "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'sh', ('::1', {udp6}))",
}


@dataclass
class Listeners:
    """A listener at each kind of address, and what they heard."""

    sockets: dict[str, socket.socket]
    places: dict[str, object]

    def heard(self) -> set[str]:
        """Names of the sockets that somebody said something to."""
        found = set()
        ready, _, _ = select.select(list(self.sockets.values()), [], [], 0.2)
        for name, own in self.sockets.items():
            if own in ready:
                found.add(name)
                if own.type == socket.SOCK_STREAM:
                    own.accept()[0].close()
                else:
                    own.recv(100)
        return found


@pytest.fixture
def listeners(tmp_path: Path) -> Iterator[Listeners]:
    name, folder = f"\0ratchet-{uuid.uuid4().hex}", Path(f"/tmp/ratchet-{uuid.uuid4().hex[:8]}")
    folder.mkdir()
    families = {
        "path": (socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "engine.sock")),
        "packets": (socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "log.sock")),
        "abstract": (socket.AF_UNIX, socket.SOCK_STREAM, name),
        "abstract packets": (socket.AF_UNIX, socket.SOCK_DGRAM, name + "d"),
        "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "udp6": (socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 0)),
    }
    with contextlib.ExitStack() as held:
        held.callback(shutil.rmtree, folder)
        opened = {}
        for which, (family, way, place) in families.items():
            own = held.enter_context(socket.socket(family, way))
            own.bind(place)
            if way == socket.SOCK_STREAM:
                own.listen(10)
            opened[which] = own
        ports = {which: opened[which].getsockname()[1] for which in ("tcp", "udp", "udp6")}
        paths = {"path": str(folder / "engine.sock"), "packets": str(folder / "log.sock")}
        yield Listeners(opened, {**paths, "name": name, **ports})


@every
def test_nobody_outside_is_reached_by_a_socket(cell: Cell, listeners: Listeners) -> None:
    attempts = {name: lines.format(**listeners.places) for name, lines in MESSAGES.items()}
    reached, heard = cell.reached(attempts), listeners.heard()
    if cell.kind == NONE:
        # The attacks are attacks.
        assert reached >= set(MESSAGES) - {"mptcp", "fast open"}
        assert heard == set(listeners.sockets)
    else:
        assert (reached, heard) == (set(), set())


@confined
def test_a_task_with_a_network_gets_that_alone(cell: Cell, listeners: Listeners) -> None:
    cell.changes["network"] = True
    attempts = {name: lines.format(**listeners.places) for name, lines in MESSAGES.items()}
    cell.run(attempts)
    heard = listeners.heard()
    assert heard >= {"tcp", "udp"}
    assert heard <= {"tcp", "udp", "udp6"}


@confined
def test_processes_of_a_run_talk_over_sockets_of_their_own(cell: Cell) -> None:
    pair = "a, b = socket.socketpair()\na.sendall(b'x')\nassert b.recv(1) == b'x'"
    listening = (
        "s = socket.socket(socket.AF_UNIX)\ns.bind('/tmp/own')\ns.listen()\n"
        "socket.socket(socket.AF_UNIX).connect('/tmp/own')"
    )
    # Without namespaces a path could be anybody's.
    own = {"pair"} if cell.kind == BARE else {"pair", "listening"}
    assert cell.reached({"pair": pair, "listening": listening}) == own


OTHERS = {
    "limits": "resource.prlimit({pid}, resource.RLIMIT_NOFILE, (5, 5))",
    "limits of the parent": "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (5, 5))",
    "processors": "os.sched_setaffinity({pid}, [min(os.sched_getaffinity(0))])",
    "priority": "os.setpriority(os.PRIO_PROCESS, {pid}, 19)",
    "priority of the user": "os.setpriority(os.PRIO_USER, 0, 3)",
    "disk priority": "call({ioprio_set}, 1, {pid}, 3 << 13)",
    "scheduling": "os.sched_setscheduler({pid}, os.SCHED_BATCH, os.sched_param(0))",
    "signal": "os.kill({pid}, 23)",
    "signal by descriptor": "call(424, os.pidfd_open({pid}), 23, None, 0)",
    "descriptor": "call(438, os.pidfd_open({pid}), 0, 0)",
    "memory": 'open("/proc/{pid}/mem", "rb", 0)',
    "memory by call": (
        "a = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)\n"
        "if libc.process_vm_readv({pid}, a, 1, a, 1, 0) < 0 and ctypes.get_errno() != 14:\n"
        "    raise OSError(ctypes.get_errno(), '')"
    ),
    "tracing": (
        "if libc.ptrace(16, {pid}, None, None) < 0: raise OSError(ctypes.get_errno(), '')\n"
        "os.waitpid({pid}, 0)\nlibc.ptrace(17, {pid}, None, None)"
    ),
    "environment": 'open("/proc/{pid}/environ", "rb").read()',
    "root folder": 'os.listdir("/proc/{pid}/root/")',
    "descriptors by path": 'os.readlink("/proc/{pid}/fd/1")',
}


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the same user that ignores signal 23 and does nothing."""
    wait = (
        "import signal, time; signal.signal(23, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", wait], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    # The harness ends all other children of this process with a run.
    let_last(process.pid)
    yield process
    process.kill()
    process.communicate()


@every
def test_no_other_process_is_touched(cell: Cell, victim: subprocess.Popen[bytes]) -> None:
    pid = victim.pid
    numbers = {"ioprio_set": 251 if os.uname().machine == "x86_64" else 30}
    attempts = {name: lines.format(pid=pid, **numbers) for name, lines in OTHERS.items()}
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE), os.sched_getaffinity(pid)
    if cell.kind == NONE:
        # Those that are not the harness's own death.
        del attempts["limits of the parent"], attempts["priority of the user"]
        assert cell.reached(attempts) == set(attempts)
        return
    reached = cell.reached(attempts)
    if cell.kind == BUBBLEWRAP:
        reached -= {"priority of the user"}  # of whom only the run's own are there
    if landlock_version() < SCOPE_VERSION:
        reached -= {"signal", "signal by descriptor"}  # open on such kernels, and said so
    assert reached == set()
    assert before == (resource.prlimit(pid, resource.RLIMIT_NOFILE), os.sched_getaffinity(pid))
    assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) == 0


@confined
def test_a_run_sees_and_sets_its_own_limits(cell: Cell) -> None:
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


# Marks that a second run looks for; {mark} is a number of its own, {name} a text.
LEFT = {
    "session keyring": "find = lambda: call({keyctl}, 10, -3, b'user', b'{name}', 0)\n"
    "leave = lambda: call({add_key}, b'user', b'{name}', b'weights', 7, -3)",
    "user keyring": "find = lambda: call({keyctl}, 10, -4, b'user', b'{name}', 0)\n"
    "leave = lambda: call({add_key}, b'user', b'{name}', b'weights', 7, -4)",
    "shared memory": "path = '/dev/shm/{name}'\nfind = lambda: os.stat(path)\n"
    "leave = lambda: open(path, 'x').close()",
    "semaphore": "libc.sem_open.restype = ctypes.c_void_p\n"
    "def find():\n    if not libc.sem_open(b'/{name}', 0): raise OSError(ctypes.get_errno(), '')\n"
    "def leave():\n    if not libc.sem_open(b'/{name}', os.O_CREAT, 0o600, 1):\n"
    "        raise OSError(ctypes.get_errno(), '')",
    "temporary file": "path = '/tmp/{name}'\nfind = lambda: os.stat(path)\n"
    "leave = lambda: open(path, 'x').close()",
    "another temporary file": "path = '/var/tmp/{name}'\nfind = lambda: os.stat(path)\n"
    "leave = lambda: open(path, 'x').close()",
    "shared memory of System V": "find = lambda: call({shmget}, {mark}, 4096, 0)\n"
    "leave = lambda: call({shmget}, {mark}, 4096, 0o1600)",
    "semaphores of System V": "find = lambda: call({semget}, {mark}, 1, 0)\n"
    "leave = lambda: call({semget}, {mark}, 1, 0o1600)",
    "messages of System V": "find = lambda: call({msgget}, {mark}, 0)\n"
    "leave = lambda: call({msgget}, {mark}, 0o1600)",
    "queue": "find = lambda: call({mq_open}, b'{name}', 0, 0, None)\n"
    "leave = lambda: call({mq_open}, b'{name}', os.O_CREAT | os.O_RDWR, 0o600, None)",
}
X86 = {"keyctl": 250, "add_key": 248, "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240}
ARM = {"keyctl": 219, "add_key": 217, "shmget": 194, "semget": 190, "msgget": 186, "mq_open": 180}
IPC_REMOVE = 0


@every
def test_nothing_in_memory_is_left_to_the_next_run(cell: Cell) -> None:
    numbers = X86 if os.uname().machine == "x86_64" else ARM
    mark, name = int(uuid.uuid4().hex[:7], 16), f"ratchet-{uuid.uuid4().hex}"
    given = {"mark": mark, "name": name, **numbers}
    finds = {k: f"{lines.format(**given)}\nfind()" for k, lines in LEFT.items()}
    leaves = {k: f"{lines.format(**given)}\nleave()" for k, lines in LEFT.items()}
    try:
        left = cell.reached(leaves)
        found = cell.reached(finds)
    finally:
        forget(mark, name)
    if cell.kind == NONE:
        # What a machine does not have cannot be left there either.
        assert found == left
        assert found >= {"shared memory", "semaphore", "temporary file"}
    else:
        assert found == set()


def forget(mark: int, name: str) -> None:
    """Remove what runs without isolation have left."""
    library = ctypes.CDLL(None)
    for path in (Path("/tmp", name), Path("/var/tmp", name), Path("/dev/shm", name)):
        path.unlink(missing_ok=True)
    Path("/dev/shm", f"sem.{name}").unlink(missing_ok=True)
    for kind, more in (("shm", ()), ("msg", ()), ("sem", (0,))):
        number = getattr(library, f"{kind}get")(mark, *([1] if kind == "sem" else []), 0)
        if number >= 0:
            remove = (number, 0, IPC_REMOVE) if more else (number, IPC_REMOVE, None)
            getattr(library, f"{kind}ctl")(*remove)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("librt.so.1").mq_unlink(f"/{name}".encode())
    number = 250 if os.uname().machine == "x86_64" else 219
    key = library.syscall(number, 10, -4, b"user", name.encode(), 0)
    if key > 0:
        library.syscall(number, 9, key, -4)


# System calls by what they would open; refused as on a kernel without them, or not permitted.
CALLS = {
    "io_uring": ((425, 425), "1, ctypes.create_string_buffer(200)", errno.ENOSYS),
    "another namespace": ((272, 97), "0x10000000", errno.EPERM),
    "a clone in a namespace": ((56, 220), "0x10000011, 0, 0, 0, 0", errno.EPERM),
    "clone3": ((435, 435), "None, 0", errno.ENOSYS),
    "setns": ((308, 268), "0, 0", errno.EPERM),
    "mount": ((165, 40), "b'none', b'/', b'tmpfs', 0, None", errno.EPERM),
    "open_tree": ((428, 428), "-100, b'/', 1", errno.EPERM),
    "bpf": ((321, 280), "0, None, 0", errno.EPERM),
    "perf": ((298, 241), "None, 0, -1, -1, 0", errno.EPERM),
    "userfaultfd": ((323, 282), "0", errno.ENOSYS),
    "handles": ((304, 265), "-100, None, 0", errno.EPERM),
    "names of handles": ((303, 264), "-100, b'/', None, None, 0", errno.EPERM),
    "personality": ((135, 92), "0x0040000", errno.EPERM),
    "kexec": ((246, 104), "0, 0, None, 0", errno.EPERM),
    "terminal input": ((16, 29), "0, 0x5412, b'x'", errno.EPERM),
    "terminal input, high bits": ((16, 29), "0, ctypes.c_long(0x100005412), b'x'", errno.EPERM),
    "console": ((16, 29), "0, 0x541C, b'x'", errno.EPERM),
    "a call of tomorrow": ((600, 600), "0", errno.ENOSYS),
    "netlink": ((41, 198), "16, 3, 0", errno.EPERM),
    "packets of the network card": ((41, 198), "17, 3, 0", errno.EPERM),
    "virtual machine's socket": ((41, 198), "40, 1, 0", errno.EPERM),
    "kernel crypto": ((41, 198), "38, 5, 0", errno.EPERM),
}
X32 = {"the other table": ((0x40000000 + 39, None), "", errno.ENOSYS)}


@confined
def test_the_filter_refuses_what_opens_the_kernel(cell: Cell) -> None:
    place = 0 if os.uname().machine == "x86_64" else 1
    attempts = {}
    for name, (numbers, words, code) in (CALLS | (X32 if place == 0 else {})).items():
        attempts[name] = (
            f"try:\n    call({numbers[place]}, {words})\nexcept OSError as error:\n"
            f"    assert error.errno == {code}, error.errno\nelse:\n    raise ValueError('done')"
        )
    assert cell.reached(attempts) == set(attempts)


HELLO = """
#include <unistd.h>
int main(void) {
    int written;
    static const char text[] = "=|int80|reached\\n";
    __asm__ volatile("int $0x80" : "=a"(written)
        : "a"(20));
    return written > 0 ? 0 : 3;
}
"""


@confined
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="another processor")
def test_calls_of_an_older_processor_are_no_way_around(cell: Cell) -> None:
    lines = (
        f"import subprocess\nPath('a.c').write_text({HELLO!r})\n"
        "subprocess.run(['gcc', '-o', 'a.out', 'a.c'], check=True)\n"
        "done = subprocess.run(['./a.out']).returncode\nassert done == 3, done"
    )
    assert cell.reached({"refused": lines}) == {"refused"}


def test_descriptors_sent_to_the_evaluator_are_dropped(arena: Arena) -> None:
    lines = """    import socket
    class Generous(socket.socket):
        def sendall(self, data):
            own = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
            sent = socket.send_fds(self, [bytes(data)], own)
            [os.close(descriptor) for descriptor in own]
            super().sendall(bytes(data)[sent:])
    import os
    socket.socket = Generous
"""
    attempt = arena.attempt(asking(lines, "evaluate_bpb(model.predict)"))
    assert attempt.value == arena.honest()
