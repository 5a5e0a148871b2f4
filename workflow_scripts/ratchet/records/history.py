"""The history of a session: its trials in order, and what was believed after each round.

A session keeps its records in one folder for each round.  :meth:`History.read` reads
them once; everything else here is computed from what was read.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cached_property

from ratchet.base.io import digest, read_record
from ratchet.base.structs import Frozen, replace, to_json_values
from ratchet.records.paths import SessionPaths
from ratchet.records.proposals import POINT, Proposal, Proposals
from ratchet.records.records import (
    Baseline,
    Certification,
    Confirmation,
    Contribution,
    Outcome,
    RoundVerdict,
    Ruling,
    RunSummary,
    SessionState,
    Status,
    Transfer,
    Verdict,
    incumbent_runs,
    mean_memory,
)

BASELINE = "BASELINE"
"""What stands for a verdict beside the unchanged code."""


class SeedEffect(enum.StrEnum):
    """Whether other seeds change the metric of one code, as far as runs have shown."""

    UNKNOWN = "unknown"
    NONE = "none"
    SHOWN = "shown"


NO_SEED_EFFECT = "the seed has no effect here"
NO_CHANCE_MEASURED = "every seed gives the same number, so chance in the metric is not measured"
NOISE_UNKNOWN = "noise unknown, taken from the metric's magnitude"
SATURATED = "saturated: every value is the same, so the metric tells nothing apart"
SEED_IGNORED = "it ignores the seed: its runs are repetitions, not evidence"
SEED_HINT = "`seed: hook` in task.yaml may help"

LATER = f"judged as if seeds had an effect; later runs showed: {NO_SEED_EFFECT}, {NOISE_UNKNOWN}"

COARSE_LEVELS = 10_000
"""A metric of so few levels, as an accuracy over so many items or one of four decimals,
repeats by accident: with noise of three levels a pair in ten is equal, and two pairs or a
triple in a hundred.  A finer one hardly ever does."""

COARSE_REPEATS = 2
"""Runs that repeat one before of their code, to show no effect of the seed on such a
metric; of a finer one a single run does."""

ROUNDING = 1e-8
"""Relative difference below which two values are one: the order in which an evaluator asks,
which differs between seeds, changed the mean of 32,768 single-precision losses by 1e-9."""


def seed_effect(groups: Iterable[Sequence[float]]) -> SeedEffect:
    """Effect of the seed by the metric of runs of one code each, with different seeds.

    A single pair that differs, in any group, shows one; equal values beside it are
    accidents.  Without such a pair a run that repeats one before, up to :data:`ROUNDING`,
    shows that there is none, or :data:`COARSE_REPEATS` of a metric with at most
    :data:`COARSE_LEVELS` levels between two whole numbers.
    """
    repeats = coarse = 0
    for values in filter(None, groups):
        if any(not math.isclose(value, values[0], rel_tol=ROUNDING) for value in values):
            return SeedEffect.SHOWN
        again = len(values) - 1
        coarse += again
        repeats += 0 if is_coarse(values[0]) else again
    return SeedEffect.NONE if repeats or coarse >= COARSE_REPEATS else SeedEffect.UNKNOWN


def evidence(values: Sequence[float]) -> Sequence[float]:
    """Runs of one code as a judge is fed them: equal ones are no evidence of little noise."""
    return values if seed_effect([values]) is SeedEffect.SHOWN else values[:1]


def is_coarse(value: float) -> bool:
    """Whether a value may be one of few levels, which repeat by accident."""
    near = Fraction(value).limit_denominator(COARSE_LEVELS)
    return abs(float(near) - value) <= 1e-12 * abs(value)


class Trial(Frozen):
    """One proposal with its runs, the ruling on it, and whether it became the incumbent.

    Number 0 is the unchanged code: it has runs, is the first incumbent, and was neither
    judged nor kept.  ``ruling`` is ``None`` for it and for a proposal that was not judged yet.
    ``retried_as`` is the number of the trial in which a near miss was tried again.
    """

    proposal: Proposal
    runs: tuple[RunSummary, ...] = ()
    ruling: Ruling | None = None
    kept: bool = False
    retried_as: int | None = None

    @property
    def number(self) -> int:
        return self.proposal.number

    @property
    def round(self) -> int:
        return self.proposal.round

    @property
    def category(self) -> str:
        return self.proposal.category

    @property
    def description(self) -> str:
        return self.proposal.description

    @property
    def commit(self) -> str:
        return self.proposal.commit

    @property
    def files(self) -> Mapping[str, str]:
        """Digest of each mutable file, by name."""
        return self.proposal.files

    @property
    def edit(self) -> str | None:
        """Name of the edit, if it is a declared one or sets a single constant."""
        return None if self.proposal.edit is None else self.proposal.edit.label

    @property
    def sets_several(self) -> bool:
        """Whether it sets several constants at once."""
        return self.proposal.edit is not None and self.proposal.edit.kind == POINT

    @property
    def verdict(self) -> Verdict | None:
        return None if self.ruling is None else self.ruling.verdict

    @property
    def word(self) -> str:
        """The verdict, or BASELINE for the unchanged code; empty if not judged yet."""
        if self.ruling is None:
            return "" if self.number else BASELINE
        return self.ruling.verdict.value

    @property
    def status(self) -> Status | None:
        """The word of ``results.tsv``; the baseline is a keep there."""
        if self.ruling is None:
            return None if self.number else Status.KEEP
        return self.ruling.verdict.status

    @property
    def failed(self) -> bool:
        """Whether it was judged without a metric."""
        return self.ruling is not None and self.ruling.mean is None

    @property
    def mean(self) -> float | None:
        """Mean metric of its runs, in the metric's own unit and direction."""
        if self.ruling is not None:
            return self.ruling.mean
        return sum(self.values) / len(self.values) if self.values else None

    @property
    def values(self) -> list[float]:
        """The metric of every run that has one."""
        return [run.value for run in self.runs if run.value is not None]

    @property
    def delta(self) -> float | None:
        """Mean minus the incumbent of its round, in the metric's own direction."""
        return None if self.ruling is None else self.ruling.delta

    @property
    def gain(self) -> float | None:
        """Expected true improvement; positive is better, whatever the direction."""
        return None if self.ruling is None else self.ruling.gain

    @property
    def confidence(self) -> float | None:
        """Probability that decided: of an improvement beyond its price."""
        return None if self.ruling is None else self.ruling.confidence

    @property
    def memory_mb(self) -> float | None:
        return mean_memory(self.runs) if self.ruling is None else self.ruling.memory_mb

    @property
    def telling_run(self) -> RunSummary | None:
        """The first run that failed, or else the last one."""
        failed = (run for run in self.runs if run.outcome is not Outcome.OK)
        return next(failed, self.runs[-1] if self.runs else None)

    @property
    def diverged(self) -> str:
        """Where the training loss of a trial that was not kept went astray; empty if it did not.

        A run that diverged and told nothing of where says at least how it ended.
        """
        if self.kept:
            return ""
        lost = (r for r in self.runs if r.diverged or r.outcome is Outcome.DIVERGED)
        return next((run.diverged or run.reason for run in lost), "")

    @property
    def title(self) -> str:
        """The description; that of a trial that diverged says so."""
        return f"{self.description} ({Outcome.DIVERGED})" if self.diverged else self.description

    @property
    def failure(self) -> str:
        """Why a trial without a metric has none: how its run ended, and in which words."""
        run = self.telling_run
        if run is None or run.outcome is Outcome.OK:
            return "" if self.ruling is None else self.ruling.reason
        return f"{run.outcome.value}: {run.reason}"


