"""Efficient or dominated: a candidate among the configurations kept before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.judge.tradeoffs import (
    DOMINATED,
    EFFICIENT,
    Configuration,
    efficiency_bounds,
    pareto_status,
)

MEANS = st.floats(0.5, 1.5)
KEPT = st.lists(
    st.builds(Configuration, MEANS, st.floats(1e-3, 0.1), st.none() | st.floats(10, 1000)),
    min_size=1,
    max_size=6,
)
SURE = st.floats(0, 1)


def one(mean: float, memory: float | None = 100.0, sd: float = 0.01) -> Configuration:
    return Configuration(mean, sd, memory)


def test_better_than_the_incumbent_is_efficient_and_worse_is_dominated() -> None:
    better, worse = (efficiency_bounds(one(0.9), p, [one(1.0)]) for p in (0.9, 0.1))
    assert pareto_status(better) == EFFICIENT
    assert pareto_status(worse) == DOMINATED
    assert better is not None
    assert better.low == better.high == pytest.approx(0.9)


def test_less_memory_than_all_is_efficient_however_bad() -> None:
    found = efficiency_bounds(one(2.0, memory=50.0), 0.0, [one(1.0)])
    assert found is not None
    assert (found.low, found.high) == (1.0, 1.0)


def test_an_old_configuration_of_less_memory_dominates() -> None:
    old, incumbent = one(0.9, memory=60.0), one(0.8, memory=200.0)
    assert (
        pareto_status(efficiency_bounds(one(1.0, memory=80.0), 0.0, [old, incumbent])) == DOMINATED
    )
    assert (
        pareto_status(efficiency_bounds(one(0.7, memory=80.0), 0.9, [old, incumbent])) == EFFICIENT
    )


def test_an_old_configuration_as_large_as_the_incumbent_has_lost_already() -> None:
    # A lucky estimate of the first configuration must not count twice.
    found = efficiency_bounds(one(0.95), 0.8, [one(0.9), one(1.0)])
    assert found is not None
    assert found.low == pytest.approx(0.8)


def test_without_memory_nothing_is_known() -> None:
    assert pareto_status(efficiency_bounds(one(0.5, memory=None), 0.9, [one(1.0)])) is None
    assert efficiency_bounds(one(0.5), 0.9, []) is None
    found = efficiency_bounds(one(0.5), 0.7, [one(1.0, memory=None)])
    assert found is not None
    assert found.low == pytest.approx(0.7)


@given(MEANS, st.floats(0, 0.5), SURE, KEPT)
def test_a_better_mean_never_hurts(mean: float, gain: float, sure: float, kept: list) -> None:
    here, there = (efficiency_bounds(one(m), sure, kept) for m in (mean, mean - gain))
    assert here is not None and there is not None
    assert there.low >= here.low - 1e-12
    assert there.high >= here.high - 1e-12
    assert 0 <= here.low <= here.high <= 1


@given(MEANS, st.floats(10, 1000), st.floats(1, 3), SURE, KEPT)
def test_more_memory_never_helps(
    mean: float, memory: float, factor: float, sure: float, kept: list
) -> None:
    small = efficiency_bounds(one(mean, memory), sure, kept)
    large = efficiency_bounds(one(mean, memory * factor), sure, kept)
    assert small is not None and large is not None
    assert large.low <= small.low + 1e-12


@given(MEANS, SURE, SURE, KEPT)
def test_more_confidence_never_hurts(mean: float, a: float, b: float, kept: list) -> None:
    less, more = (efficiency_bounds(one(mean), p, kept) for p in sorted((a, b)))
    assert less is not None and more is not None
    assert more.low >= less.low
    assert more.high >= less.high
