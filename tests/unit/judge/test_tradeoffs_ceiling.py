"""The memory ceiling: what is above it, what that costs, and how it is said."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from ratchet.base.errors import DataError
from ratchet.base.structs import replace
from ratchet.integrity.run_checks import Case
from ratchet.judge.judge import Assessment
from ratchet.judge.tradeoffs import Ceiling, Prices, Tariff
from ratchet.records.records import Outcome, Proposal, RunSummary, Verdict
from ratchet.session import memory_ceiling
from ratchet.steps.baseline import require_constraints, require_memory
from ratchet.steps.judge import broken_constraints, peak_memory, rule_on_case
from ratchet.task.task import Constraint

SOFT, HARD, NONE = Ceiling(200.0), Ceiling(200.0, hard=True), Ceiling()


def test_what_is_above() -> None:
    assert SOFT.exceeded(200.1)
    assert not SOFT.exceeded(200.0)
    assert not SOFT.exceeded(None)
    assert not NONE.exceeded(1e9)
    assert HARD.refuses(201.0)
    assert not SOFT.refuses(1e9)
    assert not HARD.refuses(None)


def test_a_soft_ceiling_charges_only_what_grows_above_it() -> None:
    assert SOFT.surcharge(400.0, 100.0, 0.01) == pytest.approx(0.03 * math.log(2))
    assert SOFT.surcharge(400.0, 300.0, 0.01) == pytest.approx(0.03 * math.log(4 / 3))
    assert SOFT.surcharge(203.0, 100.0, 0.01) == 0.0  # within the tolerance
    assert SOFT.surcharge(300.0, 400.0, 0.01) == 0.0  # less than before
    assert SOFT.surcharge(200.0, 100.0, 0.01) == 0.0
    assert HARD.surcharge(400.0, 100.0, 0.01) == 0.0
    assert NONE.surcharge(400.0, 100.0, 0.01) == 0.0
    assert SOFT.surcharge(400.0, 0.0, 0.01) == 0.0


def test_words() -> None:
    assert NONE.words == ""
    assert HARD.words == "Memory: at most 200 MiB in each run; what needs more is never kept"
    assert "must improve the metric by more" in SOFT.words
    assert SOFT.reason(199.0) == ""
    assert SOFT.reason(250.0) == "needs 250 MiB, above the soft ceiling of 200 MiB"
    assert HARD.reason(250.0).endswith("above the ceiling of 200 MiB, and cannot be kept")


def test_the_price_of_memory_above_a_soft_ceiling() -> None:
    prices = Prices(per_line=0.0, per_log_memory=0.01)
    plain = Tariff(prices, noise_sd=0.01, credit_used=0.0, memory_mb=100.0)
    ceiled = replace(plain, ceiling=SOFT)
    assert ceiled.threshold(0, 1.5) == plain.threshold(0, 1.5)
    more = plain.threshold(0, 4.0) + 0.03 * math.log(2)
    assert ceiled.threshold(0, 4.0) == pytest.approx(more)
    assert "4.00x memory" in ceiled.words(more, 0, 4.0)
    free = replace(ceiled, prices=replace(prices, per_log_memory=0.0))
    assert free.threshold(0, 4.0) == 0.0


# ---------------------------------------------------------------- a ruling


def summary(megabytes: float | None) -> RunSummary:
    return RunSummary("k", 1, Outcome.OK, "", 0.5, megabytes)


def case(megabytes: float, large: bool) -> Case:
    proposal = Proposal(
        number=1,
        round=1,
        candidate=0,
        source="s",
        parent="p",
        files={},
        category="other",
        description="d",
        hypothesis="h",
        diff="",
        lines_added=0,
        lines_removed=0,
        commit="c",
    )
    found = Case(proposal, [summary(megabytes)], 0, 1.0)
    found.assessment = Assessment(
        verdict=Verdict.STRONG_KEEP,
        confidence=0.999,
        confidence_at_threshold=0.999,
        gain=0.5,
        delta=-0.5,
        delta_sd=0.01,
        noise_sd=0.01,
        threshold=0.0,
        keep_probability=0.6,
        retest_value=0.0,
        fresh_value=0.0,
        n=1,
    )
    found.memory_mb, found.too_large = megabytes, large
    return found


def test_above_a_hard_ceiling_nothing_is_kept_and_nothing_efficient() -> None:
    tariff = Tariff(Prices(), 0.01, 0.0, 100.0, HARD)
    over = case(250.0, large=True)
    assert not over.willing
    assert not over.promising
    found = rule_on_case(over, 1, tariff, [], one_kept=True)
    assert found.verdict is Verdict.DISCARD
    assert not found.near_miss
    assert found.pareto is None
    assert found.mean == 0.5
    assert "needs 250 MiB, above the ceiling of 200 MiB, and cannot be kept" in found.reason


def test_above_a_soft_ceiling_it_is_said() -> None:
    tariff = Tariff(Prices(), 0.01, 0.0, 100.0, SOFT)
    over = case(250.0, large=False)
    assert over.willing
    over.kept = True
    found = rule_on_case(over, 1, tariff, [], one_kept=True)
    assert found.verdict is Verdict.STRONG_KEEP
    assert found.reason.endswith("it needs 250 MiB, above the soft ceiling of 200 MiB")


# ---------------------------------------------------------- what is measured


def session(kind: str, ceiling: float | None, measured: float | None) -> SimpleNamespace:
    record = None if measured is None else SimpleNamespace(peak_memory_mb=measured)
    return SimpleNamespace(
        config=SimpleNamespace(memory_ceiling_mb=ceiling, memory_ceiling=kind),
        store=SimpleNamespace(lookup=lambda key: record),
        task=SimpleNamespace(name="t"),
    )


def test_what_was_printed_counts_before_what_was_measured() -> None:
    here = session("hard", 200.0, 300.0)
    assert peak_memory(here, [summary(100.0), summary(150.0)]) == 150.0
    assert peak_memory(here, [summary(100.0), summary(None)]) == 300.0
    assert peak_memory(session("hard", 200.0, None), [summary(None)]) is None
    assert memory_ceiling(here) == HARD
    assert memory_ceiling(session("soft", 200.0, None)) == SOFT


def test_a_baseline_above_a_hard_ceiling_ends_the_session() -> None:
    with pytest.raises(DataError, match="baseline of task t needs 300 MiB, above the ceiling"):
        require_memory(session("hard", 200.0, None), [summary(300.0)])
    assert require_memory(session("soft", 200.0, None), [summary(300.0)]) is None
    assert require_memory(session("hard", None, None), [summary(300.0)]) is None


def test_what_breaks_a_constraint_is_not_kept_however_good_it_is() -> None:
    better = case(150.0, large=False)
    better.broken = "num_params_M is 63, expected num_params_M at most 60"
    assert not better.willing
    assert not better.promising
    found = rule_on_case(better, 1, Tariff(Prices(), 0.01, 0.0, 100.0), (), one_kept=False)
    assert found.verdict is Verdict.DISCARD
    assert found.pareto is None
    assert "it breaks a constraint (num_params_M is 63, expected" in found.reason
    assert found.reason.endswith("and cannot be kept")


def test_numbers_of_a_run_for_its_constraints() -> None:
    record = SimpleNamespace(
        metrics={"num_params_M": 63.0}, wall_seconds=5.0, cpu_seconds=4.0, peak_memory_mb=None
    )
    here = SimpleNamespace(
        task=SimpleNamespace(name="t", constraints=(Constraint("num_params_M", max=60),)),
        store=SimpleNamespace(lookup={"k": record}.get),
        manifest=SimpleNamespace(definition=SimpleNamespace(path="task.yaml")),
    )
    run = RunSummary("k", 1, Outcome.OK, "", 0.5, None)
    assert "num_params_M is 63" in broken_constraints(here, [run])
    assert broken_constraints(here, [replace(run, outcome=Outcome.CRASH)]) == ""
    with pytest.raises(DataError, match="baseline of task t breaks a constraint"):
        require_constraints(here, [run])
    here.task.constraints = (Constraint("wall_seconds", max=6), Constraint("cpu_seconds", min=1))
    require_constraints(here, [run])
    here.task.constraints = (Constraint("peak_memory_mb", max=6),)
    assert broken_constraints(here, [run]).startswith("peak_memory_mb is not known")
