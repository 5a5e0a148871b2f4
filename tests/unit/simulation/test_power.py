"""Power against simulation and known tables; false keeps against what is exact."""

import math

import pytest

from ratchet.base.errors import DataError
from ratchet.judge.settings import FALSE_KEEP_BOUND
from ratchet.simulation.power import (
    SEEDS,
    _screened,
    detectable,
    false_keeps,
    lucky_records,
    noise_from_replicates,
    power_of,
    seeds_needed,
)


# One-sided level 0.05, power 0.8: Cohen's d = 2.4865 / sqrt(n / 2), and from tables of
# the noncentral t distribution 0.5 needs 51 a side, 1.0 needs 14, 0.8 needs 21.
@pytest.mark.parametrize(
    ("effect", "known", "seeds"),
    [(0.5, True, 50), (0.5, False, 51), (0.8, False, 21), (1.0, True, 13), (1.0, False, 14)],
)
def test_seeds_of_the_tables(effect: float, known: bool, seeds: int) -> None:
    assert seeds_needed(effect, 0.05, 0.8, known) == seeds


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("seeds", SEEDS[1:])
def test_effect_and_seeds_are_inverse(seeds: int, known: bool) -> None:
    effect = detectable(seeds, 0.02, 0.9, known)
    assert effect is not None
    assert power_of(effect, seeds, 0.02, known) == pytest.approx(0.9, abs=1e-6)
    assert seeds_needed(effect * 1.000001, 0.02, 0.9, known) == seeds
    assert seeds_needed(effect * 0.999, 0.02, 0.9, known) == seeds + 1
    assert power_of(0.0, seeds, 0.02, known) == pytest.approx(0.02)


def test_knowing_the_noise_is_never_worse() -> None:
    for seeds in SEEDS[1:]:
        known, estimated = (detectable(seeds, 0.05, 0.8, k) for k in (True, False))
        assert known is not None and estimated is not None
        assert known < estimated
    # One run per side leaves nothing to estimate it from.
    assert power_of(3.0, 1, 0.05, known=False) is None
    assert detectable(1, 0.05, 0.8, known=False) is None
    for effect in (0.0, -1.0, 1e-9):
        assert seeds_needed(effect, 0.05, 0.8, known=False) is None


def test_interval_of_the_noise_floor() -> None:
    """By tables of the chi-squared distribution."""
    three = noise_from_replicates([0.9979, 0.9981, 0.9975])
    assert three.sd == pytest.approx(3.055e-4, rel=1e-3)
    assert (three.low, three.high) == pytest.approx((1.5906e-4, 1.92e-3), rel=1e-3)
    assert three.value == pytest.approx(0.99783, abs=1e-5)


def test_a_run_that_repeats_another_is_no_replicate() -> None:
    found = noise_from_replicates([0.997913, 0.997913, 0.998127, 0.997913])
    assert found.sd == noise_from_replicates([0.997913, 0.998127]).sd
    assert found.source == "from 2 replicates (2 more repeat one to the last digit)"
    assert noise_from_replicates([0.5, 0.5, 0.25]).source == "from 3 replicates", "of few levels"


@pytest.mark.parametrize(
    "values", [[], [1.0], [1.0, math.nan], [1.0, math.inf], [1.0, 1.0], [0.0, 0.0], [1e300, 1.0]]
)
def test_replicates_that_tell_nothing_are_refused(values: list[float]) -> None:
    with pytest.raises(DataError, match="replicates"):
        noise_from_replicates(values)


def test_rules_in_a_session_of_nulls() -> None:
    rules = {rule.rule: rule for rule in false_keeps(60, sessions=12)}
    greedy = rules["keep if better than the best so far"]
    assert (greedy.keeps, greedy.runs, greedy.how) == (lucky_records(60), 60, "exact")
    assert rules["3 runs of each, keep if the mean is better"].keeps == greedy.keeps
    margins = [rules[f"keep if better by {text}"] for text in ("1 noise sd", "2 noise sds")]
    assert greedy.keeps > margins[0].keeps > margins[1].keeps > 0
    two = rules["2 runs if the first is better, keep if the mean is"]
    assert two.keeps < greedy.keeps
    assert two.runs is not None
    assert 60 < two.runs < 75
    gain, strict = (rules[f"ratchet, mode {mode}"] for mode in ("gain", "strict"))
    assert strict.keeps < 0.5 * min(gain.keeps, greedy.keeps)
    assert all(rule.error is not None for rule in rules.values() if rule.how == "simulated")
    bound = rules["ratchet, mode guaranteed"]
    assert (bound.keeps, bound.how, bound.runs) == (FALSE_KEEP_BOUND, "bound", None)


def test_a_screen_of_one_run_is_keep_if_better() -> None:
    """The simulator against what is exact: a half, a third, a quarter and so on."""
    assert lucky_records(1) == 0.5
    assert lucky_records(100) == pytest.approx(4.19728, abs=1e-5)
    found = _screened("plain", 60, seed=3)
    assert found.error is not None
    assert abs(found.keeps - lucky_records(60)) < 4 * found.error
    assert found.runs == 60


def test_equal_seeds_give_equal_answers() -> None:
    assert false_keeps(5, 7, 1e-3, 3) == false_keeps(5, 7, 1e-3, 3)
    assert false_keeps(5, 7, 1e-3, 3) != false_keeps(5, 8, 1e-3, 3)
