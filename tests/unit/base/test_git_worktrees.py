"""Worktrees show an incumbent, and nothing that somebody left in one is lost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ratchet.base.errors import StoreError
from ratchet.base.git import (
    belongs_to_repository,
    changed_in_worktree,
    remove_worktree,
    show_commit,
)
from ratchet.records.session_repo import SessionRepo


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path, list[str]]:
    """A repository with two commits, and where its worktree belongs."""
    repo = SessionRepo(tmp_path / "ré po" / ".git", "s")
    repo.create()
    first = repo.commit({"train.py": b"a = 1\n"}, "one", 0, None, "refs/ratchet/a")
    second = repo.commit({"train.py": b"a = 2\n"}, "two", 1, first, "refs/ratchet/b")
    return repo.folder, tmp_path / "wörk träe's" / "tree", [first, second]


def test_it_shows_one_commit_after_the_other(place: tuple[Path, Path, list[str]]) -> None:
    repository, folder, commits = place
    for commit, text in zip(commits, ("a = 1\n", "a = 2\n"), strict=True):
        assert show_commit(repository, folder, commit) == ""
        assert (folder / "train.py").read_text() == text


def test_edits_and_other_folders_are_left_alone(place: tuple[Path, Path, list[str]]) -> None:
    repository, folder, commits = place
    show_commit(repository, folder, commits[0])
    (folder / "train.py").write_text("a = 'mine'\n")
    assert "edits of its own" in show_commit(repository, folder, commits[1])
    assert (folder / "train.py").read_text() == "a = 'mine'\n"
    other = folder.with_name("other")
    other.mkdir()
    (other / "notes").write_text("mine")
    assert "something else" in show_commit(repository, other, commits[0])
    with pytest.raises(StoreError, match="found something else"):
        remove_worktree(repository, other, folder.with_name("kept"))
    assert (other / "notes").read_text() == "mine"


def test_what_is_not_of_the_history_is_moved_before_a_worktree_goes(
    place: tuple[Path, Path, list[str]],
) -> None:
    repository, folder, commits = place
    show_commit(repository, folder, commits[0])
    (folder / "nötes").mkdir()
    (folder / "nötes" / "a b.txt").write_text("untracked")
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "run.log").write_text("ignored")
    (folder / "train.py").write_text("edited")
    keep = folder.with_name("kept")
    (keep).mkdir()
    (keep / "run.log").write_text("earlier")
    assert len(remove_worktree(repository, folder, keep)) == 4
    assert not folder.exists()
    assert (keep / "nötes" / "a b.txt").read_text() == "untracked"
    assert (keep / "train.py").read_text() == "edited"
    assert [(keep / n).read_text() for n in ("run.log", "run.log.2")] == ["earlier", "ignored"]
    listed = subprocess.run(
        ["git", "-C", str(repository), "worktree", "list"], capture_output=True, check=True
    )
    assert listed.stdout.count(b"\n") == 1
    assert remove_worktree(repository, folder, keep) == []


def test_one_that_git_was_killed_over_is_made_again(place: tuple[Path, Path, list[str]]) -> None:
    repository, folder, commits = place
    show_commit(repository, folder, commits[0])
    (folder / "train.py").unlink()
    (repository / "worktrees" / folder.name / "locked").write_text("initializing")
    assert show_commit(repository, folder, commits[1]) == ""
    assert (folder / "train.py").read_text() == "a = 2\n"


def test_one_that_was_moved_is_found_again(place: tuple[Path, Path, list[str]]) -> None:
    repository, folder, commits = place
    show_commit(repository, folder, commits[0])
    moved = folder.with_name("moved")
    folder.rename(moved)
    assert show_commit(repository, moved, commits[1]) == ""
    assert (moved / "train.py").read_text() == "a = 2\n"


def test_a_copy_of_everything_is_a_worktree_of_the_copy(
    place: tuple[Path, Path, list[str]], tmp_path: Path
) -> None:
    repository, folder, commits = place
    show_commit(repository, folder, commits[0])
    copy = tmp_path / "copy"
    shutil.copytree(repository.parent, copy / "repo")
    shutil.copytree(folder, copy / "tree")
    assert show_commit(copy / "repo" / ".git", copy / "tree", commits[1]) == ""
    assert changed_in_worktree(folder) == []
    assert (folder / "train.py").read_text() == "a = 1\n"
    assert remove_worktree(copy / "repo" / ".git", copy / "tree", copy / "kept") == []
    assert belongs_to_repository(repository, folder)


def test_a_failure_of_git_says_what_failed(place: tuple[Path, Path, list[str]]) -> None:
    repository, folder, _ = place
    with pytest.raises(StoreError, match="git worktree failed"):
        show_commit(repository, folder, "f" * 40)
