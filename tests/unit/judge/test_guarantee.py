"""Mode ``guaranteed``: tests on fresh runs, and the bound that they keep."""

import json
import math

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.base.errors import DataError
from ratchet.judge.guarantee import FREEDOM_CAP, LEAST_INCUMBENT_RUNS, Confirmations
from ratchet.judge.judge import Judge
from ratchet.judge.settings import Settings
from ratchet.records.records import Verdict

NOISE = 5e-4
BOUND = 0.05


def started(values: list[float]) -> Judge:
    judge = Judge(Settings(keep_probability=0.8, false_keep_bound=BOUND))
    for y in values:
        judge.incumbent(y)
    return judge


def confirmations(reference: list[float], tests: int = 0) -> Confirmations:
    return Confirmations(BOUND, most_runs=5, tests=tests, incumbent=list(reference))


def p_value(found: Confirmations, runs: list[float], threshold: float = 0.0) -> float:
    return found.look(np.array(runs), threshold, 0, gain=0.0, variance=1.0).p_value


@given(st.integers(0, 5000), st.integers(0, 64))
def test_the_levels_of_all_tests_sum_to_what_is_spent(tests: int, others: int) -> None:
    found = confirmations([], tests)
    opened = math.fsum(found.level(k) for k in range(others + 1))
    after = confirmations([], tests + others + 1)
    assert after.spent == pytest.approx(found.spent + opened, rel=1e-9)
    assert found.spent < after.spent < BOUND


@settings(max_examples=50)
@given(st.lists(st.lists(st.booleans(), max_size=6), max_size=12))
def test_levels_by_place_stay_below_the_bound_whoever_is_tested(rounds: list[list[bool]]) -> None:
    """Nobody knows which of the candidates before it are tested: each takes its place's level."""
    tests = Confirmations(0.05, 5)
    taken = []
    for candidates in rounds:
        taken += [tests.level(place) for place, tested in enumerate(candidates) if tested]
        for _ in filter(None, candidates):
            tests.close(np.array([1.0, 1.1]), keep=False)
    assert math.fsum(taken) <= tests.spent + 1e-12
    assert tests.spent <= 0.05


def test_each_test_has_a_level_and_what_is_worse_is_not_tested() -> None:
    judge = started([1.0, 1.0003, 0.9998, 1.0002])
    assert judge.assess([1.01]).verdict is Verdict.DISCARD
    judge.commit(False)
    assert judge.error_spent == 0.0
    assert judge.incumbent_runs_wanted == 0
    judge.assess([0.999, 1.0005])
    judge.commit(False)
    assert 0 < judge.error_spent < BOUND
    # Candidates that are tested side by side.
    runs = [0.995, 0.9951, 0.9949]
    first = judge.assess(runs)
    second = judge.assess(runs, others_tested=1)
    assert first.level > second.level
    judge.assess(runs)
    judge.commit(False)
    # With the first one decided, the second has the level that it was promised.
    assert judge.assess(runs).level == second.level


@settings(max_examples=50)
@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=4),
    st.lists(st.floats(-1, 1), min_size=4, max_size=8),
)
def test_the_p_value_is_that_of_student(fresh: list[float], reference: list[float]) -> None:
    if np.std(fresh) + np.std(reference) < 1e-3:
        return
    expected = scipy.stats.ttest_ind(fresh, reference, alternative="less").pvalue
    assert p_value(confirmations(reference), [0.0, *fresh]) == pytest.approx(expected, rel=1e-9)


def test_only_fresh_runs_count_and_must_exceed_the_threshold() -> None:
    found = confirmations([1.0, 1.01, 0.99, 1.0])
    fresh = [0.97, 0.98, 0.975]
    assert p_value(found, [0.2, *fresh]) == p_value(found, [5.0, *fresh])
    assert p_value(found, [0.2]) == 1.0
    assert p_value(found, [0.9, *fresh], 0.02) > p_value(found, [0.9, *fresh])
    assert p_value(found, [0.9, *fresh], 0.025) == pytest.approx(0.5)
    # Many replicates leave it wary of heavy tails.
    found.squares, found.freedom = 0.01, 100
    runs = [0.9, 0.95, 0.96, 0.97]
    scale = math.sqrt((0.01 + 2e-4 + 2e-4) / 105 * (1 / 3 + 1 / 4))
    assert p_value(found, runs) == pytest.approx(scipy.stats.t.sf(0.04 / scale, FREEDOM_CAP))


