"""The default task's lessons: fair to whoever forgets, and seen by whoever does not.

Candidates that learn are in ``tests/security/test_metric.py``; ``tests/bench/cheats.py``
has their worth.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

GROUPS, LENGTH = 8, 64
MILLION = float(np.log(1e6))
Predict = Callable[[Any], Any]


@pytest.fixture(scope="module")
def lessons(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["lessons"]


@pytest.fixture(scope="module")
def content() -> Any:
    """Bytes with habits: each is mostly followed by one of three."""
    rng = np.random.default_rng(5)
    habits = rng.integers(32, 112, size=(256, 3))
    found = np.zeros(120_000, dtype=np.uint8)
    choices = rng.integers(0, 3, size=len(found))
    wild = rng.random(len(found)) < 0.2
    any_byte = rng.integers(32, 112, size=len(found))
    for i in range(1, len(found)):
        found[i] = any_byte[i] if wild[i] else habits[found[i - 1], choices[i]]
    return found


def test_rows_are_of_text_between_the_windows_and_of_what_was_drawn(
    lessons: ModuleType, prepare: ModuleType, content: Any
) -> None:
    # Bytes of windows are marked: no row may have one.
    marked = content.copy()
    spans = prepare.evaluation_starts(len(marked))[:, None] + np.arange(LENGTH + 1)
    marked[spans] += 128
    made = lessons.Lessons(marked, GROUPS, np.random.default_rng(1))
    assert made.rows.shape == (GROUPS, lessons.ROWS, LENGTH + 1)
    for group, rows in zip(made.lessons, made.rows, strict=True):
        for lesson, row in zip(group, rows, strict=True):
            end = lesson.position + len(lesson.fact.drawn)
            assert list(row[lesson.position : end]) == lesson.fact.drawn
            begins = [marked[end - lesson.position : end] for end in lesson.fact.ends]
            assert any((begin == row[: lesson.position]).all() for begin in begins)
            taken = np.delete(row, np.arange(lesson.position, end)) if lesson.position > 1 else row
            assert (taken < 128).all()
        assert len({lesson.position for lesson in group[: lessons.OWN]}) == lessons.OWN
    taught = [
        fact for group in made.lessons for fact in {id(x.fact): x.fact for x in group}.values()
    ]
    assert [sum(fact is f for f in taught) for fact in made.own] == [1] * GROUPS
    assert [sum(fact is f for f in taught) for fact in made.shared] == [lessons.TIMES] * 24
    # Some rows come again as they were.
    again = made.rows[:, -lessons.AGAIN :]
    assert (again == again[0]).all()


def wealth(lessons: ModuleType, content: Any, predict: Predict, seed: int) -> float:
    """What became of 1 with a predictor of likelihoods from prefixes."""
    made = lessons.Lessons(content, GROUPS, np.random.default_rng(seed))
    for group, rows in enumerate(made.rows):
        for t in range(LENGTH):
            made.accept(group, t, np.log(predict(rows[:, : t + 1])).astype(np.float32))
    found: float = made.wealth
    return found


def pairs(content: Any, power: float) -> Any:
    """Odds of a byte after another, sharpened."""
    counts = np.full((256, 256), 1e-3)
    np.add.at(counts, (content[:-1], content[1:]), 1.0)
    counts = counts**power
    return counts / counts.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_who_knows_the_odds_does_not_win(lessons: ModuleType, content: Any, power: float) -> None:
    """Neither with the best guesses nor with sharper or softer ones."""
    table = pairs(content, power)
    found = [wealth(lessons, content, lambda x: table[x[:, -1]], seed) for seed in range(8)]
    assert max(found) < 5


def test_who_is_better_late_in_a_window_does_not_win(lessons: ModuleType, content: Any) -> None:
    """Positions differ from row to row, in an order that says nothing."""
    table = pairs(content, 1.0)

    def predict(x: Any) -> Any:
        share = x.shape[1] / LENGTH
        return share * table[x[:, -1]] + (1 - share) / 256

    assert max(wealth(lessons, content, predict, seed) for seed in range(8)) < 5


@pytest.mark.parametrize("forgets", [False, True], ids=["remembers", "forgets with each group"])
@pytest.mark.parametrize("order", [3, 6, 24])
def test_who_remembers_wins(lessons: ModuleType, content: Any, order: int, forgets: bool) -> None:
    table = pairs(content, 1.0)
    for seed in range(3):
        known: dict[bytes, int] = {}

        def predict(x: Any, known: dict[bytes, int] = known) -> Any:
            if x.shape[1] == 1 and forgets:
                known.clear()
            chances = table[x[:, -1]].copy()
            for line in x:
                known[line[-order - 1 : -1].tobytes()] = int(line[-1])
            for row, line in enumerate(x):
                if (key := line[-order:].tobytes()) in known:
                    chances[row] *= 0.3
                    chances[row, known[key]] += 0.7
            return chances

        assert wealth(lessons, content, predict, seed) > MILLION


def test_who_learns_slowly_wins(lessons: ModuleType, content: Any) -> None:
    """A table that knows less than it could is moved a little by each byte of all rows."""
    for seed in range(3):
        scores = np.log(pairs(content, 0.3))
        said: list[Any] = []

        def predict(x: Any, scores: Any = scores, said: list[Any] = said) -> Any:
            if x.shape[1] > 1:
                error = -said[-1]
                error[np.arange(len(x)), x[:, -1]] += 1.0
                np.add.at(scores, x[:, -2], 0.01 * error)
            chances = np.exp(scores[x[:, -1]])
            said[:] = [chances / chances.sum(axis=1, keepdims=True)]
            return said[0]

        assert wealth(lessons, content, predict, seed) > MILLION


def test_who_gets_worse_or_changes_by_chance_does_not_win(
    lessons: ModuleType, content: Any
) -> None:
    """Only who predicts better what comes again has learned."""
    table = pairs(content, 1.0)
    for seed in range(4):
        calls = iter(range(10**6))
        draw = np.random.default_rng(seed)

        def worse(x: Any, calls: Any = calls) -> Any:
            share = 0.9 - 0.001 * next(calls)
            return share * table[x[:, -1]] + (1 - share) / 256

        def wild(x: Any, draw: Any = draw) -> Any:
            share = draw.random((len(x), 1))
            return share * table[x[:, -1]] + (1 - share) / 256

        assert wealth(lessons, content, worse, seed) < 5
        assert wealth(lessons, content, wild, seed) < 5
