"""Parts that all steps share: options, journal, errors, exit codes."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ratchet.base.errors import EXIT_IO, EXIT_SOFTWARE, RatchetError
from ratchet.base.structs import Frozen
from ratchet.config import Config, spelled_commands
from ratchet.integrity.seal import sealed_step
from ratchet.monitor.views import Progress, RunWatch
from ratchet.records.events import Event, Journal, Listener, each_listener
from ratchet.records.paths import SessionPaths
from ratchet.runs.process import die_with_parent
from ratchet.steps.limits import Limits, load_limits
from ratchet.steps.rounds import Round

if TYPE_CHECKING:
    from ratchet.runs.executor import Executor
    from ratchet.session import Session
    from ratchet.task.task import Task


class StepCall(Frozen):
    """One call of a step by a rule."""

    name: str
    config: Config
    root: Path
    harness: Path
    log: Path
    number: int
    candidate: int
    limits_file: Path | None
    clock: Callable[[], float] = time.time

    @property
    def now(self) -> float:
        return self.clock()

    @property
    def paths(self) -> SessionPaths:
        return SessionPaths(self.config.session, self.root)

    @property
    def journal(self) -> Journal:
        return self.journal_of(self.config)

    def journal_of(self, config: Config, who: str = "") -> Journal:
        """A session's journal, and all who listen to it."""
        paths = SessionPaths(config.session, self.root)
        listeners: list[Listener] = [RunWatch(paths), Progress(paths.progress_log, who=who)]
        if config.notify_command is not None:
            from ratchet.monitor.notify import Notifier  # most sessions tell nobody

            listeners.insert(1, Notifier(config, paths))
        listeners.append(lambda event: _view(paths, event))
        if config.trackers:
            from ratchet.trackers.tracker import Reporter

            # At the end it waits for its sender.
            listeners.append(Reporter(config, paths, self.harness))
        if config.mirror is not None:
            from ratchet.mirror.sender import MirrorSender

            listeners.append(MirrorSender(config, paths, self.harness))
        return Journal(paths.events, each_listener(*listeners))

    @property
    def task(self) -> Task:
        """The task as it lies in the checkout; for ``prepare`` and ``transfer_plan`` alone."""
        from ratchet.task.repository import task_of_config

        return task_of_config(self.config, self.root, self.harness, say=False)

    @property
    def session(self) -> Session:
        """The session, opened; with it comes most of the package."""
        from ratchet.session import Session

        return Session.open(self.config, self.root, self.harness, self.journal)

    @property
    def executor(self) -> Executor:
        """Executor of the session's runs."""
        from ratchet.runs.executor import Executor

        return Executor(self.session)

    @property
    def limits(self) -> Limits | None:
        """The limits that were given with this call."""
        return load_limits(self.limits_file, self.config, self.paths)

    @property
    def round(self) -> Round:
        """The round of this call, under the limits that were given with it."""
        by_hand = self.paths.offer(self.number).exists()
        return Round(
            paths=self.paths,
            number=self.number,
            config=self.config,
            limits=load_limits(self.limits_file, self.config, self.paths, by_hand),
            journal=self.journal,
            clock=self.clock,
            session=lambda: self.session,
        )


StepFunction = Callable[[StepCall], None]
"""Does the work of one rule, and writes its outputs."""


def run_step(steps: Mapping[str, StepFunction]) -> None:
    """Run the step that the command line names; ends the process with the right exit code."""
    # The rule starts this script with `exec`, so the parent is Snakemake.  It may
    # have died while this interpreter started: then another process is the parent.
    parent = os.environ.get("RATCHET_PARENT")
    die_with_parent(int(parent) if parent else None)
    call = _parse(steps)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        call.log.parent.mkdir(parents=True, exist_ok=True)
        log = call.log.open("w")
    except OSError as error:
        sys.exit(_report(error, call, sys.stderr))
    with log:
        try:
            sealed = sealed_step(
                call.paths, call.name, call.number, call.candidate, call.limits_file
            )
            with spelled_commands(call.paths, harness=call.harness), sealed:
                steps[call.name](call)
        except KeyboardInterrupt:
            sys.exit(130)
        except Exception as error:
            _note(call, error)
            sys.exit(_report(error, call, log))


def _view(paths: SessionPaths, event: Event) -> None:
    """Make the pages for browsers anew; a step that is skipped has no event to load them for."""
    from ratchet.monitor.overview import Overview
    from ratchet.monitor.views import LivePage

    LivePage(paths)(event)
    Overview(paths)(event)


def _note(call: StepCall, error: Exception) -> None:
    """Put a failure into the journal of a session that has a folder."""
    from ratchet.monitor.notify import step_failed

    if call.paths.folder.is_dir():
        step_failed(call.journal, call.name, error)


def _report(error: Exception, call: StepCall, log: TextIO) -> int:
    """Say what went wrong, in the terminal and in the log; returns the exit code."""
    if isinstance(error, RatchetError):
        _say(log, f"ratchet: {error}")
        return error.exit_code
    if "No space left on device" in str(error) and not isinstance(error, OSError):
        # From git, which says it in words.
        _say(log, f"ratchet: {call.root.resolve()}: the disk is full; free some, start again")
        code = EXIT_IO
    elif isinstance(error, OSError) and error.errno is not None:
        place = error.filename or call.root.resolve()
        _say(log, f"ratchet: {place}: {error.strerror}; nothing is lost, start again")
        code = EXIT_IO
    else:
        _say(log, f"ratchet: internal error, {type(error).__name__}: {error}; see {call.log}")
        code = EXIT_SOFTWARE
    if log is not sys.stderr:
        traceback.print_exception(error, file=log)
    return code


def _say(log: TextIO, message: str) -> None:
    for stream in {log, sys.stderr}:
        print(message, file=stream, flush=True)


def _parse(steps: Mapping[str, StepFunction]) -> StepCall:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=steps)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--round", type=int, default=0)
    parser.add_argument("--candidate", type=int, default=0)
    parser.add_argument("--limits", default="")
    options = parser.parse_args()
    return StepCall(
        name=options.name,
        config=Config(**json.loads(os.environ["RATCHET_CONFIG"])),
        root=Path(os.curdir),
        harness=Path(os.environ["RATCHET_HARNESS"]),
        log=options.log,
        number=options.round,
        candidate=options.candidate,
        limits_file=Path(options.limits) if options.limits else None,
    )
