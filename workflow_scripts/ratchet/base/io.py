"""Small files written whole or not at all, canonical JSON, digests."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ratchet.base.errors import DataError, InputMissingError
from ratchet.base.structs import Frozen, from_json_values, to_json_values


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces, ASCII, finite numbers only.

    Raises :class:`DataError` for a value that JSON cannot hold, NaN and
    infinities included, since two readers would disagree on them.
    """
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"cannot be written as canonical JSON: {error}") from None


def digest_bytes(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hexadecimal."""
    return digest_bytes(canonical_json(value).encode("ascii"))


def source_digest(files: Mapping[str, str]) -> str:
    """Identity of a candidate's source: a mapping from path to content digest."""
    return digest(dict(files))


T = TypeVar("T")


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write through a temporary file in the same folder, fsync and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, mode)  # noqa: PTH101 (a str from mkstemp)
        os.replace(name, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def lock_file(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold a lock on a file, made if need be; raises ``BlockingIOError`` rather than wait.

    A file that is open for writing: on a network file system nothing else can be
    locked against other machines, and a folder not even there.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def to_json(value: Any) -> bytes:
    """The text form of every JSON file: equal values have equal bytes."""
    text = json.dumps(
        to_json_values(value), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    return (text + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Write a record or JSON value atomically."""
    write_bytes(path, to_json(value))


def remove_run_folder(folder: Path) -> None:
    """Remove a folder that a run could write to, however it was left.

    Folders nested too deeply for Python's recursion, or without the right to
    enter them, must not stop a session.
    """
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for words in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*words, "--", str(folder)], capture_output=True, check=False)


def read_bytes(path: Path) -> bytes:
    """Content of a file; :class:`InputMissingError` if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputMissingError(f"{path}: cannot be read ({error.strerror})") from None


def read_json(path: Path) -> Any:
    """Parse a JSON file; :class:`DataError` names file and position."""
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise DataError(
            f"{path}: is not valid JSON ({error}); delete it, and have it made again with: "
            "snakemake --cores 1 -F --config session=THIS"
        ) from None


def read_record(cls: type[T], path: Path) -> T:
    """Read one record from its JSON file."""
    return from_json_values(cls, read_json(path), str(path))


def read_if_whole(cls: type[T], path: Path) -> T | None:
    """Read one record; ``None`` if its file is missing or damaged."""
    try:
        return read_record(cls, path)
    except (InputMissingError, DataError):
        return None


def digest_file(path: Path) -> str:
    """SHA-256 of a file of any size, in hexadecimal."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputMissingError(f"{path}: cannot be read ({error.strerror})") from None


class Fingerprint(Frozen):
    """A named digest, as manifests list them."""

    path: str
    sha256: str
    bytes: int


def fingerprint(path: Path, name: str | None = None) -> Fingerprint:
    """Digest and size of a file, under ``name`` (its own by default)."""
    data = read_bytes(path)
    return Fingerprint(name or path.name, digest_bytes(data), len(data))


MAX_BYTES = 512 * 2**20
"""Larger files that a user names are refused: no log is near it, a core dump is."""


def read_file(path: Path) -> bytes:
    """Bytes of a file that a user named; :class:`InputMissingError` if it cannot be read."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: expected at most {MAX_BYTES} bytes, found {size}")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputMissingError(f"{path}: cannot be read: {reason}") from None


def read_text(path: Path) -> str:
    """Text of a file that a user named; :class:`DataError` if it is no UTF-8."""
    try:
        return read_file(path).decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: expected UTF-8 text, found byte {error.start} that is none"
        ) from None
