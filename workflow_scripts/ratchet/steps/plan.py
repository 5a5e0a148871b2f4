"""Checks and decisions made when the Snakefile is parsed."""

import contextlib
import functools
import math
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ratchet.base.errors import (
    EXIT_IO,
    EXIT_UNAVAILABLE,
    THIS_SESSION,
    AgentUnusableError,
    ConfigError,
    RatchetError,
    faults_of,
    raise_faults,
)
from ratchet.base.io import canonical_json, digest, digest_bytes, read_if_whole, write_bytes
from ratchet.base.structs import Frozen, field, replace, to_json_values
from ratchet.base.text import one_line
from ratchet.config import (
    Config,
    given_in_all,
    given_text,
    read_config,
    session_values,
    settle_config,
    spelled_commands,
)
from ratchet.integrity.seal import begin_workflow, is_finished
from ratchet.manifest import check_manifest
from ratchet.monitor.notify import watch_inputs
from ratchet.records.events import Journal
from ratchet.records.ownership import take_sessions
from ratchet.records.paths import SessionPaths, session_name
from ratchet.records.proposals import Asked, Proposals
from ratchet.records.records import (
    Certification,
    CertificationRun,
    Experiment,
    Manifest,
    Scale,
    StopReason,
)
from ratchet.records.session_repo import SessionRepo
from ratchet.records.store import Store
from ratchet.session import other_scale
from ratchet.task.environment import (
    Interpreter,
    check_guard,
    check_platform,
    require_task_caches,
    task_interpreter,
    verify_packages,
)
from ratchet.task.presets import (
    check_constants,
    choose_preset,
    constant_faults,
    edited_files,
    preset_sources,
)
from ratchet.task.repository import task_of_config
from ratchet.task.task import AUTO, Task


def planned_facts(config: Config) -> dict[str, Any]:
    """Settings that the view of a session shows."""
    names = ("session", "rounds", "confirm_replicates", "transfer_runs", "proposer")
    return {name: getattr(config, name) for name in names}


EXTRAS = ("*.html", "*.css", "*.js", "vendor/*", "templates/*")
"""What a module's folder holds beside code that its result depends on."""


@functools.cache
def code_digest(*modules: str) -> str:
    """Digest over the sources of these modules and all that they import of ratchet."""
    package = Path(__file__).parents[1]
    todo, seen = list(modules), dict[str, str]()
    while todo:
        path = _module_path(package, todo.pop())
        name = "" if path is None else str(path.relative_to(package))
        if path is None or name in seen:
            continue
        digests, imported = _part(path)
        seen |= {str(file.relative_to(package)): sha for file, sha in digests.items()}
        todo += imported
    return digest(seen)


@functools.cache
def _part(path: Path) -> tuple[Mapping[Path, str], Sequence[str]]:
    """Digests of a module and its extras, and the names of the modules that it imports."""
    files = [path, *(extra for kind in EXTRAS for extra in path.parent.glob(kind))]
    digests = {file: digest_bytes(file.read_bytes()) for file in files}
    return digests, imported_modules(path.read_text(encoding="utf-8"))


# Parsing every module would take longer than everything else that is done here.
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ ]+(ratchet[\w.]*)[ ]+import[ ]+(\([^)]*\)|.+)|import[ ]+(ratchet\.[\w.]+))",
    re.MULTILINE,
)


def imported_modules(source: str) -> list[str]:
    """Names of ratchet's modules, and of what they hold, that a module's source imports."""
    names = []
    for module, listed, plain in _IMPORT.findall(source):
        if plain:
            names.append(plain)
            continue
        words = re.sub(r"#.*", "", listed).strip("() ,\n").split(",")
        names += [f"{module}.{word.split()[0]}" for word in words if word.strip()]
        names += [module] if module != "ratchet" else []
    return names


