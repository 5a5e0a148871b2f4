"""Copies a session to its mirror: what is new, in an order in which every cut is whole.

What is sent are the session's records, its repository and secret, and those entries of the
store that its records name: runs, blobs (training data too) and answers of proposers.  Runs
and blobs go first, then the session's files, then the index that names all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shlex
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ratchet.base.errors import DataError, InputMissingError, SessionBusyError, StoreError
from ratchet.base.git import call_git, git_output
from ratchet.base.io import digest_bytes, lock_file, read_json, write_bytes
from ratchet.base.structs import Frozen, replace
from ratchet.base.text import one_line, time_ago
from ratchet.integrity.seal import is_finished, sealable_files
from ratchet.mirror.index import (
    HIDDEN,
    KINDS,
    LARGEST_FILE,
    LARGEST_INDEX,
    OPEN,
    SHARED,
    Index,
    MirroredFile,
    MirrorHolder,
    answer_object,
    blob_object,
    index_object,
    own_folder,
    own_object,
    parts_of,
    read_index,
    run_object,
)
from ratchet.mirror.targets import Content, Target, open_target
from ratchet.records.paths import SessionPaths
from ratchet.records.session_repo import SCRATCH
from ratchet.records.store import RECORD

MOST_PACKS = 64
"""After so many packs of the repository they are replaced by one."""

# A session that changes while it is read is read again so often.
TRIES = 5
_DIGESTS = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


class Sent(Frozen):
    """What one call sent: objects of each kind and bytes, and what the mirror then has."""

    runs: int
    blobs: int
    files: int
    bytes: int
    index: Index


class _Known(Frozen):
    """A session's file as it was last read, and the digests that it names."""

    file: MirroredFile
    named: frozenset[str]


