"""Runs of a session: one that a shared GPU or a busy machine spoilt is made again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ratchet.base.structs import replace
from ratchet.records.events import Journal, append_line, read_events
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Outcome, Pace, Role, RunSummary
from ratchet.records.series import CurvePoint
from ratchet.records.store import RunRecord, run_key
from ratchet.runs import devices
from ratchet.runs import executor as module
from ratchet.runs.executor import Executor
from ratchet.runs.hardware import usable_cores
from ratchet.runs.spec import RunSpec

SPEC = RunSpec((), {}, {}, {}, 7, 1.0, None, 9.0, 1, "loss")
QUIET, BUSY = Pace(0.012, 0.012), Pace(0.030, 0.012)
SHARED, OK, CRASH = Outcome.CONTENDED, Outcome.OK, Outcome.CRASH


def ended(outcome: Outcome, pace: Pace | None = None, **metrics: float) -> RunRecord:
    found = {"loss": 1.0, **metrics}
    return RunRecord(outcome, "", 0, None, 1.0, 1.0, None, found, pace=pace)


class Runs:
    """An executor whose runs end as told, one after another."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.records: dict[str, RunRecord] = {}
        self.ends: list[RunRecord] = []
        session: Any = SimpleNamespace(
            task=SimpleNamespace(memory_mb=lambda _: None, memory_name="mb", compile_cache=None),
            store=SimpleNamespace(
                run=self._run, lookup=self.records.get, finished=lambda _: 1_800_000_000.0
            ),
            paths=SessionPaths("night", folder),
            journal=Journal(SessionPaths("night", folder).events),
            budget={},
            config=SimpleNamespace(session="night", devices="all", share_after_minutes=10.0),
        )
        self.events = session.journal.path
        self.executor = Executor(session)
        monkeypatch.setattr(self.executor, "_on_this_machine", lambda spec: spec)
        monkeypatch.setattr(self.executor, "spec", self._spec)
        monkeypatch.setattr(module, "execute_run", lambda *_: self.ends.pop(0))

    def _run(self, inputs: dict, perform: Any, *_: Any) -> tuple[str, RunRecord, bool]:
        key = run_key(inputs)
        made = key not in self.records
        if made:
            self.records[key] = perform(Path())
        return key, self.records[key], made

    def _spec(self, sources: dict, role: Role, replicate: int, audit: bool = False) -> RunSpec:
        return replace(SPEC, sources=sources, seed=replicate)

    def made(self, *ends: RunRecord, source: str = "a", replicate: int = 0) -> Any:
        self.ends += ends
        found = self.executor.run({"train.py": source}, Role.SEARCH, replicate)
        assert not self.ends, "it ended sooner"
        assert self.executor.is_stored({"train.py": source}, Role.SEARCH, replicate)
        return found

    def in_session(self, name: str) -> None:
        """Go on as another session that shares the store, or as this one again."""
        own = self.executor.session
        own.paths = SessionPaths(name, own.paths.root)  # type: ignore[misc]
        own.journal = Journal(own.paths.events)  # type: ignore[misc]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(tmp_path, monkeypatch)


