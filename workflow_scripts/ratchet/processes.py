"""Processes and their descendants: who lives, what they used, how to end them.

Standard library only, since the supervisor imports it and must start fast.
Linux is assumed for whatever reads ``/proc``; elsewhere nothing is found.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import time
from collections.abc import Collection, Iterable
from pathlib import Path

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


def _times(pid: int) -> tuple[tuple[int, str], tuple[float, float]]:
    """A process, told from later ones of its number, and what it and its children used."""
    # The name may hold anything, brackets and spaces too.
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own, children = (sum(map(int, fields[i : i + 2])) for i in (11, 13))
    ticks = os.sysconf("SC_CLK_TCK")
    return (pid, fields[19]), (own / ticks, children / ticks)


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds of processes and of their children that have been waited for."""
    return Meter().read(pids)
