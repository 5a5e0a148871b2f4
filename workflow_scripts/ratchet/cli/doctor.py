"""ratchet doctor: is this machine ready for a session, and if not, what to do?

    ratchet doctor
    ratchet doctor night
    ratchet doctor --json --config task=tasks/gpt

Looks at Python, git, Snakemake, uv, locked packages, disk, task and data, GPUs,
isolation, container runtimes, coding agents, and for a session that runs
already, and says how many runs and hours the configured session will take.
Nothing is changed, and nothing is started but --version of programs, what
coding agents say of their login, and a trivial command under each kind of
isolation.

Exit codes: 0 ready; 1 not ready; 64 usage, 70 internal error.
"""

import argparse
import contextlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ratchet.base.errors import ConfigError, DataError, RatchetError, faults_of
from ratchet.base.io import digest, digest_file, read_record
from ratchet.base.structs import asdict, replace, to_json_values
from ratchet.base.terminal import GREEN, RED, YELLOW, coloured, use_colour, wrap_text
from ratchet.base.text import one_line
from ratchet.cli.main import CommandParser, make_command, print_json
from ratchet.cli.plan import outlook_of
from ratchet.cli.sessions import (
    add_options,
    harness_folder,
    parse_overrides,
    task_of,
    usable_settings,
)
from ratchet.config import (
    AGENTS,
    FROZEN_KEYS,
    Config,
    given_in_all,
    spell_commands,
    workflow_command,
)
from ratchet.manifest import check_manifest
from ratchet.monitor.doctor import (
    GIB,
    START,
    AgentTool,
    Check,
    CheckState,
    LockCheck,
    Machine,
    conclusion,
    examine_machine,
    is_ready,
)
from ratchet.proposers.agent_health import LOGIN_HINTS, Login, tool_login
from ratchet.records.history import History, SeedEffect
from ratchet.records.ownership import running_sessions
from ratchet.records.paths import SessionPaths, StorePaths
from ratchet.records.records import Manifest
from ratchet.records.store import read_entry
from ratchet.runs.devices import VISIBLE_GPUS, LeaseFolder
from ratchet.runs.hardware import (
    GpuState,
    describe_machine,
    driver_versions,
    machine_description,
    nvml_library,
    visible_gpus,
)
from ratchet.runs.sandbox.sandbox import SandboxKind, sandbox_fault, sandbox_holds
from ratchet.steps.plan import start_faults
from ratchet.steps.prepare import (
    PREPARED,
    Preparation,
    choose_session_preset,
)
from ratchet.task.environment import (
    UV_LOCK,
    Interpreter,
    task_interpreter,
    uv_sync,
    verify_packages,
)
from ratchet.task.task import Task

KNOWN_AGENTS = tuple(name for name in AGENTS if name != "custom")
CONTAINERS = ("docker", "podman", "apptainer", "singularity")

SECONDS = 5.0
"""A program that takes longer to tell its version is not waited for."""

AGENT_SECONDS = 60.0
"""The same for coding agents, which set themselves up at their first start."""

SHOWN = 60
"""Characters of what a program says that are shown."""


def machine(root: Path, given: Sequence[str] = ()) -> Machine:
    """Machine as it was found; ``given`` are settings as ``KEY=VALUE``."""
    programs = ("git", "uv", *CONTAINERS, *KNOWN_AGENTS)
    with ThreadPoolExecutor(len(programs)) as pool:
        told = dict(zip(programs, pool.map(tool, programs), strict=True))
        known = pool.map(lambda name: agent_tool(name, told[name]), KNOWN_AGENTS)
        told |= dict(zip(KNOWN_AGENTS, known, strict=True))
    own = harness_folder(root) / ".uv" / "bin" / "uv"
    if told["uv"].version is None and own.exists():
        told["uv"] = tool(str(own))
    nvml = nvml_library()
    driver, cuda = driver_versions(nvml)
    seen = Machine(
        python=tuple(sys.version_info[:3]),
        executable=sys.executable,
        root=str(root.resolve()),
        tools={"git": told["git"], "uv": told["uv"], "snakemake": package("snakemake")},
        disk=free_space(root),
        writable=writable(root),
        gpus=gpu_states(nvml),
        driver=driver,
        cuda=cuda,
        about=describe_machine(machine_description("cpu")),
        containers={name: told[name] for name in CONTAINERS},
        faults={kind.value: sandbox_fault(kind) for kind in SandboxKind},
        holds={kind.value: sandbox_holds(kind) for kind in SandboxKind},
        agents={name: told[name] for name in KNOWN_AGENTS},
        running=running_sessions(root),
    )
    return _with_task(seen, root, given)


