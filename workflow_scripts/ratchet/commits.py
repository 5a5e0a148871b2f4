"""What a commit changed, as texts before and after, from anybody's repository.

Nothing is checked out and none of the repository's programs is run: only Git's
object store is read.  A commit that is not there, or has no parent, is no error;
logs outlive branches.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ratchet.errors import InputMissingError

# Hashes come from a log, so that nothing else may reach Git's command line.
_HASH = re.compile(r"[0-9a-f]{4,64}")
MOST_FILES = 20
LARGEST_BYTES = 1_000_000
SECONDS = 20.0


class Commits:
    """Reads commits of one repository; raises where there is none."""

    def __init__(self, folder: Path) -> None:
        import git  # slow to import, and only needed here

        self._git: Any = git.Git(str(folder))
        self._git.update_environment(
            GIT_CONFIG_GLOBAL=os.devnull,
            GIT_CONFIG_NOSYSTEM="1",
            GIT_NO_LAZY_FETCH="1",
            GIT_TERMINAL_PROMPT="0",
        )
        self._failures = (git.GitCommandError, git.GitCommandNotFound, OSError)
        try:
            if not folder.is_dir():  # else Git would look in the current folder
                raise NotADirectoryError("no such folder")
            self._git.rev_parse("--git-dir", kill_after_timeout=SECONDS)
        except self._failures as error:
            detail = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
            raise InputMissingError(
                f"{folder}: expected a git repository, found none that can be read "
                f"({''.join(detail).strip()}); leave out --repo to go by words"
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
