"""Simulated tournaments: the truth adds up, luck is paired, and the order holds."""

from __future__ import annotations

import pytest

from ratchet.simulation import ground as grounds
from ratchet.simulation.evolve import WAYS, compare, play
from ratchet.simulation.ground import Cup, Edit, Ground

SMALL = {"competitors": 3, "rounds": 3, "runs": 16}


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
    assert sorted(c for own in ground.own for c in own) == list(range(grounds.CATEGORIES))
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
    cup = Cup(overlapping=overlapping, **SMALL)
    lines = {line.name: line for line in compare([play(cup, 5, n) for n in range(5)])}
    first = lines["patch by patch, re-tested"].per_run.value
    assert first > lines["best config to everyone"].per_run.value
    assert first > lines["one competitor alone"].per_run.value
    assert lines["patch by patch, re-tested"].behind.value == 0.0
