"""What people are told of, once each."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.session_events import at, rounds, run, started, verdict
from ratchet.monitor.notify import MOST_CHARACTERS, Kind, Notice, notices


def told(events: list[dict[str, Any]], failures: int = 3) -> list[Notice]:
    """Everything that is said in the course of a session."""
    return [
        notice
        for place, event in enumerate(events)
        for notice in notices(event, events[:place], "night", failures)
    ]


def kinds(events: list[dict[str, Any]], failures: int = 3) -> list[str]:
    return [notice.kind.value for notice in told(events, failures)]


REPORTED = at(900, "reported", answer="0.6 → 0.5")
MOVED = at(395, "remeasured", round=3, number=1, alarm=True, value=0.9, expected=0.5, sd=0.1, z=4.0)


def test_a_champion_an_alarm_and_the_end() -> None:
    found = told([*started(), *rounds("KEEP", "DISCARD", "TAMPERED"), MOVED, REPORTED])
    assert [notice.kind for notice in found] == ["champion", "alarm", "alarm", "ended"]
    assert [notice.message for notice in found] == [
        "session night: new champion in round 1/4: edit 1 (best 0.5000 ± 0.0100, P 0.400, 1 kept)",
        "session night: experiment 3 is tampered with: edit 3: as it is",
        "session night: the incumbent moved: expected 0.5000 ± 0.1000, measured 0.9000; "
        "the machine or the data may have changed",
        "session night: ended: 0.6 → 0.5",
    ]


def test_what_ended_it_early_is_said_unless_it_went_on() -> None:
    stopped = at(350, "stopped", reason="deadline", detail="the time limit is over", round=2)
    early = [*started(), *rounds("KEEP"), stopped]
    assert told([*early, REPORTED])[-1].message.endswith(
        "0.5; no more experiments: the time limit is over"
    )
    on = [*early, run(360, True, 2), verdict(370, 2), REPORTED]
    assert told(on)[-1].message.endswith("ended: 0.6 → 0.5")


def test_a_quiet_check_and_a_discard_are_nothing_to_tell() -> None:
    assert kinds([*started(), *rounds("DISCARD", "MARGINAL"), MOVED | {"alarm": False}]) == []


@pytest.mark.parametrize(
    ("words", "failures", "expected"),
    [
        (("CRASH", "CRASH", "CRASH"), 3, 1),
        (("CRASH", "CRASH", "CRASH", "CRASH"), 3, 1),
        (("CRASH", "DISCARD", "CRASH", "CRASH"), 3, 0),
        (("CRASH", "DISCARD", "CRASH"), 1, 2),
        (("CRASH", "TAMPERED"), 2, 1),
    ],
)
def test_failures_in_a_row(words: tuple[str, ...], failures: int, expected: int) -> None:
    assert kinds([*started(), *rounds(*words)], failures).count(Kind.FAILURES) == expected


def test_failed_proposals_count_among_the_failures() -> None:
    def refused(number: int, again: bool) -> dict[str, Any]:
        about = {"round": number, "slot": 0, "attempt": 1 if again else 2, "again": again}
        return at(300 + number, "agent_refused", agent="codex", reason="empty diff", **about)

    events = [*started(), *rounds("CRASH"), refused(2, True), refused(2, False)]
    assert kinds(events) == []
    (notice,) = told([*events, refused(3, True), refused(3, False)])
    assert notice.message == ("session night: 3 failures in a row, the last: codex: empty diff")


def test_what_is_written_twice_is_told_once() -> None:
    """A kill between an event and its record, a judge that judges again, another report."""
    events = [*started(), *rounds("KEEP", "TAMPERED", "CRASH", "CRASH"), MOVED, REPORTED]
    once = kinds(events)
    assert sorted(once) == ["alarm", "alarm", "champion", "ended", "failures"]
    judged = [event for event in events if event["event"] in ("verdict", "remeasured")]
    assert kinds([*events, at(950, "resumed", rounds=4), *judged, REPORTED]) == once
    twice = [event for event in events for _ in range(2)]
    assert kinds(twice) == once


def test_a_verdict_that_changed_is_news() -> None:
    events = [*started(), *rounds("DISCARD")]
    assert kinds([*events, verdict(900, 1, "KEEP")]) == ["champion"]


def test_going_on_ends_again_with_news_only_after_new_runs() -> None:
    events = [*started(), *rounds("KEEP"), REPORTED]
    assert kinds([*events, REPORTED]).count("ended") == 1
    assert kinds([*events, run(910, True, 2), verdict(920, 2), REPORTED]).count("ended") == 2


def test_a_replay_from_the_store_tells_nobody() -> None:
    kept = [*started(), *rounds("KEEP", "TAMPERED", "CRASH", "CRASH"), MOVED, REPORTED]
    replay = [event for event in kept if event["event"] not in ("run_started", "run_finished")]
    assert kinds(replay) == []


def test_a_failure_is_told_once_until_something_was_done() -> None:
    failed = at(310, "failed", step="judge", error="StoreError", message="no room")
    resumed = at(320, "resumed", rounds=4)
    events = [*started(), failed, resumed, failed, resumed, failed]
    (notice,) = told(events)
    assert notice.kind is Kind.FAILED
    assert notice.message == "session night: stopped in judge: no room"
    assert kinds([*events, verdict(400, 1), failed]) == ["failed", "failed"]


def test_a_changed_input_is_an_alarm() -> None:
    facts = {"step": "start", "error": "FixedInputChangedError", "message": "a.txt: expected\n1"}
    (notice,) = told([*started(), at(310, "failed", **facts)])
    assert notice.kind is Kind.ALARM
    assert notice.message == "session night: stopped in start: a.txt: expected 1"


def test_messages_are_one_clean_short_line() -> None:
    text = "\x1b[31m\u202ebad\x00\nline\ud800" + "x" * 1_000_000
    (notice,) = told([*started(), run(210, True, 1), verdict(290, 1, "KEEP", description=text)])
    assert len(notice.message) <= MOST_CHARACTERS
    assert notice.message.isprintable()
    assert notice.message.encode()


def test_damaged_events_are_told_to_nobody() -> None:
    events = [*started(), *rounds("KEEP")]
    for damaged in (
        {"event": "verdict"},
        {"event": ["verdict"]},
        {"event": "reported"},
        verdict(900, 9, "NONSENSE"),
        {**MOVED, "sd": None},
    ):
        assert notices(damaged, events, "night", 3) == []
