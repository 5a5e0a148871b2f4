"""Kept changes of a finished log run again: their plan, their runs, their verdicts.

Run again are the mutable files of a row's commit and those of the incumbent of its time,
the row that was kept before it: with that value the author compared it, whatever lies
between the two commits.  Only where the incumbent's commit is lost does the commit's own
parent stand in, and a note says so.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ratchet.base.errors import InputMissingError, UsageError
from ratchet.base.git import Commits
from ratchet.base.io import read_record, source_digest, write_json
from ratchet.base.stats import welch_interval
from ratchet.base.structs import Frozen, Struct, field, replace
from ratchet.base.text import one_line
from ratchet.integrity.edit_checks import RESEEDS, edit_faults, only_reseeds
from ratchet.integrity.run_checks import off_budget, run_trace, unlike_baseline
from ratchet.judge.judge import Judge
from ratchet.judge.settings import Settings, scale_from
from ratchet.logs.audit import CREDIBLE, OVERTURNED
from ratchet.logs.experiments import LogExperiments
from ratchet.logs.judging import noise_span
from ratchet.logs.rerun_plan import (
    AUDIT_LEVEL,
    LEAST_SEEDS,
    AuditedCode,
    AuditPlan,
    AuditRun,
    AuditVerdicts,
    Distance,
    HeldChange,
    KeptChange,
    KeptStanding,
    count_standings,
    read_audit_plan,
)
from ratchet.logs.table import LogRow, first_of
from ratchet.records.history import (
    NO_CHANCE_MEASURED,
    NO_SEED_EFFECT,
    SeedEffect,
    seed_effect,
)
from ratchet.records.records import Role
from ratchet.runs.executor import Executor
from ratchet.runs.hardware import describe_hardware
from ratchet.session import Session
from ratchet.steps.judge import broken_constraints

SHOWN_FILES = 3


class Choice(Frozen):
    """Choice of kept changes to run again, and how often; by default all, as the log advises."""

    seeds: int | None = None
    only: Sequence[str] = ()
    top: int | None = None


class Clone(Struct):
    """The commits of a log, as far as the repository has them.

    ``put`` keeps a file's content and gives its digest.
    """

    commits: Commits
    mutable: Sequence[str]
    put: Callable[[bytes], str]
    codes: dict[str, AuditedCode] = field(default_factory=dict)

    def files(self, commit: str) -> tuple[dict[str, str], str]:
        """Mutable files of a commit by digest, and the first that it does not have."""
        found = self.commits.contents(commit, self.mutable)
        missing = next((name for name, content in found.items() if content is None), "")
        kept = {name: self.put(content) for name, content in found.items() if content is not None}
        return kept, missing

    def code(self, files: Mapping[str, str], label: str) -> str:
        """The source of these files; the first that has them gives the code its name."""
        source = source_digest(files)
        self.codes.setdefault(source, AuditedCode(source, files, label))
        return source


def build_audit_plan(
    every: LogExperiments, facts: Mapping[str, Any], sha256: str, clone: Clone, choice: Choice
) -> AuditPlan:
    """The plan of an audit; ``facts`` are the log's own, ``sha256`` its digest.

    Raises :class:`UsageError` for a choice of no kept change.
    """
    by_line = {change["line"]: change for change in facts["changes"]}
    pairs = [
        (every.rows[place], every.rows[before])
        for place, before in every.incumbents.items()
        if every.rows[place].line in by_line
    ]
    chosen = _chosen(pairs, by_line, choice)
    kept = [
        # Runs of each side: as many as the audit asks for, never too few.
        _kept(row, before, clone, choice.seeds or max(by_line[row.line]["seeds"] or 0, LEAST_SEEDS))
        for row, before in pairs
        if row.line in chosen
    ]
    return AuditPlan(
        log_sha256=sha256,
        facts=facts,
        kept=len(pairs),
        codes=tuple(clone.codes.values()),
        changes=tuple(kept),
    )


def _chosen(
    pairs: Sequence[tuple[LogRow, LogRow]], by_line: Mapping[int, Any], choice: Choice
) -> set[int]:
    """Lines of the changes that are to be run again."""
    lines = [row.line for row, _ in pairs]
    if choice.only:
        lines = []
        for asked in choice.only:
            same = [row.line for row, _ in pairs if _is_same(row.commit, asked)]
            if not same:
                known = first_of((one_line(row.commit) or "–" for row, _ in pairs), 12)
                raise UsageError(
                    f"--only: expected commits of kept changes ({known}), found "
                    f"{one_line(asked)!r:.60}"
                )
            lines += same
    if choice.top is not None:
        lines = sorted(lines, key=lambda line: (-by_line[line]["gain"], line))[: choice.top]
    return set(lines)


def _is_same(logged: str, asked: str) -> bool:
    """Whether two abbreviations may be of one commit."""
    one, other = logged.strip().lower(), asked.strip().lower()
    return bool(one) and bool(other) and (one.startswith(other) or other.startswith(one))


def _kept(row: LogRow, before: LogRow, clone: Clone, seeds: int) -> KeptChange:
    """One change with the code of both sides, or why it cannot be run."""

    def unable(why: str) -> KeptChange:
        return KeptChange(row.line, row.commit, row.description, seeds, unable=why)

    child = clone.commits.full(row.commit)
    if child is None:
        named = f"its commit {one_line(row.commit)!r:.44}" if row.commit else "a commit for it"
        return unable(f"{named} is not in the repository")
    files, missing = clone.files(child)
    if missing:
        return unable(f"its commit has no file {missing}")
    parent, notes, line = _parent(before, child, clone)
    if parent is None:
        return unable(
            f"neither the commit of its incumbent (line {before.line}) nor a parent of its own "
            "is in the repository"
        )
    base, missing = clone.files(parent)
    if missing:
        return unable(f"the commit that it is compared with, {parent[:12]}, has no file {missing}")
    if base == files:
        return unable(f"it changes nothing in {', '.join(clone.mutable)}")
    return KeptChange(
        line=row.line,
        commit=row.commit,
        description=row.description,
        seeds=seeds,
        parent=clone.code(base, _label(before if line is not None else None, parent)),
        child=clone.code(files, _label(row, child)),
        parent_line=line,
        parent_commit=parent,
        notes=(*notes, *_left_behind(parent, child, clone)),
    )


def _label(row: LogRow | None, commit: str) -> str:
    return f"commit {commit[:12]}" if row is None else f"line {row.line} {row.description}".strip()


def _parent(before: LogRow, child: str, clone: Clone) -> tuple[str | None, list[str], int | None]:
    """The commit that a change is compared with, what to say of it, and its row."""
    own = clone.commits.parent(child)
    incumbent = clone.commits.full(before.commit)
    if incumbent is None:
        if own is None:
            return None, [], None
        said = (
            f"the commit of its incumbent (line {before.line}) is not in the repository; it is "
            f"compared with its own parent {own[:12]}"
        )
        return own, [said], None
    if own is not None and own != incumbent:
        theirs, held = (clone.commits.contents(c, clone.mutable) for c in (own, incumbent))
        differ = [name for name in clone.mutable if theirs[name] != held[name]]
        if differ:
            said = (
                f"its own parent {own[:12]} has another {', '.join(differ)} than the incumbent "
                f"(line {before.line}), with which it is compared"
            )
            return incumbent, [said], before.line
    return incumbent, [], before.line


def _left_behind(parent: str, child: str, clone: Clone) -> list[str]:
    """Note on other files that differ between the two commits and are not taken from them."""
    changed = clone.commits.changed(parent, child) or []
    others = [one_line(name) for name in changed if name not in clone.mutable]
    if not others:
        return []
    shown = first_of(others, SHOWN_FILES)
    return [f"other files differ too, which are not taken from commits: {shown}"]


def write_audit_run(executor: Executor, turn: int, number: int) -> None:
    """Write one code's run of one turn; a code that would bend the measurement is not run.

    All codes have the same seed in a turn.  A code of which no change has an answer any
    more, since one of its sides failed, is not run again.
    """
    session = executor.session
    wanted = audit_plan_of(session)
    code = next(code for code in wanted.codes if code.number == number)
    found = AuditRun(turn, code.source)
    inspected = edit_faults(session, code.files)
    if not _is_useful(session, wanted, code, turn):
        found = replace(found, skipped="a side of each of its changes has failed")
    elif inspected.refused:
        found = replace(found, refused=inspected.refused, notes=inspected.notes)
        about = {"description": code.label, "reason": inspected.refused}
        session.journal.append("refused", number=0, **about)
    else:
        made = executor.run(code.files, Role.RERUN, turn - 1, number, code.label)
        found = replace(found, run=made, notes=inspected.notes)
    write_json(session.paths.rerun(turn, number), found)


def _is_useful(session: Session, wanted: AuditPlan, code: AuditedCode, turn: int) -> bool:
    """Whether a change that wants this run has had no failure on either side so far."""
    changes = [c for c in wanted.changes if not c.unable and c.seeds >= turn]
    sides = [{c.parent, c.child} for c in changes if code.source in (c.parent, c.child)]
    named = set().union(*sides)
    failed = set()
    for other in wanted.codes:
        paths = (session.paths.rerun(earlier, other.number) for earlier in range(1, turn))
        if other.source in named and not all(read_record(AuditRun, p).succeeded for p in paths):
            failed.add(other.source)
    return any(not side & failed for side in sides)


def audit_plan_of(session: Session) -> AuditPlan:
    """The session's plan; raises :class:`InputMissingError` for one that is no audit."""
    found = read_audit_plan(session.paths)
    if found is None:
        raise InputMissingError(
            f"{session.paths.rerun_plan}: expected what is to be run again, found none; make it: "
            "ratchet audit --results results.tsv --repo CLONE --run"
        )
    return found


