"""Verdicts of one round, decided from the runs that were made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ratchet.base.io import read_json, read_record, write_json
from ratchet.base.structs import Frozen, Struct, field, replace
from ratchet.integrity.run_checks import Scrutiny, confirms_jump, is_implausible_jump
from ratchet.judge.judge import Assessment, Judge, keep_is_sure
from ratchet.judge.tradeoffs import (
    Configuration,
    Efficiency,
    Tariff,
    credit,
    efficiency_bounds,
)
from ratchet.records.history import (
    NO_SEED_EFFECT,
    NOISE_UNKNOWN,
    SEED_IGNORED,
    History,
    SeedEffect,
    Trial,
    evidence,
    name_of,
    seed_effect,
    without_chance,
)
from ratchet.records.proposals import Proposal
from ratchet.records.records import (
    Experiment,
    Incumbent,
    Outcome,
    Remeasurement,
    RoundVerdict,
    Ruling,
    RunSummary,
    Verdict,
    chance_name,
    mean_memory,
)
from ratchet.records.results_table import TableRow, record_rows
from ratchet.records.store import peak_memory
from ratchet.session import Session, memory_ceiling
from ratchet.steering.code_diff import count_changes, net_code_lines
from ratchet.task.task import broken_constraint

ALARM_SDS = 3.0
"""A run further than this from what was expected raises the alarm.

The sds count with the noise floor at the upper end of its 90 % interval, since the
few runs of a session tell little about it.  In simulated sessions 0.3 to 1.5 % of
the checks of an incumbent that did not move raise the alarm (5 % after a baseline
of two runs), and 60 to 100 % of those that moved by ten noise floors.  With the
noise floor itself 2 to 12 % of the checks would be false alarms."""


def learn_of_check(
    session: Session,
    judge: Judge,
    incumbent: Incumbent,
    run: RunSummary,
    repeated: bool = False,
    anew: bool = False,
) -> Remeasurement:
    """The judge told of a further run of the incumbent; how surprising it was before that.

    It is not told of one that only ``repeated`` the metric of those before.  With ``anew``
    the machine has changed, and the judge believes this run alone.
    """
    mean, sd = judge.incumbent_mean, judge.incumbent_sd
    spread = math.hypot(sd, judge.noise_interval()[1])
    z = None
    if run.outcome is Outcome.OK:
        value = session.value(run)
        z = session.sign * (value - mean) / spread
        if not repeated:
            judge.incumbent(value, anew)
    return Remeasurement(
        number=incumbent.number,
        run=run,
        expected=session.sign * mean,
        sd=spread,
        z=z,
        alarm=not anew and z is not None and abs(z) > ALARM_SDS,
        anew=anew and z is not None,
    )


def broken_constraints(session: Session, runs: Sequence[RunSummary]) -> str:
    """Which of the task's constraints any of some runs breaks, in words; empty for none."""
    wanted = session.task.constraints
    if not wanted:
        return ""
    records = [session.store.lookup(run.key) for run in runs if run.outcome is Outcome.OK]
    return broken_constraint(wanted, [record.numbers for record in records if record])


