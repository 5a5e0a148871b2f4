"""Script of all rules: ``step.py NAME --log FILE [--round N] [--candidate N] [--limits FILE]``.

A step reads small files, does one thing and writes one; its name is that of its rule.
What it needs is imported when it is called: a round after a session's end is skipped
without most of the package.
"""

import os
import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C while the package is imported ends the step without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from collections.abc import Callable, Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any

from ratchet.steps.call import StepCall, StepFunction, run_step


def _function(place: str) -> Callable[..., None]:
    """The function at ``MODULE:NAME`` of the package."""
    module, _, name = place.partition(":")
    found: Callable[..., None] = getattr(import_module(f"ratchet.{module}"), name)
    return found


def _step(place: str, *given: str) -> StepFunction:
    """A step that hands these properties of its call to a function."""
    return lambda call: _function(place)(*(attrgetter(name)(call) for name in given))


def _tournament(place: str, *given: str) -> StepFunction:
    """A step of a tournament: its function takes the arena before the call's properties."""

    def step(call: StepCall) -> None:
        from ratchet.tournament.arena import Arena

        values: list[Any] = [attrgetter(name)(call) for name in given]
        _function(place)(Arena.at(call), *values)

    return step


STEPS: Mapping[str, StepFunction] = {
    "prepare": _step(
        "steps.prepare:write_manifest", "config", "task", "root", "harness", "journal"
    ),
    "limits": _step("steps.limits:write_limits", "config", "limits_file", "root", "harness", "now"),
    "baseline_run": _step("steps.baseline:write_baseline_run", "session", "candidate"),
    "baseline": _step("steps.baseline:write_baseline", "session"),
    "ask": lambda call: call.round.ask(call.candidate),
    "propose": lambda call: call.round.propose(),
    "experiment": lambda call: call.round.experiment(call.candidate),
    "judge": lambda call: call.round.judge(),
    "steer": lambda call: call.round.steer(),
    "certify_plan": _step("steps.certify:write_certification_plan", "session"),
    "certify_run": _step(
        "steps.certify:write_certification_run", "session", "candidate", "limits", "now"
    ),
    "certify": _step("steps.certify:write_certification", "session", "limits", "now"),
    "confirm_run": _step("steps.confirm:write_confirmation_run", "session", "candidate"),
    "confirm": _step("steps.confirm:write_confirmation", "session"),
    "transfer_plan": _step("steps.transfer:write_transfer_plan", "session", "task"),
    "transfer_run": _step("steps.transfer:write_transfer_run", "session", "candidate"),
    "transfer": _step("steps.transfer:write_transfer", "session"),
    "report": _step("report.session_report:write_report", "session"),
    "audit_run": _step("logs.rerun:write_audit_run", "executor", "number", "candidate"),
    "audit_report": _step("report.audit_report:write_audit_report", "session"),
    "evolve_leg": _tournament(
        "tournament.leg:play_leg", "number", "candidate", "limits_file", "clock"
    ),
    "evolve_pollinate": _tournament("tournament.pollination:write_pollination", "number"),
    "evolve_champion": _tournament("tournament.pollination:confirm_champion"),
    "evolve_report": _tournament("report.tournament_report:write_tournament_report"),
}

if __name__ == "__main__":
    run_step(STEPS)
    # All outputs are on the disk.  An orderly end of the interpreter would only take
    # modules apart, which costs as much time as some steps need for their work.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
