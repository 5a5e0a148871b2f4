"""What all the runs of an audit say of the changes that were kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratchet import files, hardware
from ratchet.codec import replace
from ratchet.confirmation import compare
from ratchet.holding import judged, pooled
from ratchet.integrity import unlike
from ratchet.records import Outcome, RunSummary
from ratchet.reruns import (
    LEVEL,
    Code,
    Distance,
    Held,
    Kept,
    Rerun,
    RerunPlan,
    Standing,
    Verdicts,
    counted,
)
from ratchet.session import Session
from ratchet.stages.inspection import RESEEDS, reseeds
from ratchet.stages.memory import broken
from ratchet.stages.rerun import plan
from ratchet.stages.scrutiny import trace


def verdicts(session: Session) -> Verdicts:
    """Judge every change of the plan by the runs that were made."""
    return Judging(session, plan(session)).verdicts()


class Judging:
    """The runs of one audit, by code and turn."""

    def __init__(self, session: Session, plan: RerunPlan) -> None:
        self.session = session
        self.plan = plan
        self.codes: Mapping[str, Code] = {code.source: code for code in plan.codes}
        self.runs = {code.source: self._runs(code) for code in plan.codes}
        self.values = {
            source: [session.value(run) for run in runs if run.outcome is Outcome.OK]
            for source, runs in (
                (source, [r.run for r in found if r.run is not None])
                for source, found in self.runs.items()
            )
        }

    def _runs(self, code: Code) -> list[Rerun]:
        turns = [t for t in range(1, self.plan.turns + 1) if code in self.plan.wanted(t)]
        return [files.read_record(Rerun, self.session.paths.rerun(t, code.number)) for t in turns]

    def verdicts(self) -> Verdicts:
        changes = tuple(self._change(kept) for kept in self.plan.changes)
        sd, freedom = pooled(self.values.values())
        return Verdicts(
            session=self.session.config.session,
            task=self.session.task.name,
            metric=self.session.task.metric.name,
            hardware=hardware.describe(dict(self.session.manifest.hardware)),
            kept=self.plan.kept,
            changes=changes,
            counts=counted(changes),
            runs=sum(each.run is not None for found in self.runs.values() for each in found),
            noise_sd=sd,
            freedom=freedom,
            whole=self._whole(changes),
        )

    def _change(self, kept: Kept) -> Held:
        held = Held(
            line=kept.line,
            commit=kept.commit,
            description=kept.description,
            standing=Standing.NOT_RUN,
            seeds=kept.seeds,
            parent_line=kept.parent_line,
            parent_commit=kept.parent_commit,
            notes=kept.notes,
        )
        if kept.parent is None or kept.child is None:
            return replace(held, reason=kept.unable)
        sides = [self.runs[source][: kept.seeds] for source in (kept.parent, kept.child)]
        notes = {note: None for side in sides for each in side for note in each.notes}
        parent, child = ([r.run for r in side if r.run is not None] for side in sides)
        held = replace(
            held,
            parent_runs=tuple(parent),
            child_runs=tuple(child),
            notes=(*held.notes, *notes),
        )
        bound = broken(self.session, child)
        if bound:
            said = f"it breaks a constraint of the task here ({bound}); no session would keep it"
            held = replace(held, notes=(*held.notes, said))
        wrong = self._wrong(kept, sides, parent, child)
        if wrong:
            return replace(held, reason=wrong)
        others = [
            found
            for source, found in self.values.items()
            if source not in (kept.parent, kept.child)
        ]
        value = self.session.value
        return judged(held, [value(r) for r in parent], [value(r) for r in child], others)

    def _wrong(
        self,
        kept: Kept,
        sides: Sequence[Sequence[Rerun]],
        parent: Sequence[RunSummary],
        child: Sequence[RunSummary],
    ) -> str:
        """Why the runs of a change say nothing of it; empty if they do."""
        for name, side in zip(("its incumbent", "it"), sides, strict=True):
            for each in side:
                if each.refused:
                    return f"{name} was not run: {each.refused}"
                if each.run is not None and each.run.outcome is not Outcome.OK:
                    ended = f"{each.run.outcome.value}: {each.run.reason}"
                    return f"{name} failed here with seed {each.run.seed} ({ended})"
        if len(parent) < kept.seeds or len(child) < kept.seeds:
            return "not all of its runs were made"
        assert kept.parent is not None and kept.child is not None
        before, after = self.codes[kept.parent].files, self.codes[kept.child].files
        if reseeds(self.session, before, after):
            return f"it {RESEEDS}"
        return self._unlike(parent, child)

    def _unlike(self, parent: Sequence[RunSummary], child: Sequence[RunSummary]) -> str:
        """What shows that the runs of a change cannot be believed, beside its incumbent's."""
        task = self.session.task
        traces = []
        for runs in (parent, child):
            found = [(run, self.session.store.lookup(run.key)) for run in runs]
            traces.append([trace(task, run.seed, kept) for run, kept in found if kept is not None])
        seconds = self.session.budget["seconds"]
        wrong = unlike(traces[0], traces[1], task.plausible, seconds)
        return "" if wrong is None else f"its runs are tampered with: {wrong}"

    def _whole(self, changes: Sequence[Held]) -> Distance | None:
        """From the first incumbent to the last kept code that runs, where all were asked for."""
        able = [
            (kept, held)
            for kept, held in zip(self.plan.changes, changes, strict=True)
            if held.standing is not Standing.NOT_RUN
        ]
        if len(changes) < self.plan.kept or not able or able[0][0] is not self.plan.changes[0]:
            return None
        first, last = able[0][0].parent, able[-1][0].child
        assert first is not None and last is not None
        if first == last:
            return None
        found = compare(self.values[first], self.values[last], LEVEL)
        return Distance(
            found.gain,
            found.low,
            found.high,
            able[0][0].parent_line,
            able[-1][0].line,
        )