class Case(Struct):
    """One candidate before the judge, with all its runs so far; lower is better here.

    ``threshold`` is what it was last assessed at, ``incumbent`` what was then
    believed of the metric of the incumbent, experiment ``held``.  ``memory_mb`` is what the
    session's ceiling is compared with, and ``too_large`` that a hard one refuses it;
    ``broken`` says which constraint of the task it breaks.  ``suspect`` says what its
    runs show beside the baseline's that cannot be believed, and ``off_budget`` how they
    did not keep to their budget.  ``values`` are the metrics that it was assessed by, and
    ``seedless`` that the seed has no effect, so that further runs repeat them; it
    ``ignores_seed`` where that is so for its code alone.
    """

    proposal: Proposal
    runs: list[RunSummary]
    net_lines: int
    incumbent: float
    held: int = 0
    memory_ratio: float | None = None
    threshold: float = 0.0
    assessment: Assessment | None = None
    kept: bool = False
    refused: str = ""
    unreadable: bool = False
    notes: tuple[str, ...] = ()
    changes: int | None = None
    quarantined: bool = False
    confirmed: bool = True
    memory_mb: float | None = None
    too_large: bool = False
    broken: str = ""
    suspect: str = ""
    off_budget: str = ""
    ignores_seed: bool = False
    values: list[float] = field(default_factory=list)
    seedless: bool = False

    @property
    def trial(self) -> Trial:
        """It as the session's history will tell of it, before any ruling."""
        return Trial(self.proposal, tuple(self.runs), kept=self.kept)

    @property
    def barred(self) -> bool:
        """Whether it can never be kept, whatever its metric is."""
        return self.too_large or bool(self.broken)

    @property
    def out(self) -> bool:
        """Whether there is nothing to assess: it was not run, or a run failed."""
        bad = self.refused or self.suspect or self.off_budget
        return bool(bad) or self.failed is not None

    @property
    def failed(self) -> RunSummary | None:
        """The run that gave no metric, if any did."""
        return next((run for run in self.runs if run.outcome is not Outcome.OK), None)

    @property
    def gain(self) -> float:
        return self.assessment.gain if self.assessment else 0.0

    @property
    def willing(self) -> bool:
        """Whether it would be kept if it were alone in its round."""
        return self._eligible and self.assessment is not None and self.assessment.keep

    @property
    def priced_out(self) -> bool:
        """Whether its price alone stands against keeping it."""
        found = self.assessment
        if found is None or found.threshold <= 0 or self.out or self.barred or not self.confirmed:
            return False
        if self.seedless:
            return found.delta < 0 and self.unimproved
        if found.keep:
            return False
        shown = found.p_value is None or found.level is None or found.p_value <= found.level
        return shown and keep_is_sure(found.confidence, found.gain, found.keep_probability, 0.0)

    @property
    def promising(self) -> bool:
        """Whether it is probably an improvement, be it enough for a keep or not."""
        belief = self.assessment
        if not self._eligible or belief is None:
            return False
        return belief.keep or belief.verdict is Verdict.MARGINAL

    @property
    def _eligible(self) -> bool:
        """Whether nothing but its metric stands against keeping it."""
        return not (self.out or self.barred or self.unimproved) and self.confirmed

    @property
    def unimproved(self) -> bool:
        """Whether seeds have no effect, so that one run tells, and its metric is not worth it."""
        found = self.assessment
        return self.seedless and found is not None and -found.delta <= self.threshold


def rule_on_case(
    case: Case, sign: int, tariff: Tariff, kept_before: Sequence[Configuration], one_kept: bool
) -> Ruling:
    """The record of one case once its round is decided.

    ``sign`` turns lower-is-better back into the metric's own direction;
    ``one_kept`` tells whether any candidate of the round was kept.
    """
    found = case.assessment
    ruling = Ruling(
        number=case.proposal.number,
        candidate=case.proposal.candidate,
        commit=case.proposal.commit,
        verdict=_verdict(case, found),
        reason=_reason(case, found, tariff),
        runs=tuple(case.runs),
        incumbent=sign * case.incumbent,
        net_lines=case.net_lines,
        changes=case.changes,
        quarantined=case.quarantined,
        notes=case.notes,
    )
    if case.out or found is None:
        return ruling
    memory = mean_memory(ruling.runs)
    # What can never be kept is no point of the front.
    bounds = None if case.barred else _standing(case, found, memory, kept_before)
    ruling = replace(
        ruling,
        mean=sum(r.value for r in case.runs if r.value is not None) / len(case.runs),
        delta=sign * found.delta,
        delta_sd=found.delta_sd,
        gain=found.gain,
        confidence=found.confidence_at_threshold,
        memory_mb=memory,
        price=found.threshold,
        memory_ratio=case.memory_ratio,
        pareto=bounds.status if bounds else None,
        pareto_low=bounds.low if bounds else None,
        pareto_high=bounds.high if bounds else None,
        near_miss=one_kept and not case.kept and case.promising,
    )
    return without_chance(ruling) if case.seedless or case.ignores_seed else ruling


