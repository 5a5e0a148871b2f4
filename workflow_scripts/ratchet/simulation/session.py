"""One simulated session: a bench that hands out runs, and a rule that keeps or not.

Every run counts against the budget: baseline, fresh proposals (crashed ones too),
retests and runs of the incumbent.  A rule sees measurements only; the truth goes into
the :class:`SimulatedSession`.  :data:`RULES` are the rules to compare: rivals, the
judge in its modes, and a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Protocol

from ratchet.base.errors import ConfigError
from ratchet.base.structs import Frozen, Struct, field, replace
from ratchet.judge.judge import Judge
from ratchet.judge.settings import REFERENCE_SCALE, Mode, Settings, scale_from
from ratchet.records.records import Verdict
from ratchet.simulation.worlds import OPTIMUM, Stream, World

MATERIAL_EFFECT = 2e-4
"""An improvement of at least this size is missed if it is not kept; smaller ones
are below half a noise sd and hardly add up."""

LARGEST_NOISE = 1.0
"""Metrics are near 1; noise above that is another scale, not another world."""


class SimulationPlan(Frozen):
    """Plan of a simulation; ``noise_sd`` is that of one run, in the metric's unit.

    ``baseline_runs`` are made by rules that judge noise.  With
    ``scale_from_baseline`` the judge learns its scale from them, as a session
    does, instead of being told that the metric is validation bits per byte.
    Raises :class:`ConfigError` for a plan that no rule can start.
    """

    world: World
    runs: int = 100
    noise_sd: float = 5e-4
    sessions: int = 100
    seed: int = 1
    baseline_runs: int = 1
    scale_from_baseline: bool = False

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        _require(self.baseline_runs >= 1, "baseline runs", self.baseline_runs, "at least 1")
        least = self.baseline_runs + 1
        _require(self.runs >= least, "runs", self.runs, f"at least {least}: baseline and proposal")
        _require(self.sessions >= 2, "sessions", self.sessions, "at least 2, for an interval")
        _require(self.seed >= 0, "seed", self.seed, "0 or above")
        sd = self.noise_sd
        fits = math.isfinite(sd) and 0 < sd <= LARGEST_NOISE
        _require(fits, "noise sd", sd, f"above 0 and at most {LARGEST_NOISE:g}")


class Decision(Frozen):
    """A rule's decision, with P(truly better) and a verdict if it has them."""

    keep: bool
    confidence: float | None = None
    verdict: Verdict | None = None


class SimulatedRow(Frozen):
    """One measured proposal: what was decided, and the truth."""

    decision: Decision
    effect: float

    @property
    def better(self) -> bool:
        """Whether the proposal truly improves."""
        return self.effect > 0

    @property
    def material(self) -> bool:
        """Whether it improves by enough to be missed."""
        return self.effect > MATERIAL_EFFECT


class SimulatedSession(Struct):
    """All of one session under one rule.

    ``true_gain`` and ``claimed_gain`` are from the baseline to the last
    incumbent, in the metric's unit; ``noise_ratio`` is the rule's estimate of
    the noise sd over the true one.
    """

    rows: list[SimulatedRow] = field(default_factory=list)
    runs: int = 0
    proposals: int = 0
    crashes: int = 0
    retests: int = 0
    incumbent_runs: int = 0
    true_gain: float = 0.0
    claimed_gain: float = 0.0
    noise_ratio: float | None = None


