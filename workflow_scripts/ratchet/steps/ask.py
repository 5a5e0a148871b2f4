"""Agents asked for the candidates of a round, while the rounds before it train.

What is asked for rests on the last state that is surely known by then, and on the proposals
and drafts of the rounds in between, in whatever order the jobs end; so a replay asks the same.
"""

from __future__ import annotations

import math

from ratchet.base.io import read_if_whole, source_digest, write_json
from ratchet.base.structs import replace
from ratchet.proposers.agent import Asking
from ratchet.records.history import History
from ratchet.records.proposals import DECLARED, Asked, Draft, Proposals
from ratchet.records.records import Baseline, Incumbent, SessionState, stream_seed
from ratchet.session import Session
from ratchet.steering.bandit import rank_proposers
from ratchet.steering.suggestions import turns_of
from ratchet.steps.limits import Limits, Stop, reserve_of, stop_reason
from ratchet.steps.propose import Proposing


def write_asked(
    session: Session, number: int, slot: int, limits: Limits | None, now: float
) -> None:
    """Ask the session's agent to fill one slot of round ``number``, if it is its turn."""
    found = _asked(session, number, slot, limits, now)
    write_json(session.paths.round(number).asked(slot), found)


def _asked(session: Session, number: int, slot: int, limits: Limits | None, now: float) -> Asked:
    ended = _ended(session, number)
    if ended is not None:
        return _not_asked(number, slot, ended)
    history, pending = known_before(session, number)
    deadline = math.inf if limits is None else limits.deadline
    asking = Asking(session, history, number, pending, deadline=deadline)
    limited = _limited(asking, slot, limits, now)
    if limited is not None:
        return _not_asked(number, slot, limited)
    token = session.config.limits_token
    if slot < backlog(session, number) or not _is_its_turn(asking, slot):
        return Asked(number, slot, limits=token)
    stop = asking.stop()
    if stop is not None:
        return _not_asked(number, slot, stop)
    idea = asking.ask(slot)
    calls = tuple(asking.calls)
    if asking.unusable is not None:
        return replace(_not_asked(number, slot, asking.unusable), calls=calls)
    if idea is None:
        return Asked(number, slot, calls=calls, limits=asking.limits)
    draft = Draft(
        round=number,
        slot=slot,
        began_from=history.state.incumbent.files,
        files=session.put(idea.contents),
        category=idea.category,
        description=idea.description,
        hypothesis=idea.hypothesis,
        proposer=idea.proposer,
        edit=idea.edit,
        expected_effect=idea.expected_effect,
        notes=idea.notes,
        calls=calls,
    )
    return Asked(number, slot, draft=draft, limits=asking.limits)


def _not_asked(number: int, slot: int, stop: Stop) -> Asked:
    return Asked(number, slot, stop=stop[0], detail=stop[1])


def _ended(session: Session, number: int) -> Stop | None:
    """Why the session had ended before round ``number``, by the last proposals that are known."""
    known = number - max(session.config.ahead, 1)
    made = session.proposals(known) if known > 0 else None
    return None if made is None or made.stop is None else (made.stop, made.detail)


def _limited(asking: Asking, slot: int, limits: Limits | None, now: float) -> Stop | None:
    """Why a slot must not be asked for, as far as can be told; ``None`` to ask.

    Every proposal that is not judged yet takes one run at the least.
    """
    if limits is None or not asking.history.is_measured:
        return None
    runs = sum(len(made.proposals or made.waiting) for made in asking.pending)
    session, state = asking.session, asking.history.state
    reserve = reserve_of(limits, session.config, session.paths, state)
    return stop_reason(limits, state, now, runs + slot, reserve)


def known_before(session: Session, number: int) -> tuple[History, tuple[Proposals, ...]]:
    """The rounds that are judged when round ``number`` is asked for, and those in between.

    Of the first of these the proposals are known, of all others only what agents were asked.
    """
    ahead, paths = session.config.ahead, session.paths
    last = number - 1 - ahead
    history = (
        History.read(paths, last, confirmed=False) if last >= 0 else unmeasured_history(session)
    )
    between = range(max(last, 0) + 1, number)
    pending = [
        session.proposals(other) if other == last + 1 else _asked_for(session, other)
        for other in between
    ]
    return history, tuple(pending)


def _asked_for(session: Session, number: int) -> Proposals:
    """A round that is asked for and not proposed yet: its drafts wait."""
    here = session.paths.round(number)
    slots = range(session.config.candidates)
    # There is nothing of a round that was proposed before an agent took part.
    found = [read_if_whole(Asked, here.asked(slot)) for slot in slots]
    asked = [each for each in found if each is not None and each.round == number]
    return Proposals(
        number,
        calls=tuple(call for each in asked for call in each.calls),
        limits=next((each.limits for each in asked), ""),
        waiting=tuple(each.draft for each in asked if each.draft is not None),
    )


def unmeasured_history(session: Session) -> History:
    """History of a session whose baseline is being measured: its code, without any number."""
    files = session.baseline_files
    source = source_digest(files)
    unknown = float("nan")
    incumbent = Incumbent(
        number=0,
        source=source,
        files=files,
        commit="",
        measured=unknown,
        mean=unknown,
        sd=unknown,
        memory_mb=None,
        kept=0,
    )
    return History(Baseline(source, files, "", ()), states=(SessionState(0, incumbent, 0),))


def backlog(session: Session, number: int) -> int:
    """Drafts that will wait for a place when round ``number`` begins, at the least.

    Near misses come before them, so that a round may leave some.
    """
    known = number - max(session.config.ahead, 1)
    if known < 1:
        return 0
    left = len(session.proposals(known).waiting)
    for other in range(known + 1, number):
        asked = len(_asked_for(session, other).waiting)
        left = max(0, left + asked - session.config.candidates)
    return left


def _is_its_turn(asking: Asking, slot: int) -> bool:
    """Whether the agent is to fill a slot, by the records of all who propose."""
    session, history = asking.session, asking.history
    turns = session.config.turns
    if len(turns) == 1:
        return True
    seed = stream_seed(session.config.seed, "turn", asking.number, slot)
    order = rank_proposers(turns, turns_of(history, session.store), seed)
    before = order[: order.index(session.config.agent)]
    # A list that is used up has no turn.
    made = [proposal for each in asking.pending for proposal in each.proposals]
    return not before or (
        before == (DECLARED,) and not Proposing(session, history, made=made).declared_left
    )
