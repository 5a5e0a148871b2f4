"""The content-addressed store: blobs, memoised answers and finished runs.

Nothing in it is ever declared to Snakemake, which deletes and truncates
outputs.  Entries appear whole, by rename; a finished one is never executed
again; one whose hash does not fit is set aside, never trusted and never
deleted.  GPU time is spent in exactly one place, :meth:`Store.run`.

Several sessions write to one store.  A lock of its own for each key, held by whoever makes
the entry, has the others wait for it.  Where a file system has no locks between machines,
both make it, and the first to publish counts.
"""

import contextlib
import errno
import fcntl
import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ratchet.base.errors import NEW_SESSION, DataError, InputMissingError, StoreError
from ratchet.base.io import (
    Fingerprint,
    digest,
    digest_bytes,
    digest_file,
    lock_file,
    read_bytes,
    read_json,
    remove_run_folder,
    sync_folder,
    to_json,
    write_bytes,
    write_json,
)
from ratchet.base.structs import Frozen, from_json_values, to_json_values
from ratchet.records.ownership import Owner, read_owner, write_owner
from ratchet.records.paths import StorePaths
from ratchet.records.records import Evaluation, Outcome, Pace, RunSummary

# Raise it when runs are measured differently; old entries are then kept but
# no longer found, since a run's key contains it.
RUN_FORMAT = 2
RECORD = "run.json"
LOG = "run.log"
# What a run printed once it was asked about data: it may tell of them, so nobody who
# proposes gets it, and no later run.
LOG_ASKED = "evaluation.log"
METRICS = "metrics.json"
SOURCE = "source"
# Beside an unfinished run: locked while the process lives that makes it.
ALIVE = ".alive"


MEASURED = ("wall_seconds", "cpu_seconds", "peak_memory_mb")
"""Numbers of a run that the harness measures itself; a constraint may bound them too."""


class RunRecord(Frozen):
    """One execution as the store keeps it.

    ``metrics`` holds what the run printed; a NaN or an infinity is ``None``.
    ``cpu_seconds`` and ``peak_rss_mb`` cover the whole process tree of the
    candidate.  With an ``evaluation`` the task's metric is the evaluator's, at
    full precision.  ``telemetry`` sums up the GPU, ``isolation`` is what kept
    the run apart, ``holds`` what that closed and left open on its machine, and ``pace``
    tells how busy the machine was, where that matters.
    ``impossible`` are printed numbers that were taken as not printed, and ``earlier_tries``
    how tries before this one ended, which something else than the run broke off.
    ``machine`` says what of the machine may be to blame for a failure, if anything may.
    ``diverged`` says where the training loss went astray, in words, also of a run that ended
    well and whose metric counts.  ``compile_cache`` is ``warm`` of a run that started from what
    a warm-up of its source compiled, ``empty`` where that left nothing, and empty without one.
    """

    outcome: Outcome
    reason: str
    exit_code: int | None
    signal: int | None
    wall_seconds: float
    cpu_seconds: float
    peak_rss_mb: float | None
    metrics: Mapping[str, float | None]
    evaluation: Evaluation | None = None
    telemetry: Mapping[str, Any] | None = None
    isolation: str = "none"
    holds: str = ""
    peak_group_mb: float | None = None
    unenforced: tuple[str, ...] = ()
    pace: Pace | None = None
    impossible: tuple[str, ...] = ()
    earlier_tries: tuple[str, ...] = ()
    machine: str = ""
    diverged: str = ""
    compile_cache: str = ""

    OPTIONAL: ClassVar[tuple[str, ...]] = ("machine", "diverged", "compile_cache")

    @property
    def is_of_machine(self) -> bool:
        """Whether it is a failure that the machine may be to blame for."""
        return bool(self.machine) or self.outcome in _OF_MACHINE

    @property
    def is_spoilt(self) -> bool:
        """Whether others on the machine made it useless: it must be made again."""
        slowed = self.pace is not None and bool(self.pace.slowed)
        return self.outcome is Outcome.CONTENDED or slowed

    @property
    def peak_memory_mb(self) -> float | None:
        """Measured peak in MiB: of the GPU where one was watched, else of the processes."""
        gpu = (self.telemetry or {}).get("memory_mb")
        return self.peak_rss_mb if gpu is None else float(gpu["max"])

    @property
    def train_seconds(self) -> float | None:
        """Training time as the run printed it, else until it asked to be evaluated.

        ``None`` where it neither printed it nor asked; ``wall_seconds`` is the whole run.
        """
        printed = self.metrics.get("training_seconds")
        if printed is not None or self.evaluation is None:
            return printed
        return self.evaluation.trained_wall_seconds

    @property
    def start_seconds(self) -> float | None:
        """Wall seconds from its start to its evaluation that were no training, compiling included.

        ``None`` where it did not print how long it trained, or was not evaluated.
        """
        printed, asked = self.metrics.get("training_seconds"), self.evaluation
        if printed is None or asked is None:
            return None
        return max(0.0, asked.trained_wall_seconds - printed)

    @property
    def numbers(self) -> dict[str, float | None]:
        """Numbers that the run printed, and those that were measured, by name."""
        return {**self.metrics, **{name: getattr(self, name) for name in MEASURED}}


