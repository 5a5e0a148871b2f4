"""Seeds: equal for equal code, apart for everything else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ratchet.records.records import Role, run_seed, stream_seed


@given(st.integers(0, 2**40), st.text(), st.sampled_from(Role), st.integers(0, 1000))
def test_in_the_range_of_every_library(seed: int, source: str, role: Role, replicate: int) -> None:
    drawn = run_seed(seed, source, role, replicate)
    assert 1 <= drawn < 2**31
    assert drawn == run_seed(seed, source, role, replicate)


def test_no_two_runs_share_a_seed() -> None:
    seeds = [
        run_seed(session, source, role, replicate)
        for session in range(3)
        for source in ("a", "b", "c")
        for role in Role
        if role is not Role.RERUN
        for replicate in range(50)
    ]
    assert len(set(seeds)) == len(seeds)


def test_what_is_compared_again_shares_its_seeds() -> None:
    here, there = (
        [run_seed(1, source, Role.RERUN, replicate) for replicate in range(50)] for source in "ab"
    )
    assert here == there
    assert len(set(here)) == 50
    assert here[0] != run_seed(1, "a", Role.CONFIRM, 0)


def test_streams_are_apart() -> None:
    assert stream_seed(1, "steer", 1) != stream_seed(1, "propose", 1)
    assert stream_seed(1, "steer", 1) != stream_seed(2, "steer", 1)
    assert stream_seed(1, "steer", 1, 2) != stream_seed(1, "steer", 12)
