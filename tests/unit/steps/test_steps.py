"""The parts of the stages that need no session: prices in words, queues, rulings."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ratchet.base.io import read_record, write_json
from ratchet.base.structs import replace
from ratchet.integrity.run_checks import Case
from ratchet.judge.judge import Assessment
from ratchet.judge.tradeoffs import Configuration, Prices, Tariff
from ratchet.records.history import History
from ratchet.records.paths import SessionPaths
from ratchet.records.records import (
    Baseline,
    Experiment,
    Incumbent,
    Outcome,
    Proposal,
    Proposals,
    Remeasurement,
    Role,
    RoundVerdict,
    Ruling,
    RunSummary,
    SessionState,
    StopReason,
    Verdict,
)
from ratchet.records.store import RunRecord, run_key
from ratchet.runs.executor import Executor
from ratchet.runs.spec import RunSpec
from ratchet.steps import experiment
from ratchet.steps.experiment import Reference
from ratchet.steps.judge import learn_of_check, rule_on_case
from ratchet.steps.rounds import Round
from ratchet.steps.steer import waiting_near_misses

PRICES = Prices(per_line=1e-4, per_log_memory=0.01)
TARIFF = Tariff(PRICES, noise_sd=0.01, credit_used=0.0, memory_mb=100.0)


def run(value: float | None = 1.0, memory: float | None = 100.0) -> RunSummary:
    outcome = Outcome.OK if value is not None else Outcome.CRASH
    return RunSummary("k", 1, outcome, "", value, memory)


# ------------------------------------------------------------------ prices


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
    assert TARIFF.ratio([run(memory=150.0), run(memory=250.0)]) == 2.0
    assert TARIFF.ratio([run(memory=None)]) is None
    assert TARIFF.ratio([run(memory=0.0)]) is None
    assert replace(TARIFF, memory_mb=None).ratio([run()]) is None
    assert replace(TARIFF, memory_mb=0.0).ratio([run()]) is None


# ------------------------------------------------- further incumbent runs


@pytest.fixture(autouse=True)
def bench_makes_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench stands for the session, and for the executor of its runs."""
    monkeypatch.setattr(experiment, "Executor", lambda session: session)


class Bench:
    """Stands for a session, its journal and its judge."""

    def __init__(self, values: list[float | None], wanted: int = 0, **config: int) -> None:
        self.values, self.incumbent_runs_wanted = values, wanted
        self.config = SimpleNamespace(**config)
        self.replicates: list[int] = []
        self.learned: list[float] = []
        self.sign, self.incumbent_mean, self.incumbent_sd = 1, 1.0, 0.3

    def run(self, files: object, role: Role, replicate: int, *about: object) -> RunSummary:
        assert role is Role.REMEASURE
        self.replicates.append(replicate)
        return run(self.values[len(self.replicates) - 1])

    def value(self, one: RunSummary) -> float:
        assert one.value is not None
        return self.sign * one.value

    def incumbent(self, y: float) -> None:
        self.learned.append(y)
        self.incumbent_runs_wanted -= 1

    def noise_interval(self) -> tuple[float, float]:
        return 0.1, 0.4

    def reference(self, number: int) -> Reference:
        held = Incumbent(2, "s", {}, "c", 1.0, 0.3, None, 1)
        return Reference(self, held, number)  # type: ignore[arg-type]

    def check(self) -> Remeasurement:
        """The round's check, of which the judge has learned."""
        reference = self.reference(1)
        run = reference.check()
        assert run is not None
        return learn_of_check(self, self, reference.incumbent, run)  # type: ignore[arg-type]


def test_the_judge_gets_the_incumbent_runs_that_it_wants() -> None:
    bench = Bench([1.0, 2.0, 3.0], wanted=2, incumbent_runs=4)
    reference = bench.reference(7)
    reference.supply(bench)
    assert bench.learned == [1.0, 2.0]
    bench.incumbent_runs_wanted = 1
    reference.supply(bench)
    assert bench.replicates == [70_000, 70_001, 70_002]
    assert len(reference.runs) == 3


