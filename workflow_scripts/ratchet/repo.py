"""The session's git history: every candidate a commit, in a repository of its own.

The repository is bare and lies in the session's folder, so the user's checkout
is never touched.  Author and dates are fixed (commit ``n`` is dated ``n``
seconds after the start of the year 2000), so that equal sessions have equal
commits; ``events.jsonl`` knows the real times.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

EPOCH_SECONDS = 946_684_800
IDENTITY = {"NAME": "Ratchet", "EMAIL": "ratchet@localhost"}


class SessionRepo:
    """Plumbing over one bare repository."""

    def __init__(self, folder: Path, session: str) -> None:
        self.folder = folder
        self.branch = f"refs/heads/ratchet/{session}"

    @functools.cached_property
    def _git(self) -> Any:
        import git  # most stages only pass a repository on

        command = git.Git()
        command.update_environment(
            GIT_DIR=str(self.folder.resolve()),
            # Nobody's settings, hooks or templates change what is recorded.
            GIT_CONFIG_GLOBAL=os.devnull,
            GIT_CONFIG_NOSYSTEM="1",
        )
        return command

    def create(self) -> None:
        """Make the repository; does nothing if it is there."""
        if (self.folder / "HEAD").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._git.init("--bare", "--quiet", f"--initial-branch={self.branch[11:]}", "--template=")

    def commit(
        self,
        content: Mapping[str, bytes],
        message: str,
        number: int,
        parent: str | None,
        ref: str,
    ) -> str:
        """Record files as a commit under ``ref``; returns its id.

        The same arguments give the same id.
        """
        stamp = f"{EPOCH_SECONDS + number} +0000"
        who = {
            f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in IDENTITY.items()
        }
        when = {"GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp}
        arguments = [self._tree(content), "-F", "-"] + (["-p", parent] if parent else [])
        message_stream = _stdin(message.encode())
        with self._git.custom_environment(**who, **when), message_stream as stream:
            commit = str(self._git.commit_tree(*arguments, istream=stream))
        self._point(ref, commit)
        return commit

    def _tree(self, content: Mapping[str, bytes]) -> str:
        entries = []
        for name, data in sorted(content.items()):
            with _stdin(data) as stream:
                blob = self._git.hash_object("-w", "--stdin", istream=stream)
            entries.append(f"100644 {blob}\t{name}\0")
        index = self.folder / f"index-{os.getpid()}"
        try:
            with self._git.custom_environment(GIT_INDEX_FILE=str(index.resolve())):
                with _stdin("".join(entries).encode()) as stream:
                    self._git.update_index("-z", "--add", "--index-info", istream=stream)
                return str(self._git.write_tree())
        finally:
            index.unlink(missing_ok=True)

    def tip(self) -> str | None:
        """The commit that the session's branch is at."""
        return self._resolve(self.branch)

    def advance(self, commit: str) -> None:
        """Move the branch forward to a kept commit.

        A branch that is already past it stays (a replay of an early round); a
        tip that would become unreachable is kept under ``refs/ratchet``.
        """
        tip = self.tip()
        if tip is not None and self._is_ancestor(commit, tip):
            return
        self.settle(commit)

    def settle(self, commit: str) -> None:
        """Put the branch exactly on ``commit``; nothing becomes unreachable."""
        self._point(self.branch, commit)

    def _point(self, ref: str, commit: str) -> None:
        """Set a ref; what it pointed to stays reachable."""
        old = self._resolve(ref)
        if old == commit:
            return
        if old is not None and not self._is_ancestor(old, commit):
            self._git.update_ref(f"refs/ratchet/superseded/{old[:12]}", old)
        self._git.update_ref(ref, commit)

    def _resolve(self, ref: str) -> str | None:
        return str(self._git.for_each_ref("--format=%(objectname)", ref)) or None

    def _is_ancestor(self, older: str, newer: str) -> bool:
        status, _, _ = self._git.merge_base(
            "--is-ancestor", older, newer, with_extended_output=True, with_exceptions=False
        )
        return bool(status == 0)

    def clear_stale_locks(self) -> None:
        """Remove locks that a killed git left; only while nobody else lives."""
        for pattern in ("*.lock", "refs/**/*.lock", "index-*"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _stdin(data: bytes) -> Iterator[IO[bytes]]:
    """Bytes as the real file that a child process wants as its input."""
    with tempfile.TemporaryFile() as stream:
        stream.write(data)
        stream.seek(0)
        yield stream


def protect(folder: Path) -> None:
    """Make ``git clean`` in an enclosing checkout leave ``folder`` alone.

    Git does not delete what belongs to another repository unless told twice
    (``-ff``), so the folder gets an empty one.
    """
    if not (folder / ".git" / "HEAD").exists():
        SessionRepo(folder / ".git", "none").create()
