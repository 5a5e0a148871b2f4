"""Who holds a session, told by a lock that ends with its process."""

import os
import threading
import time
from pathlib import Path

import pytest

from ratchet.base.errors import SessionBusyError
from ratchet.records.ownership import (
    Owner,
    owns_session,
    running_sessions,
    session_lock,
    session_owner,
    take_sessions,
)


def test_whoever_takes_it_is_named_until_the_lock_ends(tmp_path: Path) -> None:
    assert owns_session(tmp_path, "night") is None, "a copy of the records tells nothing"
    assert not (tmp_path / ".snakemake").exists(), "a look leaves nothing"
    (handle,) = take_sessions(tmp_path, "night")
    assert session_owner(tmp_path, "night") == Owner(os.getpid(), "night")
    assert owns_session(tmp_path, "night") is True
    with pytest.raises(SessionBusyError, match=f"process {os.getpid()}, session night"):
        take_sessions(tmp_path, "night")
    os.close(handle)
    assert owns_session(tmp_path, "night") is False


def test_sessions_stand_side_by_side_and_a_tournament_has_its_competitors(tmp_path: Path) -> None:
    night, day = take_sessions(tmp_path, "night"), take_sessions(tmp_path, "day", ["day.bold"])
    assert running_sessions(tmp_path) == {
        name: Owner(os.getpid(), name) for name in ("day", "night")
    }
    with pytest.raises(SessionBusyError, match=r"'day.bold' is running here already"):
        take_sessions(tmp_path, "day.bold")
    (alone,) = take_sessions(tmp_path, "dusk.bold")
    with pytest.raises(SessionBusyError):
        take_sessions(tmp_path, "dusk", ["dusk.meek", "dusk.bold"])
    assert owns_session(tmp_path, "dusk.meek") is False, "who is refused one holds none"
    for handle in (*night, *day, alone):
        os.close(handle)
    assert not running_sessions(tmp_path)


def test_a_file_that_says_nothing_is_understood(tmp_path: Path) -> None:
    (handle,) = take_sessions(tmp_path, "night")
    session_lock(tmp_path, "night").write_text("\x00\x00")
    assert session_owner(tmp_path, "night") == Owner(None, None)
    assert str(Owner(None, None)) == "unknown"
    os.close(handle)


def test_looking_never_keeps_a_session_from_starting(tmp_path: Path) -> None:
    os.close(*take_sessions(tmp_path, "night"))
    stop = time.monotonic() + 0.5

    def look() -> None:
        while time.monotonic() < stop:
            owns_session(tmp_path, "night")

    looker = threading.Thread(target=look)
    looker.start()
    taken = 0
    while time.monotonic() < stop:
        os.close(*take_sessions(tmp_path, "night"))
        taken += 1
    looker.join()
    assert taken > 3
