"""Further runs of the incumbent: regular checks, and what the judge asks for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from helpers.trials import run
from ratchet.records.records import Incumbent, Outcome, Remeasurement, Role, RunSummary
from ratchet.steps import experiment
from ratchet.steps.experiment import Reference
from ratchet.steps.judge import learn_of_check


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


@pytest.mark.parametrize(
    ("values", "learned", "made"),
    [
        ([1.0] * 9, [1.0] * 4, 4),  # no more than the round may have
        ([1.0, None, 1.0], [1.0], 2),  # none after one that failed
    ],
)
def test_some_wishes_are_not_granted(
    values: list[float | None], learned: list[float], made: int
) -> None:
    bench = Bench(values, wanted=9, incumbent_runs=4)
    reference = bench.reference(1)
    reference.supply(bench)
    reference.supply(bench)
    assert (bench.learned, len(reference.runs)) == (learned, made)


@pytest.mark.parametrize(
    ("every", "number", "checked"),
    [(3, 1, False), (3, 3, True), (3, 5, False), (3, 6, True), (0, 4, False)],
)
def test_checks_come_regularly(every: int, number: int, checked: bool) -> None:
    bench = Bench([1.0], remeasure_every=every)
    assert (bench.reference(number).check() is not None) is checked
    assert bench.replicates == ([number] if checked else [])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("value", "z"), [(2.4, 2.8), (2.6, 3.2), (-0.6, -3.2), (None, None)])
def test_a_check_is_measured_in_sds_of_what_was_expected(
    sign: int, value: float | None, z: float | None
) -> None:
    """One that failed is told and teaches nothing."""
    bench = Bench([value], remeasure_every=1)
    bench.sign, bench.incumbent_mean = sign, sign * 1.0
    found = bench.check()
    assert (found.expected, found.sd) == (1.0, pytest.approx(0.5))
    assert found.z == (None if z is None else pytest.approx(z))
    assert found.alarm == (z is not None and abs(z) > 3)
    assert found.run.outcome is (Outcome.CRASH if value is None else Outcome.OK)
    assert bench.learned == ([] if value is None else [sign * value])