class Bench:
    """Hands out the runs of one session until the budget is used up."""

    def __init__(self, plan: SimulationPlan, stream: Stream) -> None:
        self.plan = plan
        self.record = SimulatedSession()
        self._stream = stream
        self._distance = stream.landscape.distance
        self._incumbent_factor = 1.0
        self._incumbent_count = 0

    @property
    def left(self) -> int:
        """Runs that the budget still allows."""
        return self.plan.runs - self.record.runs

    def baseline(self, count: int) -> list[float]:
        """Runs of the code that the session starts from; at least one."""
        values = []
        for _ in range(max(count, 1)):
            y = self.incumbent()
            if y is None:
                break
            values.append(y)
        # Only runs after the baseline are the price of a rule.
        self.record.incumbent_runs = 0
        return values

    def incumbent(self) -> float | None:
        """A fresh run of the incumbent, or ``None`` where the budget is used up."""
        if self.left <= 0:
            return None
        noise = self._stream.incumbent_noise(self._incumbent_count)
        self._incumbent_count += 1
        self.record.incumbent_runs += 1
        return self._run(self._distance, self._incumbent_factor * noise)

    def propose(self) -> SimulatedCandidate | None:
        """The next proposal, run once; ``None`` if it crashed."""
        number = self.record.proposals
        self.record.proposals += 1
        if self._stream.proposal(number).crashes:
            self.record.crashes += 1
            self.record.runs += 1
            return None
        return SimulatedCandidate(self, number, self._stream.effect(number, self._distance))

    def run_candidate(self, candidate: SimulatedCandidate) -> float:
        """One run of a candidate; :meth:`SimulatedCandidate.rerun` minds the budget."""
        noise = self._stream.candidate_noise(candidate.number, len(candidate.runs))
        return self._run(self._distance - candidate.effect, noise)

    def settle(self, candidate: SimulatedCandidate, decision: Decision) -> None:
        """Write the decision down; a kept candidate is the new incumbent."""
        self.record.rows.append(SimulatedRow(decision, candidate.effect))
        if decision.keep:
            self._distance -= candidate.effect
            self.record.true_gain += candidate.effect
            self._incumbent_factor = self._stream.proposal(candidate.number).noise_factor

    def _run(self, distance: float, noise: float) -> float:
        drift = self._stream.drift * self.record.runs
        self.record.runs += 1
        return OPTIMUM + distance + self.plan.noise_sd * (noise + drift)


class SimulatedCandidate:
    """A proposal that ran; ``effect`` is the truth, for an oracle alone."""

    def __init__(self, bench: Bench, number: int, effect: float) -> None:
        self.number = number
        self.effect = effect
        self.runs: list[float] = []
        self._bench = bench
        self.runs.append(bench.run_candidate(self))

    @property
    def mean(self) -> float:
        """Mean of its runs so far."""
        return sum(self.runs) / len(self.runs)

    def rerun(self) -> bool:
        """Run it once more; whether the budget allowed it."""
        if self._bench.left <= 0:
            return False
        self._bench.record.retests += 1
        self.runs.append(self._bench.run_candidate(self))
        return True


class Keeper(Protocol):
    """A rule at work in one session."""

    @property
    def claimed_gain(self) -> float:
        """Gain since the baseline, as the rule believes."""

    @property
    def noise_sd(self) -> float | None:
        """Its estimate of the noise of one run, if it has one."""
        return None

    def crash(self) -> None:
        """A proposal crashed, which most rules take no notice of."""
        return

    def decide(self, candidate: SimulatedCandidate) -> Decision:
        """Keep the candidate or not; it may be run again, within the budget."""


class Rule(Frozen):
    """A rule for keeping candidates; ``begin`` makes the baseline runs of a new session.

    A rule is picklable, so that sessions can be spread over processes.
    """

    name: str
    summary: str
    begin: Callable[[Bench], Keeper]


def play_session(rule: Rule, plan: SimulationPlan, stream: Stream) -> SimulatedSession:
    """One session under one rule, until the budget is used up."""
    bench = Bench(plan, stream)
    keeper = rule.begin(bench)
    while bench.left > 0:
        candidate = bench.propose()
        if candidate is None:
            keeper.crash()
        else:
            bench.settle(candidate, keeper.decide(candidate))
    bench.record.claimed_gain = keeper.claimed_gain
    if keeper.noise_sd is not None:
        bench.record.noise_ratio = keeper.noise_sd / plan.noise_sd
    return bench.record


def play_all(rules: tuple[Rule, ...], plan: SimulationPlan, session: int) -> list[SimulatedSession]:
    """One session under every rule, with the same proposals and the same luck."""
    stream = Stream(plan.world, plan.seed, session)
    return [play_session(rule, plan, stream) for rule in rules]


class MeanKeeper(Keeper):
    """Keeps a candidate if the mean of ``count`` runs is below the best so far.

    Only a candidate whose first run looks like an improvement is run again, unless every
    one is with ``screened`` false; with a count of 1 this is keep-if-lower, as the plain
    loop has it.  The baseline has ``count`` runs too.
    """

    def __init__(self, bench: Bench, count: int, screened: bool = True) -> None:
        first = bench.baseline(min(count, bench.left - 1))
        self._baseline = self._best = sum(first) / len(first)
        self._count, self._screened = count, screened

    @property
    def claimed_gain(self) -> float:
        return self._baseline - self._best

    def decide(self, candidate: SimulatedCandidate) -> Decision:
        if candidate.mean < self._best or not self._screened:
            while len(candidate.runs) < self._count and candidate.rerun():
                pass
        keep = candidate.mean < self._best
        if keep:
            self._best = candidate.mean
        return Decision(keep)


