"""Run one proposal once."""

from __future__ import annotations

from ratchet import files
from ratchet.records import Experiment
from ratchet.seeds import Role
from ratchet.stages.inspection import inspect
from ratchet.stages.session import Session


def run(session: Session, number: int, candidate: int) -> None:
    """Write the experiment of one candidate of round ``number``.

    A candidate that crashes or hangs is recorded as what it is.  One whose edit
    would bend the measurement is not run.
    """
    proposal = session.proposals(number).proposals[candidate]
    place = session.paths.round(number).experiment(candidate)
    refused, notes = inspect(session, proposal)
    if refused:
        session.journal.append(
            "refused", number=proposal.number, description=proposal.description, reason=refused
        )
        files.write_json(place, Experiment(number, candidate, refused=refused, notes=notes))
        return
    summary = session.run(proposal.files, Role.SEARCH, 0, proposal.number, proposal.description)
    files.write_json(place, Experiment(number, candidate, run=summary, notes=notes))
