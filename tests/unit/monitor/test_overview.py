"""The page of all sessions: rows written by each, read by all, and never in a session's way."""

import json
import os
import threading
from pathlib import Path

import pytest

from helpers.pages import HOSTILE, Page, check_inert
from helpers.session_events import NOW, at, rounds, started, write
from ratchet.integrity.seal import WHOLE, sealable_files
from ratchet.integrity.verify import session_names
from ratchet.monitor import overview
from ratchet.monitor.overview import Overview, read_rows, render_overview, write_overview
from ratchet.records.events import Journal
from ratchet.records.ownership import take_sessions
from ratchet.records.paths import SessionPaths, index_page

CONFIRMED = at(900, "confirmed", gain=0.4, low=0.3, high=0.5, detail="", standing="confirmed")
REPORTED = at(950, "reported", answer="better", seed_effect="shown")


def session(root: Path, name: str, events: list[dict[str, object]]) -> SessionPaths:
    """A session with these events; its first says its name."""
    first, *rest = events
    write(root, [{**first, "session": name}, *rest], name)
    paths = SessionPaths(name, root)
    paths.manifest.write_text("{}")
    if name == "duel":
        paths.tournament.parent.mkdir()
    return paths


def rows(root: Path) -> dict[str, dict[str, object]]:
    return {row["session"]: row for row in read_rows(root / "results")}


def test_a_row_tells_how_a_session_stands(tmp_path: Path) -> None:
    paths = session(tmp_path, "night", [*started(), *rounds("KEEP", "DISCARD")])
    write_overview(paths, NOW + 400)
    row = json.loads(paths.summary.read_text())
    assert (row["task"], row["metric"], row["state"]) == ("fake", "val_loss", "running")
    assert (row["experiments"], row["kept"], row["best"], row["baseline"]) == (2, 1, 0.5, 0.6)
    page = index_page(tmp_path).read_text()
    shown = check_inert(page.replace('href="night/', 'href="#')).text
    assert "night running round 3/4: proposing 2026-01-02 03:00 fake 2 1 0.500 val_loss" in shown
    assert "+0.090 estimate, not confirmed" in shown
    assert 'http-equiv="refresh"' in page


def test_a_session_that_has_ended_links_to_its_report(tmp_path: Path) -> None:
    events = [*started(), *rounds("KEEP"), CONFIRMED, REPORTED]
    paths = session(tmp_path, "night", events)
    paths.live_html.write_text("")
    write_overview(paths, NOW + 960)
    assert 'href="night/live.html"' in index_page(tmp_path).read_text()
    paths.report_html.write_text("")
    write_overview(paths, NOW + 960)
    page = index_page(tmp_path).read_text()
    assert 'href="night/report.html"' in page and "refresh" not in page
    assert "finished" in page and "+0.400 <small>0.300 to 0.500</small> <small>confirmed" in page


def test_the_newest_come_first_and_others_that_ran_have_stopped(tmp_path: Path) -> None:
    first = session(tmp_path, "first", started())
    write_overview(first, NOW + 300)
    later = [{**event, "time": event["time"].replace("-02T", "-03T")} for event in started()]
    leg = session(tmp_path, "duel.one", later)
    write_overview(leg, NOW)
    duel = session(tmp_path, "duel", later)
    write_overview(duel, NOW)
    listed = read_rows(tmp_path / "results", "duel")
    assert [row["session"] for row in listed] == ["duel", "duel.one", "first"]
    assert [row["state"] for row in listed] == ["running", "running", "stopped"]
    assert "stopped" in index_page(tmp_path).read_text()


def test_others_that_living_processes_have_go_on(tmp_path: Path) -> None:
    for name in ("night", "duel", "duel.one", "dead"):
        write_overview(session(tmp_path, name, started()), NOW)
    handles = take_sessions(tmp_path, "night") + take_sessions(tmp_path, "duel")
    states = {name: row["state"] for name, row in rows(tmp_path).items()}
    assert states == {
        **dict.fromkeys(("night", "duel", "duel.one"), "running"),
        "dead": "stopped",
    }
    for handle in handles:
        os.close(handle)
    assert {row["state"] for row in rows(tmp_path).values()} == {"stopped"}


def test_competitors_end_with_their_tournament(tmp_path: Path) -> None:
    leg = session(tmp_path, "duel.one", [{**started()[0], "task": ""}, *started()[1:]])
    write_overview(leg, NOW)
    duel = session(tmp_path, "duel", [*started(), at(900, "evolved", answer="one won")])
    write_overview(duel, NOW)
    listed = {row["session"]: row for row in read_rows(tmp_path / "results", "duel")}
    assert (listed["duel.one"]["state"], listed["duel.one"]["task"]) == ("finished", "fake")


def test_a_dot_in_a_name_makes_no_competitor(tmp_path: Path) -> None:
    ended = [*started(), *rounds("KEEP"), CONFIRMED, REPORTED]
    for name, events in (("night", ended), ("night.2", started()), ("night.3", started())):
        write_overview(session(tmp_path, name, events), NOW + 960)
    (handle,) = take_sessions(tmp_path, "night.2")
    listed = {row["session"]: row["state"] for row in read_rows(tmp_path / "results", "night")}
    os.close(handle)
    assert listed == {"night": "finished", "night.2": "running", "night.3": "stopped"}


def test_a_session_without_a_row_is_named(tmp_path: Path) -> None:
    old = session(tmp_path, "old", started())
    old.report_html.write_text("")
    damaged = session(tmp_path, "damaged", started())
    damaged.summary.write_text('{"session": "x", "best": [' + "[" * 5000)
    assert rows(tmp_path)["old"]["state"] == "finished"
    assert "state" not in rows(tmp_path)["damaged"]
    shown = Page(render_overview(read_rows(tmp_path / "results"))).text
    assert "damaged unknown" in shown and "old finished" in shown


def test_hostile_rows_stay_words(tmp_path: Path) -> None:
    paths = session(tmp_path, "night", started())
    row = dict.fromkeys(("task", "metric", "state", "doing", "started", "page"), HOSTILE)
    numbers = {"best": HOSTILE, "noise": [], "experiments": HOSTILE, "confirmed": {"gain": {}}}
    paths.summary.write_text(json.dumps({**row, **numbers}))
    check_inert(render_overview(read_rows(tmp_path / "results")))


def test_only_events_that_change_a_row_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(overview, "write_overview", lambda paths, _: written.append(paths.session))
    journal = Journal(tmp_path / "events.jsonl", Overview(SessionPaths("night", tmp_path)))
    for event in ("session_started", "run_finished", "verdict", "round_finished", "reported"):
        journal.append(event)
    assert written == ["night"] * 3


def test_a_page_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    paths = session(tmp_path, "night", started())
    index_page(tmp_path).mkdir()
    Overview(paths)(at(0, "round_finished", round=1))
    assert paths.summary.is_file()
    Overview(SessionPaths("nowhere", tmp_path))(at(0, "round_finished", round=1))


def test_several_may_write_at_once(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(8)]
    every = [session(tmp_path, name, started()) for name in names]
    threads = [threading.Thread(target=write_overview, args=(paths, NOW)) for paths in every]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page = index_page(tmp_path).read_text()
    assert all(f">{name}<" in page for name in names)
    assert not list((tmp_path / "results").glob("*.partial"))


def test_rows_and_page_are_no_records(tmp_path: Path) -> None:
    paths = session(tmp_path, "night", started())
    write_overview(paths, NOW)
    assert paths.summary not in sealable_files(paths, WHOLE)
    assert session_names(tmp_path) == ["night"]
