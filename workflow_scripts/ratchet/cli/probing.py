"""What a machine is like, as ``ratchet doctor`` wants to know it.

A probe that fails is an answer; none of them ends the command.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ratchet import caches, devices, environment, files, gpu, interpreters, isolation
from ratchet.canonical import digest
from ratchet.cli import planning, settings
from ratchet.codec import replace
from ratchet.config import Config
from ratchet.doctor import Gpu, Lock, Machine, Tool
from ratchet.errors import DataError, RatchetError, UsageError
from ratchet.interpreters import Interpreter
from ratchet.paths import StorePaths
from ratchet.presets import GB
from ratchet.results_tsv import one_line
from ratchet.stages.prepare import PREPARED, choose_preset, preparation, variables
from ratchet.store import read_entry
from ratchet.task import Task

AGENTS = ("claude", "codex", "gemini", "aider", "opencode")
CONTAINERS = ("docker", "podman", "apptainer", "singularity")

SECONDS = 5.0
"""A program that takes longer to tell its version is not waited for."""

SHOWN = 60
"""Characters of what a program says that are shown."""


def machine(root: Path, given: Sequence[str] = ()) -> Machine:
    """Everything that can be found out; ``given`` are settings as ``KEY=VALUE``."""
    programs = ("git", "uv", *CONTAINERS, *AGENTS)
    with ThreadPoolExecutor(len(programs)) as pool:
        told = dict(zip(programs, pool.map(tool, programs), strict=True))
    own = settings.harness(root) / ".uv" / "bin" / "uv"
    if told["uv"].version is None and own.exists():
        told["uv"] = tool(str(own))
    nvml = gpu.library()
    driver, cuda = devices.driver(nvml)
    found = Machine(
        python=tuple(sys.version_info[:3]),
        executable=sys.executable,
        root=str(root.resolve()),
        tools={"git": told["git"], "uv": told["uv"], "snakemake": package("snakemake")},
        disk=free_space(root),
        writable=writable(root),
        gpus=[_gpu(state) for state in devices.visible_gpus(nvml, os.environ.get(gpu.VISIBLE))],
        driver=driver,
        cuda=cuda,
        containers={name: told[name] for name in CONTAINERS},
        faults={kind.value: isolation.fault(kind) for kind in isolation.Kind},
        agents={name: told[name] for name in AGENTS},
        running=owner(root),
    )
    return _with_task(found, root, given)


def _with_task(found: Machine, root: Path, given: Sequence[str]) -> Machine:
    """The same with what configuration and task say."""
    try:
        chosen = settings.read(root, given)
    except UsageError:  # a wrong option of this very command
        raise
    except RatchetError as error:
        return replace(found, configuration=str(error))
    found = _with_agent(replace(found, isolation=chosen.isolation), chosen)
    locks = [lock(settings.harness(root) / "envs" / "workflow.lock")]
    try:
        task = settings.task_of(chosen, root)
    except RatchetError as error:
        return replace(found, locks=locks, task_fault=str(error))
    found = replace(found, task=task.name, device=task.device)
    try:
        preset = choose_preset(chosen, task)
        task = task.sized(preset)
        length = planning.outlook_of(chosen, task, root)
        found = replace(found, device=task.device, outlook=length)
        python = interpreters.of_task(chosen, task, root, settings.harness(root))
        if task.environment.resolve() != (settings.harness(root) / "envs/workflow.lock").resolve():
            locks.append(lock(task.environment, python, named=chosen.python is not None))
        found = replace(found, locks=locks)
        if not task.fills_caches:
            caches.require(task.caches, task.clone)
        known = prepared(task, root, variables(task, preset), python)
    except RatchetError as error:
        return replace(found, locks=locks, task_fault=str(error))
    return replace(found, preset=preset.name if preset else None, prepared=known)


def _with_agent(found: Machine, chosen: Config) -> Machine:
    """The same with the program that is to propose; of an unknown one only whether it is there."""
    if chosen.proposer in AGENTS:
        return replace(found, agent=chosen.proposer)
    if chosen.proposer != "custom" or not chosen.agent_command:
        return found
    name = chosen.agent_command[0]
    there = Tool("") if shutil.which(name) else Tool(None)
    return replace(found, agent=name, agents={**found.agents, name: there})


def tool(name: str) -> Tool:
    """A program's own word for its version, found on the path or by its place."""
    path = shutil.which(name)
    if path is None:
        return Tool(None)
    try:
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        why = "does not answer" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        return Tool("", one_line(why)[:SHOWN])
    said = (done.stdout or done.stderr).decode(errors="replace").strip().splitlines()
    first = one_line(said[0])[:SHOWN] if said else ""
    if done.returncode:
        return Tool("", f"--version ended with status {done.returncode}: {first}".rstrip(": "))
    words = first.split()
    # Most begin with their own name, which the reader has just read.
    short = words[1:] if words and words[0].lower().strip(",") == Path(name).name else words
    return Tool(" ".join(short[1:] if short[:1] == ["version"] else short))


