"""Failures of a mirror: told to people, once and in plain words."""

from pathlib import Path
from typing import Any

import pytest

from helpers.boxes import Box, make_box
from helpers.recorded import play_fake
from helpers.shared import copied, shared_box
from ratchet.base.errors import StoreError
from ratchet.base.structs import replace
from ratchet.cli.sessions import read_settings
from ratchet.mirror import sender
from ratchet.mirror.mirror import Mirror
from ratchet.monitor.progress import fold_events, session_state, standing_facts, standing_rows
from ratchet.records.events import Journal, read_events
from ratchet.records.paths import SessionPaths
from ratchet.trackers.tracker import failure_words


@shared_box
def played(path: Path) -> Box:
    return play_fake(make_box(path, task="tasks/fake", rounds=2))


@pytest.fixture
def box(played: Box, tmp_path: Path) -> Box:
    return copied(played, tmp_path / "box")


def rows_of(paths: SessionPaths) -> dict[str, str]:
    """What ``ratchet status`` shows."""
    standing = fold_events(read_events(paths.events))
    facts: dict[str, Any] = standing_facts(standing, 0.0, session_state(standing, 0.0, True), None)
    return dict(standing_rows(facts))


def test_people_are_told_of_a_failure_with_the_next_verdict(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = SessionPaths("default", box.path)
    settings = replace(read_settings(box.path, ["task=tasks/fake"]), mirror=str(tmp_path / "m"))
    monkeypatch.setattr(sender.MirrorSender, "ask", lambda *_, **__: None)
    journal = Journal(paths.events, sender.MirrorSender(settings, paths, tmp_path))
    before = paths.progress_log.read_text()
    journal.append("verdict")
    assert paths.progress_log.read_text() == before
    sender.note_outcome(journal, "mirror m: No space left on device")
    journal.append("verdict")
    journal.append("verdict")
    new = paths.progress_log.read_text().removeprefix(before)
    assert new.count("mirror m: No space left on device") == 1
    assert "No space left on device" in rows_of(paths)["MIRROR"]
    sender.note_outcome(journal, "")
    assert "MIRROR" not in rows_of(paths)


def test_how_long_ago_something_was_is_no_news(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    for reason in ("another copy, last 2 s ago", "another copy, last 14 s ago"):
        sender.note_outcome(journal, reason)
    assert len(list(read_events(journal.path))) == 1


def test_a_folder_that_is_none_is_told_in_plain_words(box: Box, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError) as raised:
        Mirror(str(tmp_path / "file/m"), SessionPaths("default", box.path)).push()
    assert "Not a directory" in str(raised.value) and "Error" not in str(raised.value)
    assert failure_words(raised.value) == str(raised.value)