def test_runs_that_repeat_exactly_are_compared_as_they_are() -> None:
    assert p_value(confirmations([1.0] * 4), [0.9, 0.9, 0.9]) == 0.0
    assert p_value(confirmations([1.0] * 4), [1.0, 1.0, 1.0]) == 1.0
    assert started([1.0] * 4).assess([0.9, 0.9, 0.9]).keep


def test_the_spread_of_decided_candidates_is_remembered_and_their_mean_is_not() -> None:
    found = confirmations([1.0, 1.002])
    found.close(np.array([0.9, 3.0, 3.002]), keep=False)
    assert found.freedom == 1
    assert found.squares == pytest.approx(2e-6)
    assert found.incumbent == [1.0, 1.002]
    found.close(np.array([0.9, 0.8, 0.802]), keep=True)
    assert found.freedom == 3
    assert found.squares == pytest.approx(6e-6)
    assert found.incumbent == []


def test_an_incumbent_that_is_measured_anew_has_only_that_run() -> None:
    judge = started([1.0, 1.002])
    judge.incumbent(2.0, anew=True)
    assert judge.incumbent_mean == pytest.approx(2.0)
    tests = judge.to_dict()["tests"]
    assert tests["incumbent"] == [2.0]
    assert (tests["squares"], tests["freedom"]) == (pytest.approx(2e-6), 1)


def test_a_plain_gain_is_kept_only_after_fresh_runs() -> None:
    judge = started([1.0, 1.0005, 0.9995])
    found = judge.assess([0.99])
    assert (found.verdict, found.keep) == (Verdict.RETEST, False)
    assert judge.incumbent_runs_wanted == LEAST_INCUMBENT_RUNS - 3
    judge.incumbent(1.0002)
    assert judge.incumbent_runs_wanted == 0
    runs = [0.99]
    while found.verdict is Verdict.RETEST:
        runs.append(0.99 + 0.0003 * (-1) ** len(runs))
        found = judge.assess(runs)
    assert found.keep
    assert found.verdict is Verdict.STRONG_KEEP
    assert found.p_value <= found.level
    judge.commit(True)
    # The new incumbent was chosen by its runs, so it is measured anew.
    again = judge.assess([0.98])
    assert again.verdict is Verdict.RETEST
    assert judge.incumbent_runs_wanted == LEAST_INCUMBENT_RUNS


def test_no_credit_for_simplification_and_the_last_run_decides() -> None:
    judge = started([1.0, 1.0005, 0.9995, 1.0])
    assert judge.assess([1.0001], threshold=-2e-3).threshold == 0.0
    assert judge.assess([1.0001], threshold=2e-3).threshold == 2e-3
    found = judge.assess([0.9990, 0.9991, 1.0007, 0.9992, 1.0006])
    assert found.n == judge.settings.max_replicates
    assert found.verdict is not Verdict.RETEST
    assert not found.keep


def test_the_state_survives_json_in_the_middle_of_a_session() -> None:
    rng = np.random.default_rng(3)
    judge = started(list(1 + NOISE * rng.standard_normal(4)))
    for gain in (3e-3, 0.0, 5e-3):
        judge.assess(list(1 - gain + NOISE * rng.standard_normal(5)))
        judge.commit(gain > 0)
        twin = Judge.from_dict(json.loads(json.dumps(judge.to_dict())))
        assert twin.to_dict() == judge.to_dict()
        assert twin.error_spent == judge.error_spent
        runs = list(0.99 + NOISE * rng.standard_normal(3))
        assert twin.assess(runs) == judge.assess(runs)


@pytest.mark.parametrize(
    "tests",
    [
        None,
        {},
        {"tests": -1, "squares": 0.0, "freedom": 0, "incumbent": []},
        {"tests": 1, "squares": 0.0, "freedom": 0, "incumbent": [math.nan]},
    ],
)
def test_a_damaged_state_is_refused(tests: object) -> None:
    data = started([1.0, 1.1]).to_dict()
    with pytest.raises(DataError, match="judge state"):
        Judge.from_dict({**data, "tests": tests})
