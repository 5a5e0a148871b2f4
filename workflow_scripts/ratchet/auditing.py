"""What the rules of an audit need to know beyond a session's plan."""

from __future__ import annotations

from ratchet import files
from ratchet.canonical import digest
from ratchet.dependencies import code_digest
from ratchet.errors import DataError, InputMissingError
from ratchet.guard import Plan
from ratchet.paths import SessionPaths
from ratchet.reruns import Rerun, RerunPlan


def plan_of(paths: SessionPaths) -> RerunPlan | None:
    """What a session is to run again; ``None`` for one that is no audit.

    Raises :class:`DataError` for a plan that cannot be read.
    """
    if not paths.rerun_plan.is_file():
        return None
    return files.read_record(RerunPlan, paths.rerun_plan)


def results(paths: SessionPaths, turn: int | None = None) -> list[str]:
    """The files of all runs, or of one turn's, in the order in which they are made."""
    found = plan_of(paths)
    if found is None:
        return []
    turns = range(1, found.turns + 1) if turn is None else (turn,)
    return [str(paths.rerun(t, code.number)) for t in turns for code in found.wanted(t)]


def before(paths: SessionPaths, turn: int) -> list[str]:
    """What a run of a turn waits for: all of the turn before, so that sides alternate."""
    return results(paths, turn - 1) if turn > 1 else []


def is_open(paths: SessionPaths, turn: int, code: int) -> bool:
    """Whether a run was not made, so that another plan may want it.

    What was run is a fact and is not redone when the plan changes.
    """
    try:
        return files.read_record(Rerun, paths.rerun(turn, code)).run is None
    except (InputMissingError, DataError):
        return True


def rerun_digest() -> str:
    """Changes when another code may be refused; what was run is in the store."""
    return digest([code_digest("ratchet.stages.rerun")])


def page_digest(plan: Plan) -> str:
    """Changes when the changes must be judged again, or the page written again."""
    return digest([code_digest("ratchet.report.audited"), plan.config.session])