_OF_MACHINE = (Outcome.TIMEOUT, Outcome.KILLED, Outcome.CONTENDED)


class DamagedError(Exception):
    """An entry is not there, or its hash does not fit; internal to the store."""


class Store:
    """All blobs, memoised answers and runs under one folder."""

    def __init__(self, paths: StorePaths) -> None:
        self.paths = paths

    def put(self, data: bytes) -> str:
        """Keep bytes; returns their digest.  A damaged copy is replaced."""
        sha = digest_bytes(data)
        path = self.paths.blob(sha)
        try:
            if path.stat().st_size == len(data) and digest_bytes(path.read_bytes()) == sha:
                return sha
            self.set_aside(path)
        except FileNotFoundError:
            pass
        write_bytes(path, data, mode=0o444)
        return sha

    def get(self, sha: str) -> bytes:
        """Bytes of a blob, verified.

        Raises :class:`StoreError` if it is missing or damaged: a blob is an
        input, so it cannot be made again from within.
        """
        return self.path(sha).read_bytes()

    def path(self, sha: str) -> Path:
        """Path of a blob, verified without holding it in memory.

        Raises :class:`StoreError` if it is missing or damaged.
        """
        path = self.paths.blob(sha)
        try:
            actual = digest_file(path)
        except InputMissingError:
            actual = "no such file"
        if actual != sha:
            raise StoreError(
                f"{path}: a stored input is damaged (expected sha256 {sha}, found {actual}); "
                f"restore it from a backup, or delete it and {NEW_SESSION}"
            )
        return path

    def fingerprint(self, path: Path, name: str) -> Fingerprint:
        """Keep a copy of a file and name its digest."""
        data = read_bytes(path)
        return Fingerprint(name, self.put(data), len(data))

    def memo(
        self,
        kind: str,
        question: Any,
        answer: Callable[[], Any],
        session: str = "",
        waits: Callable[[Owner], None] | None = None,
    ) -> Any:
        """The first answer ever given to ``question``, as JSON values.

        Used for what a replay could not reproduce by itself (an agent asked
        twice answers differently) or should not pay twice (data preparation).
        ``waits`` is told whom it waits for, which gave itself as its ``session``.
        """
        key = digest(question)
        path = self.paths.memo(kind, key)
        with self.locked(digest([kind, key]), session, waits):
            try:
                entry = read_entry(path)
                if entry["digest"] == digest(entry["answer"]):
                    return entry["answer"]
                self.set_aside(path)
            except InputMissingError:
                pass
            except (DataError, KeyError, TypeError):
                self.set_aside(path)
            value = to_json_values(answer())
            entry = {"question": to_json_values(question), "answer": value, "digest": digest(value)}
            write_json(path, entry)
            return value

    def finished(self, key: str) -> float:
        """Time at which a stored run was finished, in seconds since the epoch."""
        return (self.paths.run(key) / RECORD).stat().st_mtime

    def peek(self, key: str) -> RunRecord | None:
        """A finished run, verified file by file; ``None`` if there is none, or a damaged one.

        Nothing is moved: for those who only read.
        """
        try:
            return self._verified(self.paths.run(key), key)
        except DamagedError:
            return None

    def lookup(self, key: str) -> RunRecord | None:
        """A finished run, verified file by file; ``None`` if there is none.

        A damaged entry is moved to the folder ``damaged`` and counts as none.
        """
        record = self.peek(key)
        if record is None and self.paths.run(key).exists():
            with self.locked(key):
                return self._sound(key)
        return record

    def _sound(self, key: str) -> RunRecord | None:
        """As :meth:`lookup`, for who holds the key: nobody makes the entry meanwhile."""
        record, folder = self.peek(key), self.paths.run(key)
        if record is None and folder.exists():
            self.set_aside(folder)
        return record

    def recorded(self, key: str) -> RunRecord | None:
        """Record of a finished run as it lies there, without a look at its other files.

        For tables of many runs; ``None`` where it cannot be read.
        """
        try:
            return from_json_values(RunRecord, read_json(self.paths.run(key) / RECORD)["record"])
        except (InputMissingError, DataError, KeyError, TypeError):
            return None

    def run(
        self,
        material: Mapping[str, Any],
        execute: Callable[[Path], RunRecord],
        session: str = "",
        waits: Callable[[str, Owner], None] | None = None,
    ) -> tuple[str, RunRecord, bool]:
        """The run that ``material`` identifies: found, or executed and kept.

        ``execute`` gets an empty folder on the store's file system, leaves the
        files to keep in it and returns the record.  Returns key, record and
        whether it was executed now.  Of two processes that ask for one key,
        the second waits and finds the first one's entry: ``waits`` is told the key and
        whom it waits for, which the first gave as its ``session``.
        """
        key = run_key(material)
        known = self.lookup(key)
        if known is not None:
            return key, known, False
        told = None if waits is None else functools.partial(waits, key)
        with self.locked(key, session, told):
            known = self._sound(key)
            if known is not None:
                return key, known, False
            with self.partial_folder("run-") as folder:
                record = execute(folder)
                self._publish(folder, key, material, record)
        return key, self._verified(self.paths.run(key), key), True

    def replicates(self, material: Mapping[str, Any], apart: Iterable[str]) -> list[str]:
        """Keys of the runs that differ from ``material`` in these inputs at most, in order."""

        def rest(inputs: Any) -> Any:
            return {name: value for name, value in inputs.items() if name not in apart}

        wanted, found = rest(to_json_values(material)), []
        for path in sorted(self.paths.runs.glob(f"*/*/{RECORD}")):
            with contextlib.suppress(InputMissingError, DataError, KeyError, AttributeError):
                if rest(read_json(path)["inputs"]) == wanted:
                    found.append(path.parent.name)
        return found

    def clear_partial(self) -> None:
        """Remove what killed processes left unfinished, and nothing that is in use."""
        for path in self.paths.locks.glob("*"):
            handle = _open_lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if handle is not None:
                _remove_lock(path, handle)
        if not self.paths.partial.is_dir():
            return
        with lock_file(self.paths.partial_lock):
            for name in {entry.name.removesuffix(ALIVE) for entry in self.paths.partial.iterdir()}:
                entry, sign = self.paths.partial / name, self.paths.partial / (name + ALIVE)
                with contextlib.suppress(BlockingIOError), lock_file(sign, wait=False):
                    remove_run_folder(entry)
                    remove_run_folder(sign)

    @contextlib.contextmanager
    def locked(
        self, key: str, session: str = "", waits: Callable[[Owner], None] | None = None
    ) -> Iterator[None]:
        """Hold the lock of one key against every other process, and every other thread.

        ``waits`` is told who has it, where somebody has.  The kernel ends the lock with its
        process, however that ends; the file goes with the lock.
        """
        self.paths.locks.mkdir(parents=True, exist_ok=True)
        path = self.paths.locks / key
        handle = _open_lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if handle is None and waits is not None:
            waits(_lock_owner(path))
        while handle is None:
            handle = _open_lock(path, fcntl.LOCK_EX)
        try:
            write_owner(handle, session)
            yield
        finally:
            _remove_lock(path, handle)

    @contextlib.contextmanager
    def partial_folder(self, prefix: str) -> Iterator[Path]:
        """An empty folder for what is being made, which goes at the end, however that comes.

        It is held as long as this process lives: other sessions clear up what the dead left.
        """
        self.paths.partial.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            with lock_file(self.paths.partial_lock):
                folder = Path(tempfile.mkdtemp(dir=self.paths.partial, prefix=prefix))
                # Who clears up can see that this one is alive, as long as it is.
                sign = folder.with_name(folder.name + ALIVE)
                held.enter_context(lock_file(sign))
            try:
                yield folder
            finally:
                remove_run_folder(folder)
                remove_run_folder(sign)

    def _publish(
        self, folder: Path, key: str, material: Mapping[str, Any], record: RunRecord
    ) -> None:
        write_json(folder / METRICS, record.metrics)
        listed = {
            str(path.relative_to(folder)): digest_bytes(path.read_bytes())
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        entry = {
            "inputs": to_json_values(material),
            "key": key,
            "record": to_json_values(record),
            "files": listed,
        }
        write_json(folder / RECORD, {**entry, "digest": digest(entry)})
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o400 if path.name == LOG_ASKED else 0o444)
        target = self.paths.run(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
        except OSError:
            # On a file system without working locks somebody else may have
            # published meanwhile: theirs counts, ours is dropped.  Of a damaged one ours does.
            if self._sound(key) is None:
                folder.rename(target)
        sync_folder(target.parent)

    def _verified(self, folder: Path, key: str) -> RunRecord:
        try:
            entry = read_entry(folder / RECORD)
            stated = entry.pop("digest")
            whole = entry["key"] == key == run_key(entry["inputs"]) and digest(entry) == stated
            record = from_json_values(RunRecord, entry["record"])
            listed = dict(entry["files"].items())
        except (InputMissingError, DataError, KeyError, TypeError, AttributeError):
            raise DamagedError(folder) from None
        if not whole:
            raise DamagedError(folder)
        for name, sha in listed.items():
            path = folder / name
            if not path.is_file() or digest_bytes(path.read_bytes()) != sha:
                raise DamagedError(path)
        return record

    def set_aside(self, path: Path) -> None:
        """Move a damaged entry out of the way; another process may be first."""
        self.paths.damaged.mkdir(parents=True, exist_ok=True)
        for attempt in range(1000):
            target = self.paths.damaged / f"{path.name[:12]}-{attempt}"
            if target.exists():
                continue
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, target)  # noqa: PTH104
            return
        raise StoreError(f"{self.paths.damaged}: holds too many damaged entries; look at them")


