"""The simulations of tests/bench, small: the truth adds up, luck is paired, orders hold."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

import tournament
from bandit import ARMS, PLAYS, POLICIES, Score, play_session
from bandit import compare as compare_policies
from ratchet.base.structs import replace
from ratchet.judge.settings import Mode
from ratchet.simulation.session import RULES, SimulationPlan, play_all
from ratchet.simulation.worlds import WORLDS
from ratchet.steering.bandit import BanditPull
from tournament import WAYS, Cup, Edit, Ground, compare, play
from tried import TRIED, Staged

SEED = 4


def sessions(name: str, runs: int, count: int) -> list[Score]:
    policy, world = POLICIES[name], PLAYS["standard"]
    return [play_session(policy, world, runs, SEED, number) for number in range(count)]


def test_steering_beats_random_choice_and_greed() -> None:
    """A few sessions only; `make bench` plays hundreds and sets bars."""
    found = {name: sessions(name, 100, 60) for name in ("steered", "random", "largest mean")}
    over = {name: compare_policies(found[name], found["random"]).over for name in found}
    assert over["steered"] > 0 > over["largest mean"]


def test_sessions_are_reproducible_and_differ() -> None:
    once, again = sessions("steered", 30, 3), sessions("steered", 30, 3)
    assert once == again
    assert len({score.gain for score in once}) == 3


def test_all_policies_meet_the_same_luck() -> None:
    """The luck that a policy uses up is its own, not the world's."""

    def thrifty(trials: Sequence[BanditPull], luck: Random) -> str:
        return ARMS[2]

    def wasteful(trials: Sequence[BanditPull], luck: Random) -> str:
        return ARMS[2] if luck.random() >= 0 else ARMS[0]

    one, other = (
        [play_session(policy, PLAYS["closed"], 50, 1, number) for number in range(3)]
        for policy in (thrifty, wasteful)
    )
    assert one == other


def test_a_random_policy_is_its_own_measure() -> None:
    scores = sessions("random", 30, 20)
    found = compare_policies(scores, scores)
    assert (found.over, found.margin, found.regret) == (0, 0, 1)


def improvement(number: int, mechanism: int, size: float) -> Edit:
    return Edit((0, number), 0, mechanism, size)


def test_independent_effects_add_up_and_overlapping_ones_do_not() -> None:
    held = [improvement(1, 3, 0.004), improvement(2, 3, 0.001), improvement(3, 5, 0.002)]
    harm = improvement(4, 3, -0.003)
    assert Ground(Cup(), 1, 1).gain([*held, harm]) == pytest.approx(0.004)
    overlapping = Ground(Cup(overlapping=True), 1, 1)
    assert overlapping.gain(held) == pytest.approx(0.004 + 0.002 - 0.25 * 0.001)
    assert overlapping.gain([*held, harm]) == pytest.approx(overlapping.gain(held) - 0.003)


def test_luck_is_keyed_and_never_by_the_order_of_calls() -> None:
    ground, again = Ground(Cup(), 1, 7), Ground(Cup(), 1, 7)
    first = [ground.propose(0, n, []) for n in range(20)]
    assert [again.propose(0, n, []) for n in reversed(range(20))] == first[::-1]
    assert ground.noise(0, 1, 2, 0) == again.noise(0, 1, 2, 0) != ground.noise(0, 1, 2, 1)
    assert first != [ground.propose(1, n, []) for n in range(20)]
    assert None in [ground.propose(0, n, []) for n in range(200)], "some crash"


def test_a_strategy_looks_mostly_at_its_own_categories() -> None:
    ground = Ground(Cup(), 2, 3)
    assert sorted(c for own in ground.own for c in own) == list(range(tournament.CATEGORIES))
    edits = [edit for n in range(400) if (edit := ground.propose(1, n, []))]
    share = sum(edit.category in ground.own[1] for edit in edits) / len(edits)
    assert share == pytest.approx(0.85 + 0.15 / 3, abs=0.05)


def test_every_way_uses_the_same_runs_and_the_same_tournament_is_the_same() -> None:
    cup = Cup(competitors=2, rounds=2, runs=8)
    scores = play(cup, 1, 1)
    assert list(scores) == list(WAYS)
    assert scores == play(cup, 1, 1)
    # Retests of the last candidate may go beyond.
    assert all(cup.total <= score.runs <= cup.total + 2 * 8 for score in scores.values())


@pytest.mark.parametrize("overlapping", [False, True])
def test_patch_by_patch_with_a_re_test_is_ahead(overlapping: bool) -> None:
    """A few tournaments only; `make bench` plays two hundred and gives intervals."""
    cup = Cup(overlapping=overlapping, runs=16)
    lines = {line.name: line for line in compare([play(cup, 5, n) for n in range(3)])}
    first = lines["patch by patch, re-tested"].per_run.value
    assert first > lines["best config to everyone"].per_run.value
    assert first > lines["one competitor alone"].per_run.value
    assert lines["patch by patch, re-tested"].behind.value == 0.0


PLAN = SimulationPlan(WORLDS["typical"], runs=90, sessions=4, seed=3)
TRIED_RULES = {rule.name: rule for rule in TRIED}


def test_stages_raise_the_bar_and_lose_nothing() -> None:
    rule = TRIED_RULES["staged"]
    assert isinstance(rule, Staged)
    same = replace(rule, stages=(Mode.GAIN, Mode.GAIN, Mode.GAIN))
    one, gain = play_all((same, RULES["gain"]), PLAN, 0)
    assert one.rows == gain.rows
    records = [play_all((rule,), PLAN, session)[0] for session in range(4)]
    kept = [row.decision for record in records for row in record.rows[62:] if row.decision.keep]
    assert kept
    assert all(decision.confidence is not None and decision.confidence >= 0.8 for decision in kept)


def test_a_new_incumbent_is_measured_once_more() -> None:
    (record,) = play_all((TRIED_RULES["remeasured"],), PLAN, 1)
    kept = sum(row.decision.keep for row in record.rows)
    assert record.incumbent_runs in (kept, kept - 1)
