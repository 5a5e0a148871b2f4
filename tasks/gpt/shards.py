"""The public web text: parquet shards, downloaded once into a cache that sessions share.

Fixed file of the task; ``prepare.py`` imports it and there is nothing to run.

A download goes on where it was broken off (``.partial`` with the server's tag beside
it).  What a shard hashed to when it was first downloaded stands in the cache's
``manifest.json``; a later download of other bytes is an error, and so is a file that was
changed since.  A failed download is an error too: other data are never taken instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from corpus import EXIT_UNAVAILABLE, EXIT_WRONG_DATA, PreparationError

URL = "https://huggingface.co/datasets/karpathy/climbmix-400b-shuffle/resolve/main"
# The last shard and the one before it are nobody's training data.
LAST_SHARD = 6542
VALIDATION_SHARD, AUDIT_SHARD = LAST_SHARD, LAST_SHARD - 1

MANIFEST = "manifest.json"
ATTEMPTS = 5
PAUSE_SECONDS = 1.0  # before the second attempt; twice as long before each further one
TIMEOUT_SECONDS = 60.0
BLOCK = 1 << 20
# Answers that another attempt will not change.
FINAL = frozenset({400, 401, 403, 404, 410})

Entry: TypeAlias = dict[str, Any]


def name_of(number: int) -> str:
    """File name of a shard."""
    return f"shard_{number:05d}.parquet"


class Cache:
    """A folder of shards with their digests; ``url`` is the folder that they come from."""

    def __init__(self, folder: Path, url: str = URL, pause_seconds: float = PAUSE_SECONDS) -> None:
        self.folder, self.url, self.pause_seconds = folder, url.rstrip("/"), pause_seconds
        self.folder.mkdir(parents=True, exist_ok=True)

    def fetch(self, number: int) -> tuple[Path, Entry]:
        """A shard as a verified file, and what the manifest says of it.

        Raises :class:`PreparationError` if it cannot be had, or is not what it was.
        """
        name = name_of(number)
        path, address = self.folder / name, f"{self.url}/{name}"
        with self._locked():
            known = self._manifest().get(address)
            if not path.exists():
                partial = self._download(address, path)
                found = describe(partial)
                if known is not None and found["sha256"] != known["sha256"]:
                    partial.unlink()
                    raise self._changed(address, known, found, "the server sends other bytes now")
                self._record(address, found)
                partial.replace(path)
                return path, found
            found = describe(path)
            if known is None:
                why = f"{path}: is not in {MANIFEST} beside it, so that nobody knows what it was"
                raise PreparationError(EXIT_WRONG_DATA, f"{why}; type: rm {path}, and try again")
            if found != known:
                raise self._changed(str(path), known, found, f"type: rm {path}, and try again")
            return path, known

    def _changed(self, what: str, known: Entry, found: Entry, todo: str) -> PreparationError:
        return PreparationError(
            EXIT_WRONG_DATA,
            f"{what}: expected sha256 {known['sha256']} ({known['bytes']} bytes, from the first "
            f"download, in {self.folder / MANIFEST}), found {found['sha256']} "
            f"({found['bytes']} bytes); {todo}",
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _manifest(self) -> dict[str, Entry]:
        path = self.folder / MANIFEST
        try:
            found: dict[str, Entry] = json.loads(path.read_text()) if path.exists() else {}
        except ValueError:
            raise PreparationError(
                EXIT_WRONG_DATA,
                f"{path}: expected JSON with the digests of the shards, found something else; "
                f"restore it, or remove {self.folder} to download everything again",
            ) from None
        return found

    def _record(self, address: str, entry: Entry) -> None:
        entries = {**self._manifest(), address: entry}
        write(self.folder / MANIFEST, json.dumps(entries, indent=1, sort_keys=True).encode())

    def _download(self, address: str, path: Path) -> Path:
        """The whole file as ``NAME.partial``, after as many attempts as it takes."""
        partial = path.with_name(path.name + ".partial")
        why = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(self.pause_seconds * 2 ** (attempt - 1))
            try:
                continue_download(address, partial)
                return partial
            except urllib.error.HTTPError as error:
                why = f"the server answered {error.code} {error.reason}"
                if error.code in FINAL:
                    break
            except (OSError, http.client.HTTPException, IncompleteError) as error:
                why = str(getattr(error, "reason", None) or error)
        kept = partial.stat().st_size if partial.exists() else 0
        raise PreparationError(
            EXIT_UNAVAILABLE,
            f"{address}: cannot be downloaded ({why}); {kept} bytes of it are kept in {partial} "
            "and a later try goes on there. Without a network choose a preset with the offline "
            "corpus, such as: snakemake --cores 1 --config task=tasks/gpt preset=cpu-tiny, or "
            "preset=gpu-offline",
        )


class IncompleteError(Exception):
    """The connection ended before the file did."""


def continue_download(address: str, partial: Path) -> None:
    """Complete ``partial`` from ``address``; raises :class:`IncompleteError` or :class:`OSError`.

    What is there is gone on with only if the server says that the file is still the
    same; otherwise it is downloaded from its beginning.
    """
    tag_file = partial.with_name(partial.name + ".tag")
    tag = tag_file.read_text() if tag_file.exists() else ""
    have = partial.stat().st_size if partial.exists() and tag else 0
    request = urllib.request.Request(address, headers={"User-Agent": "ratchet-gpt"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            partial.unlink()
            raise IncompleteError("the kept part is longer than the file") from None
        raise
    with answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        start, total = _extent(answer, have) if resumed else (0, _length(answer))
        if resumed and start != have:
            raise IncompleteError(f"the server went on at byte {start} instead of {have}")
        write(tag_file, (answer.headers.get("ETag") or "").encode())
        with partial.open("ab" if resumed else "wb") as out:
            while block := answer.read(BLOCK):
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
    size = partial.stat().st_size
    if total is not None and size != total:
        raise IncompleteError(f"{size} of {total} bytes came")
    tag_file.unlink()


def _extent(answer: Any, have: int) -> tuple[int, int | None]:
    """First byte and size of the file, from ``Content-Range: bytes 5-9/10``."""
    span, _, total = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    return int(first) if first.isdigit() else have, int(total) if total.isdigit() else None


def _length(answer: Any) -> int | None:
    said = answer.headers.get("Content-Length")
    return int(said) if said is not None else None


def describe(path: Path) -> Entry:
    """Digest and size of a file."""
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    return {"sha256": found, "bytes": path.stat().st_size}


def write(path: Path, content: bytes) -> None:
    """Write a file so that a reader never sees half of it."""
    partial = path.with_name(f".{path.name}.new")
    with partial.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)
