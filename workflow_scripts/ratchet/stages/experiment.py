"""Run one proposal once, or say why it is not run."""

from __future__ import annotations

from ratchet import files
from ratchet.records import Experiment
from ratchet.seeds import Role
from ratchet.stages.session import Session
from ratchet.stopping import Limits, stop_reason


def run(session: Session, number: int, candidate: int, limits: Limits | None, now: float) -> None:
    """Write the experiment of one candidate of round ``number``.

    A candidate that crashes or hangs is recorded as what it is.
    """
    proposals = session.proposals(number)
    path = session.paths.round(number).experiment(candidate)
    stop, detail = proposals.stop, proposals.detail
    if stop is None and limits is not None:
        state = session.state(number - 1)
        direction = session.task.metric.direction
        found = stop_reason(limits, state, direction, now, candidate)
        if found is not None:
            stop, detail = found
            session.journal.append("stopped", reason=stop, detail=detail, round=number)
    if stop is not None:
        files.write_json(path, Experiment(number, candidate, stop=stop, detail=detail))
        return
    if candidate >= len(proposals.proposals):
        detail = "the proposer had nothing more for this round"
        files.write_json(path, Experiment(number, candidate, detail=detail))
        return
    proposal = proposals.proposals[candidate]
    summary = session.run(proposal.files, Role.SEARCH, 0, proposal.number, proposal.description)
    files.write_json(path, Experiment(number, candidate, run=summary))
