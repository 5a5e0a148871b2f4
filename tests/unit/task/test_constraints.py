"""Bounds on other numbers than the metric."""

from __future__ import annotations

import math

import pytest

from ratchet.task.task import Constraint, broken_constraint

SIZE = Constraint("num_params_M", max=60)
TIME = Constraint("training_seconds", min=270, max=310)


@pytest.mark.parametrize("value", [0.0, 59.9, 60.0])
def test_within_bounds(value: float) -> None:
    assert SIZE.fault(value) is None
    assert TIME.fault(300 + value / 6) is None


@pytest.mark.parametrize(
    ("constraint", "value", "words"),
    [
        (SIZE, 60.5, "num_params_M is 60.5, expected num_params_M at most 60"),
        (TIME, 200, "is 200, expected training_seconds at least 270 and at most 310"),
        (TIME, 311, "is 311"),
        (SIZE, None, "num_params_M is not known"),
        (SIZE, math.nan, "num_params_M is not known"),
        (SIZE, math.inf, "num_params_M is inf"),
    ],
)
def test_outside_of_them(constraint: Constraint, value: float | None, words: str) -> None:
    assert words in (constraint.fault(value) or "")


def test_one_run_is_enough_to_break_one() -> None:
    fine = {"num_params_M": 50.0, "training_seconds": 300.0}
    assert broken_constraint([SIZE, TIME], [fine, fine]) == ""
    assert "num_params_M is 61" in broken_constraint(
        [TIME, SIZE], [fine, {**fine, "num_params_M": 61.0}]
    )
    assert "training_seconds is not known" in broken_constraint([TIME], [{"num_params_M": 1.0}])
    assert broken_constraint([], [{}]) == ""
