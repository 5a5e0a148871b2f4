"""Somebody else's repository: one commit of it, copied once into the store.

Only Git's object store is read.  The user's clone is never written to: nothing is
checked out there, no lock is taken, and files that are not tracked, such as an own
``results.tsv`` and ``run.log``, do not count.  A copy is kept by the hash of its tree.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet import files
from ratchet.canonical import digest
from ratchet.codec import Frozen
from ratchet.errors import DataError, InputMissingError
from ratchet.git import foreign
from ratchet.paths import StorePaths
from ratchet.records import Origin
from ratchet.results_tsv import one_line

# A large repository over a slow line; git says nothing while it works.
FETCH_SECONDS = 1800.0
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|[^/\s:]+@[^/\s:]+:", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FILE, _PROGRAM = "100644", "100755"


class Checkout(Frozen):
    """A commit's files in ``folder``; ``clone`` is the local clone they are from.

    ``dirty`` names tracked files of the clone that differ from its last commit and are
    not what is used.
    """

    origin: Origin
    folder: Path
    clone: Path | None
    dirty: tuple[str, ...] = ()


def is_url(repo: str) -> bool:
    """Whether a repository is named by an address rather than by a path."""
    return _URL.match(repo) is not None


def clone_of(repo: str, base: Path) -> Path | None:
    """The folder of a local clone; ``None`` for an address."""
    return None if is_url(repo) else base / Path(repo).expanduser()


def check_out(
    repo: str, commit: str, base: Path, store: StorePaths, frozen: Origin | None = None
) -> Checkout:
    """The files of a commit, from the store or fetched into it now.

    ``repo`` is a path, relative to ``base``, or an address; ``commit`` anything that
    Git understands.  With ``frozen`` that is the commit, whatever a branch is at by
    now.  Raises :class:`InputMissingError` for a repository or a commit that is not
    there and :class:`DataError` for one that cannot be used.
    """
    clone = clone_of(repo, base)
    if frozen is not None and store.tree(frozen.tree).is_dir():
        # Sessions go on where the clone was moved away, and without a network.
        return Checkout(frozen, store.tree(frozen.tree), clone)
    wanted = frozen.commit if frozen else commit
    git = _Git(_fetched(repo, wanted, store) if clone is None else _local(clone, repo))
    found = git.commit(wanted)
    if found is None:
        raise InputMissingError(
            f"{repo}: has no commit {commit!r}; name another one by `commit` (see: git log), or "
            "commit your changes first" + ("" if clone else "; of a hash give all 40 characters")
        )
    origin = Origin(repo, found, git.tree(found))
    if frozen is not None and origin.tree != frozen.tree:
        raise DataError(f"{repo}: commit {found} has another tree than when the session started")
    folder = store.tree(origin.tree)
    if not folder.is_dir():
        _copy(git, origin.tree, folder, store)
    return Checkout(origin, folder, clone, git.dirty() if clone else ())


def _local(clone: Path, repo: str) -> Path:
    if not clone.is_dir():
        raise InputMissingError(
            f"{repo}: expected a clone of a repository at {clone}, found no such folder; "
            "clone it there, or correct `repo`"
        )
    return clone


def _fetched(repo: str, commit: str, store: StorePaths) -> Path:
    """A bare repository of ours that holds the commit, fetched where it does not yet."""
    place = store.clone(digest(repo)[:32])
    git = _Git(place)
    if not (place / "objects").is_dir():
        place.mkdir(parents=True, exist_ok=True)
        git.call("init", "--bare", "--quiet", "--template=")
    if _HASH.fullmatch(commit) and git.commit(commit) is not None:
        return place
    problem = git.problem("fetch", "--quiet", "--depth", "1", "--no-tags", "--", repo, commit)
    if problem is None:
        git.call("update-ref", _kept(commit), "FETCH_HEAD")
        return place
    # A short hash, or a server that hands out branches alone.
    everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    other = git.problem("fetch", "--quiet", "--no-tags", "--", repo, *everything)
    if other is not None:
        raise InputMissingError(
            f"{repo}: cannot be fetched ({one_line(other)[:300]}); look at the address and the "
            "network, or clone it and name the clone's folder by `repo`"
        )
    return place


def _copy(git: _Git, tree: str, folder: Path, store: StorePaths) -> None:
    """All files of a tree, read-only; the folder appears when it is whole."""
    store.partial.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.partial, prefix="tree-") as name:
        place = Path(name) / "tree"
        place.mkdir()
        for path, mode, content in git.files(tree):
            target = place / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o555 if mode == _PROGRAM else 0o444)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.rename(folder)
        except OSError:
            if not folder.is_dir():  # else somebody else was first
                raise
    files.sync_folder(folder.parent)


class _Git:
    """Plumbing over one repository that is not ours."""

    def __init__(self, place: Path) -> None:
        self.place = place
        # Nothing is asked, nothing of the clone is refreshed or run.
        self._git, self._failures = foreign(
            place,
            GIT_OPTIONAL_LOCKS="0",
            GIT_NO_REPLACE_OBJECTS="1",
            GIT_LITERAL_PATHSPECS="1",
            LC_ALL="C",
        )

    def call(self, *words: str, raw: bool = False, istream: Any = None) -> Any:
        """What a command prints; raises :class:`DataError` with what it complained of."""
        try:
            return self._call(words, raw, istream)
        except self._failures as error:
            raise DataError(
                f"{self.place}: git {words[0]} failed ({one_line(_said(error))[:300]})"
            ) from None

    def problem(self, *words: str) -> str | None:
        """What a command complained of; ``None`` if it succeeded."""
        try:
            self._call(words, raw=False)
        except self._failures as error:
            return _said(error)
        return None

    def _call(self, words: Sequence[str], raw: bool, istream: Any = None) -> Any:
        # A monitor of files is a program that a clone's settings name.
        command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *words]
        return self._git.execute(
            command,
            stdout_as_string=not raw,
            strip_newline_in_stdout=not raw,
            kill_after_timeout=FETCH_SECONDS,
            istream=istream,
        )

    def commit(self, revision: str) -> str | None:
        """The whole hash of what a revision names; ``None`` if there is no such commit.

        Raises :class:`InputMissingError` if there is no repository at all.
        """
        problem = self.problem("rev-parse", "--git-dir")
        if problem is not None:
            raise InputMissingError(
                f"{self.place}: expected a git repository ({one_line(problem)[:200]}); clone one, "
                "or name the folder of the clone by `repo`"
            )
        for name in _names(revision):
            words = ("rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}")
            try:
                return str(self._call(words, raw=False)).strip()
            except self._failures:
                continue
        return None

    def tree(self, commit: str) -> str:
        """The hash of a commit's tree, or of the part of it that the given folder is."""
        prefix = str(self.call("rev-parse", "--show-prefix")).strip()
        words = ("rev-parse", "--verify", "--end-of-options", f"{commit}:{prefix}")
        try:
            return str(self._call(words, raw=False)).strip()
        except self._failures:
            raise InputMissingError(
                f"{self.place}: commit {commit} has no files in this folder, which lies in another "
                "repository; name the folder of the clone by `repo`"
            ) from None

    def dirty(self) -> tuple[str, ...]:
        """Tracked files that differ from the last commit."""
        if str(self.call("rev-parse", "--is-bare-repository")) == "true":
            return ()
        words = ("status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all")
        entries = self.call(*words, raw=True).decode(errors="replace").split("\0")
        return tuple(entry[3:] for entry in entries if len(entry) > 3 and entry[2] == " ")

    def files(self, tree: str) -> list[tuple[str, str, bytes]]:
        """Path, mode and content of all ordinary files; links and submodules are left out."""
        listed = self.call("ls-tree", "-r", "-z", "--full-tree", tree, raw=True)
        entries = []
        for entry in filter(None, listed.split(b"\0")):
            about, _, path = entry.partition(b"\t")
            mode, _, sha = about.decode().split(" ")
            if mode in (_FILE, _PROGRAM):
                entries.append((os.fsdecode(path), mode, sha))
        contents = self._blobs([sha for _, _, sha in entries])
        return [(path, mode, contents[sha]) for path, mode, sha in entries]

    def _blobs(self, names: Sequence[str]) -> dict[str, bytes]:
        """Contents by hash, all asked of one process."""
        with tempfile.TemporaryFile() as asked:
            asked.write("".join(f"{name}\n" for name in names).encode())
            asked.seek(0)
            said = self.call("cat-file", "--batch", raw=True, istream=asked)
        found, place = {}, 0
        for name in names:
            end = said.index(b"\n", place)
            size = int(said[place:end].split(b" ")[2])
            found[name] = said[end + 1 : end + 1 + size]
            place = end + size + 2
        return found


