"""Lines for the terminal and ``live.html``: clean, inert, and never in a session's way."""

import datetime
import io
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.pages import HOSTILE, Page, check_inert
from helpers.session_events import NOW, at, rounds, run, started, verdict, write
from ratchet.integrity.seal import WHOLE, sealable_files
from ratchet.monitor.views import (
    LivePage,
    Progress,
    event_line,
    live_facts,
    render_live,
    replace_file,
)
from ratchet.records.confirmed import confirmed_gain
from ratchet.records.events import Journal, time_left
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Confirmation

KEEP = verdict(
    4, 2, "KEEP", description="RATE 1 -> 2", confidence=0.81, best=0.5123, noise=0.0101, rounds=12
)
RUN = run(4, True, 1, wall_seconds=4.0)
REPLAYED = RUN | {"event": "run_replayed", "made": f"{RUN['time'][:10]}T08:02:11+00:00"}
GAIN = {"gain": 0.4, "low": 0.3, "high": 0.5}
CONFIRMED = at(4, "confirmed", **GAIN, detail="")
CHECK = at(4, "remeasured", value=0.9, expected=0.5, sd=0.1, z=4.0, alarm=True)
SLOW = {"slowed": "it\nhad"}
PREPARED = at(
    2, "prepared", data={}, isolation="landlock", holds="closed: a; open: b", stronger="get more"
)
ASKED = at(4, "agent_asked", agent="codex", round=3, attempt=1, minutes=20.0)
ASIDE = at(4, "set_aside", agent="codex", round=3, description="a\nb", reason="taken")
WAITING = at(4, "agent_waiting", agent="codex", round=3, why="its service limits the rate")
WAITING |= {"words": "429\nno", "seconds": 240.0, "left_seconds": 7000.0}
SAID = "waiting      codex, round 3: its service limits the rate (“429 no”); asked again in 4 min"
QUEUED = RUN | {"event": "run_waiting", "why": "waits for\na GPU"}
SHARED = RUN | {"event": "run_started", "device": {"name": "H200"}, "shared_with": [7, 8]}
REFUSED = at(4, "agent_refused", agent="codex", round=3, reason="it\nlied", again=True)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            PREPARED,
            "inputs hashed, *isolation of runs: landlock (closed: a; open: b); get more",
        ),
        (at(2, "prepared", data={}, isolation="none"), "*isolation of runs: none"),
        (
            KEEP,
            "round  2/12  #2 RATE 1 -> 2 *KEEP P 0.810 | best 0.5123 ± 0.0101, estimate 0.5100 "
            "| 1 kept",
        ),
        (KEEP | {"verdict": "MARGINAL", "near_miss": True}, "*MARGINAL P 0.810, will be tried aga"),
        (RUN, "*0.500000  4.0 s"),
        (RUN | {"value": None, "outcome": "crash"}, "*crash  4.0 s"),
        (RUN | {"pace": {"slowed": ""}, "again": False}, "*0.500000  4.0 s"),
        (RUN | {"pace": SLOW, "again": True}, "*4.0 s; busy machine, it had; it is run again"),
        (RUN | {"pace": SLOW, "again": False}, "*busy machine, it had; it counts all the same"),
        (RUN | {"value": None, "outcome": "contended", "again": True}, "*4.0 s; it is run again"),
        (REPLAYED, "*0.500000  from the store, of 08:02"),
        (REPLAYED | {"value": None, "outcome": "crash"}, "*crash  from the store, of 08:02"),
        (REPLAYED | {"made": "2026-11-30T08:02:11+00:00"}, "*the store, of 2026-11-30 08:02"),
        (CHECK | {"alarm": False, "anew": True}, "incumbent measured anew, *quiet: 0.9000"),
        (RUN | {"role": "remeasure", "description": "incumbent"}, "remeasure    incumbent *0.50"),
        (ASKED, "asking       codex, round 3 (at most 20 min)"),
        (ASKED | {"attempt": 2}, "asking       codex, round 3, once more ("),
        (ASIDE, "kept aside   codex, round 3: a b: taken"),
        (WAITING, SAID),
        (QUEUED, "waiting      #1 *waits for a GPU"),
        (SHARED, "sharing      #1 *: processes 7, 8 of others stay on H200"),
        (WAITING | {"words": ""}, "*limits the rate; asked again in 4 min, for 1.9 h at most"),
        (at(4, "agent_unusable", detail="it is\nbroken"), "no proposal  it is broken"),
        (REFUSED, "sent back    codex, round 3: it lied"),
        (REFUSED | {"again": False}, "no proposal  codex, round 3: it lied"),
        (CONFIRMED, "confirmation: gain in the search 0.4000"),  # of an older session
        (
            CONFIRMED | confirmed_gain(Confirmation(1, **GAIN)),
            "confirmed: gain 0.4000, 95 % interval 0.3000 to 0.5000; the task has no unseen data",
        ),
        (CHECK, "incumbent moved: expected 0.5000 ± 0.1000, measured 0.9000 (z = 4.0); *changed"),
    ],
)
def test_an_event_in_one_line(event: dict[str, Any], line: str) -> None:
    first, _, last = line.partition("*")
    said = str(event_line(event))
    assert said.startswith(first) and last in said


def test_what_says_nothing_to_people() -> None:
    assert event_line(at(1, "round_finished")) is None
    for check in (CHECK | {"z": 1.0}, CHECK | {"value": None, "z": None}):
        assert event_line(check | {"alarm": False}) is None