def test_no_more_incumbent_runs_than_the_round_may_have() -> None:
    bench = Bench([1.0] * 9, wanted=9, incumbent_runs=4)
    bench.reference(1).supply(bench)
    assert len(bench.replicates) == 4


def test_after_a_failed_incumbent_run_none_follows() -> None:
    bench = Bench([1.0, None, 1.0], wanted=3, incumbent_runs=4)
    reference = bench.reference(1)
    reference.supply(bench)
    reference.supply(bench)
    assert bench.learned == [1.0]
    assert [r.outcome for r in reference.runs] == [Outcome.OK, Outcome.CRASH]


@pytest.mark.parametrize(("number", "checked"), [(1, False), (3, True), (5, False), (6, True)])
def test_checks_come_regularly(number: int, checked: bool) -> None:
    bench = Bench([1.0], remeasure_every=3)
    assert (bench.reference(number).check() is not None) is checked
    assert bench.replicates == ([number] if checked else [])


def test_without_checks_none_is_made() -> None:
    assert Bench([], remeasure_every=0).reference(4).check() is None


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("value", "z"), [(2.4, 2.8), (2.6, 3.2), (-0.6, -3.2)])
def test_a_check_is_measured_in_sds_of_what_was_expected(sign: int, value: float, z: float) -> None:
    bench = Bench([value], remeasure_every=1)
    bench.sign, bench.incumbent_mean = sign, sign * 1.0
    found = bench.check()
    assert (found.expected, found.sd) == (1.0, pytest.approx(0.5))
    assert found.z == pytest.approx(z)
    assert found.alarm == (abs(z) > 3)
    assert bench.learned == [sign * value]


def test_a_failed_check_is_told_and_teaches_nothing() -> None:
    bench = Bench([None], remeasure_every=1)
    found = bench.check()
    assert (found.z, found.alarm, found.run.outcome) == (None, False, Outcome.CRASH)
    assert bench.learned == []


# ----------------------------------------------------------- after the end


def test_rounds_after_the_end_keep_sums_and_queue(tmp_path: Path) -> None:
    paths = SessionPaths("s", tmp_path)
    sums = {"credit_used": 0.3, "expected_false_keeps": 1.5, "error_spent": 0.01}
    held = Incumbent(2, "s", {}, "c", 1.0, 0.3, None, 1)
    write_json(paths.round(1).verdict, RoundVerdict(1, (judged(1, 0.1),), **sums))
    write_json(paths.round(1).judge, {"any": "state"})
    write_json(paths.round(1).steer, SessionState(1, held, 5, near_misses=(4, 3)))
    write_json(paths.round(2).proposals, Proposals(2, dropped=(3,)))
    stopped = Experiment(2, 0, stop=StopReason.DEADLINE, detail="late")
    write_json(paths.round(2).experiment(0), stopped)
    ended = Round(paths, 2, 1, None, None, None, None)  # opens no session
    ended.judge()
    verdict = read_record(RoundVerdict, paths.round(2).verdict)
    assert {name: getattr(verdict, name) for name in sums} == sums
    ended.steer()
    state = read_record(SessionState, paths.round(2).steer)
    assert state.near_misses == (4,)


# ------------------------------------------------------------- near misses


def proposal(number: int, retry_of: int | None = None) -> Proposal:
    return Proposal(
        number=number,
        round=number,
        candidate=0,
        source=f"s{number}",
        parent="p",
        files={},
        category="data",
        description="d",
        hypothesis="h",
        diff="",
        lines_added=0,
        lines_removed=0,
        commit="c",
        retry_of=retry_of,
    )


def judged(number: int, gain: float, near_miss: bool = False) -> Ruling:
    return Ruling(number, 0, "c", Verdict.MARGINAL, "", (run(),), gain=gain, near_miss=near_miss)


