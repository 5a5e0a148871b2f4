"""The simulations of tests/bench, small: orders hold, luck is paired, the truth adds up."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from bandit import ARMS, PLAYS, POLICIES, play_session
from bandit import compare as compare_policies
from evolve import WAYS, Cup, Edit, Ground, compare, play
from ratchet.steering.bandit import BanditPull


def test_steering_beats_random_choice_and_greed() -> None:
    """A few sessions only; `make bench` plays hundreds and sets bars."""
    found = {
        name: [play_session(POLICIES[name], PLAYS["standard"], 100, 4, n) for n in range(60)]
        for name in ("steered", "random", "largest mean")
    }
    over = {name: compare_policies(found[name], found["random"]).over for name in found}
    assert over["steered"] > over["random"] == 0 > over["largest mean"]


def test_all_policies_meet_the_same_luck() -> None:
    """The luck that a policy uses up is its own, not the world's."""

    def wasteful(trials: Sequence[BanditPull], luck: Random) -> str:
        return ARMS[2] if luck.random() >= 0 else ARMS[0]

    one, other = (
        [play_session(policy, PLAYS["closed"], 50, 1, number) for number in range(3)]
        for policy in (lambda trials, luck: ARMS[2], wasteful)
    )
    assert one == other
    assert len({score.gain for score in one}) == 3


def test_independent_effects_add_up_and_overlapping_ones_do_not() -> None:
    sizes = ((3, 0.004), (3, 0.001), (5, 0.002), (3, -0.003))
    edits = [Edit((0, number), 0, *pair) for number, pair in enumerate(sizes)]
    assert Ground(Cup(), 1, 1).gain(edits) == pytest.approx(0.004)
    overlapping = Ground(Cup(overlapping=True), 1, 1)
    assert overlapping.gain(edits[:3]) == pytest.approx(0.004 + 0.002 - 0.25 * 0.001)
    assert overlapping.gain(edits) == pytest.approx(overlapping.gain(edits[:3]) - 0.003)


@pytest.mark.parametrize("overlapping", [False, True])
def test_patch_by_patch_with_a_re_test_is_ahead(overlapping: bool) -> None:
    """A few tournaments only; `make bench` plays two hundred and gives intervals."""
    cup = Cup(overlapping=overlapping, runs=16)
    scores = [play(cup, 5, n) for n in range(2)]
    assert scores[0] == play(cup, 5, 0)
    # All ways have the same runs; retests of the last candidate may go beyond.
    assert all(cup.total <= s.runs <= cup.total + 3 * 8 for one in scores for s in one.values())
    lines = {line.name: line for line in compare(scores)}
    assert list(lines) == list(WAYS)
    first = lines["patch by patch, re-tested"].per_run.value
    assert first > lines["best config to everyone"].per_run.value
    assert first > lines["one competitor alone"].per_run.value
