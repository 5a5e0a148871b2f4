"""Whole sessions and tournaments in this very process: the steps of the workflow in its order.

What a session contains does not depend on who starts its steps.  Snakemake is for
the tests of what only Snakemake does; all others play.  This is the one module
that knows which steps there are and how each is called.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ratchet import entry, guard, hardware, interpreters, journal, seal
from ratchet.entry import Call
from ratchet.errors import RatchetError
from ratchet.report import evolve, publish
from ratchet.stages import baseline, champion, confirm, leg, pollinate, prepare, rounds

Clock = Callable[[], float]
# What a session is played in, after its preparation.
PARTS = BASELINE, ROUNDS, CONFIRM, REPORT = "baseline", "rounds", "confirm", "report"


@dataclass(frozen=True)
class Timed(Call):
    """A call at the time of a given clock."""

    clock: Clock = time.time

    @property
    def now(self) -> float:
        return self.clock()


@dataclass
class Player:
    """Plays sessions in the current folder with settings as ``--config`` takes them."""

    harness: Path
    settings: Mapping[str, Any]
    clock: Clock = time.time
    said: io.StringIO = field(default_factory=io.StringIO)

    def session(self, first: str = BASELINE, last: str = REPORT) -> int:
        """Play the steps of a session from one to another; returns the exit code."""
        parts = PARTS[PARTS.index(first) : PARTS.index(last) + 1]
        return self._guarded(lambda call, plan: self._session(call, plan, parts))

    def tournament(self) -> int:
        """Play a tournament from where it stands; returns the exit code."""
        return self._guarded(self._tournament)

    def _guarded(self, play: Callable[[Timed, guard.Plan], None]) -> int:
        # As a command that is started anew: interpreter and GPUs are asked again what they are.
        interpreters.ask.cache_clear()
        hardware._gpu_models.cache_clear()
        with contextlib.redirect_stdout(self.said), contextlib.redirect_stderr(self.said):
            try:
                plan = guard.plan(_parsed(self.settings), Path(), self.harness, owner=False)
            except RatchetError as error:
                print(f"ratchet: {error}", file=self.said)
                return error.exit_code
            log = plan.paths.log("played")
            call = Timed(plan.config, Path(), self.harness, log, 0, 0, None, self.clock)
            try:
                play(call, plan)
            except Exception as error:
                entry._note(call, "played", error)
                return entry._report(error, call, self.said)
        return 0

    def _begin(self, call: Timed, plan: guard.Plan) -> Path:
        """What every workflow starts with; returns the file of the limits in force."""
        paths = call.paths
        seal.begin(paths)
        journal.resumed(paths, call.config)
        if not paths.manifest.exists():
            with _step(call, "prepare"):
                prepare.run(call.config, call.task, call.root, call.harness, call.journal)
        limited = replace(call, limits_file=plan.limits_file)
        if not plan.limits_file.exists():
            with _step(limited, "limits"):
                limited.start_limits()
        return plan.limits_file

    def _session(self, call: Timed, plan: guard.Plan, parts: Collection[str]) -> None:
        limits_file = self._begin(call, plan)
        session = call.session
        if BASELINE in parts:
            with _step(call, "baseline"):
                baseline.run(session)
        if ROUNDS in parts:
            for number in range(1, call.config.rounds + 1):
                rounds.play(session, number, limits_file, self.clock)
        if CONFIRM in parts:
            with _step(call, "confirm"):
                confirm.run(session)
        if REPORT in parts:
            with _step(call, "report"):
                publish.run(session)
            seal.finish(call.paths)

    def _tournament(self, call: Timed, plan: guard.Plan) -> None:
        limits_file = self._begin(call, plan)
        arena = call.arena
        with _step(call, "baseline"):
            baseline.run(call.session)
        turns = range(call.config.evolve_rounds + 1)
        for turn in turns:
            for index in range(len(call.config.strategies)):
                own = replace(call, number=turn, candidate=index)
                if not call.paths.leg(turn, index).exists():
                    with _step(own, "leg"):
                        leg.run(arena, turn, index, limits_file, self.clock)
            if 0 < turn < turns[-1]:
                with _step(replace(call, number=turn), "pollinate"):
                    pollinate.run(arena, turn)
        with _step(call, "champion"):
            champion.run(arena)
        with _step(call, "tournament"):
            evolve.run(arena)
        seal.finish(call.paths)


def _step(call: Timed, name: str) -> contextlib.AbstractContextManager[None]:
    return seal.step(call.paths, name, call.number, call.candidate, call.limits_file)


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
