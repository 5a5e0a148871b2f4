"""Records go to JSON and back; wrong JSON is named; seeds are apart."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.base.errors import DataError
from ratchet.base.structs import from_json_values, to_json_values
from ratchet.records.proposals import Edit, Proposal
from ratchet.records.records import (
    Direction,
    Experiment,
    Outcome,
    Remeasurement,
    Role,
    RoundVerdict,
    RunSummary,
    Status,
    StopReason,
    Verdict,
    evaluation_draws,
    run_seed,
    stream_seed,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
RUNS = st.builds(
    RunSummary,
    outcome=st.sampled_from(Outcome),
    value=st.none() | FINITE,
    memory_mb=st.none() | FINITE,
    audit=st.none() | FINITE,
)
SEVERAL = st.lists(RUNS, max_size=3).map(tuple)
EXPERIMENTS = st.builds(
    Experiment,
    runs=SEVERAL,
    stop=st.none() | st.sampled_from(StopReason),
    check=st.none() | RUNS,
)
VERDICTS = st.builds(
    RoundVerdict,
    rulings=st.just(()),
    remeasured=st.none() | st.builds(Remeasurement, run=RUNS, expected=FINITE, sd=FINITE, z=FINITE),
    incumbent_runs=SEVERAL,
    credit_used=FINITE,
    error_spent=st.none() | FINITE,
)
PROPOSALS = st.builds(
    Proposal,
    files=st.dictionaries(st.text(), st.text()),
    edit=st.none() | st.builds(Edit, kind=st.text(), name=st.text(), value=st.none() | st.text()),
)


@settings(max_examples=50)
@given(EXPERIMENTS | PROPOSALS | VERDICTS)
def test_round_trip(record: object) -> None:
    assert from_json_values(type(record), json.loads(json.dumps(to_json_values(record)))) == record


RUN = {"key": "k", "seed": 1, "outcome": "ok", "reason": "", "value": 1, "memory_mb": None}


@pytest.mark.parametrize(
    ("record", "values", "words"),
    [
        (RunSummary, {**RUN, "seed": "1"}, "x.seed: expected `int`, found `str`"),
        (RunSummary, {**RUN, "seed": True}, "x.seed: expected `int`, found `bool`"),
        (RunSummary, {**RUN, "seed": None}, "x.seed: expected `int`, found `null`"),
        (RunSummary, {**RUN, "outcome": "fine"}, "x.outcome: invalid enum value 'fine'"),
        (RunSummary, {**RUN, "extra": 1}, "x: object contains unknown field `extra`"),
        (RunSummary, {**RUN, "value": "x"}, "x.value: expected `float | null`, found `str`"),
        (RunSummary, {"seed": 1}, "x: object missing required field `key`"),
        (RunSummary, [1], "x: expected `object`, found `array`"),
        (Proposal, {"files": 3}, "x.files: expected `object`, found `int`"),
        (Experiment, {"round": 1, "runs": [RUN, 3]}, "x.runs[1]: expected `object`, found `int`"),
    ],
)
def test_wrong_json_is_named(record: type, values: object, words: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(words)}$"):
        from_json_values(record, values, "x")
    # Whole numbers serve as floats.
    assert isinstance(from_json_values(RunSummary, RUN).value, float)


def test_words_and_signs() -> None:
    assert Direction.MINIMIZE.sign == 1
    assert Direction.MAXIMIZE.sign == -1
    kept = [verdict for verdict in Verdict if verdict.is_keep]
    assert kept == [Verdict.STRONG_KEEP, Verdict.KEEP]
    verdicts = (Verdict.KEEP, Verdict.MARGINAL, Verdict.TAMPERED)
    assert [v.status for v in verdicts] == [Status.KEEP, Status.DISCARD, Status.CRASH]
    assert Edit("constant", "LR", "0.1").label == "LR=0.1"
    assert Edit("alternative", "relu").label == "relu"


def test_seeds_are_apart_but_for_what_is_compared_again() -> None:
    seeds = [
        run_seed(session, source, role, replicate)
        for session in range(3)
        for source in ("a", "b", "c")
        for role in Role
        if role not in (Role.RERUN, Role.TRANSFER)
        for replicate in range(50)
    ]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 1 and max(seeds) < 2**31, "the range of every library"
    here, there = ([run_seed(1, s, Role.RERUN, n) for n in range(50)] for s in "ab")
    assert run_seed(1, "a", Role.TRANSFER, 0) == run_seed(1, "b", Role.TRANSFER, 0) != here[0]
    assert here == there
    assert len(set(here)) == 50
    assert here[0] != run_seed(1, "a", Role.CONFIRM, 0)
    orders = {evaluation_draws(1, "a", Role.SEARCH, n, s) for n in range(9) for s in ("", "b")}
    assert len(orders) == 18, "a secret changes the order of the questions, a repeated run does not"
    assert evaluation_draws(1, "a", Role.SEARCH, 0, "b") in orders
    streams = [(1, "steer", 1), (1, "propose", 1), (2, "steer", 1), (1, "steer", 1, 2)]
    assert len({stream_seed(*parts) for parts in (*streams, (1, "steer", 12))}) == 5
