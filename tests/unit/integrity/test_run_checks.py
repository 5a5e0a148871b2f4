"""Runs beside the baseline's: time, tokens, seeds, memory, and jumps too large to believe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.structs import replace
from ratchet.integrity.run_checks import (
    RunTrace,
    charged_mb,
    confirms_jump,
    is_implausible_jump,
    unlike_baseline,
)
from ratchet.task.task import Plausible

LIMITS = Plausible(excess_fraction=0.05, excess_seconds=0.3, tokens="tokens_M", min_tokens=0.02)
BASELINE = [
    RunTrace(seed, 2.9 + seed / 1000 + 1e-7, 32768, 3.1 + seed / 100, 0.6, 5.0, 47.0)
    for seed in (1, 2, 3)
]
RUN = RunTrace(9, 2.8123457, 32768, 3.1, 0.5, 5.0, 47.0)


def found(*runs: RunTrace, limits: Plausible | None = LIMITS, budget: float | None = 3.0) -> str:
    return unlike_baseline(BASELINE, runs, limits, budget) or ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"seconds": 3.56}, ""),
        ({"seconds": 3.6}, "used 3.6 s until its evaluation, the baseline's runs 3.12 s"),
        ({"seconds": None}, ""),
        ({"tokens": 0.012}, ""),
        ({"tokens": 0.011}, "printed tokens_M 0.011, the baseline 0.6; expected at least 0.02"),
        ({"tokens": None}, "did not print tokens_M"),
    ],
)
def test_time_and_tokens(changes: dict[str, float | None], words: str) -> None:
    said = found(replace(RUN, **changes))
    assert said.startswith(words)
    assert bool(said) == bool(words)


def test_what_is_compared() -> None:
    odd = replace(RUN, seconds=99.0, tokens=None)
    assert found(odd, limits=None) == ""
    assert found(odd, limits=Plausible()) == ""
    # With a budget in steps seconds are the model's.
    assert found(replace(RUN, seconds=99.0), budget=None) == ""
    # A second run is looked at like the first.
    assert "used 9 s" in found(RUN, replace(RUN, seed=8, value=2.81, seconds=9.0))


def test_two_seeds_with_one_result_are_no_replicates() -> None:
    twins = [RUN, replace(RUN, seed=10)]
    said = "measured the same to the last digit with the seeds 9 and 10: it draws no lots"
    assert found(*twins) == said
    assert found(RUN, replace(RUN, seed=10, value=2.8123458)) == ""
    assert found(RUN, RUN) == ""
    # Where the baseline draws no lots, or has drawn one alone, nobody has to.
    same = [replace(BASELINE[0], seed=seed) for seed in (1, 2, 3)]
    assert unlike_baseline(same, twins, None, None) is None
    assert unlike_baseline(BASELINE[:1], twins, None, None) is None
    assert unlike_baseline(BASELINE, twins, None, None) == said


@pytest.mark.parametrize(("value", "count"), [(0.912, 1000), (0.0, 1000), (3.0, 7), (None, 10)])
def test_a_coarse_metric_may_well_repeat(value: float | None, count: int) -> None:
    twins = [RunTrace(1, value, count), RunTrace(2, value, count)]
    assert unlike_baseline(BASELINE, twins, None, None) is None


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
        (None, 147.0, None),
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
