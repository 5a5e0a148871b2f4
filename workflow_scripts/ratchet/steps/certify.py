"""Which kept changes carry the champion: fresh runs without some of them.

Three steps: the plan builds variants of the champion, one job each runs them, and the last
takes out what contributes nothing.  The champion that is left is then confirmed, and
the contributions of all kept changes rest on all of these runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property

from ratchet.base.errors import DataError
from ratchet.base.io import read_record, source_digest, write_json
from ratchet.base.structs import Frozen, replace
from ratchet.base.text import plural
from ratchet.integrity.edit_checks import edit_faults
from ratchet.judge.certify import Change, VariantRun, contributions, plan_leave_outs
from ratchet.judge.settings import certification_budget
from ratchet.proposers.idea import carry_edit
from ratchet.records.history import History, Trial, evidence
from ratchet.records.records import (
    Certification,
    CertificationPlan,
    CertificationRun,
    Confirmation,
    Contribution,
    Incumbent,
    KeptChange,
    Outcome,
    Role,
    RunSummary,
    Standing,
    Variant,
    Verdict,
    incumbent_runs,
)
from ratchet.runs.executor import Executor
from ratchet.session import Session
from ratchet.steps.limits import Limits, has_time


class Stack(Frozen, dict=True):
    """The kept changes of a session, one on the other, from the baseline to the champion."""

    session: Session
    history: History

    @classmethod
    def read(cls, session: Session) -> Stack:
        return cls(session, History.read(session.paths, session.config.rounds, confirmed=False))

    @property
    def champion(self) -> Incumbent:
        """The last incumbent of the search."""
        return self.history.state.incumbent

    @property
    def kept(self) -> tuple[Trial, ...]:
        return self.history.kept

    def without(self, left_out: Collection[int]) -> Variant:
        """The champion without some changes, and without those that then do not fit."""
        held: Mapping[str, str] = self.session.texts(self.history.start.files)
        missing = []
        for trial in self.kept:
            merged = None if trial.number in left_out else self.onto(held, trial)
            if merged is None:
                missing.append(trial.number)
            else:
                held = merged
        return Variant(tuple(missing), self.session.put(held))

    def onto(self, held: Mapping[str, str], trial: Trial) -> Mapping[str, str] | None:
        """Some files with a kept change on top; ``None`` where it does not fit."""
        session = self.session
        parent = session.texts(self.history.sources[trial.proposal.parent])
        edited, edit = session.texts(trial.files), trial.proposal.edit
        space = tuple(session.task.search_space)
        return edited if held == parent else carry_edit(parent, edited, held, edit, space)

    def changes(self) -> tuple[KeptChange, ...]:
        """The kept changes, each with those without which it does not fit."""
        gone = {trial.number: set(self.without({trial.number}).left_out) for trial in self.kept}
        return tuple(
            KeptChange(t.number, tuple(n for n in gone if n < t.number and t.number in gone[n]))
            for t in self.kept
        )

    def contributions(
        self, changes: Iterable[KeptChange], fresh: Sequence[VariantRun]
    ) -> tuple[Contribution, ...]:
        """What each change adds, by fresh runs and those of the search."""
        return contributions(self.weighed(changes), [*fresh, *self.search_runs])

    def weighed(self, changes: Iterable[KeptChange]) -> list[Change]:
        """The changes with what the search believed of them; some it kept for saving code."""
        rulings = {trial.number: trial.ruling for trial in self.kept}
        found = []
        for each in changes:
            ruling = rulings[each.number]
            assert ruling is not None
            stays = (ruling.price or 0.0) < 0
            found.append(Change(each.number, each.needs, ruling.confidence or 0.0, stays))
        return found

    @cached_property
    def search_runs(self) -> tuple[VariantRun, ...]:
        """Runs of the search as runs of the champion without what came later.

        Where the machine became busy, or quiet again, another occasion begins.
        """
        history, kept = self.history, [trial.number for trial in self.kept]
        trials = {trial.number: trial for trial in history.judged}
        occasion, there = 1, 0
        found: list[VariantRun] = []

        def add(runs: Iterable[RunSummary], tried: int | None = None) -> None:
            later = frozenset(kept[there:])
            values = [self.session.value(run) for run in runs if run.outcome is Outcome.OK]
            found.extend(VariantRun(later, y, tried, occasion) for y in evidence(values))

        add(history.start.runs)
        for verdict in history.verdicts:
            check = verdict.remeasured
            occasion += check is not None and check.anew
            add(incumbent_runs(verdict))
            for ruling in verdict.rulings:
                if ruling.verdict is not Verdict.TAMPERED and ruling.number not in kept:
                    add(trials[ruling.number].runs, ruling.number)
            if verdict.kept is not None:
                there += 1
                add(trials[verdict.kept].runs)
        return tuple(found)


def write_certification_plan(session: Session) -> None:
    """Write which variants are to be run; one kept change is certified by the confirmation."""
    stack = Stack.read(session)
    plan = CertificationPlan(stack.champion.source)
    if len(stack.kept) > 1:
        changes = stack.changes()
        used = certification_budget(stack.history.state.runs_used)
        used = min(used, session.config.certification_runs)
        rows = plan_leave_outs(stack.weighed(changes), used, stack.search_runs)
        plan = replace(plan, changes=changes, variants=tuple(map(stack.without, rows)))
    write_json(session.paths.certification_plan, plan)


def write_certification_run(
    session: Session, number: int, limits: Limits | None, now: float
) -> None:
    """Write the run of one variant, or that the plan has none of this number.

    One that would leave no time for the confirmation is not made, unless it is in the
    store: that costs nothing and is a fact.
    """
    plan = read_record(CertificationPlan, session.paths.certification_plan)
    found = CertificationRun(plan.source)
    if number < len(plan.variants):
        variant = plan.variants[number]
        found = replace(found, left_out=variant.left_out)
        # After it the champion may be run once without what adds nothing.
        if _may_run(session, variant, number, limits, now, runs=2):
            found = replace(found, run=_run(session, variant, number))
        else:
            found = replace(found, late=True)
    write_json(session.paths.certify_run(number), found)


def _may_run(
    session: Session, variant: Variant, replicate: int, limits: Limits | None, now: float, runs: int
) -> bool:
    """Whether a run is in the store, or it and what follows in the certification fit."""
    if has_time(limits, session.config, session.paths, now, runs):
        return True
    return Executor(session).is_stored(variant.files, Role.CERTIFY, replicate)


def _run(session: Session, variant: Variant, replicate: int) -> RunSummary:
    left_out = ", ".join(map(str, variant.left_out))
    name = f"champion without {left_out}" if left_out else "champion"
    return Executor(session).run(variant.files, Role.CERTIFY, replicate, 0, name)


def write_certification(session: Session, limits: Limits | None, now: float) -> None:
    """Take out the changes that contribute nothing, if the champion then still runs."""
    stack = Stack.read(session)
    plan = read_record(CertificationPlan, session.paths.certification_plan)
    runs = [_read(session, plan, number) for number in range(len(plan.variants))]
    found = Certification(plan.source, stack.champion, plan.changes, tuple(runs))
    removed = _passengers(stack, found)
    if removed:
        found = _smaller(stack, found, removed, limits, now)
    write_json(session.paths.certification, found)


def _read(session: Session, plan: CertificationPlan, number: int) -> CertificationRun:
    path = session.paths.certify_run(number)
    found = read_record(CertificationRun, path)
    if found.source != plan.source or found.left_out != plan.variants[number].left_out:
        raise DataError(
            f"{path}: expected a run of another variant; make them again: "
            "snakemake --cores 1 --forcerun certify_run "
            "--config session=THIS"
        )
    return found


def _passengers(stack: Stack, found: Certification) -> tuple[int, ...]:
    """Changes that contribute nothing, of those that the champion was seen to run without."""
    fresh = certification_runs(stack.session, found)
    seen = {number for run in fresh for number in run.left_out}
    return tuple(
        each.number
        for each in stack.contributions(found.changes, fresh)
        if each.standing is Standing.PASSENGER and each.number in seen
    )


def _smaller(
    stack: Stack,
    found: Certification,
    removed: tuple[int, ...],
    limits: Limits | None,
    now: float,
) -> Certification:
    """The certification with a champion without these changes, once that was seen to run."""
    session, champion = stack.session, found.champion
    variant = stack.without(removed)
    if variant.left_out != removed:
        return replace(found, detail="other changes do not fit without those that add nothing")
    if not _may_run(session, variant, len(found.runs), limits, now, runs=1):
        return replace(
            found, detail="no time was left to run it without what adds nothing", late=True
        )
    # What was left out may have kept the rest from being run, as quotes around it do.
    refused = edit_faults(session, variant.files).refused
    if refused:
        return replace(found, detail=f"without what adds nothing it is refused: {refused}")
    name = f"champion without {', '.join(map(str, removed))}"
    guard = Executor(session).guard(variant.files, 0, name)
    if guard is not None and guard.outcome is not Outcome.OK:
        detail = f"without what adds nothing it fails its guard: {guard.reason}"
        return replace(found, detail=detail)
    run = _run(session, variant, len(found.runs))
    runs = (*found.runs, CertificationRun(found.source, removed, run))
    if run.outcome is not Outcome.OK:
        detail = f"without what adds nothing the champion fails: {run.outcome.value}"
        return replace(found, runs=runs, detail=detail)
    words = f"{plural(len(removed), 'experiment')} {', '.join(map(str, removed))}"
    commit = session.repo.commit(
        session.tree(variant.files),
        f"Take out what adds nothing: {words}\n\n"
        f"Fresh runs without some of the kept changes show no gain by these.\n\n"
        f"Source: {source_digest(variant.files)}\n",
        number=champion.number,
        parent=champion.commit,
        ref="refs/ratchet/certified",
    )
    smaller = replace(
        champion,
        files=variant.files,
        source=source_digest(variant.files),
        commit=commit,
        memory_mb=run.memory_mb,
        kept=champion.kept - len(removed),
    )
    return replace(found, champion=smaller, runs=runs, removed=removed)


def certification_runs(session: Session, found: Certification) -> list[VariantRun]:
    """The runs of a certification that ended well, as evidence."""
    made = [(each.left_out, each.run) for each in found.runs if each.run is not None]
    return [run for left_out, one in made for run in _runs_without(session, left_out, [one])]


def _runs_without(
    session: Session, left_out: Iterable[int], runs: Iterable[RunSummary]
) -> list[VariantRun]:
    """Runs of one variant that ended well."""
    numbers = frozenset(left_out)
    ok = (run for run in runs if run.outcome is Outcome.OK)
    return [VariantRun(numbers, session.value(run)) for run in ok]


def read_certification(session: Session) -> Certification | None:
    """The session's certification, where there is to be one."""
    if not session.config.certification_runs:
        return None
    return read_record(Certification, session.paths.certification)