def pooled_sd(groups: Iterable[Sequence[float]]) -> tuple[float | None, int]:
    """Sd within groups of runs of one code each, and its degrees of freedom."""
    used = [np.asarray(g, dtype=float) for g in groups if len(g) > 1]
    freedom = sum(g.size - 1 for g in used)
    if not freedom:
        return None, 0
    squares = math.fsum(float(((g - g.mean()) ** 2).sum()) for g in used)
    return math.sqrt(squares / freedom), freedom


def judge_kept_change(
    held: HeldChange,
    parent: Sequence[float],
    child: Sequence[float],
    others: Sequence[Sequence[float]] = (),
) -> HeldChange:
    """Judge a change by fresh runs of both sides, lower is better, as many of each.

    ``others`` are runs of other codes on the same machine: together they tell the
    noise floor, which few runs of two codes hardly do.  The judge meets the change as
    it meets any proposal, with its usual belief about what proposals do; that the log
    kept it counts for nothing.
    """
    found = welch_interval(parent, child, AUDIT_LEVEL)
    if seed_effect([parent, child, *others]) is SeedEffect.NONE:
        reason = f"{NO_SEED_EFFECT}: {NO_CHANCE_MEASURED}"
        standing = KeptStanding.UNDECIDED if found.gain else KeptStanding.FAILS
        return replace(held, standing=standing, reason=reason, gain=found.gain)
    judge = Judge(_settings(parent, others))
    for value in parent:
        judge.incumbent(value)
    assessment = judge.assess(list(child))
    better = assessment.confidence
    unsure = KeptStanding.FAILS if better < OVERTURNED else KeptStanding.UNDECIDED
    return replace(
        held,
        standing=KeptStanding.HOLDS if better >= CREDIBLE else unsure,
        gain=found.gain,
        low=found.low,
        high=found.high,
        given_runs=better,
        expected=assessment.gain,
        noise_sd=assessment.noise_sd,
    )


