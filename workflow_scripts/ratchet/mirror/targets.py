"""Places that a mirror lies in: a folder, an rsync target, object storage.

Each stores named objects.  Names of all but indexes follow from the content, so an object that
is there already is never written again.  Objects appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from ratchet.base.errors import InputMissingError, RatchetError, StoreError, UsageError
from ratchet.base.text import one_line, shorten
from ratchet.config import PASSWORD

Content = Path | bytes
"""What an object is made of: a file, or bytes."""

STORAGE = ("s3", "gs", "az")
"""Schemes of addresses in object storage."""

# Within so many seconds of silence a connection counts as broken.
SILENCE_SECONDS = 60
RETRIES = 3
# Larger objects are looked for before they are sent once more.
LARGE_BYTES = 1 << 20
THREADS = 16
# Nothing else is ever removed.
_OWN = re.compile(r"[0-9a-f]{64}|\.partial-\w+")
_PASSWORD = re.compile(PASSWORD)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_HOST = re.compile(r"(?:[\w.-]+@)?[\w.-]+:")


class Target(Protocol):
    """A place for objects by name; methods raise :class:`StoreError` where it does not answer."""

    def read(self, name: str, most: int) -> bytes | None:
        """An object of at most so many bytes; ``None`` where there is none."""

    def sessions(self) -> list[str]:
        """Names of the folders below ``sessions``."""

    def send(self, objects: Mapping[str, Content], replace: bool = False) -> None:
        """Write objects; those that are there already only where told to ``replace`` them."""

    def fetch(self, names: Mapping[str, int], folder: Path) -> None:
        """Copy objects of at most so many bytes each below a folder.

        What is missing, larger, or no file is left out.
        """

    def keep_only(self, folder: str, names: Iterable[str]) -> None:
        """Remove all objects of a folder but these, and nothing that is no object."""


def open_target(address: str, root: Path) -> Target:
    """The target of an address; relative folders are below ``root``."""
    if _PASSWORD.match(address):
        raise UsageError(
            "mirror: expected an address without a password, found one; leave it to the program "
            "or package that connects (its own settings, or environment variables)"
        )
    if not address.strip() or address.startswith("-"):
        raise UsageError(f"mirror: expected a folder or an address, found {address!r:.60}")
    scheme = _SCHEME.match(address)
    if scheme is not None and scheme[1].lower() == "file":
        return FolderTarget(_outside(Path(address[scheme.end() :]), root))
    if (scheme is not None and scheme[1].lower() == "rsync") or _is_remote(address):
        return RsyncTarget(address)
    if scheme is not None and scheme[1].lower() in STORAGE:
        return StorageTarget(address)
    if scheme is not None:
        known = ", ".join(f"{name}://" for name in ("file", "rsync", *STORAGE))
        raise UsageError(f"mirror: expected a folder, HOST:PATH or {known}, found {address!r:.60}")
    return FolderTarget(_outside(root / Path(address).expanduser(), root))


def _is_remote(address: str) -> bool:
    return _HOST.match(address) is not None and not _SCHEME.match(address)


def _outside(folder: Path, root: Path) -> Path:
    """The folder, unless it lies within what is mirrored."""
    for own in (root / "results", root / "store"):
        if folder.resolve().is_relative_to(own.resolve()):
            raise UsageError(f"mirror: expected a folder outside {own.resolve()}, found {folder}")
    return folder


@contextlib.contextmanager
def _reported(place: str) -> Iterator[None]:
    """Turn whatever a file system or package raises into an error that names the place."""
    try:
        yield
    except RatchetError:
        raise
    except Exception as error:  # whatever a package raises
        words = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError) and error.strerror:
            words = error.strerror + (f" ({error.filename})" if error.filename else "")
        said = re.sub(r"(://)[^/\s@]+@", r"\1", one_line(words))
        # Of storage at Azure a signature, which opens it, is part of each address.
        said = re.sub(r"(://[^\s?]*)\?[^\s)'\"]*", r"\1", said)
        raise StoreError(f"mirror {place}: {shorten(said, 300)}") from error


class FolderTarget:
    """A folder on another disk, or one that is mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str, most: int) -> bytes | None:
        with _reported(str(self.folder)):
            try:
                # Of a pipe that somebody left there nobody is waited for.
                handle = os.open(self._place(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                return None
            with os.fdopen(handle, "rb") as stream:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise StoreError(f"mirror {self.folder / name}: expected a file, found none")
                data = stream.read(most + 1)
            return data if len(data) <= most else None

    def _place(self, name: str) -> Path:
        """Where an object lies, unless a link would lead elsewhere: others may write there too."""
        path = self.folder / name
        for each in (path, *path.parents):
            if each == self.folder:
                break
            if each.is_symlink():
                raise StoreError(
                    f"mirror {each}: expected a file or folder, found a link; remove it"
                )
        return path

    def sessions(self) -> list[str]:
        with _reported(str(self.folder)):
            return sorted(path.name for path in (self.folder / "sessions").glob("*"))

    def send(self, objects: Mapping[str, Content], replace: bool = False) -> None:
        with _reported(str(self.folder)):
            for name, content in objects.items():
                path = self._place(name)
                if replace or not _has(path, content):
                    _write(path, content)

    def fetch(self, names: Mapping[str, int], folder: Path) -> None:
        with _reported(str(self.folder)):
            for name, most in names.items():
                with contextlib.suppress(StoreError):  # links
                    source, target = self._place(name), folder / name
                    if source.is_file() and source.stat().st_size <= most:
                        target.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(source, target)

    def keep_only(self, folder: str, names: Iterable[str]) -> None:
        wanted = set(names)
        with _reported(str(self.folder)):
            for path in self._place(folder).glob("*"):
                if path.name not in wanted and _OWN.fullmatch(path.name):
                    path.unlink(missing_ok=True)


def _has(path: Path, content: Content) -> bool:
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _write(path: Path, content: Content) -> None:
    """Write an object beside its place, and rename.  Only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
    try:
        with os.fdopen(handle, "wb") as stream:
            if isinstance(content, bytes):
                stream.write(content)
            else:
                with content.open("rb") as source:
                    shutil.copyfileobj(source, stream, 1 << 20)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class RsyncTarget:
    """A folder that the program rsync reaches, over SSH or a daemon of its own."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        if shutil.which("rsync") is None:
            raise InputMissingError(
                f"mirror {address}: expected the program rsync on the PATH, found none; install it"
            )

    def read(self, name: str, most: int) -> bytes | None:
        with tempfile.TemporaryDirectory() as place:
            self.fetch({name: most}, Path(place))
            path = Path(place) / name
            return path.read_bytes() if path.is_file() else None

    def sessions(self) -> list[str]:
        done = self._call("--list-only", f"{self.address}/sessions/", missing=True)
        lines = done.decode(errors="replace").splitlines()
        found = (line.split(maxsplit=4) for line in lines if line.startswith("d"))
        return sorted(words[4] for words in found if len(words) == 5 and words[4] != ".")

    def send(self, objects: Mapping[str, Content], replace: bool = False) -> None:
        with tempfile.TemporaryDirectory() as name:
            for each, content in objects.items():
                path = Path(name) / each
                path.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, bytes):
                    path.write_bytes(content)
                else:
                    path.symlink_to(content.resolve())
            # Names tell the content, so a file that is there with its size is the same.
            compare = ["--ignore-times"] if replace else ["--size-only"]
            words = ["-rL", "--mkpath", "--chmod=D700,F600", *compare]
            self._call(*words, f"{name}/", f"{self.address}/")

    def fetch(self, names: Mapping[str, int], folder: Path) -> None:
        if not names:
            return
        listed = "\0".join(names).encode()
        words = ["--files-from=-", "--from0", f"--max-size={max(names.values())}"]
        # `-r` alone brings no links, devices or rights along.
        source, target = f"{self.address}/", f"{folder}/"
        self._call("-r", *words, source, target, given=listed, missing=True)
        for name, most in names.items():
            path = folder / name
            if path.is_symlink() or (path.is_file() and path.stat().st_size > most):
                path.unlink()

    def keep_only(self, folder: str, names: Iterable[str]) -> None:
        with tempfile.TemporaryDirectory() as place:
            for name in names:
                (Path(place) / name).touch()
            # Nothing is sent: what is there stays, what is not here is deleted.
            words = ["-r", "--delete", "--existing", "--ignore-existing"]
            words += [f"--filter=R {'?' * 64}", "--filter=P *"]
            self._call(*words, f"{place}/", f"{self.address}/{folder}/", missing=True)

    def _call(self, *words: str, given: bytes = b"", missing: bool = False) -> bytes:
        """Output of rsync; ``missing``: that a file is not there is no error."""
        shell = {"RSYNC_RSH": os.environ.get("RSYNC_RSH", "ssh -o BatchMode=yes")}
        done = subprocess.run(
            ["rsync", f"--timeout={SILENCE_SECONDS}", *words],
            input=given,
            capture_output=True,
            env={**os.environ, "LC_ALL": "C.UTF-8", **shell},
            check=False,
        )
        # Of files or folders that are not there.
        said = done.stderr.decode(errors="replace").strip()
        absent = missing and done.returncode in (3, 12, 23) and "No such file" in said
        if done.returncode and not absent:
            why = one_line(said.splitlines()[0] if said else f"exit status {done.returncode}")
            raise StoreError(f"mirror {self.address}: rsync failed: {shorten(why, 300)}")
        return done.stdout


class StorageTarget:
    """Object storage, reached by the package obstore: S3 and what speaks like it, GCS, Azure."""

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            self._package: Any = importlib.import_module("obstore")
        except ImportError:
            raise InputMissingError(
                f"mirror {address}: expected the package obstore in this environment, found none; "
                "work in the environment that `make env-mirror` makes, or install it here: "
                f"{sys.executable} -m pip install obstore"
            ) from None
        patience = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=SILENCE_SECONDS)}
        with _reported(address):
            self._store = self._package.store.from_url(address.rstrip("/"), retry_config=patience)

    def read(self, name: str, most: int) -> bytes | None:
        with _reported(self.address):
            try:
                got = self._package.get(self._store, name)
            except FileNotFoundError:
                return None
            return bytes(got.bytes()) if got.meta["size"] <= most else None

    def sessions(self) -> list[str]:
        with _reported(self.address):
            listed = self._package.list_with_delimiter(self._store, "sessions")
            return sorted(str(name).rsplit("/", 1)[-1] for name in listed["common_prefixes"])

    def send(self, objects: Mapping[str, Content], replace: bool = False) -> None:
        def one(name: str) -> None:
            content = objects[name]
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
            if replace or size < LARGE_BYTES or self._size(name) != size:
                self._package.put(self._store, name, content)

        self._each(one, objects)

    def fetch(self, names: Mapping[str, int], folder: Path) -> None:
        def one(name: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                got = self._package.get(self._store, name)
                if got.meta["size"] <= names[name]:
                    target = folder / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("wb") as stream:
                        for chunk in got.stream(min_chunk_size=LARGE_BYTES):
                            stream.write(chunk)

        self._each(one, names)

    def keep_only(self, folder: str, names: Iterable[str]) -> None:
        wanted = {f"{folder}/{name}" for name in names}
        with _reported(self.address):
            pages = self._package.list(self._store, folder)
            gone = [o["path"] for page in pages for o in page if o["path"] not in wanted]
            if gone:
                self._package.delete(self._store, gone)

    def _size(self, name: str) -> int | None:
        try:
            return int(self._package.head(self._store, name)["size"])
        except FileNotFoundError:
            return None

    def _each(self, act: Callable[[str], None], names: Iterable[str]) -> None:
        with _reported(self.address), ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(act, list(names)):
                pass