FIRST = (
    Proposals(1, tuple(proposal(n) for n in (1, 2, 3, 4))),
    RoundVerdict(1, (judged(1, 0.9), judged(2, 0.1, True), judged(3, 0.3, True), judged(4, 0.0))),
)


def after(*rounds: tuple[Proposals, RoundVerdict]) -> History:
    made, ruled = zip(*rounds, strict=True)
    return History(Baseline("s", {}, "c", ()), made, ruled)


def test_near_misses_wait_with_the_best_first() -> None:
    assert waiting_near_misses((), after(FIRST)) == (3, 2)


def test_who_was_tried_again_or_dropped_waits_no_longer() -> None:
    second = Proposals(2, (proposal(5, retry_of=3), proposal(6)), dropped=(2,))
    verdict = RoundVerdict(2, (judged(5, 0.2, True), judged(6, 0.5, True)))
    assert waiting_near_misses((3, 2), after(FIRST, (second, verdict))) == (6, 5)


def test_a_second_try_that_was_not_run_is_still_to_come() -> None:
    second = Proposals(2, (proposal(5), proposal(6, retry_of=3)))
    verdict = RoundVerdict(2, (judged(5, 0.05, True),))
    assert waiting_near_misses((3, 2), after(FIRST, (second, verdict))) == (3, 2, 5)


# ------------------------------------------------------------------ rulings

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
    return Case(proposal(7), [run(0.97)], net_lines=3, incumbent=1.0, assessment=found, **changes)


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
    unknown.runs = [run(0.97, memory=None)]
    assert ruled(unknown).pareto is None


# -------------------------------------------------------------- contention


SPEC = RunSpec((), {}, {}, {}, 7, 1.0, None, 9.0, 1, "loss")


class _Store:
    """Answers every run with the next outcome, and remembers what it was asked for."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.keys: list[str] = []
        self.records: dict[str, RunRecord] = {}

    def run(self, inputs: dict, perform: object) -> tuple[str, RunRecord, bool]:
        key = run_key(inputs)
        self.keys.append(key)
        outcome = self.outcomes.pop(0)
        metrics = {"loss": 1.0} if outcome is Outcome.OK else {}
        self.records[key] = RunRecord(outcome, "", 0, None, 1.0, 1.0, None, metrics)
        return key, self.records[key], True

    def lookup(self, key: str) -> RunRecord | None:
        return self.records.get(key)


@pytest.mark.parametrize(
    ("outcomes", "last"),
    [
        ([Outcome.OK], Outcome.OK),
        ([Outcome.CONTENDED, Outcome.OK], Outcome.OK),
        ([Outcome.CONTENDED, Outcome.CRASH], Outcome.CRASH),
        ([Outcome.CONTENDED] * 3, Outcome.CONTENDED),
    ],
)
def test_a_run_that_shared_its_gpu_is_made_again(
    outcomes: list[Outcome], last: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, events = _Store(*outcomes), []
    executor = Executor(
        SimpleNamespace(
            task=SimpleNamespace(memory_mb=lambda _: None),
            store=store,
            journal=SimpleNamespace(append=lambda event, **about: events.append(about)),
        )
    )
    monkeypatch.setattr(executor, "spec", lambda *_: SPEC)
    assert not executor.is_stored({}, Role.SEARCH, 4)
    found = executor.run({}, Role.SEARCH, 4)
    assert found.outcome is last
    assert store.outcomes == []
    # Another attempt has another key, and the seed that the first one had.
    assert len(set(store.keys)) == len(outcomes)
    assert {(about["replicate"], about["seed"]) for about in events} == {(4, 7)}
    assert executor.is_stored({}, Role.SEARCH, 4)
    del store.records[store.keys[-1]]
    assert not executor.is_stored({}, Role.SEARCH, 4)
