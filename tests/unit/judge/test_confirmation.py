"""Whether a gain carries over to unseen data: error rates with known truth, and what is found."""

import numpy as np
import pytest

from ratchet.base.stats import welch_interval
from ratchet.judge.confirmation import (
    FALSE_ALARMS,
    FEWEST_PARTS,
    LEAST_CARRIED,
    FreshRuns,
    chance_of_carrying,
    confirm_gain,
)
from ratchet.records.confirmed import GainStanding, gain_standing
from ratchet.records.records import Confirmation

PARTS = 32
TEXT = 0.3
"""Noise, by the choice of the data, of the gain on all parts together; that of a run is 1."""


def fresh_runs(rng, search, unseen, runs, shared, spread) -> FreshRuns:
    """Runs of a code whose noise on either data has the correlation ``shared``."""
    both = rng.normal(0, shared**0.5, runs)
    on_search, on_unseen = rng.normal(0, (1 - shared) ** 0.5, (2, runs))
    parts = unseen + (both + on_unseen)[:, None] + spread + rng.normal(0, 0.2, (runs, len(spread)))
    return FreshRuns(search + both + on_search, parts.mean(axis=1), parts)


def alarms(gain: float, carried: float, runs: int = 3, shared: float = 0.5, times: int = 2000):
    """Share of simulated confirmations whose gain is said not to carry over."""
    rng, found = np.random.default_rng(7), 0
    for _ in range(times):
        spread = rng.normal(0, TEXT * PARTS**0.5, PARTS)
        before = fresh_runs(rng, 3.0, 3.0, runs, shared, 0 * spread)
        searched = 3.0 - gain + rng.normal(0, TEXT)
        after = fresh_runs(rng, searched, 3.0 - carried * gain, runs, shared, spread)
        chance = chance_of_carrying(before, after, 1.0, (1, 1))
        found += chance is not None and chance < FALSE_ALARMS
    return found / times


@pytest.mark.parametrize("runs", [1, 2, 3, 5])
@pytest.mark.parametrize(("gain", "carried"), [(0.0, 1.0), (30.0, LEAST_CARRIED)])
def test_false_alarms_are_as_rare_as_stated_at_the_least_that_must_carry(runs, gain, carried):
    assert alarms(gain, carried, runs) <= 3 * FALSE_ALARMS


def test_an_honest_gain_is_never_accused():
    for gain in (0.5, 2.0, 10.0, 100.0):
        for carried in (0.85, 1.0, 1.25):
            assert alarms(gain, carried, shared=0.8, times=300) == 0


def test_what_is_found():
    """With three runs a side: a tenth of eight noise floors, half of thirty."""
    assert alarms(8.0, 0.1, times=500) >= 0.9
    assert alarms(30.0, 0.5, times=500) >= 0.9
    assert alarms(100.0, 0.1, runs=1, times=500) == 1


def test_a_search_that_believes_in_too_much_noise_hides_nothing():
    rng = np.random.default_rng(5)
    spread = rng.normal(0, 0.1, PARTS)
    before = fresh_runs(rng, 3.0, 3.0, 3, 0.5, 0 * spread)
    after = fresh_runs(rng, 3.0 - 60.0, 3.0, 3, 0.5, spread)
    known, unknown = (chance_of_carrying(before, after, sd, (1, 1)) for sd in (1.0, 1e4))
    assert known is not None and unknown is not None and unknown < FALSE_ALARMS
    # One run a side shows no noise: what the search believes counts.
    alone = [FreshRuns(s.search[:1], s.unseen[:1], s.parts[:1]) for s in (before, after)]
    assert (chance_of_carrying(*alone, 1e4, (1, 1)) or 0) > 0.4
    assert (chance_of_carrying(*alone, 1.0, (1, 1)) or 0) < FALSE_ALARMS


def test_nothing_is_tested_without_a_gain_or_without_parts():
    side = FreshRuns([3.0, 3.1], [3.0, 3.1], np.full((2, PARTS), 3.05))
    better = FreshRuns([1.0, 1.1], [3.0, 3.1], side.parts)
    assert chance_of_carrying(side, better, 0.1, (1, 1)) is not None
    assert chance_of_carrying(better, side, 0.1, (1, 1)) is None
    assert chance_of_carrying(side, FreshRuns([1.0, 1.1], [3.0, 3.1]), 0.1, (1, 1)) is None
    few = [
        FreshRuns(s.search, s.unseen, np.full((2, FEWEST_PARTS - 1), 3.05)) for s in (side, better)
    ]
    assert chance_of_carrying(*few, 0.1, (1, 1)) is None


def test_smaller_unseen_data_allow_for_more_chance():
    rng = np.random.default_rng(3)
    spread = rng.normal(0, 2.0, PARTS)
    before = fresh_runs(rng, 3.0, 3.0, 3, 0.9, 0 * spread)
    after = fresh_runs(rng, 1.0, 2.8, 3, 0.9, spread)
    chances = [chance_of_carrying(before, after, 0.1, (size, 1000)) for size in (100, 1000, 10_000)]
    assert chances == sorted(chances, reverse=True) and chances[0] > 2 * chances[-1]


BASE = FreshRuns([3.00, 3.02, 2.98], [3.05, 3.07, 3.03], np.full((3, PARTS), 3.05))


def confirmed(search: float, unseen: float | None) -> Confirmation:
    """A confirmation with these gains, by three runs of little noise."""
    of_unseen = [] if unseen is None else [value - unseen for value in BASE.unseen]
    parts = () if unseen is None else np.asarray(BASE.parts) - unseen
    after = FreshRuns([value - search for value in BASE.search], of_unseen, parts)
    before = BASE if unseen is not None else FreshRuns(BASE.search)
    return confirm_gain(Confirmation(champion=1), before, after, 0.02, (100, 100))


@pytest.mark.parametrize(
    ("search", "unseen", "standing", "carries"),
    [
        (0.5, 0.49, GainStanding.CONFIRMED, True),
        (0.5, 0.6, GainStanding.CONFIRMED, True),
        (2.12, 0.21, GainStanding.NOT_CARRIED_OVER, False),
        (2.12, -0.5, GainStanding.NOT_CARRIED_OVER, False),
        (0.03, 0.01, GainStanding.NOT_CONFIRMED, True),
        (0.06, 0.01, GainStanding.NOT_CONFIRMED, True),
        (-0.2, -0.2, GainStanding.WORSE, None),
        (-0.2, 0.2, GainStanding.CONFIRMED, None),
        (0.5, None, GainStanding.CONFIRMED, None),
    ],
)
def test_the_unseen_data_decide(search, unseen, standing, carries):
    found = confirmed(search, unseen)
    assert (gain_standing(found), found.carries_over) == (standing, carries)
    assert found.gain == pytest.approx(search)
    assert found.audit_gain == (None if unseen is None else pytest.approx(unseen))


@pytest.mark.parametrize(("replicates", "gain"), [(2, 14.0), (3, 4.1), (5, 2.5)])
def test_the_gain_that_so_many_runs_of_each_show(replicates: int, gain: float) -> None:
    """What docs/verdicts.md says of runs at another scale, which know no other noise."""
    draw = np.random.default_rng(replicates).normal(size=(1500, 2, replicates))
    shown, false = (
        np.mean([(welch_interval(a, b - each, 0.95).low or 0) > 0 for a, b in draw])
        for each in (gain, 0.0)
    )
    assert 0.87 < shown < 0.93
    assert false < 0.04