def gpu_states(nvml: Any | None) -> list[GpuState]:
    """The visible GPUs as ``devices`` numbers them, each with whoever has a lease of it."""
    there = visible_gpus(nvml, os.environ.get(VISIBLE_GPUS))
    holders = LeaseFolder().holders(gpu.uuid for gpu in there)
    return [
        replace(gpu, number=number, holder=holders[gpu.uuid].words if gpu.uuid in holders else "")
        for number, gpu in enumerate(there)
    ]


def _with_task(seen: Machine, root: Path, given: Sequence[str]) -> Machine:
    """The machine with what configuration and task say of it: every fault at once."""
    harness = harness_folder(root)
    try:
        chosen, faults = usable_settings(root, given)
    except ConfigError as error:
        return replace(seen, configuration=str(error))
    paths = SessionPaths(chosen.session, root)
    now = parse_overrides(given)
    values = given_in_all(paths, now)
    # A started session has its own settings, and takes others of those that may change.
    free = {key: value for key, value in now.items() if key not in FROZEN_KEYS}
    command = workflow_command(paths, free if paths.manifest.is_file() else values, harness=harness)
    seen = replace(seen, session=chosen.session, isolation=chosen.isolation, command=command)
    seen = _with_agent(seen, chosen)
    seen = replace(seen, configuration="\n".join(map(str, faults)))
    locks = [lock(harness / "envs" / "workflow.lock")]
    found: list[Task] = []
    told = [("task", each) for each in faults_of([lambda: found.append(task_of(chosen, root))])]
    for task in found:
        told += session_faults(chosen, task, root, harness)
        seen = replace(seen, task=task.name, device=task.device, guard=" ".join(task.guard))
        with contextlib.suppress(RatchetError):
            preset = choose_session_preset(chosen, task)
            seen = replace(seen, preset=preset.name if preset else None)
            seen = replace(seen, outlook=outlook_of(chosen, task, root, preset))
            task = task.sized(preset)
            seen = replace(seen, device=task.device)
        with contextlib.suppress(RatchetError):
            python = task_interpreter(chosen, task, root, harness)
            own = (harness / "envs/workflow.lock").resolve()
            if task.environment is not None and task.environment.resolve() != own:
                locks.append(lock(task.environment, python, chosen.python is not None, task.clone))
            variables = task.environment_of(task.preset(seen.preset))
            known = prepared(Preparation(task, variables, python), root)
            seen = replace(seen, prepared=known)
        seen = replace(seen, seedless=seedless_session(root, task))
    spelled = [
        (name, spell_commands(str(error), paths, values, harness))
        for name, error in told
        if name != "packages"  # which the locks tell
    ]
    return replace(seen, locks=locks, task_faults=spelled)


def session_faults(
    chosen: Config, task: Task, root: Path, harness: Path
) -> list[tuple[str, RatchetError]]:
    """What a session cannot start with, or go on with, by what it is about."""
    paths = SessionPaths(chosen.session, root)
    start = start_faults(chosen, task, root, harness)
    if not paths.manifest.is_file():
        return [*start]
    changed = faults_of([lambda: check_manifest(paths, chosen, task)])
    needed = [fault for fault in start if fault.name in ("python", "packages", "cache", "devices")]
    return [*(("session", error) for error in changed), *needed]


def _with_agent(seen: Machine, chosen: Config) -> Machine:
    """The machine with the program that is to propose; of an unknown one whether it is there."""
    if chosen.agent in KNOWN_AGENTS:
        agents = dict(seen.agents)
        if chosen.agent_command is not None or len(chosen.turns) > 1:
            # Such a command may bring a login along, and others can take the turns.
            agents[chosen.agent] = replace(agents[chosen.agent], login_todo="")
        return replace(seen, agent=chosen.agent, agents=agents)
    if chosen.agent != "custom" or not chosen.agent_command:
        return seen
    name = chosen.agent_command[0]
    there = AgentTool("") if shutil.which(name) else AgentTool(None)
    return replace(seen, agent=name, agents={**seen.agents, name: there})


def agent_tool(name: str, found: AgentTool) -> AgentTool:
    """A coding agent with what it says of its login, which costs nothing."""
    if found.version is None or found.fault:
        return found
    login, why = tool_login(name)
    todo = LOGIN_HINTS[name] if login is Login.NO else ""
    return replace(found, login=str(login), login_why=one_line(why), login_todo=todo)


def tool(name: str) -> AgentTool:
    """A program's own word for its version, found on the path or by its place."""
    seconds = AGENT_SECONDS if name in KNOWN_AGENTS else SECONDS
    path = shutil.which(name)
    if path is None:
        return AgentTool(None)
    try:
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        why = "does not answer" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        return AgentTool("", one_line(why)[:SHOWN])
    said = (done.stdout or done.stderr).decode(errors="replace").strip().splitlines()
    first = one_line(said[0])[:SHOWN] if said else ""
    if done.returncode:
        return AgentTool("", f"--version ended with status {done.returncode}: {first}".rstrip(": "))
    words = first.split()
    # Most programs begin with their own name, which stands there already.
    short = words[1:] if words and words[0].lower().strip(",") == Path(name).name else words
    return AgentTool(" ".join(short[1:] if short[:1] == ["version"] else short))


