"""A task's own interpreter: where it is, what is installed there, what it reads.

Tasks that need packages of their own (PyTorch, say) run in an environment of their
own; the harness never imports from it, but asks its interpreter what it has.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ratchet.canonical import digest
from ratchet.codec import Frozen
from ratchet.config import Config, resolve
from ratchet.errors import ConfigError
from ratchet.task import Task

# A cold environment on a shared disk may take long to list thousands of files.
PROBE_SECONDS = 120.0

# Run by the interpreter that is asked, isolated: neither the folder nor variables count.
_PROBE = """
import importlib.metadata, json, os, platform, re, sys
packages = {}
for found in importlib.metadata.distributions():
    name = found.metadata["Name"]
    if name:
        packages.setdefault(re.sub(r"[-_.]+", "-", name).lower(), found.version)
print(json.dumps({
    "executable": sys.executable,
    "prefixes": [sys.prefix, sys.base_prefix, sys.base_exec_prefix],
    "version": platform.python_version(),
    "packages": packages,
    "markers": {
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "python_full_version": platform.python_version(),
        "implementation_name": sys.implementation.name,
        "platform_python_implementation": platform.python_implementation(),
    },
}))
"""


class Interpreter(Frozen):
    """An interpreter as it describes itself.

    ``prefixes`` are the folders that it reads, ``packages`` the installed
    versions by normalised name, ``markers`` its part of a requirement's conditions.
    """

    executable: str
    prefixes: tuple[str, ...]
    version: str
    packages: Mapping[str, str]
    markers: Mapping[str, str]

    @property
    def packages_sha256(self) -> str:
        """Digest over Python's version and everything that is installed."""
        return digest({"python": self.version, "packages": dict(self.packages)})


def of_task(config: Config, task: Task, root: Path, harness: Path) -> Interpreter | None:
    """What runs a task's commands, if not the harness's: the configuration comes first.

    Raises :class:`ConfigError` if there is none where it is said to be.
    """
    if config.python is not None:
        place = resolve(config.python, root, harness)
        return ask(executable(place, "correct the configuration key python"))
    if task.python is None:
        return None
    if task.origin is not None and task.clone is None and not _stands_alone(task):
        raise ConfigError(
            f"python: {task.values['python']} lies in a clone of {task.origin.repo} on this "
            "machine, and there is none; name an environment with its packages by --config "
            "python=PLACE, or clone it and name the clone's folder by `repo`"
        )
    todo = f"make it with: make env-{task.environment.stem}"
    if task.origin is not None:
        todo = f"make it in {task.clone}: uv sync" if task.clone else "clone the repository"
    return ask(executable(task.python, f"{todo}, or name another one: --config python=PLACE"))


def _stands_alone(task: Task) -> bool:
    """Whether the task's interpreter is named by a whole path."""
    return Path(task.values["python"]).expanduser().is_absolute()


def executable(place: Path, todo: str) -> Path:
    """The program at ``place``, the folder of an environment or the program itself.

    Raises :class:`ConfigError`, which says what ``todo``, if there is none.
    """
    program = place / "bin" / "python" if place.is_dir() else place
    # Not resolved: an environment's program is a link, and its place says which one it is.
    program = Path(os.path.abspath(program))  # noqa: PTH100
    if not (program.is_file() and os.access(program, os.X_OK)):
        raise ConfigError(
            f"python: expected the folder of an environment or its interpreter, found nothing to "
            f"run at {program}; {todo}"
        )
    return program


@functools.cache
def ask(program: Path) -> Interpreter:
    """Let an interpreter describe itself; asked once per process.

    Raises :class:`ConfigError` if it does not answer.
    """
    try:
        done = subprocess.run(
            [str(program), "-I", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
        said = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ConfigError(f"python: {program} does not answer as a Python does: {error}") from None
    if said is None:
        last = done.stderr.decode(errors="replace").strip()[-300:]
        raise ConfigError(
            f"python: {program} ended with status {done.returncode} when asked what it is: {last}"
        )
    return Interpreter(**{**said, "prefixes": tuple(said["prefixes"])})
