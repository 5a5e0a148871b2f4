"""Runs in containers of their own: the engine, its commands, the image.

Two ways, one protocol (``remote.py`` and ``cell.py``).  With docker or podman
on the PATH every run gets a fresh container.  Where ``RATCHET_EXCHANGE`` names a
folder that is shared with a container that waits there (two-container mode),
runs go to that one; the harness needs no engine then.

``RATCHET_ENGINE`` chooses the engine, ``RATCHET_RUN_IMAGE`` the image.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ratchet
from ratchet import cgroups
from ratchet.codec import Frozen
from ratchet.files import discard

if TYPE_CHECKING:
    from ratchet.isolation import Box

ENGINES = ("docker", "podman")
ENGINE_VARIABLE = "RATCHET_ENGINE"
IMAGE_VARIABLE = "RATCHET_RUN_IMAGE"
EXCHANGE_VARIABLE = "RATCHET_EXCHANGE"
# The image that this process itself is in, if whoever started it said so.
OWN_VARIABLE = "RATCHET_IMAGE"
DEFAULT_IMAGE = f"ratchet:{ratchet.__version__}"
# Written when the image is built: base, revision, locks, hidden packages.
OWN_FACTS = Path("/opt/ratchet/image.json")

# Places inside; the folder is there in the image.
EXCHANGE = Path("/exchange")
CALL, WORK = "call", "work"
PYTHON, CELL = "/opt/venv/bin/python", "/opt/ratchet/cell.py"
# Neither root nor the image's own user, whose group can read hidden packages.
CANDIDATE_USER, CANDIDATE_GROUP = 10001, 65534
# Enough for numeric libraries and data loaders, too few to stall a machine.
LARGEST_PROCESSES = 1024
# Data loaders hand batches over in shared memory; the engines' own 64 MiB are few.
SHARED_MEMORY = "1g"
LABEL = "io.github.ratchet.harness"
ASK_SECONDS = 30.0


class Engine(Frozen):
    """A program that runs containers, and the image for runs."""

    program: str
    image: str

    @property
    def podman(self) -> bool:
        return "podman" in Path(self.program).name

    def ask(self, *words: str) -> str:
        """What it prints; raises :class:`OSError` with what it complained of."""
        try:
            done = subprocess.run(
                [self.program, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=ASK_SECONDS,
                check=False,
            )
        except subprocess.SubprocessError as error:
            raise OSError(f"{error}") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise OSError(said[0] if said else f"exit status {done.returncode}")
        return done.stdout.decode(errors="replace").strip()


def exchange() -> Path | None:
    """The folder shared with a container that waits; ``None`` without one."""
    found = os.environ.get(EXCHANGE_VARIABLE)
    return Path(found) if found else None


def engine() -> Engine | None:
    """The engine on this machine, whether or not it works."""
    image = os.environ.get(IMAGE_VARIABLE) or DEFAULT_IMAGE
    named = os.environ.get(ENGINE_VARIABLE)
    for word in [named] if named else ENGINES:
        program = shutil.which(word)
        if program is not None:
            return Engine(program, image)
    return None


@functools.cache
def _image_id(found: Engine) -> str:
    return found.ask("image", "inspect", "--format", "{{.Id}}", found.image)


def fault() -> str | None:
    """Why no run can have a container here."""
    shared = exchange()
    if shared is not None:
        return None if os.access(shared, os.W_OK) else f"{shared} cannot be written to"
    found = engine()
    if found is None:
        named = os.environ.get(ENGINE_VARIABLE)
        return f"there is no program {named or ' or '.join(ENGINES)}"
    try:
        _image_id(found)
    except OSError as error:
        return f"{error}"
    return None


def mend() -> str:
    """What to do about a fault."""
    if exchange() is not None:
        return f"{EXCHANGE_VARIABLE} must name the folder that both containers share"
    image = (engine() or Engine("", DEFAULT_IMAGE)).image
    return f"install docker or podman, let its daemon run, and build {image} with: make image"


def own_facts() -> dict[str, str]:
    """The image that the harness is in, for manifests; empty outside of one."""
    named = os.environ.get(OWN_VARIABLE)
    if named:
        return {"image": named}
    try:
        facts = json.loads(OWN_FACTS.read_text(encoding="utf-8"))
        return {"image": f"{facts['base']}, revision {facts['revision']}"}
    except (OSError, ValueError, KeyError):
        return {}


def run_facts() -> dict[str, str]:
    """The image that runs are in, for manifests."""
    found = None if exchange() is not None else engine()
    return {"run image": f"{found.image} {_image_id(found)}"} if found is not None else {}


def mounted() -> bool:
    """Whether inputs can be mounted, so that data need not be copied."""
    return exchange() is None


@contextlib.contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """Where a run's folder is made; ours alone for as long as it is needed."""
    place = exchange() or folder
    with contextlib.ExitStack() as held:
        if place != folder:
            lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            held.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield place
        finally:
            for left in (CALL, WORK):
                discard(place / left)


