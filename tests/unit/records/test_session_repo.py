"""The session's history: deterministic commits, nothing ever unreachable."""

import subprocess
from pathlib import Path

import pytest

from ratchet.base.git import git_output
from ratchet.records.session_repo import SessionRepo, protect_folder


@pytest.fixture
def repo(tmp_path: Path) -> SessionRepo:
    made = SessionRepo(tmp_path / "session ä" / ".git", "night-1")
    made.create()
    return made


def git(repo: SessionRepo, *words: str) -> str:
    return git_output(*words, bare=repo.folder)


def commit(repo: SessionRepo, number: int, parent: str | None = None, text: str = "") -> str:
    content = {"train.py": f"# {number}{text}\n".encode(), "lib/a b.py": b"\xff\x00"}
    name = f"refs/ratchet/experiments/{number}"
    return repo.commit(content, f"Try {number}\n", number, parent, name)


def test_commits_are_the_same_everywhere(repo: SessionRepo, tmp_path: Path, monkeypatch) -> None:
    first = commit(repo, 1)
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = Else\n[core]\n\tautocrlf = true\n")
    other = SessionRepo(tmp_path / "other" / ".git", "night-1")
    other.create()
    assert commit(other, 1) == first
    shown = git(repo, "show", "--no-patch", "--format=%an %ae %aI %cI %s", first)
    moment = "2000-01-01T00:00:01+00:00"
    assert shown == f"Ratchet ratchet@localhost {moment} {moment} Try 1"
    assert git(repo, "ls-tree", "-r", "--name-only", first) == "lib/a b.py\ntrain.py"


def test_the_branch_advances_on_keeps_and_nothing_becomes_unreachable(repo: SessionRepo) -> None:
    base = commit(repo, 0)
    # The lock of a killed git.
    lock = repo.folder / "refs" / "heads" / "ratchet" / "night-1.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    repo.clear_stale_locks()
    repo.advance(base)
    assert repo.tip() == base
    old, new = commit(repo, 1, base), commit(repo, 2, base)
    repo.advance(old)
    assert repo.tip() == old == git(repo, "rev-parse", "ratchet/night-1")
    repo.advance(base)  # a replay of an early round
    assert repo.tip() == old
    repo.advance(new)
    assert repo.tip() == new
    repo.settle(base)
    assert repo.tip() == base
    again = commit(repo, 1, base, "different")
    for sha in (base, old, new, again):
        assert sha in git(repo, "rev-list", "--all").split()
    git(repo, "gc", "--prune=now", "--quiet")
    assert git(repo, "cat-file", "-t", old) == "commit"


def test_git_clean_leaves_protected_folders_alone(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for name in ("kept", "lost"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record").write_text("x")
    protect_folder(tmp_path / "kept")
    protect_folder(tmp_path / "kept")
    subprocess.run(["git", "-C", str(tmp_path), "clean", "-fdxq"], check=True)
    assert (tmp_path / "kept" / "record").exists()
    assert not (tmp_path / "lost").exists()
