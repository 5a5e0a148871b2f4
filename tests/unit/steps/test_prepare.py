"""Preparation of a task's data: its command, and what is said where that fails."""

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers import FAKE, REPO, load_task
from ratchet.base.errors import DataError
from ratchet.records.paths import SessionPaths
from ratchet.records.store import Store
from ratchet.steps.prepare import Preparation


def prepare(tmp_path: Path, code: str) -> None:
    """Prepare the data of a task by a program of this code."""
    folder = Path(shutil.copytree(FAKE, tmp_path / "fake"))
    (folder / "prepare.py").write_text(code)
    Preparation(load_task(folder, REPO), {}).data(Store(SessionPaths("s", tmp_path).store))


@pytest.mark.parametrize(
    ("code", "cause", "todo"),
    [
        ("import no_such_package", "a package that is missing", "run it by hand"),
        (
            "raise OSError('urlopen error: Temporary failure in name resolution')",
            "data that are missing",
            "reaches the network",
        ),
        ("import sys; sys.exit('\\x1b[2Jodd words')", "its own code: odd words", "run it by hand"),
    ],
)
def test_a_failed_command_says_its_cause_and_what_to_do(tmp_path, code, cause, todo):
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, code)
    said = str(caught.value)
    assert cause in said
    assert todo in said
    assert "\x1b" not in said


def test_who_waits_for_another_preparation_of_the_same_data_says_so(tmp_path, capsys):
    task, store = load_task(FAKE, REPO), Store(SessionPaths("s", tmp_path).store)
    first, second = (Preparation(task, {}, None, name) for name in ("night", "dusk"))
    began, ends = threading.Event(), threading.Event()

    class Slow(Store):
        """Keeps files once it may."""

        def fingerprint(self, path, name):
            began.set()
            assert ends.wait(60)
            return super().fingerprint(path, name)

    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(first.data, Slow(store.paths))
        assert began.wait(60)
        threading.Timer(0.1, ends.set).start()
        two = second.data(store)
        assert one.result() == two
    said = capsys.readouterr().err
    assert f"waits for session night (process {os.getpid()}), which prepares the data" in said


def test_a_file_that_was_not_made_is_named(tmp_path):
    with pytest.raises(DataError, match=r"made no file numbers\.txt"):
        prepare(tmp_path, "pass")
