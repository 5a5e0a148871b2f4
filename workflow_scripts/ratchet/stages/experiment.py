"""Run one proposal once, or find that it was run before."""

from __future__ import annotations

from ratchet import files
from ratchet.executor import Executor
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
    refused, notes = inspect(session, proposal)
    if refused:
        session.journal.append(
            "refused", number=proposal.number, description=proposal.description, reason=refused
        )
        _write(session, Experiment(number, candidate, refused=refused, notes=notes))
        return
    summary = session.run(proposal.files, Role.SEARCH, 0, proposal.number, proposal.description)
    _write(session, Experiment(number, candidate, run=summary, notes=notes))


def recall(session: Session, number: int, candidate: int) -> bool:
    """Write the experiment if it was executed already; whether it was.

    What is in the store costs nothing and is a fact, whatever limits have been
    reached since.
    """
    proposal = session.proposals(number).proposals[candidate]
    if not Executor(session).is_stored(proposal.files, Role.SEARCH, 0):
        return False
    run(session, number, candidate)
    return True


def _write(session: Session, found: Experiment) -> None:
    files.write_json(session.paths.round(found.round).experiment(found.candidate), found)
