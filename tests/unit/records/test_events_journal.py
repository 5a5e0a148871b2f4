"""The event log: durable, ordered, tolerant of a torn line."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path

from ratchet.records.events import Follower, Journal, each_listener, read_events
from ratchet.records.records import Outcome


def clock() -> datetime.datetime:
    return datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)


def test_events_are_lines_and_listeners_hear_them(tmp_path: Path) -> None:
    heard: list[dict] = []
    journal = Journal(tmp_path / "a" / "events.jsonl", heard.append, clock)
    journal.append("run_finished", outcome=Outcome.OK, value=None, name="é\n")
    (line,) = (tmp_path / "a" / "events.jsonl").read_text().splitlines()
    assert (
        json.loads(line)
        == heard[0]
        == {
            "time": "2026-01-02T03:04:05.678+00:00",
            "event": "run_finished",
            "outcome": "ok",
            "value": None,
            "name": "é\n",
        }
    )


def test_a_torn_line_is_passed_over_and_stays_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    journal = Journal(path, clock=clock)
    journal.append("one")
    with path.open("a") as handle:
        handle.write('{"event": "tor')
    journal.append("two")
    assert [event["event"] for event in read_events(path)] == ["one", "two"]
    assert len(path.read_text().splitlines()) == 3


def test_no_file_is_no_events(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "none")) == []


def test_lines_that_are_no_events_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'[1]\n"x"\n{"other": 1}\n\xff\n{"event": "ok"}\n')
    assert [event["event"] for event in read_events(path)] == ["ok"]


WRITER = """
import json, sys
from pathlib import Path
from ratchet.records.events import append_line
for number in range(200):
    event = {"event": sys.argv[2], "number": number, "pad": "x" * 300}
    append_line(Path(sys.argv[1]), json.dumps(event))
"""


def test_several_processes_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    names = ("a", "b", "c")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), n]) for n in names]
    assert [writer.wait(60) for writer in writers] == [0] * 3
    events = list(read_events(path))
    assert len(events) == 600
    for name in names:
        assert [e["number"] for e in events if e["event"] == name] == list(range(200))


def test_texts_with_other_ends_of_lines_stay_one_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    text = "one\u2028two\x85three\x0bfour"
    Journal(path).append("verdict", description=text)
    assert [event["description"] for event in read_events(path)] == [text]


def test_a_follower_gives_what_was_added_and_starts_over_on_another_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    journal, follower = Journal(path), Follower(path)
    assert follower.new() == []
    journal.append("one")
    assert [event["event"] for event in follower.new()] == ["one"]
    assert follower.new() == []
    with path.open("a") as stream:
        stream.write('{"event": "two"')
    assert follower.new() == [], "it is still being written"
    with path.open("a") as stream:
        stream.write("}\n\x00\x00\nnonsense\n[1]\n")
    journal.append("three")
    assert [event["event"] for event in follower.new()] == ["two", "three"]
    assert not follower.anew
    path.unlink()
    journal.append("four")
    assert [event["event"] for event in follower.new()] == ["four"]
    assert follower.anew


def test_everybody_hears_of_an_event_in_order(tmp_path: Path) -> None:
    heard: list[str] = []
    listener = each_listener(lambda e: heard.append(f"a {e['event']}"), lambda _: heard.append("b"))
    journal = Journal(tmp_path / "events.jsonl", listener)
    journal.append("one")
    journal.tell(journal.line("two"))
    assert heard == ["a one", "b", "a two", "b"]
    assert len(list(read_events(journal.path))) == 1, "what is only told is not written"
