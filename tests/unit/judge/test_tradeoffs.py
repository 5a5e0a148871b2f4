"""Prices of lines and memory, the memory ceiling, and who is efficient."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.trials import run
from ratchet.base.errors import ConfigError, DataError
from ratchet.base.structs import replace
from ratchet.judge.tradeoffs import (
    DOMINATED,
    EFFICIENT,
    Ceiling,
    Configuration,
    Prices,
    Tariff,
    credit,
    efficiency,
    efficiency_bounds,
)

SD = 4e-4
SOFT, HARD, NONE = Ceiling(200.0), Ceiling(200.0, hard=True), Ceiling()
MEANS = st.floats(0.5, 1.5)
KEPT = st.lists(
    st.builds(Configuration, MEANS, st.floats(1e-3, 0.1), st.none() | st.floats(10, 1000)),
    min_size=1,
    max_size=6,
)
SURE = st.floats(0, 1)
PRICES = Prices(per_line=1e-4, per_log_memory=0.01, per_log_excess=0.03)
TARIFF = Tariff(PRICES, noise_sd=0.01, credit_used=0.0, memory_mb=100.0)


@pytest.mark.parametrize(
    ("lines", "ratio", "used", "price"),
    [
        (20, None, 0, 1e-3),
        (0, None, 0, 0),
        (0, 2.0, 0, 0),
        (0, 0.5, 0, 0),
        (20, 2.0, 0, 1e-3),
        (-2, None, 0, -1e-4),
        (-100, None, 0, -0.5 * SD),
        (-100, None, 1.8 * SD, -0.2 * SD),
        (-100, None, 3 * SD, 0),
    ],
)
def test_prices(lines: int, ratio: float | None, used: float, price: float) -> None:
    assert Prices().threshold(lines, SD, ratio, used) == pytest.approx(price)
    assert credit(price) == max(0.0, -price)


@pytest.mark.parametrize("magnitude", [0.0, 1e-6, 0.9, 1.0, 3.0, 95.0])
def test_prices_go_by_the_magnitude_of_the_metric(magnitude: float) -> None:
    usual = Prices.for_metric(magnitude)
    assert usual.threshold(20, SD, memory_ratio=4.0) == pytest.approx(1e-3 * magnitude)
    assert usual.per_log_excess * math.log(2) == pytest.approx(0.0139 * magnitude, rel=0.01)
    named = Prices.for_metric(magnitude, per_line=0.0, per_log_memory=0.1)
    assert (named.per_line, named.per_log_memory) == (0.0, 0.1)
    assert named.per_log_excess == pytest.approx(0.3)
    assert Prices.for_metric(magnitude, per_log_memory=0.0).per_log_excess == 0


def test_a_named_price_of_memory_and_wrong_ones() -> None:
    saved = Prices(per_log_memory=0.01)
    assert saved.threshold(0, SD, memory_ratio=2.0) == pytest.approx(0.01 * math.log(2))
    assert saved.threshold(0, SD, memory_ratio=1.02) == 0
    assert saved.threshold(0, SD, memory_ratio=0.5) == pytest.approx(-0.5 * SD)
    with pytest.raises(ConfigError, match="per_line"):
        Prices(per_line=-1)
    with pytest.raises(DataError, match="memory ratio"):
        Prices().threshold(0, SD, memory_ratio=0.0)


@pytest.mark.parametrize(
    ("ceiling", "memory", "before", "charged"),
    [
        (SOFT, 400.0, 100.0, 0.03 * math.log(2)),
        (SOFT, 400.0, 300.0, 0.03 * math.log(4 / 3)),
        (SOFT, 203.0, 100.0, 0.0),  # within the tolerance
        (SOFT, 300.0, 400.0, 0.0),  # less than before
        (SOFT, 200.0, 100.0, 0.0),
        (SOFT, 400.0, 0.0, 0.0),
        (HARD, 400.0, 100.0, 0.0),
        (NONE, 400.0, 100.0, 0.0),
    ],
)
def test_a_soft_ceiling_charges_only_what_grows_above_it(ceiling, memory, before, charged) -> None:
    assert ceiling.surcharge(memory, before, 0.03) == pytest.approx(charged)


def test_what_is_above_a_ceiling_in_words() -> None:
    exceeded = [(SOFT, 200.1), (HARD, 201.0)]
    for ceiling, memory in (*exceeded, (SOFT, 200.0), (SOFT, None), (HARD, None), (NONE, 1e9)):
        assert ceiling.exceeded(memory) == ((ceiling, memory) in exceeded)
        assert ceiling.refuses(memory) == ((ceiling, memory) == (HARD, 201.0))
    assert NONE.words == ""
    assert HARD.words == "Memory: at most 200 MiB in each run; what needs more is never kept"
    assert "must improve the metric by more" in SOFT.words
    assert SOFT.reason(199.0) == ""
    assert SOFT.reason(250.0) == "needs 250 MiB, above the soft ceiling of 200 MiB"
    assert HARD.reason(250.0).endswith("above the ceiling of 200 MiB, and cannot be kept")


def test_the_price_of_memory_above_a_soft_ceiling() -> None:
    ceiled = replace(TARIFF, ceiling=SOFT)
    assert ceiled.threshold(0, 1.5) == TARIFF.threshold(0, 1.5)
    more = TARIFF.threshold(0, 4.0) + 0.03 * math.log(2)
    assert ceiled.threshold(0, 4.0) == pytest.approx(more)
    assert "4.00x memory" in ceiled.words(more, 0, 4.0)
    free = replace(ceiled, prices=Prices(per_log_excess=0.0))
    assert free.threshold(0, 4.0) == 0.0
    usual = replace(ceiled, prices=Prices())
    assert usual.threshold(0, 1.5) == 0.0
    excess = usual.threshold(0, 4.0)
    assert excess == pytest.approx(0.02 * math.log(2))
    assert usual.words(excess, 0, 4.0) == "needs 0.014 for 4.00x memory"


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


@pytest.mark.parametrize(
    ("lines", "ratio", "kinds"),
    [
        (20, 1.1, "line and memory"),
        (20, 0.5, "line"),
        (-3, 2.0, "memory"),
        (-3, 0.5, ""),
        (0, None, ""),
    ],
)
def test_which_prices_cost_something(lines: int, ratio: float | None, kinds: str) -> None:
    assert TARIFF.charged(lines, ratio) == kinds
    unpriced = replace(TARIFF, prices=Prices(per_line=0.0))
    assert unpriced.charged(lines, ratio) == ""


def test_what_is_free_is_not_named_and_credit_runs_out() -> None:
    free = replace(TARIFF, prices=Prices(per_line=0.0, per_log_memory=0.01))
    assert free.words(free.threshold(50, 2.0), 50, 2.0) == "needs 0.0069 for 2.00x memory"
    assert free.words(free.threshold(50, None), 50, None) == ""
    assert TARIFF.threshold(-1000, None) == pytest.approx(-0.005)
    assert replace(TARIFF, credit_used=0.018).threshold(-1000, None) == pytest.approx(-0.002)
    assert str(replace(TARIFF, credit_used=0.02).threshold(-1000, None)) == "0.0"


def test_the_memory_ratio_is_unknown_where_either_is() -> None:
    assert TARIFF.ratio([run(memory_mb=150.0), run(memory_mb=250.0)]) == 2.0
    assert TARIFF.ratio([run(memory_mb=None)]) is None
    assert TARIFF.ratio([run(memory_mb=0.0)]) is None
    assert replace(TARIFF, memory_mb=None).ratio([run(memory_mb=100.0)]) is None
    assert replace(TARIFF, memory_mb=0.0).ratio([run(memory_mb=100.0)]) is None


def test_efficiency() -> None:
    small, large, beaten = efficiency([1.0, 0.9, 1.2], [0.01] * 3, [10.0, 20.0, 20.0])
    assert small.low == small.high == 1
    assert large.efficient and not beaten.efficient
    assert beaten.high < 1e-6
    tied = efficiency([1.0, 1.0], [0.0, 0.0], [5.0, 5.0])
    assert [e.low for e in tied] == [1.0, 1.0]
    assert efficiency([], [], []) == ()
    with pytest.raises(ValueError, match="equal length"):
        efficiency([1.0], [], [1.0])


def one(mean: float, memory: float | None = 100.0, sd: float = 0.01) -> Configuration:
    return Configuration(mean, sd, memory)


@pytest.mark.parametrize(
    ("candidate", "sure", "kept", "low", "status"),
    [
        (one(0.9), 0.9, [one(1.0)], 0.9, EFFICIENT),
        (one(0.9), 0.1, [one(1.0)], 0.1, DOMINATED),
        # Less memory than all is efficient however bad the metric is.
        (one(2.0, memory=50.0), 0.0, [one(1.0)], 1.0, EFFICIENT),
        # An old configuration of less memory dominates, or does not.
        (one(1.0, memory=80.0), 0.0, [one(0.9, memory=60.0), one(0.8, 200.0)], 0.0, DOMINATED),
        (one(0.7, memory=80.0), 0.9, [one(0.9, memory=60.0), one(0.8, 200.0)], 1.0, EFFICIENT),
        # An old one as large as the incumbent has lost already: its luck must not count twice.
        (one(0.95), 0.8, [one(0.9), one(1.0)], 0.8, EFFICIENT),
        # An incumbent of unknown memory is taken for one that needs no more.
        (one(0.5), 0.7, [one(1.0, memory=None)], 0.7, EFFICIENT),
    ],
)
def test_a_candidate_among_those_kept_before(candidate, sure, kept, low, status) -> None:
    found = efficiency_bounds(candidate, sure, kept)
    assert found.low == pytest.approx(low, abs=1e-6)
    assert found.status == status
    # Without memory or keeps nothing is known.
    assert efficiency_bounds(one(0.5, memory=None), 0.9, [one(1.0)]) is None
    assert efficiency_bounds(one(0.5), 0.9, []) is None


@given(MEANS, st.floats(0, 0.5), SURE, SURE, st.floats(10, 1000), st.floats(1, 3), KEPT)
def test_what_helps_and_what_never_does(mean, gain, a, b, memory, factor, kept) -> None:
    here, better = (
        efficiency_bounds(one(mean), a, kept),
        efficiency_bounds(one(mean - gain), a, kept),
    )
    assert better.low >= here.low - 1e-12
    assert better.high >= here.high - 1e-12
    assert 0 <= here.low <= here.high <= 1
    less, more = (efficiency_bounds(one(mean), sure, kept) for sure in sorted((a, b)))
    assert more.low >= less.low
    assert more.high >= less.high
    small, large = (
        efficiency_bounds(one(mean, size), a, kept) for size in (memory, memory * factor)
    )
    assert large.low <= small.low + 1e-12
