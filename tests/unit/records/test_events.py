"""The event log: durable, ordered, tolerant of a torn line."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

import pytest

from ratchet.records.events import Event, Follower, Journal, each_listener, read_events
from ratchet.records.records import Outcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a" / "events.jsonl"


def names(events: list[Event]) -> list[str]:
    return [event["event"] for event in events]


def test_events_are_lines_and_listeners_hear_them_in_order(path: Path) -> None:
    def clock() -> datetime.datetime:
        return datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)

    heard: list[tuple[str, Event]] = []
    listeners = (lambda event: heard.append(("a", event)), lambda event: heard.append(("b", event)))
    journal = Journal(path, each_listener(*listeners), clock)
    # Other characters that end lines do not end an event.
    text = "é\n\u2028two\x85three\x0bfour"
    journal.append("run_finished", outcome=Outcome.OK, value=None, name=text)
    event = {
        "time": "2026-01-02T03:04:05.678+00:00",
        "event": "run_finished",
        "outcome": "ok",
        "value": None,
        "name": text,
    }
    assert list(read_events(path)) == [event]
    journal.tell({"event": "only told"})
    assert heard == [(w, e) for e in (event, {"event": "only told"}) for w in "ab"]
    assert list(read_events(path)) == [event]


def test_lines_that_are_no_events_are_passed_over(path: Path) -> None:
    assert list(read_events(path)) == []
    journal = Journal(path)
    journal.append("one")
    with path.open("ab") as stream:
        stream.write(b'[1]\n"x"\n{"other": 1}\n\xff\n{"event": "tor')
    journal.append("two")
    assert names(list(read_events(path))) == ["one", "two"]
    assert len(path.read_bytes().splitlines()) == 7, "a torn line stays alone"


WRITER = """
import json, sys
from pathlib import Path
from ratchet.records.events import append_line
for number in range(200):
    event = {"event": sys.argv[2], "number": number, "pad": "x" * 300}
    append_line(Path(sys.argv[1]), json.dumps(event))
"""


def test_several_processes_do_not_mix_their_lines(path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), n]) for n in "abc"]
    assert [writer.wait(60) for writer in writers] == [0] * 3
    events = list(read_events(path))
    assert len(events) == 600
    for name in "abc":
        assert [e["number"] for e in events if e["event"] == name] == list(range(200))


def test_a_follower_gives_what_was_added_and_starts_over_on_another_file(path: Path) -> None:
    journal, follower = Journal(path), Follower(path)
    assert follower.new() == []
    journal.append("one")
    assert names(follower.new()) == ["one"]
    assert follower.new() == []
    with path.open("a") as stream:
        stream.write('{"event": "two"')
    assert follower.new() == [], "it is still being written"
    with path.open("a") as stream:
        stream.write("}\n\x00\x00\nnonsense\n[1]\n" + "[" * 100_000 + "\n")
    journal.append("three")
    assert names(follower.new()) == ["two", "three"]
    assert not follower.anew
    path.unlink()
    journal.append("four")
    assert names(follower.new()) == ["four"]
    assert follower.anew
