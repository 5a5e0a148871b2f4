"""Make all runs of one proposal that the judge wants, or find that they were made before."""

from __future__ import annotations

from ratchet.base.io import write_json
from ratchet.integrity.edit_checks import inspect_proposal
from ratchet.records.records import Experiment, Role
from ratchet.runs.executor import Executor
from ratchet.session import Session
from ratchet.steps.judge import Hearing, Reference


def write_experiment(session: Session, number: int, candidate: int) -> None:
    """Write the experiment of one candidate of round ``number``.

    After the first run the judge, as it was before the round, is asked whether it
    wants another, so that no candidate waits for the others of its round.  A
    candidate that crashes or hangs is recorded as what it is.  One whose edit would
    bend the measurement is not run.
    """
    proposal = session.proposals(number).proposals[candidate]
    about = proposal.number, proposal.description
    refused, notes = inspect_proposal(session, proposal)
    if refused:
        session.journal.append(
            "refused", number=proposal.number, description=proposal.description, reason=refused
        )
    runs = [] if refused else [Executor(session).run(proposal.files, Role.SEARCH, 0, *about)]
    reference = Reference(session, session.state(number - 1).incumbent, number)
    found = Experiment(
        number, candidate, tuple(runs), refused=refused, notes=notes, check=reference.check()
    )
    hearing = Hearing.open(session, number, found.check)
    case = hearing.case(proposal, found)
    while not case.out:
        reference.supply(hearing.judge)
        if not hearing.wants_run(case):
            break
        again = Executor(session).run(proposal.files, Role.SEARCH, len(case.runs), *about)
        case.runs.append(again)
        hearing.examine(case)
    executed = Experiment(
        number,
        candidate,
        runs=tuple(case.runs),
        refused=refused,
        notes=case.notes,
        quarantined=case.quarantined,
        check=found.check,
        incumbent_runs=tuple(reference.runs),
    )
    write_json(session.paths.round(number).experiment(candidate), executed)


def recall_experiment(session: Session, number: int, candidate: int) -> bool:
    """Write the experiment if it was begun already; whether it was.

    What is in the store costs nothing and is a fact, whatever limits have been
    reached since.  Limits leave room for the runs that may follow a first one.
    """
    proposal = session.proposals(number).proposals[candidate]
    if not Executor(session).is_stored(proposal.files, Role.SEARCH, 0):
        return False
    write_experiment(session, number, candidate)
    return True
