"""Index of a mirrored session: what it consists of, by digest.

An index is written last, after all that it names.  So a mirror that was cut off at any moment
is as its last index says, and a reader trusts nothing that no index names.  It is text of
other machines: every name, digest and size is checked here.
"""

import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import PurePosixPath

from ratchet.base.errors import DataError
from ratchet.base.io import canonical_json, digest_bytes
from ratchet.base.structs import Frozen, from_json_values, replace, to_json_values
from ratchet.base.text import one_line
from ratchet.config import SESSION
from ratchet.integrity.seal import GROWING, WHOLE

FORMAT = 1
INDEX = "index.json.gz"
LARGEST_INDEX = 256 << 20
PART_BYTES = 256 << 10
"""Files are sent in parts of this size, so that of one that grows only the end is sent anew."""

LARGEST_FILE = 256 << 20
LARGEST_RECORD = 64 << 20
LARGEST_BLOB = 1 << 40
LATEST_NS = 1 << 62
"""Some year after 2100, which all file systems know."""

KINDS = ("prepared", "proposals", "remembered", "replicates", "resolved")
"""Answers that are sent, by the name of their folder in the store."""

SHARED = ("prepared", "resolved")
"""Those of them that belong to no session."""

HIDDEN = (".summary", "seed-secret", "SHA256SUMS")
OPEN = (
    *(*WHOLE, *GROWING),
    *("evolve/settings.json", "trackers/*.sent", "patches/*", "finalize/*.jsonl"),
)
"""Files that make a session what it is: what its seal holds, and what goes on with it."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){0,4}")
_REF = re.compile(r"refs/(heads/)?ratchet/[A-Za-z0-9][A-Za-z0-9._/-]{0,200}")


class MirroredFile(Frozen):
    """A file of the session: when it was written, its size, and the digests of its parts."""

    time_ns: int
    size: int
    parts: tuple[str, ...]


class MirrorHolder(Frozen):
    """Who mirrors a session: a copy of it by a token of its own, and where that lies."""

    token: str
    host: str
    folder: str


class Index(Frozen):
    """What a mirrored session consists of.

    ``runs`` are keys with the times at which they were finished, ``blobs`` digests with
    sizes, ``answers`` names of memoised answers.  ``refs`` and ``packs`` are the session's
    repository.  ``finished`` says that the session was at its end.
    """

    session: str
    time: float
    holder: MirrorHolder
    files: Mapping[str, MirroredFile]
    refs: Mapping[str, str]
    packs: tuple[str, ...]
    runs: Mapping[str, int]
    blobs: Mapping[str, int]
    answers: tuple[str, ...]
    finished: bool = False
    format: int = FORMAT

    def packed(self) -> bytes:
        """The index's object; equal indexes have equal bytes."""
        body = canonical_json(to_json_values(self)).encode("ascii")
        stream = io.BytesIO()
        with gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) as packed:
            packed.write(f"{digest_bytes(body)}\n".encode() + body)
        return stream.getvalue()

    @property
    def parts(self) -> set[str]:
        """Digests of all objects that are this session's own."""
        return {sha for file in self.files.values() for sha in file.parts} | set(self.packs)


def parts_of(data: bytes) -> list[bytes]:
    """A file's content in the parts that it is sent in."""
    return [data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES)]


def read_index(data: bytes, session: str, where: str) -> tuple[Index, list[str]]:
    """An index, and a line for each thing in it that is left out.

    Raises :class:`DataError` where it is none, or of another session.
    """
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(data, LARGEST_INDEX)
    except zlib.error:
        unpacked = b""
    stated, _, body = unpacked.partition(b"\n")
    try:
        values = json.loads(body) if stated == digest_bytes(body).encode() else None
    except (ValueError, RecursionError):
        values = None
    if values is None:
        raise DataError(f"{where}: expected the index of a mirror, found other or damaged bytes")
    if isinstance(values, dict) and values.get("format") != FORMAT:
        raise DataError(
            f"{where}: expected an index of format {FORMAT}, found {values.get('format')!r:.20}; "
            "it is of another version of Ratchet"
        )
    index = from_json_values(Index, values, where)
    if index.session != session or not re.fullmatch(SESSION, session):
        raise DataError(
            f"{where}: expected session {session!r}, found {one_line(index.session)!r:.80}"
        )
    if not math.isfinite(index.time):
        raise DataError(f"{where}: expected a time, found {index.time}")
    return _checked(index, where)


