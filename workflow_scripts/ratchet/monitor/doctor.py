"""Readiness of a machine for a session."""

import enum
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ratchet.base.structs import Frozen, field
from ratchet.base.text import one_line, one_line_label, plural
from ratchet.monitor.outlook import Outlook
from ratchet.records.history import NO_CHANCE_MEASURED, NO_SEED_EFFECT, SEED_HINT
from ratchet.records.ownership import Owner
from ratchet.runs.hardware import GpuState

OLDEST_PYTHON = (3, 11)
OLDEST_SNAKEMAKE = (9, 27)
GIB = 2**30
LEAST_FREE_GIB = 0.5
"""Below this a session of some hundred runs may not find room for logs and records."""

GOOD_FREE_GIB = 5.0
"""Prepared data and sources of a larger task; below, the disk deserves a look."""

BUSY_SHARE = 0.05
"""Share of a GPU's memory; more is used by somebody, less is the driver's own."""

MEND_ISOLATION = {
    "bubblewrap": "apt-get install bubblewrap",
    "landlock": "needs Linux 5.13 or newer with landlock among /sys/kernel/security/lsm",
}
UNPREPARED = "not prepared yet; the first session does it"
ENVIRONMENT = "make env, then: source .venv/bin/activate"
START = "snakemake --cores 1"
"""The command of the configured session."""


class CheckState(enum.StrEnum):
    """Result of a check."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Check(Frozen):
    """One line: what was looked at, how it is, and what to do where it is not well."""

    name: str
    state: CheckState
    text: str
    todo: str = ""


def _check(state: CheckState, name: str, text: str, todo: str = "") -> Check:
    return Check(name, state, text, todo)


ok, warning, problem = (functools.partial(_check, state) for state in CheckState)


class LockCheck(Frozen):
    """A hash lock with its digest, and how the environment differs from it.

    ``todo`` mends that; it may stay so if ``allowed``.
    """

    path: str
    digest: str
    fault: str = ""
    todo: str = ""
    allowed: bool = False


class AgentTool(Frozen):
    """A program; ``version`` is its own word, ``None`` where there is no such program.

    ``login`` says whether one is logged in, where that is known; if not, ``login_why`` says
    by what, and ``login_todo`` what to type.
    """

    version: str | None
    fault: str = ""
    login: str = ""
    login_why: str = ""
    login_todo: str = ""


class Machine(Frozen):
    """Machine as it was found.

    ``faults`` says why a kind of isolation does not work (``None`` if it does), the
    strongest kind last, and ``holds`` what each closes to runs and leaves open.
    ``device`` is what the task runs on, ``None`` if no task can be read, and ``seedless`` a
    session of it in which the seed had no effect.  ``disk`` maps folders to free space in
    GiB.  ``agent`` is the program that the configuration wants proposals from, if any,
    and ``command`` starts the session.  ``task_faults`` say what the task cannot start with:
    what each is about, and the message.  Of ``locks`` the first is the harness's own.
    ``about`` names processor, memory and system.
    """

    python: tuple[int, ...]
    executable: str
    root: str
    tools: Mapping[str, AgentTool]
    disk: Mapping[str, float]
    writable: bool
    locks: Sequence[LockCheck] = ()
    gpus: Sequence[GpuState] = ()
    driver: str | None = None
    cuda: str | None = None
    about: str = ""
    containers: Mapping[str, AgentTool] = field(default_factory=dict)
    isolation: str = "auto"
    faults: Mapping[str, str | None] = field(default_factory=dict)
    holds: Mapping[str, str] = field(default_factory=dict)
    agents: Mapping[str, AgentTool] = field(default_factory=dict)
    agent: str | None = None
    configuration: str = ""
    command: str = START
    task: str | None = None
    task_faults: Sequence[tuple[str, str]] = ()
    device: str | None = None
    guard: str = ""
    preset: str | None = None
    prepared: bool | None = None
    seedless: str | None = None
    outlook: Outlook | None = None
    session: str = ""
    running: Mapping[str, Owner] = field(default_factory=dict)


def examine_machine(machine: Machine) -> list[Check]:
    """All checks, in the order in which they are to be read."""
    parts = (_about, _python, _tools, _locks, _disk, _task, _gpu, _isolation, _containers, _agents)
    return [check for part in (*parts, _length, _running) for check in part(machine)]


def is_ready(checks: Sequence[Check]) -> bool:
    """Whether a session can be started."""
    return all(check.state is not CheckState.PROBLEM for check in checks)


def conclusion(checks: Sequence[Check], command: str = START) -> str:
    """The last line: how to start, or what to mend, in which order."""
    problems = [check for check in checks if check.state is CheckState.PROBLEM]
    if problems:
        todo = dict.fromkeys(f"{check.name}: {one_line(check.todo)}" for check in problems)
        if len(todo) == 1:
            return f"not ready; first: {one_line(problems[0].todo)}"
        lines = [f"  {number}. {each}" for number, each in enumerate(todo, 1)]
        return "\n".join(["not ready; to be mended, in this order:", *lines])
    count = sum(check.state is CheckState.WARNING for check in checks)
    some = f", with {count} warning{'' if count == 1 else 's'}" if count else ""
    return f"ready{some}; start with: {command}"


def _about(machine: Machine) -> Iterator[Check]:
    if machine.about:
        yield ok("machine", machine.about)


def _python(machine: Machine) -> Iterator[Check]:
    text = f"{'.'.join(map(str, machine.python))} ({machine.executable})"
    if machine.python < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        todo = f"install Python {oldest} or newer, then: make env PYTHON=/path/to/python{oldest}"
        yield problem("python", text, todo)
    else:
        yield ok("python", text)


def _tools(machine: Machine) -> Iterator[Check]:
    git = machine.tools.get("git", AgentTool(None))
    if git.version is None:
        yield problem("git", "not found", "install it: apt-get install git")
    else:
        yield ok("git", git.version)
    found = machine.tools.get("snakemake", AgentTool(None)).version
    if found is None:
        yield problem("snakemake", "not in this environment", ENVIRONMENT)
    elif _numbers(found) < OLDEST_SNAKEMAKE:
        text = f"{found}; {'.'.join(map(str, OLDEST_SNAKEMAKE))} or newer is needed"
        yield problem("snakemake", text, ENVIRONMENT)
    else:
        yield ok("snakemake", found)
    uv = machine.tools.get("uv", AgentTool(None)).version
    yield ok("uv", uv or "not found; `make env` sets up one of its own")


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version."""
    return tuple(map(int, itertools.takewhile(str.isdigit, version.split("."))))


