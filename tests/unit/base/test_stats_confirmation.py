"""Welch's interval, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ratchet.base.stats import welch_interval


def test_against_scipy() -> None:
    a, b = [3.41, 3.43, 3.40, 3.44], [2.90, 2.88, 2.93]
    found = welch_interval(a, b, 0.95)
    reference = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found.gain == pytest.approx(np.mean(a) - np.mean(b))
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))


def test_one_run_a_side_has_no_interval() -> None:
    found = welch_interval([2.0], [1.5], 0.95)
    assert (found.gain, found.low, found.high) == (0.5, None, None)


def test_without_noise_the_interval_is_a_point() -> None:
    found = welch_interval([2.0, 2.0], [1.5, 1.5], 0.95)
    assert (found.low, found.high) == (0.5, 0.5)


def test_coverage() -> None:
    """The interval holds the truth in 95 of 100 cases."""
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(2000):
        a, b = rng.normal(1.0, 0.02, 3), rng.normal(0.9, 0.01, 3)
        found = welch_interval(a.tolist(), b.tolist(), 0.95)
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 0.1 <= found.high
    assert 0.93 <= inside / 2000 <= 0.975
    assert math.isfinite(found.gain)
