"""Every call of Git: the session's own repositories, and those of others.

Calls on our own repositories start the program directly: importing GitPython takes a
tenth of a second, in which Git makes twenty commits.  Repositories of others, which few
sessions have, are read through GitPython.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ratchet.base.errors import DataError, InputMissingError, StoreError
from ratchet.base.text import one_line

_ALONE = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C.UTF-8",
}
LEAST_FREE_BYTES = 1 << 16
FULL = ("No space left on device", "Out of diskspace")
"""What Git says of a full disk."""


def call_git(
    *words: str,
    bare: Path | None = None,
    within: Path | None = None,
    given: bytes = b"",
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run Git on the repository ``bare``, in the folder ``within``, or on no repository.

    Nobody's settings, hooks or variables change what it does.
    """
    outside = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    place = [f"--git-dir={bare.resolve()}"] if bare else ["-C", str(within)] if within else []
    return subprocess.run(
        ["git", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*", *place, *words],
        env={**outside, **_ALONE, **(variables or {})},
        input=given,
        capture_output=True,
        check=False,
    )


def _is_full(place: Path | None) -> bool:
    """Whether hardly a file can be written; some of Git's messages leave the reason out."""
    try:
        found = os.statvfs(place or Path())
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < LEAST_FREE_BYTES


def git_output(
    *words: str, bare: Path | None = None, within: Path | None = None, given: bytes = b""
) -> str:
    """Output of a Git command, without its last line's end; :class:`StoreError` if it fails."""
    done = call_git(*words, bare=bare, within=within, given=given)
    if done.returncode:
        said = one_line(done.stderr.decode(errors="replace"))
        if any(sign in said for sign in FULL) or ("write" in said and _is_full(within or bare)):
            raise StoreError(f"{within or bare}: the disk is full; free some, start again")
        raise StoreError(f"{within or bare}: git {words[0]} failed: {said}")
    return done.stdout.decode(errors="surrogateescape").rstrip("\n")


class GitError(DataError):
    """Git failed on somebody's repository; ``said`` is its complaint."""

    def __init__(self, folder: Path, command: str, said: str) -> None:
        super().__init__(f"{folder}: git {command} failed ({one_line(said)[:300]})")
        self.said = said


class ForeignGit:
    """Commands in a repository that is not ours: nothing of it is run, nothing is asked."""

    def __init__(self, folder: Path, seconds: float, **variables: str) -> None:
        import git  # slow to import

        self.folder = folder
        self._seconds = seconds
        self._commands = git.Git(str(folder))
        self._commands.update_environment(GIT_TERMINAL_PROMPT="0", **variables)
        self._failures = (git.GitCommandError, git.GitCommandNotFound, OSError)

    def call(self, *words: str, istream: Any = None) -> bytes:
        """Output of a Git command as bytes; raises :class:`GitError`."""
        # A monitor of files is a program that a clone's settings name.
        command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *words]
        try:
            printed: bytes = self._commands.execute(
                command,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
                kill_after_timeout=self._seconds,
                istream=istream,
            )
        except self._failures as error:
            raise GitError(self.folder, words[0], _complaint(error)) from None
        return printed

    def line(self, *words: str) -> str:
        """A command's only line; raises :class:`GitError`."""
        return os.fsdecode(self.call(*words)).strip()

    def resolve(self, revision: str) -> str | None:
        """The whole hash of what a revision names; ``None`` if nothing has that name."""
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", revision)
        try:
            return self.line(*words) or None
        except GitError:
            return None

    @cached_property
    def prefix(self) -> str:
        """Path of the folder within its repository: empty, or ending with a slash."""
        return self.line("rev-parse", "--show-prefix")


def _complaint(error: Any) -> str:
    text = getattr(error, "stderr", "") or str(error)
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return text.strip().removeprefix("stderr:").strip(" '\n") or "no reason given"


# Hashes come from a log, so that nothing else may reach Git's command line.
_HASH = re.compile(r"[0-9a-f]{4,64}")
MOST_FILES = 100
LARGEST_BYTES = 1_000_000
SECONDS = 20.0