def test_a_wait_for_a_device_is_told_and_ends_before_the_run_begins(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "SAID_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(devices, "WAIT_SECONDS", 0.002)
    monkeypatch.setenv("RATCHET_LEASES", str(tmp_path / "leases"))
    cores = usable_cores()
    other = devices.lease_cores(cores, len(cores), None, devices.Claim("other", "", "experiment 3"))
    other.__enter__()

    def heard(event: dict[str, Any]) -> None:
        if event["event"] == "run_waiting":
            assert "used by session other (experiment 3, since " in event["why"]
            other.__exit__(None, None, None)

    runs.executor.session.journal._listener = heard
    runs.made(ended(OK))
    told = [event["event"] for event in read_events(runs.events)]
    assert told == ["run_waiting", "run_started", "run_finished"]


@pytest.mark.parametrize(
    ("outcomes", "last", "aside"),
    [([OK], OK, 0), ([SHARED, OK], OK, 1), ([SHARED, CRASH], CRASH, 1), ([SHARED] * 3, SHARED, 2)],
)
def test_a_run_that_shared_its_gpu_is_made_again(outcomes, last, aside, runs: Runs) -> None:
    assert not runs.executor.is_stored({"train.py": "a"}, Role.SEARCH, 4)
    found = runs.made(*map(ended, outcomes), replicate=4)
    assert found.outcome is last
    # Another attempt has another key, and the seed that the first one had.
    assert [*found.set_aside, found.key] == list(runs.records)
    assert len(found.set_aside) == aside
    seeds = {(event["replicate"], event["seed"]) for event in read_events(runs.events)}
    assert seeds == {(4, 4)}
    del runs.records[found.key]
    assert not runs.executor.is_stored({"train.py": "a"}, Role.SEARCH, 4)


def test_a_run_on_a_busy_machine_is_made_again_and_the_last_one_counts(runs: Runs) -> None:
    assert runs.made(ended(OK, QUIET)).slowed == ""
    found = runs.made(ended(OK, BUSY), ended(OK, QUIET), source="b")
    assert len(found.set_aside) == 1
    assert found.slowed == ""
    stayed = runs.made(*[ended(OK, BUSY)] * 3, source="c")
    assert len(stayed.set_aside) == 2
    assert stayed.slowed == "a fixed piece of work took 2.50 times as long"
    # What failed by itself would fail again.
    assert runs.made(ended(CRASH, BUSY), source="d").set_aside == ()
    assert runs.made(ended(Outcome.TIMEOUT, BUSY), ended(OK, QUIET), source="e").set_aside
    again = [event["again"] for event in read_events(runs.events) if "again" in event]
    assert again == [False, True, False, True, True, False, False, True, False]
    # From the store the same is decided, although the usual is another by now.
    assert runs.made(source="c") == stayed


def test_a_first_run_is_compared_with_what_the_processor_needs(runs: Runs) -> None:
    assert len(runs.made(ended(OK, BUSY), ended(OK, QUIET)).set_aside) == 1


def test_a_machine_that_stays_busy_becomes_the_usual(runs: Runs) -> None:
    for number in range(4):
        runs.made(ended(OK, QUIET), source=f"quiet {number}")
    aside = []
    for number in range(8):
        attempts = 3 if number < 4 else 1
        found = runs.made(*[ended(OK, BUSY)] * attempts, source=f"busy {number}")
        aside.append(len(found.set_aside))
    assert aside == [2] * 4 + [0] * 4


def test_steps_are_compared_within_one_source_and_what_was_set_aside_is_not(runs: Runs) -> None:
    runs.made(ended(OK, QUIET, num_steps=1000.0))
    assert runs.made(ended(OK, QUIET, num_steps=500.0), source="b").set_aside == ()
    few = ended(OK, replace(QUIET, foreign=1.0), num_steps=900.0)
    found = runs.made(few, ended(OK, QUIET, num_steps=990.0), replicate=1)
    assert len(found.set_aside) == 1
    first = runs.records[found.set_aside[0]].pace
    assert first is not None
    assert first.slowed == "it had 900 steps, the same code 1000 before"
    assert runs.made(few, few, few, replicate=2).slowed


def test_steps_are_compared_within_one_budget(runs: Runs) -> None:
    runs.made(ended(OK, QUIET, num_steps=1000.0))
    few = ended(OK, replace(QUIET, foreign=1.0), num_steps=300.0)
    runs.executor.session.budget["seconds"] = 0.3
    assert runs.made(few, replicate=1).set_aside == ()
    runs.executor.session.budget["seconds"] = 0.1
    runs.made(ended(OK, QUIET, num_steps=100.0), replicate=2)
    assert runs.made(few, replicate=3).set_aside == ()
    slow = ended(OK, replace(QUIET, foreign=9.0), num_steps=50.0)
    assert len(runs.made(slow, ended(OK, QUIET, num_steps=100.0), replicate=4).set_aside) == 1


def test_a_run_that_is_wanted_as_it_is_counts(runs: Runs) -> None:
    runs.made(ended(OK, QUIET))
    runs.ends += [ended(SHARED), ended(OK, BUSY)]
    found = runs.executor.run({"train.py": "b"}, Role.REMEASURE, 3, as_it_is=True)
    assert len(found.set_aside) == 1
    assert found.slowed
    assert [event["again"] for event in read_events(runs.events) if "again" in event] == [
        False,
        True,
        False,
    ]


def test_a_damaged_journal_only_knows_less(runs: Runs) -> None:
    append_line(runs.events, '{"event": "run_finished", "pace": {"probe_seconds": "x"}}')
    append_line(runs.events, '{"event": "run_finished", "pace": 3, "again": false}')
    runs.made(ended(OK, QUIET))
    assert runs.made(ended(OK, BUSY), ended(OK, QUIET), source="b").set_aside


def test_without_a_pace_nothing_is_compared(runs: Runs) -> None:
    assert runs.made(ended(OK, num_steps=1000.0)).set_aside == ()
    assert runs.made(ended(OK, num_steps=1.0), replicate=1).set_aside == ()


LATE = Outcome.TIMEOUT


def test_a_failure_of_the_machine_counts_in_its_own_session_alone(runs: Runs) -> None:
    first = runs.made(ended(LATE))
    assert runs.made() == first
    runs.in_session("other")
    assert not runs.executor.is_stored({"train.py": "a"}, Role.SEARCH, 0)
    second = runs.made(ended(LATE))
    assert (second.key != first.key, second.seed) == (True, first.seed)
    assert runs.made() == second
    runs.in_session("third")
    third = runs.made(ended(OK))
    assert len(runs.records) == 3
    for name, expected in (("night", first), ("other", second), ("fourth", third)):
        runs.in_session(name)
        assert runs.made() == expected
    assert [e["made"] for e in read_events(runs.executor.session.journal.path)] == [
        "2027-01-15T08:00:00+00:00"
    ]


def test_runs_that_are_forced_make_failures_of_the_machine_again(runs: Runs) -> None:
    crashed, late = runs.made(ended(CRASH)), runs.made(ended(LATE), source="b")
    runs.executor.session.journal.append("resumed", forced=True)
    assert runs.made() == crashed
    again = runs.made(ended(LATE), source="b")
    assert again.key != late.key
    runs.executor.session.journal.append("resumed")
    assert runs.made(source="b") == again


def test_attempts_beside_others_are_not_made_again_once_one_succeeded(runs: Runs) -> None:
    first = runs.made(ended(SHARED), ended(OK))
    stayed = runs.made(*map(ended, [SHARED] * 3), source="b")
    runs.in_session("other")
    assert runs.made() == first
    again = runs.made(ended(SHARED), ended(OK), source="b")
    assert len(stayed.set_aside) == 2 and len(again.set_aside) == 1
    assert len(runs.records) == 2 + 3 + 2


@pytest.mark.parametrize(
    ("value", "ours", "baseline", "diverged"),
    [
        (2.0, (4.0, 3.0, 2.0, 9.0, 9.0, 9.0), (4.0, 3.0, 2.0, 2.0, 1.0, 1.0), True),
        (2.0, (4.0, 3.0, 2.0, 2.0, 1.0, 1.0), (), False),
        # It is better than the unchanged code, whose loss may grow by nature, too.
        (0.5, (4.0, 3.0, 2.0, 9.0, 9.0, 9.0), (), False),
        (2.0, (4.0, 3.0, 2.0, 9.0, 9.0, 9.0), (1.0, 1.0, 1.0, 3.0, 3.0, 3.0), False),
    ],
)
def test_a_loss_beyond_its_beginning_is_told_and_decides_nothing(
    value: float,
    ours: tuple[float, ...],
    baseline: tuple[float, ...],
    diverged: bool,
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = RunSummary("k", 1, OK, "", 1.0, None)
    executor = runs.executor
    session: Any = executor.session
    session.baseline_files, session.sign = {"train.py": "base"}, 1
    executor._usual = [usual]
    kept = [CurvePoint(n, loss) for n, loss in enumerate(ours)]
    monkeypatch.setattr(module, "parse_curve", lambda _: kept)
    held = [CurvePoint(n, loss) for n, loss in enumerate(baseline)]
    monkeypatch.setattr(module, "run_curve", lambda *_: held)
    found = runs.made(ended(OK, loss=value))
    assert (found.outcome, found.value) == (OK, value)
    assert bool(found.diverged) is diverged
    assert runs.made(ended(OK, loss=value), source="base").diverged == ""
