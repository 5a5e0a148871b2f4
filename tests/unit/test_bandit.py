"""Steering in sessions where only the choice of the category counts."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from ratchet.simulation.bandit import (
    ARMS,
    PLAYS,
    POLICIES,
    Comparison,
    Score,
    compare,
    play_session,
)
from ratchet.steer import Pull

RUNS, SESSIONS, SEED = 100, 400, 4


def play(name: str, runs: int = RUNS, sessions: int = SESSIONS) -> list[Score]:
    return [
        play_session(POLICIES[name], PLAYS["standard"], runs, SEED, number)
        for number in range(sessions)
    ]


@pytest.fixture(scope="module")
def found() -> dict[str, Comparison]:
    scores = {name: play(name) for name in POLICIES}
    return {name: compare(scores[name], scores["random"]) for name in scores}


def test_steering_beats_random_choice_and_taking_turns(found: dict[str, Comparison]) -> None:
    steered, in_turn = found["steered"], found["in turn"]
    assert steered.over >= 0.03
    assert steered.over > steered.margin, "beyond luck"
    assert steered.regret <= 0.96
    assert steered.gain > in_turn.gain
    assert steered.regret < in_turn.regret


def test_greed_loses_much(found: dict[str, Comparison]) -> None:
    assert found["largest mean"].over < -0.3
    assert found["highest keep rate"].over < -0.15


def test_sessions_are_reproducible_and_differ() -> None:
    once, again = play("steered", 30, 3), play("steered", 30, 3)
    assert once == again
    assert len({score.gain for score in once}) == 3


def test_all_policies_meet_the_same_luck() -> None:
    """The luck that a policy uses up is its own, not the world's."""

    def thrifty(trials: Sequence[Pull], luck: Random) -> str:
        return ARMS[2]

    def wasteful(trials: Sequence[Pull], luck: Random) -> str:
        return ARMS[2] if luck.random() >= 0 else ARMS[0]

    one, other = (
        [play_session(policy, PLAYS["closed"], 50, 1, number) for number in range(3)]
        for policy in (thrifty, wasteful)
    )
    assert one == other


def test_a_random_policy_is_its_own_measure() -> None:
    scores = play("random", 30, 20)
    found = compare(scores, scores)
    assert (found.over, found.margin, found.regret) == (0, 0, 1)
