"""What the judge's words are worth, over many simulated sessions, as bars to pass::

make bench
.venv-dev/bin/pytest tests/bench/calibration.py
"""

import pytest

from ratchet.records.records import Verdict
from ratchet.simulation.measures import Summary, summarize_sessions
from ratchet.simulation.session import RULES, SimulationPlan, play_all
from ratchet.simulation.worlds import WORLDS


def played(
    world: str, sessions: int, names: str, runs: int = 100, noise_sd: float = 5e-4
) -> list[Summary]:
    """What rules reach in a world, each beside the first of them."""
    plan = SimulationPlan(WORLDS[world], runs, noise_sd, sessions=sessions, seed=2026)
    rules = tuple(RULES[name] for name in names.split())
    found = list(zip(*(play_all(rules, plan, number) for number in range(sessions)), strict=True))
    return [summarize_sessions(records, found[0]) for records in found]


def test_confidence_is_calibrated_and_verdicts_are_ordered() -> None:
    greedy, gain = played("typical", 200, "greedy gain")
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
    greedy, gain, guaranteed = played(world, 60, "greedy gain guaranteed")
    # The bound is 0.05 a session, so more than 9 of 60 has a chance below 1e-3.
    assert guaranteed.false_keeps.value <= 9 / 60
    assert gain.false_keeps.high < greedy.false_keeps.low
    assert guaranteed.true_gain.value >= greedy.true_gain.value


def test_the_hold_on_outliers_pays_where_training_diverges() -> None:
    reference, gain = played("divergent", 25, "reference gain", 200, 1e-3)
    assert gain.false_keeps.value < reference.false_keeps.value
    assert gain.noise_ratio is not None and gain.noise_ratio.low > 0.9
