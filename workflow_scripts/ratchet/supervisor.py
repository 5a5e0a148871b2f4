"""Watches over one training process and everything that it starts.

Run by path, as a process of its own (``python supervisor.py``): it reads one
line of JSON from standard input, runs the command, writes one line of JSON to
standard output.  Standard input stays open as a sign of life: when it closes,
whoever asked is dead, and the training dies too.  It imports the standard
library only, so that it starts in about 30 ms.

Nothing survives it: the command gets a session of its own, orphans are adopted
(``PR_SET_CHILD_SUBREAPER``), and at the end the whole process tree is killed.
If the supervisor itself is killed, ``PR_SET_PDEATHSIG`` takes the command
along and the caller, a subreaper too, gets what is left of the tree.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# Between TERM and KILL: enough to flush a log, too short to train on.
TERM_GRACE_SECONDS = 2.0
SAMPLE_SECONDS = 0.2
CHUNK = 1 << 16


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


def descendants(root: int) -> list[int]:
    """Process ids below ``root``, children before grandchildren.

    Empty where the kernel does not tell.
    """
    found: list[int] = []
    todo = [root]
    while todo:
        pid = todo.pop(0)
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                below = [int(word) for word in tasks.read_text().split()]
                found += below
                todo += below
    return found


def kill_descendants(deadline_seconds: float = 5.0) -> int:
    """Kill everything below this process until nothing is left.

    Returns how many processes were found.  The caller must have called
    :func:`adopt_orphans` before they were started.
    """
    seen: set[int] = set()
    limit = time.monotonic() + deadline_seconds
    while time.monotonic() < limit:
        alive = descendants(os.getpid())
        seen.update(alive)
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not alive:
            break
        time.sleep(0.005)
    return len(seen)


def resident_mb(pids: list[int]) -> float:
    """Resident memory of processes together, in MiB (shared pages counted twice)."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class CappedLog:
    """A log file that keeps the head and the tail of what is written."""

    def __init__(self, path: str, limit_bytes: int) -> None:
        self.half = limit_bytes // 2
        self.stream = open(path, "wb")  # noqa: SIM115, PTH123 (kept open, plain path)
        self.head_left = self.half
        self.tail = bytearray()
        self.left_out = 0

    def write(self, data: bytes) -> None:
        """Take bytes; what does not fit in the head waits in a ring."""
        if self.head_left:
            self.stream.write(data[: self.head_left])
            self.stream.flush()
            used = min(self.head_left, len(data))
            self.head_left -= used
            data = data[used:]
        self.tail += data
        if len(self.tail) > 2 * self.half:
            self._trim()

    def _trim(self) -> None:
        extra = len(self.tail) - self.half
        if extra > 0:
            self.left_out += extra
            del self.tail[:extra]

    def close(self) -> None:
        """Write the tail, with a note of what was left out before it."""
        self._trim()
        if self.left_out:
            note = f"\n[ratchet: {self.left_out} bytes of output left out here]\n"
            self.stream.write(note.encode())
        self.stream.write(self.tail)
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.stream.close()


class Watch:
    """One command under watch."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.log = CappedLog(order["log"], order["log_limit_bytes"])
        self.peak_mb = 0.0
        self.timed_out = False
        self.abandoned = False

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command in a session of its own."""
        me = os.getpid()
        return subprocess.Popen(
            self.order["command"],
            cwd=self.order["folder"],
            env=self.order["environment"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(me),
        )

    def run(self) -> dict[str, Any]:
        """Run to the end, the time limit, or the caller's death."""
        began = time.monotonic()
        try:
            child = self.start()
        except OSError as error:
            self.log.write(f"{self.order['command'][0]}: {error.strerror}\n".encode())
            self.log.close()
            return {"started": False, "error": f"{error}"}
        self.follow(child, began + self.order["timeout_seconds"])
        if self.timed_out or self.abandoned:
            self.stop(child)
        code = child.wait()
        wall = time.monotonic() - began
        leftover = kill_descendants()
        self.drain(child)
        self.log.close()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "started": True,
            "code": code,
            "timed_out": self.timed_out,
            "abandoned": self.abandoned,
            "leftover": leftover,
            "wall_seconds": round(wall, 3),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_rss_mb": round(max(self.peak_mb, usage.ru_maxrss / 1024), 1),
        }

    def follow(self, child: subprocess.Popen[bytes], limit: float) -> None:
        """Stream output until the command ends or must be stopped."""
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        with selectors.DefaultSelector() as ready:
            ready.register(child.stdout, selectors.EVENT_READ)
            ready.register(sys.stdin, selectors.EVENT_READ)
            while child.poll() is None:
                left = limit - time.monotonic()
                if left <= 0:
                    self.timed_out = True
                    return
                events = ready.select(min(left, SAMPLE_SECONDS))
                for key, _ in events:
                    if key.fd == sys.stdin.fileno():
                        if not os.read(key.fd, CHUNK):
                            self.abandoned = True
                            return
                    elif not self.read(child):
                        ready.unregister(child.stdout)
                self.peak_mb = max(self.peak_mb, resident_mb(descendants(os.getpid())))
                if events:
                    # A flood of output must not make sampling the work.
                    time.sleep(0.005)

    def read(self, child: subprocess.Popen[bytes]) -> bool:
        """Take what the pipe holds; False at its end."""
        assert child.stdout is not None
        try:
            data = os.read(child.stdout.fileno(), 16 * CHUNK)
        except BlockingIOError:
            return True
        self.log.write(data)
        return bool(data)

    def drain(self, child: subprocess.Popen[bytes]) -> None:
        """Take what is left in the pipe; all of its writers are dead."""
        limit = time.monotonic() + 1.0
        assert child.stdout is not None
        while time.monotonic() < limit:
            before = len(self.log.tail), self.log.head_left
            if not self.read(child) or (len(self.log.tail), self.log.head_left) == before:
                break
        child.stdout.close()

    def stop(self, child: subprocess.Popen[bytes]) -> None:
        """TERM to the group and all stragglers, then KILL after a grace."""
        for pid in [child.pid, *descendants(os.getpid())]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        limit = time.monotonic() + (0.0 if self.abandoned else TERM_GRACE_SECONDS)
        while child.poll() is None and time.monotonic() < limit:
            self.read(child)
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            child.kill()


def main() -> None:
    """Serve one order from standard input."""
    # The terminal's Ctrl-C and a stopped service reach the caller, which then
    # closes the pipe; deciding twice would leave a half-recorded run.
    # A handler that does nothing, since a command would inherit SIG_IGN.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    adopt_orphans()
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(sys.stdin.fileno(), CHUNK)
        if not data:
            return
        line += data
    answer = Watch(json.loads(line)).run()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
