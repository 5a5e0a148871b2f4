"""Runs of a session: one that shared its GPU is made again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from helpers.commands import Patch
from ratchet.records.records import Outcome, Role
from ratchet.records.store import RunRecord, run_key
from ratchet.runs.executor import Executor
from ratchet.runs.spec import RunSpec

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
    outcomes: list[Outcome], last: Outcome, monkeypatch: Patch
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