def certified_contributions(
    session: Session, found: Certification, confirmed: Confirmation
) -> tuple[Contribution, ...]:
    """Contributions of all kept changes, by the runs of certification and confirmation."""
    stack = Stack.read(session)
    changes = found.changes or tuple(KeptChange(trial.number, ()) for trial in stack.kept)
    untested = _untested(found)
    everything, removed = {change.number for change in changes}, set(found.removed)
    fresh = certification_runs(session, found)
    if confirmed.gain is not None:
        fresh += _runs_without(session, everything, confirmed.baseline_runs)
        fresh += _runs_without(session, removed, confirmed.champion_runs)
    return tuple(
        replace(each, standing=_settled(each, removed, untested))
        for each in stack.contributions(changes, fresh)
    )


def announce_contributions(session: Session, found: Confirmation) -> None:
    """Say how many kept changes are certified, and which were taken out."""
    names = {trial.number: trial.description for trial in Stack.read(session).kept}
    standings = [each.standing for each in found.contributions]
    session.journal.append(
        "certified",
        kept=len(standings),
        certified=standings.count(Standing.CERTIFIED),
        removed=[
            f"{each.number} {names[each.number]}"
            for each in found.contributions
            if each.standing is Standing.PASSENGER
        ],
    )


def _untested(found: Certification) -> set[int]:
    """Changes that no run was made without, where time was too short for all runs.

    The baseline lacks all of them, so that it tells none from the others.
    """
    if not any(each.late for each in found.runs):
        return set()
    tested = {n for each in found.runs if each.run is not None for n in each.left_out}
    return {change.number for change in found.changes} - tested


def _settled(each: Contribution, removed: Collection[int], untested: Collection[int]) -> Standing:
    """What was taken out is a passenger, nothing else is; what is untested is not certified."""
    if each.number in removed:
        return Standing.PASSENGER
    if each.standing is Standing.PASSENGER or each.number in untested:
        return Standing.UNCERTIFIED
    return each.standing
