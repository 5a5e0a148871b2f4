"""What happens when the Snakefile is parsed: check everything, own the folder."""

from __future__ import annotations

import functools
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ratchet import (
    caches,
    config,
    files,
    manifest,
    notify,
    ownership,
    preset_files,
    presets,
    snakemake_hooks,
    task,
    tasks,
)
from ratchet.canonical import canonical_json, digest
from ratchet.codec import Frozen, encode, field, replace
from ratchet.config import Config
from ratchet.dependencies import code_digest as code_digest
from ratchet.errors import EXIT_IO, ConfigError, DataError, InputMissingError, RatchetError
from ratchet.needs import Needs
from ratchet.paths import SessionPaths
from ratchet.records import Experiment, Proposals
from ratchet.repo import SessionRepo
from ratchet.store import Store

_T = TypeVar("_T")

RESUME_HINT = "ratchet: nothing that was finished is lost; the same command goes on from here"

# The owner's lock lives as long as the process that parsed the Snakefile.
_owner: list[int] = []


class Plan(Frozen, dict=True):
    """What the rules need to know, derived once from the configuration."""

    config: Config
    paths: SessionPaths
    harness: Path
    needs: Needs = field(default_factory=Needs)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that the rules' commands and the scripts rest on."""
        return {
            "RATCHET_PYTHON": sys.executable,
            "RATCHET_STEP": str(self.harness.resolve() / "workflow_scripts" / "step.py"),
            "RATCHET_HARNESS": str(self.harness.resolve()),
            "RATCHET_CONFIG": canonical_json(encode(self.config)),
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
        found = _read(Proposals, path)
        return self._limits(open_=found is None or found.stop is not None)

    def offers(self, number: int) -> list[str]:
        """The edit that a person put forward for a round, where there is one."""
        path = self.paths.offer(number)
        return [str(path)] if path.exists() else []

    def limits_for_experiment(self, number: int, candidate: int) -> list[str]:
        """The limits file, unless the experiment was run already."""
        found = _read(Experiment, self.paths.round(number).experiment(candidate))
        return self._limits(open_=found is None or not found.runs)

    def _limits(self, open_: bool) -> list[str]:
        return [str(self.limits_file)] if open_ else []

    @property
    def judge_digest(self) -> str:
        """Changes when a verdict, or a wish for another run, may: what was run stays."""
        settings = self.config.judging
        code = code_digest("ratchet.stages.baseline", "ratchet.stages.experiment")
        return digest([settings, code])

    @property
    def steer_digest(self) -> str:
        return digest([code_digest("ratchet.stages.steer")])

    @property
    def confirm_digest(self) -> str:
        settings = [self.config.confirm_replicates, self.config.rounds]
        return digest([settings, code_digest("ratchet.stages.confirm")])

    @property
    def report_digest(self) -> str:
        return digest([self.config.rounds, code_digest("ratchet.report.publish")])


def _read(cls: type[Any], path: Path) -> Any:
    try:
        return files.read_record(cls, path)
    except (InputMissingError, DataError):
        return None


def load(overrides: Mapping[str, Any], root: Path, harness: Path, owner: bool) -> Plan:
    """Check everything, or end the process with one message and its exit code."""
    return _or_end(lambda: plan(overrides, root, harness, owner), root)


def config_file(root: Path, harness: Path) -> str:
    """The configuration file that counts: the working folder's, or else the harness's.

    Ends the process with a message that names the line if it cannot be read, which
    Snakemake's own does not.
    """
    path = _config_file(root, harness)
    _or_end(lambda: config.read(path), root)
    return str(path)


def _config_file(root: Path, harness: Path) -> Path:
    own = root / "config" / "config.yaml"
    return own if own.exists() else harness / "config" / "config.yaml"


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the values meant that Snakemake leaves as text.

    It reads ``--config target=null``, and ``3e-4`` in a file, as text.
    """
    return {key: _plain(value) for key, value in values.items()}


def _plain(value: Any) -> Any:
    if value == "null":
        return None
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


def plan(overrides: Mapping[str, Any], root: Path, harness: Path, owner: bool) -> Plan:
    """Check configuration, task and frozen inputs; take the folder if ``owner``.

    ``overrides`` (Snakemake's ``--config`` and ``--configfile``) count before
    ``config/config.yaml`` of the working folder, or else of the harness.
    Nothing is written before everything was checked.  Raises a
    :class:`ratchet.errors.RatchetError` with one clear message.
    """
    schema_path = harness / "config" / "schema.yaml"
    path = _config_file(root, harness)
    written = config.read(path)
    given = {k: v for k, v in plain(overrides).items() if k not in written or v != written[k]}
    values = {**written, **given}
    settings = config.parse(values, schema_path, _where(path, given), root / "config")
    defined = tasks.load(settings, root, harness)
    paths = SessionPaths(settings.session, root)
    # What was tried by hand belongs to the session, however few rounds are asked for.
    settings = replace(settings, rounds=max(settings.rounds, paths.last_offer))
    with notify.watching(settings, paths, owner):
        frozen = manifest.check(paths, settings, defined)
    if frozen is None:
        _check_preset(settings, defined)
        _check_budget(settings, defined)
        if not defined.fills_caches:
            caches.require(defined.caches, defined.clone)
    if settings.by_agent:
        _check_agent(settings, defined, root, new=frozen is None)
    if owner and not _owner:
        _own(root, paths)
        # Edits that are tried by hand are made in these very files.
        if frozen is not None and not paths.last_offer:
            for name in preset_files.edited(frozen, defined.folder):
                print(
                    f"ratchet: {defined.folder / name} is not what session "
                    f"{settings.session!r} started from; it goes on with its own copy",
                    file=sys.stderr,
                )
    return Plan(settings, paths, harness, _needs(settings, defined))


def _needs(settings: Config, defined: task.Task) -> Needs:
    timeout = settings.timeout_seconds
    named = next((preset for preset in defined.presets if preset.name == settings.preset), None)
    return Needs(
        device=defined.sized(named).device,
        threads=defined.threads,
        timeout_seconds=defined.timeout_seconds if timeout is None else timeout,
        limit_mb=defined.limits.get("memory_mb"),
    )


def _check_preset(settings: Config, defined: task.Task) -> None:
    """Refuse a preset that a new session could not start with.

    What ``auto`` will choose is decided where the session starts.
    """
    wanted, where = settings.preset, str(defined.definition)
    known = defined.presets
    if wanted == presets.AUTO:
        presets.choose(wanted, known, math.inf, where)
        return
    chosen = presets.choose(wanted, known, None, where)
    if chosen is not None:
        preset_files.baseline(defined, chosen.constants, chosen.name)


def _check_budget(settings: Config, defined: task.Task) -> None:
    """Refuse a budget that the task's own code would not notice."""
    if defined.budget_fixed and (settings.budget_seconds, settings.budget_steps) != (None, None):
        raise ConfigError(
            f"budget_seconds, budget_steps: expected null, since the code of {defined.name} fixes "
            f"its budget itself (budget.fixed in {defined.definition})"
        )


def _check_agent(settings: Config, defined: task.Task, root: Path, new: bool) -> None:
    """Refuse an agent that could not work on this task, or that a new session cannot start."""
    from ratchet.proposers import agent, tools, workplace  # needed with an agent only

    names = (*defined.mutable, *defined.fixed, defined.brief)
    workplace.check_names(names, str(defined.definition))
    if new:
        agent.find(
            tools.program(settings.proposer, settings.agent_command, root), settings.proposer
        )


def _where(path: Path, given: Mapping[str, Any]) -> str:
    """Where a mistake in the settings may stand."""
    return f"{path}, --config" if given else str(path)


def _own(root: Path, paths: SessionPaths) -> None:
    """Be the only session in this folder; clear what dead ones left locked.

    The lock is released by the kernel when the process ends, however it ends,
    so whoever gets it knows that nobody else lives here.
    """
    _owner.append(ownership.take(root, paths.session))
    snakemake_hooks.clear_locks(root)
    Store(paths.store).clear_partial()
    SessionRepo(paths.repository, paths.session).clear_stale_locks()
