"""Lines for people: one per event, no control characters, a time that is left."""

from __future__ import annotations

import datetime
import io
from pathlib import Path

import pytest

from ratchet.base.text import spoken_duration
from ratchet.monitor.views import Progress, event_line
from ratchet.records.events import Journal, time_left

VERDICT = {
    "time": "2026-01-02T03:04:05.678+00:00",
    "event": "verdict",
    "round": 2,
    "rounds": 12,
    "number": 2,
    "description": "RATE 1 -> 2",
    "verdict": "KEEP",
    "mean": 0.5,
    "n": 2,
    "confidence": 0.81,
    "best": 0.5123,
    "noise": 0.0101,
    "kept": 1,
    "confirm_replicates": 3,
}
RUN = {
    "event": "run_finished",
    "number": 1,
    "description": "x",
    "role": "search",
    "replicate": 0,
    "outcome": "ok",
    "value": 0.5,
    "wall_seconds": 4.0,
}


def test_a_verdict_in_one_line() -> None:
    text = event_line(VERDICT)
    assert text is not None
    assert text.startswith("round  2/12  RATE 1 -> 2 ")
    assert text.endswith("KEEP P 0.810 | best 0.5123 ± 0.0101 | 1 kept")


def test_a_run_and_a_failed_run() -> None:
    assert "0.500000  4.0 s" in str(event_line(RUN))
    assert "crash  4.0 s" in str(event_line({**RUN, "value": None, "outcome": "crash"}))
    assert event_line({"event": "round_finished"}) is None


def test_a_run_of_the_incumbent_is_named() -> None:
    text = str(
        event_line({**RUN, "role": "remeasure", "replicate": 20_001, "description": "incumbent"})
    )
    assert text.split()[:2] == ["remeasure", "incumbent"]


def test_an_agent_is_heard_of_when_it_is_asked_and_when_it_fails() -> None:
    asked = {"event": "agent_asked", "agent": "codex", "round": 3, "attempt": 1, "minutes": 20.0}
    assert event_line(asked) == "asking       codex, round 3 (at most 20 min)"
    assert "round 3, once more (" in str(event_line({**asked, "attempt": 2}))
    failed = {"event": "agent_refused", "agent": "codex", "round": 3, "reason": "it\nlied"}
    assert event_line({**failed, "again": True}) == "sent back    codex, round 3: it lied"
    assert event_line({**failed, "again": False}) == "no proposal  codex, round 3: it lied"


def test_a_near_miss_will_come_again() -> None:
    text = str(event_line({**VERDICT, "verdict": "MARGINAL", "near_miss": True}))
    assert "MARGINAL P 0.810, will be tried again | best" in text


CHECK = {
    "time": "2026-01-02T03:04:05.678+00:00",
    "event": "remeasured",
    "value": 0.9,
    "expected": 0.5,
    "sd": 0.1,
    "z": 4.0,
    "alarm": True,
}


def test_only_an_alarming_check_is_told() -> None:
    assert event_line(CHECK) == (
        "incumbent moved: expected 0.5000 ± 0.1000, measured 0.9000 (z = 4.0); "
        "the machine or the data may have changed"
    )
    assert event_line({**CHECK, "z": 1.0, "alarm": False}) is None
    assert event_line({**CHECK, "value": None, "z": None, "alarm": False}) is None


@pytest.mark.parametrize("text", ["\x1b[2J\x1b]0;pwned\x07", "a\nb\tc", "\u202eevil", "x" * 9999])
def test_descriptions_cannot_drive_the_terminal(text: str) -> None:
    shown = str(event_line({**VERDICT, "description": text}))
    assert shown.isprintable()
    assert len(shown) < 200


def test_lines_go_to_stream_and_log(tmp_path: Path) -> None:
    stream = io.StringIO()
    progress = Progress(tmp_path / "progress.log", stream)
    progress(VERDICT)
    progress({"time": "2026-01-02T03:04:06.0", "event": "round_finished"})
    assert (tmp_path / "progress.log").read_text() == stream.getvalue()
    assert stream.getvalue().startswith("03:04:05  round  2/12")
    assert stream.getvalue().count("\n") == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_only_on_a_terminal_that_wants_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    Progress(tmp_path / "log", stream)(VERDICT)
    assert "\x1b[32m" in stream.getvalue()
    assert "\x1b" not in (tmp_path / "log").read_text()
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    Progress(tmp_path / "log", stream)(VERDICT)
    assert "\x1b" not in stream.getvalue()


def at(second: int, **event: object) -> dict:
    return {"time": f"2026-01-02T03:00:{second:02d}.000+00:00", **event}


def test_time_left_is_the_pace_of_rounds_and_the_confirmation() -> None:
    events = [
        {**RUN, "wall_seconds": 4.0},
        {**RUN, "wall_seconds": 4.0},
        at(10, event="baseline"),
        {**VERDICT, **at(16), "round": 1},
        {**VERDICT, **at(20), "round": 2},
        {**VERDICT, **at(20), "round": 2, "number": 3},
    ]
    # Rounds of 6 and 4 s, so 5 s for each of 10 more, and 6 runs of 4 s.
    assert time_left(events, VERDICT) == pytest.approx(10 * 5 + 6 * 4)
    assert time_left([], VERDICT) is None
    assert time_left(events[:3], VERDICT) is None


def test_the_log_tells_the_time_left(tmp_path: Path) -> None:
    stream = io.StringIO()
    now = [datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)]
    progress = Progress(tmp_path / "progress.log", stream)
    journal = Journal(tmp_path / "events.jsonl", progress, lambda: now[0])
    journal.append(**RUN)
    journal.append("baseline", mean=1.0, noise=0.1, n=3)
    now[0] += datetime.timedelta(seconds=5)
    journal.append(**{k: v for k, v in VERDICT.items() if k != "time"})
    assert stream.getvalue().splitlines()[-1].endswith("| about 74 s left")


def test_durations() -> None:
    assert [spoken_duration(s) for s in (12, 89, 100, 3600, 36000)] == [
        "12 s",
        "89 s",
        "2 min",
        "60 min",
        "10.0 h",
    ]
