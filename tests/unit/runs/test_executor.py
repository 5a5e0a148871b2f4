"""Runs of a session: one that shared its GPU is made again."""

from types import SimpleNamespace
from typing import Any

import pytest

from ratchet.records.records import Outcome, Role
from ratchet.records.store import RunRecord, run_key
from ratchet.runs.executor import Executor
from ratchet.runs.spec import RunSpec

SPEC = RunSpec((), {}, {}, {}, 7, 1.0, None, 9.0, 1, "loss")


@pytest.mark.parametrize(
    ("outcomes", "last"),
    [
        ([Outcome.OK], Outcome.OK),
        ([Outcome.CONTENDED, Outcome.OK], Outcome.OK),
        ([Outcome.CONTENDED, Outcome.CRASH], Outcome.CRASH),
        ([Outcome.CONTENDED] * 3, Outcome.CONTENDED),
    ],
)
def test_a_run_that_shared_its_gpu_is_made_again(outcomes, last, monkeypatch) -> None:
    ends, events = iter(outcomes), []
    records: dict[str, RunRecord] = {}

    def run(inputs: dict, perform: object) -> tuple[str, RunRecord, bool]:
        key = run_key(inputs)
        records[key] = RunRecord(next(ends), "", 0, None, 1.0, 1.0, None, {"loss": 1.0})
        return key, records[key], True

    session: Any = SimpleNamespace(
        task=SimpleNamespace(memory_mb=lambda _: None),
        store=SimpleNamespace(run=run, lookup=records.get),
        journal=SimpleNamespace(append=lambda event, **about: events.append(about)),
    )
    executor = Executor(session)
    monkeypatch.setattr(executor, "spec", lambda *_: SPEC)
    assert not executor.is_stored({}, Role.SEARCH, 4)
    found = executor.run({}, Role.SEARCH, 4)
    assert found.outcome is last
    # Another attempt has another key, and the seed that the first one had.
    assert len(records) == len(outcomes)
    assert {(about["replicate"], about["seed"]) for about in events} == {(4, 7)}
    assert executor.is_stored({}, Role.SEARCH, 4)
    del records[found.key]
    assert not executor.is_stored({}, Role.SEARCH, 4)
