"""Checks of a candidate's runs: can they be believed, beside those of the baseline?

Machines differ, so nothing that a run may use is a constant: the runs of one session
share the machine, and are held to each other.  A run's record depends on that run alone;
what a comparison of runs shows is decided here, from records in the store, so that a
replay decides the same.
"""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from ratchet.base.io import read_record
from ratchet.base.structs import Frozen, replace
from ratchet.integrity.leaks import leaking
from ratchet.records.records import Baseline, Evaluation, Outcome, RunSummary
from ratchet.records.store import RunRecord
from ratchet.session import Session
from ratchet.task.task import Plausible, Task

MEMORY_SLACK_MB = 32.0
"""Measured memory counts the interpreter and what was freed but not given back; two
versions of a program differ by less than this for reasons that nobody chose."""

MEMORY_SLACK = 0.1
"""... or by so much of what is measured."""

NOISE_MULTIPLE = 20.0
"""A jump of so many noise sds is no luck, so it is an idea, a mistake or a trick."""

SEEN_MULTIPLE = 3.0
"""... and implausible if nothing tried so far moved the metric a third as far."""

AGREEMENT = 6.0
"""Noise sds by which a fresh run may differ from the first and still confirm it;
the difference of two runs has a sd of 1.4."""


class RunTrace(Frozen):
    """Comparable values of one run; ``None`` for what is not known.

    ``trained`` is what was used until the evaluation was asked for, in the seconds of the
    budget, ``evaluating`` what was used from then to the last reply.  A confirmation asks
    about more data than the search: ``share`` is the part of its questions that the search
    asks too.  ``tokens`` and ``printed_mb`` are the run's own words, ``measured_mb`` is the
    harness's, and so is whether it was given a compile ``cache``.
    """

    seed: int
    trained: float | None = None
    evaluating: float = 0.0
    share: float = 1.0
    tokens: float | None = None
    printed_mb: float | None = None
    measured_mb: float | None = None
    cache: bool = False

    @property
    def used(self) -> float | None:
        """Seconds from the start to the last reply, for as many questions as the search asks."""
        return None if self.trained is None else self.trained + self.share * self.evaluating


class Scrutiny:
    """Comparison of one session's runs with its baseline, which must be there.

    ``others`` are further runs of the baseline; ``alone`` where they are the only ones at the
    scale that is looked at.
    """

    def __init__(
        self, session: Session, others: Sequence[RunSummary] = (), alone: bool = False
    ) -> None:
        self.session = session
        self._others = others
        self._alone = alone
        self._traces: dict[str, RunTrace] = {}

    def wrong(self, runs: Sequence[RunSummary]) -> str | None:
        """Reason not to believe the runs of one candidate; ``None`` if there is none."""
        wrong = unlike_baseline(self._baseline, self._known(runs), self.session.task.plausible)
        return wrong or leaking(self._baseline_evaluations, self._evaluations(runs))

    def off_budget(self, runs: Sequence[RunSummary]) -> str | None:
        """How the runs of one candidate kept to their budget; ``None`` where they did."""
        limits, seconds = self.session.task.plausible, self.session.budget["seconds"]
        return off_budget(self._baseline, self._known(runs), limits, seconds)

    def _known(self, runs: Sequence[RunSummary]) -> list[RunTrace]:
        return [self._trace(run) for run in runs if run.outcome is Outcome.OK]

    @cached_property
    def _baseline_evaluations(self) -> list[Evaluation]:
        return self._evaluations(self._baseline_runs)

    @cached_property
    def _baseline_runs(self) -> Sequence[RunSummary]:
        if self._alone:
            return self._others
        return (*read_record(Baseline, self.session.paths.baseline).runs, *self._others)

    def _evaluations(self, runs: Iterable[RunSummary]) -> list[Evaluation]:
        known = [self.session.store.lookup(r.key) for r in runs if r.outcome is Outcome.OK]
        return [record.evaluation for record in known if record and record.evaluation]

    def charged(self, run: RunSummary) -> RunSummary:
        """The run with the memory that it is charged for."""
        if run.outcome is not Outcome.OK:
            return run
        memory = charged_mb(self._baseline, self._trace(run))
        if memory is None or memory == run.memory_mb:
            return run
        return replace(run, memory_mb=round(memory, 1))

    def remarks(self, run: RunSummary) -> Iterator[str]:
        """Remarks on a run: more memory than it printed, a busy machine, limits without effect."""
        said = self._trace(run).printed_mb if run.outcome is Outcome.OK else None
        if said is not None and run.memory_mb is not None and run.memory_mb > said:
            yield (
                f"memory: it printed {said:.4g} MiB, but needed more beside the baseline than "
                f"that explains; charged as {run.memory_mb:.4g} MiB"
            )
        if said is None and run.memory_mb is not None and self.session.task.memory_name:
            yield (
                f"memory: it printed none; charged as {run.memory_mb:.4g} MiB, by what it needed "
                "beside the baseline"
            )
        if run.slowed:
            yield f"busy machine: slowed each time, the last run counts all the same: {run.slowed}"
        record = self.session.store.lookup(run.key)
        if record is None:
            return
        for text in record.impossible:
            yield f"it printed {text}, which cannot be; taken as not printed"
        for text in record.earlier_tries:
            yield f"tried twice with the seed {run.seed}: the first was {text}"
        for name in record.unenforced if self.session.task.limits else ():
            yield f"limits: {name} could not be enforced, for want of a control group"

    @cached_property
    def _baseline(self) -> list[RunTrace]:
        return [self._trace(run) for run in self._baseline_runs]

    def _trace(self, run: RunSummary) -> RunTrace:
        if run.key not in self._traces:
            record = self.session.store.lookup(run.key)
            # Next to nothing is known of a run that was lost.
            self._traces[run.key] = (
                run_trace(self.session.task, run.seed, record) if record else RunTrace(run.seed)
            )
        return self._traces[run.key]


