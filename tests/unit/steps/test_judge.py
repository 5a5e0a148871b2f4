"""Rulings: verdict, price, reason and place on the front of one candidate."""

from __future__ import annotations

import pytest

from helpers.trials import proposal, run
from ratchet.base.structs import replace
from ratchet.judge.judge import Assessment
from ratchet.judge.tradeoffs import Configuration, Prices, Tariff
from ratchet.records.records import Ruling, Verdict
from ratchet.steps.judge import Case, rule_on_case

TARIFF = Tariff(Prices(per_line=1e-4, per_log_memory=0.01), 0.01, credit_used=0.0, memory_mb=100.0)
FOUND = Assessment(
    verdict=Verdict.KEEP,
    confidence=0.8,
    confidence_at_threshold=0.75,
    gain=0.02,
    delta=-0.03,
    delta_sd=0.012,
    noise_sd=0.01,
    keep_probability=0.6,
    threshold=0.0,
    retest_value=0.0,
    fresh_value=0.0,
    n=1,
)
KEPT = (Configuration(1.1, 0.01, 100.0), Configuration(1.0, 0.005, 100.0))


def case(found: Assessment | None = FOUND, **changes: object) -> Case:
    return Case(
        proposal(7),
        [run(0.97, memory_mb=100.0)],
        net_lines=3,
        incumbent=1.0,
        assessment=found,
        **changes,
    )


def ruled(one: Case, one_kept: bool = True, sign: int = 1) -> Ruling:
    return rule_on_case(one, sign, TARIFF, KEPT, one_kept)


def test_a_near_miss_needs_a_rival_that_was_kept_and_a_chance() -> None:
    assert ruled(case()).near_miss
    assert ruled(case()).verdict is Verdict.MARGINAL
    assert "another candidate of this round was better still" in ruled(case()).reason
    assert not ruled(case(kept=True)).near_miss
    likely = replace(FOUND, verdict=Verdict.MARGINAL, confidence_at_threshold=0.55, confidence=0.55)
    assert ruled(case(likely)).near_miss
    assert not ruled(case(likely), one_kept=False).near_miss
    unlikely = replace(likely, confidence=0.4, confidence_at_threshold=0.4)
    assert not ruled(case(unlikely)).near_miss
    assert not ruled(case(replace(likely, gain=-0.01))).near_miss


def test_a_crash_has_neither_price_nor_place() -> None:
    crashed = case(None)
    crashed.runs = [run(None)]
    found = ruled(crashed)
    assert found.verdict is Verdict.CRASH
    assert (found.price, found.pareto, found.near_miss) == (None, None, False)


def test_the_price_is_told_with_the_chance_to_meet_it() -> None:
    priced = replace(FOUND, threshold=0.0003)
    assert ruled(case(priced, kept=True)).reason == (
        "0.03 better than the incumbent over one run (3.0 times the noise floor); P(better) 0.800; "
        "it needs 0.0003 for 3 more lines: P(beyond that) 0.750, a keep needs 0.6"
    )
    assert ruled(case(priced, kept=True)).price == 0.0003
    assert "needs 0.0" not in ruled(case(kept=True)).reason.split("a keep")[0]


def test_the_test_of_mode_guaranteed_is_told() -> None:
    tested = replace(FOUND, n=3, p_value=2e-5, level=7e-4)
    assert "its fresh runs alone: p 2e-05, needed 0.0007" in ruled(case(tested, kept=True)).reason


def test_efficient_or_dominated_in_either_direction() -> None:
    for sign in (1, -1):
        found = ruled(case(kept=True), sign=sign)
        assert (found.pareto, found.incumbent, found.delta) == ("EFFICIENT", sign, sign * -0.03)
        assert found.pareto_low == pytest.approx(0.8)
    worse = replace(FOUND, verdict=Verdict.DISCARD, confidence=0.1, gain=-0.02)
    assert ruled(case(worse)).pareto == "DOMINATED"
    unknown = case(kept=True)
    unknown.runs = [run(0.97)]
    assert ruled(unknown).pareto is None
