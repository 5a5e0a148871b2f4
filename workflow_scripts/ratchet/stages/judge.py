"""Judge the experiments of one round; run the retests that the judge asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

from ratchet import files, results_tsv
from ratchet.judge import Assessment, Judge
from ratchet.records import (
    Experiment,
    Outcome,
    Proposal,
    RoundVerdict,
    Ruling,
    RunSummary,
    SessionState,
    Verdict,
)
from ratchet.seeds import Role
from ratchet.stages import table
from ratchet.stages.session import Session, mean_memory


@dataclass
class Case:
    """One candidate before the judge, with all its runs so far."""

    proposal: Proposal
    runs: list[RunSummary]
    assessment: Assessment | None = None
    kept: bool = field(default=False)

    @property
    def failed(self) -> RunSummary | None:
        """The run that gave no metric, if any did."""
        return next((run for run in self.runs if run.outcome is not Outcome.OK), None)


def run(session: Session, number: int) -> None:
    """Write the verdict of round ``number`` and the judge as it is after it."""
    here, before = session.paths.round(number), session.paths.round(number - 1)
    judge = Judge.from_dict(files.read_json(before.judge))
    state = session.state(number - 1)
    experiments = [
        files.read_record(Experiment, here.experiment(candidate))
        for candidate in range(session.config.candidates)
    ]
    proposals = session.proposals(number).proposals
    cases = [Case(proposals[e.candidate], [e.run]) for e in experiments if e.run is not None]
    incumbent = judge.incumbent_mean
    for case in cases:
        _hear(session, judge, case)
    _decide(session, judge, cases)
    rulings = tuple(_ruling(session, case, incumbent) for case in cases)
    _publish(session, cases, rulings)
    stopped = next((e for e in experiments if e.stop is not None), None)
    low, high = judge.noise_interval()
    verdict = RoundVerdict(
        round=number,
        rulings=rulings,
        kept=next((case.proposal.number for case in cases if case.kept), None),
        noise_sd=judge.noise_sd,
        noise_low=low,
        noise_high=high,
        incumbent_mean=session.sign * judge.incumbent_mean,
        incumbent_sd=judge.incumbent_sd,
        runs_used=sum(len(case.runs) for case in cases),
        stop=stopped.stop if stopped else None,
        detail=stopped.detail if stopped else "",
    )
    files.write_json(here.judge, judge.to_dict())
    _announce(session, verdict, cases, state, judge)
    files.write_json(here.verdict, verdict)


def _hear(session: Session, judge: Judge, case: Case) -> None:
    """Assess one candidate against the incumbent, with as many retests as pay."""
    while case.failed is None:
        case.assessment = judge.assess([session.value(r) for r in case.runs])
        if case.assessment.verdict is not Verdict.RETEST:
            return
        proposal, replicate = case.proposal, len(case.runs)
        case.runs.append(
            session.run(
                proposal.files, Role.SEARCH, replicate, proposal.number, proposal.description
            )
        )


def _decide(session: Session, judge: Judge, cases: list[Case]) -> None:
    """Keep at most the best candidate; the judge learns from all of them.

    All were assessed against the same incumbent.  Those that are not kept are
    learned first, so that the one that is becomes the incumbent last.
    """
    willing = [c for c in cases if c.failed is None and c.assessment and c.assessment.keep]
    best = max(willing, key=_gain, default=None)
    for case in [c for c in cases if c is not best]:
        if case.failed is not None:
            judge.crash()
            continue
        judge.assess([session.value(r) for r in case.runs])
        judge.commit(keep=False)
    if best is not None:
        judge.assess([session.value(r) for r in best.runs])
        judge.commit(keep=True)
        best.kept = True


def _gain(case: Case) -> float:
    return case.assessment.gain if case.assessment else 0.0


def _ruling(session: Session, case: Case, incumbent: float) -> Ruling:
    failed, found = case.failed, case.assessment
    if failed is not None or found is None:
        tampered = failed is not None and failed.outcome is Outcome.TAMPERED
        return Ruling(
            number=case.proposal.number,
            candidate=case.proposal.candidate,
            commit=case.proposal.commit,
            verdict=Verdict.TAMPERED if tampered else Verdict.CRASH,
            reason=_failure(failed),
            runs=tuple(case.runs),
            incumbent=session.sign * incumbent,
        )
    verdict = found.verdict
    if found.keep and not case.kept:
        verdict = Verdict.MARGINAL
    return Ruling(
        number=case.proposal.number,
        candidate=case.proposal.candidate,
        commit=case.proposal.commit,
        verdict=verdict,
        reason=_reason(case, found),
        runs=tuple(case.runs),
        mean=sum(r.value for r in case.runs if r.value is not None) / len(case.runs),
        incumbent=session.sign * incumbent,
        delta=session.sign * found.delta,
        delta_sd=found.delta_sd,
        gain=found.gain,
        confidence=found.confidence,
        memory_mb=mean_memory(tuple(case.runs)),
    )


def _failure(failed: RunSummary | None) -> str:
    if failed is None:
        return "gave no metric"
    return f"{failed.outcome.value.replace('_', ' ')}: {failed.reason}"


def _reason(case: Case, found: Assessment) -> str:
    """One sentence: how far from the incumbent, in noise floors, and how sure."""
    direction = "better" if found.delta < 0 else "worse"
    distance = f"{abs(found.delta):.4g} {direction} than the incumbent"
    floors = f"{abs(found.delta) / found.noise_sd:.1f} times the noise floor"
    count = "one run" if found.n == 1 else f"{found.n} runs"
    sure = f"P(better) {found.confidence:.3f}"
    rule = f"a keep needs {found.keep_probability:g}"
    text = f"{distance} over {count} ({floors}); {sure}, {rule}"
    if found.keep and not case.kept:
        text += "; another candidate of this round was better still"
    return text


def _publish(session: Session, cases: list[Case], rulings: tuple[Ruling, ...]) -> None:
    """The rows first, then the branch: a kill between them loses nothing."""
    rows = [
        results_tsv.Row(
            commit=case.proposal.commit,
            metric=ruling.mean,
            memory_mb=ruling.memory_mb,
            status=ruling.verdict.status,
            description=case.proposal.description,
        )
        for case, ruling in zip(cases, rulings, strict=True)
    ]
    if rows:
        table.record(session, cases[0].proposal.number, rows)
    for case in cases:
        if case.kept:
            session.repo.advance(case.proposal.commit)


def _announce(
    session: Session,
    verdict: RoundVerdict,
    cases: list[Case],
    state: SessionState,
    judge: Judge,
) -> None:
    best = session.sign * judge.incumbent_mean
    for case, ruling in zip(cases, verdict.rulings, strict=True):
        session.journal.append(
            "verdict",
            round=verdict.round,
            rounds=session.config.rounds,
            number=ruling.number,
            description=case.proposal.description,
            category=case.proposal.category,
            verdict=ruling.verdict,
            reason=ruling.reason,
            mean=ruling.mean,
            n=len(ruling.runs),
            confidence=ruling.confidence,
            best=best,
            noise=judge.noise_sd,
            kept=state.incumbent.kept + sum(c.kept for c in cases),
            confirm_replicates=session.config.confirm_replicates,
        )
