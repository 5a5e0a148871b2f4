"""A strategy really acts: which declared change it takes next."""

from __future__ import annotations

import pytest

from ratchet.config import Strategy
from ratchet.proposers.declared import change_size, propose_by_strategy
from ratchet.task.edits import apply_declared
from ratchet.task.task import DeclaredChange

SPACE = (
    DeclaredChange("RATE", "hyperparams", "why", values=(0.4, 0.2, 1.6)),
    DeclaredChange("WIDTH", "architecture", "why", values=(4, 2)),
    DeclaredChange("FLAG", "architecture", "why", values=("on",)),
    DeclaredChange("loop", "architecture", "why", find="a = 1\n", replace="a = 1\nb = 2\nc = 3\n"),
    DeclaredChange("DROP", "regularization", "why", values=(0.1,)),
)
CODE = {"train.py": "RATE = 0.1\nWIDTH = 1\nFLAG = 'off'\nDROP = 0.0\na = 1\n"}
RANKING = ("regularization", "architecture", "hyperparams")


def taken(count: int = 1, seed: int = 1, counts: dict[str, int] | None = None, **keys) -> list[str]:
    """Labels of the first choices of a strategy, none of which is kept."""
    tried: list[str] = []
    for number in range(count):
        strategy = Strategy("mine", "brief", **keys)
        args = SPACE, CODE, tried, RANKING, counts or {}, seed + number
        draft = propose_by_strategy(strategy, *args)
        if draft is None:
            break
        tried.append(draft.edit.label)
    return tried


def test_without_wishes_steering_and_the_task_decide() -> None:
    assert taken(3) == ["DROP=0.1", "WIDTH=4", "WIDTH=2"]


def test_small_and_large_steps() -> None:
    keys = {"only": ("hyperparams",)}
    assert taken(3, steps="small", **keys) == ["RATE=0.2", "RATE=0.4", "RATE=1.6"]
    assert taken(3, steps="large", **keys) == ["RATE=1.6", "RATE=0.4", "RATE=0.2"]
    keys = {"only": ("architecture",)}
    assert taken(4, steps="large", **keys) == ["loop", "WIDTH=4", "FLAG='on'", "WIDTH=2"]


def test_first_categories_come_first_until_they_were_tried_often_enough() -> None:
    keys = {"first": ("hyperparams", "architecture"), "first_tries": 2}
    assert taken(1, **keys) == ["RATE=0.4"]
    assert taken(1, counts={"hyperparams": 2}, **keys) == ["WIDTH=4"]
    assert taken(1, counts={"hyperparams": 2, "architecture": 2}, **keys) == ["DROP=0.1"]


def test_nothing_beside_only_and_nothing_is_no_error() -> None:
    assert taken(9, only=("regularization",)) == ["DROP=0.1"]
    assert taken(9, only=("data",)) == []


def test_random_follows_its_seed_and_takes_everything_once() -> None:
    first = taken(9, order="random")
    assert first == taken(9, order="random")
    assert sorted(first) == sorted(taken(9))
    assert len({tuple(taken(9, seed=seed, order="random")) for seed in range(5)}) > 1


def test_candidates_of_one_round_differ_in_kind() -> None:
    strategy = Strategy("mine", "brief")
    kinds = [
        propose_by_strategy(strategy, SPACE, CODE, [], RANKING, {}, 1, skip) for skip in range(3)
    ]
    assert [draft.category for draft in kinds if draft] == list(RANKING)


@pytest.mark.parametrize(
    ("label", "size"),
    [("RATE=0.2", 0.693), ("DROP=0.1", 1.0), ("FLAG='on'", 1.0), ("loop", 2.0), ("WIDTH=4", 1.386)],
)
def test_the_size_of_a_step(label: str, size: float) -> None:
    draft = apply_declared(SPACE, CODE, label)
    assert draft is not None
    assert change_size(draft, CODE) == pytest.approx(size, abs=1e-3)