class OracleKeeper(Keeper):
    """Knows the sign of every effect from one run: what no rule can beat."""

    claimed_gain = 0.0

    def __init__(self, bench: Bench) -> None:
        bench.baseline(1)

    def decide(self, candidate: SimulatedCandidate) -> Decision:
        keep = candidate.effect > 0
        if keep:
            self.claimed_gain += candidate.effect
        return Decision(keep)


class JudgeKeeper(Keeper):
    """The judge in one of its modes, asked before every decision.

    Its scale may rest on the plan's baseline runs.  ``outlier_residual`` replaces the
    hold on outliers, of candidates and of the incumbent; infinite there is none.
    ``max_replicates`` replaces the mode's own.
    """

    def __init__(
        self,
        bench: Bench,
        mode: Mode,
        outlier_residual: float | None = None,
        max_replicates: int | None = None,
    ) -> None:
        self._bench, plan = bench, bench.plan
        baseline = bench.baseline(plan.baseline_runs)
        scale = scale_from(baseline) if plan.scale_from_baseline else REFERENCE_SCALE
        settings, hold = Settings.for_session(mode, plan.runs, scale), outlier_residual
        if hold is not None:
            settings = replace(settings, outlier_residual=hold, surprise_residual=hold)
        if max_replicates is not None:
            settings = replace(settings, max_replicates=max_replicates)
        self.judge = Judge(settings)
        for y in baseline:
            self.judge.incumbent(y)
        self._start = self.judge.incumbent_mean

    @property
    def claimed_gain(self) -> float:
        return self._start - self.judge.incumbent_mean

    @property
    def noise_sd(self) -> float:
        return self.judge.noise_sd

    def crash(self) -> None:
        self.judge.crash()

    def decide(self, candidate: SimulatedCandidate) -> Decision:
        self._feed_incumbent()
        belief = self.judge.assess(candidate.runs)
        while belief.verdict is Verdict.RETEST:
            fed = self._feed_incumbent()
            if not (candidate.rerun() or fed):  # the budget allows no more
                break
            belief = self.judge.assess(candidate.runs)
        self.judge.commit(belief.keep)
        return Decision(belief.keep, belief.confidence, belief.verdict)

    def _feed_incumbent(self) -> bool:
        """Make the runs of the incumbent that the judge wants; whether any was made."""
        fed = False
        while self.judge.incumbent_runs_wanted and (y := self._bench.incumbent()) is not None:
            self.judge.incumbent(y)
            fed = True
        return fed


def judge_rule(mode: Mode, summary: str) -> Rule:
    """The rule of a mode of the judge."""
    about = f"the judge in mode {mode.value}: {summary}"
    return Rule(mode.value, about, partial(JudgeKeeper, mode=mode))


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            "greedy",
            "keep what measures lower than the best so far (keep-if-lower)",
            partial(MeanKeeper, count=1),
        ),
        Rule(
            "seeds-2",
            "2 runs of what looks improved; keep if the mean is lower",
            partial(MeanKeeper, count=2),
        ),
        Rule(
            "seeds-3",
            "3 runs of what looks improved; keep if the mean is lower",
            partial(MeanKeeper, count=3),
        ),
        judge_rule(Mode.LIBERAL, "keep at P(better) >= 0.42 if it gains on average"),
        judge_rule(Mode.GAIN, "keep at P(better) >= 0.5"),
        judge_rule(Mode.BALANCED, "keep at P(better) >= 0.7"),
        judge_rule(Mode.STRICT, "keep at P(better) >= 0.8"),
        judge_rule(Mode.GUARANTEED, "fresh runs must show it, with a bound on false keeps"),
        Rule(
            "reference",
            "mode gain as first specified: an outlier may move the incumbent anywhere",
            partial(JudgeKeeper, mode=Mode.GAIN, outlier_residual=math.inf),
        ),
        Rule(
            "oracle",
            "knows the truth and keeps exactly the improvements (a bound)",
            OracleKeeper,
        ),
    )
}
"""All rules by name, in the order in which tables show them."""


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"simulation, {name}: expected {expected}, found {value!r}")
