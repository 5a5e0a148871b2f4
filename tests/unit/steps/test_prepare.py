"""Preparation of a task's data: its command, and what is said where that fails."""

import shutil
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


def test_a_file_that_was_not_made_is_named(tmp_path):
    with pytest.raises(DataError, match=r"made no file numbers\.txt"):
        prepare(tmp_path, "pass")
