"""Which improvements wait for a second run, and what confirms them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ratchet.integrity.run_checks import confirms_jump, is_implausible_jump

sizes = st.floats(1e-6, 1e3)


def test_a_jump_beyond_everything_seen_is_implausible() -> None:
    assert is_implausible_jump(0.5, 0.001, [0.01, -0.1])
    assert not is_implausible_jump(0.2, 0.001, [0.01, -0.1])
    assert is_implausible_jump(0.021, 0.001, [])
    assert not is_implausible_jump(0.019, 0.001, [])


@given(sizes, st.lists(st.floats(-1e3, 1e3), max_size=5))
def test_harm_is_never_implausible(noise: float, seen: list[float]) -> None:
    assert not is_implausible_jump(-noise, noise, seen)
    assert not is_implausible_jump(0.0, noise, seen)


@given(sizes, sizes, st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5))
def test_having_seen_more_makes_nothing_less_plausible(
    improvement: float, noise: float, seen: list[float]
) -> None:
    assert is_implausible_jump(improvement, noise, []) >= is_implausible_jump(
        improvement, noise, seen
    )


@given(sizes, st.floats(-1e3, 1e3))
def test_the_unit_does_not_matter(noise: float, improvement: float) -> None:
    seen = [noise, 3 * noise]
    scaled = is_implausible_jump(improvement * 2, noise * 2, [2 * x for x in seen])
    assert is_implausible_jump(improvement, noise, seen) == scaled


def test_a_fresh_run_confirms_or_does_not() -> None:
    assert confirms_jump(1.0, 1.004, 0.001, 0.5)
    assert confirms_jump(1.0, 1.1, 0.001, 0.5)
    assert not confirms_jump(1.0, 1.4, 0.001, 0.5)
    assert not confirms_jump(1.0, 1.5, 0.001, 0.5)
