"""Rules that were tried beside the judge's modes, and lost: kept to be compared again."""

from __future__ import annotations

from ratchet.judge.judge import Judge
from ratchet.judge.settings import Mode, Settings
from ratchet.simulation.session import (
    Bench,
    Decision,
    JudgeKeeper,
    JudgeRule,
    Keeper,
    Rule,
    Seeds,
    SimulatedCandidate,
)


class Staged(JudgeRule, frozen=True):
    """The judge under modes for equal parts of the session, instead of ``mode``."""

    stages: tuple[Mode, ...] = ()

    def begin(self, bench: Bench) -> Keeper:
        return _StagedKeeper(self, bench)


class _StagedKeeper(JudgeKeeper):
    def __init__(self, rule: Staged, bench: Bench) -> None:
        super().__init__(rule, bench)
        self._stages, self._stage = rule.stages, rule.mode

    def decide(self, candidate: SimulatedCandidate) -> Decision:
        """Go on with the next stage's keep probability when its time has come."""
        part = len(self._stages) * self._bench.record.runs // (self._bench.plan.runs + 1)
        if self._stages[part] is not self._stage:
            self._stage = self._stages[part]
            state, settings = self._judge.to_dict(), Settings.for_session(self._stage)
            state["settings"]["keep_probability"] = settings.keep_probability
            self._judge = Judge.from_dict(state)
        return super().decide(candidate)


class Remeasured(JudgeRule, frozen=True):
    """The judge with a fresh run of every new incumbent, on which no decision rested."""

    def begin(self, bench: Bench) -> Keeper:
        return _RemeasuredKeeper(self, bench)


class _RemeasuredKeeper(JudgeKeeper):
    _due = False

    def decide(self, candidate: SimulatedCandidate) -> Decision:
        # The bench's incumbent is the new one only once the decision is settled.
        if self._due:
            self._due = not self._measure_incumbent()
        found = super().decide(candidate)
        self._due = found.keep
        return found


TRIED: tuple[Rule, ...] = (
    Seeds("pairs", "tried: every candidate twice; keep if the mean is lower", 2, screened=False),
    Staged(
        "staged",
        "tried: modes gain, balanced and strict for a third of the session each",
        Mode.GAIN,
        stages=(Mode.GAIN, Mode.BALANCED, Mode.STRICT),
    ),
    Remeasured(
        "remeasured",
        "tried: mode balanced with a fresh run of every new incumbent",
        Mode.BALANCED,
    ),
    JudgeRule(
        "held",
        "tried: mode gain where an outlier moves the incumbent by up to 3 noise sds",
        Mode.GAIN,
        outlier_residual=3.0,
    ),
)