def _locks(machine: Machine) -> Iterator[Check]:
    yield from _lock_checks(machine.locks[:1])


def _lock_checks(locks: Sequence[LockCheck]) -> Iterator[Check]:
    for lock in locks:
        name = f"{lock.path} {lock.digest[:12]}".strip()
        if lock.fault:
            judge = warning if lock.allowed else problem
            yield judge("packages", f"{name}: {lock.fault}", lock.todo or ENVIRONMENT)
        else:
            yield ok("packages", f"as locked in {name}")


def _disk(machine: Machine) -> Iterator[Check]:
    if not machine.writable:
        text = f"{machine.root}: cannot be written"
        yield problem("disk", text, "start in a folder of your own")
    for folder, free in machine.disk.items():
        text = f"{free:,.1f} GiB free for {folder}"
        if free < LEAST_FREE_GIB:
            yield problem("disk", text, f"free some space for {folder}")
        elif free < GOOD_FREE_GIB:
            yield warning("disk", text, "a larger task may need more")
        else:
            yield ok("disk", text)


def _task(machine: Machine) -> Iterator[Check]:
    faulty = {name for name, _ in machine.task_faults}
    for text in filter(None, machine.configuration.splitlines()):
        yield problem("config", text, "mend the configuration (config/README.md has all keys)")
    tasks, later = machine.locks[1:], ("cache", "guard", "remember", "trackers", "mirror")
    for name, text in machine.task_faults:
        if name in later:
            yield from _lock_checks(tasks)
            tasks = ()
        # A message says at its end what to do; that of a changed session on its last line.
        what, _, todo = text.rpartition("\n" if name == "session" else "; ")
        todo = f"correct the {name}: {todo}" if todo.startswith("did you mean") else todo
        yield problem(name, what or text, todo if what else "mend the task, or choose another")
    yield from _lock_checks(tasks)
    if machine.task is not None:
        preset = f", preset {machine.preset}" if machine.preset else ""
        if not faulty:
            yield ok("task", f"{machine.task} on {machine.device}{preset}")
        if machine.guard and "guard" not in faulty:
            yield ok("guard", f"{machine.guard}; the baseline must pass it first")
        if machine.prepared is not None:
            yield ok("data", "prepared" if machine.prepared else UNPREPARED)
        if machine.seedless is not None:
            text = f"{NO_SEED_EFFECT}, by session {machine.seedless}: {NO_CHANCE_MEASURED}"
            yield warning("seed", text, f"{SEED_HINT}; docs/tasks.md says how a run gets its seed")


