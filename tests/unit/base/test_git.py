"""Commits of anybody's repository byte by byte, and worktrees in which nothing is lost."""

import shutil
from pathlib import Path

import pytest

from helpers.clones import Clone
from ratchet.base.errors import InputMissingError, StoreError
from ratchet.base.git import (
    LARGEST_BYTES,
    Commits,
    ForeignGit,
    GitError,
    changed_in_worktree,
    git_output,
    remove_worktree,
    show_commit,
)
from ratchet.records.session_repo import SessionRepo
from ratchet.steering.code_diff import net_code_lines


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def test_contents_are_whole_and_by_the_folder_that_was_given(clone: Clone) -> None:
    odd = b"\n\n a = 1\r\n\xff\x00\n\n"
    first = clone.commit({"train.py": odd, "tasks/x/train.py": "b = 2"})
    (clone.folder / "link.py").symlink_to("train.py")
    second = clone.commit({"large.bin": b"x" * (LARGEST_BYTES + 1)})
    here = Commits(clone.folder)
    nothing = dict.fromkeys(("link.py", "large.bin", "none.py", "tasks"))
    assert here.contents(second, ["train.py", *nothing]) == {"train.py": odd, **nothing}
    below = Commits(clone.folder / "tasks" / "x")
    assert below.contents(first, ["train.py"]) == {"train.py": b"b = 2"}
    assert below.changed(first, second) == ["/large.bin", "/link.py"]
    assert here.changed(first, second) == ["large.bin", "link.py"]
    assert here.changed(first, "0" * 40) is None


def test_sources_are_the_text_files_that_a_commit_changed(clone: Clone) -> None:
    """In whatever language, but for the log itself."""
    old = {"a.py": "1\n", "gone.cu": "2\n", "src/x.rs": "fn x() {}\n"}
    first = clone.commit({**old, "log.tsv": "x", "image.bin": b"\0"})
    (clone.folder / "gone.cu").unlink()
    new = {"a.py": "3\n", "src/x.rs": "fn x() {}\n\nfn y() {}\n", "new.c": "4\n"}
    second = clone.commit({**new, "log.tsv": "y", "image.bin": b"\0\0"})
    commits = Commits(clone.folder, {"log.tsv"})
    changed = {**old, "new.c": ""}, {**new, "gone.cu": ""}
    assert commits.sources(second[:7]) == changed
    assert net_code_lines(*changed) == 1
    assert commits.sources(first) is None, "it has no parent"
    assert commits.sources("HEAD") is None
    # Names of a log are hashes or nothing.
    assert commits.full(first[:7]) == first == commits.full(f" {first.upper()} ")
    for bad in ("", "HEAD", "--all", "ffffffff", "abc", f"{first}^{{tree}}", "baseline"):
        assert commits.full(bad) is None, bad
    assert commits.parent(second) == first
    assert commits.parent(first) is None


def test_programs_that_a_clone_names_are_not_run(clone: Clone, tmp_path: Path) -> None:
    commit = clone.commit({"a": "1"})
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    clone.git("config", "core.fsmonitor", str(program))
    git = ForeignGit(clone.folder, 20.0)
    assert git.line("status", "--porcelain") == ""
    assert git.resolve("HEAD") == commit
    assert git.resolve("none") is None
    with pytest.raises(GitError, match="git show failed"):
        git.call("show", "none")
    assert not (tmp_path / "ran").exists()
    clone.git("status")
    assert (tmp_path / "ran").exists(), "else this test shows nothing"


@pytest.mark.parametrize("name", ["none", "empty"])
def test_a_folder_without_a_repository_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputMissingError, match=f"{name}: expected a git repository"):
        Commits(tmp_path / name)


Place = tuple[Path, Path, list[str]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A repository with two commits, and its worktree at the first."""
    repo = SessionRepo(tmp_path / "ré po" / ".git", "s")
    repo.create()
    first = repo.commit({"train.py": b"a = 1\n"}, "one", 0, None, "refs/ratchet/a")
    second = repo.commit({"train.py": b"a = 2\n"}, "two", 1, first, "refs/ratchet/b")
    folder = tmp_path / "wörk träe's" / "tree"
    assert show_commit(repo.folder, folder, first) == ""
    assert (folder / "train.py").read_text() == "a = 1\n"
    return repo.folder, folder, [first, second]


def test_edits_and_other_folders_are_left_alone(place: Place) -> None:
    repository, folder, commits = place
    with pytest.raises(StoreError, match="git checkout failed: fatal"):
        show_commit(repository, folder, "f" * 40)
    assert (folder / "train.py").read_text() == "a = 1\n"
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


def test_what_is_not_of_the_history_is_moved_before_a_worktree_goes(place: Place) -> None:
    repository, folder, _ = place
    keep = folder.with_name("kept")
    for path, text in {
        folder / "nötes" / "a b.txt": "untracked",
        folder / ".gitignore": "*.log\n",
        folder / "run.log": "ignored",
        folder / "train.py": "edited",
        keep / "run.log": "earlier",
    }.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert len(remove_worktree(repository, folder, keep)) == 4
    assert not folder.exists()
    assert (keep / "nötes" / "a b.txt").read_text() == "untracked"
    assert (keep / "train.py").read_text() == "edited"
    assert [(keep / n).read_text() for n in ("run.log", "run.log.2")] == ["earlier", "ignored"]
    assert len(git_output("worktree", "list", bare=repository).splitlines()) == 1
    assert remove_worktree(repository, folder, keep) == []


@pytest.mark.parametrize("case", ["as it was", "half made", "moved"])
def test_a_worktree_goes_on_to_the_next_commit(place: Place, case: str) -> None:
    repository, folder, commits = place
    if case == "half made":  # git was killed over it
        (folder / "train.py").unlink()
        (repository / "worktrees" / folder.name / "locked").write_text("initializing")
    if case == "moved":
        folder = folder.rename(folder.with_name("moved"))
    assert show_commit(repository, folder, commits[1]) == ""
    assert (folder / "train.py").read_text() == "a = 2\n"


def test_a_copy_of_everything_is_a_worktree_of_the_copy(place: Place, tmp_path: Path) -> None:
    repository, folder, commits = place
    copy = tmp_path / "copy"
    shutil.copytree(repository.parent, copy / "repo")
    shutil.copytree(folder, copy / "tree")
    assert show_commit(copy / "repo" / ".git", copy / "tree", commits[1]) == ""
    assert changed_in_worktree(folder) == []
    assert (folder / "train.py").read_text() == "a = 1\n"
    assert remove_worktree(copy / "repo" / ".git", copy / "tree", copy / "kept") == []
    assert show_commit(repository, folder, commits[1]) == ""