def package(name: str) -> Tool:
    """The version of an installed package."""
    try:
        return Tool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Tool(None)


def free_space(root: Path) -> dict[str, float]:
    """Free space for results and store in 1e9 bytes; one entry where it is the same disk."""
    found: dict[int, tuple[list[str], float]] = {}
    for name in ("results", "store"):
        place = (root / name).resolve()
        while not place.exists():
            place = place.parent
        with contextlib.suppress(OSError):
            names, _ = found.setdefault(
                place.stat().st_dev, ([], shutil.disk_usage(place).free / GB)
            )
            names.append(name)
    return {" and ".join(names): free for names, free in found.values()}


def writable(root: Path) -> bool:
    """Whether a session can write its folders; in an image they are links to a volume."""
    places = [root / name for name in ("results", "store", ".snakemake")]
    return all(os.access(p if p.exists() else root, os.W_OK | os.X_OK) for p in places)


def lock(path: Path, python: Interpreter | None = None, named: bool = False) -> Lock:
    """Whether the packages of this interpreter, or of a task's own, are as a lock names them.

    An own one may differ if the configuration ``named`` it.
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        sha = files.digest_file(path)
        if python is None:
            environment.verify(path)
        else:
            environment.verify_other(path, python)
    except DataError as error:
        # The message names lock and interpreter, which stand beside it here.
        found = str(error).partition("(")[2].rpartition(");")[0]
        todo = f"make env-{path.stem}" if python else ""
        todo = "the configuration names it, and the manifest will say so" if named else todo
        return Lock(name, sha, found or str(error), todo, allowed=named)
    except (RatchetError, ImportError) as error:
        return Lock(name, "", str(error))
    return Lock(name, sha)


def _gpu(state: devices.GpuState) -> Gpu:
    total, used = state.total_bytes, state.used_bytes
    return Gpu(
        state.name,
        None if total is None else total / GB,
        None if used is None else used / GB,
        [_process(pid) for pid in state.processes],
    )


def _process(pid: int) -> str:
    """A process by number and name; in a container the number may be the host's."""
    try:
        return f"process {pid} ({one_line(Path(f'/proc/{pid}/comm').read_text())})"
    except OSError:
        return f"process {pid}"


def prepared(
    task: Task, root: Path, variables: Mapping[str, str], python: Interpreter | None = None
) -> bool | None:
    """Whether the task's data lie in the store; ``None`` for a task without data."""
    if not task.data_names:
        return None
    store = StorePaths(root / "store")
    path = store.memo(PREPARED, digest(preparation(task, variables, python)))
    try:
        answer = read_entry(path)["answer"]
        return all(store.blob(entry["sha256"]).is_file() for entry in answer.values())
    except (RatchetError, KeyError, TypeError, AttributeError):
        return False


def owner(root: Path) -> str | None:
    """The process of a session that runs in this folder; ``None`` without one."""
    try:
        handle = os.open(root / ".snakemake" / "ratchet.owner", os.O_RDONLY)
    except OSError:
        return None
    try:
        # Held for an instant, and shared: it is a look, not a claim.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except OSError:
        return one_line(os.pread(handle, 128, 0).decode(errors="replace")) or "unknown"
    finally:
        os.close(handle)
