"""Attacks on what lies beyond a run's files: sockets, processes, memory, system calls.

Written as lines of Python that end with an error where they are refused; a run of them
says what came of each.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import shutil
import socket
import textwrap
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from helpers.run_plans import launch
from ratchet.records.records import Outcome

INTEL = os.uname().machine == "x86_64"


@dataclass
class Cell:
    """Where runs of a few lines are made, all under one kind of isolation."""

    root: Path
    kind: str
    folder: str = "store/run"
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
        given = {"isolation": self.kind, "timeout_seconds": 60.0, **self.changes}
        record, log = launch(self.root, f"{source}print('val: 1')\n", self.folder, **given)
        shutil.rmtree(self.root / self.folder)
        assert record.outcome is Outcome.OK, (record, log)
        rows = [line.split("|") for line in log.splitlines() if line.startswith("=|")]
        assert [row[1] for row in rows] == list(attempts), log
        return {name: said for _, name, said in rows}

    def reached(self, attempts: Mapping[str, str]) -> set[str]:
        """Names of the attempts that nothing refused."""
        return {name for name, said in self.run(attempts).items() if said == "reached"}


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


def messages(places: Mapping[str, object]) -> dict[str, str]:
    """Attempts to say something to listeners at these places."""
    return {name: lines.format(**places) for name, lines in MESSAGES.items()}


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


@contextlib.contextmanager
def listening() -> Iterator[Listeners]:
    """Listeners at all kinds of addresses of this machine."""
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
    "settings of the kernel": 'os.open("/proc/sys/vm/swappiness", os.O_WRONLY)',
    "keys of the machine": 'os.open("/proc/sysrq-trigger", os.O_WRONLY)',
    "descriptors by path": 'os.readlink("/proc/{pid}/fd/1")',
}


def others(pid: int) -> dict[str, str]:
    """Attacks on a process."""
    return {k: t.format(pid=pid, ioprio_set=251 if INTEL else 30) for k, t in OTHERS.items()}


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


def leaving(mark: int, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Attempts to leave something, and to find it."""
    given = {"mark": mark, "name": name, **(X86 if INTEL else ARM)}
    lines = {k: text.format(**given) for k, text in LEFT.items()}
    leaves = {k: f"{text}\nleave()" for k, text in lines.items()}
    return leaves, {k: f"{text}\nfind()" for k, text in lines.items()}


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
    number = X86["keyctl"] if INTEL else ARM["keyctl"]
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


def refusals() -> dict[str, str]:
    """Calls that must be refused, each with its error."""
    found = {}
    for name, (numbers, words, code) in (CALLS | (X32 if INTEL else {})).items():
        found[name] = (
            f"try:\n    call({numbers[0 if INTEL else 1]}, {words})\n"
            f"except OSError as error:\n    assert error.errno == {code}, error.errno\n"
            "else:\n    raise ValueError('done')"
        )
    return found
