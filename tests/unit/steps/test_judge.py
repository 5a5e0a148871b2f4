"""Rulings on one candidate: verdict, price, reason, ceiling and constraints, place on the front."""

from types import SimpleNamespace

import pytest

from helpers.trials import proposal, run
from ratchet.base.errors import DataError
from ratchet.base.structs import replace
from ratchet.judge.judge import Assessment
from ratchet.judge.tradeoffs import Ceiling, Configuration, Prices, Tariff
from ratchet.records.records import Outcome, Ruling, Verdict
from ratchet.records.store import RunRecord, peak_memory
from ratchet.session import memory_ceiling
from ratchet.steps.baseline import require_usable
from ratchet.steps.judge import Case, broken_constraints, rule_on_case
from ratchet.task.task import Constraint

SOFT, HARD = Ceiling(200.0), Ceiling(200.0, hard=True)
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


def case(found: Assessment | None = FOUND, memory_mb: float = 100.0, **changes: object) -> Case:
    runs = [run(0.97, memory_mb=memory_mb)]
    return Case(proposal(7), runs, 3, 1.0, assessment=found, memory_mb=memory_mb, **changes)


def ruled(
    one: Case, one_kept: bool = True, sign: int = 1, ceiling: Ceiling = TARIFF.ceiling
) -> Ruling:
    return rule_on_case(one, sign, replace(TARIFF, ceiling=ceiling), KEPT, one_kept)


def test_a_near_miss_needs_a_rival_that_was_kept_and_a_chance() -> None:
    assert ruled(case()).near_miss
    assert ruled(case()).verdict is Verdict.MARGINAL
    assert "another candidate of this round was better still" in ruled(case()).reason
    assert not ruled(case(kept=True)).near_miss
    likely = replace(FOUND, verdict=Verdict.MARGINAL, confidence_at_threshold=0.55, confidence=0.55)
    assert ruled(case(likely)).near_miss
    assert not ruled(case(likely), one_kept=False).near_miss
    unlikely = replace(likely, verdict=Verdict.DISCARD)
    assert not ruled(case(unlikely)).near_miss


def test_a_crash_has_neither_price_nor_place() -> None:
    crashed = case(None)
    crashed.runs = [run(None)]
    found = ruled(crashed)
    assert found.verdict is Verdict.CRASH
    assert (found.price, found.pareto, found.near_miss) == (None, None, False)


def test_the_reason_tells_the_price_and_the_test_of_mode_guaranteed() -> None:
    priced = replace(FOUND, threshold=0.0003)
    assert ruled(case(priced, kept=True)).reason == (
        "0.03 better than the baseline over one run (3.0 times the noise floor); it needs 0.0003 "
        "for 3 more lines; P(worth its price) 0.750, a keep needs 0.6"
    )
    assert ruled(case(priced, kept=True)).price == 0.0003
    assert "needs 0.0" not in ruled(case(kept=True)).reason.split("a keep")[0]
    tested = replace(FOUND, n=3, p_value=2e-5, level=7e-4)
    assert "its fresh runs alone: p 2e-05, needed 0.0007" in ruled(case(tested, kept=True)).reason


def test_a_price_that_decides_is_said_first() -> None:
    priced = replace(FOUND, verdict=Verdict.MARGINAL, threshold=0.021, confidence_at_threshold=0.4)
    larger = case(priced, memory_ratio=8.0)
    assert ruled(larger, one_kept=False).reason == (
        "kept but for the line and memory price: needs 0.021 for 3 more lines and 8.00x memory; "
        "0.03 better than the baseline over one run (3.0 times the noise floor); "
        "P(better) 0.800; P(worth its price) 0.400, a keep needs 0.6"
    )
    larger.net_lines = 0
    assert ruled(larger).reason.startswith("kept but for the memory price: needs 0.021 for 8.00x")
    undecided = [
        case(replace(priced, confidence=0.5), memory_ratio=8.0),
        case(replace(priced, gain=-0.001), memory_ratio=8.0),
        case(replace(priced, p_value=0.2, level=0.01, n=3), memory_ratio=8.0),
        case(priced, memory_ratio=8.0, confirmed=False),
        case(priced, memory_ratio=8.0, broken=BROKEN),
        case(replace(priced, threshold=0.0), memory_ratio=8.0),
        case(replace(FOUND, threshold=0.01), memory_ratio=8.0, kept=True),
    ]
    assert not any("kept but" in ruled(one).reason for one in undecided)
    shown = replace(priced, p_value=0.001, level=0.01, n=3)
    assert ruled(case(shown, memory_ratio=8.0)).reason.startswith("kept but for")


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


