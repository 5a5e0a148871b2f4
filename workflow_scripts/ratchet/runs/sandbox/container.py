"""Runs in containers of their own: the engine, its commands, the image.

Two ways, one protocol (``container_rpc`` and ``container_init``).  With docker or podman
on the PATH every run gets a fresh container.  Where ``RATCHET_EXCHANGE`` names a folder
that is shared with a container that waits there (two-container mode), runs go to that
one; the harness needs no engine then.

``RATCHET_ENGINE`` chooses the engine, ``RATCHET_RUN_IMAGE`` the image.
"""

import argparse
import contextlib
import fcntl
import functools
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet import __version__
from ratchet.base.errors import DataError, RatchetError
from ratchet.base.io import digest_file, read_bytes, remove_run_folder, write_json
from ratchet.base.structs import Frozen
from ratchet.runs.sandbox.cgroups import MEMORY_LIMIT, PROCESSES_LIMIT
from ratchet.runs.spec import Box
from ratchet.task.environment import package_paths, verify_packages

ENGINES = ("docker", "podman")
ENGINE_VARIABLE = "RATCHET_ENGINE"
IMAGE_VARIABLE = "RATCHET_RUN_IMAGE"
EXCHANGE_VARIABLE = "RATCHET_EXCHANGE"
# The image that this process itself is in, if whoever started it said so.
OWN_VARIABLE = "RATCHET_IMAGE"
DEFAULT_IMAGE = f"ratchet:{__version__}"
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


class ContainerEngine(Frozen):
    """A program that runs containers, and the image for runs."""

    program: str
    image: str

    @property
    def podman(self) -> bool:
        return "podman" in Path(self.program).name

    def ask(self, *words: str) -> str:
        """Output of an engine command; raises :class:`OSError` with its complaint."""
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


def exchange_folder() -> Path | None:
    """The folder shared with a container that waits; ``None`` without one."""
    found = os.environ.get(EXCHANGE_VARIABLE)
    return Path(found) if found else None


def container_engine() -> ContainerEngine | None:
    """The engine on this machine, whether or not it works."""
    image = os.environ.get(IMAGE_VARIABLE) or DEFAULT_IMAGE
    named = os.environ.get(ENGINE_VARIABLE)
    for word in [named] if named else ENGINES:
        program = shutil.which(word)
        if program is not None:
            return ContainerEngine(program, image)
    return None


@functools.cache
def _image_id(found: ContainerEngine) -> str:
    return found.ask("image", "inspect", "--format", "{{.Id}}", found.image)


def container_fault() -> str | None:
    """Why no run can have a container here."""
    shared = exchange_folder()
    if shared is not None:
        return None if os.access(shared, os.W_OK) else f"{shared} cannot be written to"
    found = container_engine()
    if found is None:
        named = os.environ.get(ENGINE_VARIABLE)
        return f"there is no program {named or ' or '.join(ENGINES)}"
    try:
        _image_id(found)
    except OSError as error:
        return f"{error}"
    return None


def container_mend() -> str:
    """Advice on mending a container engine that does not work."""
    if exchange_folder() is not None:
        return f"{EXCHANGE_VARIABLE} must name the folder that both containers share"
    image = (container_engine() or ContainerEngine("", DEFAULT_IMAGE)).image
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
    found = None if exchange_folder() is not None else container_engine()
    return {"run image": f"{found.image} {_image_id(found)}"} if found is not None else {}


def container_mounts_inputs() -> bool:
    """Whether inputs can be mounted, so that data need not be copied."""
    return exchange_folder() is None


@contextlib.contextmanager
def run_workplace(folder: Path) -> Iterator[Path]:
    """Folder in which a run's folder is made; ours alone for as long as it is needed."""
    place = exchange_folder() or folder
    with contextlib.ExitStack() as held:
        if place != folder:
            lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            held.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield place
        finally:
            for left in (CALL, WORK):
                remove_run_folder(place / left)


def path_inside(work: Path) -> Path:
    """The path that a run's folder has for the run itself.

    Two containers see their common folder at the same place.
    """
    return EXCHANGE / WORK if exchange_folder() is None else work


