"""Sessions whose agent's tool does not work: waited for, told, and never taken for proposals."""

import json
import time
from pathlib import Path

import pytest

from helpers.agents import Step, asked, calls, good, hire
from helpers.boxes import Box
from helpers.shared import copied
from ratchet.cli import status
from ratchet.integrity.verify import verify_sessions
from ratchet.proposers import agent, agent_process


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a moment."""
    monkeypatch.setattr(agent, "FIRST_PAUSE_SECONDS", 0.02)


def says(event: dict[str, object], status: int = 1) -> Step:
    """A call in which the tool prints one line of JSON and ends."""
    return [["print", json.dumps(event)], ["exit", status]]


LIMITED = says({"type": "turn.failed", "error": {"message": "last status: 429 Too Many Requests"}})
DOWN = says({"type": "error", "error": {"data": {"message": "try later", "statusCode": 503}}})
LOGGED_OUT = says(
    {"type": "result", "is_error": True, "result": "Not logged in · Please run /login"}
)
POOR = says(
    {"type": "result", "is_error": True, "result": "Your credit balance is too low\x1b[31m"}
)
BROKEN: Step = [["print", "Segmentation fault\u202e"], ["exit", 3]]


def test_limits_and_outages_are_waited_for_and_count_for_nothing(box: Box) -> None:
    paid = {"type": "result", "total_cost_usd": 0.5, "usage": {"output_tokens": 7}}
    half = [["print", json.dumps(paid)], *LIMITED]
    hire(box, half, DOWN, good("RATE", 0.2), DOWN, DOWN, good("WIDTH", 2))
    said = box.play(last="rounds", rounds=2, agent_failures=1)
    assert [call["outcome"] for call in calls(box)] == ["proposed"] * 2
    assert [(call["tokens"], call["dollars"]) for call in calls(box)] == [(7, 0.5), (None, None)]
    assert len(asked(box)) == 6
    pauses = [event["seconds"] for event in box.events("agent_waiting")]
    assert 0.02 <= pauses[0] < pauses[1] < 0.06
    assert "its service limits the rate (“last status: 429 Too Many Requests”); asked again" in said
    # The pauses' length follows from the session's seed.
    assert pauses[2] != pauses[0]


def test_nobody_waits_for_ever_nor_past_the_deadline(box: Box) -> None:
    hire(box, *[DOWN] * 50, good("RATE", 0.2))
    began = time.monotonic()
    said = box.play(last="rounds", agent_wait_minutes=0.05, rounds=2)
    assert time.monotonic() - began < 60
    assert "no more experiments: the agent custom cannot be asked: its service is out of" in said
    assert calls(box) == []
    assert box.json("rounds/0001/proposals.json")["stop"] == "agent_unusable"
    count = len(asked(box))
    assert 1 < count < 50
    box.play(last="rounds", agent_wait_minutes=60, deadline_hours=1e-9, rounds=2)
    assert "stop" in box.json("rounds/0001/proposals.json")
    assert len(asked(box)) <= count + 1


def test_a_lost_login_ends_the_session_at_once_and_is_told_everywhere(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hire(box, LOGGED_OUT, good("RATE", 0.2))
    said = box.play(confirm_replicates=1)
    words = "“Not logged in · Please run /login”"
    assert len(asked(box)) == 1
    assert f"cannot be asked: it is not logged in; its tool said: {words}" in said
    page = (box.session / "report.html").read_text()
    assert words in page[page.index('<p class="rest">') : page.index("<dl")]
    assert box.json("report.json")["stop"]["reason"] == "agent_unusable"
    assert "Nothing was tried" in box.json("report.json")["answer"]["sentence"]
    monkeypatch.chdir(box.path)
    status.main([])
    assert "not logged in" in capsys.readouterr().out
    # Another leg asks again: nothing was kept as an answer.
    box.play(leg=2, last="rounds")
    assert [call["outcome"] for call in calls(box)][:1] == ["proposed"]


def test_what_was_kept_before_the_tool_failed_is_confirmed(box: Box) -> None:
    hire(box, good("RATE", 0.2), POOR)
    said = box.play(rounds=3, confirm_replicates=2)
    assert "its account is out of credit; its tool said: “Your credit balance is too low”" in said
    assert box.json("confirm.json")["gain"] is not None
    assert box.json("report.json")["stop"]["round"] == 2
    assert verify_sessions(box.path).deviations == []


def test_a_tool_that_breaks_is_asked_three_times(box: Box) -> None:
    hire(box, BROKEN, good("RATE", 0.2), BROKEN, BROKEN, BROKEN, good("WIDTH", 2))
    said = box.play(last="rounds", agent_failures=1)
    assert [call["outcome"] for call in calls(box)] == ["proposed"]
    assert len(asked(box)) == 5
    assert "its tool does not work (it ended with status 3); its tool said: “Segmentation" in said
    assert "fault⟨U+202E⟩”; look at results/default/logs/0002/agent-0-1.log" in said


def test_a_tool_that_fails_when_it_is_asked_again_keeps_its_first_answer(box: Box) -> None:
    hire(box, [["propose"]], LOGGED_OUT, good("RATE", 0.2))
    box.play(rounds=1, confirm_replicates=1)
    assert [call["outcome"] for call in calls(box)] == ["empty_diff"]
    assert box.json("report.json")["stop"]["reason"] == "agent_unusable"
    assert verify_sessions(box.path).deviations == []
    box.play(last="rounds", rounds=1, leg=2)
    assert [call["outcome"] for call in calls(box)] == ["empty_diff", "proposed"]
    assert len(asked(box)) == 3


def test_an_answer_belongs_to_its_session(box: Box, tmp_path: Path) -> None:
    hire(box, good("RATE", 0.2), good("WIDTH", 2), good("DECAY", 0.3), good("RATE", 0.4))
    box.play(last="rounds", rounds=2)
    assert len(asked(box)) == 2
    other = copied(box, tmp_path / "copy")
    other.play(last="rounds", rounds=2, session="other")
    assert len(asked(other)) == 4


def test_a_finished_proposal_counts_though_its_agent_stays(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_process, "LINGER_SECONDS", 0.3)
    monkeypatch.setattr(agent_process, "LOOK_SECONDS", 0.1)
    first = [["propose"], ["sleep", 1], *good("RATE", 0.2), ["sleep", 600]]
    hire(box, first, good("WIDTH", 2))
    box.play(rounds=2, confirm_replicates=1)
    assert [(c["outcome"], c["stopped_late"]) for c in calls(box)] == [
        ("proposed", True),
        ("proposed", False),
    ]
    assert box.json("rounds/0001/proposals.json")["proposals"][0]["edit"]["value"] is not None
    assert box.json("report.json")["agents"]["stopped_late"] == 1


def test_a_proposal_that_is_finished_at_the_limit_counts(box: Box) -> None:
    hire(box, [*good("RATE", 0.2), ["sleep", 600]])
    box.play(last="rounds", rounds=1, agent_minutes=0.05)
    assert [(c["outcome"], c["stopped_late"]) for c in calls(box)] == [("proposed", True)]


def test_others_take_the_turn_of_a_tool_that_does_not_work(box: Box) -> None:
    hire(box, *[LIMITED] * 9, proposers='["custom", "declared"]')
    said = box.play(last="rounds", rounds=3)
    assert len(asked(box)) == 1
    assert "no proposal  the agent custom cannot be asked" in said
    assert [r["number"] for r in box.rulings()] == [1, 2, 3]
    assert box.events("stopped") == []
