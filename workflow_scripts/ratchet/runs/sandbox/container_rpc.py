"""A command in a container, seen from outside: asked and ended over one socket.

The first process of the container (``container_init``) calls here, gets the command
with descriptors for its output and for the evaluator, and answers questions in
lines of JSON.  The socket is gone from the file system before the command is
sent, so nothing that a candidate starts can call.  When the connection closes,
whichever side dies, the other ends the run.

The same methods as :class:`ratchet.runs.process.Command`.  Standard library only,
since the supervisor imports it.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from ratchet.runs.process import die_with_parent

# Raised when either side of the conversation changes its words.
PROTOCOL = 2
# Name of the socket in the folder that both sides see.
DOOR = "door"
# For an engine to start a container, on a machine that is busy.
START_SECONDS = 120.0
# For the first process of a container to answer; it has nothing else to do.
ANSWER_SECONDS = 20.0
# For an engine to remove a container that has ended.
REMOVE_SECONDS = 20.0
CHUNK = 1 << 16


class ContainerError(OSError):
    """The container, not the command in it, could not be had."""


class ContainerCommand:
    """The command of an order whose ``container`` says where it runs.

    ``container`` gives ``folder`` (where the socket is made), ``expected`` (what the
    container's image must hold), ``start`` and ``remove`` (commands of the
    engine; empty if the container is there already) and ``errors``, the file for
    what the engine says.
    """

    def __init__(self, order: Mapping[str, Any]) -> None:
        self.container = order["container"]
        self.order = {key: value for key, value in order.items() if key != "container"}
        self.engine: subprocess.Popen[bytes] | None = None
        self.connection: socket.socket | None = None
        self.buffer = b""
        self.over = False
        self.last: dict[str, Any] = {"cpu_seconds": 0.0, "peak_rss_mb": 0.0}

    def start(self, output: int, channel: int | None) -> None:
        """Have it started; raises :class:`OSError`, or :class:`ContainerError` without one."""
        try:
            self._connect()
            hello = self._expect("hello")
            self._check(hello)
            descriptors = [output] if channel is None else [output, channel]
            assert self.connection is not None
            socket.send_fds(self.connection, [b"F"], descriptors)
            self._say(self.order)
            answer = self._expect("started", "failed")
        except BaseException:
            self._remove()
            raise
        if answer["event"] == "failed":
            self._remove()
            raise OSError(answer["error"])

    def _connect(self) -> None:
        # The path of a socket may have 107 bytes; relative to its folder it has four.
        os.chdir(self.container["folder"])
        with contextlib.suppress(FileNotFoundError):
            os.unlink(DOOR)  # noqa: PTH108
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(DOOR)
            try:
                os.chmod(DOOR, 0o666)  # noqa: PTH101 (the container's user is another one)
                listener.listen(1)
                self._start_engine()
                self._await_call(listener)
            finally:
                os.unlink(DOOR)  # noqa: PTH108

    def _start_engine(self) -> None:
        if not self.container["start"]:
            return
        me = os.getpid()
        with open(self.container["errors"], "wb") as errors:  # noqa: PTH123
            self.engine = subprocess.Popen(
                self.container["start"],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(me),
            )

    def _await_call(self, listener: socket.socket) -> None:
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit:
            ready, _, _ = select.select([listener, sys.stdin], [], [], 0.2)
            if listener in ready:
                self.connection, _ = listener.accept()
                return
            if ready and not os.read(sys.stdin.fileno(), CHUNK):
                raise ContainerError("nobody waits for the run any more")
            if self.engine is not None and self.engine.poll() is not None:
                raise ContainerError(f"the container did not start: {self._engine_said()}")
        raise ContainerError(f"no container answered within {START_SECONDS:g} s")

    def _engine_said(self) -> str:
        with open(self.container["errors"], encoding="utf-8", errors="replace") as errors:  # noqa: PTH123
            lines = errors.read(CHUNK).strip().splitlines()
        return lines[0] if lines else "the engine gave no reason"

    def _check(self, hello: Mapping[str, Any]) -> None:
        expected, image = self.container["expected"], hello.get("image") or {}
        if hello.get("protocol") != PROTOCOL:
            raise ContainerError("the image was built by another version of Ratchet")
        locks = image.get("locks") or []
        if expected.get("environment") and expected["environment"] not in locks:
            raise ContainerError("the image does not have the packages of the task's lock")
        open_to_all = sorted(set(expected.get("hidden") or ()) - set(image.get("hidden") or ()))
        if open_to_all:
            raise ContainerError(f"the image does not hide {', '.join(open_to_all)}")

    def _say(self, words: Mapping[str, Any]) -> None:
        assert self.connection is not None
        try:
            self.connection.settimeout(ANSWER_SECONDS)
            self.connection.sendall(json.dumps(words).encode() + b"\n")
        except OSError:
            self.over = True

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        """The next line within a time; ``None`` if there is none, or no more at all."""
        limit = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            assert self.connection is not None
            left = max(0.0, limit - time.monotonic())
            if not select.select([self.connection], [], [], left)[0]:
                return None
            try:
                data = self.connection.recv(CHUNK)
            except OSError:
                data = b""
            if not data:
                self.over = True
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        found: dict[str, Any] = json.loads(line)
        self.over |= found["event"] == "ended"
        return found

    def _expect(self, *events: str) -> dict[str, Any]:
        found = self._receive(ANSWER_SECONDS)
        while found is not None and found["event"] not in events:
            found = self._receive(ANSWER_SECONDS)
        if found is None:
            raise ContainerError(f"the container's first process did not answer ({events[0]})")
        return found

    def _ask(self, question: str) -> dict[str, Any] | None:
        self._say({"do": question})
        try:
            return self._expect(question)
        except ContainerError:
            self.over = True
            return None

    def ended(self) -> bool:
        """Whether the command has ended, or the container with it."""
        while not self.over and self._receive(0.0) is not None:
            pass
        return self.over

    def used(self) -> float:
        """CPU seconds so far, measured by the container's first process."""
        self.last = self._ask("used") or self.last
        return float(self.last["cpu_seconds"])

    @property
    def memory_mb(self) -> float | None:
        """Memory at the last look in MiB; ``None`` from an image that does not tell."""
        found = self.last.get("memory_mb")
        return None if found is None else float(found)

    def terminate(self) -> None:
        """Ask all its processes to end."""
        self._say({"do": "terminate"})

    def kill(self) -> None:
        """End all its processes at once."""
        self._say({"do": "kill"})

    def finish(self) -> dict[str, Any]:
        """Ending of the command as JSON values; the container is gone afterwards."""
        found = self._ask("finish")
        self._remove()
        if found is None:
            # With its first process a container dies; nobody in it can end that.
            lost = {"code": -signal.SIGKILL, "leftover": 0, "outside": "its container went away"}
            return {**lost, **{k: self.last[k] for k in ("cpu_seconds", "peak_rss_mb")}}
        return {key: value for key, value in found.items() if key != "event"}

    def _remove(self) -> None:
        """Hang up, which ends the container, and see that it is gone."""
        if self.connection is not None:
            self.connection.close()
        if self.engine is None:
            return
        try:
            if self.connection is not None:
                self.engine.wait(REMOVE_SECONDS)
                return
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                self.container["remove"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=REMOVE_SECONDS,
                check=False,
            )
        self.engine.kill()
        self.engine.wait()
