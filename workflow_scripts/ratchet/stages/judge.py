"""Judge the experiments of one round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ratchet import categories, code_lines, files, results_tsv
from ratchet.codec import Frozen, replace
from ratchet.integrity import confirms, implausible
from ratchet.judge import Assessment, Judge, credit
from ratchet.judge.front import Configuration
from ratchet.records import (
    Experiment,
    Outcome,
    Proposal,
    Remeasurement,
    RoundVerdict,
    Ruling,
    RunSummary,
    SessionState,
    Verdict,
)
from ratchet.session import Session
from ratchet.stages import memory, table
from ratchet.stages.pricing import Tariff
from ratchet.stages.reference import Reference
from ratchet.stages.ruling import Case, ruling
from ratchet.stages.scrutiny import Scrutiny


class Hearing(Frozen):
    """One round before the judge as it was at the round's start.

    It knows the regular check of the incumbent, and nothing of the round's other
    candidates: all are heard side by side, by the experiment that makes their runs,
    and once more by the verdict that rests on them.
    """

    session: Session
    number: int
    judge: Judge
    state: SessionState
    tariff: Tariff
    scrutiny: Scrutiny
    remeasured: Remeasurement | None = None

    @classmethod
    def open(cls, session: Session, number: int, check: RunSummary | None) -> Hearing:
        """The hearing of round ``number`` after the incumbent's ``check``."""
        judge = Judge.from_dict(files.read_json(session.paths.round(number - 1).judge))
        state = session.state(number - 1)
        reference = Reference(session, state.incumbent, number)
        remeasured = None if check is None else reference.learn(judge, check)
        tariff = _tariff(session, judge, state, number)
        return cls(session, number, judge, state, tariff, Scrutiny(session), remeasured)

    def apart(self, runs: Iterable[RunSummary]) -> Hearing:
        """The same hearing where the judge has learned of these runs of the incumbent too."""
        judge = Judge.from_dict(self.judge.to_dict())
        _learn(self.session, judge, runs)
        return replace(self, judge=judge)

    def case(self, proposal: Proposal, experiment: Experiment) -> Case:
        """A candidate with its runs, examined, and the lines of code that it adds."""
        old = self.session.texts(self.state.incumbent.files)
        new = self.session.texts(proposal.files)
        runs, lines = list(experiment.runs), code_lines.net(old, new)
        case = Case(proposal, runs, lines, self.judge.incumbent_mean)
        case.refused, case.notes = experiment.refused, experiment.notes
        case.changes = categories.changes(old, new)
        case.quarantined = experiment.quarantined
        self.examine(case)
        return case

    def examine(self, case: Case) -> None:
        """Look at what a case's runs show beside the baseline's."""
        self.scrutiny.examine(case)

    def wants_run(self, case: Case) -> bool:
        """Assess a candidate that is not out; whether it must be run once more."""
        session, tariff = self.session, self.tariff
        case.incumbent = self.judge.incumbent_mean
        case.memory_ratio = tariff.ratio(case.runs)
        case.threshold = tariff.threshold(case.net_lines, case.memory_ratio)
        values = [session.value(run) for run in case.runs]
        # In mode `guaranteed` each test takes its level from a sequence that sums to
        # the bound.  Candidates are heard side by side, so nobody knows which of those
        # before this one will be tested: it takes the level that is its own if all
        # are.  Levels fall, and the judge later counts the tests that were made.  The
        # k-th of them has at least k - 1 candidates before it, so its level is at most
        # the one that is counted, and the sum of all stays below the bound.
        place = case.proposal.candidate
        found = self.judge.assess(values, case.threshold, others_tested=place)
        case.assessment, case.threshold = found, found.threshold
        case.memory_mb = memory.peak(session, case.runs)
        case.too_large = tariff.ceiling.refuses(case.memory_mb)
        case.broken = memory.broken(session, case.runs)
        if case.barred:
            return False
        return found.verdict is Verdict.RETEST or _quarantine(session, case, found)

    def decided(self, proposal: Proposal, experiment: Experiment) -> Case:
        """A candidate as its experiment's runs leave it; no more are made."""
        case = self.case(proposal, experiment)
        if not case.out and self.wants_run(case) and case.assessment is not None:
            # Another machine may round otherwise, where the judge hardly cares.
            case.assessment = case.assessment.without_retest(self.judge.settings)
        return case


def run(session: Session, number: int) -> None:
    """Write the verdict of round ``number`` and the judge as it is after it."""
    here = session.paths.round(number)
    experiments = [
        files.read_record(Experiment, here.experiment(candidate))
        for candidate in range(session.config.candidates)
    ]
    check = next((e.check for e in experiments if e.check is not None), None)
    hearing = Hearing.open(session, number, check)
    judge, tariff = hearing.judge, hearing.tariff
    proposals = session.proposals(number).proposals
    cases = [
        hearing.apart(e.incumbent_runs).decided(proposals[e.candidate], e)
        for e in experiments
        if e.executed
    ]
    # Each candidate has the first so many of the same runs.
    incumbent_runs = max((e.incumbent_runs for e in experiments), key=len)
    _learn(session, judge, incumbent_runs)
    _decide(session, judge, cases)
    rulings = _rulings(session, number, cases, tariff)
    _publish(session, cases, rulings)
    stopped = next((e for e in experiments if e.stop is not None), None)
    kept = next((case for case in cases if case.kept), None)
    low, high = judge.noise_interval()
    verdict = RoundVerdict(
        round=number,
        rulings=rulings,
        kept=kept.proposal.number if kept else None,
        noise_sd=judge.noise_sd,
        noise_low=low,
        noise_high=high,
        incumbent_mean=session.sign * judge.incumbent_mean,
        incumbent_sd=judge.incumbent_sd,
        runs_used=sum(len(case.runs) for case in cases) + len(incumbent_runs) + (check is not None),
        stop=stopped.stop if stopped else None,
        detail=stopped.detail if stopped else "",
        remeasured=hearing.remeasured,
        incumbent_runs=incumbent_runs,
        credit_used=tariff.credit_used + (credit(kept.threshold) if kept else 0.0),
        expected_false_keeps=judge.expected_false_keeps,
        error_spent=judge.error_spent,
    )
    files.write_json(here.judge, judge.to_dict())
    _announce(session, verdict, cases, hearing.state)
    files.write_json(here.verdict, verdict)


