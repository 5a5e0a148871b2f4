"""An audit's facts: what a whole log says of each kept change."""

import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from long_logs import long_log
from ratchet.judge.settings import Settings
from ratchet.logs import smoothing
from ratchet.logs.audit import CHANCE, CREDIBLE, OVERTURNED, audit, seeds_to_decide
from ratchet.logs.experiments import log_experiments
from ratchet.logs.judging import Rules, evidence_values, settings_for
from ratchet.logs.reader import read_table
from ratchet.logs.smoothing import SmoothedChange

SD = 3e-4


def test_facts_agree_with_each_other() -> None:
    values = [0.0, -10 * SD, -10.5 * SD, None, *([-9.8 * SD] * 6), -11 * SD]
    kept = [True, True, True, False, *[False] * 6, True]
    judged = [False, *kept[1:]]
    found = audit(values, kept, [False] * len(values), judged, Settings())
    assert [change.place for change in found.changes] == [1, 2, 10]
    assert [round(c.step / SD, 6) for c in found.changes] == [10, 0.5, 0.5]
    assert found.expected_true == pytest.approx(sum(c.given_log for c in found.changes))
    assert found.expected_false == pytest.approx(3 - found.expected_true)
    assert found.least_true <= found.expected_true <= found.most_true
    assert found.all_hold <= min(c.given_log for c in found.changes)
    assert found.together == (1,)
    assert found.together_hold >= CREDIBLE
    assert found.surviving["strong"] == 1
    assert list(found.surviving.values()) == sorted(found.surviving.values(), reverse=True)
    assert found.printed == pytest.approx(11 * SD)
    assert found.total_low < found.total < found.total_high
    assert found.total < found.printed


def test_a_baseline_that_starts_anew_is_no_change() -> None:
    values = [0.0, -10 * SD, 5 * SD, 0 * SD]
    kept = [True] * 4
    judged = [False, True, False, True]
    settings = Settings(noise_span=0.05)
    found = audit(values, kept, [False] * 4, judged, settings)
    assert [change.place for change in found.changes] == [1, 3]
    assert found.total == pytest.approx(15 * SD, abs=2 * SD)


def calls(rows: int) -> int:
    """Calls of functions, of Python and of C, by which a log of so many rows is audited."""
    table = read_table(long_log(rows).encode(), "results.tsv")
    count = 0

    def counted(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        every = log_experiments(table)
        settings = settings_for(every, rows, Rules())
        judged = evidence_values(every), every.kept, every.again, every.kept_changes
        audit(*judged, settings, undecided=every.undecided)
    finally:
        sys.setprofile(None)
    return count


def test_the_work_grows_in_proportion_to_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoothing, "MOST_COUNTED", 10)
    assert calls(480) < 2.6 * calls(240)


rows = st.tuples(st.none() | st.floats(-1e9, 1e9), st.booleans(), st.booleans())


@pytest.mark.filterwarnings("error")
@given(st.lists(rows, max_size=10), st.floats(-1e6, 1e6), st.sampled_from([1e-9, 3e-4, 1e3]))
@example([(1e9, True, False), (0.0, True, False)], 1.0, 1e-9)
@settings(max_examples=30, deadline=None)
def test_any_log_has_finite_facts(log: list[Any], first: float, scale: float) -> None:
    values = [first, *(value for value, _, _ in log)]
    kept = [True, *(keep and value is not None for value, keep, _ in log)]
    again = [False, *(more for _, _, more in log)]
    judged = [False, *kept[1:]]
    found = audit(values, kept, again, judged, Settings.for_session(scale=scale))
    assert len(found.changes) == sum(judged)
    of_all = (found.noise_sd, found.total, found.total_low, found.total_high, found.printed)
    assert np.isfinite(of_all).all()
    for change in found.changes:
        assert 0 <= change.given_log <= 1 and 0 <= change.chance <= 1 + 1e-9
        assert np.isfinite((change.gain, change.low, change.high)).all()
    assert 0 <= found.least_true <= found.most_true <= len(found.changes)


def two_points(better: float, gain: float) -> SmoothedChange:
    """The change is nothing, or a gain of this many noise sds."""
    values, masses = np.array([0.0, gain]), np.array([1 - better, better])
    return SmoothedChange(1, better, better * gain, 0, gain, values, masses, masses * [0, 1])


def test_seeds_are_those_that_decide() -> None:
    for gain in (1.0, 2.0, 4.0):
        change = two_points(0.7, gain)
        seeds, chance = seeds_to_decide(change, 1.0)
        assert seeds is not None
        assert CHANCE <= chance <= 1
        assert decided(change, seeds) == pytest.approx(chance, abs=0.01)
        assert seeds == 1 or decided(change, seeds - 1) < CHANCE + 0.01
    counts = [seeds_to_decide(two_points(0.7, gain), 1.0)[0] for gain in (0.3, 1, 2, 4)]
    assert counts[0] is None
    assert counts[1:] == sorted(filter(None, counts), reverse=True)
    assert seeds_to_decide(two_points(0.7, 0.3), 1.0)[1] < CHANCE


def decided(change: SmoothedChange, seeds: int) -> float:
    """By simulation: how often so many runs of both sides decide."""
    rng = np.random.default_rng(1)
    effects = rng.choice(change.values, p=change.masses, size=40_000)
    shape = (seeds, effects.size)
    parent, child = rng.standard_normal(shape), rng.standard_normal(shape) - effects
    seen = parent.mean(axis=0) - child.mean(axis=0)
    fits = [
        m * np.exp(-0.25 * seeds * (seen - v) ** 2)
        for v, m in zip(change.values, change.masses, strict=True)
    ]
    better = fits[1] / (fits[0] + fits[1])
    return float(((better >= CREDIBLE) | (better < OVERTURNED)).mean())


@pytest.mark.parametrize("better", [0.951, 0.49])
def test_what_is_decided_needs_no_seeds(better: float) -> None:
    assert seeds_to_decide(two_points(better, 1.0), 1.0) == (0, 1.0)