def _gpu(machine: Machine) -> Iterator[Check]:
    needed = machine.device == "gpu"
    if not machine.gpus:
        if needed:
            todo = (
                "install the NVIDIA driver (nvidia-smi must list the GPU) and look at "
                "CUDA_VISIBLE_DEVICES, or choose a task for the CPU"
            )
            yield problem("gpu", "none is visible, and the task needs one", todo)
        else:
            said = "; the task needs none" if machine.device else ""
            yield ok("gpu", f"none is visible{said}")
        return
    driver = f"driver {machine.driver or 'unknown'}, CUDA up to {machine.cuda or 'unknown'}"
    yield ok("gpu", driver)
    for gpu in machine.gpus:
        yield _one_gpu(gpu, needed)


def _one_gpu(gpu: GpuState, needed: bool) -> Check:
    total, used = gpu.total_bytes, gpu.used_bytes
    size = "memory unknown" if total is None else f"{total / GIB:.1f} GiB"
    number = "" if gpu.number is None else f"{gpu.number}: "
    text = f"{number}{gpu.name}, {size}"
    if gpu.holder:
        return ok("gpu", f"{text}, leased by {gpu.holder}")
    if not gpu.processes and not (total and used and used > BUSY_SHARE * total):
        return ok("gpu", f"{text}, nobody else on it")
    if used is not None:
        text += f", {used / GIB:.1f} GiB of it in use"
    if gpu.processes:
        text += f" by {', '.join(map(process_name, gpu.processes))}"
    if not needed:
        return ok("gpu", text)
    return warning("gpu", text, "wait for it, or end it: runs that share a GPU are not compared")


def process_name(pid: int) -> str:
    """A process by number and name; in a container the number may be the host's."""
    try:
        return f"process {pid} ({one_line(Path(f'/proc/{pid}/comm').read_text())})"
    except OSError:
        return f"process {pid}"


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
        yield problem("isolation", text, todo)
        return
    used = strongest if machine.isolation == "auto" else machine.isolation
    holds = machine.holds.get(used, "")
    if used == best:
        yield ok("isolation", f"{used}: {holds}")
        return
    told = f"{used} is used{said}" if machine.isolation == "auto" else f"{used} is wanted"
    told += f"; {holds}" if holds else ""
    todo = MEND_ISOLATION.get(best, "") if machine.faults.get(best) else "set isolation to auto"
    yield warning("isolation", told, todo)


def _containers(machine: Machine) -> Iterator[Check]:
    there = [
        f"{name} {tool.version}{f' ({tool.fault})' if tool.fault else ''}"
        for name, tool in machine.containers.items()
        if tool.version is not None
    ]
    text = ", ".join(there) or "none found; only runs in containers need one"
    yield ok("container", text)


def _agents(machine: Machine) -> Iterator[Check]:
    if machine.agent is not None:
        wanted = machine.agents.get(machine.agent, AgentTool(None))
        if wanted.version is None:
            todo = f"install {machine.agent}, or set proposer to declared"
            text = f"{machine.agent} is to propose, and there is no such program"
            yield problem("agent", text, todo)
            return
        if wanted.login_todo:
            text = f"{machine.agent} is to propose and is {wanted.login} ({wanted.login_why})"
            yield problem("agent", text, f"log in: {wanted.login_todo}")
    there = {name: tool for name, tool in machine.agents.items() if tool.version is not None}
    text = ", ".join(_agent_words(name, tool) for name, tool in there.items())
    odd = [f"{name}: {tool.fault}" for name, tool in there.items() if tool.fault]
    if odd:
        yield warning("agent", "; ".join(odd), "start it once by hand")
    else:
        none = "no coding agent found; the built-in proposer needs none"
        yield ok("agent", text or none)


def _agent_words(name: str, tool: AgentTool) -> str:
    said = f" ({tool.login})" if tool.login else ""
    return f"{name} {tool.version}".strip() + said


def _length(machine: Machine) -> Iterator[Check]:
    found = machine.outlook
    if found is None:
        return
    if found.cut_short:
        text = f"{found.sentence()}; deadline_hours ends it before"
        rounds = found.ends[0].rounds
        todo = (
            f"that is time for about {plural(rounds, 'round')}: raise deadline_hours, or plan fewer"
        )
        yield warning("length", text, todo)
    else:
        yield ok("length", found.sentence())


_MOST_TOLD = 6
"""Sessions beside this one that are named."""


def _running(machine: Machine) -> Iterator[Check]:
    others = [name for name in machine.running if name != machine.session]
    if machine.session in machine.running:
        todo = "wait for it, or start another beside it: session=NAME"
        text = f"{machine.session} is running here (process {machine.running[machine.session]})"
        yield problem("session", text, todo)
    elif others:
        shown = ", ".join(map(one_line_label, others[:_MOST_TOLD]))
        more = f" and {len(others) - _MOST_TOLD} more" if len(others) > _MOST_TOLD else ""
        yield ok("session", f"others run here, which share machine and store: {shown}{more}")
