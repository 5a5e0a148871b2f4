"""What measured points say of a space: importance, the better way, the best region, predictions."""

import math
import random

import pytest

from ratchet.proposers.landscape import (
    LEAST_POINTS,
    MODELLED,
    MOVED,
    SETTINGS,
    Landscape,
    landscape_of,
    with_predictions,
)
from ratchet.proposers.optimizer import Measured, Search
from ratchet.proposers.space import Space
from ratchet.task.task import DeclaredChange, Range

RANGES = {
    "RATE": Range(0.001, 1.0, log=True),
    "WIDTH": Range(8, 128, whole=True, power_of=2),
    "DROP": Range(0.0, 0.5),
    "GATED": Range(choices=(False, True)),
    "NAME": Range(choices=("a", "b", "c")),
    "BETAS": Range(choices=([0.9, 0.95], [0.8, 0.99])),
}
SPACE = Space([DeclaredChange(name, "other", range=limits) for name, limits in RANGES.items()])
START = {"RATE": 0.01, "WIDTH": 32, "DROP": 0.25, "GATED": False, "NAME": "a", "BETAS": [0.9, 0.95]}


def truth(point: dict) -> float:
    """The rate decides, best at 0.1; a gate helps a little; the rest does nothing."""
    return (math.log10(point["RATE"]) + 1.0) ** 2 - 0.2 * point["GATED"]


def drawn(number: int, seed: int = 1, noise: float = 0.02) -> Search:
    """A search with so many random points, and the start."""
    chance = random.Random(seed)
    points = [START]
    for _ in range(number - 1):
        point = {
            "RATE": float(f"{10 ** chance.uniform(-3, 0):.3g}"),
            "WIDTH": 2 ** chance.randint(3, 7),
            "DROP": round(chance.uniform(0, 0.5), 3),
            "GATED": chance.random() < 0.5,
            "NAME": chance.choice("abc"),
            "BETAS": chance.choice([[0.9, 0.95], [0.8, 0.99]]),
        }
        points.append(point)
    measured = [
        Measured(n, point, truth(point) + chance.gauss(0, noise)) for n, point in enumerate(points)
    ]
    return searched(measured)


def searched(measured: list[Measured], ceiling_mb: float | None = None) -> Search:
    return Search(space=SPACE, start=START, origin=START, measured=measured, ceiling_mb=ceiling_mb)


def predicted(search: Search, sign: int = 1) -> Landscape:
    found = landscape_of(search)
    assert found is not None
    return with_predictions(found, search, 7, sign)


def test_it_names_what_matters_and_the_region_that_is_best() -> None:
    found = predicted(drawn(40))
    first = found.constants[0]
    assert (found.points, found.failed, first.name, first.now) == (40, 0, "RATE", 0.01)
    assert first.importance > 0.5
    assert math.isclose(sum(each.importance for each in found.constants), 1.0)
    low, high = first.best
    assert 0.01 < low < 0.1 < high < 1.0
    assert {each.name for each in found.constants} == set(RANGES)
    # What is tried next is near the best rate, is predicted about right, and was not tried.
    assert len(found.predictions) == SETTINGS
    tried = [each.point for each in drawn(40).measured]
    for one in found.predictions:
        whole = {**START, **one.moved}
        assert whole not in tried
        assert 0 < len(one.moved) <= MOVED
        assert 0.02 < one.moved["RATE"] < 0.5
        assert abs(one.value - truth(whole)) < 3 * one.sd < 1.0
        assert SPACE.fitted(whole) == whole


def test_the_way_is_told_where_it_is_clear() -> None:
    def way(slope: float) -> int:
        search = drawn(40)
        measured = [
            Measured(m.number, m.point, slope * m.point["DROP"] + 1e-3 * m.number)
            for m in search.measured
        ]
        found = landscape_of(searched(measured))
        assert found is not None
        return {each.name: each.way for each in found.constants}["DROP"]

    assert [way(5.0), way(-5.0), way(0.0)] == [-1, 1, 0]


