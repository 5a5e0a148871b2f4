"""Further runs of the incumbent: regular checks, and what the judge asks for."""

from types import SimpleNamespace

import pytest

from helpers.trials import run
from ratchet.records.records import Incumbent, Outcome, Role, RunSummary
from ratchet.steps import experiment
from ratchet.steps.experiment import Reference
from ratchet.steps.judge import learn_of_check


@pytest.fixture(autouse=True)
def bench_makes_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench stands for the session, and for the executor of its runs."""
    monkeypatch.setattr(experiment, "Executor", lambda session: session)


class Bench:
    """Stands for a session, the executor of its runs, and its judge."""

    sign, incumbent_mean, incumbent_sd = 1, 1.0, 0.3

    def __init__(self, values: list[float | None], wanted: int = 0, **config: int) -> None:
        self.values, self.incumbent_runs_wanted = values, wanted
        self.config = SimpleNamespace(**config)
        self.replicates: list[int] = []
        self.learned: list[float] = []

    def run(
        self, files: object, role: Role, replicate: int, *about: object, as_it_is: bool
    ) -> RunSummary:
        assert role is Role.REMEASURE
        self.as_it_is = as_it_is
        self.replicates.append(replicate)
        return run(self.values[len(self.replicates) - 1])

    def value(self, one: RunSummary) -> float:
        assert one.value is not None
        return self.sign * one.value

    def incumbent(self, y: float, anew: bool = False) -> None:
        if anew:
            self.learned.clear()
        self.learned.append(y)
        self.incumbent_runs_wanted -= 1

    def noise_interval(self) -> tuple[float, float]:
        return 0.1, 0.4

    def reference(self, number: int) -> Reference:
        held = Incumbent(2, "s", {}, "c", 1.0, 1.0, 0.3, None, 1)
        return Reference(self, held, number)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "wanted", "learned", "made"),
    [
        ([1.0, 2.0, 3.0], 2, [1.0, 2.0, 3.0], 3),
        ([1.0] * 9, 9, [1.0] * 4, 4),  # no more than the round may have
        ([1.0, None, 1.0], 9, [1.0], 2),  # none after one that failed
    ],
)
def test_the_judge_gets_the_incumbent_runs_that_it_wants(
    values: list[float | None], wanted: int, learned: list[float], made: int
) -> None:
    bench = Bench(values, wanted, incumbent_runs=4)
    reference = bench.reference(7)
    reference.supply(bench)
    bench.incumbent_runs_wanted += 1
    reference.supply(bench)
    assert bench.learned == learned
    assert bench.replicates == [70_000, 70_001, 70_002, 70_003][:made]
    assert len(reference.runs) == made


@pytest.mark.parametrize(
    ("every", "number", "checked"),
    [(3, 1, False), (3, 3, True), (3, 5, False), (3, 6, True), (0, 4, False)],
)
def test_checks_come_regularly(every: int, number: int, checked: bool) -> None:
    bench = Bench([1.0, 1.0], remeasure_every=every)
    assert (bench.reference(number).check() is not None) is checked
    assert bench.replicates == ([number] if checked else [])
    assert not checked or not bench.as_it_is
    assert bench.reference(number).check(wanted=True) is not None
    assert bench.as_it_is


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("value", "z"), [(2.4, 2.8), (2.6, 3.2), (-0.6, -3.2), (None, None)])
def test_a_check_is_measured_in_sds_of_what_was_expected(
    sign: int, value: float | None, z: float | None
) -> None:
    """One that failed is told and teaches nothing."""
    bench = Bench([value], remeasure_every=1)
    bench.sign, bench.incumbent_mean = sign, sign * 1.0
    reference = bench.reference(1)
    found = learn_of_check(bench, bench, reference.incumbent, reference.check())
    assert (found.expected, found.sd) == (1.0, pytest.approx(0.5))
    assert found.z == (None if z is None else pytest.approx(z))
    assert found.alarm == (z is not None and abs(z) > 3)
    assert found.run.outcome is (Outcome.CRASH if value is None else Outcome.OK)
    assert bench.learned == ([] if value is None else [sign * value])


@pytest.mark.parametrize("value", [9.0, None])
def test_on_a_machine_of_another_pace_the_incumbent_is_measured_anew(value: float | None) -> None:
    """However far the metric went, that is no alarm; a run that failed replaces nothing."""
    bench = Bench([value])
    bench.learned = [1.0, 1.1]
    found = learn_of_check(bench, bench, bench.reference(1).incumbent, run(value), anew=True)
    assert not found.alarm
    assert found.anew is (value is not None)
    assert bench.learned == ([1.0, 1.1] if value is None else [9.0])
