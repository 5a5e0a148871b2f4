"""Who holds a folder, told by a lock that ends with its process."""

import os
import threading
import time
from pathlib import Path

import pytest

from ratchet.base.errors import SessionBusyError
from ratchet.steps.ownership import Owner, folder_owner, lock_file, owns_session, take_folder


def test_whoever_takes_it_is_named_until_the_lock_ends(tmp_path: Path) -> None:
    assert owns_session(tmp_path, "night") is None, "a copy of the records tells nothing"
    assert not (tmp_path / ".snakemake").exists(), "a look leaves nothing"
    handle = take_folder(tmp_path, "night")
    assert folder_owner(tmp_path) == Owner(os.getpid(), "night")
    assert owns_session(tmp_path, "night") is True
    assert owns_session(tmp_path, "other") is None, "a session may have others within it"
    with pytest.raises(SessionBusyError, match=f"process {os.getpid()}, session night"):
        take_folder(tmp_path, "other")
    os.close(handle)
    assert owns_session(tmp_path, "night") is False


def test_a_file_of_an_earlier_version_is_understood(tmp_path: Path) -> None:
    handle = take_folder(tmp_path, "night")
    lock_file(tmp_path).write_text("4711\n")
    assert folder_owner(tmp_path) == Owner(4711, None)
    assert owns_session(tmp_path, "any") is True
    lock_file(tmp_path).write_text("\x00\x00")
    assert folder_owner(tmp_path) == Owner(None, None)
    os.close(handle)


def test_looking_never_keeps_a_session_from_starting(tmp_path: Path) -> None:
    os.close(take_folder(tmp_path, "night"))
    stop = time.monotonic() + 0.5

    def look() -> None:
        while time.monotonic() < stop:
            folder_owner(tmp_path)

    looker = threading.Thread(target=look)
    looker.start()
    taken = 0
    while time.monotonic() < stop:
        os.close(take_folder(tmp_path, "night"))
        taken += 1
    looker.join()
    assert taken > 3
