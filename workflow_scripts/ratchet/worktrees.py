"""Git worktrees that show a session's incumbent.

A worktree is for people to look at; nothing is read from it.  What somebody edited
or left there is never overwritten and never deleted.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ratchet import git
from ratchet.errors import StoreError
from ratchet.results_tsv import one_line


def show(repository: Path, folder: Path, commit: str) -> str:
    """Check out ``commit`` in the worktree ``folder``, which is made if need be.

    Returns why it was left as it is, if it was: somebody edited it, or something
    else lies there.  Raises :class:`StoreError` if git fails.
    """
    if folder.exists() and _is_half_made(repository, folder):
        _git(repository, None, "worktree", "remove", "-f", "-f", str(folder.resolve()))
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _git(repository, None, "worktree", "prune")
        _git(
            repository,
            None,
            "worktree",
            "add",
            "--quiet",
            "--detach",
            str(folder.resolve()),
            commit,
        )
        return ""
    if not belongs(repository, folder):
        return "something else lies there; the worktree is not made"
    if changed(folder):
        return "has edits of its own and is left as it is"
    _git(None, folder, "checkout", "--quiet", "--detach", commit)
    return ""


def _is_half_made(repository: Path, folder: Path) -> bool:
    """Whether git was killed while it made a worktree: git says so in a file."""
    if not belongs(repository, folder):
        return False
    place = folder / _git(None, folder, "rev-parse", "--git-dir")
    try:
        return (place / "locked").read_text().strip() == "initializing"
    except OSError:
        return False


def belongs(repository: Path, folder: Path) -> bool:
    """Whether a folder is a worktree of this repository.

    One that was moved or copied together with it is mended: git keeps full paths.
    """
    link = folder / ".git"
    if not link.is_file():
        return False
    own = repository.resolve() / "worktrees" / Path(os.fsdecode(link.read_bytes()).strip()).name
    if own.is_dir():
        link.write_bytes(b"gitdir: " + os.fsencode(own) + b"\n")
        _git(repository, None, "worktree", "repair", str(folder.resolve()), check=False)
    found = _git(None, folder, "rev-parse", "--git-common-dir", check=False)
    return bool(found) and (folder / found).resolve() == repository.resolve()


def changed(folder: Path) -> list[str]:
    """Files of the history that were edited or removed in a worktree."""
    text = _git(None, folder, "diff", "--name-only", "-z", "HEAD", "--")
    return [name for name in text.split("\0") if name]


def untracked(folder: Path) -> list[str]:
    """Files in a worktree that are not of the history, ignored ones too."""
    text = _git(None, folder, "ls-files", "--others", "-z")
    return [name for name in text.split("\0") if name]


def remove(repository: Path, folder: Path, keep: Path) -> list[str]:
    """Remove a worktree; what is not of the history goes to ``keep`` first.

    Returns the names of what was moved: untracked files, and copies of edited ones.
    Raises :class:`StoreError` for a folder that is no worktree of this repository.
    """
    if not folder.exists():
        _git(repository, None, "worktree", "prune")
        return []
    if not belongs(repository, folder):
        raise StoreError(
            f"{folder}: expected a worktree of {repository}, found something else; it is left alone"
        )
    left = [*untracked(folder), *(n for n in changed(folder) if os.path.lexists(folder / n))]
    for name in left:
        target = _free(keep / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(str(folder / name), str(target))
    _git(repository, None, "worktree", "remove", "--force", str(folder.resolve()))
    return left


def _free(path: Path) -> Path:
    """A name that nothing has yet: ``notes.txt``, ``notes.txt.2``, ..."""
    number, found = 1, path
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.name}.{number}")
    return found


def _git(repository: Path | None, folder: Path | None, *words: str, check: bool = True) -> str:
    """What Git prints on a repository or within a worktree."""
    done = git.call(*words, bare=repository, within=folder)
    text = done.stdout.decode("utf-8", errors="surrogateescape")
    if done.returncode and check:
        said = git.complaint(done).splitlines()[-1:]
        raise StoreError(
            f"{folder or repository}: git {words[0]} failed: {one_line(''.join(said))}"
        )
    return text.rstrip("\n") if "-z" not in words else text
