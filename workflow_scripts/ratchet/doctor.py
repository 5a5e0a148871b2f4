"""Whether a machine is ready for a session: what was found, judged line by line.

Pure: what a machine is like comes in as values, :mod:`ratchet.cli.doctor` finds out.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence

from ratchet.codec import Frozen, field
from ratchet.outlook import Outlook

OLDEST_PYTHON = (3, 11)
OLDEST_SNAKEMAKE = (9, 27)

LEAST_FREE_GB = 0.5
"""Below this a session of some hundred runs may not find room for logs and records."""

GOOD_FREE_GB = 5.0
"""Prepared data and sources of a larger task; below, the disk deserves a look."""

BUSY_SHARE = 0.05
"""Of a GPU's memory; more is used by somebody, less is the driver's own."""

MEND_ISOLATION = {
    "bubblewrap": "apt-get install bubblewrap",
    "landlock": "needs Linux 5.13 or newer with landlock among /sys/kernel/security/lsm",
}
ENVIRONMENT = "make env, then: source .venv/bin/activate"


class State(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Check(Frozen):
    """One line: what was looked at, how it is, and what to do where it is not well."""

    name: str
    state: State
    text: str
    todo: str = ""


class Gpu(Frozen):
    """One visible GPU; sizes in 1e9 bytes, ``None`` where it does not tell."""

    name: str
    total_gb: float | None
    used_gb: float | None
    processes: Sequence[str] = ()


class Lock(Frozen):
    """A hash lock with its digest, and how the environment differs from it.

    ``todo`` mends that; it may stay so if ``allowed``.
    """

    path: str
    digest: str
    fault: str = ""
    todo: str = ""
    allowed: bool = False


class Tool(Frozen):
    """A program; ``version`` is its own word, ``None`` where there is no such program."""

    version: str | None
    fault: str = ""


class Machine(Frozen):
    """Everything that was found.

    ``faults`` says why a kind of isolation does not work (``None`` if it does), the
    strongest kind last.  ``device`` is what the task runs on, ``None`` if no task can
    be read.  ``disk`` maps folders to free space in 1e9 bytes.  ``agent`` is the
    program that the configuration wants proposals from, if any.
    """

    python: tuple[int, ...]
    executable: str
    root: str
    tools: Mapping[str, Tool]
    disk: Mapping[str, float]
    writable: bool
    locks: Sequence[Lock] = ()
    gpus: Sequence[Gpu] = ()
    driver: str | None = None
    cuda: str | None = None
    containers: Mapping[str, Tool] = field(default_factory=dict)
    isolation: str = "auto"
    faults: Mapping[str, str | None] = field(default_factory=dict)
    agents: Mapping[str, Tool] = field(default_factory=dict)
    agent: str | None = None
    configuration: str = ""
    task: str | None = None
    task_fault: str = ""
    device: str | None = None
    preset: str | None = None
    prepared: bool | None = None
    outlook: Outlook | None = None
    running: str | None = None


def examine(machine: Machine) -> list[Check]:
    """All checks, in the order in which they are to be read."""
    parts = (_python, _tools, _locks, _disk, _task, _gpu, _isolation, _containers, _agents)
    return [check for part in (*parts, _length, _running) for check in part(machine)]


def ready(checks: Sequence[Check]) -> bool:
    """Whether a session can be started."""
    return all(check.state is not State.PROBLEM for check in checks)


def conclusion(checks: Sequence[Check]) -> str:
    """The last line: how to start, or what to do first."""
    first = next((check for check in checks if check.state is State.PROBLEM), None)
    if first is not None:
        return f"not ready; first: {first.todo or first.text}"
    count = sum(check.state is State.WARNING for check in checks)
    some = f", with {count} warning{'' if count == 1 else 's'}" if count else ""
    return f"ready{some}; start with: snakemake --cores 1"


# ------------------------------------------------------------------- the machine


def _python(machine: Machine) -> Iterator[Check]:
    version = ".".join(map(str, machine.python))
    text = f"{version} ({machine.executable})"
    if machine.python < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        todo = f"install Python {oldest} or newer, then: make env PYTHON=/path/to/python{oldest}"
        yield Check("python", State.PROBLEM, text, todo)
    else:
        yield Check("python", State.OK, text)


def _tools(machine: Machine) -> Iterator[Check]:
    git = machine.tools.get("git", Tool(None))
    if git.version is None:
        yield Check("git", State.PROBLEM, "not found", "install it: apt-get install git")
    else:
        yield Check("git", State.OK, git.version)
    found = machine.tools.get("snakemake", Tool(None)).version
    if found is None:
        yield Check("snakemake", State.PROBLEM, "not in this environment", ENVIRONMENT)
    elif _numbers(found) < OLDEST_SNAKEMAKE:
        text = f"{found}; {'.'.join(map(str, OLDEST_SNAKEMAKE))} or newer is needed"
        yield Check("snakemake", State.PROBLEM, text, ENVIRONMENT)
    else:
        yield Check("snakemake", State.OK, found)
    uv = machine.tools.get("uv", Tool(None)).version
    yield Check("uv", State.OK, uv or "not found; `make env` sets up one of its own")


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version."""
    found = []
    for part in version.split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found)


def _locks(machine: Machine) -> Iterator[Check]:
    for lock in machine.locks:
        name = f"{lock.path} {lock.digest[:12]}".strip()
        if not lock.fault:
            yield Check("packages", State.OK, f"as locked in {name}")
            continue
        state = State.WARNING if lock.allowed else State.PROBLEM
        yield Check("packages", state, f"{name}: {lock.fault}", lock.todo or ENVIRONMENT)