def package(name: str) -> AgentTool:
    """The version of an installed package."""
    try:
        return AgentTool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return AgentTool(None)


def free_space(root: Path) -> dict[str, float]:
    """Free space for results and store in GiB; one entry where it is the same disk."""
    disks: dict[int, tuple[list[str], float]] = {}
    for name in ("results", "store"):
        place = (root / name).resolve()
        while not place.exists():
            place = place.parent
        with contextlib.suppress(OSError):
            names, _ = disks.setdefault(
                place.stat().st_dev, ([], shutil.disk_usage(place).free / GIB)
            )
            names.append(name)
    return {" and ".join(names): free for names, free in disks.values()}


def writable(root: Path) -> bool:
    """Whether a session can write its folders; in an image they are links to a volume."""
    places = [root / name for name in ("results", "store", ".snakemake")]
    return all(os.access(p if p.exists() else root, os.W_OK | os.X_OK) for p in places)


def lock(
    path: Path,
    python: Interpreter | None = None,
    named: bool = False,
    clone: Path | None = None,
) -> LockCheck:
    """Whether the packages of this interpreter, or of a task's own, are as a lock names them.

    An own one may differ if the configuration ``named`` it.  ``clone`` is the repository that
    the lock is from.
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        sha = digest_file(path)
        verify_packages(path, python, clone)
    except DataError as error:
        # The message names lock and interpreter, which stand beside it here.
        differs = str(error).partition("(")[2].rpartition(");")[0]
        own = uv_sync(clone) if path.name == UV_LOCK else f"make env-{path.stem}"
        todo = own if python else ""
        todo = "the configuration names it, and the manifest will say so" if named else todo
        return LockCheck(name, sha, differs or str(error), todo, allowed=named)
    except (RatchetError, ImportError) as error:
        return LockCheck(name, "", str(error))
    return LockCheck(name, sha)


def prepared(preparation: Preparation, root: Path) -> bool | None:
    """Whether a task's data lie in the store; ``None`` for a task without data."""
    if not preparation.task.data_names:
        return None
    store = StorePaths(root / "store")
    path = store.memo(PREPARED, digest(preparation.inputs))
    try:
        answer = read_entry(path)["answer"]
        return all(store.blob(entry["sha256"]).is_file() for entry in answer.values())
    except (RatchetError, KeyError, TypeError, AttributeError):
        return False


def seedless_session(root: Path, task: Task) -> str | None:
    """The latest session of a task that tells of seeds, if they had no effect; else ``None``."""
    known = (root / "results").glob("*/baseline.json")
    for path in sorted(known, key=lambda path: path.stat().st_mtime, reverse=True):
        paths = SessionPaths(path.parent.name, root)
        with contextlib.suppress(RatchetError, OSError):
            if read_record(Manifest, paths.manifest).task == task.name:
                effect = History.read(paths).seed_effect
                if effect is not SeedEffect.UNKNOWN:
                    return paths.session if effect is SeedEffect.NONE else None
    return None


NAME = "ratchet doctor"
EXIT_NOT_READY = 1
_COLOURS = {CheckState.OK: GREEN, CheckState.WARNING: YELLOW, CheckState.PROBLEM: RED}
_STATE, _NAME = 9, 11


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    add_options(parser, named=True)
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    seen = machine(options.root, options.config)
    checks = examine_machine(seen)
    ready = is_ready(checks)
    if options.json:
        fields = {
            "ready": ready,
            "conclusion": conclusion(checks, seen.command),
            "checks": [{**asdict(check), "state": check.state.value} for check in checks],
            "length": None if seen.outlook is None else to_json_values(seen.outlook),
        }
        print_json(fields)
    else:
        print(render_checks(checks, use_colour(), seen.command))
    return 0 if ready else EXIT_NOT_READY


def render_checks(checks: Sequence[Check], colour: bool = False, command: str = START) -> str:
    """All checks within 80 columns, and the conclusion; ``command`` starts the session."""
    lines, rest = list[str](), " " * (_STATE + _NAME)
    for check in checks:
        state = f"{check.state.value:<{_STATE}}"
        first, *more = wrap_text(
            one_line(check.text), first=f"{state}{check.name:<{_NAME}}", rest=rest
        )
        code = _COLOURS[check.state] if colour else None
        lines += [coloured(state, code) + first[_STATE:], *more]
        if check.todo:
            lines += wrap_text(one_line(f"→ {check.todo}"), first=rest, rest=rest)
    # What is to be typed is not wrapped: it is there to be copied.
    return "\n".join([*lines, "", *conclusion(checks, command).splitlines()])


main = make_command(NAME, _parse, _run)
