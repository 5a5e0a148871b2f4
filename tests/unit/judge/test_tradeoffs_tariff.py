"""Prices of lines and memory: what a change must bring, and in which words."""

from __future__ import annotations

import pytest

from helpers.trials import run
from ratchet.base.structs import replace
from ratchet.judge.tradeoffs import Prices, Tariff

PRICES = Prices(per_line=1e-4, per_log_memory=0.01)
TARIFF = Tariff(PRICES, noise_sd=0.01, credit_used=0.0, memory_mb=100.0)


@pytest.mark.parametrize(
    ("lines", "ratio", "words"),
    [
        (20, 1.1, "needs 0.003 for 20 more lines and 1.10x memory"),
        (1, None, "needs 0.0001 for 1 more line"),
        (-8, 1.0, "may cost 0.0008 for 8 fewer lines"),
        (0, 0.5, "may cost 0.005 for 0.50x memory"),
        (-3, 2.0, "needs 0.0066 for 3 fewer lines and 2.00x memory"),
        (0, 1.019, ""),
        (0, None, ""),
    ],
)
def test_a_price_in_words(lines: int, ratio: float | None, words: str) -> None:
    assert TARIFF.words(TARIFF.threshold(lines, ratio), lines, ratio) == words


def test_what_is_free_is_not_named() -> None:
    free = replace(TARIFF, prices=Prices(per_line=0.0, per_log_memory=0.01))
    assert free.words(free.threshold(50, 2.0), 50, 2.0) == "needs 0.0069 for 2.00x memory"
    assert free.words(free.threshold(50, None), 50, None) == ""


def test_credit_runs_out() -> None:
    first = TARIFF.threshold(-1000, None)
    assert first == pytest.approx(-0.005)
    assert replace(TARIFF, credit_used=0.018).threshold(-1000, None) == pytest.approx(-0.002)
    assert str(replace(TARIFF, credit_used=0.02).threshold(-1000, None)) == "0.0"


def test_the_memory_ratio_is_unknown_where_either_is() -> None:
    assert TARIFF.ratio([run(memory_mb=150.0), run(memory_mb=250.0)]) == 2.0
    assert TARIFF.ratio([run(memory_mb=None)]) is None
    assert TARIFF.ratio([run(memory_mb=0.0)]) is None
    assert replace(TARIFF, memory_mb=None).ratio([run(memory_mb=100.0)]) is None
    assert replace(TARIFF, memory_mb=0.0).ratio([run(memory_mb=100.0)]) is None
