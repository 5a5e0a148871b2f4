"""The first process of a container in which candidates run, one at a time.

    python container_init.py FOLDER          one run, then the container ends
    python container_init.py FOLDER --stay   one run after another (two-container mode)

It calls the harness through a socket in ``FOLDER``, says what its image holds,
gets a command with descriptors for its output and for the evaluator, runs it
and measures it.  It has the candidate's user id and no capability.  A candidate
cannot kill or stop it (the kernel protects a container's first process), nor
read its memory or descriptors (it is not dumpable); that its limits are left
alone is looked at with every measurement.  When it ends, for any reason, the
kernel kills everything in the container.

Standard library only, by path, so that it starts in a moment.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

if not __package__:
    # Run by path: modules of the package must not shadow the standard library's.
    sys.path[:1] = []
    sys.path.append(str(Path(__file__).resolve().parents[3]))

from ratchet.runs.process import Command, adopt_orphans, descendants, keep_others_out
from ratchet.runs.sandbox.container_rpc import CHUNK, DOOR, PROTOCOL

# Written when the image is built.
IMAGE = Path("/opt/ratchet/image.json")
# What a run may see of the container's environment.
ALLOWED_VARIABLES = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
)
HOOKS = Path(__file__).resolve().parents[1] / "seed_hook"
# Where a run can leave something for the next one, beside its own folder.
COMMON = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")
LIMITS = tuple(n for name, n in vars(resource).items() if name.startswith("RLIMIT_"))
POLL_SECONDS = 0.05
# For processes to die after SIGKILL.
SWEEP_SECONDS = 30.0


def limits() -> list[tuple[int, int]]:
    """This process's own limits, which others of the same user may change."""
    return [resource.getrlimit(number) for number in LIMITS]


class ContainerRun:
    """One run, from the call to the last answer."""

    def __init__(self, connection: socket.socket, stay: bool = False) -> None:
        self.connection = connection
        self.stay = stay
        self.buffer = b""
        self.folder: str | None = None
        self.limits = limits()
        self.meddled = False
        self.told = False
        self.command: Command

    def serve(self) -> None:
        """Run what is sent, and leave nothing of it if the container stays."""
        self.say({"event": "hello", "protocol": PROTOCOL, "image": _image()})
        try:
            _, descriptors, _, _ = socket.recv_fds(self.connection, 1, 2)
            line = self.line()
        except OSError:
            return
        if line is None or not descriptors:
            return
        order = json.loads(line)
        self.folder = order["folder"]
        if self.start(order, descriptors):
            self.converse()
        if self.meddled:
            sys.exit("a run changed the limits of this process")
        if self.stay:
            sweep(self.folder)

    def start(self, order: dict[str, Any], descriptors: list[int]) -> bool:
        own = {name: os.environ[name] for name in ALLOWED_VARIABLES if name in os.environ}
        environment = {**own, **order["environment"]}
        if order["hooks"]:
            allowed = environment.get("PYTHONPATH")
            environment["PYTHONPATH"] = os.pathsep.join(
                [str(HOOKS), *([allowed] if allowed else [])]
            )
        words = [sys.executable if word == "python" else word for word in order["command"]]
        whole = {**order, "command": words, "environment": environment}
        self.command = Command(whole, spared=descendants(os.getpid()))
        output, channel = descriptors[0], descriptors[1] if len(descriptors) > 1 else None
        try:
            self.command.start(output, channel)
        except (OSError, subprocess.SubprocessError) as error:
            self.say({"event": "failed", "error": f"{error}"})
            return False
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self.say({"event": "started"})
        return True

    def converse(self) -> None:
        """Answer until the run is over or the harness is gone."""
        while True:
            if not self.told and self.command.ended():
                self.told = True
                self.say({"event": "ended"})
            waiting = b"\n" not in self.buffer
            if waiting and not select.select([self.connection], [], [], POLL_SECONDS)[0]:
                continue
            line = self.line()
            if line is None or not self.answer(json.loads(line)["do"]):
                return

    def answer(self, question: str) -> bool:
        """Do as told; False after the last answer."""
        # Opening files is what measuring needs: without the right to, nothing is seen.
        self.meddled |= limits() != self.limits
        with contextlib.suppress(OSError):
            if not self.meddled:
                return self.do(question)
        self.meddled = True
        if question in ("used", "finish"):
            lost = {"code": -signal.SIGKILL, "leftover": 0, "meddled": True}
            self.say({"event": question, "cpu_seconds": 0.0, "peak_rss_mb": 0.0, **lost})
        return question != "finish"

    def do(self, question: str) -> bool:
        """Do as told, while measuring is possible; False after the last answer."""
        if question == "terminate":
            self.command.terminate()
        elif question == "kill":
            self.command.kill()
        elif question == "used":
            used = {"cpu_seconds": self.command.used(), "peak_rss_mb": self.command.peak_mb}
            self.say({"event": "used", **used, "memory_mb": self.command.memory_mb})
        else:
            if not self.told:
                self.command.kill()
            found = self.command.finish()
            if self.stay:
                # Before the harness goes on: it cannot remove what is not its own.
                sweep(self.folder)
            self.say({"event": "finish", **found, "meddled": False})
        return question != "finish"

    def say(self, words: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(json.dumps(words).encode() + b"\n")

    def line(self) -> bytes | None:
        """The next line; ``None`` if the harness is gone."""
        while b"\n" not in self.buffer:
            try:
                data = self.connection.recv(CHUNK)
            except OSError:
                return None
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line


def _image() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(IMAGE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def call(folder: Path, stay: bool) -> socket.socket:
    """The connection to the harness; waits for it if the container stays."""
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(folder / DOOR))
        except OSError as error:
            connection.close()
            if not stay:
                sys.exit(f"the harness cannot be called: {error}")
            time.sleep(POLL_SECONDS)
        else:
            return connection


def sweep(folder: str | None) -> None:
    """Leave nothing of a run to the next one: no process, no file, no shared memory.

    Ends the container if that does not succeed; the engine starts it anew.
    """
    if os.getpid() == 1:
        limit = time.monotonic() + SWEEP_SECONDS
        while descendants(1):
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if time.monotonic() > limit:
                sys.exit("processes of a run cannot be ended")
            time.sleep(0.005)
        for place in COMMON:
            empty(Path(place))
        _remove_shared_memory()
    if folder is not None:
        empty(Path(folder))


def empty(folder: Path) -> None:
    """Remove from a folder whatever belongs to this user."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                if path.lstat().st_uid != os.getuid():
                    continue
                if path.is_dir() and not path.is_symlink():
                    # Its rights may be anything, and it may be deeper than Python can go.
                    for words in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
                        subprocess.run([*words, "--", path], capture_output=True, check=False)
                else:
                    path.unlink()


def _remove_shared_memory() -> None:
    library = ctypes.CDLL(None)
    for kind in ("shm", "msg", "sem"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            rows = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
            for number in (int(row.split()[1]) for row in rows):
                more = (0, 0) if kind == "sem" else (0, None)
                getattr(library, f"{kind}ctl")(number, *more)


def main() -> None:
    """Serve one run, or one after another."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os._exit(0))
    adopt_orphans()
    keep_others_out()
    folder, stay = Path(sys.argv[1]), "--stay" in sys.argv[2:]
    while True:
        with call(folder, stay) as connection:
            ContainerRun(connection, stay).serve()
        if not stay:
            return


if __name__ == "__main__":
    main()
