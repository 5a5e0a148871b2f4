"""Records go to JSON and back; wrong JSON is named."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.errors import DataError
from ratchet.base.structs import from_json_values, to_json_values
from ratchet.records.records import (
    Direction,
    Edit,
    Experiment,
    Outcome,
    Proposal,
    Remeasurement,
    RoundVerdict,
    RunSummary,
    Status,
    StopReason,
    Verdict,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
RUNS = st.builds(
    RunSummary,
    key=st.text(),
    seed=st.integers(),
    outcome=st.sampled_from(Outcome),
    reason=st.text(),
    value=st.none() | FINITE,
    memory_mb=st.none() | FINITE,
)
EXPERIMENTS = st.builds(
    Experiment,
    round=st.integers(),
    candidate=st.integers(),
    runs=st.lists(RUNS, max_size=3).map(tuple),
    stop=st.none() | st.sampled_from(StopReason),
    detail=st.text(),
)
VERDICTS = st.builds(
    RoundVerdict,
    rulings=st.just(()),
    remeasured=st.none() | st.builds(Remeasurement, run=RUNS, expected=FINITE, sd=FINITE, z=FINITE),
    incumbent_runs=st.lists(RUNS, max_size=3).map(tuple),
    credit_used=FINITE,
    error_spent=st.none() | FINITE,
)
PROPOSALS = st.builds(
    Proposal,
    files=st.dictionaries(st.text(), st.text()),
    edit=st.none() | st.builds(Edit, kind=st.text(), name=st.text(), value=st.none() | st.text()),
)


@given(EXPERIMENTS | PROPOSALS | VERDICTS)
def test_round_trip(record: object) -> None:
    assert from_json_values(type(record), json.loads(json.dumps(to_json_values(record)))) == record


RUN = {"key": "k", "seed": 1, "outcome": "ok", "reason": "", "value": 1, "memory_mb": None}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": "1"}, r"run\.seed: expected int, found str '1'"),
        ({"seed": True}, r"run\.seed: expected int, found bool True"),
        ({"seed": None}, r"run\.seed: expected int, found null"),
        ({"outcome": "fine"}, r"run\.outcome: 'fine' is none of ok, crash"),
        ({"extra": 1}, r"unknown field 'extra' for RunSummary"),
        ({"value": "x"}, r"run\.value: expected float"),
    ],
)
def test_wrong_json_is_named(change: dict, words: str) -> None:
    with pytest.raises(DataError, match=words):
        from_json_values(RunSummary, {**RUN, **change}, "run")


def test_missing_field_and_wrong_shape_are_named() -> None:
    with pytest.raises(DataError, match="key"):
        from_json_values(RunSummary, {name: RUN[name] for name in RUN if name != "key"}, "run")
    with pytest.raises(DataError, match="expected an object of RunSummary, found list"):
        from_json_values(RunSummary, [1], "run")
    with pytest.raises(DataError, match=r"proposal\.files: expected an object"):
        from_json_values(Proposal, {"files": 3}, "proposal")


def test_whole_numbers_serve_as_floats() -> None:
    value = from_json_values(RunSummary, RUN).value
    assert value == 1.0
    assert isinstance(value, float)


def test_words_and_signs() -> None:
    assert Direction.MINIMIZE.sign == 1
    assert Direction.MAXIMIZE.sign == -1
    kept = [verdict for verdict in Verdict if verdict.is_keep]
    assert kept == [Verdict.STRONG_KEEP, Verdict.KEEP]
    assert {v: v.status for v in (Verdict.KEEP, Verdict.MARGINAL, Verdict.TAMPERED)} == {
        Verdict.KEEP: Status.KEEP,
        Verdict.MARGINAL: Status.DISCARD,
        Verdict.TAMPERED: Status.CRASH,
    }
    assert Edit("constant", "LR", "0.1").label == "LR=0.1"
    assert Edit("alternative", "relu").label == "relu"
