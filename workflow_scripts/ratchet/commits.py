"""What commits changed, and what files they hold, from anybody's repository.

Nothing is checked out and none of the repository's programs is run: only Git's
object store is read.  A commit that is not there, or has no parent, is no error;
logs outlive branches.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ratchet.errors import InputMissingError
from ratchet.git import foreign

# Hashes come from a log, so that nothing else may reach Git's command line.
_HASH = re.compile(r"[0-9a-f]{4,64}")
MOST_FILES = 20
LARGEST_BYTES = 1_000_000
SECONDS = 20.0


class Commits:
    """Reads commits of one repository; raises where there is none."""

    def __init__(self, folder: Path) -> None:
        self._git, failures = foreign(
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