# The last is what a network file system says of a file that another machine removed.
_NOT_YET = (errno.EWOULDBLOCK, errno.ENOENT, errno.ESTALE)


def _open_lock(path: Path, how: int) -> int | None:
    """A lock on a file, as a descriptor; ``None`` where it must be asked for again.

    Another process has it, or the file went with the lock of who had it before.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, how)
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except BaseException as error:
        os.close(handle)
        if isinstance(error, OSError) and error.errno in _NOT_YET:
            return None
        raise
    os.close(handle)
    return None


def _lock_owner(path: Path) -> Owner:
    try:
        with path.open("rb") as stream:
            return read_owner(stream.fileno())
    except OSError:  # it has ended meanwhile
        return Owner(None, None)


def _remove_lock(path: Path, handle: int) -> None:
    """End a lock that is held; its file goes first, while nobody else can have it."""
    with contextlib.suppress(OSError):
        path.unlink()
    os.close(handle)


def peak_memory(store: Store, runs: Iterable[RunSummary]) -> float | None:
    """Largest memory of some runs in MiB: as they printed it, else as it was measured.

    ``None`` if it is known of none of them.
    """
    known: list[float | None] = []
    for run in runs:
        record = store.lookup(run.key) if run.memory_mb is None else None
        known.append(run.memory_mb if record is None else record.peak_memory_mb)
    return max((memory for memory in known if memory is not None), default=None)


def read_entry(path: Path) -> Any:
    """An entry's JSON, which must be the bytes that :func:`ratchet.base.io.to_json` writes.

    So that no byte of it can change unseen, not even between two values.  Raises
    :class:`DataError` for any other bytes, :class:`InputMissingError` for none.
    """
    entry, data = read_json(path), read_bytes(path)
    try:
        same = to_json(entry) == data
    except ValueError:
        same = False
    if not same:
        raise DataError(f"{path}: is not written as entries are; it was changed")
    return entry


def run_key(material: Mapping[str, Any]) -> str:
    """Key of a run: the digest of everything that its result may depend on."""
    return digest({"format": RUN_FORMAT, **to_json_values(material)})
