"""Rules in simulated sessions: what they keep, and that nobody overspends."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from ratchet.base.errors import ConfigError
from ratchet.base.structs import replace
from ratchet.judge.judge import Judge
from ratchet.judge.settings import Mode, Settings, scale_from
from ratchet.records.records import Verdict
from ratchet.simulation.session import (
    RULES,
    Bench,
    Decision,
    MeanKeeper,
    Rule,
    SimulatedCandidate,
    SimulatedSession,
    SimulationPlan,
    play_session,
)
from ratchet.simulation.worlds import WORLDS, Stream

PLAN = SimulationPlan(WORLDS["typical"], runs=40, sessions=2, seed=3)


class Watched:
    """Any rule, with its baseline and the runs of every candidate written down."""

    name, summary = "watched", ""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.seen: list[tuple[list[float], Decision]] = []

    def begin(self, bench: Bench) -> Watched:
        make = bench.baseline

        def baseline(count: int) -> list[float]:
            self.baseline = make(count)
            return self.baseline

        bench.baseline = baseline
        self.keeper = self.rule.begin(bench)
        return self

    def __getattr__(self, name: str) -> object:
        return getattr(self.keeper, name)

    def decide(self, candidate: SimulatedCandidate) -> Decision:
        self.seen.append((candidate.runs, self.keeper.decide(candidate)))
        return self.seen[-1][1]


def watched(
    rule: Rule, plan: SimulationPlan = PLAN, session: int = 0
) -> tuple[Watched, SimulatedSession]:
    watch = Watched(rule)
    return watch, play_session(watch, plan, Stream(plan.world, plan.seed, session))


def cases() -> Iterator[tuple[str, str, int]]:
    for rule in RULES:
        for world in ("typical", "crashes", "divergent"):
            yield rule, world, 25
        yield rule, "typical", 3


@pytest.mark.parametrize(("rule", "world", "runs"), list(cases()))
def test_every_run_counts_and_the_budget_is_kept(rule: str, world: str, runs: int) -> None:
    plan = SimulationPlan(WORLDS[world], runs=runs, sessions=2, seed=4)
    for session in range(3):
        watch, record = watched(RULES[rule], plan, session)
        measured = sum(len(values) for values, _ in watch.seen)
        others = len(watch.baseline) + record.incumbent_runs + record.crashes
        assert record.runs == runs == others + measured
        assert measured == len(watch.seen) + record.retests
        assert record.proposals == len(record.rows) + record.crashes
        kept = [row.effect for row in record.rows if row.decision.keep]
        assert record.true_gain == pytest.approx(sum(kept))


def test_greedy_keeps_exactly_the_running_minima() -> None:
    for session in range(10):
        watch, record = watched(RULES["greedy"], PLAN, session)
        (best,) = watch.baseline
        first = best
        for values, decision in watch.seen:
            assert len(values) == 1
            assert decision == Decision(values[0] < best)
            best = min(best, values[0])
        assert record.claimed_gain == pytest.approx(first - best)
        assert record.noise_ratio is None


@pytest.mark.parametrize(("count", "screened"), [(2, True), (3, True), (2, False)])
def test_seeds_compare_means(count: int, screened: bool) -> None:
    retested = 0
    rule = Rule("some", "", partial(MeanKeeper, count=count, screened=screened))
    for session in range(10):
        watch, _ = watched(rule, PLAN, session)
        assert len(watch.baseline) == count
        best = sum(watch.baseline) / count
        for values, decision in watch.seen[:-1]:  # the last may lack budget
            again = values[0] < best or not screened
            assert len(values) == (count if again else 1)
            assert decision.keep == (np.mean(values) < best)
            best = min(best, float(np.mean(values))) if decision.keep else best
            retested += again
    assert retested > 20


def test_rules_meet_the_same_proposals_with_the_same_luck() -> None:
    plan = SimulationPlan(WORLDS["all-null"], runs=30, sessions=2, seed=5)
    first_runs = []
    for name in ("greedy", "seeds-2", "gain", "guaranteed", "oracle"):
        watch, _ = watched(RULES[name], plan)
        first_runs.append([values[0] for values, _ in watch.seen])
    # Nothing changes the incumbent there, so measurements are equal, not only luck.
    shared = min(len(values) for values in first_runs)
    assert shared > 8
    assert all(values[:shared] == first_runs[0][:shared] for values in first_runs)


def test_the_judge_is_called_as_it_asks() -> None:
    plan = replace(PLAN, runs=60)
    assert watched(RULES[Mode.GUARANTEED], plan)[1].incumbent_runs > 0
    watch, record = watched(RULES[Mode.GAIN], plan)
    judge = Judge(Settings.for_session(Mode.GAIN, 60))
    assert len(watch.baseline) == 1
    for y in watch.baseline:
        judge.incumbent(y)
    stream = Stream(PLAN.world, PLAN.seed, 0)
    for number, (values, decision) in zip(measured(stream), watch.seen, strict=False):
        for _ in range(number):
            judge.crash()
        found = judge.assess(values)
        assert (found.keep, found.confidence) == (decision.keep, decision.confidence)
        judge.commit(found.keep)
    assert record.noise_ratio == pytest.approx(judge.noise_sd / PLAN.noise_sd)
    assert record.incumbent_runs == 0


def measured(stream: Stream) -> Iterator[int]:
    """Crashes before each proposal that is measured."""
    crashes = number = 0
    while True:
        if stream.proposal(number).crashes:
            crashes += 1
        else:
            yield crashes
            crashes = 0
        number += 1


@pytest.mark.parametrize("runs", range(3, 24, 2))
def test_a_budget_that_ends_on_a_retest_ends_with_a_decision(runs: int) -> None:
    plan = replace(PLAN, runs=runs, noise_sd=2e-3)
    for session in range(4):
        record = watched(RULES["guaranteed"], plan, session)[1]
        assert record.runs == runs
        assert all(row.decision.verdict is not None for row in record.rows)
        retests = [row for row in record.rows if row.decision.verdict is Verdict.RETEST]
        assert retests in ([], [record.rows[-1]])


def test_settings_of_the_judges_rules() -> None:
    ours, theirs = (watched(RULES[name])[0].judge.settings for name in ("gain", "reference"))
    free = float("inf")
    assert theirs == replace(ours, outlier_residual=free, surprise_residual=free)
    assert ours == Settings.for_session("gain", PLAN.runs)
    watch, _ = watched(RULES["balanced"], replace(PLAN, scale_from_baseline=True))
    assert watch.judge.settings.effect_scale == scale_from(watch.baseline)


def test_a_remeasured_incumbent_is_the_new_one() -> None:
    plan = replace(PLAN, noise_sd=1e-9)
    stream = Stream(plan.world, plan.seed, 1)
    bench = Bench(plan, stream)
    bench.baseline(1)
    keeps = 0
    while bench.left > 1:
        candidate = bench.propose()
        if candidate is None:
            continue
        bench.settle(candidate, Decision(candidate.effect > 0))
        if candidate.effect > 0:
            keeps += 1
            assert bench.incumbent() == pytest.approx(candidate.runs[0], abs=1e-8)
    assert keeps > 3


def test_the_oracle_makes_no_mistake() -> None:
    record = watched(RULES["oracle"])[1]
    assert all(row.decision.keep == row.better for row in record.rows)
    assert record.claimed_gain == pytest.approx(record.true_gain)
    assert any(row.better for row in record.rows)


def test_nothing_is_left_of_an_empty_budget() -> None:
    bench = Bench(replace(PLAN, runs=3), Stream(PLAN.world, 1, 0))
    assert len(bench.baseline(5)) == 3
    assert bench.incumbent() is None
    assert bench.record.runs == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("runs", 1), ("sessions", 1), ("seed", -1), ("baseline_runs", 0)]
    + [("noise_sd", value) for value in (0.0, float("nan"), 2.0)],
)
def test_a_plan_that_cannot_start_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match="simulation, "):
        replace(PLAN, **{name: value})