def _verdict(case: Case, found: Assessment | None) -> Verdict:
    if case.out or found is None:
        bent = case.failed is not None and case.failed.outcome is Outcome.TAMPERED
        bent |= bool(case.refused) and not case.unreadable
        if case.failed is not None and case.failed.outcome is Outcome.GUARD_FAILED:
            return Verdict.GUARD_FAILED
        return Verdict.TAMPERED if case.suspect or bent else Verdict.CRASH
    if not case.confirmed or case.barred or case.unimproved:
        return Verdict.DISCARD
    return Verdict.MARGINAL if found.keep and not case.kept else found.verdict


def _standing(
    case: Case, found: Assessment, memory: float | None, kept_before: Sequence[Configuration]
) -> Efficiency | None:
    """Bounds on P(efficient in metric and memory) of a candidate that was measured.

    Its mean is what the judge believes, freed from the luck of being chosen;
    the sd of its runs' mean is a little more than that belief's.
    """
    sd = found.noise_sd / math.sqrt(found.n)
    candidate = Configuration(case.incumbent - found.gain, sd, memory)
    return efficiency_bounds(candidate, found.confidence, kept_before)


def _reason(case: Case, found: Assessment | None, tariff: Tariff) -> str:
    """One sentence: how far from the incumbent, in noise floors, at what price, how sure."""
    if case.refused:
        return f"not run: {case.refused}"
    if case.suspect:
        return f"tampered: {case.suspect}"
    if case.off_budget and case.failed is None:
        return f"off budget: {case.off_budget}"
    if case.failed is not None:
        return f"{case.failed.outcome.value.replace('_', ' ')}: {case.failed.reason}"
    if found is None:
        return "gave no metric"
    direction = "better" if found.delta < 0 else "worse"
    distance = f"{abs(found.delta):.4g} {direction} than {name_of(case.held)}"
    floors = f"{abs(found.delta) / found.noise_sd:.1f} times the noise floor"
    count = "one run" if found.n == 1 else f"{found.n} runs"
    price = tariff.words(found.threshold, case.net_lines, case.memory_ratio)
    said = f"; it {price}" if price and not case.priced_out else ""
    if case.seedless:
        text = f"{distance}; {NO_SEED_EFFECT}, {NOISE_UNKNOWN}{said}"
        text += "; the mode's test needs fresh runs that differ" if found.p_value else ""
    elif case.ignores_seed:
        text = f"{distance}; {SEED_IGNORED}{said}"
    else:
        text = f"{distance} over {count} ({floors}){said}"
        text += f"; P(better) {found.confidence:.3f}" if case.priced_out else ""
        text += f"; {chance_name(found.threshold)} {found.confidence_at_threshold:.3f}"
        text += f", a keep needs {found.keep_probability:g}"
    if case.priced_out:
        kinds = tariff.charged(case.net_lines, case.memory_ratio)
        text = f"kept but for the {kinds} price: {price}; {text}"
    if found.p_value is not None and found.level is not None and found.n > 1:
        text += f"; its fresh runs alone: p {found.p_value:.2g}, needed {found.level:.2g}"
    if case.trial.diverged:
        text += f"; diverged: {case.trial.diverged}"
    if case.quarantined:
        went = "a fresh run confirmed it" if case.confirmed else "a fresh run did not confirm it"
        text += f"; too large to be believed on one run, {went}"
    large = tariff.ceiling.reason(case.memory_mb)
    if large:
        text += f"; it {large}"
    if case.broken:
        text += f"; it breaks a constraint ({case.broken}), and cannot be kept"
    edit = case.proposal.edit
    if edit is not None and edit.values:
        text += f"; what its {len(edit.values)} constants do one by one cannot be told"
    if found.keep and case.confirmed and not (case.kept or case.barred or case.unimproved):
        text += "; another candidate of this round was better still"
    return text


