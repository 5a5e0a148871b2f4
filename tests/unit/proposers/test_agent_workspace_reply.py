"""Answers of agents: read as foreign data, and judged before they are tried."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.structs import replace
from ratchet.proposers.agent_workspace import (
    AgentReply,
    Statement,
    idea_category,
    parse_statement,
    reply_fault,
)
from ratchet.records.records import CATEGORIES, CallOutcome

SAID = Statement("wider", "more width", "architecture")
REPLY = AgentReply(exit_code=0, timed_out=False, minutes=3, log="l", files={}, statement=SAID)
OLD = {"train.py": "WIDTH = 1\nx = WIDTH\n"}
NEW = {"train.py": "WIDTH = 2\nx = WIDTH\n"}


def test_a_statement_is_cleaned_and_cut() -> None:
    said = {
        "description": "wider\n\tlayers\u202e\ud800" + "!" * 500,
        "hypothesis": " it \x00may help ",
        "category": "Architecture ",
        "expected_effect": 0.012,
        "more": [1],
    }
    found = parse_statement(json.dumps(said).encode())
    assert found.description.startswith("wider layers?!!!")
    assert len(found.description) == 160
    assert found.description.endswith("…")
    assert (found.hypothesis, found.category) == ("it  may help", "architecture")
    assert found.expected_effect == "0.012"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "expected an object, found list"),
        (b'{"description": "a"}', "the text 'hypothesis' is missing"),
        (b'{"description": " ", "hypothesis": "b"}', "the text 'description' is missing"),
        (b'{"description": {}, "hypothesis": "b"}', "expected a text for 'description'"),
        (b'{"description": "a", "hypothesis": "b", "category": 3}', "for 'category', found int"),
    ],
)
def test_what_is_wrong_with_a_statement_is_said(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=r"proposal\.json") as caught:
        parse_statement(data)
    assert words in str(caught.value)


@given(st.dictionaries(st.text(), st.none() | st.floats() | st.text() | st.integers()))
def test_any_object_is_a_statement_or_a_mistake(values: dict) -> None:
    try:
        found = parse_statement(
            json.dumps({"description": "d", "hypothesis": "h", **values}).encode()
        )
    except ValueError as error:
        assert "proposal.json" in str(error)
    else:
        assert found.description
        assert json.dumps(found.expected_effect, ensure_ascii=False).encode()


FAULTS = [
    (replace(REPLY, timed_out=True), NEW, CallOutcome.TIMEOUT, "more than 3 minutes"),
    (
        replace(REPLY, others=("prepare.py (changed)",)),
        NEW,
        CallOutcome.FORBIDDEN,
        "it touched prepare.py (changed); only train.py and proposal.json",
    ),
    (replace(REPLY, others=("x",) * 9), NEW, CallOutcome.FORBIDDEN, "x, x, x, x, x and 4 more"),
    (replace(REPLY, problems=("a is gone",)), {}, CallOutcome.UNREADABLE, "a is gone"),
    (
        replace(REPLY, statement=None, exit_code=2),
        OLD,
        CallOutcome.NO_PROPOSAL,
        "it ended with status 2 without a change and without proposal.json",
    ),
    (
        replace(REPLY, statement=None, exit_code=-11),
        NEW,
        CallOutcome.NO_PROPOSAL,
        "it was ended by signal 11 with a change but without",
    ),
    (REPLY, OLD, CallOutcome.EMPTY, "it changes nothing in train.py"),
    (
        REPLY,
        {"train.py": "# more\nWIDTH = 1  # one\n\nx = WIDTH\n"},
        CallOutcome.EMPTY,
        "nothing but comments or layout",
    ),
    (REPLY, {"train.py": "WIDTH = = 2\n"}, CallOutcome.UNREADABLE, "not valid Python (line 1"),
]


@pytest.mark.parametrize(("answer", "new", "outcome", "words"), FAULTS)
def test_what_cannot_be_tried(
    answer: AgentReply, new: dict, outcome: CallOutcome, words: str
) -> None:
    found = reply_fault(answer, OLD, new)
    assert found is not None
    assert found[0] is outcome
    assert words in found[1]


def test_an_edit_with_a_statement_can_be_tried() -> None:
    assert reply_fault(REPLY, OLD, NEW) is None


def test_the_authors_category_counts_and_a_contradiction_is_noted() -> None:
    rate = {"train.py": "WEIGHT_DECAY = 0.2\n"}, {"train.py": "WEIGHT_DECAY = 0.1\n"}
    said = Statement("less decay", "h", "architecture")
    found, notes = idea_category(said, *rate, CATEGORIES, {})
    assert found == "architecture"
    assert notes == ("proposed as architecture; what it changes looks like regularization",)
    agreed = idea_category(replace(said, category="regularization"), *rate, CATEGORIES, {})
    assert agreed == ("regularization", ())
    unknown = idea_category(replace(said, category="wonders"), *rate, CATEGORIES, {})
    assert unknown == ("regularization", ())
