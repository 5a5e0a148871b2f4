"""Who holds a folder, told by a lock that ends with its process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ratchet import ownership
from ratchet.errors import SessionBusyError


def test_whoever_takes_it_is_named_until_the_lock_ends(tmp_path: Path) -> None:
    handle = ownership.take(tmp_path, "night")
    assert ownership.owner(tmp_path) == ownership.Owner(os.getpid(), "night")
    assert ownership.owns(tmp_path, "night") is True
    assert ownership.owns(tmp_path, "other") is None, "a session may have others within it"
    with pytest.raises(SessionBusyError, match=f"process {os.getpid()}, session night"):
        ownership.take(tmp_path, "other")
    os.close(handle)
    assert ownership.owns(tmp_path, "night") is False


def test_a_copy_of_the_records_tells_nothing(tmp_path: Path) -> None:
    assert ownership.owns(tmp_path, "night") is None
    assert not (tmp_path / ".snakemake").exists(), "a look leaves nothing"


def test_a_killed_owner_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from ratchet import ownership;"
        "ownership.take(pathlib.Path(sys.argv[1]), 'night'); print('has', flush=True);"
        "time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "has\n"
        assert ownership.owner(tmp_path) == ownership.Owner(child.pid, "night")
        child.kill()
    assert ownership.owner(tmp_path) is None


def test_a_file_of_an_earlier_version_is_understood(tmp_path: Path) -> None:
    handle = ownership.take(tmp_path, "night")
    ownership.lock_file(tmp_path).write_text("4711\n")
    assert ownership.owner(tmp_path) == ownership.Owner(4711, None)
    assert ownership.owns(tmp_path, "any") is True
    ownership.lock_file(tmp_path).write_text("\x00\x00")
    assert ownership.owner(tmp_path) == ownership.Owner(None, None)
    os.close(handle)


def test_looking_never_keeps_a_session_from_starting(tmp_path: Path) -> None:
    os.close(ownership.take(tmp_path, "night"))
    stop = time.monotonic() + 0.5

    def look() -> None:
        while time.monotonic() < stop:
            ownership.owner(tmp_path)

    looker = threading.Thread(target=look)
    looker.start()
    taken = 0
    while time.monotonic() < stop:
        os.close(ownership.take(tmp_path, "night"))
        taken += 1
    looker.join()
    assert taken > 3
