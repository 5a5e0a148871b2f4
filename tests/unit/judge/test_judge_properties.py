"""Laws that hold for every sequence of measurements, and the numbers of one sequence."""

import functools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from ratchet.base.errors import DataError
from ratchet.judge.judge import Assessment, Judge, replay
from ratchet.judge.settings import Settings
from ratchet.records.records import Verdict

Call = tuple[list[float], bool]

# Differences from the first run, in noise scales.
offset = st.floats(-20, 20).map(lambda x: round(x, 3))
candidate = st.tuples(st.lists(offset, min_size=1, max_size=4), st.booleans())
calls = st.lists(candidate, min_size=1, max_size=12)


def play(judge: Judge, sequence: list[Call], center: float, scale: float) -> list[Assessment]:
    found = []
    for ys, keep in sequence:
        found.append(judge.assess([center + scale * y for y in ys]))
        judge.commit(keep)
    return found


def started(scale: float, center: float) -> Judge:
    judge = Judge(Settings(noise_center=scale, effect_scale=scale))
    for y in (0.0, 0.8):
        judge.incumbent(center + scale * y)
    return judge


def assert_same(left: Assessment, right: Assessment, factor: float) -> None:
    assert left.confidence == pytest.approx(right.confidence, abs=1e-7)
    for name in ("gain", "delta", "delta_sd", "noise_sd", "retest_value", "fresh_value"):
        ours, theirs = getattr(left, name) / factor, getattr(right, name)
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-7), name
    near = min(abs(left.confidence - p) for p in (0.02, 0.5, 0.6, 0.95, 0.999)) < 1e-6
    assert near or left.verdict is right.verdict


