"""Measures of simulated sessions, on data made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.records.records import Verdict
from ratchet.simulation.measures import (
    calibration_error,
    hit_rates,
    mean_estimate,
    ratio_estimate,
    summarize_sessions,
)
from ratchet.simulation.session import Decision, SimulatedRow, SimulatedSession


def record(
    *rows: tuple[float, bool, float | None], gain: float = 0.0, claim: float = 0.0
) -> SimulatedSession:
    """Rows are (effect, kept, confidence)."""
    return SimulatedSession(
        rows=[SimulatedRow(Decision(kept, stated), effect) for effect, kept, stated in rows],
        true_gain=gain,
        claimed_gain=claim,
        noise_ratio=1.0,
    )


def test_counts_and_shares() -> None:
    one = record((1e-3, True, 0.9), (-1e-3, True, 0.7), (3e-4, False, 0.4), (0.0, False, 0.1))
    two = record((1e-4, False, 0.5), (2e-3, True, 0.8), (1e-3, True, 0.95))
    found = summarize_sessions([one, two], [one, two])
    assert found.keeps.value == 2
    assert found.false_keeps.value == 0.5
    assert found.false_share is not None and found.false_share.value == 0.25
    # Of 1e-3, 3e-4, 2e-3 and 1e-3 one was missed; 1e-4 is too small to be missed.
    assert found.missed is not None and found.missed.value == 0.25


def test_brier_and_calibration_error() -> None:
    one = record((1e-3, True, 0.9), (-1e-3, True, 0.95), (1e-3, False, 0.2), (0.0, False, 0.25))
    found = summarize_sessions([one, one], [one, one])
    squares = 0.1**2 + 0.95**2 + 0.8**2 + 0.25**2
    assert found.brier is not None and found.brier.value == pytest.approx(squares / 4)
    # Two bins of two: stated 1.85 and 0.45, better 1 and 1.
    expected = (abs(1.85 - 1) + abs(0.45 - 1)) / 4
    assert found.calibration_error is not None
    assert found.calibration_error.value == pytest.approx(expected)
    # All sessions alike: resampling changes nothing.
    assert found.calibration_error.low == pytest.approx(expected)
    assert found.calibration_error.high == pytest.approx(expected)
    sure = record((1e-3, True, 1.0), (-1e-3, False, 0.0))  # certainty has a bin
    found = summarize_sessions([sure, sure], [sure, sure])
    assert found.calibration_error is not None and found.calibration_error.value == 0
    assert found.brier is not None and found.brier.value == 0


def test_gains_are_compared_session_by_session() -> None:
    ours = [record(gain=g, claim=c) for g, c in ((3.0, 4.0), (5.0, 4.0), (9.0, 10.0))]
    theirs = [record(gain=g, claim=g + 3) for g in (1.0, 4.0, 7.0)]
    found = summarize_sessions(ours, theirs)
    differences = np.array([2.0, 1.0, 2.0])
    assert found.over.value == pytest.approx(differences.mean())
    margin = 1.959964 * differences.std(ddof=1) / math.sqrt(3)
    assert found.over.margin == pytest.approx(margin)
    assert found.over.margin < found.true_gain.margin
    assert found.bias.value == pytest.approx(1 / 3)


def test_a_rule_without_probabilities_or_keeps_has_none() -> None:
    one = record((-1e-3, False, None), (-2e-3, False, None))
    one.noise_ratio = None
    found = summarize_sessions([one, one], [one, one])
    assert found.brier is found.calibration_error is found.noise_ratio is None
    assert found.false_share is found.missed is None
    assert found.keeps.value == 0


def test_no_false_keep_in_sight_is_no_proof_of_none() -> None:
    one = record((1e-3, True, 0.9))
    found = summarize_sessions([one] * 20, [one] * 20)
    # Poisson: of an expected 3.69 / 20 a session, none is seen in 2.5 % of cases.
    assert found.false_keeps.low == found.false_keeps.value == 0
    assert found.false_keeps.high == pytest.approx(-math.log(0.025) / 20)
    assert found.false_share is not None
    assert found.false_share.high == pytest.approx(-math.log(0.025) / 20)


def test_noise_ratio_is_a_geometric_mean() -> None:
    some = [record(), record()]
    some[0].noise_ratio, some[1].noise_ratio = 0.5, 2.0
    found = summarize_sessions(some, some).noise_ratio
    assert found is not None and found.value == pytest.approx(1)
    assert found.low * found.high == pytest.approx(1)
    assert found.low < 0.6


def test_hit_rates_by_verdict() -> None:
    made = ((Verdict.KEEP, 1e-3), (Verdict.KEEP, -1e-3), (Verdict.STRONG_KEEP, 1e-3))
    rows = [SimulatedRow(Decision(True, 0.9, verdict), effect) for verdict, effect in made]
    rows.append(SimulatedRow(Decision(False), 1e-3))
    found = hit_rates([SimulatedSession(rows=rows)])
    shares = {hit.verdict: (hit.share, hit.count) for hit in found}
    assert shares == {Verdict.STRONG_KEEP: (1.0, 1), Verdict.KEEP: (0.5, 2)}


def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(1)
    covered = np.zeros(2)
    for _ in range(300):
        counts = rng.poisson(6, 40).astype(float)
        hits = rng.binomial(counts.astype(int), 0.3).astype(float)
        share, average = ratio_estimate(hits, counts), mean_estimate(counts)
        assert share is not None
        covered += (share.low <= 0.3 <= share.high, average.low <= 6 <= average.high)
    assert (covered / 300 > 0.89).all()
    assert (covered / 300 < 0.99).all()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=2, max_size=30))
def test_a_share_lies_within_its_interval_and_range(pairs: list[tuple[int, int]]) -> None:
    hits, counts = np.array([(min(pair), pair[1]) for pair in pairs], dtype=float).T
    found = ratio_estimate(hits, counts)
    assert found is not None
    assert 0 <= found.low <= found.high <= 1
    shares = hits / counts
    assert shares.min() - 1e-12 <= found.value <= shares.max() + 1e-12


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_calibration_error_is_between_0_and_1(rows: list[tuple[float, bool]]) -> None:
    bins = np.zeros((3, 10))
    for stated, better in rows:
        bins[:, min(int(stated * 10), 9)] += (1, stated, better)
    found = calibration_error(*bins)
    assert 0 <= found <= 1
    # Never below the error of the overall rate (triangle inequality).
    assert found >= abs(sum(p - y for p, y in rows)) / len(rows) - 1e-9
