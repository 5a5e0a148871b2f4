"""One commit of somebody's repository, copied into the store without touching the clone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.repositories import git
from ratchet.base.errors import DataError, InputMissingError
from ratchet.records.paths import StorePaths
from ratchet.records.records import Origin
from ratchet.task.repository import check_out_commit, expand_files, is_url, values_of

FILES = {
    "train.py": b"x = 1\r\n",
    "lib/a.py": b"\xff\0\n",
    "lib/b c/d.py": b"",
    "r\xc3\xa9.md": b"\n",
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / ".gitattributes").write_text("*.py text eol=lf export-ignore\n*.md export-subst\n")
    (folder / "run.sh").write_text("true\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("/etc/passwd")
    git(folder, "-c", "core.autocrlf=false", "add", "--all")
    git(folder, "commit", "--quiet", "--message", "one")
    git(folder, "tag", "v1")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> StorePaths:
    return StorePaths(tmp_path / "store")


def test_a_commit_is_copied_once_and_by_content(clone: Path, store: StorePaths) -> None:
    (clone / "results.tsv").write_text("mine\n")
    (clone / "train.py").write_text("x = 2\n")
    found = check_out_commit("a clone", "HEAD", clone.parent, store)
    assert found.origin.repo == "a clone"
    assert found.origin.commit == git(clone, "rev-parse", "HEAD").strip()
    assert found.origin.tree == git(clone, "rev-parse", "HEAD^{tree}").strip()
    assert found.folder == store.tree(found.origin.tree)
    assert found.clone == clone
    assert found.dirty == ("train.py",)
    copied = {
        str(p.relative_to(found.folder)): p.read_bytes()
        for p in found.folder.rglob("*")
        if p.is_file()
    }
    assert copied.pop(".gitattributes").startswith(b"*.py")
    assert copied.pop("run.sh") == b"true\n"
    # Whatever attributes say, the bytes are those that Git keeps; links lead nowhere.
    assert copied == {**FILES, "train.py": b"x = 1\n"}
    assert os.access(found.folder / "run.sh", os.X_OK)
    assert not (found.folder / "train.py").stat().st_mode & 0o222

    git(clone, "checkout", "--quiet", "--", "train.py")
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "two")
    again = check_out_commit("a clone", "main", clone.parent, store)
    assert again.origin.commit != found.origin.commit
    assert again.folder == found.folder
    assert again.dirty == ()


def test_a_frozen_commit_needs_neither_branch_nor_clone(clone: Path, store: StorePaths) -> None:
    first = check_out_commit(str(clone), "v1", Path(), store).origin
    (clone / "train.py").write_text("x = 3\n")
    git(clone, "commit", "--quiet", "--all", "--message", "two")
    git(clone, "tag", "--force", "v1")
    assert check_out_commit(str(clone), "v1", Path(), store).origin != first
    assert check_out_commit(str(clone), "v1", Path(), store, first).origin == first
    fresh = StorePaths(store.root.with_name("other"))
    found = check_out_commit(str(clone), "v1", Path(), fresh, first)
    assert (found.folder / "train.py").read_bytes() == b"x = 1\n"
    clone.rename(clone.with_name("moved"))
    assert check_out_commit(str(clone), "v1", Path(), store, first).origin == first


def test_an_address_is_fetched_and_then_needed_no_more(clone: Path, store: StorePaths) -> None:
    address = f"file://{clone}"
    full = git(clone, "rev-parse", "HEAD").strip()
    for commit in ("main", "v1", "HEAD", full[:8], full):
        found = check_out_commit(address, commit, Path("/nowhere"), store)
        assert (found.origin.commit, found.clone, found.dirty) == (full, None, ())
        assert (found.folder / "lib" / "a.py").read_bytes() == FILES["lib/a.py"]
    clone.rename(clone.with_name("moved"))
    assert check_out_commit(address, full, Path(), store).origin.commit == full
    with pytest.raises(InputMissingError, match="cannot be fetched"):
        check_out_commit(address, "other", Path(), store)
    with pytest.raises(InputMissingError, match=r"cannot be fetched .*look at the address"):
        check_out_commit(f"file://{clone}.none", "main", Path(), store)


def test_a_folder_of_a_repository_has_its_own_tree(clone: Path, store: StorePaths) -> None:
    found = check_out_commit(str(clone / "lib"), "HEAD", Path(), store)
    assert found.origin.tree == git(clone, "rev-parse", "HEAD:lib").strip()
    assert (found.folder / "a.py").is_file()
    (clone / "untracked").mkdir()
    with pytest.raises(InputMissingError, match="has no files in this folder"):
        check_out_commit(str(clone / "untracked"), "HEAD", Path(), store)


@pytest.mark.parametrize("commit", ["mar9", "--all", "HEAD~5", "v1:train.py", "0" * 40])
def test_no_such_commit(clone: Path, store: StorePaths, commit: str) -> None:
    with pytest.raises(InputMissingError, match="has no commit"):
        check_out_commit(str(clone), commit, Path(), store)
    assert not list(store.root.rglob("*.py"))


def test_no_such_repository(tmp_path: Path, store: StorePaths) -> None:
    with pytest.raises(InputMissingError, match="expected a clone of a repository at"):
        check_out_commit("none", "HEAD", tmp_path, store)
    (tmp_path / "plain").mkdir()
    with pytest.raises((InputMissingError, DataError), match="expected a git repository"):
        check_out_commit("plain", "HEAD", tmp_path, store)


def test_a_commit_of_another_tree_than_before_is_refused(clone: Path, store: StorePaths) -> None:
    found = check_out_commit(str(clone), "HEAD", Path(), store).origin
    bent = Origin(found.repo, found.commit, "0" * 40)
    with pytest.raises(DataError, match="has another tree than when the session started"):
        check_out_commit(str(clone), "HEAD", Path(), store, bent)


@pytest.mark.parametrize(
    ("repo", "url"),
    [
        ("https://host/a/b.git", True),
        ("git@host:a/b.git", True),
        ("file:///a/b", True),
        ("~/a/b", False),
        ("/a/b:c", False),
        ("a@b/c", False),
    ],
)
def test_paths_and_addresses_are_told_apart(repo: str, url: bool) -> None:
    assert is_url(repo) is url


def test_folders_stand_for_their_files(tmp_path: Path) -> None:
    for name in ("a/x.py", "a/b/y.py", "z.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert expand_files(["z.py", "a/"], tmp_path) == ["z.py", "a/b/y.py", "a/x.py"]
    data = {"mutable": ["a/x.py"], "fixed": ["a/", "z.py"], "name": "n"}
    assert values_of(data, tmp_path) == {**data, "fixed": ["a/b/y.py", "z.py"]}
    with pytest.raises(InputMissingError, match="no files in none/"):
        expand_files(["none/"], tmp_path)
