"""One command and everything that it starts, as children of this process.

Standard library only, since the supervisor imports it.  The process must have
called :func:`ratchet.processes.adopt_orphans`, or be the first of a container.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Collection, Mapping
from typing import Any

from ratchet import cgroups, landlock
from ratchet.processes import (
    Meter,
    descendants,
    die_with_parent,
    kill_descendants,
    resident_mb,
)


def _ended_children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Command:
    """A command, started once; ``spared`` are children that are not its.

    ``order`` gives ``command``, ``folder``, ``environment``, and may give
    ``landlock`` rules with ``network``, ``channel`` (the variable that names the
    descriptor of the evaluator's socket) and ``wrapped`` (the first process is a
    sandbox, not the command), and ``limits`` for its control group.
    """

    def __init__(self, order: Mapping[str, Any], spared: Collection[int] = ()) -> None:
        self.order = order
        self.spared = spared
        self.meter = Meter()
        self.peak_mb = 0.0
        self.before = 0.0
        self.group: cgroups.Group | None = None
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
        group = cgroups.create(self.order.get("limits"))
        joined, tell = os.pipe()
        try:
            self.child = subprocess.Popen(
                self.order["command"],
                cwd=self.order["folder"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=inherited,
                start_new_session=True,
                preexec_fn=lambda: self._prepare(me, group, tell),
            )
        finally:
            os.close(tell)
            # Nobody else has the other end any more: the command was started, or was not.
            if os.read(joined, 1):
                self.group = group
            os.close(joined)
            if group is not None and self.group is None:
                group.remove()

    def _prepare(self, parent: int, group: cgroups.Group | None, tell: int) -> None:
        """What the command's process does before it becomes the command."""
        die_with_parent(parent)
        if group is not None and group.join():
            os.write(tell, b"1")
        if self.order.get("landlock"):
            landlock.restrict(self.order["landlock"], self.order["network"])

    def ended(self) -> bool:
        """Whether it has ended; what it used can still be asked for."""
        found = os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found is not None

    def _living(self) -> list[int]:
        return [pid for pid in descendants(os.getpid()) if pid not in self.spared]

    def used(self) -> float:
        """CPU seconds so far; also looks how much memory is in use now."""
        living = self._living()
        self.peak_mb = max(self.peak_mb, resident_mb(living))
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
        """What the control group saw beside what was seen of single processes."""
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
