"""The default task's canaries: fair to whoever does not look ahead.

Who does is in ``tests/security/test_metric.py``.
"""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROWS, LENGTH = 16, 64


@pytest.fixture(scope="module")
def canary(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["canary"]


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


def batches(content: Any, count: int = 32) -> tuple[Any, Any]:
    starts = np.arange(count * ROWS) * 200
    spans = starts[:, None] + np.arange(LENGTH)
    shape = (count, ROWS, LENGTH)
    return content[spans].reshape(shape), content[spans + 1].reshape(shape)


def made(canary: ModuleType, content: Any, seed: int = 1) -> tuple[list[Any], Any]:
    rng = np.random.default_rng(seed)
    text = canary.Text(content, LENGTH)
    inputs, targets = batches(content)
    found = [canary.Canary(i, t, text, rng) for i, t in zip(inputs, targets, strict=True)]
    canary.teach(found, text, rng)
    return found, text


def test_canaries_change_the_next_byte_and_bets_are_about_it(canary, content) -> None:
    inputs, _ = batches(content)
    found, _ = made(canary, content)
    for original, one in zip(inputs, found, strict=True):
        for row, place in enumerate(one.places):
            assert (one.inputs[row, : place + 1] == original[row, : place + 1]).all()
            assert one.inputs[row, place + 1] != original[row, place + 1]
    bets = [(one, bet) for one in found for bet in one.bets]
    assert 1000 < len(bets) < 2500
    for one, bet in bets:
        window = one.inputs[bet.row]
        assert (window[bet.position], window[bet.position + 1]) == (bet.before, bet.drawn)
        assert bet.drawn != bet.instead_of
    # Lessons are at most one per window, and each is about one fact.
    taught = [(id(one), bet.row) for one, bet in bets if bet.fact is not None]
    assert len(taught) == len(set(taught))
    assert 0.9 < len(taught) / (canary.LESSONS * canary.PUPILS) <= 1
    thirds: dict[int, set[tuple[int, int]]] = {}
    for _, bet in bets:
        if bet.fact is not None:
            thirds.setdefault(bet.fact, set()).add((bet.before, bet.drawn))
    assert all(len(third) == 1 for third in thirds.values())


def wealth(canary: ModuleType, content: Any, predict: Any, seed: int = 1) -> dict[str, float]:
    """What bets on a predictor's likelihoods make of 1."""
    found, text = made(canary, content, seed)
    won = []
    for question, one in enumerate(found):
        chances = predict(one.inputs, text)
        one.accept(np.log(chances), question)
        won += one.won
    result: dict[str, float] = canary.wealth(won)
    return result


def usual(inputs: Any, text: Any) -> Any:
    """The best guess from the byte before."""
    return text.odds[inputs] * 0.999 + 0.001 / 256


@pytest.mark.parametrize("power", [1, 3])
def test_who_knows_the_odds_does_not_win(canary: ModuleType, content: Any, power: int) -> None:
    """Neither with the best guesses nor with sharper ones."""

    def sharp(inputs: Any, text: Any) -> Any:
        chances = usual(inputs, text) ** power
        return chances / chances.sum(-1, keepdims=True)

    for seed in range(3):
        found = wealth(canary, content, sharp, seed)
        assert found["wealth"] < 3
        assert found["taught"] < 3 or power > 1
