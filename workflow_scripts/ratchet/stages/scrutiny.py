"""A candidate's stored runs beside the baseline's.

A run's record depends on that run alone.  What a comparison of runs shows is
decided here, from records in the store, so that a replay decides the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from ratchet import files
from ratchet.codec import replace
from ratchet.integrity import Trace, charged_mb, unlike
from ratchet.records import Baseline, Outcome, RunSummary
from ratchet.session import Session
from ratchet.stages.ruling import Case
from ratchet.store import RunRecord
from ratchet.task import Task


class Scrutiny:
    """Looks at runs of one session; its baseline must be there."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._traces: dict[str, Trace] = {}

    def wrong(self, runs: Sequence[RunSummary]) -> str | None:
        """Why the runs of one candidate cannot be believed; ``None`` if they can."""
        traces = [self._trace(run) for run in runs if run.outcome is Outcome.OK]
        seconds = self.session.budget["seconds"]
        return unlike(self._baseline, traces, self.session.task.plausible, seconds)

    def examine(self, case: Case) -> None:
        """Look at what a case has been given: settle its memory, and whether it is believed."""
        case.runs = [self.charged(run) for run in case.runs]
        remarks = {remark for run in case.runs for remark in self.remarks(run)}
        case.notes = (*case.notes, *sorted(remarks - set(case.notes)))
        case.suspect = self.wrong(case.runs) or ""

    def charged(self, run: RunSummary) -> RunSummary:
        """The run with the memory that it answers for."""
        if run.outcome is not Outcome.OK:
            return run
        memory = charged_mb(self._baseline, self._trace(run))
        if memory is None or memory == run.memory_mb:
            return run
        return replace(run, memory_mb=round(memory, 1))

    def remarks(self, run: RunSummary) -> Iterator[str]:
        """What to say of a run: more memory than it printed, limits without effect."""
        said = self._trace(run).printed_mb if run.outcome is Outcome.OK else None
        if said is not None and run.memory_mb is not None and run.memory_mb > said:
            yield (
                f"memory: it printed {said:.4g} MiB, but needed more beside the baseline than "
                f"that explains; charged as {run.memory_mb:.4g} MiB"
            )
        record = self.session.store.lookup(run.key) if self.session.task.limits else None
        for name in record.unenforced if record is not None else ():
            yield f"limits: {name} could not be enforced, for want of a control group"

    @cached_property
    def _baseline(self) -> list[Trace]:
        found = files.read_record(Baseline, self.session.paths.baseline)
        return [self._trace(run) for run in found.runs]

    def _trace(self, run: RunSummary) -> Trace:
        if run.key not in self._traces:
            self._traces[run.key] = self._read(run)
        return self._traces[run.key]

    def _read(self, run: RunSummary) -> Trace:
        record = self.session.store.lookup(run.key)
        # Next to nothing can be said of a run that was lost.
        return Trace(run.seed) if record is None else trace(self.session.task, run.seed, record)


def trace(task: Task, seed: int, record: RunRecord) -> Trace:
    """What is compared of a stored run."""
    found, limits = record.evaluation, task.plausible
    seconds = None
    if found is not None:
        on_gpu = task.device == "gpu"
        seconds = found.trained_wall_seconds if on_gpu else found.trained_cpu_seconds
    named = limits.tokens if limits is not None else None
    return Trace(
        seed=seed,
        value=found.value if found else None,
        count=found.tokens if found else 0,
        seconds=seconds,
        tokens=record.metrics.get(named) if named else None,
        printed_mb=task.memory_mb(record.metrics),
        measured_mb=record.peak_memory_mb,
    )
