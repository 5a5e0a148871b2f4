"""Git repositories of others: commits, trees, worktrees, merges."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ratchet.base.errors import InputMissingError, StoreError
from ratchet.base.text import one_line

# --------------------------------------------------------------------
# Git: our own calls, and GitPython for repositories that are not ours.
#
# Nobody's settings, hooks or variables change what our calls do.  They start the program
# directly: GitPython takes longer to import than Git takes to make a commit.

_ALONE = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C.UTF-8",
}


def call_git(
    *words: str,
    bare: Path | None = None,
    within: Path | None = None,
    given: bytes = b"",
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run Git on the repository ``bare``, in the folder ``within``, or on no repository."""
    outside = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    place = [f"--git-dir={bare.resolve()}"] if bare else ["-C", str(within)] if within else []
    return subprocess.run(
        ["git", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*", *place, *words],
        env={**outside, **_ALONE, **(variables or {})},
        input=given,
        capture_output=True,
        check=False,
    )


def complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    """What Git said of a call that failed."""
    return done.stderr.decode(errors="replace").strip()


def open_foreign(folder: Path, **variables: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """GitPython's commands in somebody's repository, and the exceptions of failed ones."""
    import git  # slow to import, and most sessions have files of their own

    commands = git.Git(str(folder))
    commands.update_environment(GIT_TERMINAL_PROMPT="0", **variables)
    return commands, (git.GitCommandError, git.GitCommandNotFound)


# --------------------------------------------------------------------
# What commits changed, and what files they hold, from anybody's repository.
#
# Nothing is checked out and none of the repository's programs is run: only Git's
# object store is read.  A commit that is not there, or has no parent, is no error;
# logs outlive branches.

# Hashes come from a log, so that nothing else may reach Git's command line.
_HASH = re.compile(r"[0-9a-f]{4,64}")
MOST_FILES = 20
LARGEST_BYTES = 1_000_000
SECONDS = 20.0


class Commits:
    """Reads commits of one repository; raises where there is none."""

    def __init__(self, folder: Path) -> None:
        self._git, failures = open_foreign(
            folder, GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", GIT_NO_LAZY_FETCH="1"
        )
        self._failures: tuple[type[Exception], ...] = (*failures, OSError)
        try:
            if not folder.is_dir():  # else Git would look in the current folder
                raise NotADirectoryError("no such folder")
            self._git.rev_parse("--git-dir", kill_after_timeout=SECONDS)
        except self._failures as error:
            detail = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
            raise InputMissingError(
                f"{folder}: expected a git repository, found none that can be read "
                f"({''.join(detail).strip()}); name a clone with --repo, or leave out --repo to go "
                "by the log alone"
            ) from None

    def sources(self, commit: str) -> tuple[dict[str, str], dict[str, str]] | None:
        """Python files that a commit changed, before and after; ``None`` if unknown."""
        name = commit.strip().lower()
        if not _HASH.fullmatch(name):
            return None
        try:
            raw = str(
                self._git.diff_tree(
                    "-r",
                    "-z",
                    "--no-renames",
                    "--no-ext-diff",
                    f"{name}^",
                    name,
                    "--",
                    kill_after_timeout=SECONDS,
                )
            )
            return self._texts(raw)
        except self._failures:
            return None

    def full(self, commit: str) -> str | None:
        """The whole hash of a commit that a log names; ``None`` if it is not there."""
        name = commit.strip().lower()
        if not _HASH.fullmatch(name):
            return None
        return self._resolved(name)

    def parent(self, commit: str) -> str | None:
        """A commit's (first) parent, by whole hashes; ``None`` for the first of all."""
        return self._resolved(f"{commit}^")

    def _resolved(self, revision: str) -> str | None:
        try:
            words = ("--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
            return str(self._git.rev_parse(*words, kill_after_timeout=SECONDS)).strip() or None
        except self._failures:
            return None

    def contents(self, commit: str, names: Sequence[str]) -> dict[str, bytes | None]:
        """Files of a commit byte by byte, by their names below the folder that was given.

        ``None`` for a name that is no file there, and for one of more than
        :data:`LARGEST_BYTES`.
        """
        return {name: self._content(commit, name) for name in names}

    def _content(self, commit: str, name: str) -> bytes | None:
        try:
            listed = str(
                self._git.ls_tree(
                    "-z", "--full-tree", commit, "--", f"{self._prefix}{name}",
                    kill_after_timeout=SECONDS,
                )
            )  # fmt: skip
            fields = listed.partition("\t")[0].split()
            if len(fields) != 3 or not fields[0].startswith("100"):
                return None
            if int(self._git.cat_file("-s", fields[2], kill_after_timeout=SECONDS)) > LARGEST_BYTES:
                return None
            found: bytes = self._git.cat_file(
                "blob",
                fields[2],
                stdout_as_string=False,
                strip_newline_in_stdout=False,
                kill_after_timeout=SECONDS,
            )
            return found
        except self._failures:
            return None

    @cached_property
    def _prefix(self) -> str:
        """Where the given folder lies within its repository."""
        try:
            return str(self._git.rev_parse("--show-prefix", kill_after_timeout=SECONDS)).strip()
        except self._failures:
            return ""

    def changed(self, old: str, new: str) -> list[str] | None:
        """Names of the files in which two commits differ, below the given folder.

        Names elsewhere in the repository begin with ``/``; ``None`` if it cannot be told.
        """
        try:
            raw = str(
                self._git.diff_tree(
                    "-r", "-z", "--no-renames", "--name-only", "--no-ext-diff", old, new, "--",
                    kill_after_timeout=SECONDS,
                )
            )  # fmt: skip
        except self._failures:
            return None
        here, names = self._prefix, [name for name in raw.split("\0") if name]
        return [name[len(here) :] if name.startswith(here) else f"/{name}" for name in names]

    def _texts(self, raw: str) -> tuple[dict[str, str], dict[str, str]]:
        """Texts of the files in ``diff-tree``'s list."""
        parts = raw.split("\0")
        old: dict[str, str] = {}
        new: dict[str, str] = {}
        for head, name in zip(parts[::2], parts[1::2], strict=False):
            fields = head.lstrip(":").split()
            if len(fields) < 4 or not name.endswith(".py") or len(new) >= MOST_FILES:
                continue
            before, after = self._blob(fields[0], fields[2]), self._blob(fields[1], fields[3])
            if before is not None and after is not None:
                old[name], new[name] = before, after
        return old, new

    def _blob(self, mode: str, blob: str) -> str | None:
        """A file's text; empty where there is no file, ``None`` if it is no text."""
        if not blob.strip("0"):
            return ""
        if not mode.startswith("100"):
            return None
        if int(self._git.cat_file("-s", blob, kill_after_timeout=SECONDS)) > LARGEST_BYTES:
            return None
        data: bytes = self._git.cat_file(
            "blob", blob, stdout_as_string=False, kill_after_timeout=SECONDS
        )
        return data.decode(errors="replace")


# --------------------------------------------------------------------
# Git worktrees that show a session's incumbent.
#
# A worktree is for people to look at; nothing is read from it.  What somebody edited
# or left there is never overwritten and never deleted.


def show_commit(repository: Path, folder: Path, commit: str) -> str:
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
    if not belongs_to_repository(repository, folder):
        return "something else lies there; the worktree is not made"
    if changed_in_worktree(folder):
        return "has edits of its own and is left as it is"
    _git(None, folder, "checkout", "--quiet", "--detach", commit)
    return ""


def _is_half_made(repository: Path, folder: Path) -> bool:
    """Whether git was killed while it made a worktree: git says so in a file."""
    if not belongs_to_repository(repository, folder):
        return False
    place = folder / _git(None, folder, "rev-parse", "--git-dir")
    try:
        return (place / "locked").read_text().strip() == "initializing"
    except OSError:
        return False


def belongs_to_repository(repository: Path, folder: Path) -> bool:
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


def changed_in_worktree(folder: Path) -> list[str]:
    """Files of the history that were edited or removed in a worktree."""
    text = _git(None, folder, "diff", "--name-only", "-z", "HEAD", "--")
    return [name for name in text.split("\0") if name]


def untracked_in_worktree(folder: Path) -> list[str]:
    """Files in a worktree that are not of the history, ignored ones too."""
    text = _git(None, folder, "ls-files", "--others", "-z")
    return [name for name in text.split("\0") if name]


def remove_worktree(repository: Path, folder: Path, keep: Path) -> list[str]:
    """Remove a worktree; what is not of the history goes to ``keep`` first.

    Returns the names of what was moved: untracked files, and copies of edited ones.
    Raises :class:`StoreError` for a folder that is no worktree of this repository.
    """
    if not folder.exists():
        _git(repository, None, "worktree", "prune")
        return []
    if not belongs_to_repository(repository, folder):
        raise StoreError(
            f"{folder}: expected a worktree of {repository}, found something else; it is left alone"
        )
    left = [
        *untracked_in_worktree(folder),
        *(n for n in changed_in_worktree(folder) if os.path.lexists(folder / n)),
    ]
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
    done = call_git(*words, bare=repository, within=folder)
    text = done.stdout.decode("utf-8", errors="surrogateescape")
    if done.returncode and check:
        said = complaint(done).splitlines()[-1:]
        raise StoreError(
            f"{folder or repository}: git {words[0]} failed: {one_line(''.join(said))}"
        )
    return text.rstrip("\n") if "-z" not in words else text
