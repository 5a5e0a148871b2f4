"""Tails of the normal distribution and Welch's interval against scipy; what judging loads."""

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from helpers import REPO
from ratchet.base.stats import _CELLS, _POLE, log_ndtr, mills, ndtr, welch_interval

PACKAGES = REPO / "workflow_scripts"
EXACT = 1e-14

# Both sides round x^2 before the exponential, so what Phi loses grows with x^2.
BODY = 5.0


def erfcx(x: Any) -> Any:
    return mills(np.asarray(x) * math.sqrt(2)) * math.sqrt(2 / math.pi)


def furthest(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest relative difference; exact zeros must agree."""
    off = np.abs(found - expected)
    return float(
        np.where(off > 0, off / np.abs(np.where(expected == 0, 1e-300, expected)), 0).max()
    )


def test_mills_ratio_everywhere_and_at_the_edges_of_its_table() -> None:
    x = np.concatenate([[0.0], np.linspace(0, 60, 100_001), np.geomspace(1e-300, 1e8, 100_001)])
    assert furthest(erfcx(x), scipy.special.erfcx(x)) < EXACT
    pole = _POLE * math.sqrt(2)
    place = np.arange(1, _CELLS + 1)
    edge = pole * (_CELLS - place) / place
    for x in (edge, np.nextafter(edge, math.inf), np.nextafter(edge, 0)):
        assert furthest(erfcx(x / math.sqrt(2)), scipy.special.erfcx(x / math.sqrt(2))) < EXACT
    assert mills(np.array(0.0)) == pytest.approx(math.sqrt(math.pi / 2), rel=1e-15)
    assert mills(np.array(math.inf)) == 0


@given(st.floats(-1e4, BODY))
def test_log_of_the_distribution_function(x: float) -> None:
    assert log_ndtr(np.array(x)) == pytest.approx(scipy.special.log_ndtr(x), rel=EXACT)


@given(st.floats(-40, 40))
def test_far_tails_lose_only_what_the_square_does(x: float) -> None:
    lost = EXACT + 3e-16 * x * x
    for ours, theirs in ((ndtr, scipy.special.ndtr), (log_ndtr, scipy.special.log_ndtr)):
        assert ours(np.array(x)) == pytest.approx(theirs(x), rel=lost, abs=1e-307)


def test_distribution_function_is_monotone_and_symmetric() -> None:
    x = np.linspace(-12, 12, 20_001)
    phi = ndtr(x)
    assert (np.diff(phi) >= -2e-16).all()
    assert np.abs(phi + ndtr(-x) - 1).max() < 2e-16
    assert ndtr(np.array([-math.inf, math.inf])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("function", [mills, ndtr, log_ndtr])
def test_neighbours_do_not_change_a_bit(function: Callable[[np.ndarray], np.ndarray]) -> None:
    x = np.random.default_rng(1).exponential(3, size=(37, 11))
    whole = function(x)
    assert np.array_equal(whole, function(x))
    assert np.array_equal(whole[5:8], function(x[5:8]))
    assert np.array_equal(whole.T, function(x.T))
    assert all(function(np.array(a)) == b for a, b in zip(x[0], whole[0], strict=True))


def test_welch_interval() -> None:
    a, b = [3.41, 3.43, 3.40, 3.44], [2.90, 2.88, 2.93]
    found = welch_interval(a, b, 0.95)
    reference = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found.gain == pytest.approx(np.mean(a) - np.mean(b))
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))
    alone = welch_interval([2.0], [1.5], 0.95)
    assert (alone.gain, alone.low, alone.high) == (0.5, None, None)
    repeated = welch_interval([2.0, 2.0], [1.5, 1.5], 0.95)
    assert (repeated.gain, repeated.low, repeated.high) == (0.5, None, None)


def test_judging_loads_no_scipy() -> None:
    code = (
        "import sys; from ratchet.judge import Judge; judge = Judge(); judge.incumbent(1.0); "
        "judge.assess([0.99], 1e-4); judge.commit(True); from ratchet.logs import analysis; "
        "sys.exit('scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(PACKAGES)})
    assert done.returncode == 0
