"""Run one proposal once, or find that it was run before."""

from __future__ import annotations

from collections.abc import Mapping

from ratchet import files
from ratchet.records import Experiment, Outcome
from ratchet.seeds import Role
from ratchet.stages.inspection import inspect
from ratchet.stages.session import ANOTHER_TRY, CONTENDED_TRIES, Session


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
    if not _is_stored(session, proposal.files):
        return False
    run(session, number, candidate)
    return True


def _is_stored(session: Session, sources: Mapping[str, str]) -> bool:
    """Whether all that a run needs is there: after a contended one, another."""
    for attempt in range(CONTENDED_TRIES + 1):
        found = session.store.lookup(session.key(sources, Role.SEARCH, attempt * ANOTHER_TRY))
        if found is None or found.outcome is not Outcome.CONTENDED:
            return found is not None
    return True


def _write(session: Session, found: Experiment) -> None:
    files.write_json(session.paths.round(found.round).experiment(found.candidate), found)
