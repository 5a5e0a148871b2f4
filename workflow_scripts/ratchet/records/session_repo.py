"""The session's git history: every candidate a commit, in a repository of its own.

The repository is bare and lies in the session's folder, so the user's checkout
is never touched.  Author and dates are fixed (commit ``n`` is dated ``n``
seconds after the start of the year 2000), so that equal sessions have equal
commits; ``events.jsonl`` knows the real times.
"""

from collections.abc import Mapping
from pathlib import Path

from ratchet.base.errors import StoreError
from ratchet.base.git import call_git, git_output
from ratchet.base.structs import Frozen
from ratchet.base.text import one_line

EPOCH_SECONDS = 946_684_800
IDENTITY = "Ratchet <ratchet@localhost>"
SCRATCH = "refs/ratchet/scratch"
FILE = "100644"
"""Git's mode of a file that is no program."""


class BranchTip(Frozen):
    """Where a branch is: its commit, that commit's tree and committer.

    ``checkout`` is the folder in which the branch is checked out, empty for none.
    """

    commit: str
    tree: str
    committer: str
    checkout: str


class Repository:
    """Commits and branches of a repository, by its git folder; nothing is checked out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _git(self, *words: str, given: bytes = b"") -> str:
        return git_output(*words, bare=self.folder, given=given)

    def seconds(self, commit: str) -> int:
        """Date of a commit, in seconds since 1970."""
        return int(self._git("show", "--no-patch", "--format=%ct", commit, "--"))

    def tree(self, commit: str) -> str:
        """Hash of a commit's tree."""
        return self._git("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}")

    def content(self, commit: str, name: str) -> bytes | None:
        """A file of a commit; ``None`` where there is none."""
        done = call_git("cat-file", "blob", f"{commit}:{name}", bare=self.folder)
        return None if done.returncode else done.stdout

    def commit_onto(
        self, parent: str, changed: Mapping[str, bytes], message: str, seconds: int
    ) -> str:
        """Record a commit that changes files of its parent; returns its id.

        Files keep their modes, and nothing points to the commit.  The same arguments give
        the same id.
        """
        modes = {}
        for name in changed:
            listed = self._git("ls-tree", "-z", "--full-tree", parent, "--", name)
            modes[name] = listed.partition(" ")[0] or FILE
        who = f"{IDENTITY} {seconds} +0000"
        commit = self._import(_import_stream(changed, message, who, parent, modes))
        self._git("update-ref", "-d", SCRATCH)
        return commit

    def _import(self, stream: bytes) -> str:
        return self._git("fast-import", "--quiet", "--force", given=stream)

    def tips(self, prefix: str) -> dict[str, BranchTip]:
        """Tips of the branches below a prefix, by name; that of the prefix itself too."""
        fields = "%(refname:lstrip=2)%00%(objectname)%00%(tree)%00"
        fields += "%(committername) %(committeremail)%00%(worktreepath)"
        listed = self._git("for-each-ref", f"--format={fields}", f"refs/heads/{prefix}")
        rows = (line.split("\0") for line in listed.split("\n") if line)
        return {name: BranchTip(*rest) for name, *rest in rows}

    def set_branches(self, moves: Mapping[str, tuple[str, str]]) -> None:
        """Set branches, by name, to a new commit from an old one, empty for none; all or none."""
        zero = "0" * max((len(new) for new, _ in moves.values()), default=40)
        lines = [
            f"update refs/heads/{name} {new} {old or zero}\n" for name, (new, old) in moves.items()
        ]
        self._git("update-ref", "--stdin", given="".join(lines).encode())

    def patch(self, commit: str, objects_of: Path | None = None) -> bytes:
        """A commit as ``git format-patch`` writes it, under this repository's settings.

        ``objects_of`` is the git folder of another repository that has the commit.
        """
        words = ("format-patch", "-1", "--stdout", "--no-signature", "--no-stat", "--full-index")
        others = {}
        if objects_of is not None:
            place = str((objects_of / "objects").resolve()).replace("\\", "\\\\")
            quoted = '"{}"'.format(place.replace('"', '\\"'))
            others["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = quoted
        done = call_git(*words, "--binary", commit, bare=self.folder, variables=others)
        if done.returncode:
            said = one_line(done.stderr.decode(errors="replace"))
            raise StoreError(f"{self.folder}: git format-patch failed: {said}")
        return done.stdout

    def take(self, source: Path, commit: str) -> None:
        """Copy a commit without its history from the repository with this git folder."""
        self._git(
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-gc",
            source.resolve().as_uri(),
            commit,
        )

    def has(self, commit: str) -> bool:
        """Whether a commit is here."""
        return call_git("cat-file", "-e", f"{commit}^{{commit}}", bare=self.folder).returncode == 0


class SessionRepo(Repository):
    """The bare repository of one session."""

    def __init__(self, folder: Path, session: str) -> None:
        super().__init__(folder)
        self.branch = f"refs/heads/ratchet/{session}"

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
        commit = self._import(_import_stream(content, message, who, parent))
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
    content: Mapping[str, bytes],
    message: str,
    who: str,
    parent: str | None,
    modes: Mapping[str, str] | None = None,
) -> bytes:
    """Input of ``git fast-import`` that makes one commit and prints its id.

    ``content`` is all that the commit has; with ``modes``, what differs from its parent.
    """
    parts = [b"commit %s\nmark :1\n" % SCRATCH.encode()]
    parts += [f"{role} {who}\n".encode() for role in ("author", "committer")]
    parts.append(_data(message.encode()))
    if parent is not None:
        parts.append(f"from {parent}\n".encode())
    if modes is None:
        parts.append(b"deleteall\n")
    for name, data in sorted(content.items()):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        parts.append(f'M {(modes or {}).get(name, FILE)} inline "{quoted}"\n'.encode())
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
