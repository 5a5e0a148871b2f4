"""Brings a session back from its mirror: fetched, checked, and put in place as a whole.

Everything is fetched into a folder of its own and compared with its digest there.  Entries of
the store are moved into place first, the session last, by one rename; so a call that was
broken off is simply made again, and fetches what is not in place yet.
"""

from __future__ import annotations

import os
from pathlib import Path

from ratchet.base.errors import DataError, InputMissingError, StoreError, UsageError
from ratchet.base.git import call_git, git_output
from ratchet.base.io import digest, digest_bytes, digest_file, read_bytes, sync_folder
from ratchet.base.structs import Frozen, replace
from ratchet.base.text import one_line
from ratchet.mirror.index import (
    LARGEST_FILE,
    LARGEST_INDEX,
    LARGEST_RECORD,
    PART_BYTES,
    Index,
    answer_object,
    blob_object,
    index_object,
    own_object,
    parts_of,
    read_index,
    run_object,
)
from ratchet.mirror.mirror import held_elsewhere, own_holder
from ratchet.mirror.targets import Target, open_target
from ratchet.records.ownership import session_lock
from ratchet.records.paths import SessionPaths, StorePaths
from ratchet.records.session_repo import SessionRepo, protect_folder
from ratchet.records.store import LOG_ASKED, RECORD, Store, read_entry

LONGEST_NAME = 255

RECENT_SECONDS = 600.0
"""A session that was mirrored so lately, and is not at its end, may still run elsewhere."""


class Restored(Frozen):
    """What came of bringing a session back: counts of what was fetched, and what was left out."""

    session: str
    finished: bool
    runs: int
    blobs: int
    files: int
    left_out: tuple[str, ...]


def mirrored_sessions(address: str, root: Path) -> list[str]:
    """Names of the sessions in a mirror.

    Raises :class:`InputMissingError` where it has none.
    """
    target = open_target(address, root)
    names = [n for n in target.sessions() if target.read(index_object(n), LARGEST_INDEX)]
    if not names:
        raise InputMissingError(
            f"mirror {address}: expected mirrored sessions, found none; "
            "name the place that the setting `mirror` had, or --to"
        )
    return names


def restore_session(
    address: str, name: str, root: Path, now: float, take_over: bool = False
) -> Restored:
    """Fetch a session and what it needs of the store.

    Raises :class:`InputMissingError` where the mirror does not have it, :class:`DataError` for
    a damaged index or manifest, :class:`UsageError` where another session of this name is
    here, and :class:`SessionBusyError` where it may still run elsewhere.
    """
    target, paths = open_target(address, root), SessionPaths(name, root)
    where = f"{address}: {index_object(name)}"
    data = target.read(index_object(name), LARGEST_INDEX)
    if data is None:
        known = ", ".join(one_line(each) for each in target.sessions()[:20]) or "none"
        raise InputMissingError(f"mirror {where}: no such session; there are: {known}")
    index, left = read_index(data, name, where)
    if paths.folder.exists():
        return _compared(index, paths, address)
    if not (index.finished or take_over) and now - index.time < RECENT_SECONDS:
        raise held_elsewhere(index, address, restoring=True)
    protect_folder(paths.store.root)
    # Held, so that a session that starts here meanwhile does not clear it up.
    with Store(paths.store).partial_folder("restore-") as place:
        fetch = _Fetch(target, index, paths, place, left)
        runs, blobs = fetch.runs(), fetch.blobs()
        fetch.answers()
        files = fetch.session()
    # Without its lock it would count as running for as long as its last run may take.
    lock = session_lock(root, name)
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    fetch.left += _claim(target, index, paths)
    return Restored(name, index.finished, runs, blobs, files, tuple(fetch.left))


def _claim(target: Target, index: Index, paths: SessionPaths) -> list[str]:
    """Have the mirror belong to this copy of the session; says where that fails."""
    paths.mirror_holder.parent.mkdir(parents=True, exist_ok=True)
    claimed = replace(index, holder=own_holder(paths))
    try:
        target.send({index_object(index.session): claimed.packed()}, replace=True)
    except StoreError as error:
        return [
            f"the mirror still belongs to {one_line(index.holder.host)}: {one_line(str(error))}"
        ]
    return []


def _compared(index: Index, paths: SessionPaths, address: str) -> Restored:
    """Nothing to do where the session is here as the mirror has it."""
    for name, file in index.files.items():
        path = paths.folder / name
        data = path.read_bytes() if path.is_file() else b""
        parts = parts_of(data)
        if tuple(map(digest_bytes, parts)) != file.parts:
            raise UsageError(
                f"{paths.folder}: expected no session of this name, or the one that {address} "
                f"has, found another ({name} differs); move it away, or restore in a fresh folder"
            )
    return Restored(paths.session, index.finished, 0, 0, 0, ())


