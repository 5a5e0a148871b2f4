"""Watches over one training process and everything that it starts.

Run by path, as a process of its own (``python supervisor.py``): it reads one
line of JSON from standard input, runs the command, writes one line of JSON to
standard output.  Standard input stays open as a sign of life: when it closes,
whoever asked is dead, and the training dies too.  It imports the standard
library only, and modules beside it that do the same, so that it starts in about
30 ms.

Nothing survives it: the command gets a session of its own, orphans are adopted
(``PR_SET_CHILD_SUBREAPER``), and at the end the whole process tree is killed.
If the supervisor itself is killed, ``PR_SET_PDEATHSIG`` takes the command
along and the caller, a subreaper too, gets what is left of the tree.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from typing import Any

if not __package__:
    # Run by path: modules of the package must not shadow the standard library's.
    sys.path[:1] = []
    sys.path.append(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))  # noqa: PTH120

from ratchet import landlock
from ratchet.processes import (
    Meter,
    adopt_orphans,
    descendants,
    die_with_parent,
    keep_others_out,
    kill_descendants,
    resident_mb,
)
from ratchet.referee import VARIABLE, Referee

# Between TERM and KILL: enough to flush a log, too short to train on.
TERM_GRACE_SECONDS = 2.0
SAMPLE_SECONDS = 0.2
CHUNK = 1 << 16


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


def ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether a child has ended; what it used can still be asked for."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class Watch:
    """One command under watch, with its evaluator if the order names one."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.log = CappedLog(order["log"], order["log_limit_bytes"])
        self.referee = Referee(order["evaluator"]) if order.get("evaluator") else None
        self.spared: tuple[int, ...] = ()
        self.began = 0.0
        self.final: dict[str, float] = {}
        self.meter = Meter()
        self.peak_mb = 0.0
        self.timed_out = False
        self.abandoned = False

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command in a session of its own."""
        environment, inherited = dict(self.order["environment"]), []
        if self.referee:
            self.referee.start()
            self.spared = (self.referee.pid,)
            inherited = [self.referee.candidates_end.fileno()]
            environment[VARIABLE] = str(inherited[0])
        self.began = time.monotonic()
        me = os.getpid()
        child = subprocess.Popen(
            self.order["command"],
            cwd=self.order["folder"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=inherited,
            start_new_session=True,
            preexec_fn=lambda: self.prepare(me),
        )
        if self.referee:
            # Only the candidate's tree holds its end: with it the socket closes.
            self.referee.candidates_end.close()
        return child

    def prepare(self, parent: int) -> None:
        """What the command's process does before it becomes the command."""
        die_with_parent(parent)
        if self.order.get("landlock"):
            landlock.restrict(self.order["landlock"], self.order["network"])

    def run(self) -> dict[str, Any]:
        """Run to the end, the time limit, or the caller's death."""
        try:
            child = self.start()
        except (OSError, subprocess.SubprocessError) as error:
            self.log.write(f"{self.order['command'][0]}: {error}\n".encode())
            self.log.close()
            kill_descendants()
            return {"started": False, "error": f"{error}"}
        self.follow(child, self.began + self.order["timeout_seconds"])
        if self.timed_out or self.abandoned:
            self.stop(child)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - self.began
        leftover = kill_descendants(self.spared)
        # The evaluator still lives: all that has been waited for was the command's.
        together = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = round(together.ru_utime + together.ru_stime + self.meter.lost, 3)
        self.final = {"cpu_seconds": cpu, "wall_seconds": round(wall, 3)}
        evaluation = self.referee.finish(self.usage) if self.referee else None
        self.drain(child)
        self.log.close()
        return {
            "started": True,
            "code": self.exit_code(child.returncode),
            "timed_out": self.timed_out,
            "abandoned": self.abandoned,
            "leftover": leftover,
            **self.final,
            "peak_rss_mb": round(max(self.peak_mb, used.ru_maxrss / 1024), 1),
            "evaluation": evaluation,
        }

    def exit_code(self, code: int) -> int:
        """The command's own: a wrapper gives 128 + n for signal n, as shells do."""
        if self.order.get("wrapped") and 128 < code < 128 + signal.NSIG:
            return 128 - code
        return code

    def candidates(self) -> list[int]:
        """The processes of the command: all descendants but the evaluator."""
        return [pid for pid in descendants(os.getpid()) if pid not in self.spared]

    def usage(self) -> dict[str, float]:
        """What the command has used so far, or in all."""
        return self.final or {
            "cpu_seconds": round(self.meter.read(self.candidates()), 3),
            "wall_seconds": round(time.monotonic() - self.began, 3),
        }

    def follow(self, child: subprocess.Popen[bytes], limit: float) -> None:
        """Stream output until the command ends or must be stopped."""
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        with selectors.DefaultSelector() as ready:
            ready.register(child.stdout, selectors.EVENT_READ, lambda: self.read(child))
            ready.register(sys.stdin, selectors.EVENT_READ, self.listen)
            if self.referee:
                referee = self.referee
                ready.register(
                    referee.output, selectors.EVENT_READ, lambda: referee.read(self.usage)
                )
            while not ended(child) and not self.abandoned:
                left = limit - time.monotonic()
                if left <= 0:
                    self.timed_out = True
                    return
                events = ready.select(min(left, SAMPLE_SECONDS))
                for key, _ in events:
                    if not key.data():
                        ready.unregister(key.fileobj)
                living = self.candidates()
                self.peak_mb = max(self.peak_mb, resident_mb(living))
                self.meter.read(living)
                if events:
                    # A flood of output must not make sampling the work.
                    time.sleep(0.005)

    def listen(self) -> bool:
        """Notice when the caller dies; it says nothing more."""
        self.abandoned = not os.read(sys.stdin.fileno(), CHUNK)
        return not self.abandoned

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
        # A wrapper that ends takes the command along, without any grace.
        wrappers = [child.pid] if self.order.get("wrapped") else []
        for pid in self.candidates():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if pid not in wrappers:
                    os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(ProcessLookupError):
            if not wrappers:
                os.killpg(child.pid, signal.SIGTERM)
        limit = time.monotonic() + (0.0 if self.abandoned else TERM_GRACE_SECONDS)
        while not ended(child) and time.monotonic() < limit:
            self.read(child)
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)


def main() -> None:
    """Serve one order from standard input."""
    # The terminal's Ctrl-C and a stopped service reach the caller, which then
    # closes the pipe; deciding twice would leave a half-recorded run.
    # A handler that does nothing, since a command would inherit SIG_IGN.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    adopt_orphans()
    keep_others_out()
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
