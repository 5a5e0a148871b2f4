"""Runs made before the step that asks for them, which then finds them in the store.

So the steps that write a session's records need no GPU and run where the head
node is, and several of their runs are made at a time.  What is left out here costs
time and changes nothing: the step itself makes what the store does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ratchet import files
from ratchet.codec import replace
from ratchet.journal import Journal
from ratchet.records import Baseline
from ratchet.stages import baseline, confirm, judge, skipping
from ratchet.stages.session import Session
from ratchet.store import RunRecord, Store, run_key

OF_RUNS = ("run_started", "run_finished", "audit_read")
"""Events of runs; all others are the step's own, which says them once."""


class RunsOnly(Journal):
    """The journal for runs alone."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal.path)
        self._journal = journal

    def append(self, event: str, **facts: Any) -> None:
        if event in OF_RUNS:
            self._journal.append(event, **facts)


class MissingRunError(Exception):
    """A run is not in the store; never leaves this module."""


class FinishedOnly(Store):
    """The store for those who only look."""

    def run(
        self, material: Mapping[str, Any], _: Callable[[Path], RunRecord]
    ) -> tuple[str, RunRecord, bool]:
        key = run_key(material)
        found = self.lookup(key)
        if found is None:
            raise MissingRunError
        return key, found, False


def replicate(session: Session, number: int) -> None:
    """Make one run of the baseline."""
    baseline.replicate(_quiet(session), number)


def retests(session: Session, number: int) -> None:
    """Make the runs that the judge will ask for in round ``number``."""
    if not skipping.nothing_was_run(session.paths, number, session.config.candidates):
        judge.hear(_quiet(session), number)


def wants_runs(session: Session, number: int) -> bool:
    """Whether the judge will ask in round ``number`` for a run that the store does not have.

    Nothing is run, or written, to find out.
    """
    store = FinishedOnly(session.store.paths)
    try:
        retests(replace(session, store=store), number)
    except MissingRunError:
        return True
    return False


def pair(session: Session, number: int) -> None:
    """Make one pair of runs of the confirmation, if there is a champion to confirm."""
    champion = session.state(session.config.rounds).incumbent
    if champion.number != 0:
        common = files.read_record(Baseline, session.paths.baseline)
        confirm.pair(_quiet(session), champion, common, number)


def _quiet(session: Session) -> Session:
    return replace(session, journal=RunsOnly(session.journal))