class _Fetch:
    """Fetches the parts of a session into a folder, checks them, and moves them into place."""

    def __init__(
        self, target: Target, index: Index, paths: SessionPaths, place: Path, left: list[str]
    ) -> None:
        self.target = target
        self.index = index
        self.paths = paths
        self.place = place
        self.left = left
        self.store = Store(paths.store)
        self.fetched = Store(StorePaths(place / "store"))

    def runs(self) -> int:
        """Fetch the runs that are not here; returns their number."""
        wanted = [key for key in self.index.runs if self.store.lookup(key) is None]
        names = {run_object(key, RECORD): LARGEST_RECORD for key in wanted}
        self.target.fetch(names, self.place)
        listed = {key: self._listed(key) for key in wanted}
        files = {run_object(k, n): LARGEST_FILE for k, names in listed.items() for n in names}
        self.target.fetch(files, self.place)
        count = 0
        for key in wanted:
            folder = self.fetched.paths.run(key)
            if not listed[key] or self.fetched.peek(key) is None:
                self._leave(run_object(key, RECORD), "it, or a file of the run")
                continue
            for path in folder.rglob("*"):
                if path.is_file():
                    path.chmod(0o400 if path.name == LOG_ASKED else 0o444)
            _set_time(folder / RECORD, self.index.runs[key])
            place = self.paths.store.run(key)
            try:
                _move(folder, place)
            except OSError:
                # A session that runs here made it meanwhile.
                if self.store.lookup(key) is None:
                    raise
            count += 1
        return count

    def _listed(self, key: str) -> list[str]:
        """Files of a fetched run; none of one that names files elsewhere, or is no run."""
        try:
            names = list(read_entry(self.fetched.paths.run(key) / RECORD)["files"])
            return names if all(map(is_plain, names)) else []
        except (DataError, InputMissingError, KeyError, TypeError, RecursionError):
            return []

    def blobs(self) -> int:
        """Fetch the blobs that are not here; returns their number."""
        sizes = self.index.blobs
        wanted = [sha for sha in sizes if not self._is_blob(self.paths.store.blob(sha), sha)]
        self.target.fetch({blob_object(sha): sizes[sha] for sha in wanted}, self.place)
        count = 0
        for sha in wanted:
            path = self.fetched.paths.blob(sha)
            if not self._is_blob(path, sha):
                self._leave(blob_object(sha), "it")
                continue
            path.chmod(0o444)
            _move(path, self.paths.store.blob(sha))
            count += 1
        return count

    @staticmethod
    def _is_blob(path: Path, sha: str) -> bool:
        return path.is_file() and not path.is_symlink() and digest_file(path) == sha

    def answers(self) -> None:
        """Fetch the answers that are not here."""
        places = {name: name.split("/") for name in self.index.answers}
        wanted = [n for n, at in places.items() if not self.paths.store.memo(*at).exists()]
        self.target.fetch({answer_object(name): LARGEST_RECORD for name in wanted}, self.place)
        for name in wanted:
            path = self.fetched.paths.memo(*places[name])
            try:
                entry = read_entry(path)
                asked, told = digest(entry["question"]), digest(entry["answer"])
                whole = (asked, told) == (path.stem, entry["digest"])
            except (DataError, InputMissingError, KeyError, TypeError, ValueError, RecursionError):
                whole = False
            if whole:
                _move(path, self.paths.store.memo(*places[name]))
            else:
                self._leave(answer_object(name), "it")

    def session(self) -> int:
        """Fetch the session's own files and its repository; returns the number of files."""
        name, folder = self.index.session, self.place / "session"
        wanted = {
            own_object(name, s): PART_BYTES for f in self.index.files.values() for s in f.parts
        }
        wanted |= {own_object(name, sha): LARGEST_FILE for sha in self.index.packs}
        self.target.fetch(wanted, self.place)
        count = 0
        for each, file in self.index.files.items():
            parts = [self._own(sha) for sha in file.parts]
            data = b"".join(part for part in parts if part is not None)
            if None in parts or len(data) != file.size:
                self._leave(each, "a part of it")
                continue
            path = folder / each
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o600 if path.name == self.paths.seed_secret.name else 0o644)
            _set_time(path, file.time_ns)
            count += 1
        if not (folder / self.paths.manifest.name).is_file():
            raise DataError(
                f"mirror of session {name!r}: its manifest is missing or damaged there; without it "
                "the session cannot go on"
            )
        self._repository(folder / self.paths.repository.name)
        _move(folder, self.paths.folder)
        return count

    def _own(self, sha: str) -> bytes | None:
        """An object of the session; ``None`` where it is missing or damaged."""
        path = self.place / own_object(self.index.session, sha)
        if not path.is_file() or path.is_symlink():
            return None
        data = read_bytes(path)
        return data if digest_bytes(data) == sha else None

    def _repository(self, folder: Path) -> None:
        """Make the session's repository of its packs; only commits, no settings or hooks."""
        if not self.index.refs:
            return
        SessionRepo(folder, self.index.session).create()
        for sha in self.index.packs:
            pack = self._own(sha)
            done = call_git("unpack-objects", "-q", "--strict", bare=folder, given=pack or b"")
            if pack is None or done.returncode:
                self._leave(own_object(self.index.session, sha), "the pack")
        for name, commit in self.index.refs.items():
            if call_git("cat-file", "-e", f"{commit}^{{commit}}", bare=folder).returncode:
                self._leave(name, "its commit")
            else:
                git_output("update-ref", name, commit, bare=folder)

    def _leave(self, name: str, what: str) -> None:
        self.left.append(f"left out {one_line(name)}: {what} is missing or damaged in the mirror")


def is_plain(name: str) -> bool:
    """Whether a file of a run lies in the run's folder, and can be there."""
    path = Path(name)
    below = not path.is_absolute() and path.parts and ".." not in path.parts
    return bool(below) and "\0" not in name and len(name.encode(errors="replace")) <= LONGEST_NAME


def _set_time(path: Path, time_ns: int) -> None:
    os.utime(path, ns=(time_ns, time_ns))


def _move(source: Path, target: Path) -> None:
    """Rename what was fetched into its place, where a damaged entry may lie."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    sync_folder(target.parent)
