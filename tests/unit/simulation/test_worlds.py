"""Simulated worlds: what is drawn, and what all rules have in common."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.simulation.worlds import (
    DIVERGENCE,
    LARGEST_SHARE,
    WORLDS,
    Draws,
    Noise,
    Stream,
    draw_landscape,
    draw_noise,
)

draws = st.builds(
    Draws,
    chance=st.floats(0, 1, exclude_max=True),
    kind=st.floats(0, 1, exclude_max=True),
    size=st.floats(0, 50),
    deviation=st.floats(-6, 6),
)


RANGES = {
    "distance": (0.026, 0.045),
    "chance": (0.30, 0.95),
    "decay": (0.30, 1.60),
    "share": (0.05, 0.20),
    "null": (0.0, 0.50),
    "harm": (2e-4, 2e-3),
    "harm_spread": (0.70, 1.80),
}


def test_landscapes_have_the_fitted_ranges_and_medians() -> None:
    rng = np.random.default_rng(1)
    found = [draw_landscape(rng) for _ in range(4000)]
    values = {name: np.array([getattr(x, name) for x in found]) for name in RANGES}
    for name, (low, high) in RANGES.items():
        assert low < values[name].min() and values[name].max() < high, name
    assert np.median(values["distance"]) == pytest.approx(0.0292, abs=3e-4)
    assert np.median(values["chance"]) == pytest.approx(0.78, abs=0.02)
    assert np.median(values["harm"]) == pytest.approx(6.5e-4, abs=3e-5)
    both = np.corrcoef(values["distance"], values["decay"])
    assert both[0, 1] == pytest.approx(0.36, abs=0.06)


@given(draws=draws, distance=st.floats(-0.01, 0.1), seed=st.integers(0, 50))
def test_an_improvement_leaves_some_of_the_distance(
    draws: Draws, distance: float, seed: int
) -> None:
    landscape = draw_landscape(np.random.default_rng(seed))
    effect = landscape.effect(draws, distance)
    assert math.isfinite(effect)
    if effect > 3.001e-4:  # beyond six sds of a null effect
        assert effect <= LARGEST_SHARE * max(distance, 0)
    assert landscape.effect_without_improvements(draws) <= 0


def test_improvements_become_rarer_near_the_optimum() -> None:
    landscape = draw_landscape(np.random.default_rng(2))
    rng = np.random.default_rng(3)
    numbers = [Draws(*rng.random(2), rng.standard_exponential(), 0.0) for _ in range(2000)]
    shares = [
        np.mean([landscape.effect(one, part * landscape.distance) > 0 for one in numbers])
        for part in (1.0, 0.3, 0.03)
    ]
    assert shares[0] == pytest.approx(landscape.chance, abs=0.04)
    assert shares[0] > shares[1] > shares[2]


@pytest.mark.parametrize("noise", Noise)
def test_noise_has_mean_0_and_sd_1(noise: Noise) -> None:
    rng = np.random.default_rng(4)
    values = np.array([draw_noise(noise, rng) for _ in range(40_000)])
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.std() == pytest.approx(1, abs=0.06 if noise is Noise.HEAVY else 0.02)
    skewness, tails = np.mean(values**3), np.mean(np.abs(values) > 4)
    assert (skewness > 0.7) == (noise is Noise.SKEWED)
    assert (tails > 1e-3) == (noise in (Noise.HEAVY, Noise.SKEWED))


@pytest.mark.parametrize(
    ("name", "crashes", "diverge"),
    [("typical", 0.03, 0.0), ("crashes", 0.2, 0.0), ("divergent", 0.03, 0.05)],
)
def test_shares_of_crashes_and_divergence(name: str, crashes: float, diverge: float) -> None:
    streams = [Stream(WORLDS[name], 6, session) for session in range(20)]
    made = [stream.proposal(i) for stream in streams for i in range(200)]
    assert np.mean([one.crashes for one in made]) == pytest.approx(crashes, abs=0.02)
    effects = np.array([s.effect(i, 0.03) for s in streams for i in range(200)])
    far = effects[effects < -DIVERGENCE[0]]
    assert far.size / effects.size == pytest.approx(diverge, abs=0.015)
    assert far.min(initial=0.0) >= -DIVERGENCE[1]


def test_nothing_improves_where_nothing_can() -> None:
    for session in range(10):
        null, none = (Stream(WORLDS[name], 7, session) for name in ("null", "all-null"))
        effects = [null.effect(i, 0.03) for i in range(100)]
        assert max(effects) == 0.0
        assert min(effects) < 0
        assert {none.effect(i, 0.03) for i in range(100)} == {0.0}


def test_uneven_candidates_differ_in_noise_and_the_others_do_not() -> None:
    uneven, typical = (Stream(WORLDS[name], 8, 0) for name in ("uneven", "typical"))
    factors = np.log([uneven.proposal(i).noise_factor for i in range(1000)])
    assert factors.std() == pytest.approx(0.5, abs=0.05)
    assert factors.mean() == pytest.approx(0, abs=0.05)
    for i in range(20):
        expected = uneven.proposal(i).noise_factor * typical.candidate_noise(i, 0)
        assert uneven.candidate_noise(i, 0) == pytest.approx(expected)
        assert typical.proposal(i).noise_factor == 1


def test_half_of_the_drifting_sessions_drift_upwards() -> None:
    drifts = [Stream(WORLDS["drift"], 9, session).drift for session in range(200)]
    assert set(drifts) == {0.01, -0.01}
    assert 70 < sum(drift > 0 for drift in drifts) < 130
    assert Stream(WORLDS["typical"], 9, 0).drift == 0


@given(order=st.permutations(list(range(12))), seed=st.integers(0, 2**40))
def test_random_numbers_do_not_depend_on_the_order_of_calls(order: list[int], seed: int) -> None:
    one, other = (Stream(WORLDS["heavy"], seed, 3) for _ in range(2))
    cells = [(i // 3, i % 3) for i in range(12)]
    straight = {cell: one.candidate_noise(*cell) for cell in cells}
    incumbent = [one.incumbent_noise(count) for count in range(12)]
    for i in order:
        assert other.candidate_noise(*cells[i]) == straight[cells[i]]
        assert other.incumbent_noise(i) == incumbent[i]
        assert other.proposal(i) == one.proposal(i)
    assert len(set(straight.values()) | set(incumbent)) == 24


def test_worlds_differ_by_one_thing_only_and_sessions_in_all() -> None:
    typical = Stream(WORLDS["typical"], 10, 4)
    for name, world in WORLDS.items():
        assert name == world.name and world.summary
        other = Stream(world, 10, 4)
        assert other.landscape == typical.landscape
        assert all(other.proposal(i).draws == typical.proposal(i).draws for i in range(20))
    landscapes = {Stream(typical.world, seed, s).landscape for seed in range(3) for s in range(3)}
    assert len(landscapes) == 9
