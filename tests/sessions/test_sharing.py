"""What agent and optimiser know of each other in one session, and what is told of each."""

from pathlib import Path

import pytest

from helpers.agents import asked, good, hire
from helpers.boxes import DEFAULTS, Box, make_box
from helpers.shared import shared_box
from ratchet.cli.sessions import session_of
from ratchet.proposers.landscape import LEAST_POINTS
from ratchet.proposers.optimizer import Search, session_search
from ratchet.proposers.prompts import gather_brief, render_brief
from ratchet.records.history import History
from ratchet.session import Session
from ratchet.steering.suggestions import Attempt, knob_of

GAINING, LOSING = "0.3 * math.log(WIDTH) - 0.2", "0.1 * math.log(WIDTH) + 0.5"


def rewritten(code: str) -> list:
    """A step that changes a line of the program, and no constant."""
    return [["replace", "0.1 * math.log(WIDTH)", code], ["propose", {"category": "other"}]]


@shared_box
def together(path: Path) -> Box:
    """An agent sets constants and changes code five times, then an optimiser goes on."""
    box = make_box(path, rounds=12, confirm_replicates=1)
    hire(
        box,
        good("RATE", 0.2),
        rewritten(GAINING),
        [["replace", "+ DECAY", "+ DECAY + 0.5"], ["propose", {"category": "other"}]],
        good("WIDTH", 2),
        good("DECAY", 0.3),
        proposers="[custom, tpe]",
        lookahead=0,
    )
    box.play()
    return box


@pytest.fixture
def session(together: Box) -> Session:
    settings = {**DEFAULTS, **together.settings}
    return session_of(None, together.path, [f"{key}={value}" for key, value in settings.items()])


@pytest.fixture
def search(session: Session) -> Search:
    """The search after the agent's five experiments."""
    return session_search(session, History.read(session.paths, 5))


def test_the_agents_edits_are_those_that_were_planned(session: Session) -> None:
    trials = History.read(session.paths, 5).trials
    assert [trial.kept for trial in trials] == [True, True, False, True, False]
    assert {trial.proposal.proposer for trial in trials} == {"custom"}


def test_a_constant_that_an_agent_set_is_a_measured_point(search: Search) -> None:
    points = {each.number: each.point for each in search.measured}
    assert points[1] == {**points[0], "RATE": 0.2}
    assert points[4] == {**points[1], "WIDTH": 2} == search.start
    # One that was not kept says something too.
    assert points[5] == {**search.start, "DECAY": 0.3}
    assert all(each.value is not None and not each.waiting for each in search.measured)


def test_a_code_change_counts_if_it_was_kept_alone(session: Session, search: Search) -> None:
    measured = {each.number: each for each in search.measured}
    assert sorted(measured) == [0, 1, 2, 4, 5]
    means = {
        number: sum(values) / len(values)
        for number, values in History.read(session.paths, 5).replicates.items()
    }
    gained = means[2] - means[1]
    assert gained < -0.1
    for number, each in measured.items():
        # What was measured before it is told as if it had been there.
        expected = means[number] + (gained if number < 2 else 0.0)
        assert each.value == pytest.approx(expected, abs=0.05)
    assert measured[2].point == measured[1].point


def test_the_optimiser_goes_on_from_the_agents_code(session: Session) -> None:
    history = History.read(session.paths)
    theirs = [trial for trial in history.trials if trial.proposal.proposer == "tpe"]
    assert len(theirs) == 7
    for trial in theirs:
        assert GAINING in session.texts(trial.files)["train.py"]


def test_a_point_is_told_in_a_line_that_no_reader_takes_for_one_constant(
    together: Box, session: Session
) -> None:
    points = [t for t in History.read(session.paths).trials if t.sets_several]
    assert points
    rows = (together.session / "results.tsv").read_text().splitlines()
    for trial in points:
        text = trial.description
        assert text.startswith(f"{len(trial.proposal.edit.values)} constants: ")
        assert len(text) < 60
        assert knob_of(Attempt(trial.number, trial.category, text, kept=False)) is None
        assert rows[trial.number + 1].endswith(f"\t{text}")
        assert "after 5 measured points" in points[0].proposal.hypothesis


def test_the_agents_brief_says_what_all_points_show(together: Box, session: Session) -> None:
    assert "measured settings" not in asked(together)[4]["texts"]["BRIEF.md"]
    history = History.read(session.paths)
    points = len(session_search(session, history).measured)
    assert points >= LEAST_POINTS
    text = render_brief(gather_brief(session, history))
    assert f"## What {points} measured settings say" in text
    assert "\n- RATE, now " in text
    assert "\n3. " in text.split("Untried")[1]
    # An agent that is asked again gets the same.
    assert text == render_brief(gather_brief(session, History.read(session.paths)))


def test_the_report_tells_each_proposers_record(together: Box) -> None:
    facts = together.json("report.json")
    told = {each["name"]: each for each in facts["proposers"]}
    assert (told["custom"]["tried"], told["custom"]["kept"]) == (5, 3)
    assert told["tpe"]["tried"] == 7
    assert told["custom"]["gain"] > 0.2 and told["custom"]["hours"] > 0
    assert facts["constants"]["points"] >= LEAST_POINTS
    rows = {row["name"]: row for row in facts["constants"]["rows"]}
    assert {"RATE", "WIDTH", "DECAY"} <= set(rows)
    assert all(row["low"] <= row["importance"] <= row["high"] for row in rows.values())
    settings = {each["number"]: each for each in facts["constants"]["settings"]}
    assert len(settings) == facts["constants"]["points"]
    points = [e for e in facts["experiments"] if e["moves"]]
    for e in points:
        at = dict(zip(facts["constants"]["axes"], settings[e["number"]]["at"], strict=True))
        moved = {move["name"]: move["after"] for move in e["moves"] if move["name"] in at}
        assert {name: float(value) for name, value in moved.items()}.items() <= at.items()
    lineage = facts["lineage"]
    assert [code["number"] for code in lineage[1:]] == [
        e["number"] for e in facts["experiments"] if e["status"] == "keep"
    ]
    assert points and {e["proposer"] for e in points} == {"tpe"}
    for e in points:
        for move in e["moves"]:
            assert f"-{move['name']} = {move['before']}" in e["diff"]
            assert f"+{move['name']} = {move['after']}" in e["diff"]
