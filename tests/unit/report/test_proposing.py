"""Facts of a report on who proposed: calls of agents, records of proposers, moves."""

import pytest

from helpers import report_records as sample
from helpers.pages import undraw
from ratchet.base.structs import replace
from ratchet.records.proposals import TPE, AgentCall, CallOutcome
from ratchet.records.records import Contribution, Standing
from ratchet.report.facts import build_facts
from ratchet.report.inputs import Move
from ratchet.report.proposing import LOGS, WORDS, agent_calls, proposer_facts
from ratchet.report.render import render_html


def with_calls(records, *calls, logs=None):
    first = replace(records.history.proposals[0], calls=calls)
    groups = (first, *records.history.proposals[1:])
    return sample.changed(records, proposals=groups, agent_logs=logs or {})


def call(outcome, slot=0, attempt=1, **more):
    return AgentCall(slot, attempt, "codex", outcome, **more)


def test_every_failure_of_an_agent_has_words(facts):
    assert set(WORDS) == set(CallOutcome) - {CallOutcome.PROPOSED}
    assert facts["agents"] is None


def test_what_was_sent_back_is_told_from_what_failed(records):
    calls = [
        call(CallOutcome.TIMEOUT, reason="too long", log="a", tokens=10),
        call(CallOutcome.PROPOSED, attempt=2, experiment=1, tokens=5, dollars=0.5),
        call(CallOutcome.DUPLICATE, slot=1, reason="again"),
        call(CallOutcome.EMPTY, slot=1, attempt=2, reason="nothing"),
    ]
    found = agent_calls(with_calls(records, *calls, logs={"a": "x\n" * 5000}))
    assert (found["calls"], found["proposals"], found["failed"]) == (4, 1, 1)
    assert (found["tokens"], found["dollars"], found["silent"]) == (15, 0.5, 2)
    rows = [(r["outcome"], r["sent_back"], r["experiment"]) for r in found["refusals"]]
    assert rows == [("too slow", True, 1), ("duplicate", True, None), ("empty diff", False, None)]
    assert found["refusals"][0]["log_tail"].startswith("[cut: only the end")
    assert found["refusals"][1]["log_tail"] is None


def test_the_logs_of_many_failures_do_not_fill_the_page(records):
    many = [call(CallOutcome.EMPTY, slot=n, reason="r", log="a") for n in range(LOGS + 5)]
    found = agent_calls(with_calls(records, *many, logs={"a": "said"}))
    assert [r["log_tail"] for r in found["refusals"]] == [None] * 5 + ["said"] * LOGS


def contribution(number, standing):
    return Contribution(number, 0.1, 0.05, 0.15, 0.99, standing)


def shared(records):
    """The session with every other experiment from TPE, whose first keep is certified."""
    kept = [t.number for t in records.history.kept]
    theirs = range(1, 13, 2)
    found = sample.proposed(records, theirs, proposer=TPE)
    found = sample.proposed(found, (9,), origin="other#3")
    standings = {n: Standing.CERTIFIED if n in theirs else Standing.UNCERTIFIED for n in kept}
    made = tuple(contribution(*each) for each in standings.items())
    confirmed = replace(found.history.confirmation, contributions=made)
    return sample.changed(found, confirmation=confirmed), kept


def test_each_proposer_has_its_record_where_there_are_several(records, facts):
    assert facts["proposers"] is None
    found, kept = shared(records)
    first, second = proposer_facts(found)
    # Another competitor's win is nobody's.
    assert (first["name"], first["tried"]) == ("declared", 6)
    assert (second["name"], second["tried"]) == (TPE, 5)
    mine = [n for n in kept if n % 2 == 0]
    theirs = [n for n in kept if n % 2 and n != 9]
    assert (first["kept"], second["kept"]) == (len(mine), len(theirs))
    assert (first["certified"], second["certified"]) == (0, len(theirs))
    trials = {trial.number: trial for trial in records.history.trials}
    for record, numbers, tried in (
        (first, mine, range(2, 13, 2)),
        (second, theirs, (1, 3, 5, 7, 11)),
    ):
        gain = sum(trials[n].gain for n in numbers)
        walls = [records.runs[r.key].wall_seconds for n in tried for r in trials[n].runs]
        assert record["gain"] == pytest.approx(gain)
        assert record["hours"] == pytest.approx(sum(walls) / 3600)
        assert record["gain_per_hour"] == pytest.approx(gain / sum(walls) * 3600)
        assert record["dollars"] is None


def test_dollars_are_those_of_all_calls_of_an_agent(records):
    found = sample.proposed(records, (2,), proposer="codex")
    calls = [
        call(CallOutcome.EMPTY, dollars=0.25),
        call(CallOutcome.PROPOSED, attempt=2, experiment=2, dollars=0.5),
    ]
    told = {each["name"]: each["dollars"] for each in proposer_facts(with_calls(found, *calls))}
    assert told == {"declared": None, "codex": 0.75}


def test_a_session_with_one_proposer_shows_nothing_new(facts):
    page = render_html(facts)
    assert (facts["constants"], facts["experiments"][0]["moves"]) == (None, [])
    for words in ("Who proposed", "Constants by importance", "moved</summary>"):
        assert words not in page


def test_records_and_moves_are_on_the_page(records, monkeypatch):
    undraw(monkeypatch)
    found, _ = shared(records)
    moves = {1: [Move("RATE", "0.1", "0.3"), Move("WIDTH", "", "<i>8")]}
    page = render_html(build_facts(replace(found, moves=moves)))
    for words in (
        '<td>tpe<td class="n">5<td class="n">',
        "<summary>2 constants moved</summary>",
        "<code>RATE</code><td>0.1<td>0.3",
        "<td>–<td>&lt;i&gt;8",
    ):
        assert words in page, words
    assert "<i>8" not in page