class History(Frozen, dict=True):
    """Records of a session up to a round.

    ``proposals`` and ``verdicts`` are those of round 1 and on, in order.  ``states``
    begin with round 0; that of the last round is missing while it is being written.
    ``confirmation`` is ``None`` while the session runs, as are ``certification`` and
    ``transfer``, which not every session has.
    """

    baseline: Baseline
    proposals: tuple[Proposals, ...] = ()
    verdicts: tuple[RoundVerdict, ...] = ()
    states: tuple[SessionState, ...] = ()
    confirmation: Confirmation | None = None
    certification: Certification | None = None
    transfer: Transfer | None = None

    @classmethod
    def read(cls, paths: SessionPaths, last: int | None = None, confirmed: bool = True) -> History:
        """Read rounds 1 to ``last``, by default all that were judged and steered.

        Steps of a session under way leave out its confirmation (``confirmed`` false): that
        may be an earlier end's.  Rounds after a session's end repeat the records of the one
        that ended it, and are left out.  Raises :class:`ratchet.base.errors.InputMissingError`
        without a baseline, or if one of the rounds up to ``last`` was not judged; the last
        need not be steered.
        """
        proposals: list[Proposals] = []
        verdicts: list[RoundVerdict] = []
        states: list[SessionState] = []
        last = finished_rounds(paths) if last is None else last
        for number in range(last + 1):
            here = paths.round(number)
            if number:
                made = read_record(Proposals, here.proposals)
                ruled = read_record(RoundVerdict, here.verdict)
                if not made.round == ruled.round == number:
                    break
                proposals.append(made)
                verdicts.append(ruled)
            if number < last or here.steer.is_file():
                states.append(read_record(SessionState, here.steer))
        confirmation = certification = transfer = None
        if confirmed and paths.confirmation.is_file():
            confirmation = read_record(Confirmation, paths.confirmation)
            if confirmation.contributions:
                certification = read_record(Certification, paths.certification)
            if paths.transfer.is_file():
                transfer = read_record(Transfer, paths.transfer)
                # That of another champion tells nothing of this one.
                if transfer.confirmation != digest(to_json_values(confirmation)):
                    transfer = None
        baseline = read_record(Baseline, paths.baseline)
        return cls(
            baseline,
            tuple(proposals),
            tuple(verdicts),
            tuple(states),
            confirmation,
            certification,
            transfer,
        )

    @property
    def is_measured(self) -> bool:
        """Whether the baseline was measured; agents are asked while it trains, too."""
        return bool(self.start.values)

    @property
    def last(self) -> int:
        """Number of the last round that is here; 0 before the first one."""
        return len(self.verdicts)

    @cached_property
    def start(self) -> Trial:
        """The unchanged code, as trial 0."""
        base = self.baseline
        unchanged = Proposal(
            number=0,
            round=0,
            candidate=0,
            source=base.source,
            parent="",
            files=base.files,
            category="",
            description="baseline",
            hypothesis="",
            diff="",
            lines_added=0,
            lines_removed=0,
            commit=base.commit,
            proposer="",
        )
        return Trial(unchanged, base.runs)

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """All proposals by number, judged or not; without the baseline."""
        rulings = {ruling.number: ruling for v in self.verdicts for ruling in v.rulings}
        if self.seed_effect is SeedEffect.NONE:  # what was judged before that was known
            rulings = {
                n: ruling if ruling.confidence is None else without_chance(ruling, LATER)
                for n, ruling in rulings.items()
            }
        kept = {verdict.kept for verdict in self.verdicts}
        proposed = {p.number: p for group in self.proposals for p in group.proposals}
        again = {p.retry_of: p.number for p in proposed.values() if p.retry_of is not None}
        return tuple(
            Trial(
                proposal=proposal,
                runs=rulings[number].runs if number in rulings else (),
                ruling=rulings.get(number),
                kept=number in kept,
                retried_as=again.get(number),
            )
            for number, proposal in sorted(proposed.items())
        )

    @cached_property
    def judged(self) -> tuple[Trial, ...]:
        """The trials with a ruling, by number."""
        return tuple(trial for trial in self.trials if trial.ruling is not None)

    @property
    def kept(self) -> tuple[Trial, ...]:
        """The trials that became the incumbent, in order."""
        return tuple(trial for trial in self.judged if trial.kept)

    @property
    def sources(self) -> dict[str, Mapping[str, str]]:
        """Files of the baseline and of every trial, by the digest of their source."""
        return {t.proposal.source: t.files for t in (*self.trials, self.start)}

    @property
    def state(self) -> SessionState:
        """State that the next round starts from."""
        return self.states[-1]

    @property
    def incumbent_run(self) -> RunSummary:
        """The last run that the incumbent was measured by."""
        held = self.state.incumbent.number
        runs = next((t for t in self.trials if t.number == held), self.start).runs
        for before, verdict in zip(self.states, self.verdicts, strict=False):
            if before.incumbent.number == held:
                runs = (*runs, *incumbent_runs(verdict))
        return runs[-1]

    @property
    def noise_sd(self) -> float | None:
        """The judge's last noise floor; ``None`` before any verdict, or if unknown."""
        if self.seed_effect is SeedEffect.NONE:
            return None
        known = (v.noise_sd for v in reversed(self.verdicts) if v.noise_sd is not None)
        return next(known, None)

    @cached_property
    def replicates(self) -> dict[int, list[float]]:
        """Metrics of each code with different seeds, by the number of its trial."""
        runs: dict[int, dict[int, float]] = {}

        def add(number: int, made: Iterable[RunSummary]) -> None:
            values = {run.seed: run.value for run in made if run.value is not None}
            runs.setdefault(number, {}).update(values)

        add(0, self.baseline.runs)
        held = {state.round: state.incumbent.number for state in self.states}
        for verdict in self.verdicts:
            for ruling in verdict.rulings:
                add(ruling.number, ruling.runs)
            add(held.get(verdict.round - 1, 0), incumbent_runs(verdict))
        if self.confirmation is not None:
            add(0, self.confirmation.baseline_runs)
            add(self.confirmation.champion, self.confirmation.champion_runs)
        return {number: list(values.values()) for number, values in runs.items()}

    @cached_property
    def seed_effect(self) -> SeedEffect:
        """Whether other seeds have changed the metric of any code."""
        return seed_effect(self.replicates.values())

    @property
    def search_runs(self) -> tuple[RunSummary, ...]:
        """The trainings of all trials, without the baseline's."""
        made = (run for trial in self.trials for run in trial.runs)
        return tuple(run for run in made if run.outcome is not Outcome.GUARD_FAILED)

    @property
    def failed_guards(self) -> tuple[RunSummary, ...]:
        """Runs of the guard that stopped a trial before its training."""
        made = (run for trial in self.trials for run in trial.runs)
        return tuple(run for run in made if run.outcome is Outcome.GUARD_FAILED)

    @property
    def incumbent_runs(self) -> tuple[RunSummary, ...]:
        """Further runs of the incumbents: checks before rounds, and what the judge asked for."""
        return tuple(run for verdict in self.verdicts for run in incumbent_runs(verdict))

    @property
    def confirmation_runs(self) -> tuple[RunSummary, ...]:
        """Fresh runs of baseline and champion."""
        last = self.confirmation
        return () if last is None else (*last.baseline_runs, *last.champion_runs)

    @property
    def certification_runs(self) -> tuple[RunSummary, ...]:
        """Fresh runs of the champion without some of its changes."""
        made = () if self.certification is None else self.certification.runs
        return tuple(each.run for each in made if each.run is not None)

    @property
    def transfer_runs(self) -> tuple[RunSummary, ...]:
        """Runs of baseline and champion at another scale."""
        if self.transfer is None:
            return ()
        return (*self.transfer.measured.baseline_runs, *self.transfer.measured.champion_runs)

    @property
    def contributions(self) -> dict[int, Contribution]:
        """What each kept change adds by fresh runs, by its number."""
        made = () if self.confirmation is None else self.confirmation.contributions
        return {each.number: each for each in made}

    @property
    def runs(self) -> tuple[RunSummary, ...]:
        """All runs that something was decided from; one that served twice is here twice."""
        others = (
            self.search_runs,
            self.incumbent_runs,
            self.certification_runs,
            self.confirmation_runs,
            self.transfer_runs,
        )
        return (*self.baseline.runs, *itertools.chain(*others))


def without_chance(ruling: Ruling, reason: str = "") -> Ruling:
    """A ruling without the numbers that rest on noise, where that is unknown.

    ``reason`` takes the place of one that names such numbers.
    """
    strong = ruling.verdict is Verdict.STRONG_KEEP
    return replace(
        ruling,
        verdict=Verdict.KEEP if strong else ruling.verdict,
        reason=reason or ruling.reason,
        delta_sd=None,
        confidence=None,
        pareto=None,
        pareto_low=None,
        pareto_high=None,
    )


def name_of(number: int) -> str:
    """A trial in words, by its number."""
    return f"experiment {number}" if number else "the baseline"


def finished_rounds(paths: SessionPaths) -> int:
    """Number of rounds that were judged and steered, however many are configured."""
    number = 0
    while paths.round(number + 1).steer.is_file():
        number += 1
    return number
