"""``live.html``: what it shows, that it runs nothing, and that it never stops a session."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from helpers.session_events import NOW, at, rounds, run, started, verdict, write
from ratchet.integrity.seal import WHOLE, sealable_files
from ratchet.monitor.views import LivePage, live_facts, render_live, replace_file
from ratchet.records.events import Journal
from ratchet.records.paths import SessionPaths

ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "span", "p", "a"),
    *("dl", "dt", "dd", "div", "table", "thead", "tbody", "tr", "th", "td", "progress", "code"),
}


class Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words += data


def page(*events: dict[str, object], second: float = 330.0) -> str:
    return render_live(live_facts(list(events), NOW + second))


def test_a_running_session() -> None:
    found = page(*started(), *rounds("KEEP", "CRASH"), run(410, False, 3), second=430)
    words = Reader(found).words
    assert "running, round 3/4: experiment" in words
    assert "experiment 3: edit 3, 20 s of 60 s" in words
    assert "0.500 ± 0.010, baseline 0.600" in words
    assert "2: 1 kept, 0 discarded, 1 crashed" in words
    assert '<meta http-equiv="refresh" content="5">' in found
    assert "default-src 'none'; style-src 'unsafe-inline'" in found


def test_the_end_links_to_the_report_and_stands_still() -> None:
    found = page(*started(), *rounds("KEEP"), at(500, "reported", answer="much better"))
    assert 'href="report.html"' in found
    assert "finished: much better" in Reader(found).words
    assert 'http-equiv="refresh"' not in found


def test_a_failure_is_said_and_stands_still() -> None:
    failed = at(320, "failed", step="judge", error="StoreError", message="no room")
    found = page(*started(), failed)
    assert "judge: no room" in Reader(found).words
    assert 'http-equiv="refresh"' not in found


@pytest.mark.parametrize(
    "text",
    [
        "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>",
        "\x1b[31mred\x1b]8;;http://x\x07",
        "\u202eevil\u0000",
        "a" * 1_000_000,
        "\ud800 half",
    ],
)
def test_hostile_texts_execute_nothing(tmp_path: Path, text: str) -> None:
    found = page(
        *started(metric=text, task=text, session=text),
        verdict(290, 1, "TAMPERED", description=text),
        run(310, False, 2, description=text),
        at(320, "stopped", reason=text, detail=text, round=2),
    )
    reader = Reader(found)
    assert set(reader.tags) <= ALLOWED
    assert not [name for name in reader.attributes if name.startswith("on")]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", found)
    assert len(found) < 20_000
    replace_file(tmp_path / "live.html", found.encode("utf-8", "replace"))


def test_each_event_makes_it_anew_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    paths = SessionPaths("night", tmp_path)
    journal = Journal(paths.events, LivePage(paths))
    for event in started():
        about = {name: value for name, value in event.items() if name not in ("time", "event")}
        journal.append(event["event"], **about)
    assert "proposing" in paths.live_html.read_text()
    assert sorted(path.name for path in paths.folder.iterdir()) == ["events.jsonl", "live.html"]


def test_it_is_a_view_and_no_record(tmp_path: Path) -> None:
    paths = SessionPaths("night", tmp_path)
    write(tmp_path, started())
    LivePage(paths)(started()[-1])
    paths.report_html.write_text("report")
    assert paths.live_html.exists()
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
    view = LivePage(paths)
    best = min(_timed(lambda: view(many[-1])) for _ in range(3))
    assert "experiment" in paths.live_html.read_text()
    assert best < 2.0, "seconds of processor time; a tenth of that is usual"


def _timed(act: object) -> float:
    began = time.process_time()
    act()  # type: ignore[operator]
    return time.process_time() - began