class Hearing(Frozen):
    """One round before the judge as it was at the round's start.

    It knows the regular check of the incumbent, and nothing of the round's other
    candidates: all are heard side by side, by the experiment that makes their runs,
    and once more by the verdict that rests on them.
    """

    session: Session
    history: History
    judge: Judge
    tariff: Tariff
    scrutiny: Scrutiny
    remeasured: Remeasurement | None = None

    @classmethod
    def open(cls, session: Session, number: int, check: RunSummary | None) -> Hearing:
        """The hearing of round ``number`` after the incumbent's ``check``."""
        judge = Judge.from_dict(read_json(session.paths.round(number - 1).judge))
        history = History.read(session.paths, number - 1, confirmed=False)
        assert history.last == history.state.round == number - 1
        held = history.state.incumbent
        remeasured = None
        if check is not None:
            effect = _seed_effect(history, held.number, [check])
            known = history.replicates.get(held.number)
            repeated = bool(known) and effect is not SeedEffect.SHOWN
            anew = check.is_of_another_pace(history.incumbent_run)
            remeasured = learn_of_check(session, judge, held, check, repeated, anew)
        tariff = Tariff(
            session.prices,
            judge.noise_sd,
            history.verdicts[-1].credit_used if history.verdicts else 0.0,
            held.memory_mb,
            memory_ceiling(session.config),
        )
        return cls(session, history, judge, tariff, Scrutiny(session), remeasured)

    @property
    def incumbent(self) -> Incumbent:
        """Incumbent that the round's candidates are compared with."""
        return self.history.state.incumbent

    def wants_check(self, run: RunSummary) -> bool:
        """Whether a candidate must be compared with a fresh run of the incumbent.

        That is so where the machine has become busy for longer, or quiet again.
        """
        return run.outcome is Outcome.OK and run.is_of_another_pace(self.history.incumbent_run)

    def apart(self, runs: Iterable[RunSummary]) -> Hearing:
        """Hearing whose judge has learned of these runs of the incumbent too."""
        judge = Judge.from_dict(self.judge.to_dict())
        _learn(self.session, judge, runs)
        return replace(self, judge=judge)

    def seed_effect(self, *groups: Sequence[RunSummary]) -> SeedEffect:
        """Whether seeds have an effect, by rounds before, the check, and runs of candidates."""
        check = [self.remeasured.run] if self.remeasured else []
        return _seed_effect(self.history, self.incumbent.number, check, *groups)

    def case(self, proposal: Proposal, experiment: Experiment) -> Case:
        """A candidate with its runs, examined, and the lines of code that it adds."""
        old = self.session.texts(self.incumbent.files)
        new = self.session.texts(proposal.files)
        runs, lines = list(experiment.runs), net_code_lines(old, new)
        case = Case(proposal, runs, lines, self.judge.incumbent_mean, self.incumbent.number)
        case.refused, case.notes = experiment.refused, experiment.notes
        case.unreadable = experiment.unreadable
        case.changes = count_changes(old, new)
        case.quarantined = experiment.quarantined
        self.examine(case)
        return case

    def examine(self, case: Case) -> None:
        """Settle a case's memory, and whether its runs are believed beside the baseline's."""
        case.runs = [self.scrutiny.charged(run) for run in case.runs]
        remarks = {remark for run in case.runs for remark in self.scrutiny.remarks(run)}
        case.notes = (*case.notes, *sorted(remarks - set(case.notes)))
        case.suspect = self.scrutiny.wrong(case.runs) or ""
        case.off_budget = self.scrutiny.off_budget(case.runs) or ""

    def wants_run(self, case: Case) -> bool:
        """Assess a candidate that is not out; whether it must be run once more."""
        session, tariff = self.session, self.tariff
        case.incumbent = self.judge.incumbent_mean
        case.memory_ratio = tariff.ratio(case.runs)
        case.threshold = tariff.threshold(case.net_lines, case.memory_ratio)
        effect = self.seed_effect(case.runs)
        case.seedless = effect is SeedEffect.NONE
        case.values = [session.value(run) for run in case.runs]
        case.ignores_seed = not case.seedless and seed_effect([case.values]) is SeedEffect.NONE
        case.values = list(evidence(case.values))
        # In mode `guaranteed` each test takes its level from a sequence that sums to
        # the bound.  Candidates are heard side by side, so nobody knows which of those
        # before this one will be tested: it takes the level that is its own if all
        # are.  Levels fall, and the judge later counts the tests that were made.  The
        # k-th of them has at least k - 1 candidates before it, so its level is at most
        # the one that is counted, and the sum of all stays below the bound.
        place = case.proposal.candidate
        found = self.judge.assess(
            case.values,
            case.threshold,
            others_tested=place,
            ideas_left=not case.proposal.second_look,
        )
        case.assessment, case.threshold = found, found.threshold
        case.memory_mb = peak_memory(session.store, case.runs)
        case.too_large = tariff.ceiling.refuses(case.memory_mb)
        case.broken = broken_constraints(session, case.runs)
        if case.seedless:
            found = found.without_retest(self.judge.settings)
            case.incumbent = session.sign * self.history.replicates[self.incumbent.number][0]
            case.assessment = replace(found, delta=case.values[0] - case.incumbent)
        if case.ignores_seed:
            case.assessment = found.without_retest(self.judge.settings)
        if case.barred or case.seedless or case.ignores_seed:
            return False
        return found.verdict is Verdict.RETEST or self._quarantine(case, found)

    def _quarantine(self, case: Case, found: Assessment) -> bool:
        """Whether an improvement beyond everything seen must be run once more first.

        After the fresh run it is settled whether that one confirms it.
        """
        first, *fresh = [self.session.value(run) for run in case.runs]
        improvement = case.incumbent - first
        # Little is known of the noise at first, so the upper end of what it may be counts.
        noise_sd = self.judge.noise_interval()[1]
        if fresh:
            if case.quarantined:
                case.confirmed = confirms_jump(first, fresh[0], noise_sd, improvement)
            return False
        if not found.keep:
            return False
        seen = [trial.delta for trial in self.history.judged if trial.delta is not None]
        case.quarantined = is_implausible_jump(improvement, noise_sd, seen)
        return case.quarantined

    def decided(self, proposal: Proposal, experiment: Experiment) -> Case:
        """A candidate as its experiment's runs leave it; no more are made."""
        case = self.case(proposal, experiment)
        if not case.out and self.wants_run(case) and case.assessment is not None:
            # Another machine may round otherwise, where the judge hardly cares.
            case.assessment = case.assessment.without_retest(self.judge.settings)
        return case


