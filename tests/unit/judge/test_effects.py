"""The effect posterior against brute-force integration, and its monotonicity."""

import math

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from ratchet.judge.effects import COMPONENTS, SCALES, EffectModel
from ratchet.judge.settings import Settings

MODEL = EffectModel(Settings(effect_scale=1.0))
PRIOR = MODEL.prior()


def slab(g: float) -> float:
    """Density of the prior's continuous part."""
    side = PRIOR[1 : 1 + SCALES.size] if g > 0 else PRIOR[1 + SCALES.size :]
    return float(2 * side @ scipy.stats.norm.pdf(g, scale=SCALES))


def integral(d: float, v: float, power: int, low: float, high: float) -> float:
    """Integral of prior * likelihood * g^power over a range of effects."""
    points = [p for p in (0.0, d, d - 4 * math.sqrt(v), d + 4 * math.sqrt(v)) if low < p < high]
    value, _ = scipy.integrate.quad(
        lambda g: slab(g) * scipy.stats.norm.pdf(d, g, math.sqrt(v)) * g**power,
        low,
        high,
        points=points or None,
        limit=400,
        epsabs=1e-13,
    )
    return float(value)


@pytest.mark.parametrize("threshold", [-0.7, 0.0, 0.4])
@pytest.mark.parametrize(("d", "v"), [(0.3, 1.0), (2.5, 0.6), (-1.7, 0.3), (0.0, 4.0)])
def test_posterior_is_the_integral(d: float, v: float, threshold: float) -> None:
    assert PRIOR.shape == (COMPONENTS,)
    assert PRIOR.sum() == pytest.approx(1)
    found = MODEL.posterior(np.array(d), np.array(v), PRIOR, threshold)
    null = float(PRIOR[0] * scipy.stats.norm.pdf(d, 0, math.sqrt(v)))
    total = null + integral(d, v, 0, -60, 60)
    mean = integral(d, v, 1, -60, 60) / total
    second = integral(d, v, 2, -60, 60) / total
    above = integral(d, v, 0, threshold, 60) + (null if threshold < 0 else 0)
    assert math.exp(float(found.log_marginal)) == pytest.approx(total, rel=1e-6)
    assert float(found.better) == pytest.approx(integral(d, v, 0, 0, 60) / total, abs=1e-6)
    assert float(found.above) == pytest.approx(above / total, abs=1e-6)
    assert float(found.mean) == pytest.approx(mean, abs=1e-6)
    assert float(found.variance) == pytest.approx(second - mean**2, abs=1e-6)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e3), st.floats(-5, 5))
def test_finite_and_consistent_for_any_difference(d: float, v: float, threshold: float) -> None:
    found = MODEL.posterior(np.array(d), np.array(v), PRIOR, threshold)
    values = (found.better, found.above, found.mean, found.variance, found.log_marginal)
    assert all(np.isfinite(values))
    assert 0 <= found.better <= 1 + 1e-12
    assert -1e-12 <= found.above <= 1 + 1e-12
    assert found.variance >= 0


@given(
    st.floats(-50, 50), st.floats(0.01, 5), st.floats(0.01, 10), st.floats(-3, 3), st.floats(0, 3)
)
def test_better_measurements_are_better_news_and_higher_thresholds_harder(
    d: float, step: float, v: float, threshold: float, more: float
) -> None:
    seen, better, harder = (
        MODEL.posterior(np.array(x), np.array(v), PRIOR, t)
        for x, t in ((d, threshold), (d + step, threshold), (d, threshold + more))
    )
    assert better.better >= seen.better - 1e-12
    assert better.above >= seen.above - 1e-9
    assert better.mean >= seen.mean - 1e-9
    assert harder.above <= seen.above + 1e-9
