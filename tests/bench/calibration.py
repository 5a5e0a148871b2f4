"""What the judge's words are worth, over many simulated sessions, as bars to pass::

make bench
.venv-dev/bin/pytest tests/bench/calibration.py
"""

from __future__ import annotations

import pytest

from ratchet.records.records import Verdict
from ratchet.simulation.measures import summarize_sessions
from ratchet.simulation.session import RULES, SimulatedSession, SimulationPlan, play_all
from ratchet.simulation.worlds import WORLDS

RULE_NAMES = ("greedy", "gain", "guaranteed")


def played(
    world: str, sessions: int, runs: int, names: tuple[str, ...]
) -> dict[str, list[SimulatedSession]]:
    plan = SimulationPlan(WORLDS[world], runs, 5e-4, sessions=sessions, seed=2026)
    rules = tuple(RULES[name] for name in names)
    every = [play_all(rules, plan, session) for session in range(sessions)]
    return {name: [records[i] for records in every] for i, name in enumerate(names)}


def test_confidence_is_calibrated_and_verdicts_are_ordered() -> None:
    records = played("typical", 200, 100, ("greedy", "gain"))
    greedy, gain = (
        summarize_sessions(records[name], records["greedy"]) for name in ("greedy", "gain")
    )
    assert gain.calibration_error is not None and gain.brier is not None
    assert gain.calibration_error.value <= 0.05
    assert gain.brier.value <= 0.15
    rates = {hit.verdict: hit.share for hit in gain.hit_rates}
    order = (Verdict.STRONG_KEEP, Verdict.KEEP, Verdict.MARGINAL, Verdict.DISCARD)
    assert sorted(order, key=rates.__getitem__, reverse=True) == list(order)
    assert rates[Verdict.STRONG_KEEP] >= 0.95
    # Over 200 sessions it lies more than three standard errors above this bar.
    assert gain.over.value > -0.25e-3
    assert gain.false_share is not None and greedy.false_share is not None
    assert gain.false_share.value <= 0.2 < greedy.false_share.low
    assert abs(gain.bias.value) < 0.2e-3 < greedy.bias.low
    assert gain.noise_ratio is not None and 0.9 < gain.noise_ratio.value < 1.2


@pytest.mark.parametrize("world", ["null", "all-null"])
def test_guaranteed_keeps_its_promise_where_nothing_improves(world: str) -> None:
    records = played(world, 60, 100, RULE_NAMES)
    found = {name: summarize_sessions(records[name], records["greedy"]) for name in RULE_NAMES}
    # The bound is 0.05 a session, so more than 9 of 60 has a chance below 1e-3.
    assert found["guaranteed"].false_keeps.value <= 9 / 60
    assert found["gain"].false_keeps.high < found["greedy"].false_keeps.low
    assert found["guaranteed"].true_gain.value >= found["greedy"].true_gain.value


def test_the_hold_on_outliers_pays_where_training_diverges() -> None:
    plan = SimulationPlan(WORLDS["divergent"], 200, 1e-3, sessions=25, seed=5)
    rules = (RULES["gain"], RULES["reference"])
    every = [play_all(rules, plan, session) for session in range(plan.sessions)]
    ours, theirs = ([records[i] for records in every] for i in range(2))
    found, other = summarize_sessions(ours, theirs), summarize_sessions(theirs, theirs)
    assert found.false_keeps.value < other.false_keeps.value
    assert found.noise_ratio is not None and found.noise_ratio.low > 0.9
