"""Points of optimisers: reproducible, new, and told what failed."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from ratchet.base.structs import replace
from ratchet.proposers.optimizer import Measured, Search, point_idea
from ratchet.proposers.space import Space
from ratchet.records.proposals import CMAES, OPTIMIZERS, POINT, RANDOM, TPE
from ratchet.task.task import DeclaredChange, Range

SPACE = Space(
    [
        DeclaredChange("RATE", "hyperparams", range=Range(1e-3, 1.0, log=True)),
        DeclaredChange("WIDTH", "architecture", range=Range(64, 512, whole=True, multiple_of="H")),
        DeclaredChange("H", "architecture", range=Range(16, 64, whole=True, power_of=2)),
        DeclaredChange("DECAY", "hyperparams", range=Range(0.0, 0.3)),
    ]
)
CODE = {"train.py": "RATE = 0.01\nWIDTH = 256\nH = 32\nDECAY = 0.1\n"}
START = SPACE.point(CODE)
SWITCHES = Space(
    [
        DeclaredChange("A", "data", range=Range(choices=(False, True))),
        DeclaredChange("B", "data", range=Range(choices=("x", "y", "z"))),
        DeclaredChange("C", "data", range=Range(1, 2, whole=True)),
    ]
)
each = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def loss(point: dict[str, Any]) -> float:
    """Lowest at a rate of 0.1, no decay and a width of 128."""
    far = math.log(point["RATE"] / 0.1) ** 2 + 0.3 * math.log(point["WIDTH"] / 128) ** 2
    return far + 10 * point["DECAY"]


def search(measured: Sequence[Measured] = (), **fields: Any) -> Search:
    first = Measured(0, START, loss(START), memory_mb=START["WIDTH"])
    return Search(SPACE, START, START, [first, *measured], **fields)


def played(optimizer: str, steps: int, value: Any = loss, **fields: Any) -> Search:
    """A search after so many steps, each from a study that is built anew."""
    own = search(**fields)
    for number in range(1, steps + 1):
        point = own.next_point(optimizer, 7 if optimizer == CMAES else number)
        assert point is not None
        seen = value(point)
        made = Measured(number, point, seen, memory_mb=point["WIDTH"])
        best = min((m for m in own.measured if m.value is not None), key=lambda m: m.value)
        # A session goes on from what it kept.
        own = replace(own, start=dict(best.point), measured=[*own.measured, made])
    return own


def points(own: Search) -> list[dict[str, Any]]:
    return [dict(m.point) for m in own.measured[1:]]


@each
def test_points_are_new_reproducible_and_within_their_ranges(optimizer: str) -> None:
    own = played(optimizer, 14)
    assert points(own) == points(played(optimizer, 14))
    for point in points(own):
        assert SPACE.fitted(point) == point
        assert point["WIDTH"] % point["H"] == 0
    everything = [START, *points(own)]
    assert all(everything.count(point) == 1 for point in everything)
    other = search().next_point(optimizer, 8)
    assert other != search().next_point(optimizer, 9)


@pytest.mark.parametrize("optimizer", [TPE, CMAES])
def test_what_was_measured_is_learned_from(optimizer: str) -> None:
    values = [m.value for m in played(optimizer, 30).measured[1:]]
    half = len(values) // 2
    assert sum(values[half:]) < 0.8 * sum(values[:half])


def test_cmaes_goes_on_where_it_was_over_thirty_steps() -> None:
    own = played(CMAES, 30)
    # It asks again for all that it asked for, wherever the incumbent is by now.
    for number in (1, 11, 29):
        before = replace(own, measured=own.measured[:number])
        assert before.next_point(CMAES, 7) == own.measured[number].point


def test_a_crash_is_no_number() -> None:
    def brittle(point: dict[str, Any]) -> float | None:
        return None if point["RATE"] > 0.02 else loss(point)

    own = played(TPE, 30, brittle)
    late = [m.value is None for m in own.measured[16:]]
    first = [m.value is None for m in own.measured[1:11]]
    assert sum(late) / len(late) < sum(first) / len(first)


def test_cmaes_draws_another_point_for_one_that_crashed() -> None:
    own = played(CMAES, 8)  # a generation of four constants

    def following(crashed: int | None, sign: float) -> object:
        values = [None if m.number == crashed else sign * m.value for m in own.measured]
        measured = [replace(m, value=value) for m, value in zip(own.measured, values, strict=True)]
        return replace(own, measured=measured).next_point(CMAES, 7)

    # A whole generation moves the next one by its ranks, and nothing moves before that.
    assert following(None, 1.0) != following(None, -1.0)
    assert following(5, 1.0) == following(5, -1.0)


def test_a_memory_ceiling_is_learned() -> None:
    def wide(point: dict[str, Any]) -> float:
        return -point["WIDTH"]

    free, bound = (played(TPE, 30, wide, ceiling_mb=most) for most in (None, 200.0))
    above = [sum(m.memory_mb > 200.0 for m in own.measured[16:]) for own in (free, bound)]
    assert above[1] < above[0] / 2


@each
def test_points_that_wait_for_their_runs_are_avoided(optimizer: str) -> None:
    own = search()
    for number in range(1, 5):
        point = own.next_point(optimizer, 7)
        assert point not in points(own)
        waiting = Measured(number, point, None, waiting=True)
        own = replace(own, measured=[*own.measured, waiting])
    assert len(own.measured) == 5


@each
def test_a_space_of_few_points_is_used_up_and_ends(optimizer: str) -> None:
    start = {"A": True, "B": "x", "C": 1}
    own = Search(SWITCHES, start, start, [Measured(0, start, 0.0)])
    for number in range(1, 12):
        point = own.next_point(optimizer, 3)
        assert point is not None, number
        own = replace(own, measured=[*own.measured, Measured(number, point, 1.0)])
    assert len({str(sorted(m.point.items())) for m in own.measured}) == 12
    assert own.next_point(optimizer, 3) is None


@each
def test_code_without_any_of_the_constants_has_no_point(optimizer: str) -> None:
    assert Search(SPACE, {}, {}, []).next_point(optimizer, 1) is None


def test_a_value_outside_of_its_range_is_where_the_search_begins() -> None:
    far = {**START, "RATE": 7.0, "WIDTH": 40}
    own = Search(SPACE, far, far, [Measured(0, far, 1.0)])
    for optimizer in OPTIMIZERS:
        point = own.next_point(optimizer, 1)
        assert SPACE.fitted(point) == point


def test_a_point_says_what_it_moves() -> None:
    idea = point_idea(search(), RANDOM, CODE, 5)
    point = SPACE.point(idea.contents)
    moved = {name: value for name, value in point.items() if value != START[name]}
    assert len(moved) > 1
    assert (idea.edit.kind, idea.edit.name) == (POINT, RANDOM)
    assert idea.edit.values == {name: repr(value) for name, value in moved.items()}
    assert idea.description.startswith(f"{len(moved)} constants: RATE {point['RATE']}, ")
    assert f"it moves {len(moved)} constants at once" in idea.hypothesis
    # A single one is an edit as any other.
    alone = Space(SPACE.constants[:1])
    first = {"RATE": START["RATE"]}
    own = Search(alone, first, first, [Measured(0, first, 1.0)])
    idea = point_idea(own, TPE, CODE, 5)
    assert (idea.edit.kind, idea.edit.name) == ("constant", "RATE")
    assert idea.edit.value == repr(alone.point(idea.contents)["RATE"])