def inside(work: Path) -> Path:
    """The path that a run's folder has for the run itself.

    Two containers see their common folder at the same place.
    """
    return EXCHANGE / WORK if exchange() is None else work


def order(box: Box, limits: Mapping[str, int], expected: dict[str, Any]) -> dict[str, Any]:
    """The supervisor's part: how to get the container for one run, and rid of it."""
    call = box.work.parent / CALL
    discard(call)
    call.mkdir()
    call.chmod(0o755)
    # What others put here they cannot take away from each other: inputs stay as they are.
    box.work.chmod(0o1777)
    whole = {"folder": str(call), "expected": expected, "errors": str(call / "engine")}
    found = engine()
    if exchange() is not None or found is None:
        return {**whole, "start": [], "remove": []}
    remove_left_over(found)
    name = f"ratchet-{uuid.uuid4().hex}"
    return {
        **whole,
        "start": start_command(found, box, limits, call, name),
        "remove": [found.program, "rm", "--force", name],
    }


def start_command(
    found: Engine, box: Box, limits: Mapping[str, int], call: Path, name: str
) -> list[str]:
    """The engine's command for one container: everything closed but what is named."""
    words = [found.program, "run", "--rm", "--pull", "never", "--name", name]
    words += ["--label", f"{LABEL}={_me()}", "--log-driver", "none", "--hostname", "run"]
    words += ["--user", f"{os.getuid() or CANDIDATE_USER}:{CANDIDATE_GROUP}"]
    words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only"]
    words += ["--ipc", "private", "--shm-size", SHARED_MEMORY]
    words += ["--pids-limit", str(limits.get(cgroups.PROCESSES, LARGEST_PROCESSES))]
    words += ["--tmpfs", "/tmp:rw,exec,nosuid,nodev,mode=1777"]
    if found.podman:
        words += ["--security-opt", "label=disable"]
        words += ["--userns", "keep-id"] if os.getuid() else []
    if not box.network:
        words += ["--network", "none"]
    if cgroups.MEMORY in limits:
        words += ["--memory", f"{limits[cgroups.MEMORY]}m"]
    inner = inside(box.work)
    words += _bind(call, EXCHANGE / CALL) + _bind(box.work, inner, writable=True)
    for path in box.fixed:
        words += _bind(path, inner / path.relative_to(box.work))
    for place, source in box.mounts.items():
        within = place.is_relative_to(box.work)
        words += _bind(source, inner / place.relative_to(box.work) if within else place)
    words += ["--workdir", str(inner), found.image]
    return [*words, PYTHON, "-S", "-E", CELL, str(EXCHANGE / CALL)]


def _bind(source: Path, target: Path, writable: bool = False) -> list[str]:
    parts = ["type=bind", f"source={source}", f"target={target}"]
    parts += [] if writable else ["readonly"]
    # The option is a line of comma-separated values.
    return ["--mount", ",".join(f'"{part}"' if "," in part else part for part in parts)]


def with_gpu(start: Sequence[str], uuid: str) -> list[str]:
    """The same command with one GPU of the machine in the container."""
    if not start:
        return []
    podman = "podman" in Path(start[0]).name
    options = ["--device", f"nvidia.com/gpu={uuid}"] if podman else ["--gpus", f"device={uuid}"]
    return [*start[:2], *options, *start[2:]]


def _me() -> str:
    """This process, told from later ones of its number."""
    return f"{os.getpid()}-{_began(os.getpid())}"


def _began(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def remove_left_over(found: Engine) -> None:
    """Remove containers that killed harness processes could not; running ones end by themselves."""
    look = '{{.ID}} {{.Label "' + LABEL + '"}}'
    shown = ""
    with contextlib.suppress(OSError):
        shown = found.ask("ps", "--all", "--filter", f"label={LABEL}", "--format", look)
    for line in shown.splitlines():
        container, _, owner = line.partition(" ")
        pid, _, began = owner.partition("-")
        if pid.isdigit() and _began(int(pid)) != began:
            with contextlib.suppress(OSError):
                found.ask("rm", "--force", container)
