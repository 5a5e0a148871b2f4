"""Turn a round's verdict into what the next round starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ratchet import files, steer
from ratchet.records import Incumbent, Proposals, RoundVerdict, SessionState
from ratchet.seeds import stream_seed
from ratchet.stages.session import Session


def run(session: Session, number: int) -> None:
    """Write the session's state after round ``number``."""
    before = session.state(number - 1)
    verdict = session.verdict(number)
    proposals = session.proposals(number)
    trials = trials_of([*session.history(number), (proposals, verdict)])
    known = session.categories
    mode = steer.Mode(session.config.steering)
    seed = stream_seed(session.config.seed, "steer", number)
    state = SessionState(
        round=number,
        incumbent=_incumbent(before.incumbent, proposals, verdict),
        runs_used=before.runs_used + verdict.runs_used,
        ranking=steer.rank(trials, seed, verdict.noise_sd or 0.0, mode, known),
        stop=verdict.stop,
        detail=verdict.detail,
    )
    session.journal.append(
        "round_finished", round=number, rounds=session.config.rounds, ranking=state.ranking
    )
    files.write_json(session.paths.round(number).steer, state)


def trials_of(history: Iterable[tuple[Proposals, RoundVerdict]]) -> list[steer.Trial]:
    """What steering learns from rounds, in order."""
    trials = []
    for proposals, verdict in history:
        category = {p.number: p.category for p in proposals.proposals}
        trials += [
            steer.Trial(category[r.number], r.number == verdict.kept, r.gain or 0.0)
            for r in verdict.rulings
        ]
    return trials


def _incumbent(before: Incumbent, proposals: Proposals, verdict: RoundVerdict) -> Incumbent:
    """The incumbent after a round; a kept candidate takes the old one's place."""
    mean = before.mean if verdict.incumbent_mean is None else verdict.incumbent_mean
    sd = before.sd if verdict.incumbent_sd is None else verdict.incumbent_sd
    if verdict.kept is None:
        return dataclasses.replace(before, mean=mean, sd=sd)
    proposal = next(p for p in proposals.proposals if p.number == verdict.kept)
    ruling = next(r for r in verdict.rulings if r.number == verdict.kept)
    return dataclasses.replace(
        before,
        mean=mean,
        sd=sd,
        number=proposal.number,
        source=proposal.source,
        files=proposal.files,
        commit=proposal.commit,
        memory_mb=ruling.memory_mb,
        kept=before.kept + 1,
    )
