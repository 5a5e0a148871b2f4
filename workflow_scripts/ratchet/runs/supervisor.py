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

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

if not __package__:
    # Run by path: modules of the package must not shadow the standard library's.
    sys.path[:1] = []
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))  # noqa: PTH120

from ratchet.runs.evaluator import VARIABLE, Evaluator
from ratchet.runs.process import (
    Command,
    UsageSamples,
    adopt_orphans,
    keep_others_out,
    kill_descendants,
)
from ratchet.runs.sandbox.container_rpc import ContainerCommand, ContainerError

# Between TERM and KILL: enough to flush a log, too short to train on.
TERM_GRACE_SECONDS = 2.0
SAMPLE_SECONDS = 0.2
CHUNK = 1 << 16
# A stopped service sends these to every process of its group.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Those that the supervisor got too, and so not from the command alone.
_got: list[int] = []


def out_of_memory_kills() -> int:
    """Processes that the kernel has killed for want of memory so far; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/vmstat") as file:  # noqa: PTH123
        return int(file.read().split("\noom_kill ")[1].split()[0])
    return 0


class CappedLog:
    """A log file that keeps the head and the tail of what is written."""

    def __init__(self, path: str, limit_bytes: int) -> None:
        self.half = limit_bytes // 2
        self.stream = open(path, "wb")  # noqa: SIM115, PTH123 (kept open, plain path)
        self.head_left = self.half
        self.tail = bytearray()
        self.left_out = 0
        self.note = b""
        self.taken = 0

    def write(self, data: bytes) -> None:
        """Take bytes; what does not fit in the head waits in a ring."""
        self.taken += len(data)
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
            self.note = note.encode()
            self.stream.write(self.note)
        self.stream.write(self.tail)
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.stream.close()


class Stamps:
    """Times at which output came: pairs of a number of bytes and the seconds by then.

    What comes within ``interval`` of an entry counts to it.  Where there are too many the
    interval doubles, so that a run of any length has as good a clock in a few kilobytes.
    """

    MOST = 2_000

    def __init__(self, interval: float = 0.05) -> None:
        self.interval = interval
        self.entries: list[tuple[int, float]] = []

    def add(self, size: int, seconds: float) -> None:
        """Note that so many bytes had come by then."""
        self._add(size, seconds)
        while len(self.entries) > self.MOST:
            self.interval *= 2
            entries, self.entries = self.entries, []
            for entry in entries:
                self._add(*entry)

    def _add(self, size: int, seconds: float) -> None:
        if self.entries and seconds - self.entries[-1][1] < self.interval:
            seconds = self.entries.pop()[1]
        self.entries.append((size, seconds))


APART = b"[ratchet: it asked to be evaluated; what it printed from here on is kept apart]\n"


class Watch:
    """One command under watch, with its evaluator if the order names one."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.log = CappedLog(order["log"], order["log_limit_bytes"])
        self.log_asked: CappedLog | None = None
        self.stamps = Stamps()
        self.line_open = False
        self.evaluator = Evaluator(order["evaluator"]) if order.get("evaluator") else None
        self.command: Command | ContainerCommand
        self.output = -1
        self.began = 0.0
        self.killed_before = 0
        self.final: dict[str, float] = {}
        self.samples = UsageSamples()
        self.timed_out = False
        self.abandoned = False

    def start(self) -> None:
        """Start the command in a session, or a container, of its own."""
        channel: int | None = None
        spared: tuple[int, ...] = ()
        if self.evaluator:
            self.evaluator.start()
            spared = (self.evaluator.pid,)
            channel = self.evaluator.candidates_end.fileno()
        order = {**self.order, "channel": VARIABLE}
        self.command = ContainerCommand(order) if order.get("container") else Command(order, spared)
        self.output, theirs = os.pipe()
        self.killed_before = out_of_memory_kills()
        self.began = time.monotonic()
        try:
            self.command.start(theirs, channel)
        finally:
            os.close(theirs)
        if self.order.get("container"):
            # A container's own start is not the command's.
            self.began = time.monotonic()
        if self.evaluator:
            # Only the candidate's tree holds its end: with it the socket closes.
            self.evaluator.candidates_end.close()

    def run(self) -> dict[str, Any]:
        """Run to the end, the time limit, or the caller's death."""
        try:
            self.start()
        except (OSError, subprocess.SubprocessError) as error:
            self.log.write(f"{self.order['command'][0]}: {error}\n".encode())
            self.log.close()
            kill_descendants()
            refused = isinstance(error, ContainerError)
            return {"started": False, "error": f"{error}", "refused": refused}
        self.follow(self.began + self.order["timeout_seconds"])
        if self.timed_out or self.abandoned:
            self.stop()
        wall = round(time.monotonic() - self.began, 3)
        # The evaluator still lives: all that has been waited for was the command's.
        found = self.command.finish()
        self.final = {"cpu_seconds": found["cpu_seconds"], "wall_seconds": wall}
        evaluation = self.evaluator.finish(self.usage) if self.evaluator else None
        self.drain()
        self.log.close()
        if self.log_asked:
            self.log_asked.close()
        return {
            "started": True,
            "timed_out": self.timed_out,
            "abandoned": self.abandoned,
            **found,
            **self.final,
            "outside": found.get("outside") or self.outside(found["code"]),
            "output": {
                "stamps": self.stamps.entries,
                "head": self.log.half,
                "note": len(self.log.note),
                "left_out": self.log.left_out,
            },
            "evaluation": evaluation,
            # The clock is the same in all processes of a machine.
            "began": self.began,
            "samples": self.samples.rows,
        }

    def outside(self, code: int) -> str:
        """What else than the command may have sent the signal that ended it; empty for nothing."""
        if -code in STOPPING and -code in _got:
            return "whoever runs the session was told to stop"
        if -code == signal.SIGKILL and out_of_memory_kills() > self.killed_before:
            return "the machine ran out of memory"
        return ""

    def usage(self) -> dict[str, float]:
        """CPU and wall seconds of the command so far, or in all."""
        return self.final or {
            "cpu_seconds": round(self.command.used(), 3),
            "wall_seconds": round(time.monotonic() - self.began, 3),
        }

    def follow(self, limit: float) -> None:
        """Stream output until the command ends or must be stopped."""
        os.set_blocking(self.output, False)
        with selectors.DefaultSelector() as ready:
            ready.register(self.output, selectors.EVENT_READ, self.read)
            ready.register(sys.stdin, selectors.EVENT_READ, self.listen)
            if self.evaluator:
                evaluator = self.evaluator
                ready.register(
                    evaluator.output, selectors.EVENT_READ, lambda: evaluator.read(self.usage)
                )
            while not self.command.ended() and not self.abandoned:
                left = limit - time.monotonic()
                if left <= 0:
                    self.timed_out = True
                    return
                events = ready.select(min(left, SAMPLE_SECONDS))
                for key, _ in events:
                    if not key.data():
                        ready.unregister(key.fileobj)
                used = self.command.used()
                self.samples.take(time.monotonic() - self.began, used, self.command.memory_mb)
                if events:
                    # A flood of output must not make sampling the work.
                    time.sleep(0.005)

    def listen(self) -> bool:
        """Notice when the caller dies; it says nothing more."""
        self.abandoned = not os.read(sys.stdin.fileno(), CHUNK)
        return not self.abandoned

    def read(self) -> bool:
        """Take what the pipe holds; False at its end."""
        return self.take() != 0

    def take(self) -> int | None:
        """Take what the pipe holds; how many bytes, 0 at its end, ``None`` if there is nothing.

        An evaluator says that it was asked before it sends anything.  So where it has not
        said so after these bytes were read, they cannot tell of what it sent.
        """
        try:
            data = os.read(self.output, 16 * CHUNK)
        except BlockingIOError:
            return None
        taken = len(data)
        if self.evaluator and self.evaluator.was_asked(self.usage):
            if self.log_asked is None:
                if self.line_open:
                    # Its end came with what is kept apart, or never.
                    data = data.removeprefix(b"\n")
                    self.log.write(b"\n")
                self.log.write(APART)
                limit = self.order["log_limit_bytes"]
                self.log_asked = CappedLog(self.order["log_asked"], limit)
            self.log_asked.write(data)
        else:
            self.log.write(data)
            if data:
                self.stamps.add(self.log.taken, round(time.monotonic() - self.began, 3))
            self.line_open = not data.endswith(b"\n") and (bool(data) or self.line_open)
        return taken

    def drain(self) -> None:
        """Take what is left in the pipe; all of its writers are dead."""
        limit = time.monotonic() + 1.0
        while time.monotonic() < limit and self.take():
            pass
        os.close(self.output)

    def stop(self) -> None:
        """TERM to the group and all stragglers, then KILL after a grace."""
        self.command.terminate()
        limit = time.monotonic() + (0.0 if self.abandoned else TERM_GRACE_SECONDS)
        while not self.command.ended() and time.monotonic() < limit:
            self.read()
            time.sleep(0.01)
        self.command.kill()


@contextlib.contextmanager
def start_supervisor(
    order: Mapping[str, Any], inherited: Collection[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor process at work on an order; nothing of it outlives the context."""
    adopt_orphans()
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=list(inherited),
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        yield process
    finally:
        # Closing the pipe ends the command, whatever brought us here.
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait()
        process.stdout.close()
        kill_descendants()


def supervisor_answer(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Answer of a supervisor, once its order has ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        # The supervisor was killed; what it watched died with it.
        lost = {"started": True, "code": -signal.SIGKILL, "timed_out": False, "leftover": 0}
        return {**lost, "wall_seconds": 0.0, "outside": "its supervisor was killed"}
    answer: dict[str, Any] = json.loads(line)
    return answer


def serve_order() -> None:
    """Serve one order from standard input."""
    # The terminal's Ctrl-C and a stopped service reach the caller, which then
    # closes the pipe; deciding twice would leave a half-recorded run.
    # A handler that does nothing else, since a command would inherit SIG_IGN.
    for number in STOPPING:
        signal.signal(number, lambda got, _: _got.append(got))
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
    serve_order()
