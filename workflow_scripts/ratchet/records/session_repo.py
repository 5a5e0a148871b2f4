"""The session's git history: every candidate a commit, in a repository of its own.

The repository is bare and lies in the session's folder, so the user's checkout
is never touched.  Author and dates are fixed (commit ``n`` is dated ``n``
seconds after the start of the year 2000), so that equal sessions have equal
commits; ``events.jsonl`` knows the real times.
"""

from collections.abc import Mapping
from pathlib import Path

from ratchet.base.git import call_git, git_output

EPOCH_SECONDS = 946_684_800
IDENTITY = "Ratchet <ratchet@localhost>"
SCRATCH = "refs/ratchet/scratch"


class SessionRepo:
    """Plumbing over one bare repository."""

    def __init__(self, folder: Path, session: str) -> None:
        self.folder = folder
        self.branch = f"refs/heads/ratchet/{session}"

    def _git(self, *words: str, given: bytes = b"") -> str:
        return git_output(*words, bare=self.folder, given=given)

    def create(self) -> None:
        """Make the repository; does nothing if it is there.

        One that a full disk or a kill left half made is completed.
        """
        # Git makes the first of these early and the last one last.
        if all((self.folder / part).exists() for part in ("HEAD", "objects/info")):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._git(
            "init", "--bare", "--quiet", f"--initial-branch={self.branch[11:]}", "--template="
        )

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
        who = f"{IDENTITY} {EPOCH_SECONDS + number} +0000"
        # Made under a name of its own first: a ref of fast-import is not kept safe.
        stream = _import_stream(content, message, who, parent)
        commit = self._git("fast-import", "--quiet", "--force", given=stream)
        self._point(ref, commit)
        self._git("update-ref", "-d", SCRATCH)
        return commit

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
            self._git("update-ref", f"refs/ratchet/superseded/{old[:12]}", old)
        self._git("update-ref", ref, commit)

    def _resolve(self, ref: str) -> str | None:
        return self._git("for-each-ref", "--format=%(objectname)", ref) or None

    def _is_ancestor(self, older: str, newer: str) -> bool:
        words = ("merge-base", "--is-ancestor", older, newer)
        return call_git(*words, bare=self.folder).returncode == 0

    def clear_stale_locks(self) -> None:
        """Remove locks that a killed git left; only while nobody else lives."""
        for pattern in ("*.lock", "refs/**/*.lock"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)


def _import_stream(
    content: Mapping[str, bytes], message: str, who: str, parent: str | None
) -> bytes:
    """Input of ``git fast-import`` that makes one commit and prints its id."""
    parts = [b"commit %s\nmark :1\n" % SCRATCH.encode()]
    parts += [f"{role} {who}\n".encode() for role in ("author", "committer")]
    parts.append(_data(message.encode()))
    if parent is not None:
        parts.append(f"from {parent}\n".encode())
    parts.append(b"deleteall\n")
    for name, data in sorted(content.items()):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        parts.append(f'M 100644 inline "{quoted}"\n'.encode())
        parts.append(_data(data))
    parts.append(b"get-mark :1\n")
    return b"".join(parts)


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def protect_folder(folder: Path) -> None:
    """Make ``git clean`` in an enclosing checkout leave ``folder`` alone.

    Git does not delete what belongs to another repository unless told twice
    (``-ff``), so the folder gets an empty one.
    """
    SessionRepo(folder / ".git", "none").create()
