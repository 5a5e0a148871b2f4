"""Checks of a candidate's runs: can they be believed, beside those of the baseline?

What is allowed to a single run leaves room, since machines differ.  The runs of one
session share the machine, so they can be held to each other more closely.  A run's
record depends on that run alone; what a comparison of runs shows is decided here,
from records in the store, so that a replay decides the same.
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

WHOLE = 1e-9
"""A metric that is a count divided by the number of predictions, to this part of the
count, is coarse: two runs may well agree."""

NOISE_MULTIPLE = 20.0
"""A jump of so many noise sds is no luck, so it is an idea, a mistake or a trick."""

SEEN_MULTIPLE = 3.0
"""... and implausible if nothing tried so far moved the metric a third as far."""

AGREEMENT = 6.0
"""Noise sds by which a fresh run may differ from the first and still confirm it;
the difference of two runs has a sd of 1.4."""


class RunTrace(Frozen):
    """Comparable values of one run; ``None`` for what is not known.

    ``value`` is the evaluator's metric at full precision over ``count``
    predictions, ``seconds`` what was used until it was asked for, ``tokens`` and
    ``printed_mb`` are the run's own words, ``measured_mb`` is the harness's.
    """

    seed: int
    value: float | None = None
    count: int = 0
    seconds: float | None = None
    tokens: float | None = None
    printed_mb: float | None = None
    measured_mb: float | None = None


class Scrutiny:
    """Comparison of one session's runs with its baseline, which must be there.

    ``others`` are further runs of the baseline; ``seed_matters`` says whether some code
    of the session is known to measure differently with different seeds.
    """

    def __init__(
        self, session: Session, others: Sequence[RunSummary] = (), seed_matters: bool = False
    ) -> None:
        self.session = session
        self._others = others
        self._seed_matters = seed_matters
        self._traces: dict[str, RunTrace] = {}

    def wrong(self, runs: Sequence[RunSummary]) -> str | None:
        """Reason not to believe the runs of one candidate; ``None`` if there is none."""
        traces = [self._trace(run) for run in runs if run.outcome is Outcome.OK]
        seconds = self.session.budget["seconds"]
        limits = self.session.task.plausible
        wrong = unlike_baseline(self._baseline, traces, limits, seconds, self._seed_matters)
        return wrong or leaking(self._baseline_evaluations, self._evaluations(runs))

    @cached_property
    def _baseline_evaluations(self) -> list[Evaluation]:
        baseline = read_record(Baseline, self.session.paths.baseline)
        return self._evaluations([*baseline.runs, *self._others])

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
        if run.slowed:
            yield f"busy machine: slowed each time, the last run counts all the same: {run.slowed}"
        record = self.session.store.lookup(run.key) if self.session.task.limits else None
        for name in record.unenforced if record is not None else ():
            yield f"limits: {name} could not be enforced, for want of a control group"

    @cached_property
    def _baseline(self) -> list[RunTrace]:
        baseline = read_record(Baseline, self.session.paths.baseline)
        return [self._trace(run) for run in (*baseline.runs, *self._others)]

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
    seconds = None
    if served is not None:
        on_gpu = task.device == "gpu"
        seconds = served.trained_wall_seconds if on_gpu else served.trained_cpu_seconds
    named = limits.tokens if limits is not None else None
    return RunTrace(
        seed=seed,
        value=served.value if served else None,
        count=served.tokens if served else 0,
        seconds=seconds,
        tokens=record.metrics.get(named) if named else None,
        printed_mb=task.memory_mb(record.metrics),
        measured_mb=record.peak_memory_mb,
    )


def unlike_baseline(
    baseline: Sequence[RunTrace],
    runs: Sequence[RunTrace],
    limits: Plausible | None,
    budget_seconds: float | None,
    seed_matters: bool = False,
) -> str | None:
    """Difference that sets a candidate's runs apart from the baseline's; ``None`` if there is none.

    ``budget_seconds`` is ``None`` with a budget in steps, whose seconds follow
    the model.
    """
    if limits is not None:
        for run in runs:
            reason = _longer(baseline, run, limits, budget_seconds) or _less(baseline, run, limits)
            if reason:
                return reason
    return _seedless(baseline, runs, seed_matters)


def _longer(
    baseline: Sequence[RunTrace], run: RunTrace, limits: Plausible, budget: float | None
) -> str | None:
    usual = _median([other.seconds for other in baseline])
    if limits.excess_seconds is None or budget is None or usual is None or run.seconds is None:
        return None
    most = usual + limits.excess_fraction * budget + limits.excess_seconds
    if run.seconds <= most:
        return None
    return (
        f"used {run.seconds:.3g} s until its evaluation, the baseline's runs {usual:.3g} s; "
        f"at most {most:.3g} s are plausible"
    )


def _less(baseline: Sequence[RunTrace], run: RunTrace, limits: Plausible) -> str | None:
    usual = _median([other.tokens for other in baseline])
    if limits.tokens is None or usual is None:
        return None
    if run.tokens is None:
        return f"did not print {limits.tokens}, as the baseline does"
    if run.tokens >= limits.min_tokens * usual:
        return None
    return (
        f"printed {limits.tokens} {run.tokens:.4g}, the baseline {usual:.4g}; "
        f"expected at least {limits.min_tokens:g} times that"
    )


def _seedless(
    baseline: Sequence[RunTrace], runs: Sequence[RunTrace], seed_matters: bool
) -> str | None:
    """Two seeds and one result, where the seeds of other code make a difference."""
    if not seed_matters and (_twins(baseline) is not None or len(baseline) < 2):
        return None
    twins = _twins(runs)
    if twins is None:
        return None
    seeds = " and ".join(str(run.seed) for run in twins)
    return f"measured the same to the last digit with the seeds {seeds}: it draws no lots"


def _twins(runs: Sequence[RunTrace]) -> tuple[RunTrace, RunTrace] | None:
    """Two runs with different seeds and exactly one metric."""
    seen: dict[float, RunTrace] = {}
    for run in runs:
        if run.value is None or _is_coarse(run.value, run.count):
            continue
        other = seen.setdefault(run.value, run)
        if other.seed != run.seed:
            return other, run
    return None


def _is_coarse(value: float, count: int) -> bool:
    counted = value * count
    return abs(counted - round(counted)) < WHOLE * max(1.0, abs(counted))


def charged_mb(baseline: Sequence[RunTrace], run: RunTrace) -> float | None:
    """Memory in MiB that a run answers for: what it printed, unless it was far more.

    What was measured is compared with the baseline's, which printed and measured
    alike; only what exceeds the slack is added, so that whoever prints the truth
    is charged what he printed.
    """
    usual = _median([other.measured_mb for other in baseline])
    said = _median([other.printed_mb for other in baseline])
    if run.printed_mb is None or run.measured_mb is None or usual is None or said is None:
        return run.printed_mb
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