class Commits:
    """Reads commits of one repository; raises :class:`InputMissingError` where there is none.

    No sources are the files called as one of ``besides``, such as the log that is read.
    Nothing is checked out.  A commit that is not there, or has no parent, is no error;
    logs outlive branches.
    """

    def __init__(self, folder: Path, besides: Collection[str] = ()) -> None:
        self._besides = besides
        self._git = ForeignGit(
            folder,
            SECONDS,
            GIT_CONFIG_GLOBAL=os.devnull,
            GIT_CONFIG_NOSYSTEM="1",
            GIT_NO_LAZY_FETCH="1",
        )
        try:
            if not folder.is_dir():  # else Git would look in the current folder
                raise GitError(folder, "rev-parse", "no such folder")
            self._git.line("rev-parse", "--git-dir")
        except GitError as error:
            detail = "".join(error.said.splitlines()[-1:]).strip()
            raise InputMissingError(
                f"{folder}: expected a git repository, found none that can be read ({detail}); "
                "name a clone with --repo, or leave out --repo to go by the log alone"
            ) from None

    def full(self, commit: str) -> str | None:
        """The whole hash of a commit that a log names; ``None`` if it is not there."""
        name = commit.strip().lower()
        return self._git.resolve(f"{name}^{{commit}}") if _HASH.fullmatch(name) else None

    def parent(self, commit: str) -> str | None:
        """A commit's (first) parent, by whole hashes; ``None`` for the first of all."""
        return self._git.resolve(f"{commit}^^{{commit}}")

    def sources(self, commit: str) -> tuple[dict[str, str], dict[str, str]] | None:
        """Text files that a commit changed, before and after; ``None`` if unknown."""
        name = commit.strip().lower()
        if not _HASH.fullmatch(name):
            return None
        try:
            parts = self._differences(f"{name}^", name)
            old_texts: dict[str, str] = {}
            new_texts: dict[str, str] = {}
            for head, path in zip(parts[::2], parts[1::2], strict=False):
                if path.rpartition("/")[2] in self._besides or len(new_texts) >= MOST_FILES:
                    continue
                old_mode, new_mode, old_blob, new_blob = head.lstrip(":").split()[:4]
                before, after = self._blob(old_mode, old_blob), self._blob(new_mode, new_blob)
                if before is not None and after is not None and b"\0" not in before + after:
                    old_texts[path] = before.decode(errors="replace")
                    new_texts[path] = after.decode(errors="replace")
        except GitError:
            return None
        return old_texts, new_texts

    def changed(self, old: str, new: str) -> list[str] | None:
        """Names of the files in which two commits differ, below the given folder.

        Names elsewhere in the repository begin with ``/``; ``None`` if it cannot be told.
        """
        try:
            here, names = self._git.prefix, self._differences("--name-only", old, new)
        except GitError:
            return None
        return [name[len(here) :] if name.startswith(here) else f"/{name}" for name in names]

    def contents(self, commit: str, names: Sequence[str]) -> dict[str, bytes | None]:
        """Files of a commit byte by byte, by their names below the folder that was given.

        ``None`` for a name that is no file there, and for one of more than
        :data:`LARGEST_BYTES`.
        """
        return {name: self._content(commit, name) for name in names}

    def _content(self, commit: str, name: str) -> bytes | None:
        try:
            path = f"{self._git.prefix}{name}"
            listed = self._git.line("ls-tree", "-z", "--full-tree", commit, "--", path)
            fields = listed.partition("\t")[0].split()
            return self._blob(fields[0], fields[2]) if fields else None
        except GitError:
            return None

    def _differences(self, *words: str) -> list[str]:
        """Fields that ``diff-tree`` lists for two commits, one after the other."""
        words = ("diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", *words, "--")
        return [part for part in os.fsdecode(self._git.call(*words)).split("\0") if part]

    def _blob(self, mode: str, blob: str) -> bytes | None:
        """A file's bytes; empty where there is no file, ``None`` if it is none or too large."""
        if not blob.strip("0"):
            return b""
        if not mode.startswith("100"):
            return None
        if int(self._git.line("cat-file", "-s", blob)) > LARGEST_BYTES:
            return None
        return self._git.call("cat-file", "blob", blob)


def show_commit(repository: Path, folder: Path, commit: str) -> str:
    """Check out ``commit`` in the worktree ``folder``, which is made if need be.

    A worktree is for people to look at; nothing is read from it.  Returns why it was
    left as it is, if it was: somebody edited it, or something else lies there.  Raises
    :class:`StoreError` if git fails.
    """
    place = str(folder.resolve())
    if folder.exists() and _is_half_made(repository, folder):
        git_output("worktree", "remove", "-f", "-f", place, bare=repository)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        folder.parent.mkdir(parents=True, exist_ok=True)
        git_output("worktree", "prune", bare=repository)
        git_output("worktree", "add", "--quiet", "--detach", place, commit, bare=repository)
        return ""
    if not belongs_to_repository(repository, folder):
        return "something else lies there; the worktree is not made"
    if changed_in_worktree(folder):
        return "has edits of its own and is left as it is"
    git_output("checkout", "--quiet", "--detach", commit, within=folder)
    return ""


def _is_half_made(repository: Path, folder: Path) -> bool:
    """Whether git was killed while it made a worktree: git says so in a file."""
    if not belongs_to_repository(repository, folder):
        return False
    place = folder / git_output("rev-parse", "--git-dir", within=folder)
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
        call_git("worktree", "repair", str(folder.resolve()), bare=repository)
    common = os.fsdecode(call_git("rev-parse", "--git-common-dir", within=folder).stdout).strip()
    return bool(common) and (folder / common).resolve() == repository.resolve()


def changed_in_worktree(folder: Path) -> list[str]:
    """Files of the history that were edited or removed in a worktree."""
    return _names("diff", "--name-only", "-z", "HEAD", "--", within=folder)


def _names(*words: str, within: Path) -> list[str]:
    return [name for name in git_output(*words, within=within).split("\0") if name]


def remove_worktree(repository: Path, folder: Path, keep: Path) -> list[str]:
    """Remove a worktree; what is not of the history goes to ``keep`` first.

    Returns the names of what was moved: untracked files, ignored ones too, and copies
    of edited ones.  Raises :class:`StoreError` for a folder that is no worktree of this
    repository.
    """
    if not folder.exists():
        git_output("worktree", "prune", bare=repository)
        return []
    if not belongs_to_repository(repository, folder):
        raise StoreError(
            f"{folder}: expected a worktree of {repository}, found something else; it is left alone"
        )
    left = [
        *_names("ls-files", "--others", "-z", within=folder),
        *(n for n in changed_in_worktree(folder) if os.path.lexists(folder / n)),
    ]
    for name in left:
        target = _free(keep / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(str(folder / name), str(target))
    git_output("worktree", "remove", "--force", str(folder.resolve()), bare=repository)
    return left


def _free(path: Path) -> Path:
    """A name that nothing has yet: ``notes.txt``, ``notes.txt.2``, ..."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