def _seed_effect(
    history: History, held: int, again: Sequence[RunSummary], *groups: Sequence[RunSummary]
) -> SeedEffect:
    """Effect of the seed by a history, runs of incumbent ``held``, and other groups of runs."""
    known = dict(history.replicates)
    known[held] = [*known.get(held, ()), *_measured(again)]
    return seed_effect([*known.values(), *map(_measured, groups)])


def _measured(runs: Iterable[RunSummary]) -> list[float]:
    return [run.value for run in runs if run.value is not None]


def write_verdict(session: Session, number: int) -> None:
    """Write the verdict of round ``number`` and the judge as it is after it."""
    here = session.paths.round(number)
    experiments = [
        read_record(Experiment, here.experiment(candidate))
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
    _decide(judge, cases)
    rulings = _rulings(hearing, cases)
    _publish(session, cases, rulings)
    stopped = next((e for e in experiments if e.stop is not None), None)
    kept = next((case for case in cases if case.kept), None)
    # A second look at a code counts the runs that it had before.
    before = {run.key for trial in hearing.history.trials for run in trial.runs}
    fresh = [run for case in cases for run in case.runs if run.key not in before]
    # What its guard stopped was not trained.
    made = [run for run in fresh if run.outcome is not Outcome.GUARD_FAILED]
    low, high = judge.noise_interval()
    unknown = hearing.seed_effect(*(case.runs for case in cases)) is SeedEffect.NONE
    mean = session.sign * judge.incumbent_mean
    if unknown:  # what it measured, as the judge's estimate rests on noise
        measured = kept.runs[0].value if kept else None
        mean = (
            hearing.history.replicates[hearing.incumbent.number][0]
            if measured is None
            else measured
        )
    verdict = RoundVerdict(
        round=number,
        rulings=rulings,
        kept=kept.proposal.number if kept else None,
        noise_sd=None if unknown else judge.noise_sd,
        noise_low=None if unknown else low,
        noise_high=None if unknown else high,
        incumbent_mean=mean,
        incumbent_sd=judge.incumbent_sd,
        runs_used=sum(r.tries for r in (*made, *incumbent_runs, *([check] if check else []))),
        stop=stopped.stop if stopped else None,
        detail=stopped.detail if stopped else "",
        remeasured=hearing.remeasured,
        incumbent_runs=incumbent_runs,
        credit_used=tariff.credit_used + (credit(kept.threshold) if kept else 0.0),
        expected_false_keeps=None if unknown else judge.expected_false_keeps,
        error_spent=judge.error_spent,
    )
    write_json(here.judge, judge.to_dict())
    _announce(session, verdict, cases, hearing.incumbent)
    write_json(here.verdict, verdict)


def _learn(session: Session, judge: Judge, runs: Iterable[RunSummary]) -> None:
    for each in runs:
        if each.outcome is Outcome.OK:
            judge.incumbent(session.value(each))


def _decide(judge: Judge, cases: list[Case]) -> None:
    """Keep at most the best candidate; the judge learns from all of them.

    All were assessed against the same incumbent.  Those that are not kept are
    learned first, so that the one that is becomes the incumbent last.
    """
    best = max((c for c in cases if c.willing), key=lambda c: c.gain, default=None)
    for case in [c for c in cases if c is not best]:
        if case.out:
            judge.crash()
            continue
        judge.assess(case.values, case.threshold)
        judge.commit(keep=False)
    if best is not None:
        judge.assess(best.values, best.threshold)
        judge.commit(keep=True)
        best.kept = True


def _rulings(hearing: Hearing, cases: Sequence[Case]) -> tuple[Ruling, ...]:
    """The records of a decided round."""
    sign, one_kept = hearing.session.sign, any(case.kept for case in cases)
    held: dict[int, Incumbent] = {}
    for state in hearing.history.states:  # what was believed of each one first
        held.setdefault(state.incumbent.number, state.incumbent)
    kept_before = [Configuration(sign * i.mean, i.sd, i.memory_mb) for i in held.values()]
    return tuple(rule_on_case(case, sign, hearing.tariff, kept_before, one_kept) for case in cases)


def _publish(session: Session, cases: list[Case], rulings: tuple[Ruling, ...]) -> None:
    """The rows first, then the branch: a kill between them loses nothing."""
    rows = [
        TableRow(
            commit=case.proposal.commit,
            metric=found.mean,
            memory_mb=found.memory_mb,
            status=found.verdict.status,
            description=case.trial.title,
        )
        for case, found in zip(cases, rulings, strict=True)
    ]
    if rows:
        first = cases[0].proposal.number
        record_rows(session.paths.results_tsv, session.task.metric.name, first, rows)
    for case in cases:
        if case.kept:
            session.repo.advance(case.proposal.commit)


def _announce(
    session: Session, verdict: RoundVerdict, cases: list[Case], before: Incumbent
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
            anew=checked.anew,
        )
    kept = next((found for found in verdict.rulings if found.number == verdict.kept), None)
    weight = session.transfer_weight
    for case, found in zip(cases, verdict.rulings, strict=True):
        session.journal.append(
            "verdict",
            round=verdict.round,
            rounds=session.config.rounds,
            number=found.number,
            description=case.proposal.description,
            category=case.proposal.category,
            proposer=case.proposal.proposer,
            verdict=found.verdict,
            reason=found.reason,
            **({"diverged": case.trial.diverged} if case.trial.diverged else {}),
            mean=found.mean,
            n=len(found.runs),
            confidence=found.confidence,
            near_miss=found.near_miss,
            changes=found.changes,
            price=found.price,
            best=before.measured if kept is None else kept.mean,
            estimate=verdict.incumbent_mean,
            noise=verdict.noise_sd,
            kept=before.kept + (kept is not None),
            confirm_replicates=session.config.confirm_replicates,
            **({"transfer_weight": weight} if weight else {}),
        )
