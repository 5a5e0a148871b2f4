"""Modes, scales and the ranges of settings."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.errors import ConfigError, DataError
from ratchet.judge.settings import Mode, Settings, scale_from


@pytest.mark.parametrize(
    ("mode", "runs", "expected"),
    [
        ("liberal", 900, 0.42),
        ("gain", 10, 0.5),
        ("balanced", 10, 0.7),
        (Mode.STRICT, None, 0.8),
        ("auto", 60, 0.42),
        ("auto", 61, 0.5),
        ("auto", None, 0.5),
        ("guaranteed", 100, 0.8),
    ],
)
def test_modes(mode: str, runs: int | None, expected: float) -> None:
    settings = Settings.for_session(mode, runs)
    assert settings.keep_probability == expected
    assert settings.false_keep_bound == (0.05 if mode == "guaranteed" else None)


def test_modes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"auto, liberal, gain, balanced, strict.*'greedy'"):
        Settings.for_session("greedy", 10)
    with pytest.raises(ConfigError, match="max_replicates"):
        Settings.for_session("guaranteed", max_replicates=2)


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
        {"fading": -0.1},
        {"even_scales": 1.5},
        {"noise_factors": ()},
        {"noise_factors": ((0.0, 1.0),)},
        {"outlier_floor": math.nan},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="judge setting"):
        Settings(**wrong)


def test_scale_follows_the_replicates_and_the_metric_where_they_do_not_differ() -> None:
    for values, scale in (([2.0], 6e-4), ([-2.0, -2.0], 6e-4), ([0.0], 3e-4), ([0.1] * 3, 3e-5)):
        assert scale_from(values) == pytest.approx(scale)
    rng = np.random.default_rng(0)
    for sd in (1e-4, 1e-2, 10.0):
        drawn = 2 + sd * rng.standard_normal(12)
        assert scale_from(list(drawn)) == pytest.approx(drawn.std(ddof=1), rel=0.25)
    # Replicates win over a meaningless magnitude.
    assert scale_from([-1.0, 0.1, 0.9]) == pytest.approx(0.95, rel=0.3)
    # An accidentally tiny spread is mistrusted.
    for spread in (1e-5, 1e-7, 1e-10):
        assert 1e-5 < scale_from([1.0, 1.0 + spread]) < 3e-4
    # Eight replicates do not agree by accident.
    assert scale_from([1.0 + 1e-6 * k for k in range(8)]) < 1e-5


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
