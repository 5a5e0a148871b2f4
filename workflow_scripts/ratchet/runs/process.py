"""Processes and their descendants: start, watch, measure, end.

Standard library only, since the supervisor imports it and must start fast.  Linux is
assumed for whatever reads ``/proc``; elsewhere nothing is found.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ratchet.runs.sandbox.cgroups import ControlGroup, create_cgroup
from ratchet.runs.sandbox.landlock import restrict_process, restrict_scope
from ratchet.runs.sandbox.namespaces import enter_namespaces, seal_devices
from ratchet.runs.sandbox.seccomp import filter_program, install_filter


def _ended_children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Command:
    """A command with everything that it starts, as children of this process.

    This process must have called :func:`adopt_orphans`, or be the first of a container.
    The command is started once; ``spared`` are children that are not its.

    ``order`` gives ``command``, ``folder``, ``environment``, and may give what
    :func:`confine_process` needs, ``channel`` (the variable that names the
    descriptor of the evaluator's socket), ``wrapped`` (the first process is a
    sandbox, not the command), and ``limits`` for its control group.
    """

    def __init__(self, order: Mapping[str, Any], spared: Collection[int] = ()) -> None:
        self.order = order
        self.spared = spared
        self.meter = Meter()
        self.peak_mb = 0.0
        self.memory_mb: float | None = None
        self.before = 0.0
        self.group: ControlGroup | None = None
        self.child: subprocess.Popen[bytes]

    def start(self, output: int, channel: int | None) -> None:
        """Start it in a session of its own, writing to ``output``.

        Raises :class:`OSError` or :class:`subprocess.SubprocessError` if that
        cannot be done.
        """
        environment, inherited = dict(self.order["environment"]), []
        if channel is not None:
            inherited.append(channel)
            environment[self.order["channel"]] = str(channel)
        self.before = _ended_children_seconds()
        me = os.getpid()
        group = create_cgroup(self.order.get("limits"))
        joined, tell = os.pipe()
        try:
            self._start(environment, inherited, output, lambda: self._prepare(me, group, tell))
        finally:
            os.close(tell)
            # Nobody else has the other end any more: the command was started, or was not.
            if os.read(joined, 1):
                self.group = group
            os.close(joined)
            if group is not None and self.group is None:
                group.remove()

    def _start(
        self,
        environment: Mapping[str, str],
        inherited: Collection[int],
        output: int,
        prepare: Callable[[], None],
    ) -> None:
        # The machine's /dev/null is a file whose rights its owner could change.
        nothing, end = os.pipe()
        os.close(end)
        with with_filter(self.order) as (command, also), os.fdopen(nothing):
            self.child = subprocess.Popen(
                command,
                cwd=self.order["folder"],
                env=environment,
                stdin=nothing,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[*inherited, *also],
                start_new_session=True,
                preexec_fn=prepare,
            )

    def _prepare(self, parent: int, group: ControlGroup | None, tell: int) -> None:
        """Prepare the command's process before it becomes the command."""
        die_with_parent(parent)
        if group is not None and group.join():
            os.write(tell, b"1")
        confine_process(self.order)

    def ended(self) -> bool:
        """Whether it has ended; what it used can still be asked for."""
        found = os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found is not None

    def _living(self) -> list[int]:
        return [pid for pid in descendants(os.getpid()) if pid not in self.spared]

    def used(self) -> float:
        """CPU seconds so far; also looks how much memory is in use now."""
        living = self._living()
        # Two that only wait for the command are copies of this process.
        own = [self.child.pid, *_children(self.child.pid)] if self.order.get("mounts") else []
        self.memory_mb = resident_mb(pid for pid in living if pid not in own)
        self.peak_mb = max(self.peak_mb, self.memory_mb)
        return max(self.meter.read(living), self.group.cpu_seconds() if self.group else 0.0)

    def terminate(self) -> None:
        """Ask all its processes to end; a sandbox would take them along without grace."""
        wrappers = [self.child.pid] if self.order.get("wrapped") else []
        for pid in self._living():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if pid not in wrappers:
                    os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(ProcessLookupError):
            if not wrappers:
                os.killpg(self.child.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the command and its group at once."""
        if self.group:
            self.group.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.child.pid, signal.SIGKILL)

    def finish(self) -> dict[str, Any]:
        """Wait for its end, kill what it left behind; what became of it as JSON values."""
        _, status, used = os.wait4(self.child.pid, 0)
        self.child.returncode = os.waitstatus_to_exitcode(status)
        if self.group:
            self.group.kill()
        leftover = kill_descendants(self.spared)
        # All that has been waited for since the start was the command's.
        seconds = _ended_children_seconds() - self.before + self.meter.lost
        return {
            "code": self._exit_code(self.child.returncode),
            "leftover": leftover,
            "peak_rss_mb": round(max(self.peak_mb, used.ru_maxrss / 1024), 1),
            **self._grouped(seconds),
        }

    def _grouped(self, seconds: float) -> dict[str, Any]:
        """Usage by the control group beside that of single processes."""
        group, limits = self.group, self.order.get("limits") or {}
        if group is None:
            return {"cpu_seconds": round(seconds, 3), "unenforced": sorted(limits)}
        found = {
            "cpu_seconds": round(max(seconds, group.cpu_seconds()), 3),
            "peak_group_mb": group.peak_mb(),
            "out_of_memory": group.out_of_memory(),
            "unenforced": sorted(group.unenforced),
        }
        group.remove()
        return found

    def _exit_code(self, code: int) -> int:
        """The command's own: a wrapper gives 128 + n for signal n, as shells do."""
        if self.order.get("wrapped") and 128 < code < 128 + signal.NSIG:
            return 128 - code
        return code


@contextlib.contextmanager
def with_filter(order: Mapping[str, Any]) -> Iterator[tuple[list[str], list[int]]]:
    """Command of an order and descriptors that it inherits: a sandbox applies the filter
    of system calls itself, once it has made its namespaces."""
    command = list(order["command"])
    program = _filter(order) if _by_program(order) else b""
    if not program:
        yield command, []
        return
    descriptor = os.memfd_create("filter")
    try:
        os.write(descriptor, program)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield [command[0], "--seccomp", str(descriptor), *command[1:]], [descriptor]
    finally:
        os.close(descriptor)


def _by_program(order: Mapping[str, Any]) -> bool:
    """Whether a program makes the sandbox, not this package."""
    return bool(order.get("wrapped")) and not order.get("mounts")


def _filter(order: Mapping[str, Any]) -> bytes:
    calls = order.get("seccomp")
    return b"" if calls is None else filter_program(os.uname().machine, **calls)


def confine_process(order: Mapping[str, Any]) -> None:
    """Confine the calling process before it becomes the command of an order.

    ``order`` may give ``mounts`` for namespaces (and then ``folder``), ``landlock`` rules, and
    ``network`` for both; ``devices`` and ``scoped`` for a sandbox that is a program; and
    ``seccomp``, which such a sandbox applies itself.
    """
    if order.get("mounts"):
        enter_namespaces(order["mounts"], order["network"], order["folder"])
    if order.get("devices"):
        seal_devices(order["devices"])
    if order.get("landlock"):
        restrict_process(order["landlock"], order["network"])
    elif order.get("scoped"):
        restrict_scope()
    program = b"" if _by_program(order) else _filter(order)
    if program:
        install_filter(program)


PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, argument: int) -> None:
    """Set a process attribute; does nothing where there is no prctl."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int | None = None) -> None:
    """Be killed when the parent process ends, at once if it already has."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def keep_others_out() -> None:
    """Close this process's memory and descriptors to others of the same user.

    Root may look in all the same.
    """
    prctl(PR_SET_DUMPABLE, 0)


