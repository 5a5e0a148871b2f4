"""Make all runs of one proposal that the judge wants, or find that they were made before."""

from ratchet.base.io import write_json
from ratchet.base.structs import Struct, field, replace
from ratchet.integrity.edit_checks import inspect_proposal
from ratchet.judge.judge import Judge
from ratchet.records.history import SeedEffect
from ratchet.records.proposals import Proposal
from ratchet.records.records import Experiment, Incumbent, Outcome, Role, RunSummary
from ratchet.runs.executor import Executor
from ratchet.session import Session
from ratchet.steps.judge import Hearing
from ratchet.steps.propose import read_offer

ROUND_STRIDE = 10_000
"""Replicate numbers of runs that the judge asks for start at this times the round;
those below, as many as there can be rounds, belong to the regular checks."""


class Reference(Struct):
    """The incumbent of one round, to be run again.

    The seeds depend on the round and on how many runs a candidate has had before in
    it.  So a replay finds the same ones, and so do the round's other candidates:
    whoever is first makes a run, the others wait for it and share it.
    """

    session: Session
    incumbent: Incumbent
    round: int
    runs: list[RunSummary] = field(default_factory=list)

    def check(self, wanted: bool = False) -> RunSummary | None:
        """A run of the incumbent, if it is ``wanted`` or this round is one for it.

        One that is wanted is made at the machine's pace, busy or not.
        """
        every = self.session.config.remeasure_every
        regular = every and self.round % every == 0
        return self._run(self.round, wanted) if wanted or regular else None

    def supply(self, judge: Judge) -> None:
        """Make the runs that the judge wants before its next assessment.

        After one that failed, or once the round's allowance is used up, it has
        to do with what it knows.
        """
        most = self.session.config.incumbent_runs
        while judge.incumbent_runs_wanted and len(self.runs) < most:
            if any(run.outcome is not Outcome.OK for run in self.runs):
                return
            run = self._run(ROUND_STRIDE * self.round + len(self.runs))
            self.runs.append(run)
            if run.outcome is Outcome.OK:
                judge.incumbent(self.session.value(run))

    def _run(self, replicate: int, as_it_is: bool = False) -> RunSummary:
        held = self.incumbent
        name = f"incumbent, experiment {held.number}" if held.number else "incumbent, the baseline"
        about = held.files, Role.REMEASURE, replicate, held.number, name
        return Executor(self.session).run(*about, as_it_is=as_it_is)


def write_experiment(session: Session, number: int, candidate: int) -> None:
    """Write the experiment of one candidate of round ``number``.

    After the first run the judge, as it was before the round, is asked whether it
    wants another, so that no candidate waits for the others of its round.  A
    candidate that crashes or hangs is recorded as what it is.  One whose edit would
    bend the measurement, or cannot be read, is not run; one that fails the task's guard
    is not trained.  A person may have asked for more runs of an edit.
    """
    proposal = session.proposals(number).proposals[candidate]
    about = proposal.number, proposal.description
    inspected = inspect_proposal(session, proposal)
    refused, notes = inspected.refused, inspected.notes
    if refused:
        session.journal.append(
            "refused", number=proposal.number, description=proposal.description, reason=refused
        )
    runs = [] if refused else [_first_run(Executor(session), proposal)]
    reference = Reference(session, session.state(number - 1).incumbent, number)
    hearing = Hearing.open(session, number, None)
    check = reference.check(any(map(hearing.wants_check, runs)))
    found = Experiment(
        number,
        candidate,
        tuple(runs),
        refused=refused,
        unreadable=inspected.unreadable,
        notes=notes,
        check=check,
    )
    if check is not None:
        hearing = Hearing.open(session, number, check)
    case = hearing.case(proposal, found)
    offer = read_offer(session.paths, number)
    asked = 1 if offer is None else offer.runs
    while not case.out:
        if hearing.seed_effect(case.runs) is not SeedEffect.NONE:
            reference.supply(hearing.judge)
        if not hearing.wants_run(case) and len(case.runs) >= asked:
            break
        again = Executor(session).run(proposal.files, Role.SEARCH, len(case.runs), *about)
        case.runs.append(again)
        hearing.examine(case)
    executed = replace(
        found,
        runs=tuple(case.runs),
        notes=case.notes,
        quarantined=case.quarantined,
        incumbent_runs=tuple(reference.runs),
    )
    write_json(session.paths.round(number).experiment(candidate), executed)


def _first_run(executor: Executor, proposal: Proposal) -> RunSummary:
    """The first training of a candidate, or its guard's run where that failed."""
    about = proposal.number, proposal.description
    guard = executor.guard(proposal.files, *about)
    if guard is not None and guard.outcome is not Outcome.OK:
        return guard
    return executor.run(proposal.files, Role.SEARCH, 0, *about)


def is_begun(session: Session, number: int, candidate: int) -> bool:
    """Whether the first run of an experiment was made already."""
    files = session.proposals(number).proposals[candidate].files
    executor = Executor(session)
    return executor.is_stored(files, Role.SEARCH, 0) or executor.fails_guard(files)
