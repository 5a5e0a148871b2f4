"""Files of anybody's commits, byte by byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.clones import Clone
from ratchet.base.git import LARGEST_BYTES, Commits


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def test_contents_are_whole_and_by_the_folder_that_was_given(clone: Clone) -> None:
    odd = b"\n\n a = 1\r\n\xff\x00\n\n"
    first = clone.commit({"train.py": odd, "tasks/x/train.py": "b = 2"})
    (clone.folder / "link.py").symlink_to("train.py")
    second = clone.commit({"large.bin": b"x" * (LARGEST_BYTES + 1)})
    here = Commits(clone.folder)
    names = ("train.py", "link.py", "large.bin", "none.py", "tasks")
    assert here.contents(second, names) == {
        "train.py": odd,
        "link.py": None,
        "large.bin": None,
        "none.py": None,
        "tasks": None,
    }
    below = Commits(clone.folder / "tasks" / "x")
    assert below.contents(first, ["train.py"]) == {"train.py": b"b = 2"}
    assert below.changed(first, second) == ["/large.bin", "/link.py"]
    assert here.changed(first, second) == ["large.bin", "link.py"]
    assert here.changed(first, "0" * 40) is None


def test_names_of_a_log_are_hashes_or_nothing(clone: Clone) -> None:
    first = clone.commit({"a": "1"})
    second = clone.commit({"a": "2"})
    commits = Commits(clone.folder)
    assert commits.full(first[:7]) == first == commits.full(f" {first.upper()} ")
    for bad in ("", "HEAD", "--all", "ffffffff", "abc", f"{first}^{{tree}}", "baseline"):
        assert commits.full(bad) is None, bad
    assert commits.parent(second) == first
    assert commits.parent(first) is None
