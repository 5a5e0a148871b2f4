"""Modes, scales, prices, efficiency and the replay's bookkeeping."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.errors import ConfigError, DataError
from ratchet.base.structs import replace
from ratchet.judge.judge import Judge, replay
from ratchet.judge.settings import Mode, Settings, keep_probability, scale_from
from ratchet.judge.tradeoffs import Prices, credit, efficiency
from ratchet.records.records import Verdict


@pytest.mark.parametrize(
    ("mode", "runs", "expected"),
    [
        ("gain", 900, 0.6),
        ("balanced", 10, 0.7),
        (Mode.STRICT, None, 0.8),
        ("auto", 150, 0.6),
        ("auto", 151, 0.7),
        ("auto", None, 0.7),
    ],
)
def test_modes(mode: str, runs: int | None, expected: float) -> None:
    assert keep_probability(mode, runs) == expected
    assert Settings.for_session(mode, runs).keep_probability == expected


def test_unknown_mode_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"auto, gain, balanced, strict.*'greedy'"):
        Settings.for_session("greedy", 10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"keep_probability": 1.0},
        {"effect_scale": 0.0},
        {"noise_center": math.inf},
        {"null_weight": 0.8, "improvement_weight": 0.3},
        {"max_replicates": 0},
        {"noise_nodes": 1},
        {"drift": -1.0},
        {"outlier_floor": math.nan},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="judge setting"):
        Settings(**wrong)  # type: ignore[arg-type]


def test_scale_without_spread_is_a_share_of_the_metric() -> None:
    assert scale_from([2.0]) == pytest.approx(6e-4)
    assert scale_from([-2.0, -2.0]) == pytest.approx(6e-4)
    assert scale_from([0.0]) == pytest.approx(3e-4)
    assert scale_from([0.1, 0.1, 0.1]) == pytest.approx(3e-5)


def test_scale_follows_the_replicates() -> None:
    rng = np.random.default_rng(0)
    for sd in (1e-4, 1e-2, 10.0):
        values = 2 + sd * rng.standard_normal(12)
        assert scale_from(list(values)) == pytest.approx(values.std(ddof=1), rel=0.25)


def test_an_accidentally_tiny_spread_is_mistrusted() -> None:
    for spread in (1e-5, 1e-7, 1e-10):
        assert 1e-5 < scale_from([1.0, 1.0 + spread]) < 3e-4
    # Eight replicates do not agree by accident.
    assert scale_from([1.0 + 1e-6 * k for k in range(8)]) < 1e-5


def test_replicates_win_over_a_meaningless_magnitude() -> None:
    assert scale_from([-1.0, 0.1, 0.9]) == pytest.approx(0.95, rel=0.3)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5), st.sampled_from([2.0, 0.125, -4.0]))
def test_scale_has_the_unit_of_the_metric(values: list[float], factor: float) -> None:
    if any(0 < abs(v) < 1e-100 for v in values) or not any(values):
        return
    expected = abs(factor) * scale_from(values)
    assert scale_from([factor * v for v in values]) == pytest.approx(expected)
    assert expected > 0


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
def test_scale_needs_finite_values(values: list[float]) -> None:
    with pytest.raises(DataError, match="baseline"):
        scale_from(values)


def test_prices() -> None:
    prices, sd = Prices(), 4e-4
    assert prices.threshold(20, sd) == pytest.approx(1e-3)
    assert prices.threshold(0, sd, memory_ratio=2.0) == pytest.approx(5e-3 * math.log(2))
    assert prices.threshold(0, sd, memory_ratio=1.02) == 0
    assert prices.threshold(0, sd, memory_ratio=0.5) == pytest.approx(-0.5 * sd)
    charged = replace(prices, memory_credit=False)
    assert charged.threshold(0, sd, memory_ratio=0.5) == 0
    assert charged.threshold(0, sd, memory_ratio=2.0) == pytest.approx(5e-3 * math.log(2))
    assert prices.threshold(0, sd, memory_ratio=None) == 0
    assert prices.threshold(-100, sd) == pytest.approx(-0.5 * sd)
    assert prices.threshold(-2, sd) == pytest.approx(-1e-4)
    assert prices.threshold(-100, sd, credit_used=1.8 * sd) == pytest.approx(-0.2 * sd)
    assert prices.threshold(-100, sd, credit_used=3 * sd) == 0
    assert prices.scaled(3e-3).threshold(20, sd) == pytest.approx(1e-2)
    assert credit(-1e-4) == 1e-4
    assert credit(1e-4) == 0


def test_wrong_prices_are_refused() -> None:
    with pytest.raises(ConfigError, match="per_line"):
        Prices(per_line=-1)
    with pytest.raises(DataError, match="memory ratio"):
        Prices().threshold(0, 4e-4, memory_ratio=0.0)


def settled_judge() -> Judge:
    judge = Judge(Settings())
    rng = np.random.default_rng(2)
    for _ in range(12):
        judge.incumbent(1 + 3e-4 * float(rng.standard_normal()))
    return judge


def test_deleting_code_at_equal_metric_is_kept() -> None:
    judge = settled_judge()
    y = [judge.incumbent_mean] * 3
    assert not judge.assess(y).keep
    simpler = judge.assess(y, Prices().threshold(-30, judge.noise_sd))
    assert simpler.keep
    assert simpler.verdict is Verdict.KEEP
    assert simpler.confidence < 0.6


def test_a_gain_that_does_not_pay_for_its_lines_is_marginal() -> None:
    judge = settled_judge()
    y = [judge.incumbent_mean - 9e-4] * 5
    assert judge.assess(y).keep
    dear = judge.assess(y, Prices().threshold(40, judge.noise_sd))
    assert not dear.keep
    assert dear.verdict is Verdict.MARGINAL


def test_efficiency() -> None:
    small, large, beaten = efficiency([1.0, 0.9, 1.2], [0.01] * 3, [10.0, 20.0, 20.0])
    assert small.low == small.high == 1
    assert large.efficient
    assert not beaten.efficient
    assert beaten.high < 1e-6
    tied = efficiency([1.0, 1.0], [0.0, 0.0], [5.0, 5.0])
    assert [e.low for e in tied] == [1.0, 1.0]
    assert efficiency([], [], []) == ()
    with pytest.raises(ValueError, match="equal length"):
        efficiency([1.0], [], [1.0])


def test_replay_sorts_rows_into_kinds() -> None:
    values = [None, 1.0, 0.99, 0.9902, None, 0.9899, 1.1]
    kept = [False, True, True, False, False, True, False]
    again = [False, False, False, True, False, True, False]
    result = replay(values, kept, again, Settings())
    seen = [assessment is not None for assessment in result.assessments]
    # A kept replicate row is a candidate like any other.
    assert seen == [False, False, True, False, False, True, True]
    doubts = [1 - a.confidence for a, k in zip(result.assessments, kept, strict=True) if a and k]
    assert result.judge.expected_false_keeps == pytest.approx(sum(doubts))
    assert [belief is not None for belief in result.beliefs] == [False] + 6 * [True]
    assert result.beliefs[-1] == (result.judge.incumbent_mean, result.judge.incumbent_sd)
    assert result.beliefs[1] != result.beliefs[2]


def test_replay_needs_equal_lengths() -> None:
    with pytest.raises(DataError, match="equal length"):
        replay([1.0], [], [False], Settings())
