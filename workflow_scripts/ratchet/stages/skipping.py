"""Rounds after a session's end: they cost next to nothing and change nothing.

Each function writes its stage's file and returns true if there is nothing to
do; the stage itself, with everything that it imports, is needed only otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

from ratchet import files
from ratchet.codec import replace
from ratchet.journal import Journal
from ratchet.paths import SessionPaths
from ratchet.records import Experiment, Proposals, RoundVerdict, SessionState, StopReason
from ratchet.stopping import Limits, stop_reason


def proposals(
    paths: SessionPaths, number: int, limits: Limits | None, now: float, journal: Journal
) -> bool:
    """Skip proposing for round ``number`` if the session has ended."""
    state = _state(paths, number - 1)
    stop = stop_reason(limits, state, now) if limits else None
    if stop is None:
        return False
    announce(journal, number, state, *stop)
    skipped = Proposals(round=number, stop=stop[0], detail=stop[1])
    files.write_json(paths.round(number).proposals, skipped)
    return True


def experiment(
    paths: SessionPaths,
    number: int,
    candidate: int,
    limits: Limits | None,
    now: float,
    journal: Journal,
    recall: Callable[[], bool],
) -> bool:
    """Skip an experiment if the session has ended or there is no such proposal.

    One that was proposed before a limit was reached is asked for in ``recall``:
    if it was executed then, that is a fact, and its file has only been lost.
    """
    here = paths.round(number)
    proposed = files.read_record(Proposals, here.proposals)
    stop, detail = proposed.stop, proposed.detail
    if stop is None and limits is not None:
        state = _state(paths, number - 1)
        found = stop_reason(limits, state, now, candidate)
        if found is not None:
            if candidate < len(proposed.proposals) and recall():
                return True
            stop, detail = found
            announce(journal, number, state, stop, detail)
    elif stop is None and candidate >= len(proposed.proposals):
        detail = "the proposer had nothing more for this round"
    if stop is None and candidate < len(proposed.proposals):
        return False
    files.write_json(
        here.experiment(candidate), Experiment(number, candidate, stop=stop, detail=detail)
    )
    return True


def judge(paths: SessionPaths, number: int, candidates: int) -> bool:
    """Skip judging a round in which nothing was run; the judge stays as it was."""
    here = paths.round(number)
    found = [files.read_record(Experiment, here.experiment(c)) for c in range(candidates)]
    if any(experiment.executed for experiment in found):
        return False
    first = found[0]
    before = paths.round(number - 1)
    files.write_bytes(here.judge, files.read_bytes(before.judge))
    sums = files.read_record(RoundVerdict, before.verdict) if number > 1 else RoundVerdict(0)
    skipped = RoundVerdict(
        round=number,
        stop=first.stop,
        detail=first.detail,
        credit_used=sums.credit_used,
        expected_false_keeps=sums.expected_false_keeps,
        error_spent=sums.error_spent,
    )
    files.write_json(here.verdict, skipped)
    return True


def steer(paths: SessionPaths, number: int) -> bool:
    """Skip steering after a round in which nothing was run; the state stays.

    Only near misses that the round found meaningless leave the queue.
    """
    verdict = files.read_record(RoundVerdict, paths.round(number).verdict)
    if verdict.rulings:
        return False
    before = _state(paths, number - 1)
    dropped = files.read_record(Proposals, paths.round(number).proposals).dropped
    state = replace(
        before,
        round=number,
        stop=verdict.stop,
        detail=verdict.detail,
        near_misses=tuple(n for n in before.near_misses if n not in dropped),
    )
    files.write_json(paths.round(number).steer, state)
    return True


def announce(
    journal: Journal, number: int, before: SessionState, stop: StopReason, detail: str
) -> None:
    """Say once that the session has ended."""
    if before.stop is None:
        journal.append("stopped", reason=stop, detail=detail, round=number)


def _state(paths: SessionPaths, number: int) -> SessionState:
    return files.read_record(SessionState, paths.round(number).steer)