def _disk(machine: Machine) -> Iterator[Check]:
    if not machine.writable:
        text = f"{machine.root}: cannot be written"
        yield Check("disk", State.PROBLEM, text, "start in a folder of your own")
    for folder, free in machine.disk.items():
        text = f"{free:,.1f} GB free for {folder}"
        if free < LEAST_FREE_GB:
            yield Check("disk", State.PROBLEM, text, f"free some space for {folder}")
        elif free < GOOD_FREE_GB:
            yield Check("disk", State.WARNING, text, "a larger task may need more")
        else:
            yield Check("disk", State.OK, text)


def _task(machine: Machine) -> Iterator[Check]:
    if machine.configuration:
        todo = "mend the configuration (config/README.md has all keys)"
        yield Check("config", State.PROBLEM, machine.configuration, todo)
        return
    if machine.task_fault:
        yield Check("task", State.PROBLEM, machine.task_fault, "mend the task, or choose another")
        return
    if machine.task is None:
        return
    preset = f", preset {machine.preset}" if machine.preset else ""
    yield Check("task", State.OK, f"{machine.task} on {machine.device}{preset}")
    if machine.prepared is not None:
        text = "prepared" if machine.prepared else "not prepared yet; the first session does it"
        yield Check("data", State.OK, text)


def _gpu(machine: Machine) -> Iterator[Check]:
    needed = machine.device == "gpu"
    if not machine.gpus:
        if needed:
            todo = (
                "install the NVIDIA driver (nvidia-smi must list the GPU) and look at "
                "CUDA_VISIBLE_DEVICES, or choose a task for the CPU"
            )
            yield Check("gpu", State.PROBLEM, "none is visible, and the task needs one", todo)
        else:
            said = "; the task needs none" if machine.device else ""
            yield Check("gpu", State.OK, f"none is visible{said}")
        return
    driver = f"driver {machine.driver or 'unknown'}, CUDA up to {machine.cuda or 'unknown'}"
    yield Check("gpu", State.OK, driver)
    for gpu in machine.gpus:
        yield _one_gpu(gpu, needed)


def _one_gpu(gpu: Gpu, needed: bool) -> Check:
    size = "memory unknown" if gpu.total_gb is None else f"{gpu.total_gb:.1f} GB"
    text = f"{gpu.name}, {size}"
    busy = gpu.total_gb and gpu.used_gb and gpu.used_gb > BUSY_SHARE * gpu.total_gb
    if gpu.processes or busy:
        used = f", {gpu.used_gb:.1f} GB of it in use" if gpu.used_gb is not None else ""
        who = f" by {', '.join(gpu.processes)}" if gpu.processes else ""
        state = State.WARNING if needed else State.OK
        todo = "wait for it, or end it: runs that share a GPU are not compared" if needed else ""
        return Check("gpu", state, f"{text}{used}{who}", todo)
    return Check("gpu", State.OK, f"{text}, nobody else on it")


def _isolation(machine: Machine) -> Iterator[Check]:
    working = [kind for kind, fault in machine.faults.items() if fault is None]
    if not working:
        return
    strongest, best = working[-1], [*machine.faults][-1]
    faults = [f"{kind}: {fault}" for kind, fault in machine.faults.items() if fault is not None]
    said = f" ({'; '.join(faults)})" if faults else ""
    if machine.isolation != "auto" and machine.faults.get(machine.isolation):
        todo = f"{MEND_ISOLATION.get(machine.isolation, 'mend it')}, or set isolation to auto"
        text = f"{machine.isolation} is wanted and does not work{said}"
        yield Check("isolation", State.PROBLEM, text, todo)
        return
    used = strongest if machine.isolation == "auto" else machine.isolation
    if used == best:
        yield Check("isolation", State.OK, f"{used}: own files, processes and network for runs")
        return
    told = f"{used} is used{said}" if machine.isolation == "auto" else f"{used} is wanted"
    todo = MEND_ISOLATION.get(best, "") if machine.faults.get(best) else "set isolation to auto"
    yield Check("isolation", State.WARNING, told, todo)


def _containers(machine: Machine) -> Iterator[Check]:
    there = [
        f"{name} {tool.version}{f' ({tool.fault})' if tool.fault else ''}"
        for name, tool in machine.containers.items()
        if tool.version is not None
    ]
    text = ", ".join(there) or "none found; only runs in containers need one"
    yield Check("container", State.OK, text)


def _agents(machine: Machine) -> Iterator[Check]:
    if machine.agent is not None:
        wanted = machine.agents.get(machine.agent, Tool(None))
        if wanted.version is None:
            todo = f"install {machine.agent}, or set proposer to declared"
            text = f"{machine.agent} is to propose, and there is no such program"
            yield Check("agent", State.PROBLEM, text, todo)
            return
    there = {name: tool for name, tool in machine.agents.items() if tool.version is not None}
    text = ", ".join(f"{name} {tool.version}".strip() for name, tool in there.items())
    odd = [f"{name}: {tool.fault}" for name, tool in there.items() if tool.fault]
    if odd:
        yield Check("agent", State.WARNING, "; ".join(odd), "start it once by hand")
    else:
        none = "no coding agent found; the built-in proposer needs none"
        yield Check("agent", State.OK, text or none)


def _length(machine: Machine) -> Iterator[Check]:
    found = machine.outlook
    if found is None:
        return
    if found.cut_short:
        text = f"{found.sentence()}; deadline_hours ends it before"
        todo = f"grant enough, such as deadline_hours={found.hours_needed}, or plan fewer rounds"
        yield Check("length", State.WARNING, text, todo)
    else:
        yield Check("length", State.OK, found.sentence())


def _running(machine: Machine) -> Iterator[Check]:
    if machine.running is not None:
        todo = "wait for it, stop it with Ctrl-C, or work in a clone of its own"
        text = f"one is running here (process {machine.running})"
        yield Check("session", State.PROBLEM, text, todo)
