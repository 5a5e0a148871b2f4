"""Memory ceiling and constraints of the task: what is measured, refused and said."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from helpers.trials import proposal
from ratchet.base.errors import DataError
from ratchet.base.structs import replace
from ratchet.judge.judge import Assessment
from ratchet.judge.tradeoffs import Ceiling, Prices, Tariff
from ratchet.records.records import Outcome, RunSummary, Verdict
from ratchet.records.store import RunRecord
from ratchet.session import memory_ceiling
from ratchet.steps.baseline import require_usable
from ratchet.steps.judge import Case, broken_constraints, peak_memory, rule_on_case
from ratchet.task.task import Constraint

SOFT, HARD = Ceiling(200.0), Ceiling(200.0, hard=True)


def summary(megabytes: float | None) -> RunSummary:
    return RunSummary("k", 1, Outcome.OK, "", 0.5, megabytes)


def case(megabytes: float, large: bool) -> Case:
    found = Case(proposal(1), [summary(megabytes)], 0, 1.0)
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


def session(kind: str, ceiling: float | None, measured: float | None) -> SimpleNamespace:
    record = None if measured is None else SimpleNamespace(peak_memory_mb=measured)
    return SimpleNamespace(
        config=SimpleNamespace(memory_ceiling_mb=ceiling, memory_ceiling=kind),
        store=SimpleNamespace(lookup=lambda key: record),
        task=SimpleNamespace(name="t", constraints=()),
    )


def test_what_was_printed_counts_before_what_was_measured() -> None:
    here = session("hard", 200.0, 300.0)
    assert peak_memory(here, [summary(100.0), summary(150.0)]) == 150.0
    assert peak_memory(here, [summary(100.0), summary(None)]) == 300.0
    assert peak_memory(session("hard", 200.0, None), [summary(None)]) is None
    assert memory_ceiling(here.config) == HARD
    assert memory_ceiling(session("soft", 200.0, None).config) == SOFT


def test_a_baseline_above_a_hard_ceiling_ends_the_session() -> None:
    with pytest.raises(DataError, match="baseline of task t needs 300 MiB, above the ceiling"):
        require_usable(session("hard", 200.0, None), [summary(300.0)])
    assert require_usable(session("soft", 200.0, None), [summary(300.0)]) is None
    assert require_usable(session("hard", None, None), [summary(300.0)]) is None


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
    record = RunRecord(Outcome.OK, "", 0, None, 5.0, 4.0, None, {"num_params_M": 63.0})
    here = SimpleNamespace(
        config=session("hard", None, None).config,
        task=SimpleNamespace(name="t", constraints=(Constraint("num_params_M", max=60),)),
        store=SimpleNamespace(lookup={"k": record}.get),
        manifest=SimpleNamespace(definition=SimpleNamespace(path="task.yaml")),
    )
    run = RunSummary("k", 1, Outcome.OK, "", 0.5, None)
    assert "num_params_M is 63" in broken_constraints(here, [run])
    assert broken_constraints(here, [replace(run, outcome=Outcome.CRASH)]) == ""
    with pytest.raises(DataError, match="baseline of task t breaks a constraint"):
        require_usable(here, [run])
    here.task.constraints = (Constraint("wall_seconds", max=6), Constraint("cpu_seconds", min=1))
    require_usable(here, [run])
    here.task.constraints = (Constraint("peak_memory_mb", max=6),)
    assert broken_constraints(here, [run]).startswith("peak_memory_mb is not known")
