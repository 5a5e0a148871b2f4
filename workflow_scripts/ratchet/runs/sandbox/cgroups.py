"""A control group for one run, where the kernel lets us make one (cgroup v2).

With a group every process of a run is known, however short it lived and whoever
its parent is: all of them are counted, and all are killed at once.  Where this
process's own group may not have children, runs go on without.

Limits need controllers, and the kernel gives those only to groups whose parent
hands them on; a limit that cannot be set is named, never passed over.  Standard
library only, since the supervisor imports it.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

MEMORY_LIMIT, PROCESSES_LIMIT = "memory_mb", "processes"
# Limits that a task may ask for: the controller that enforces each.
CONTROLLERS = {MEMORY_LIMIT: "memory", PROCESSES_LIMIT: "pids"}
PREFIX = "ratchet-"
# After a kill the kernel needs a moment to empty a group.
EMPTY_SECONDS = 2.0


def own_cgroup(proc: Path = Path("/proc/self")) -> Path | None:
    """Folder of this process's own group; ``None`` without cgroup v2."""
    try:
        groups = (proc / "cgroup").read_text().splitlines()
        mounts = [line.split() for line in (proc / "mounts").read_text().splitlines()]
    except OSError:
        return None
    own = next((line[3:] for line in groups if line.startswith("0::")), None)
    place = next((words[1] for words in mounts if words[2] == "cgroup2"), None)
    if own is None or place is None:
        return None
    found = Path(place) / own.lstrip("/")
    return found if found.is_dir() else None


def _write(path: Path, text: str) -> None:
    """Write into a file of the kernel's; one that is not there is not made."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


class ControlGroup:
    """The group of one run; ``unenforced`` are the limits that could not be set."""

    def __init__(self, path: Path, unenforced: tuple[str, ...] = ()) -> None:
        self.path = path
        self.unenforced = unenforced

    def join(self) -> bool:
        """Put the calling process in; whether that worked."""
        with contextlib.suppress(OSError):
            _write(self.path / "cgroup.procs", "0")
            return True
        return False

    def cpu_seconds(self) -> float:
        """CPU seconds of all its processes, ended ones included; 0 if unknown."""
        return self._number("cpu.stat", "usage_usec") / 1e6

    def peak_mb(self) -> float | None:
        """Most memory that it held, files in the cache included; ``None`` if nobody tells."""
        with contextlib.suppress(OSError, ValueError):
            return round(int((self.path / "memory.peak").read_text()) / 2**20, 1)
        return None

    def out_of_memory(self) -> bool:
        """Whether its limit on memory made the kernel kill something."""
        return self._number("memory.events", "oom_kill") > 0

    def _number(self, name: str, key: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            for line in (self.path / name).read_text().splitlines():
                if line.split()[:1] == [key]:
                    return int(line.split()[1])
        return 0

    def kill(self) -> None:
        """End everything in it, and in groups below it, at once."""
        with contextlib.suppress(OSError):
            _write(self.path / "cgroup.kill", "1")

    def remove(self) -> bool:
        """Kill what is left and give the group back; whether it is gone."""
        limit = time.monotonic() + EMPTY_SECONDS
        while True:
            self.kill()
            if _removed(self.path) or time.monotonic() >= limit:
                return not self.path.exists()
            time.sleep(0.002)


def create_cgroup(
    limits: Mapping[str, int] | None = None, own: Path | None = None
) -> ControlGroup | None:
    """A group with limits, below this process's own or beside it.

    ``limits`` are by the names of :data:`CONTROLLERS`, ``own`` is :func:`own_cgroup`.
    ``None`` where no group can be made.
    """
    place = own or own_cgroup()
    if place is None:
        return None
    wanted = limits or {}
    found = None
    for base in _bases(place, wanted):
        with contextlib.suppress(OSError):
            path = _made(base)
            unset = tuple(name for name, most in wanted.items() if not _limit(path, name, most))
            if found is None or len(unset) < len(found.unenforced):
                if found is not None:
                    _removed(found.path)
                found = ControlGroup(path, unset)
            else:
                _removed(path)
        if found is not None and not found.unenforced:
            break
    return found


def _bases(place: Path, wanted: Mapping[str, int]) -> Iterator[Path]:
    """Places for a group: below our own, which often must not hand controllers on
    since we are in it, or beside it."""
    for name in wanted:
        with contextlib.suppress(OSError):
            _write(place / "cgroup.subtree_control", f"+{CONTROLLERS[name]}")
    yield place
    if (place.parent / "cgroup.procs").exists():
        yield place.parent


def _made(base: Path) -> Path:
    for left in base.glob(f"{PREFIX}*"):
        # Of a supervisor that was killed; the kernel refuses if anybody is in it.
        if not _lives(left.name):
            _removed(left)
    for number in range(1000):
        path = base / f"{PREFIX}{os.getpid()}-{number}"
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise OSError(f"{base}: holds too many groups of process {os.getpid()}")


def _lives(name: str) -> bool:
    return Path("/proc", name.removeprefix(PREFIX).split("-")[0]).exists()


def _limit(path: Path, name: str, most: int) -> bool:
    """Set one limit; whether that worked."""
    try:
        if name == MEMORY_LIMIT:
            _write(path / "memory.max", str(most << 20))
            if (path / "memory.swap.max").exists():
                _write(path / "memory.swap.max", "0")
        else:
            _write(path / "pids.max", str(most))
    except OSError:
        return False
    return True


def _removed(path: Path) -> bool:
    """Remove a group and those below it; whether it is gone."""
    with contextlib.suppress(OSError):
        for below in sorted(path.rglob("*/"), reverse=True):
            if below.is_dir():
                below.rmdir()
        path.rmdir()
    return not path.exists()