def _kept(commit: str) -> str:
    """Where what a name meant when it was fetched is kept."""
    return f"refs/ratchet/{digest(commit)[:32]}"


def _names(revision: str) -> Sequence[str]:
    """What a revision may mean: as fetched, here, or a branch that only the origin has."""
    return (_kept(revision), revision, f"refs/remotes/origin/{revision}")


def _said(error: Any) -> str:
    text = getattr(error, "stderr", "") or str(error)
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return text.strip().removeprefix("stderr:").strip(" '\n") or "no reason given"


def expand(names: Sequence[str], folder: Path) -> list[str]:
    """File names of a repository, with all files of those that end with ``/``."""
    found: list[str] = []
    for name in names:
        if not name.endswith("/"):
            found.append(name)
            continue
        below = sorted(p for p in (folder / name).rglob("*") if p.is_file())
        if not below:
            raise InputMissingError(f"the repository has no files in {name}")
        found += [str(path.relative_to(folder)) for path in below]
    return found


def values_of(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The values of a definition with folders among its files replaced by their files."""
    mutable = expand(data["mutable"], folder)
    # What is mutable is not fixed, though its folder is.
    fixed = [name for name in expand(data["fixed"], folder) if name not in mutable]
    return {**data, "mutable": mutable, "fixed": fixed}
