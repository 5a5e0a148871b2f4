"""Run one proposal once."""

from __future__ import annotations

from ratchet import files
from ratchet.records import Experiment
from ratchet.seeds import Role
from ratchet.stages.session import Session


def run(session: Session, number: int, candidate: int) -> None:
    """Write the experiment of one candidate of round ``number``.

    A candidate that crashes or hangs is recorded as what it is.
    """
    proposal = session.proposals(number).proposals[candidate]
    summary = session.run(proposal.files, Role.SEARCH, 0, proposal.number, proposal.description)
    result = Experiment(number, candidate, run=summary)
    files.write_json(session.paths.round(number).experiment(candidate), result)
