"""Rules to compare: rivals, the judge in its modes, and a bound."""

from __future__ import annotations

import math

from ratchet.codec import Frozen, replace
from ratchet.judge import REFERENCE_SCALE, Judge, Mode, Settings, scale_from
from ratchet.simulation.session import Bench, Candidate, Decision, Keeper, Rule
from ratchet.vocabulary import Verdict


class Greedy(Frozen):
    """Keep whatever measures below the best measurement so far."""

    name: str = "greedy"
    summary: str = "keep what measures lower than the best so far (keep-if-lower)"

    def begin(self, bench: Bench) -> Keeper:
        """One baseline run."""
        return _MeanKeeper(bench.baseline(1)[0], 1, screened=True)


class Seeds(Frozen):
    """Run a candidate several times and keep it if its mean is lower.

    With ``screened`` only those whose first run looks like an improvement.
    """

    name: str
    summary: str
    count: int
    screened: bool = True

    def begin(self, bench: Bench) -> Keeper:
        """As many baseline runs as a candidate gets."""
        first = bench.baseline(min(self.count, bench.left - 1))
        return _MeanKeeper(sum(first) / len(first), self.count, self.screened)


class _MeanKeeper:
    """Compares means; the incumbent's is what it was kept for."""

    noise_sd = None

    def __init__(self, baseline: float, count: int, screened: bool) -> None:
        self._baseline = self._best = baseline
        self._count, self._screened = count, screened

    @property
    def claimed_gain(self) -> float:
        return self._baseline - self._best

    def crash(self) -> None:
        pass

    def decide(self, candidate: Candidate) -> Decision:
        if candidate.mean < self._best or not self._screened:
            while len(candidate.runs) < self._count and candidate.rerun():
                pass
        keep = candidate.mean < self._best
        if keep:
            self._best = candidate.mean
        return Decision(keep)


class Oracle(Frozen):
    """Knows the sign of every effect from one run: what no rule can beat."""

    name: str = "oracle"
    summary: str = "knows the truth and keeps exactly the improvements (a bound)"

    def begin(self, bench: Bench) -> Keeper:
        """One baseline run."""
        bench.baseline(1)
        return _OracleKeeper()


class _OracleKeeper:
    noise_sd = None

    def __init__(self) -> None:
        self.claimed_gain = 0.0

    def crash(self) -> None:
        pass

    def decide(self, candidate: Candidate) -> Decision:
        keep = candidate.effect > 0
        if keep:
            self.claimed_gain += candidate.effect
        return Decision(keep)


class Judged(Frozen):
    """The judge in one of its modes, asked before every decision.

    ``outlier_residual`` replaces the hold on outliers, of candidates and of the
    incumbent; infinite there is none.
    """

    name: str
    summary: str
    mode: Mode
    outlier_residual: float | None = None

    def begin(self, bench: Bench) -> Keeper:
        """The plan's baseline runs, on which the scale may rest."""
        return JudgeKeeper(self, bench)

    def settings(self, bench: Bench, baseline: list[float]) -> Settings:
        """What a session of this length would judge by."""
        plan = bench.plan
        scale = scale_from(baseline) if plan.scale_from_baseline else REFERENCE_SCALE
        settings = Settings.for_session(self.mode, plan.runs, scale)
        hold = self.outlier_residual
        if hold is None:
            return settings
        return replace(settings, outlier_residual=hold, surprise_residual=hold)


class JudgeKeeper:
    """The judge at work in one session."""

    def __init__(self, rule: Judged, bench: Bench) -> None:
        self._bench = bench
        baseline = bench.baseline(bench.plan.baseline_runs)
        self._judge = Judge(rule.settings(bench, baseline))
        for y in baseline:
            self._judge.incumbent(y)
        self._start = self._judge.incumbent_mean

    @property
    def claimed_gain(self) -> float:
        return self._start - self._judge.incumbent_mean

    @property
    def noise_sd(self) -> float:
        return self._judge.noise_sd

    def crash(self) -> None:
        self._judge.crash()

    def decide(self, candidate: Candidate) -> Decision:
        self._feed_incumbent()
        found = self._judge.assess(candidate.runs)
        while found.verdict is Verdict.RETEST and self._run_more(candidate):
            found = self._judge.assess(candidate.runs)
        self._judge.commit(found.keep)
        return Decision(found.keep, found.confidence, found.verdict)

    def _run_more(self, candidate: Candidate) -> bool:
        """What a retest asks for; whether the budget allowed any of it."""
        fed = self._feed_incumbent()
        return candidate.rerun() or fed

    def _feed_incumbent(self) -> bool:
        """The runs of the incumbent that the judge wants; whether any was made."""
        fed = False
        while self._judge.incumbent_runs_wanted and self._measure_incumbent():
            fed = True
        return fed

    def _measure_incumbent(self) -> bool:
        y = self._bench.incumbent()
        if y is not None:
            self._judge.incumbent(y)
        return y is not None


RIVALS: tuple[Rule, ...] = (
    Greedy(),
    Seeds("seeds-2", "2 runs of what looks improved; keep if the mean is lower", 2),
    Seeds("seeds-3", "3 runs of what looks improved; keep if the mean is lower", 3),
)

OURS: tuple[Rule, ...] = tuple(
    Judged(mode.value, f"the judge in mode {mode.value}: {text}", mode)
    for mode, text in (
        (Mode.GAIN, "keep at P(better) >= 0.6"),
        (Mode.BALANCED, "keep at P(better) >= 0.7"),
        (Mode.STRICT, "keep at P(better) >= 0.8"),
        (Mode.GUARANTEED, "fresh runs must show it, with a bound on false keeps"),
    )
)

REFERENCE = Judged(
    "reference",
    "mode gain as first specified: an outlier may move the incumbent anywhere",
    Mode.GAIN,
    outlier_residual=math.inf,
)

RULES: dict[str, Rule] = {rule.name: rule for rule in (*RIVALS, *OURS, REFERENCE, Oracle())}
"""All rules by name, in the order in which tables show them."""