def container_order(
    box: Box, limits: Mapping[str, int], expected: dict[str, Any]
) -> dict[str, Any]:
    """The supervisor's part: how to get the container for one run, and rid of it."""
    call = box.work.parent / CALL
    remove_run_folder(call)
    call.mkdir()
    call.chmod(0o755)
    # What others put here they cannot take away from each other: inputs stay as they are.
    box.work.chmod(0o1777)
    whole = {"folder": str(call), "expected": expected, "errors": str(call / "engine")}
    found = container_engine()
    if exchange_folder() is not None or found is None:
        return {**whole, "start": [], "remove": []}
    remove_left_over(found)
    name = f"ratchet-{uuid.uuid4().hex}"
    return {
        **whole,
        "start": start_command(found, box, limits, call, name),
        "remove": [found.program, "rm", "--force", name],
    }


def start_command(
    found: ContainerEngine, box: Box, limits: Mapping[str, int], call: Path, name: str
) -> list[str]:
    """The engine's command for one container: everything closed but what is named."""
    words = [found.program, "run", "--rm", "--pull", "never", "--name", name]
    words += ["--label", f"{LABEL}={_me()}", "--log-driver", "none", "--hostname", "run"]
    words += ["--user", f"{os.getuid() or CANDIDATE_USER}:{CANDIDATE_GROUP}"]
    words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only"]
    words += ["--ipc", "private", "--shm-size", SHARED_MEMORY]
    words += ["--pids-limit", str(limits.get(PROCESSES_LIMIT, LARGEST_PROCESSES))]
    words += ["--tmpfs", "/tmp:rw,exec,nosuid,nodev,mode=1777"]
    if found.podman:
        words += ["--security-opt", "label=disable"]
        words += ["--userns", "keep-id"] if os.getuid() else []
    if not box.network:
        words += ["--network", "none"]
    if MEMORY_LIMIT in limits:
        words += ["--memory", f"{limits[MEMORY_LIMIT]}m"]
    inner = path_inside(box.work)
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
    """An engine's start command that puts one GPU of the machine into the container."""
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


def remove_left_over(found: ContainerEngine) -> None:
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


def check_image(arguments: Sequence[str] | None = None) -> int:
    """Write down what an image holds, and close what it hides: the last step of a build.

    Packages that tasks hide from their runs become readable by one group alone; the
    locks whose packages are all installed are named by their digests.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ratchet.runs.sandbox.container",
        description=check_image.__doc__,
    )
    parser.add_argument("--base", required=True, help="the image that this one is made from")
    parser.add_argument("--revision", required=True, help="revision of the source")
    parser.add_argument("--group", required=True, help="who may read hidden packages")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    parser.add_argument(
        "--environments", type=Path, default=Path(), help="folder of the tasks' own, as .venv-NAME"
    )
    parser.add_argument("tasks", type=Path, nargs="+", metavar="TASK.YAML")
    options = parser.parse_args(arguments)
    try:
        hidden = sorted({name for path in options.tasks for name in hidden_packages(path)})
        own = [str(place) for place in sorted(options.environments.glob(".venv-*"))]
        close_hidden(package_paths(hidden, own), options.group)
        facts = {
            "base": options.base,
            "revision": options.revision,
            "hidden": hidden,
            "locks": held_locks(sorted(Path("envs").glob("*.lock"))),
        }
        write_json(options.output, facts)
    except RatchetError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def hidden_packages(definition: Path) -> list[str]:
    """Packages that a task hides from its runs; raises :class:`DataError` if that is no list."""
    import yaml  # slow to import, and only images are made with it

    try:
        found = yaml.safe_load(read_bytes(definition)).get("hidden") or []
    except (yaml.YAMLError, AttributeError) as error:
        raise DataError(f"{definition}: is no task ({error})") from None
    if not isinstance(found, list):
        raise DataError(f"{definition}: `hidden` must be a list, found {found!r}")
    return [str(name) for name in found]


def held_locks(locks: Iterable[Path]) -> list[str]:
    """Digests of the locks whose packages are all installed here."""
    found = []
    for lock in locks:
        try:
            verify_packages(lock)
        except DataError:
            continue
        found.append(digest_file(lock))
    return sorted(found)


def close_hidden(paths: Iterable[Path], group: str) -> None:
    """Leave files and folders to root and to one group."""
    for top in paths:
        for path in [top, *top.rglob("*")]:
            if path.is_symlink():
                continue
            shutil.chown(path, group=group)
            os.chmod(path, path.stat().st_mode & ~0o007)  # noqa: PTH101


if __name__ == "__main__":
    sys.exit(check_image())