BROKEN = "num_params_M is 63, expected num_params_M at most 60"


@pytest.mark.parametrize(
    ("memory_mb", "changes", "words"),
    [
        (250.0, {"too_large": True}, "needs 250 MiB, above the ceiling of 200 MiB, and cannot be"),
        (150.0, {"broken": BROKEN}, f"it breaks a constraint ({BROKEN}), and cannot be"),
    ],
)
def test_what_may_not_be_kept_is_not_however_good_it_is(
    memory_mb: float, changes: dict[str, object], words: str
) -> None:
    better = case(replace(FOUND, verdict=Verdict.STRONG_KEEP), memory_mb, **changes)
    assert not better.willing
    assert not better.promising
    found = ruled(better, ceiling=HARD)
    assert (found.verdict, found.near_miss, found.pareto) == (Verdict.DISCARD, False, None)
    assert found.mean == 0.97
    assert words in found.reason
    assert found.reason.endswith("and cannot be kept")


def test_above_a_soft_ceiling_it_is_said() -> None:
    over = case(memory_mb=250.0)
    assert over.willing
    over.kept = True
    found = ruled(over, ceiling=SOFT)
    assert found.verdict is Verdict.KEEP
    assert found.reason.endswith("it needs 250 MiB, above the soft ceiling of 200 MiB")


def session(kind: str, ceiling: float | None, measured: float | None) -> SimpleNamespace:
    record = None if measured is None else SimpleNamespace(peak_memory_mb=measured)
    return SimpleNamespace(
        config=SimpleNamespace(memory_ceiling_mb=ceiling, memory_ceiling=kind),
        store=SimpleNamespace(lookup=lambda key: record),
        task=SimpleNamespace(name="t", constraints=()),
    )


def test_what_was_printed_counts_before_what_was_measured() -> None:
    here, printed, silent = session("hard", 200.0, 300.0), run(memory_mb=150.0), run()
    assert peak_memory(here.store, [run(memory_mb=100.0), printed]) == 150.0
    assert peak_memory(here.store, [printed, silent]) == 300.0
    assert peak_memory(session("hard", 200.0, None).store, [silent]) is None
    assert memory_ceiling(here.config) == HARD
    assert memory_ceiling(session("soft", 200.0, None).config) == SOFT


def test_a_baseline_above_a_hard_ceiling_ends_the_session() -> None:
    large = [run(memory_mb=300.0)]
    with pytest.raises(DataError, match="baseline of task t needs 300 MiB, above the ceiling"):
        require_usable(session("hard", 200.0, None), large)
    require_usable(session("soft", 200.0, None), large)
    require_usable(session("hard", None, None), large)


def test_numbers_of_a_run_for_its_constraints() -> None:
    record = RunRecord(Outcome.OK, "", 0, None, 5.0, 4.0, None, {"num_params_M": 63.0})
    here = SimpleNamespace(
        config=session("hard", None, None).config,
        task=SimpleNamespace(name="t", constraints=(Constraint("num_params_M", max=60),)),
        store=SimpleNamespace(lookup=lambda key: record),
        manifest=SimpleNamespace(definition=SimpleNamespace(path="task.yaml")),
    )
    assert "num_params_M is 63" in broken_constraints(here, [run()])
    assert broken_constraints(here, [run(None)]) == ""
    with pytest.raises(DataError, match="baseline of task t breaks a constraint"):
        require_usable(here, [run()])
    here.task.constraints = (Constraint("wall_seconds", max=6), Constraint("cpu_seconds", min=1))
    require_usable(here, [run()])
    here.task.constraints = (Constraint("peak_memory_mb", max=6),)
    assert broken_constraints(here, [run()]).startswith("peak_memory_mb is not known")
