"""Simulated sessions with known truth: a few with fixed seeds; `make bench` plays many."""

import math

import numpy as np
import pytest

from guarantee import session
from ratchet.judge.judge import Judge, replay
from ratchet.judge.settings import Settings, scale_from
from ratchet.records.records import Verdict
from ratchet.simulation.measures import Summary, summarize_sessions
from ratchet.simulation.session import RULES, Bench, Decision, SimulationPlan, play_all
from ratchet.simulation.worlds import WORLDS, Stream


def played(plan: SimulationPlan, *names: str) -> list[Summary]:
    rules = tuple(RULES[name] for name in names)
    records = zip(*(play_all(rules, plan, n) for n in range(plan.sessions)), strict=True)
    return [summarize_sessions(one, one) for one in records]


def test_confidence_and_noise_floor_are_right_and_claims_are_honest() -> None:
    plan = SimulationPlan(WORLDS["typical"], 60, sessions=20, seed=3)
    greedy, gain, strict = played(plan, "greedy", "gain", "strict")
    assert gain.calibration_error.value < 0.06
    assert gain.brier.value < 0.17
    assert 0.85 < gain.noise_ratio.value < 1.2
    assert strict.false_share.value < 0.6 * greedy.false_share.value
    assert abs(gain.bias.value) < 0.5 * greedy.bias.value


def test_fewer_false_keeps_than_greedy_where_nothing_improves() -> None:
    plan = SimulationPlan(WORLDS["null"], 50, sessions=15, seed=3)
    names = ("greedy", "gain", "balanced", "strict")
    greedy, gain, balanced, strict = (one.false_keeps.value for one in played(plan, *names))
    assert strict < balanced < gain
    assert strict < 0.5 * greedy


@pytest.mark.parametrize("baseline", [3, 5])
def test_a_short_session_learns_its_scale_from_the_baseline(baseline: int) -> None:
    """Effects of up to 30 noise sds, of which the judge knows nothing beforehand."""
    plan = SimulationPlan(WORLDS["typical"], 20, 1e-4, 25, 3, baseline, scale_from_baseline=True)
    (gain,) = played(plan, "gain")
    assert gain.false_share.value < 0.1
    assert gain.missed.value < 0.15
    assert 0.85 < gain.noise_ratio.value < 2.2
    assert gain.retests.value < 0.3 * plan.runs


def test_noise_floor_from_a_greedy_log_without_replicates() -> None:
    plan, ratios = SimulationPlan(WORLDS["typical"], 120), []
    for number in range(15):
        bench = Bench(plan, Stream(plan.world, 3, number))
        values, kept = bench.baseline(1), [True]
        while bench.left:
            candidate = bench.propose()
            if candidate is not None:
                kept.append(candidate.mean < min(v for v, k in zip(values, kept, strict=True) if k))
                values.append(candidate.mean)
                bench.settle(candidate, Decision(kept[-1]))
        result = replay(values, kept, [False] * len(values), Settings())
        assert all(a is None or a.verdict is not Verdict.RETEST for a in result.assessments)
        ratios.append(result.judge.noise_sd / plan.noise_sd)
    assert 0.8 < math.exp(float(np.mean(np.log(ratios)))) < 1.3


def judge_of_small_task(mode: str, rng: np.random.Generator) -> Judge:
    """A metric near 2 with noise 0.01, known from three runs of the baseline."""
    first = [2 + 0.01 * rng.standard_normal() for _ in range(3)]
    judge = Judge(Settings.for_session(mode, 40, scale_from(first)))
    for y in first:
        judge.incumbent(y)
    return judge


def test_a_plain_gain_in_a_small_task_needs_one_run_and_a_null_is_seldom_kept() -> None:
    strong = kept = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        belief = judge_of_small_task("auto", rng).assess([1.75 + 0.01 * rng.standard_normal()])
        assert belief.verdict.is_keep
        assert belief.gain == pytest.approx(0.25, abs=0.1)
        strong += belief.verdict is Verdict.STRONG_KEEP
        judge = judge_of_small_task("strict", rng)
        for _ in range(5):
            kept += judge.assess([2 + 0.01 * rng.standard_normal()]).verdict.is_keep
            judge.commit(False)
    assert strong >= 95
    assert kept / 500 < 0.06


def test_guaranteed_keeps_its_bound_where_nothing_improves() -> None:
    """At most 0.05 false keeps a session, with heavy tails and where some proposals harm too."""
    kinds = (("normal", True), ("t4", True), ("t4", False))
    found = [session("guaranteed", 0.0, *kind, seed) for kind in kinds for seed in range(12)]
    assert sum(one.false_keeps for one in found) <= 0.05 * len(found)


def test_guaranteed_finds_large_effects() -> None:
    """Five sds in nine of ten cases, three sds in more than a third."""

    def power(sds: float) -> float:
        found = [session("guaranteed", sds, "normal", False, seed) for seed in range(6)]
        return sum(one.found for one in found) / sum(one.effects for one in found)

    assert power(5.0) >= 0.85
    assert 0.35 < power(3.0) < 0.85
