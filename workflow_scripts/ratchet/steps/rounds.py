"""The steps of a round: what an agent is asked for, proposals, experiments, verdict, state.

Rules call them one by one; a competitor of a tournament plays whole rounds, since
nobody knows beforehand how many its share of runs will make.

Rounds after a session's end cost next to nothing and change nothing: their steps
copy what the round before left, without opening the session.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.base.io import read_bytes, read_if_whole, read_record, write_bytes, write_json
from ratchet.base.structs import Frozen, replace
from ratchet.config import Config
from ratchet.integrity.seal import sealed_step
from ratchet.records.events import Journal
from ratchet.records.paths import RoundPaths, SessionPaths
from ratchet.records.proposals import Asked, Proposals
from ratchet.records.records import Experiment, RoundVerdict, SessionState, StopReason
from ratchet.steps.limits import (
    Limits,
    Reserve,
    Stop,
    announce_stop,
    load_limits,
    reserve_of,
    stop_reason,
)

if TYPE_CHECKING:
    from ratchet.session import Session

Clock = Callable[[], float]


class Round(Frozen):
    """One round, played as far as its ``limits`` allow; without limits to its end.

    ``session`` opens the session, and with it most of the package.
    """

    paths: SessionPaths
    number: int
    config: Config
    limits: Limits | None
    journal: Journal
    clock: Clock
    session: Callable[[], Session]

    @property
    def _here(self) -> RoundPaths:
        return self.paths.round(self.number)

    @property
    def _before(self) -> SessionState:
        return read_record(SessionState, self.paths.round(self.number - 1).steer)

    @property
    def _reserve(self) -> Reserve | None:
        """What must still follow an experiment of this round before the deadline."""
        if self.limits is None:
            return None
        return reserve_of(self.limits, self.config, self.paths, self._before)

    def _stop(self, candidate: int = 0) -> Stop | None:
        if self.limits is None:
            return None
        return stop_reason(self.limits, self._before, self.clock(), candidate, self._reserve)

    @property
    def _last_start(self) -> float:
        """Latest time at which an experiment may begin, as far as the pace is known."""
        if self.limits is None:
            return math.inf
        reserve = self._reserve
        return self.limits.deadline - (0.0 if reserve is None else reserve.seconds)

    def ask(self, slot: int) -> None:
        """Write what came of asking an agent to fill a slot of the round, perhaps ahead of it."""
        from ratchet.steps.ask import write_asked

        write_asked(self.session(), self.number, slot, self.limits, self.clock())

    def propose(self) -> None:
        """Write the round's proposals, or why it has none."""
        stop = self._stop()
        if stop is None:
            from ratchet.steps.propose import write_proposals

            write_proposals(self.session(), self.number, self._last_start)
            return
        announce_stop(self.journal, self.number, self._before, *stop)
        write_json(self._here.proposals, Proposals(self.number, stop=stop[0], detail=stop[1]))

    def experiment(self, candidate: int) -> None:
        """Write the experiment of one candidate with all runs that the judge wants.

        One that was begun before a limit was reached is written too: what is in the
        store costs nothing and is a fact.  Limits leave room for the runs that may
        follow a first one.
        """
        proposed = read_record(Proposals, self._here.proposals)
        there = candidate < len(proposed.proposals)
        stop, detail = proposed.stop, proposed.detail
        found = self._stop(candidate) if stop is None else None
        if there and stop is None:
            from ratchet.steps.experiment import is_begun, write_experiment

            session = self.session()
            if found is None or is_begun(session, self.number, candidate):
                write_experiment(session, self.number, candidate)
                return
        if found is not None:
            stop, detail = found
            announce_stop(self.journal, self.number, self._before, stop, detail)
        skipped = Experiment(self.number, candidate, stop=stop, detail=detail)
        write_json(self._here.experiment(candidate), skipped)

    def judge(self) -> None:
        """Write the round's verdict; where nothing was run the judge stays as it was."""
        here, before = self._here, self.paths.round(self.number - 1)
        found = [read_record(Experiment, here.experiment(c)) for c in range(self.config.candidates)]
        if any(experiment.executed for experiment in found):
            from ratchet.steps.judge import write_verdict

            write_verdict(self.session(), self.number)
            return
        write_bytes(here.judge, read_bytes(before.judge))
        sums = read_record(RoundVerdict, before.verdict) if self.number > 1 else RoundVerdict(0)
        skipped = RoundVerdict(
            round=self.number,
            stop=found[0].stop,
            detail=found[0].detail,
            credit_used=sums.credit_used,
            expected_false_keeps=sums.expected_false_keeps,
            error_spent=sums.error_spent,
        )
        write_json(here.verdict, skipped)

    def steer(self) -> None:
        """Write what the next round starts from; where nothing was run the state stays.

        Only near misses that the round found meaningless leave the queue.
        """
        verdict = read_record(RoundVerdict, self._here.verdict)
        if verdict.rulings:
            from ratchet.steps.steer import write_state

            write_state(self.session(), self.number)
            return
        before = self._before
        dropped = read_record(Proposals, self._here.proposals).dropped
        state = replace(
            before,
            round=self.number,
            stop=verdict.stop,
            detail=verdict.detail,
            near_misses=tuple(n for n in before.near_misses if n not in dropped),
        )
        write_json(self._here.steer, state)


def play_round(
    session: Session, number: int, limits_file: Path | None, clock: Clock
) -> tuple[StopReason | None, str, bool]:
    """Play round ``number`` in this very process; the one before is finished.

    Returns why the session ends here, with a sentence, and whether anything was tried
    in the round.  What was executed before is a fact and is not limited.
    """
    paths, candidates = session.paths, session.config.candidates
    here, limits = paths.round(number), load_limits(limits_file, session.config, paths)

    def playing(limited: bool) -> Round:
        allowed = limits if limited else None
        return Round(
            paths, number, session.config, allowed, session.journal, clock, lambda: session
        )

    made = read_if_whole(Proposals, here.proposals)
    is_open = made is None or made.stop is not None
    is_asked = session.config.agent and is_open and not paths.offer(number).exists()
    for slot in range(candidates) if is_asked else ():
        asked = read_if_whole(Asked, here.asked(slot))
        if asked is None or not asked.is_settled(number):
            with sealed_step(paths, "ask", number, slot, None):
                playing(limited=True).ask(slot)
    with sealed_step(paths, "propose", number, 0, None):
        playing(limited=is_open).propose()
    for candidate in range(candidates):
        with sealed_step(paths, "experiment", number, candidate, None):
            done = read_if_whole(Experiment, here.experiment(candidate))
            playing(limited=done is None or not done.runs).experiment(candidate)
    with sealed_step(paths, "judge", number, 0, None):
        playing(limited=True).judge()
    with sealed_step(paths, "steer", number, 0, None):
        playing(limited=True).steer()
    proposals = read_record(Proposals, here.proposals)
    verdict = read_record(RoundVerdict, here.verdict)
    stop = proposals.stop or verdict.stop
    detail = proposals.detail if proposals.stop else verdict.detail
    return stop, detail if stop else "", bool(verdict.rulings) or stop is None