def _settings(parent: Sequence[float], others: Sequence[Sequence[float]]) -> Settings:
    """The judge's settings, around the noise floor of the other codes' runs."""
    sd, freedom = pooled_sd(others)
    size = max((abs(value) for value in parent), default=0.0)
    if sd is None or sd <= 1e-12 * size:
        return Settings.for_session(scale=scale_from(parent))
    # The judge guesses its scale from values: as many as these degrees of freedom need.
    places = np.arange(freedom + 1, dtype=float)
    values = float(np.mean(parent)) + sd * (places - places.mean()) / places.std(ddof=1)
    left_open = 1 / math.sqrt(2 * freedom)
    settings = Settings.for_session(scale=scale_from(values.tolist()))
    return replace(settings, noise_span=noise_span(left_open), noise_prior_sd=left_open)


def audit_verdicts(session: Session) -> AuditVerdicts:
    """Judge every change of the plan by the runs that were made."""
    return Judging(session, audit_plan_of(session)).verdicts()


class Judging:
    """The runs of one audit, by code and turn, and their metrics, lower being better."""

    def __init__(self, session: Session, plan: AuditPlan) -> None:
        self.session = session
        self.plan = plan
        self.codes = {code.source: code for code in plan.codes}
        self.runs: dict[str, list[AuditRun]] = {source: [] for source in self.codes}
        for turn in range(1, plan.turns + 1):
            for code in plan.wanted(turn):
                made = read_record(AuditRun, session.paths.rerun(turn, code.number))
                self.runs[code.source].append(made)
        self.values = {
            source: [session.value(each.run) for each in found if each.run and each.succeeded]
            for source, found in self.runs.items()
        }

    def verdicts(self) -> AuditVerdicts:
        changes = tuple(self._change(kept) for kept in self.plan.changes)
        sd, freedom = pooled_sd(self.values.values())
        return AuditVerdicts(
            session=self.session.config.session,
            task=self.session.task.name,
            metric=self.session.task.metric.name,
            hardware=describe_hardware(self.session.manifest.hardware),
            kept=self.plan.kept,
            changes=changes,
            counts=count_standings(changes),
            runs=sum(each.run is not None for found in self.runs.values() for each in found),
            noise_sd=sd,
            freedom=freedom,
            whole=self._whole(changes),
        )

    def _change(self, kept: KeptChange) -> HeldChange:
        held = HeldChange(
            line=kept.line,
            commit=kept.commit,
            description=kept.description,
            standing=KeptStanding.NOT_RUN,
            seeds=kept.seeds,
            parent_line=kept.parent_line,
            parent_commit=kept.parent_commit,
            notes=kept.notes,
        )
        if kept.parent is None or kept.child is None:
            return replace(held, reason=kept.unable)
        sides = [self.runs[source][: kept.seeds] for source in (kept.parent, kept.child)]
        parent, child = ([each.run for each in side if each.run is not None] for side in sides)
        notes = dict.fromkeys(note for side in sides for each in side for note in each.notes)
        bound = broken_constraints(self.session, child)
        if bound:
            said = f"it breaks a constraint of the task here ({bound}); no session would keep it"
            notes[said] = None
        held = replace(
            held, parent_runs=tuple(parent), child_runs=tuple(child), notes=(*held.notes, *notes)
        )
        wrong = self._wrong(held, sides) or self._bent(kept.parent, kept.child, held)
        if wrong:
            return replace(held, reason=wrong)
        others = [v for source, v in self.values.items() if source not in (kept.parent, kept.child)]
        before, after = ([self.session.value(run) for run in side] for side in (parent, child))
        return judge_kept_change(held, before, after, others)

    @staticmethod
    def _wrong(held: HeldChange, sides: Sequence[Sequence[AuditRun]]) -> str:
        """Reason why the runs of a change were not made; empty if they were."""
        for name, side in zip(("its incumbent", "it"), sides, strict=True):
            for each in side:
                if each.refused:
                    return f"{name} was not run: {each.refused}"
                if each.run is not None and not each.succeeded:
                    ended = f"{each.run.outcome.value}: {each.run.reason}"
                    return f"{name} failed here with seed {each.run.seed} ({ended})"
        least = min(len(held.parent_runs), len(held.child_runs))
        return "not all of its runs were made" if least < held.seeds else ""

    def _bent(self, parent: str, child: str, held: HeldChange) -> str:
        """Reason why the runs of a change cannot be believed beside its incumbent's; else empty."""
        session, task = self.session, self.session.task
        old, new = (session.texts(self.codes[source].files) for source in (parent, child))
        if only_reseeds(old, new):
            return f"it {RESEEDS}"
        before, after = (
            [
                run_trace(task, run.seed, record)
                for run in runs
                if (record := session.store.lookup(run.key)) is not None
            ]
            for runs in (held.parent_runs, held.child_runs)
        )
        wrong = unlike_baseline(before, after, task.plausible)
        if wrong is not None:
            return f"its runs are tampered with: {wrong}"
        over = off_budget(before, after, task.plausible, session.budget["seconds"])
        return "" if over is None else f"its runs are off budget: {over}"

    def _whole(self, changes: Sequence[HeldChange]) -> Distance | None:
        """From the first incumbent to the last kept code that runs, where all were asked for."""
        able = [
            (kept, held)
            for kept, held in zip(self.plan.changes, changes, strict=True)
            if held.standing is not KeptStanding.NOT_RUN
        ]
        if len(changes) < self.plan.kept or not able or able[0][0] is not self.plan.changes[0]:
            return None
        first, last = able[0][0].parent, able[-1][0].child
        assert first is not None and last is not None
        if first == last:
            return None
        found = welch_interval(self.values[first], self.values[last], AUDIT_LEVEL)
        start, end = able[0][0].parent_line, able[-1][0].line
        return Distance(found.gain, found.low, found.high, start, end)
