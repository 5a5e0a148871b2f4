"""Whole sessions and tournaments in this very process: the steps of the workflow in its order.

What a session contains does not depend on who starts its steps.  Snakemake is for
the tests of what only Snakemake does; all others play.  This is the one module
that knows which steps there are and how each is called.
"""

import base64
import contextlib
import functools
import io
import os
import runpy
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import yaml
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

from helpers import REPO
from ratchet.base.errors import RatchetError
from ratchet.base.structs import replace
from ratchet.config import spelled_commands
from ratchet.integrity.seal import begin_workflow, finish_workflow, sealed_step
from ratchet.report import render
from ratchet.runs import probe
from ratchet.runs.hardware import gpu_models
from ratchet.steps.call import StepCall, _note, _report
from ratchet.steps.plan import WorkflowPlan, make_plan, session_resumed
from ratchet.steps.rounds import play_round
from ratchet.task.environment import ask_interpreter

Clock = Callable[[], float]
# What a session is played in, after its preparation.
PARTS = "baseline", "rounds", "confirm", "transfer", "report"
BASELINE, ROUNDS, CONFIRM, TRANSFER, REPORT = PARTS
# The smallest picture that is one.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg=="
)


class Compiled(BytecodeCache):
    """Templates of pages, each compiled once in a process."""

    known: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.known:
            bucket.bytecode_from_string(self.known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.known[bucket.key] = bucket.bytecode_to_string()


@dataclass
class Player:
    """Plays sessions in the current folder with settings as ``--config`` takes them."""

    harness: Path
    settings: Mapping[str, Any]
    clock: Clock = time.time
    said: io.StringIO = field(default_factory=io.StringIO)

    def session(self, first: str = BASELINE, last: str = REPORT) -> int:
        """Play the steps of a session from one to another; returns the exit code.

        The report's figures are left out, which take as long as a round.
        """
        parts = PARTS[PARTS.index(first) : PARTS.index(last) + 1]
        left_out = {"figure_svg": lambda _: "<svg/>", "figure_png": lambda _: PIXEL}
        with mock.patch.multiple(render, **left_out):
            return self._guarded(lambda call, plan: self._session(call, plan, parts))

    def tournament(self) -> int:
        """Play a tournament from where it stands; returns the exit code."""
        return self._guarded(self._tournament)

    def _guarded(self, play: Callable[[StepCall, WorkflowPlan], None]) -> int:
        # As a command that is started anew: interpreter and GPUs are asked again what they are.
        ask_interpreter.cache_clear()
        gpu_models.cache_clear()
        said, told = contextlib.redirect_stdout(self.said), contextlib.redirect_stderr(self.said)
        # Other tests beside this one may never be quiet.
        quick = functools.partial(Environment, bytecode_cache=Compiled())
        pages = mock.patch.object(render, "Environment", quick)
        with said, told, pages, mock.patch.object(probe, "LONGEST_WAIT_SECONDS", 0.0):
            try:
                plan = make_plan(_parsed(self.settings), Path(), self.harness, owner=False)
            except RatchetError as error:
                print(f"ratchet: {error}", file=self.said)
                return error.exit_code
            own = plan.config, Path(), self.harness, plan.paths.log("played")
            call = StepCall("played", *own, 0, 0, None, self.clock)
            try:
                with spelled_commands(call.paths, harness=call.harness):
                    play(call, plan)
            except Exception as error:
                _note(call, error)
                return _report(error, call, self.said)
        return 0

    def _begin(self, call: StepCall, plan: WorkflowPlan) -> StepCall:
        """What every workflow starts with; returns a call under the limits in force."""
        begin_workflow(call.paths)
        session_resumed(plan)
        if not call.paths.manifest.exists():
            _do(call, "prepare")
        limited = replace(call, limits_file=plan.limits_file)
        if not plan.limits_file.exists():
            _do(limited, "limits")
        return limited

    def _session(self, call: StepCall, plan: WorkflowPlan, parts: Collection[str]) -> None:
        limited = self._begin(call, plan)
        if BASELINE in parts:
            self._baseline(call)
        if ROUNDS in parts:
            for number in range(1, call.config.rounds + 1):
                play_round(call.session, number, limited.limits_file, self.clock)
        if CONFIRM in parts:
            if call.config.certification_runs:
                _do(call, "certify_plan")
                for number in range(call.config.certification_runs):
                    _do(limited, "certify_run", candidate=number)
                _do(limited, "certify")
            for number in range(call.config.confirm_replicates):
                _do(call, "confirm_run", candidate=number)
            _do(call, "confirm")
        if TRANSFER in parts and call.config.transfer is not None:
            _do(call, "transfer_plan")
            for number in range(call.config.transfer_runs // 2):
                _do(call, "transfer_run", candidate=number)
            _do(call, "transfer")
        if REPORT in parts:
            _do(call, "report")
            finish_workflow(call.paths)

    def _baseline(self, call: StepCall) -> None:
        for number in range(call.config.baseline_replicates):
            _do(call, "baseline_run", candidate=number)
        _do(call, "baseline")

    def _tournament(self, call: StepCall, plan: WorkflowPlan) -> None:
        limited = self._begin(call, plan)
        self._baseline(call)
        turns = range(call.config.evolve_rounds + 1)
        for turn in turns:
            for index in range(len(call.config.strategies)):
                if not call.paths.leg(turn, index).exists():
                    _do(limited, "evolve_leg", turn, index)
            if 0 < turn < turns[-1]:
                _do(call, "evolve_pollinate", turn)
        _do(call, "evolve_champion")
        _do(call, "evolve_report")
        finish_workflow(call.paths)


# The steps by name, from the script that every rule calls.
STEPS = runpy.run_path(str(REPO / "workflow_scripts" / "step.py"))["STEPS"]


def _do(call: StepCall, name: str, number: int = 0, candidate: int = 0) -> None:
    """One step, sealed as the workflow seals it."""
    own = replace(call, name=name, number=number, candidate=candidate)
    with sealed_step(own.paths, name, number, candidate, own.limits_file):
        STEPS[name](own)


def _parsed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as Snakemake hands them on: texts are read as YAML."""
    return {k: yaml.safe_load(v) if isinstance(v, str) else v for k, v in settings.items()}


@contextlib.contextmanager
def inside(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Work in a folder with variables of its own, as a command that is started there."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)
