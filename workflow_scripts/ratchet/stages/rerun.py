"""One code's run of one turn of an audit."""

from __future__ import annotations

from ratchet import auditing, files
from ratchet.codec import replace
from ratchet.errors import InputMissingError
from ratchet.executor import Executor
from ratchet.records import Outcome
from ratchet.reruns import Code, Rerun, RerunPlan
from ratchet.seeds import Role
from ratchet.session import Session
from ratchet.stages.inspection import faults


def run(session: Session, turn: int, number: int) -> None:
    """Write one run; a code that would bend the measurement is not run.

    All codes have the same seed in a turn.  A code of which no change has an answer any
    more, since one of its sides failed, is not run again.
    """
    wanted = plan(session)
    code = _code(wanted, number)
    found = Rerun(turn, code.source)
    refused, notes = faults(session, code.files)
    if not _is_useful(session, wanted, code, turn):
        found = replace(found, skipped="a side of each of its changes has failed")
    elif refused:
        found = replace(found, refused=refused, notes=notes)
        session.journal.append("refused", number=0, description=code.label, reason=refused)
    else:
        made = Executor(session).run(code.files, Role.RERUN, turn - 1, number, code.label)
        found = replace(found, run=made, notes=notes)
    files.write_json(session.paths.rerun(turn, number), found)


def _is_useful(session: Session, wanted: RerunPlan, code: Code, turn: int) -> bool:
    """Whether a change that wants this run has had no failure on either side so far."""
    changes = [c for c in wanted.changes if not c.unable and c.seeds >= turn]
    sides = [{c.parent, c.child} for c in changes if code.source in (c.parent, c.child)]
    named = set().union(*sides)
    failed = {
        other.source
        for other in wanted.codes
        if other.source in named
        for earlier in range(1, turn)
        if _has_failed(session, earlier, other)
    }
    return any(not side & failed for side in sides)


def _has_failed(session: Session, turn: int, code: Code) -> bool:
    made = files.read_record(Rerun, session.paths.rerun(turn, code.number)).run
    return made is None or made.outcome is not Outcome.OK


def plan(session: Session) -> RerunPlan:
    """The session's plan; raises :class:`InputMissingError` for one that is no audit."""
    found = auditing.plan_of(session.paths)
    if found is None:
        raise InputMissingError(
            f"{session.paths.rerun_plan}: expected what is to be run again, found none; make it: "
            "ratchet audit --results results.tsv --repo CLONE --run"
        )
    return found


def _code(plan: RerunPlan, number: int) -> Code:
    return next(code for code in plan.codes if code.number == number)
