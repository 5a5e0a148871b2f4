"""Runs beside the baseline's: time, tokens, seeds, memory, and jumps too large to believe."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.structs import replace
from ratchet.integrity.run_checks import (
    RunTrace,
    charged_mb,
    confirms_jump,
    is_implausible_jump,
    off_budget,
    unlike_baseline,
)
from ratchet.task.task import Plausible

LIMITS = Plausible(tolerance=0.1, tokens="tokens_M", min_tokens=0.02)
BASELINE = [
    RunTrace(seed, 3.1 + seed / 100, 0.3, tokens=0.6, printed_mb=5.0, measured_mb=47.0)
    for seed in (1, 2, 3)
]
RUN = replace(BASELINE[1], seed=9)


def over(*runs: RunTrace, baseline: Sequence[RunTrace] = BASELINE, budget: float = 3.0) -> str:
    return off_budget(baseline, runs, LIMITS, budget) or ""


@pytest.mark.parametrize(
    ("trained", "evaluating", "allowed"),
    [
        (3.12, 0.3, True),
        # A dear model has to train for less.
        (3.12, 0.64, True),
        (3.12, 0.65, False),
        (2.5, 1.2, True),
        # Before the clock, within the first reply, or a little in each: it is one sum.
        (3.46, 0.3, True),
        (3.47, 0.3, False),
        (3.4, 0.4, False),
        (1.5, 0.3, True),
        (1.4, 0.3, False),
        (None, 9.0, True),
    ],
)
def test_training_and_evaluation_are_one_sum(
    trained: float | None, evaluating: float, allowed: bool
) -> None:
    said = over(RUN, replace(RUN, trained=trained, evaluating=evaluating))
    assert (said == "") is allowed
    # With a budget in steps seconds are the model's, and without limits nobody asks.
    odd = [replace(RUN, trained=99.0)]
    assert off_budget(BASELINE, odd, LIMITS, None) is None
    assert off_budget(BASELINE, odd, None, 3.0) is None
    assert off_budget([RunTrace(1)], odd, LIMITS, 3.0) is None


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0.1, 50))
def test_no_time_that_a_run_takes_is_an_accusation(
    trained: float, evaluating: float, pace: float
) -> None:
    """A dear model on a slow machine is off its budget, and no cheat."""
    slow = [replace(run, evaluating=pace * run.evaluating) for run in BASELINE]
    run = replace(RUN, trained=trained, evaluating=pace * evaluating)
    assert unlike_baseline(slow, [run], LIMITS) is None


def test_a_run_off_its_budget_says_what_would_fit() -> None:
    assert over(replace(RUN, trained=3.5, evaluating=1.0)) == (
        "used 4.5 s from its start to its last reply, 1 s of them in its evaluation, and the "
        "baseline's runs 3.42 s; 3.76 s are allowed: train 0.74 s less, or predict at less cost"
    )
    assert over(replace(RUN, trained=1.2)) == "trained 1.2 of 3 s"


@pytest.mark.parametrize("pace", [1.0, 2.0, 5.0, 20.0])
def test_a_slow_machine_gives_the_same_verdicts(pace: float) -> None:
    """What is not bounded by the budget takes so much longer, for the baseline too."""

    def here(run: RunTrace) -> RunTrace:
        started = run.trained - 3.0
        return replace(run, trained=3.0 + pace * started, evaluating=pace * run.evaluating)

    usual = [here(run) for run in BASELINE]
    assert over(here(replace(RUN, evaluating=0.34)), baseline=usual) == ""
    assert over(here(replace(RUN, evaluating=1.5)), baseline=usual) != ""


def test_a_confirmation_that_asks_twice_as_much_may_take_twice_as_long() -> None:
    twice = replace(RUN, evaluating=1.2, share=0.5)
    assert over(twice) == ""
    assert over(replace(twice, evaluating=1.4)) != ""
    assert over(replace(twice, share=1.0)) != ""


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (0.6, ""),
        (0.012, ""),
        (0.011, "printed tokens_M 0.011, the baseline 0.6; expected at least 0.02"),
        (None, "did not print tokens_M"),
    ],
)
def test_tokens(tokens: float | None, words: str) -> None:
    odd = replace(RUN, tokens=tokens)
    said = unlike_baseline(BASELINE, [RUN, odd], LIMITS) or ""
    assert said.startswith(words)
    assert bool(said) == bool(words)
    assert unlike_baseline(BASELINE, [odd], None) is None
    assert unlike_baseline(BASELINE, [odd], Plausible()) is None


@pytest.mark.parametrize(
    ("printed", "measured", "charged"),
    [
        (5.0, 47.0, 5.0),
        (5.0, 79.0, 5.0),
        (5.0, 147.0, 73.0),
        (105.0, 147.0, 105.0),
        (0.001, 47.0, 0.001),
        (0.001, 147.0, 73.0),
        (5.0, None, 5.0),
        # Who prints none is charged for all that was measured.
        (None, 147.0, 105.0),
        (None, 40.0, 5.0),
        (None, None, None),
    ],
)
def test_memory_that_was_needed_is_charged(
    printed: float | None, measured: float | None, charged: float | None
) -> None:
    run = replace(RUN, printed_mb=printed, measured_mb=measured)
    assert charged_mb(BASELINE, run) == charged
    assert charged_mb([], run) == printed


@pytest.mark.parametrize(
    ("printed", "measured", "charged"),
    [(20_000.0, 26_000.0, 20_000.0), (1.0, 24_000.0, 17_600.0)],
)
def test_large_memory_has_a_slack_of_its_own(
    printed: float, measured: float, charged: float
) -> None:
    """A GPU's context and an allocator's reserve are measured and not printed."""
    usual = [RunTrace(1, printed_mb=20_000.0, measured_mb=24_000.0)]
    assert charged_mb(usual, RunTrace(2, printed_mb=printed, measured_mb=measured)) == charged


sizes = st.floats(1e-6, 1e3)


def test_a_jump_beyond_everything_seen_is_implausible() -> None:
    assert is_implausible_jump(0.5, 0.001, [0.01, -0.1])
    assert not is_implausible_jump(0.2, 0.001, [0.01, -0.1])
    assert is_implausible_jump(0.021, 0.001, [])
    assert not is_implausible_jump(0.019, 0.001, [])


@given(sizes, st.floats(-1e3, 1e3), st.lists(st.floats(-1e3, 1e3), max_size=5))
def test_harm_more_to_see_and_the_unit_make_nothing_implausible(
    noise: float, improvement: float, seen: list[float]
) -> None:
    assert not is_implausible_jump(-abs(improvement), noise, seen)
    found = is_implausible_jump(improvement, noise, seen)
    assert found <= is_implausible_jump(improvement, noise, [])
    assert found == is_implausible_jump(improvement * 2, noise * 2, [2 * x for x in seen])


def test_a_fresh_run_confirms_or_does_not() -> None:
    assert confirms_jump(1.0, 1.004, 0.001, 0.5)
    assert confirms_jump(1.0, 1.1, 0.001, 0.5)
    assert not confirms_jump(1.0, 1.4, 0.001, 0.5)
    assert not confirms_jump(1.0, 1.5, 0.001, 0.5)
