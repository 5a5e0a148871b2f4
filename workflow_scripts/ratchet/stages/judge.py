"""Judge the experiments of one round; run the retests that the judge asks for."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet import categories, code_lines, files, results_tsv
from ratchet.codec import Frozen
from ratchet.integrity import confirms, implausible
from ratchet.judge import Assessment, Judge, credit
from ratchet.judge.front import Configuration
from ratchet.records import (
    Experiment,
    Remeasurement,
    RoundVerdict,
    Ruling,
    SessionState,
    Verdict,
)
from ratchet.seeds import Role
from ratchet.stages import memory, table
from ratchet.stages.pricing import Tariff
from ratchet.stages.reference import Reference
from ratchet.stages.ruling import Case, ruling
from ratchet.stages.scrutiny import Scrutiny
from ratchet.stages.session import Session


class Hearing(Frozen):
    """A round of which all runs were made that the judge wants before it decides."""

    judge: Judge
    state: SessionState
    experiments: Sequence[Experiment]
    reference: Reference
    remeasured: Remeasurement | None
    tariff: Tariff
    cases: list[Case]


def hear(session: Session, number: int) -> Hearing:
    """Make the runs that the judge asks for in round ``number``, or find them in the store."""
    here, before = session.paths.round(number), session.paths.round(number - 1)
    judge = Judge.from_dict(files.read_json(before.judge))
    state = session.state(number - 1)
    experiments = [
        files.read_record(Experiment, here.experiment(candidate))
        for candidate in range(session.config.candidates)
    ]
    reference = Reference(session, judge, state.incumbent, number)
    remeasured = reference.check()
    tariff = _tariff(session, judge, state, number)
    cases = _cases(session, judge, state, experiments)
    scrutiny = Scrutiny(session)
    for place, case in enumerate(cases):
        scrutiny.examine(case)
        _hear(session, judge, case, tariff, reference, cases[:place], scrutiny)
    return Hearing(judge, state, experiments, reference, remeasured, tariff, cases)


def run(session: Session, number: int) -> None:
    """Write the verdict of round ``number`` and the judge as it is after it."""
    here = session.paths.round(number)
    heard = hear(session, number)
    judge, cases, reference, tariff = heard.judge, heard.cases, heard.reference, heard.tariff
    _decide(session, judge, cases)
    rulings = _rulings(session, number, cases, tariff)
    _publish(session, cases, rulings)
    stopped = next((e for e in heard.experiments if e.stop is not None), None)
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
        runs_used=sum(len(case.runs) for case in cases)
        + len(reference.runs)
        + (heard.remeasured is not None),
        stop=stopped.stop if stopped else None,
        detail=stopped.detail if stopped else "",
        remeasured=heard.remeasured,
        incumbent_runs=tuple(reference.runs),
        credit_used=tariff.credit_used + (credit(kept.threshold) if kept else 0.0),
        expected_false_keeps=judge.expected_false_keeps,
        error_spent=judge.error_spent,
    )
    files.write_json(here.judge, judge.to_dict())
    _announce(session, verdict, cases, heard.state)
    files.write_json(here.verdict, verdict)


def _tariff(session: Session, judge: Judge, state: SessionState, number: int) -> Tariff:
    used = session.verdict(number - 1).credit_used if number > 1 else 0.0
    prices = session.prices(judge.settings.effect_scale)
    limit = memory.ceiling(session)
    return Tariff(prices, judge.noise_sd, used, state.incumbent.memory_mb, limit)


def _cases(
    session: Session, judge: Judge, state: SessionState, experiments: Sequence[Experiment]
) -> list[Case]:
    """The candidates that were run, with the lines of code that each adds."""
    proposals = session.proposals(experiments[0].round).proposals
    old = session.texts(state.incumbent.files)
    cases = []
    for experiment in experiments:
        if experiment.run is not None or experiment.refused:
            proposal = proposals[experiment.candidate]
            new = session.texts(proposal.files)
            lines = code_lines.net(old, new)
            runs = [] if experiment.run is None else [experiment.run]
            case = Case(proposal, runs, lines, judge.incumbent_mean)
            case.refused, case.notes = experiment.refused, experiment.notes
            case.changes = categories.changes(old, new)
            cases.append(case)
    return cases


def _hear(
    session: Session,
    judge: Judge,
    case: Case,
    tariff: Tariff,
    reference: Reference,
    heard: Sequence[Case],
    scrutiny: Scrutiny,
) -> None:
    """Assess one candidate against the incumbent, with as many retests as pay."""
    tested = sum(not c.out and len(c.runs) > 1 for c in heard)
    while not case.out:
        reference.supply()
        case.incumbent = judge.incumbent_mean
        case.memory_ratio = tariff.ratio(case.runs)
        case.threshold = tariff.threshold(case.net_lines, case.memory_ratio)
        found = judge.assess([session.value(r) for r in case.runs], case.threshold, tested)
        case.assessment, case.threshold = found, found.threshold
        case.memory_mb = memory.peak(session, case.runs)
        case.too_large = tariff.ceiling.refuses(case.memory_mb)
        case.broken = memory.broken(session, case.runs)
        if case.barred:
            return
        if found.verdict is not Verdict.RETEST and not _quarantine(session, case, found):
            return
        proposal, replicate = case.proposal, len(case.runs)
        case.runs.append(
            session.run(
                proposal.files, Role.SEARCH, replicate, proposal.number, proposal.description
            )
        )
        scrutiny.examine(case)


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
        table.record(session, cases[0].proposal.number, rows)
    for case in cases:
        if case.kept:
            session.repo.advance(case.proposal.commit)


def _announce(
    session: Session, verdict: RoundVerdict, cases: list[Case], state: SessionState
) -> None:
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