def run_trace(task: Task, seed: int, record: RunRecord) -> RunTrace:
    """The comparable values of a stored run."""
    served, limits = record.evaluation, task.plausible
    trace = RunTrace(
        seed,
        tokens=record.metrics.get(limits.tokens) if limits and limits.tokens else None,
        printed_mb=task.memory_mb(record.metrics),
        measured_mb=record.peak_memory_mb,
        cache=bool(record.compile_cache),
    )
    if served is None:
        return trace
    on_gpu = task.device == "gpu"
    return replace(
        trace,
        trained=served.trained_wall_seconds if on_gpu else served.trained_cpu_seconds,
        evaluating=served.seconds if on_gpu else served.evaluating_cpu_seconds,
        share=served.share_of_search,
    )


def off_budget(
    baseline: Sequence[RunTrace],
    runs: Sequence[RunTrace],
    limits: Plausible | None,
    budget_seconds: float | None,
) -> str | None:
    """How a run used more than the baseline's, or too little; ``None`` where all kept to it.

    One sum is bounded: from the start to the last reply.  Where in it a candidate learns
    does not matter then, and a dear evaluation is no reason to accuse anybody: it costs
    training time.  ``budget_seconds`` is ``None`` with a budget in steps, whose seconds
    follow the model.  Compiling counts, so a run that had a compile cache is held to those of
    the baseline's that had one too, or if there is none to all, which had to compile; and one
    without to those without.
    """
    if limits is None or budget_seconds is None:
        return None
    for run in runs:
        alike = [other for other in baseline if other.cache == run.cache]
        usual = _median([other.used for other in alike or (baseline if run.cache else ())])
        if run.trained is None or run.used is None or usual is None:
            continue
        most = usual + limits.tolerance * max(usual, budget_seconds)
        if run.trained < limits.min_fraction * budget_seconds:
            return f"trained {run.trained:.2g} of {budget_seconds:g} s"
        if run.used > most:
            asked = run.share * run.evaluating
            return (
                f"used {run.used:.3g} s from its start to its last reply, {asked:.2g} s of them "
                f"in its evaluation, and the baseline's runs {usual:.3g} s; {most:.3g} s are "
                f"allowed: train {run.used - most:.2g} s less, or predict at less cost"
            )
    return None


def unlike_baseline(
    baseline: Sequence[RunTrace], runs: Sequence[RunTrace], limits: Plausible | None
) -> str | None:
    """What a candidate's runs printed that cannot be believed; ``None`` if there is nothing."""
    usual = _median([other.tokens for other in baseline])
    if limits is None or limits.tokens is None or usual is None:
        return None
    for run in runs:
        if run.tokens is None:
            return f"did not print {limits.tokens}, as the baseline does"
        if run.tokens < limits.min_tokens * usual:
            return (
                f"printed {limits.tokens} {run.tokens:.4g}, the baseline {usual:.4g}; "
                f"expected at least {limits.min_tokens:g} times that"
            )
    return None


def charged_mb(baseline: Sequence[RunTrace], run: RunTrace) -> float | None:
    """Memory in MiB that a run answers for: what it printed, unless it was far more.

    What was measured is compared with the baseline's, which printed and measured
    alike; only what exceeds the slack is added, so that whoever prints the truth
    is charged what he printed.  One that printed none is charged for all that was measured.
    """
    usual = _median([other.measured_mb for other in baseline])
    said = _median([other.printed_mb for other in baseline])
    if run.measured_mb is None or usual is None or said is None:
        return run.printed_mb
    if run.printed_mb is None:
        return max(said, said + run.measured_mb - usual)
    slack = max(MEMORY_SLACK_MB, MEMORY_SLACK * usual)
    return max(run.printed_mb, said + run.measured_mb - usual - slack)


def is_implausible_jump(improvement: float, noise_sd: float, seen: Iterable[float]) -> bool:
    """Whether an improvement must wait for a fresh run to confirm it.

    ``improvement`` is positive when better, ``seen`` are the differences that
    earlier experiments made, of either sign; all in the metric's unit.
    """
    largest = max((abs(difference) for difference in seen), default=0.0)
    return improvement > max(NOISE_MULTIPLE * noise_sd, SEEN_MULTIPLE * largest)


def confirms_jump(first: float, fresh: float, noise_sd: float, improvement: float) -> bool:
    """Whether a fresh run shows the jump too: close to the first run, or most of it.

    A change so large may well have a noise of its own, hence the second way.
    """
    difference = abs(fresh - first)
    return difference <= max(AGREEMENT * noise_sd, 0.25 * abs(improvement))


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