@pytest.mark.parametrize("text", ["\x1b[2J\x1b]0;pwned\x07", "a\nb\tc", "\u202eevil", "x" * 9999])
def test_descriptions_cannot_drive_the_terminal(text: str) -> None:
    shown = str(event_line({**KEEP, "description": text}))
    assert shown.isprintable() and len(shown) < 200


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_go_to_stream_and_log_with_colour_on_a_terminal_that_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream, terminal, log = io.StringIO(), Terminal(), tmp_path / "progress.log"
    for event in (KEEP, at(5, "round_finished")):
        Progress(log, stream)(event)
    assert log.read_text() == stream.getvalue()
    assert stream.getvalue().startswith("03:00:04  round  2/12")
    assert stream.getvalue().count("\n") == 1
    Progress(log, terminal)(KEEP)
    assert "\x1b[32m" in terminal.getvalue()
    assert "\x1b" not in log.read_text()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Progress(log, plain)(KEEP)
    assert "\x1b" not in plain.getvalue()


def append(journal: Journal, event: dict[str, Any]) -> None:
    facts = {name: value for name, value in event.items() if name not in ("time", "event")}
    journal.append(event["event"], **facts)


def test_the_time_left_is_the_pace_of_rounds_and_the_confirmation(tmp_path: Path) -> None:
    events = [RUN, RUN, at(10, "baseline"), KEEP | at(16, "verdict") | {"round": 1}]
    events += [KEEP | at(20, "verdict"), KEEP | at(20, "verdict") | {"number": 3}]
    # Rounds of 6 and 4 s, so 5 s for each of 10 more, and 4 runs of 4 s.
    assert time_left(events, KEEP) == pytest.approx(10 * 5 + 4 * 4)
    assert time_left([], KEEP) is None and time_left(events[:3], KEEP) is None
    backwards = [*events[:3], KEEP | at(4, "verdict") | {"round": 1}]
    assert time_left(backwards, KEEP) is None, "a clock that was set back tells no pace"
    stream, now = io.StringIO(), [datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)]
    progress = Progress(tmp_path / "progress.log", stream)
    journal = Journal(tmp_path / "events.jsonl", progress, lambda: now[0])

    append(journal, RUN)
    append(journal, at(0, "baseline", mean=1.0, noise=0.1, n=3))
    now[0] += datetime.timedelta(seconds=5)
    append(journal, KEEP)
    assert stream.getvalue().splitlines()[-1].endswith("| about 66 s left")


ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "span", "p", "a"),
    *("dl", "dt", "dd", "div", "table", "thead", "tbody", "tr", "th", "td", "progress", "code"),
}


def page(*events: dict[str, object], second: float = 330.0) -> str:
    return render_live(live_facts(list(events), NOW + second))


def test_a_running_session() -> None:
    found = page(*started(), *rounds("KEEP", "CRASH"), run(410, False, 3), second=430)
    words = Page(found).text
    assert "running, round 3/4: experiment" in words
    assert "experiment 3: edit 3, 20 s of 60 s" in words
    assert "0.500 ± 0.010, estimate 0.510, baseline 0.600" in words
    assert "2: 1 kept, 0 discarded, 1 crashed" in words
    assert '<meta http-equiv="refresh" content="5">' in found
    assert "default-src 'none'; style-src 'unsafe-inline'" in found


def test_the_end_is_said_and_stands_still() -> None:
    found = page(*started(), *rounds("KEEP"), at(500, "reported", answer="much better"))
    assert 'href="report.html"' in found and 'http-equiv="refresh"' not in found
    assert "finished: much better" in Page(found).text
    failed = at(320, "failed", step="judge", error="StoreError", message="no room")
    found = page(*started(), failed)
    assert "judge: no room" in Page(found).text
    assert 'http-equiv="refresh"' not in found


@pytest.mark.parametrize(
    "text", [f"</title>{HOSTILE}\x00 $state ${{body}}", "a" * 1_000_000, "\ud800 half"]
)
def test_hostile_texts_execute_nothing(tmp_path: Path, text: str) -> None:
    found = page(
        *started(metric=text, task=text, session=text),
        verdict(290, 1, "TAMPERED", description=text),
        run(310, False, 2, description=text),
        at(320, "stopped", reason=text, detail=text, round=2),
    )
    assert check_inert(found).tags <= ALLOWED
    assert len(found) < 20_000
    replace_file(tmp_path / "live.html", found.encode("utf-8", "replace"))


def test_each_event_makes_it_anew_and_it_is_no_record(tmp_path: Path) -> None:
    paths = SessionPaths("night", tmp_path)
    journal = Journal(paths.events, LivePage(paths))
    for event in started():
        append(journal, event)
    assert "proposing" in paths.live_html.read_text()
    assert sorted(path.name for path in paths.folder.iterdir()) == ["events.jsonl", "live.html"]
    paths.report_html.write_text("report")
    assert sealable_files(paths, WHOLE) == [paths.report_html]


def test_a_page_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = SessionPaths("night", tmp_path)
    write(tmp_path, started())
    paths.live_html.mkdir()
    LivePage(paths)(started()[-1])
    assert paths.live_html.is_dir()
    assert not list(paths.folder.glob(".live*")), "nothing is left of the attempt"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    LivePage(paths)(started()[-1])
    assert paths.live_html.is_dir()


def test_it_is_fast_after_a_thousand_experiments(tmp_path: Path) -> None:
    paths = SessionPaths("night", tmp_path)
    many = [verdict(300.0 + n, n, round=n, rounds=2000) for n in range(1, 1001)]
    both = [e for v in many for e in (run(300, False, v["number"]), run(301, True, v["number"]), v)]
    write(tmp_path, [*started(), *both])
    view, seconds = LivePage(paths), []
    for _ in range(3):
        began = time.process_time()
        view(many[-1])
        seconds.append(time.process_time() - began)
    assert "experiment" in paths.live_html.read_text()
    assert min(seconds) < 2.0, "seconds of processor time; a tenth of that is usual"