def _learn(session: Session, judge: Judge, runs: Iterable[RunSummary]) -> None:
    for each in runs:
        if each.outcome is Outcome.OK:
            judge.incumbent(session.value(each))


def _tariff(session: Session, judge: Judge, state: SessionState, number: int) -> Tariff:
    used = session.verdict(number - 1).credit_used if number > 1 else 0.0
    prices = session.prices(judge.settings.effect_scale)
    limit = memory.ceiling(session)
    return Tariff(prices, judge.noise_sd, used, state.incumbent.memory_mb, limit)


def _quarantine(session: Session, case: Case, found: Assessment) -> bool:
    """Whether an improvement beyond everything seen must be run once more first.

    After the fresh run it is settled whether that one confirms it.
    """
    first, *fresh = [session.value(run) for run in case.runs]
    improvement = case.incumbent - first
    if fresh:
        if case.quarantined:
            case.confirmed = confirms(first, fresh[0], found.noise_sd, improvement)
        return False
    if not found.keep or not implausible(improvement, found.noise_sd, ()):
        return False
    seen = [
        ruling.delta
        for _, verdict in session.history(case.proposal.round)
        for ruling in verdict.rulings
        if ruling.delta is not None
    ]
    case.quarantined = implausible(improvement, found.noise_sd, seen)
    return case.quarantined


def _decide(session: Session, judge: Judge, cases: list[Case]) -> None:
    """Keep at most the best candidate; the judge learns from all of them.

    All were assessed against the same incumbent.  Those that are not kept are
    learned first, so that the one that is becomes the incumbent last.
    """
    best = max((c for c in cases if c.willing), key=lambda c: c.gain, default=None)
    for case in [c for c in cases if c is not best]:
        if case.out:
            judge.crash()
            continue
        judge.assess([session.value(r) for r in case.runs], case.threshold)
        judge.commit(keep=False)
    if best is not None:
        judge.assess([session.value(r) for r in best.runs], best.threshold)
        judge.commit(keep=True)
        best.kept = True


def _rulings(
    session: Session, number: int, cases: Sequence[Case], tariff: Tariff
) -> tuple[Ruling, ...]:
    """The records of a decided round."""
    one_kept = any(case.kept for case in cases)
    kept_before: list[Configuration] = []
    last = None
    for earlier in range(number):
        held = session.state(earlier).incumbent
        if held.number != last:
            mean = session.sign * held.mean
            kept_before.append(Configuration(mean, held.sd, held.memory_mb))
            last = held.number
    return tuple(ruling(case, session.sign, tariff, kept_before, one_kept) for case in cases)


def _publish(session: Session, cases: list[Case], rulings: tuple[Ruling, ...]) -> None:
    """The rows first, then the branch: a kill between them loses nothing."""
    rows = [
        results_tsv.Row(
            commit=case.proposal.commit,
            metric=found.mean,
            memory_mb=found.memory_mb,
            status=found.verdict.status,
            description=case.proposal.description,
        )
        for case, found in zip(cases, rulings, strict=True)
    ]
    if rows:
        first = cases[0].proposal.number
        table.record(session.paths.results_tsv, session.task.metric.name, first, rows)
    for case in cases:
        if case.kept:
            session.repo.advance(case.proposal.commit)


def _announce(
    session: Session, verdict: RoundVerdict, cases: list[Case], state: SessionState
) -> None:
    checked = verdict.remeasured
    if checked is not None:
        session.journal.append(
            "remeasured",
            round=verdict.round,
            number=checked.number,
            value=checked.run.value,
            outcome=checked.run.outcome,
            expected=checked.expected,
            sd=checked.sd,
            z=checked.z,
            alarm=checked.alarm,
        )
    for case, found in zip(cases, verdict.rulings, strict=True):
        session.journal.append(
            "verdict",
            round=verdict.round,
            rounds=session.config.rounds,
            number=found.number,
            description=case.proposal.description,
            category=case.proposal.category,
            verdict=found.verdict,
            reason=found.reason,
            mean=found.mean,
            n=len(found.runs),
            confidence=found.confidence,
            near_miss=found.near_miss,
            changes=found.changes,
            price=found.price,
            best=verdict.incumbent_mean,
            noise=verdict.noise_sd,
            kept=state.incumbent.kept + (verdict.kept is not None),
            confirm_replicates=session.config.confirm_replicates,
        )