def test_of_choices_the_commonest_of_the_best_come_first() -> None:
    search = drawn(40)
    measured = [
        Measured(m.number, m.point, float(m.point["NAME"] != "b") + 1e-3 * m.number)
        for m in search.measured
    ]
    found = landscape_of(searched(measured))
    assert found is not None
    first = found.constants[0]
    assert (first.name, first.choices, first.best[0], first.way) == ("NAME", True, "b", 0)
    assert first.clear


def test_what_may_be_chance_is_told_as_such() -> None:
    named = 0
    for seed in range(10):
        search, chance = drawn(40, seed), random.Random(seed)
        measured = [Measured(m.number, m.point, chance.gauss(0, 1)) for m in search.measured]
        found = landscape_of(searched(measured))
        assert found is not None
        # Where nothing matters, levels between those that were tried stand out least of all.
        assert found.constants[0].importance < 0.8
        named += sum(each.clear for each in found.constants)
        assert all(each.clear or each.way == 0 for each in found.constants)
    assert named <= 2  # of 60
    # What leads is clear, before what may be chance.
    found = landscape_of(drawn(40))
    assert found is not None
    assert found.leading[0].name == "RATE" and found.leading[0].clear
    assert [each.clear for each in found.leading] == sorted(
        (each.clear for each in found.leading), reverse=True
    )


def test_few_points_say_nothing_and_failed_ones_do_not_count() -> None:
    assert landscape_of(drawn(LEAST_POINTS - 1)) is None
    search = drawn(LEAST_POINTS)
    assert landscape_of(search) is not None
    failed = [Measured(99, {**START, "RATE": 0.5}, None)]
    waiting = [Measured(100, {**START, "RATE": 0.6}, None, waiting=True)]
    too_large = [Measured(101, {**START, "WIDTH": 128}, -9.0, memory_mb=300.0)]
    more = searched([*search.measured, *failed, *waiting, *too_large], 200.0)
    found = landscape_of(more)
    assert found is not None
    assert (found.points, found.failed) == (LEAST_POINTS, 2)
    lost = searched([*search.measured[1:], *failed])
    assert landscape_of(lost) is None
    # Nothing was moved, so nothing matters.
    still = [Measured(number, START, 1.0 + number / 100) for number in range(20)]
    assert landscape_of(searched(still)) is None


@pytest.mark.parametrize("number", [LEAST_POINTS, 25])
def test_the_same_points_say_the_same(number: int) -> None:
    assert predicted(drawn(number)) == predicted(drawn(number))


def test_of_many_points_the_best_and_the_newest_are_learnt_from() -> None:
    search = drawn(MODELLED + 40)
    found = landscape_of(search)
    assert found is not None
    known = sorted(search.measured, key=lambda each: each.value)
    best = {each.number for each in known[: MODELLED // 2]}
    newest = [each for each in search.measured if each.number not in best][-MODELLED // 2 :]
    few = [each for each in search.measured if each.number in best or each in newest]
    told = with_predictions(found, search, 3, 1)
    assert told.predictions == with_predictions(found, searched(few), 3, 1).predictions
    assert all(truth({**START, **each.moved}) < truth(START) for each in told.predictions)


def test_values_are_in_the_metrics_own_direction() -> None:
    lower, higher = predicted(drawn(20)), predicted(drawn(20), -1)
    assert higher.held == -(lower.held or 0.0)
    assert [one.value for one in higher.predictions] == [-one.value for one in lower.predictions]


def test_a_run_that_went_astray_does_not_spoil_the_predictions() -> None:
    search = drawn(40)
    astray = replace_value(search, 5, 1e6)
    for one in predicted(astray).predictions:
        assert abs(one.value - truth({**START, **one.moved})) < 0.5


def replace_value(search: Search, place: int, value: float) -> Search:
    measured = list(search.measured)
    old = measured[place]
    measured[place] = Measured(old.number, old.point, value)
    return searched(measured)