def _module_path(package: Path, name: str) -> Path | None:
    path = package.joinpath(*name.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file() and candidate != package / "__init__.py":
            return candidate
    return None


DEFAULT_MEMORY_MB = 4000
"""Where a task names no limit: room for the default task and small models; a cluster
that enforces it is told of more by ``limits: memory_mb`` of the task, or by
``--set-resources``."""

HARNESS_MEMORY_MB = 1000
"""What harness, evaluator and Snakemake take beside a run that has a limit."""

BESIDE_A_RUN_SECONDS = 60.0
"""Laying out, evaluating and storing a run; with a slow shared file system too."""

PREPARE_MINUTES = 240
"""Data may have to be fetched and tokenised, once for all sessions."""

START_MINUTES = 5.0
"""Start of a job on a cold node, its interpreter and packages read over the network."""


class Needs(Frozen):
    """Resources that the rules ask for a task's trainings.

    On one machine these say nothing but how many trainings run at once; a cluster finds
    the place, and the hour, by them.  ``timeout_seconds`` is the longest that one run may
    take, ``guard_seconds`` that of the guard before the first.
    """

    device: str = "cpu"
    threads: int = 1
    timeout_seconds: float = 0.0
    guard_seconds: float = 0.0
    limit_mb: int | None = None

    @property
    def memory_mb(self) -> int:
        """Memory of a job that runs one training after the other."""
        if self.limit_mb is None:
            return DEFAULT_MEMORY_MB
        return self.limit_mb + HARNESS_MEMORY_MB

    def gpus(self, elsewhere: bool) -> int:
        """Number of GPUs that a job asks for.

        On one machine this counts trainings, so that not all that are ready start
        at once, with or without a GPU.  Sent ``elsewhere``, a training that needs
        no GPU must not ask for one.
        """
        return int(self.device == "gpu" or not elsewhere)

    def cores(self, elsewhere: bool) -> int:
        """Threads of a job; none on one machine, where ``gpus`` is what limits."""
        return self.threads if elsewhere else 0

    def prepare_minutes(self, attempt: int = 1) -> int:
        """Time limit of the job that prepares the data."""
        return attempt * PREPARE_MINUTES

    def minutes(self, runs: int, attempt: int = 1) -> int:
        """Time limit of a job of so many runs; more for each further attempt."""
        seconds = runs * (self.timeout_seconds + BESIDE_A_RUN_SECONDS) + self.guard_seconds
        return attempt * math.ceil(START_MINUTES + seconds / 60)


_T = TypeVar("_T")
STOPPED_HINT = "ratchet: stopped; nothing that was finished is lost, and the same command goes on"
RESUME_HINT = "ratchet: nothing that was finished is lost; the message above says how to go on"

# The owner's locks live as long as the process that parsed the Snakefile.
_owner: list[int] = []


class WorkflowPlan(Frozen, dict=True):
    """Facts for the rules, derived once from the configuration."""

    config: Config
    paths: SessionPaths
    harness: Path
    needs: Needs = field(default_factory=Needs)
    transfer_needs: Needs = field(default_factory=Needs)
    given: Mapping[str, Any] = field(default_factory=dict)
    """What the command line says, and what the configuration file does."""
    written: Mapping[str, Any] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that the rules' commands and the scripts rest on."""
        return {
            "RATCHET_PYTHON": sys.executable,
            "RATCHET_STEP": str(self.harness.resolve() / "workflow_scripts" / "step.py"),
            "RATCHET_HARNESS": str(self.harness.resolve()),
            "RATCHET_CONFIG": canonical_json(to_json_values(self.config)),
        }

    @functools.cached_property
    def limits_file(self) -> Path:
        """The file of the limits in force; a new one whenever a limit has changed.

        Going back to earlier limits is a change too: what was skipped under the
        others must find a newer file.
        """
        token = self.config.limits_token
        number, last = (self.paths.known_limits() or [(0, "")])[-1]
        return self.paths.limits(number if last == token else number + 1, token)

    def limits_for_proposals(self, number: int) -> list[str]:
        """The limits file, unless the round's proposals are made already.

        What was done is a fact and is not redone when a limit changes; what was
        skipped is.  The limits file is new whenever a limit is, so it makes
        exactly the skipped parts out of date.
        """
        path = self.paths.round(number).proposals
        found = read_if_whole(Proposals, path)
        return self._limits(open_=found is None or found.stop is not None)

    def asked(self, number: int) -> list[str]:
        """What an agent was asked for a round, unless the round's proposals are made already."""
        here = self.paths.round(number)
        found = read_if_whole(Proposals, here.proposals)
        is_made = found is not None and found.stop is None
        if not self.config.agent or is_made or self.paths.offer(number).exists():
            return []
        return [str(here.asked(slot)) for slot in range(self.config.candidates)]

    def proposed_before_asking(self, number: int) -> str:
        """The last proposals that an agent which is asked for a round may know.

        For the first rounds there are none; the manifest stands for them.
        """
        known = number - max(self.config.ahead, 1)
        return str(self.paths.round(known).proposals if known > 0 else self.paths.manifest)

    def known_when_asking(self, number: int) -> list[str]:
        """What else the agent may know: a state, and what was asked for the rounds since then."""
        ahead = self.config.ahead
        last = number - 1 - ahead
        state = [self.paths.round(last).steer] if last >= 0 else []
        between = range(max(number - ahead + 1, 1), number)
        asked = [file for other in between for file in self.asked(other)]
        return [*map(str, state), *asked]

    def limits_for_asking(self, number: int, slot: int) -> list[str]:
        """The limits file, unless the agent was asked already."""
        found = read_if_whole(Asked, self.paths.round(number).asked(slot))
        return self._limits(open_=found is None or not found.is_settled(number))

    def offers(self, number: int) -> list[str]:
        """The edit that a person put forward for a round, where there is one."""
        path = self.paths.offer(number)
        return [str(path)] if path.exists() else []

    def limits_for_experiment(self, number: int, candidate: int) -> list[str]:
        """The limits file, unless the experiment was run already."""
        found = read_if_whole(Experiment, self.paths.round(number).experiment(candidate))
        return self._limits(open_=found is None or not found.runs)

    def limits_for_certifying(self, number: int) -> list[str]:
        """The limits file, unless a run of the certification was made, or is not needed."""
        found = read_if_whole(CertificationRun, self.paths.certify_run(number))
        return self._limits(open_=found is None or found.late)

    def limits_for_certification(self) -> list[str]:
        """The limits file, unless the certification was made in time."""
        found = read_if_whole(Certification, self.paths.certification)
        return self._limits(open_=found is None or found.late)

    def _limits(self, open_: bool) -> list[str]:
        return [str(self.limits_file)] if open_ else []

    @property
    def judge_digest(self) -> str:
        """Changes when a verdict, or a wish for another run, may: what was run stays."""
        settings = self.config.judging
        code = code_digest("ratchet.steps.baseline", "ratchet.steps.experiment")
        return digest([settings, code])

    @property
    def steer_digest(self) -> str:
        return digest([code_digest("ratchet.steps.steer")])

    @property
    def certify_digest(self) -> str:
        settings = [self.config.certification_runs, self.config.rounds]
        return digest([settings, code_digest("ratchet.steps.certify")])

    @property
    def confirm_digest(self) -> str:
        settings = [
            self.config.confirm_replicates,
            self.config.certification_runs,
            self.config.rounds,
        ]
        return digest([settings, code_digest("ratchet.steps.confirm")])

    @property
    def transfer_digest(self) -> str:
        settings = [self.config.transfer, self.config.rounds, self.config.max_runs]
        return digest([settings, code_digest("ratchet.steps.transfer")])

    @property
    def report_digest(self) -> str:
        return digest([self.config.rounds, code_digest("ratchet.report.session_report")])


def session_resumed(plan: WorkflowPlan, forced: bool = False) -> None:
    """Note that a session that has a journal goes on, and what it was given to do so.

    Where its runs are ``forced``, failures of the machine so far do not count any more.
    """
    paths = plan.paths
    # No verdict rests on it: a full disk is named by the step that needs room.
    with contextlib.suppress(OSError):
        text = given_text(paths, plan.given, plan.written)
        if not paths.settings.is_file() or paths.settings.read_text(encoding="utf-8") != text:
            begin_workflow(paths, [paths.settings])
            write_bytes(paths.settings, text.encode())
        if paths.manifest.exists() and paths.events.exists():
            again = {"forced": True} if forced else {}
            from ratchet.monitor.overview import Overview  # slow to import

            journal = Journal(paths.events, Overview(paths))
            journal.append("resumed", **planned_facts(plan.config), **again)


def session_stopped(paths: SessionPaths) -> None:
    """Say in the page of all sessions that nobody runs this one any more."""
    from ratchet.monitor.overview import write_overview  # slow to import

    with contextlib.suppress(Exception):  # a view is never worth a message
        if paths.manifest.exists():
            write_overview(paths, time.time(), running=False)


def load_plan(
    overrides: Mapping[str, Any], root: Path, harness: Path, owner: bool, tournament: bool = False
) -> WorkflowPlan:
    """Check everything, or end the process with one message and its exit code."""
    return _or_end(lambda: make_plan(overrides, root, harness, owner, tournament), root)


def config_file(root: Path, harness: Path) -> str:
    """The configuration file that counts: the working folder's, or else the harness's.

    Ends the process with a message that names the line if it cannot be read, which
    Snakemake's own does not.
    """
    path = _config_file(root, harness)
    _or_end(lambda: read_config(path), root)
    return str(path)


def _config_file(root: Path, harness: Path) -> Path:
    own = root / "config" / "config.yaml"
    return own if own.exists() else harness / "config" / "config.yaml"


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the values meant that Snakemake leaves as text.

    It reads ``--config target=null``, ``certify=false``, and ``3e-4`` in a file, as text, and
    so it does all numbers of ``--config transfer={budget_seconds: 900}`` and ``devices=[0, 1]``.
    """
    found = {key: _plain(value) for key, value in values.items()}
    if isinstance(found.get(TRANSFER), Mapping):
        given = found[TRANSFER].items()
        found[TRANSFER] = {k: v if k == "preset" else _number(v) for k, v in given}
    if isinstance(found.get(DEVICES), list):
        found[DEVICES] = [_number(value) for value in found[DEVICES]]
    return found


TRANSFER = "transfer"
"""The key that is a mapping with numbers."""

DEVICES = "devices"
"""The key that is a list with numbers."""


def _number(value: Any) -> Any:
    """A number that stands as text in a mapping; all else as it is."""
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return _plain(value)


WORDS = {"null": None, "true": True, "false": False}
"""Words of YAML that Snakemake's ``--config`` takes for text."""


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value in WORDS:
        return WORDS[value]
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d[\d_]*[eE][-+]?\d+", value):
        return float(value)
    return value


def _or_end(check: Callable[[], _T], root: Path) -> _T:
    try:
        return check()
    except RatchetError as error:
        print(f"ratchet: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    except OSError as error:
        place = error.filename or root.resolve()
        print(f"ratchet: {place}: {error.strerror}; nothing was changed", file=sys.stderr)
        sys.exit(EXIT_IO)


def make_plan(
    overrides: Mapping[str, Any], root: Path, harness: Path, owner: bool, tournament: bool = False
) -> WorkflowPlan:
    """Check configuration, task and frozen inputs; take the session if ``owner``.

    Of a ``tournament`` the competitors' sessions are taken with it.
    ``overrides`` (Snakemake's ``--config`` and ``--configfile``) count before what the session
    was started with, and that before ``config/config.yaml`` of the working folder, or else of
    the harness.  Nothing is written before everything was checked.  Raises a
    :class:`ratchet.base.errors.RatchetError` with one clear message, which has every fault.
    """
    path = _config_file(root, harness)
    written, given = read_config(path), plain(overrides)
    name = given.get("session", written.get("session"))
    paths = SessionPaths(name if isinstance(name, str) else "", root)
    with spelled_commands(paths, given_in_all(paths, given, written), harness):
        return _checked_plan(written, given, path, root, harness, owner, tournament)


def _checked_plan(
    written: Mapping[str, Any],
    given: Mapping[str, Any],
    path: Path,
    root: Path,
    harness: Path,
    owner: bool,
    tournament: bool,
) -> WorkflowPlan:
    differs = any(k not in written or v != written[k] for k, v in given.items())
    where = f"{path}, --config" if differs else str(path)
    values = session_values(written, given, root)
    settings, faults = settle_config(values, harness, where, root)
    with contextlib.suppress(RatchetError):
        # What was tried by hand belongs to the session, however few rounds are asked for.
        last = SessionPaths(settings.session, root).last_offer
        settings = replace(settings, rounds=max(settings.rounds, last))
    paths = SessionPaths(settings.session, root)
    new, found = not paths.manifest.is_file(), list[Task]()
    faults += faults_of([lambda: found.append(task_of_config(settings, root, harness))])
    frozen: Manifest | None = None
    if found and not new:
        raise_faults(faults)
        with watch_inputs(settings, paths, owner):
            frozen = check_manifest(paths, settings, found[0])
        reached = [
            lambda: _check_devices(settings, found[0]),
            lambda: _check_trackers(settings),
            lambda: _check_mirror(settings, root),
        ]
        faults += faults_of(reached)
    elif found:
        faults += [fault.error for fault in start_faults(settings, found[0], root, harness)]
    scales = list[Scale | None]()
    if found:
        faults += faults_of([lambda: scales.append(_check_transfer(settings, found[0], frozen))])
    faults += faults_of(_agent_checks(settings, found, root, new, new and owner))
    raise_faults(faults)
    (defined,), (scale,) = found, scales
    if new and defined.origin is not None:
        for fault in constant_faults(defined):
            print(f"ratchet: {defined.definition}: left out: {fault}", file=sys.stderr)
    if owner and not _owner:
        _own(paths, settings.strategies if tournament else ())
        _tell_damage(paths)
        # Edits that are tried by hand are made in these very files.
        if frozen is not None and not paths.last_offer:
            for name in edited_files(frozen, defined.folder):
                print(
                    f"ratchet: {defined.folder / name} is not what session "
                    f"{settings.session!r} started from; it goes on with its own copy",
                    file=sys.stderr,
                )
    needs = _needs(settings, defined)
    further = _needs_at(scale, needs, defined)
    return WorkflowPlan(settings, paths, harness, needs, further, given, written)


MOST_TOLD = 9
"""Damaged files that are named when a finished session is started again."""


def _tell_damage(paths: SessionPaths) -> None:
    """Name files of a finished session that are not what they were; the workflow goes on."""
    from ratchet.integrity.verify import glance_at_session  # slow to import

    found = [one_line(str(each)) for each in glance_at_session(paths).deviations]
    if len(found) > MOST_TOLD:
        found[MOST_TOLD:] = [f"{len(found) - MOST_TOLD} more files are not what they were"]
    for line in found:
        print(f"ratchet: {line}", file=sys.stderr)
    if found:
        print(f"ratchet: for all of it: ratchet verify {paths.session}", file=sys.stderr)


def _needs(settings: Config, defined: Task) -> Needs:
    timeout = settings.timeout_seconds
    return Needs(
        device=defined.sized(defined.preset(settings.preset)).device,
        threads=defined.threads,
        timeout_seconds=defined.timeout_seconds if timeout is None else timeout,
        guard_seconds=defined.guard_seconds if defined.guard else 0.0,
        limit_mb=defined.limits.get("memory_mb"),
    )


def _needs_at(scale: Scale | None, needs: Needs, defined: Task) -> Needs:
    """Resources of the trainings at another scale."""
    if scale is None:
        return needs
    device = defined.sized(defined.preset(scale.preset)).device if scale.preset else needs.device
    return replace(needs, device=device, timeout_seconds=scale.timeout_seconds)


def _check_transfer(settings: Config, defined: Task, manifest: Manifest | None) -> Scale | None:
    """The other scale; refuses one that the task does not have, and the session's own."""
    wanted, where = settings.transfer_scale, str(defined.definition)
    if wanted is None:
        return None
    preset = defined.preset(wanted.preset)
    if wanted.preset is not None and preset is None:
        known = ", ".join(each.name for each in defined.presets) or "none"
        raise ConfigError(
            f"transfer.preset: expected one of {where} ({known}), found {wanted.preset!r}"
        )
    if defined.budget_fixed and (wanted.budget_seconds, wanted.budget_steps) != (None, None):
        raise ConfigError(
            f"transfer: expected a preset and no budget, since the code of {defined.name} fixes "
            f"its budget itself (budget.fixed in {where})"
        )
    if manifest is None and preset is not None:
        preset_sources(defined, preset.constants, preset.name)
    frozen, own = (
        (settings.frozen, defined.preset(settings.preset))
        if manifest is None
        else (manifest.frozen, manifest.preset)
    )
    scale = other_scale(frozen, wanted, defined, own)
    # What `auto` will choose is not known before the session starts.
    is_known = manifest is not None or settings.preset != AUTO
    if is_known and scale.ratio == 1 and wanted.preset in (None, own.name if own else None):
        raise ConfigError(
            "transfer: expected another scale than the search's, found its own: "
            f"{dict(settings.transfer or {})}"
        )
    return scale


def _check_preset(settings: Config, defined: Task) -> None:
    """Refuse a preset that a new session could not start with.

    What ``auto`` will choose is decided where the session starts.
    """
    wanted, where = settings.preset, str(defined.definition)
    known = defined.presets
    if wanted == AUTO:
        choose_preset(wanted, known, math.inf, where)
        return
    chosen = choose_preset(wanted, known, None, where)
    if chosen is not None:
        preset_sources(defined, chosen.constants, chosen.name)


def _check_budget(settings: Config, defined: Task) -> None:
    """Refuse a budget that the task's own code would not notice."""
    if defined.budget_fixed and (settings.budget_seconds, settings.budget_steps) != (None, None):
        raise ConfigError(
            f"budget_seconds, budget_steps: expected null, since the code of {defined.name} fixes "
            f"its budget itself (budget.fixed in {defined.definition})"
        )


def _agent_checks(
    settings: Config, tasks: Sequence[Task], root: Path, new: bool, login: bool
) -> Iterator[Callable[[], None]]:
    """Checks of the agent that is to propose; of a new session also whether it can start.

    ``tasks`` holds the task, if there is one.
    """
    if not settings.agent:
        return
    from ratchet.proposers.agent_process import AGENT_TOOLS, agent_program, require_agent
    from ratchet.proposers.agent_workspace import check_file_names  # needed with an agent only

    for task in tasks:
        yield functools.partial(check_file_names, task.files, str(task.definition))
    if not new:
        return
    program = agent_program(settings.agent, settings.agent_command, root)
    yield functools.partial(require_agent, program, settings.agent)
    if settings.agent_tokens is not None and AGENT_TOOLS[settings.agent].counts_late:
        print(
            f"ratchet: agent_tokens: {settings.agent} tells at a call's end alone what it used; "
            "calls that are stopped before do not count",
            file=sys.stderr,
        )
    if login and shutil.which(program) is not None:
        yield functools.partial(check_login, settings)


def check_login(settings: Config) -> None:
    """Refuse a new session whose only proposer is a coding agent that is not logged in.

    Raises :class:`AgentUnusableError`.  A command of the user's own may bring a login along.
    """
    from ratchet.proposers.agent_health import LOGIN_HINTS, Login, tool_login

    agent = settings.agent
    if settings.turns != (agent,) or settings.agent_command is not None:
        return
    login, why = tool_login(agent)
    if login is Login.NO:
        raise AgentUnusableError(
            f"the agent {agent} is to propose and is not logged in ({why}); log in "
            f"({LOGIN_HINTS[agent]}), or take another proposer: {THIS_SESSION} proposer=declared"
        )


def end_unasked(paths: SessionPaths, config: Config) -> None:
    """End a workflow that is done with a status of its own if its agent could not be asked."""
    last = read_if_whole(Proposals, paths.round(config.rounds).proposals)
    if last is not None and last.stop is StopReason.AGENT_UNUSABLE:
        print(f"ratchet: {one_line(last.detail)}", file=sys.stderr, flush=True)
        sys.exit(EXIT_UNAVAILABLE)


class StartFault(NamedTuple):
    """A fault that a new session cannot start with, and what it is a fault of."""

    name: str
    error: RatchetError


def start_faults(settings: Config, task: Task, root: Path, harness: Path) -> list[StartFault]:
    """All faults of a task for a new session, in the order in which they are to be mended."""
    asked: list[Interpreter | None] = []

    def interpreter() -> None:
        asked.append(task_interpreter(settings, task, root, harness))

    def packages() -> None:
        for python in asked:
            # One that the configuration names may differ, and the manifest says how.
            if settings.python is None and task.environment is not None:
                verify_packages(task.environment, python, task.clone)

    def guard() -> None:
        for python in asked:
            check_guard(task, python)

    checks: list[tuple[str, Callable[[], object]]] = [
        ("platform", lambda: check_platform(task)),
        ("task", lambda: check_constants(task)),
        ("preset", lambda: _check_preset(settings, task)),
        ("budget", lambda: _check_budget(settings, task)),
        ("python", interpreter),
        ("packages", packages),
        ("cache", lambda: None if task.fills_caches else require_task_caches(task)),
        ("guard", guard),
        ("devices", lambda: _check_devices(settings, task)),
        ("remember", lambda: _check_remembered(settings, task, root)),
        ("trackers", lambda: _check_trackers(settings)),
        ("mirror", lambda: _check_mirror(settings, root)),
    ]
    return [StartFault(name, error) for name, check in checks for error in faults_of([check])]


def _check_remembered(settings: Config, defined: Task, root: Path) -> None:
    """Refuse sessions that a new one cannot remember."""
    if settings.remember:
        from ratchet.proposers.memory import check_remembered  # needed by few

        check_remembered(settings, defined, root)


def _check_devices(settings: Config, defined: Task) -> None:
    """Refuse GPUs that are not there, where runs need some."""
    if isinstance(settings.devices, str):
        return
    from ratchet.runs.hardware import chosen_gpus  # needed by few

    device, most = defined.device, math.inf if settings.preset == AUTO else None
    with contextlib.suppress(RatchetError):  # which is told as the preset's
        preset = choose_preset(settings.preset, defined.presets, most, str(defined.definition))
        device = defined.sized(preset).device
    if device == "gpu":
        chosen_gpus(settings.devices)


def _check_trackers(settings: Config) -> None:
    """Refuse trackers that cannot be imported, before anything is trained."""
    if settings.trackers:
        from ratchet.trackers.tracker import require_tracker  # needed by few

        raise_faults(
            faults_of([functools.partial(require_tracker, name) for name in settings.trackers])
        )


def _check_mirror(settings: Config, root: Path) -> None:
    """Refuse a mirror that nothing here can reach, before anything is trained."""
    if settings.mirror is not None:
        from ratchet.mirror.sender import require_mirror  # needed by few

        require_mirror(settings.mirror, root)


def mirror_session(plan: WorkflowPlan, done: bool) -> None:
    """Have the session's mirror get what it does not have yet; wait for that if all is ``done``.

    Of a tournament its competitors' sessions too: the end of a leg is no news by itself.
    """
    config, paths = plan.config, plan.paths
    if config.mirror is None or not paths.manifest.exists():
        return
    from ratchet.mirror.sender import MirrorSender

    played = config.strategies if paths.tournament.parent.is_dir() else ()
    for each in (config, *map(config.competitor, played)):
        own = SessionPaths(each.session, paths.root)
        if own.manifest.exists():
            MirrorSender(each, own, plan.harness).ask(last=done)


def mirror_finished(plan: WorkflowPlan) -> None:
    """Send what the mirror of a session at its end misses; a call without jobs has no end."""
    if plan.config.mirror is not None and is_finished(plan.paths):
        mirror_session(plan, done=True)


def _own(paths: SessionPaths, strategies: Iterable[Mapping[str, Any]] = ()) -> None:
    """Be the only one who plays this session, and its competitors'; clear what the dead left.

    The locks are released by the kernel when the process ends, however it ends,
    so whoever gets them knows that nobody else plays here.
    """
    competitors = [session_name(paths.session, str(each["name"])) for each in strategies]
    _owner.extend(take_sessions(paths.root, paths.session, competitors))
    Store(paths.store).clear_partial()
    SessionRepo(paths.repository, paths.session).clear_stale_locks()