def _checked(index: Index, where: str) -> tuple[Index, list[str]]:
    """The index without what no session has, and a line for each such thing."""
    left: list[str] = []

    def only(kind: str, fits: Mapping[str, bool]) -> set[str]:
        left.extend(
            f"{where}: left out {kind} {one_line(name)!r:.120}: no session has such"
            for name, fitting in fits.items()
            if not fitting
        )
        return {name for name, fitting in fits.items() if fitting}

    files = only("the file", {name: is_file_of(name, file) for name, file in index.files.items()})
    refs = only("the ref", {name: is_ref(name, commit) for name, commit in index.refs.items()})
    runs = only("the run", {key: is_digest(key) and is_time(t) for key, t in index.runs.items()})
    blobs = only(
        "the blob",
        {sha: is_digest(sha) and 0 <= n <= LARGEST_BLOB for sha, n in index.blobs.items()},
    )
    answers = only("the answer", {name: is_answer(name) for name in index.answers})
    packs = only("the pack", {sha: is_digest(sha) for sha in index.packs})
    checked = replace(
        index,
        files={n: index.files[n] for n in sorted(files)},
        refs={n: index.refs[n] for n in sorted(refs)},
        runs={n: index.runs[n] for n in sorted(runs)},
        blobs={n: index.blobs[n] for n in sorted(blobs)},
        answers=tuple(sorted(answers)),
        packs=tuple(sha for sha in index.packs if sha in packs),
    )
    return checked, left


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256 in hexadecimal."""
    return _DIGEST.fullmatch(text) is not None


def is_time(time_ns: int) -> bool:
    """Whether a file can have such a time."""
    return 0 <= time_ns < LATEST_NS


def is_ref(name: str, commit: str) -> bool:
    """Whether a session's repository has refs of such a name, and this is one of a commit."""
    odd = ".." in name or "//" in name or ".lock" in name or "/." in name
    known = _REF.fullmatch(name) is not None and name[-1] not in "./" and not odd
    return known and _COMMIT.fullmatch(commit) is not None


def is_answer(name: str) -> bool:
    """Whether a text is the kind of a memoised answer and the digest of its question."""
    kind, _, key = name.partition("/")
    return kind in KINDS and is_digest(key)


def is_file_of(name: str, file: MirroredFile) -> bool:
    """Whether a session has files of such a name, and this one's parts can be one."""
    path = PurePosixPath(name)
    named = _NAME.fullmatch(name) is not None and ".." not in path.parts
    known = any(
        len(path.parts) == kind.count("/") + 1 and path.match(kind) for kind in (*OPEN, *HIDDEN)
    )
    sized = 0 <= file.size <= LARGEST_FILE and len(file.parts) == -(-file.size // PART_BYTES)
    return named and known and sized and all(map(is_digest, file.parts)) and is_time(file.time_ns)


def index_object(session: str) -> str:
    """Name of the object that holds a session's index."""
    return f"sessions/{session}/{INDEX}"


def own_object(session: str, sha: str) -> str:
    """Name of an object of one session: a part of a file, or a pack of its repository."""
    return f"sessions/{session}/files/{sha}"


def own_folder(session: str) -> str:
    """Folder of all objects of one session."""
    return f"sessions/{session}/files"


def blob_object(sha: str) -> str:
    """Name of a blob's object."""
    return f"store/blobs/sha256/{sha[:2]}/{sha}"


def run_object(key: str, name: str) -> str:
    """Name of the object of one file of a run."""
    return f"store/runs/{key[:2]}/{key}/{name}"


def answer_object(name: str) -> str:
    """Name of the object of a memoised answer."""
    kind, _, key = name.partition("/")
    return f"store/{kind}/{key[:2]}/{key}.json"