_lasting: set[int] = set()


def let_last(pid: int) -> None:
    """Have :func:`kill_descendants` of this process leave a child and all below it alone."""
    _lasting.add(pid)


def descendants(root: int, without: Collection[int] = ()) -> list[int]:
    """Process ids below ``root``, children before grandchildren.

    Those ``without``, and what is below them, are left out.  Empty where the
    kernel does not tell.
    """
    found: list[int] = []
    todo = [root]
    while todo:
        below = [child for child in _children(todo.pop(0)) if child not in without]
        found += below
        todo += below
    return found


def _children(pid: int) -> list[int]:
    """Children of a process's threads; a process or thread may end while it is looked at."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                text = (thread / "children").read_text()
                found += map(int, text.split())
    return found


def kill_descendants(spare: Collection[int] = (), deadline_seconds: float = 5.0) -> int:
    """Kill everything below this process, but for ``spare``, until nothing is left.

    Returns how many processes were found.  The caller must have called
    :func:`adopt_orphans` before they were started.
    """
    seen: set[int] = set()
    limit = time.monotonic() + deadline_seconds
    while time.monotonic() < limit:
        alive = [pid for pid in descendants(os.getpid(), _lasting) if pid not in spare]
        seen.update(alive)
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in alive:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if not alive:
            break
        time.sleep(0.005)
    return len(seen)


def resident_mb(pids: Iterable[int]) -> float:
    """Resident memory of processes together, in MiB (shared pages counted twice)."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class Meter:
    """CPU seconds of a process tree, of ended processes too.

    What a process used is added to its parent when that waits for it, and to
    nobody if the parent has asked not to be bothered (``SIGCHLD`` ignored).  So
    the last reading of each process is kept; one that lives only between two
    readings, and is not waited for, stays unseen.
    """

    def __init__(self) -> None:
        self.lost = 0.0
        self._last: dict[tuple[int, str], tuple[float, float]] = {}

    def read(self, pids: Iterable[int]) -> float:
        """CPU seconds so far; ``pids`` are the processes that live now."""
        now: dict[tuple[int, str], tuple[float, float]] = {}
        for pid in pids:
            with contextlib.suppress(OSError, IndexError, ValueError):
                now.update([_times(pid)])
        ended = sum(sum(used) for key, used in self._last.items() if key not in now)
        handed_on = sum(used[1] - self._last.get(key, (0, 0))[1] for key, used in now.items())
        self.lost += max(0.0, ended - handed_on)
        self._last = now
        return self.lost + sum(sum(used) for used in now.values())