class Mirror:
    """A session's mirror; remembers what it has read and sent before."""

    def __init__(self, address: str, paths: SessionPaths) -> None:
        self.address = address
        self.paths = paths
        self.target: Target = open_target(address, paths.root)
        self._known: dict[str, _Known] = {}
        self._parts: dict[str, bytes] = {}
        self._last: Index | None = None

    def push(self, take_over: bool = False) -> Sent:
        """Send what is new.

        Raises :class:`SessionBusyError` where another copy of the session is mirrored there,
        unless this one is to take its place, and :class:`StoreError` where the target fails.
        """
        paths = self.paths
        if not paths.manifest.is_file():
            raise InputMissingError(
                f"{paths.folder}: holds no session to mirror; see those there are: "
                "ratchet status --all"
            )
        paths.mirror_lock.parent.mkdir(parents=True, exist_ok=True)
        with lock_file(paths.mirror_lock):
            return self._push(take_over)

    def read(self) -> Index | None:
        """The session's index in the mirror."""
        name = index_object(self.paths.session)
        data = self.target.read(name, LARGEST_INDEX)
        if data is None:
            return None
        return read_index(data, self.paths.session, f"{self.address}: {name}")[0]

    def _push(self, take_over: bool) -> Sent:
        before = self.read()
        holder = own_holder(self.paths)
        if before is not None and before.holder.token != holder.token and not take_over:
            raise held_elsewhere(before, self.address)
        if before is None or before != self._last:
            self._known, self._parts = {}, {}
        self._read_files()
        named = frozenset[str]().union(*(known.named for known in self._known.values()))
        runs = ((key, _time_ns(self.paths.store.run(key) / RECORD)) for key in sorted(named))
        blobs = ((sha, _size(self.paths.store.blob(sha))) for sha in sorted(named))
        refs, packs = self._history(before)
        index = Index(
            session=self.paths.session,
            time=time.time(),
            holder=holder,
            files={name: known.file for name, known in sorted(self._known.items())},
            refs=refs,
            packs=packs,
            runs={key: time_ns for key, time_ns in runs if time_ns is not None},
            blobs={sha: size for sha, size in blobs if size is not None},
            answers=tuple(self._answers(named)),
            finished=is_finished(self.paths),
        )
        sent = self._send(index, before)
        self._last, self._parts = sent.index, {}
        return sent

    def _send(self, index: Index, before: Index | None) -> Sent:
        """Send what an index names and the one before did not, and then the index."""
        store, name = self.paths.store, index.session
        runs = sorted(set(index.runs) - set(before.runs if before else ()))
        blobs = sorted(set(index.blobs) - set(before.blobs if before else ()))
        answers = sorted(set(index.answers) - set(before.answers if before else ()))
        own = sorted(index.parts - (before.parts if before else set()))
        entries: dict[str, Content] = {blob_object(sha): store.blob(sha) for sha in blobs}
        for each in answers:
            entries[answer_object(each)] = store.memo(*each.split("/"))
        records: dict[str, Content] = {}
        for key in runs:
            folder = store.run(key)
            for file in sorted(read_json(folder / RECORD)["files"]):
                entries[run_object(key, file)] = folder / file
            records[run_object(key, RECORD)] = folder / RECORD
        parts: dict[str, Content] = {own_object(name, sha): self._parts[sha] for sha in own}
        # A run's record says that all of the run is there, and the index that all else is.
        for objects in (entries, records, parts):
            if objects:
                self.target.send(objects)
        if before is not None and replace(index, time=before.time) == before:
            index = before
        else:
            self.target.send({index_object(name): index.packed()}, replace=True)
        if before is not None and before.parts - index.parts:
            self.target.keep_only(own_folder(name), sorted(index.parts))
        every = [*entries.values(), *records.values(), *parts.values()]
        size = sum(len(c) if isinstance(c, bytes) else _size(c) or 0 for c in every)
        return Sent(len(runs), len(blobs), len(own), size, index)

    def _read_files(self) -> None:
        """Read those of the session's files that have changed, all as they are at one moment."""
        for left in reversed(range(TRIES)):
            there = self._stamps()
            for name, stamp in there.items():
                known = self._known.get(name)
                if known is None or (known.file.time_ns, known.file.size) != stamp:
                    self._read_file(name)
            if self._stamps() == there or not left:
                break
        self._known = {name: known for name, known in self._known.items() if name in there}

    def _stamps(self) -> dict[str, tuple[int, int]]:
        """Times and sizes of the session's files by name."""
        folder, found = self.paths.folder, {}
        own = [path for kind in HIDDEN if (path := folder / kind).is_file()]
        for path in [*sealable_files(self.paths, OPEN), *own]:
            with contextlib.suppress(FileNotFoundError):
                about = path.stat()
                if about.st_size <= LARGEST_FILE and not path.is_symlink():
                    found[path.relative_to(folder).as_posix()] = about.st_mtime_ns, about.st_size
        return found

    def _read_file(self, name: str) -> None:
        try:
            with (self.paths.folder / name).open("rb") as stream:
                about = os.fstat(stream.fileno())
                data = stream.read()
        except FileNotFoundError:  # Snakemake deletes what a step will write
            self._known.pop(name, None)
            return
        parts = parts_of(data)
        digests = tuple(map(digest_bytes, parts))
        self._parts |= zip(digests, parts, strict=True)
        file = MirroredFile(about.st_mtime_ns, len(data), digests)
        self._known[name] = _Known(file, frozenset(x.decode() for x in _DIGESTS.findall(data)))

    def _answers(self, named: frozenset[str]) -> Iterator[str]:
        """Names of the memoised answers of this session: those that a replay asks for."""
        root = self.paths.store.root
        for kind in KINDS:
            for path in sorted((root / kind).glob("*/*.json")):
                damaged = DataError, InputMissingError, KeyError, TypeError, AttributeError
                with contextlib.suppress(*damaged, RecursionError):
                    entry = read_json(path)
                    asked = entry["question"].get("session")
                    told = set(_DIGESTS.findall(json.dumps(entry["answer"]).encode()))
                    # Prepared data and resolved packages belong to all who asked.
                    shared = asked is None and kind in SHARED
                    if asked == self.paths.session or (
                        shared and {sha.decode() for sha in told} <= named
                    ):
                        yield f"{kind}/{path.stem}"

    def _history(self, before: Index | None) -> tuple[dict[str, str], tuple[str, ...]]:
        """Refs of the session's repository, and packs that together have all their commits."""
        folder = self.paths.repository
        if not (folder / "HEAD").is_file():
            return {}, ()
        listed = git_output("for-each-ref", "--format=%(refname) %(objectname)", bare=folder)
        rows = (line.split(" ") for line in listed.splitlines())
        refs = {name: commit for name, commit in rows if name != SCRATCH}
        packs = before.packs if before is not None else ()
        if before is not None and before.refs == refs:
            return refs, packs
        if not refs:
            return {}, ()
        old = sorted(set(before.refs.values())) if before is not None else []
        pack = _pack(folder, refs, old) if old and len(packs) < MOST_PACKS else None
        if pack is None:
            packs, pack = (), _pack(folder, refs, [])
        if pack is None:
            raise StoreError(f"{folder}: git could not pack the session's commits")
        sha = digest_bytes(pack)
        self._parts[sha] = pack
        return refs, (*packs, sha)


def _pack(folder: Path, refs: Mapping[str, str], old: Sequence[str]) -> bytes | None:
    """A pack of what is new since the ``old`` commits; ``None`` where these are not here."""
    asked = "".join(f"{commit}\n" for commit in sorted(set(refs.values())))
    asked += "".join(f"^{commit}\n" for commit in old)
    words = ("pack-objects", "--revs", "--stdout", "--quiet", "--threads=1")
    done = call_git(*words, bare=folder, given=asked.encode())
    return None if done.returncode else done.stdout


def own_holder(paths: SessionPaths) -> MirrorHolder:
    """What this copy of a session is known by in its mirror."""
    path = paths.mirror_holder
    if not path.is_file():
        write_bytes(path, f"{secrets.token_hex(16)}\n".encode())
    token = path.read_text(encoding="utf-8").strip()
    return MirrorHolder(token, one_line(socket.gethostname()), str(paths.folder.resolve()))


def held_elsewhere(index: Index, address: str, restoring: bool = False) -> SessionBusyError:
    """Error for a session that another copy mirrors to the same place."""
    holder, since = index.holder, max(time.time() - index.time, 0.0)
    place = shlex.quote(address)
    again = (
        f"restore {place} {index.session}" if restoring else f"mirror {index.session} --to {place}"
    )
    return SessionBusyError(
        f"mirror {address}: session {index.session!r} is mirrored there from another copy of it "
        f"({one_line(holder.host)}:{one_line(holder.folder)}, last {time_ago(since)}); if that "
        f"one has ended, or is to be ended: ratchet {again} --take-over"
    )


def _time_ns(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
