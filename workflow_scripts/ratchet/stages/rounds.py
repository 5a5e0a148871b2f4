"""One round of a session from proposing to steering, in this very process.

What the workflow's rules do with a script each, for competitors: their rounds end
when a share of runs is used up, so that nobody knows how many there will be.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ratchet import files, seal
from ratchet.errors import DataError, InputMissingError
from ratchet.records import Experiment, Proposals, RoundVerdict, StopReason
from ratchet.session import Session
from ratchet.stages import experiment, judge, limits, propose, skipping, steer
from ratchet.stopping import Limits

Clock = Callable[[], float]


def play(
    session: Session, number: int, limits_file: Path | None, clock: Clock
) -> tuple[StopReason | None, str, bool]:
    """Play round ``number``; the one before is finished.

    Returns why the session ends here, with a sentence, and whether anything was
    tried in the round.  What was executed before is a fact and is not limited.
    """
    config, paths, journal = session.config, session.paths, session.journal
    here = paths.round(number)
    allowed = limits.load(limits_file, config, paths)
    with seal.step(paths, "propose", number, 0, None):
        now = None if _was_proposed(session, number) else allowed
        if not skipping.proposals(paths, number, now, clock(), journal):
            propose.run(session, number)
    for candidate in range(config.candidates):
        with seal.step(paths, "experiment", number, candidate, None):
            _experiment(session, number, candidate, allowed, clock)
    with seal.step(paths, "judge", number, 0, None):
        if not skipping.judge(paths, number, config.candidates):
            judge.run(session, number)
    with seal.step(paths, "steer", number, 0, None):
        if not skipping.steer(paths, number):
            steer.run(session, number)
    proposals = files.read_record(Proposals, here.proposals)
    verdict = files.read_record(RoundVerdict, here.verdict)
    stop = proposals.stop or verdict.stop
    detail = proposals.detail if proposals.stop else verdict.detail
    return stop, detail if stop else "", bool(verdict.rulings) or stop is None


def _experiment(
    session: Session, number: int, candidate: int, allowed: Limits | None, clock: Clock
) -> None:
    path = session.paths.round(number).experiment(candidate)
    found = _read_experiment(path)
    now = allowed if found is None or not found.runs else None
    where = session.paths, number, candidate
    if not skipping.experiment(
        *where, now, clock(), session.journal, lambda: experiment.recall(session, number, candidate)
    ):
        experiment.run(session, number, candidate)


def _was_proposed(session: Session, number: int) -> bool:
    """Whether proposals of this very round were made before."""
    try:
        found = session.proposals(number)
    except (InputMissingError, DataError):
        return False
    return found.round == number and found.stop is None


def _read_experiment(path: Path) -> Experiment | None:
    try:
        return files.read_record(Experiment, path)
    except (InputMissingError, DataError):
        return None