class UsageSamples:
    """CPU seconds and memory of a command about once a second, and less often in long runs.

    ``rows`` hold seconds since its start, CPU seconds until then, and the most memory in MiB
    since the row before.  Of ``most`` rows every second one goes, so that what is left tells of
    all the time.
    """

    def __init__(self, every_seconds: float = 1.0, most: int = 600) -> None:
        self.every_seconds = every_seconds
        self.most = most
        self.rows: list[tuple[float, float, float | None]] = []
        self._due = every_seconds
        self._memory: float | None = None

    def take(self, seconds: float, cpu_seconds: float, memory_mb: float | None) -> None:
        """Take a measurement, which becomes a row if one is due."""
        self._memory = _most(self._memory, memory_mb)
        if seconds < self._due:
            return
        memory = None if self._memory is None else round(self._memory, 1)
        self.rows.append((round(seconds, 3), round(cpu_seconds, 3), memory))
        self._memory = None
        if len(self.rows) >= self.most:
            odd = len(self.rows) % 2
            pairs = zip(self.rows[odd::2], self.rows[odd + 1 :: 2], strict=True)
            thinned = [(*later[:2], _most(earlier[2], later[2])) for earlier, later in pairs]
            self.rows = [*self.rows[:odd], *thinned]
            self.every_seconds *= 2
        # Not late by the length of each look, and none at once after a long one.
        self._due = max(self._due, seconds - self.every_seconds / 2) + self.every_seconds


def _most(first: float | None, second: float | None) -> float | None:
    return max((each for each in (first, second) if each is not None), default=None)


def _times(pid: int) -> tuple[tuple[int, str], tuple[float, float]]:
    """A process, told from later ones of its number, and what it and its children used."""
    # The name may hold anything, brackets and spaces too.
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own, children = (sum(map(int, fields[i : i + 2])) for i in (11, 13))
    ticks = os.sysconf("SC_CLK_TCK")
    return (pid, fields[19]), (own / ticks, children / ticks)