@settings(max_examples=25)
@given(calls, st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_the_metrics_unit_and_origin_do_not_matter(sequence, factor, shift) -> None:
    one = play(started(1.0, 0.0), sequence, 0.0, 1.0)
    scaled = play(started(factor, 0.0), sequence, 0.0, factor)
    shifted = play(started(1.0, shift), sequence, shift, 1.0)
    for left, right, other in zip(scaled, one, shifted, strict=True):
        assert_same(left, right, factor)
        assert_same(other, right, 1.0)


@settings(max_examples=25)
@given(st.floats(2, 60), st.integers(1, 4))
def test_consistent_evidence_makes_it_surer(size: float, count: int) -> None:
    judge = started(1.0, 0.0)
    few, more = (judge.assess([-size] * n) for n in (count, count + 1))
    assert more.confidence >= few.confidence
    few, more = (judge.assess([+size] * n) for n in (count, count + 1))
    assert more.confidence <= few.confidence


@settings(max_examples=25)
@given(calls, st.integers(0, 12), st.floats(-3, 3))
def test_a_stored_judge_goes_on_to_the_bit(sequence, cut, threshold) -> None:
    judge = started(1.0, 0.0)
    play(judge, sequence[:cut], 0.0, 1.0)
    restored = Judge.from_dict(json.loads(json.dumps(judge.to_dict())))
    assert restored.to_dict() == judge.to_dict()
    for ys, keep in sequence[cut:]:
        ours, theirs = judge.assess(ys, threshold), restored.assess(ys, threshold)
        assert astuple(ours) == astuple(theirs)
        judge.commit(keep)
        restored.commit(keep)
    judge.crash()
    restored.crash()
    assert restored.noise_interval() == judge.noise_interval()
    assert restored.to_dict() == judge.to_dict()


@functools.cache
def quiet_state() -> str:
    judge = started(1.0, 0.0)
    play(judge, [([y], False) for y in np.random.default_rng(5).standard_normal(30)], 0.0, 1.0)
    return json.dumps(judge.to_dict())


def quiet_session() -> Judge:
    """A judge after thirty proposals that changed nothing."""
    return Judge.from_dict(json.loads(quiet_state()))


@settings(max_examples=25)
@given(st.floats(50, 1e8), st.sampled_from([-1, 1]), st.booleans())
def test_a_wild_outlier_does_not_raise_the_noise_floor(size, sign, replicated) -> None:
    judge = quiet_session()
    before, mean = judge.noise_sd, judge.incumbent_mean
    judge.assess([0.1, sign * size] if replicated else [sign * size])
    judge.commit(False)
    assert judge.noise_sd < 1.5 * before
    assert judge.incumbent_sd < before
    assert abs(judge.incumbent_mean - mean) < 0.5 * before


def test_a_diverged_run_of_the_incumbent_is_not_believed_and_the_state_stays_small() -> None:
    judge = quiet_session()
    before, mean = judge.noise_sd, judge.incumbent_mean
    judge.incumbent(1e4)
    assert judge.noise_sd < 1.5 * before
    assert abs(judge.incumbent_mean - mean) < 0.5 * before
    drawn = 5 * np.random.default_rng(6).standard_normal(120)
    play(judge, [([y], False) for y in drawn], 0.0, 1.0)
    assert len(json.dumps(judge.to_dict())) < 60_000


def test_assess_leaves_the_state_alone() -> None:
    judge = started(1.0, 0.0)
    before = judge.to_dict()
    first = judge.assess([-1.0])
    judge.assess([-1.0, -2.0], threshold=0.5)
    assert judge.to_dict() == before
    assert judge.assess([-1.0]) == first


def test_unusable_measurements_and_calls_out_of_order_are_refused() -> None:
    for ys in ([], [float("nan")], [0.0, float("inf")], [None], "x"):
        with pytest.raises(DataError, match="finite"):
            started(1.0, 0.0).assess(ys)
    judge = Judge()
    with pytest.raises(DataError, match="incumbent"):
        judge.assess([1.0])
    with pytest.raises(DataError, match="incumbent"):
        judge.crash()
    with pytest.raises(DataError, match="assessed"):
        judge.commit(True)
    judge.incumbent(1.0)
    judge.assess([1.0])
    judge.commit(False)
    with pytest.raises(DataError, match="assessed"):
        judge.commit(False)
    with pytest.raises(DataError, match="finite"):
        judge.incumbent(float("nan"))


@pytest.mark.parametrize("broken", ["format", "settings", "weights", "window", "mean", "doubts"])
def test_a_broken_state_is_refused(broken: str) -> None:
    with pytest.raises(DataError, match="judge"):
        Judge.from_dict({**json.loads(quiet_state()), broken: ["x"]})


def test_no_retest_beyond_the_allowed_replicates() -> None:
    judge = Judge(Settings(noise_center=1.0, effect_scale=1.0, max_replicates=2))
    for y in (0.0, 0.5, -0.5):
        judge.incumbent(y)
    verdicts = [judge.assess([-2.0] * 2 + [x]).verdict for x in np.linspace(-4, 2, 13)]
    assert Verdict.RETEST not in verdicts


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
    with pytest.raises(DataError, match="equal length"):
        replay([1.0], [], [False], Settings())


NUMBERS = ("confidence", "confidence_at_threshold", "gain", "delta", "delta_sd")
NUMBERS += ("retest_value", "fresh_value")
# Runs of the incumbent, a crash, and candidates: their runs, the threshold, the verdict, its
# numbers, and the noise floor once they were decided.
# fmt: off
PINNED: list[Any] = [
    2.013, 1.998, 2.004,
    ((1.752,), 0.0, Verdict.STRONG_KEEP, (0.997394141, 0.997394141, 0.250057917, -0.253,
     0.0150068978, 3.94428934e-12, 0.00749668451), 0.00961102878),
    ((1.749,), 0.0, Verdict.DISCARD, (0.303538439, 0.303538439, -0.000300269383,
     -0.00519831837, 0.0207039016, 2.8555985e-06, 0.0249757325), 0.00811495035),
    "crash",
    ((1.731, 1.744), 0.0, Verdict.MARGINAL, (0.519832823, 0.519832823, 0.00374574214,
     -0.0133012323, 0.0111594143, 0.0026376635, 0.022767606), 0.00911613923),
    ((1.69, 1.702, 1.697), 0.02, Verdict.STRONG_KEEP, (0.996754619, 0.989292262,
     0.0473716499, -0.0490904494, 0.0092793275, 1.45331411e-09, 0.0228376179), 0.00832312924),
    ((2.9,), 0.0, Verdict.DISCARD, (6.59191806e-25, 6.59191806e-25, -1.2024876,
     1.20286092, 0.0108351331, 0, 0), 0.00833390866),
    ((1.701,), -0.004, Verdict.KEEP, (0.240525504, 0.786744478, -0.00157860012,
     0.00375799308, 0.0108825464, 0.000142514044, 0.0239817714), 0.00791805061),
    1.695,
    ((1.693, 1.671), 0.0, Verdict.KEEP, (0.701107797, 0.701107797, 0.00786577577,
     -0.0157664324, 0.00735487218, 0, 0.0220549126), 0.0092875611),
]
# fmt: on


def test_pinned_sequence() -> None:
    judge = Judge(Settings(0.7, noise_center=0.01, effect_scale=0.01, outlier_residual=0.0))
    for step in PINNED:
        if isinstance(step, float):
            judge.incumbent(step)
        elif step == "crash":
            judge.crash()
        else:
            ys, threshold, verdict, numbers, noise_sd = step
            found = judge.assess(ys, threshold)
            assert found.verdict is verdict
            for name, number in zip(NUMBERS, numbers, strict=True):
                assert getattr(found, name) == pytest.approx(number, rel=1e-6, abs=1e-9), name
            judge.commit(verdict.is_keep)
            assert judge.noise_sd == pytest.approx(noise_sd, rel=1e-6)
    assert judge.noise_interval() == pytest.approx((0.00512062263, 0.0158437886), rel=1e-6)
    assert judge.incumbent_mean == pytest.approx(1.68691199, rel=1e-7)
    assert judge.incumbent_sd == pytest.approx(0.00699876367, rel=1e-6)
    assert judge.expected_false_keeps == pytest.approx(0.525461321, rel=1e-6)
