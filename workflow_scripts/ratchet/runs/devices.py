"""Devices of runs: which there are, which a session may use, and whose turn it is.

A device is a GPU, an instance of a GPU in MIG mode, or a core of the processor.  A run has
its own while it lasts.  A lease is an flock on one file per device, in a folder that all
sessions of the machine share; the kernel ends it with the last process that has the file
open, however that ends.  Whoever waits has a ticket there, which is a locked file too, so
that the dead leave the queue by themselves.

The lock alone says whether a device is free.  What the files say is for people and for the
order among those who wait, and anybody may have written it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import ConfigError
from ratchet.base.structs import Frozen
from ratchet.base.text import finite_number, one_line_label, spoken_duration

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
FOLDER = "RATCHET_LEASES"
"""Variable that names another folder for leases than the one in the temporary folder."""

ALL = "all"
Devices = str | Sequence[int | str]
"""``all``, or places among the visible devices and beginnings of their ids."""

WAIT_SECONDS = 0.5
"""Between two looks for a free device."""

SAID_AFTER_SECONDS = 2.0
"""A shorter wait is the end of the run before, and nobody is told."""

ORDER_SECONDS = 5.0
"""So long one who decides is waited for.  It takes milliseconds; whoever was stopped in them
costs the others the fair order once, and no lease."""

STOPPED_SECONDS = 30.0
"""A waiter that has not looked for so long was stopped, and is passed over until it goes on."""

LEFT_SECONDS = 10.0
"""A place that a waiter leaves for so long although it is its turn goes to the next one."""

CORE = "cpu-"
_TICKET = re.compile(r"\d{20,}-\d+-[0-9a-f]{8}", re.ASCII)
_PLACE = re.compile(r"[\w/-]{1,100}", re.ASCII)
MOST_OWNER = 500

MOST_BYTES = 1 << 16
"""Most that is read of a file in the folder."""

KEPT_TURNS = 200
"""Sessions whose last turn is remembered."""

SHOWN_HOLDERS = 3


class Gpu(Frozen):
    """One GPU: its place in the order of the bus, its lasting id, its model.

    Of a GPU in MIG mode each ``instance`` is one by itself; ``board`` is the GPU's own id.
    """

    index: int
    uuid: str
    name: str
    instance: int | None = None
    board: str = ""

    def handle(self, nvml: Any) -> Any:
        """What NVML calls it."""
        found = nvml.nvmlDeviceGetHandleByIndex(self.index)
        if self.instance is None:
            return found
        return nvml.nvmlDeviceGetMigDeviceHandleByIndex(found, self.instance)


def list_gpus(nvml: Any | None) -> list[Gpu]:
    """All GPUs of this machine; none without a library."""
    found: list[Gpu] = []
    if nvml is None:
        return found
    with contextlib.suppress(nvml.NVMLError):
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            whole = Gpu(index, nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle))
            parts = _instances(nvml, handle, whole)
            found += [whole] if parts is None else parts
    return found


def _instances(nvml: Any, handle: Any, whole: Gpu) -> list[Gpu] | None:
    """Instances of a GPU in MIG mode, which nobody can use whole; ``None`` of any other."""
    try:
        if not nvml.nvmlDeviceGetMigMode(handle)[0]:
            return None
        most = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except (nvml.NVMLError, AttributeError):
        return None
    found = []
    for number in range(most):
        with contextlib.suppress(nvml.NVMLError):  # numbers may have gaps
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            name = nvml.nvmlDeviceGetName(part)
            if "MIG" not in name:
                # Of two sizes, which measure differently.
                gib = nvml.nvmlDeviceGetMemoryInfo(part).total / 2**30
                name = f"{name} MIG {gib:.0f} GiB"
            uuid = nvml.nvmlDeviceGetUUID(part)
            found.append(Gpu(whole.index, uuid, name, number, whole.uuid))
    return found


def allowed_gpus(found: Sequence[Gpu], visible: str | None, devices: Devices = ALL) -> list[Gpu]:
    """The GPUs that an outer ``CUDA_VISIBLE_DEVICES`` leaves, in its order.

    As CUDA does: indices or the beginnings of ids, and nothing after the first
    entry that fits none.  The index or id of a GPU in MIG mode stands for its instances.

    Of these the ones that ``devices`` names, whose numbers count within what is left.
    Raises :class:`ConfigError` for one that is not there.
    """
    left = list(found) if visible is None else _visible(found, visible)
    if isinstance(devices, str):
        return left
    chosen: list[Gpu] = []
    for word in devices:
        match = (
            left[word : word + 1]
            if isinstance(word, int)
            else [gpu for gpu in left if gpu.uuid.startswith(word)]
        )
        if len(match) != 1:
            raise ConfigError(_unknown(word, left, visible, len(match)))
        chosen += match
    return list(dict.fromkeys(chosen))


def _visible(found: Sequence[Gpu], visible: str) -> list[Gpu]:
    chosen: list[Gpu] = []
    for word in (part.strip() for part in visible.split(",")):
        match = [gpu for gpu in found if str(gpu.index) == word]
        if word and not word.isdigit():
            match = [gpu for gpu in found if gpu.uuid.startswith(word)]
            match = match or [gpu for gpu in found if gpu.board.startswith(word)]
        if len({gpu.board or gpu.uuid for gpu in match}) != 1 or (
            len(match) > 1 and match[0].uuid.startswith(word)
        ):
            break
        chosen += match
    return chosen


def _unknown(word: int | str, left: Sequence[Gpu], visible: str | None, count: int) -> str:
    within = "" if visible is None else f" that {VISIBLE_GPUS}={visible} leaves"
    known = ", ".join(f"{number}: {gpu.uuid}" for number, gpu in enumerate(left))
    several = f", which {count} ids begin with" if count else ""
    return (
        f"devices: expected numbers or ids of the GPUs{within}, found {word!r}{several}; "
        f"there {f'are {known}' if known else 'is none'} (set devices to {ALL}, or name these)"
    )


def compute_processes(nvml: Any, handle: Any) -> frozenset[int]:
    """Ids of the processes that compute on a GPU; none where it does not tell.

    Not those that draw: a desktop has its GPU open all night and hardly uses it.
    """
    with contextlib.suppress(nvml.NVMLError, AttributeError):
        return frozenset(p.pid for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    return frozenset()


class Claim(Frozen):
    """One run that wants a device: its session with the folder that has it, and its own name.

    Of several sessions each takes its turn.  A GPU on which others compute is taken after
    ``share_after_seconds`` (``None``: never), and at once if all of them are in ``known``.
    """

    session: str = ""
    folder: str = ""
    run: str = ""
    share_after_seconds: float | None = 0.0
    known: frozenset[int] = frozenset()

    @property
    def owner(self) -> str:
        """Who takes turns."""
        return f"{self.folder}:{self.session}"[-MOST_OWNER:]


class Holder(Frozen):
    """Who has a device, by its own words; the lock says that somebody does."""

    owner: str = ""
    session: str = ""
    run: str = ""
    since: float | None = None
    pid: int | None = None

    @property
    def words(self) -> str:
        """It in words, such as ``session night (experiment 12, since 02:14)``."""
        if not self.session:
            return f"process {self.pid}" if self.pid else "another process"
        about = [one_line_label(self.run, 60)] if self.run else []
        if self.since is not None:
            with contextlib.suppress(OverflowError, OSError, ValueError):
                about.append(f"since {time.strftime('%H:%M', time.localtime(self.since))}")
        return f"session {one_line_label(self.session, 64)}" + (
            f" ({', '.join(about)})" if about else ""
        )


class Lease(Frozen):
    """What is ours while the ``descriptors`` are open, here or in a child.

    ``shared`` are the processes of others on the ``gpu`` when it was taken.
    """

    descriptors: tuple[int, ...] = ()
    gpu: Gpu | None = None
    shared: tuple[int, ...] = ()


class Waiter(Frozen):
    """One who waits for ``count`` of some places, any of them."""

    ticket: str
    owner: str
    since: float
    places: tuple[str, ...]
    count: int = 1


def fair_turns(
    waiters: Iterable[Waiter],
    held: Mapping[str, int],
    last: Mapping[str, float],
    free: Iterable[str],
) -> dict[str, tuple[str, ...]]:
    """Free places that each waiter may take now, by ticket; those that must wait are left out.

    The owner that holds the fewest goes first.  Of equals it is the one that waits longest,
    where an owner's ``last`` turn sends it to the end of the queue with all its waiters.
    Places that are too few for the one whose turn it is are kept for it.
    """
    waiting, left, found = list(waiters), list(free), dict[str, tuple[str, ...]]()
    has, turns = Counter(held), dict[str, int]()

    def place_in_queue(one: Waiter) -> tuple[Any, ...]:
        since = max(one.since, last.get(one.owner, one.since))
        return has[one.owner], turns.get(one.owner, 0), since, one.since, one.ticket

    while waiting and left:
        now = min(waiting, key=place_in_queue)
        waiting.remove(now)
        kept = [place for place in now.places if place in left][: now.count]
        left = [place for place in left if place not in kept]
        if len(kept) == now.count:
            found[now.ticket] = tuple(kept)
            has[now.owner] += now.count
            turns[now.owner] = len(found)
    return found


Said = Callable[[str], None]
"""Called once with why a run waits, if it does."""


@contextlib.contextmanager
def lease_gpu(
    nvml: Any | None,
    visible: str | None,
    folder: Path | None = None,
    model: str | None = None,
    devices: Devices = ALL,
    claim: Claim | None = None,
    said: Said | None = None,
) -> Iterator[Lease | None]:
    """Hold one free GPU, of ``model`` if that is given, against all other processes here.

    Waits for its turn.  ``None`` where no such GPU is visible.
    """
    claim = claim or Claim()
    allowed = allowed_gpus(list_gpus(nvml), visible, devices)
    wanted = {gpu.uuid: gpu for gpu in allowed if model in (None, gpu.name)}
    if not wanted:
        yield None
        return

    def busy() -> dict[str, frozenset[int]]:
        found = {uuid: compute_processes(nvml, gpu.handle(nvml)) for uuid, gpu in wanted.items()}
        return {uuid: pids for uuid, pids in found.items() if pids}

    names = {gpu.uuid: f"GPU {number}" for number, gpu in enumerate(allowed)}
    with _held(LeaseFolder(folder), claim, tuple(wanted), 1, names, busy, said) as taken:
        (place, descriptor) = next(iter(taken.items()))
        yield Lease((descriptor,), wanted[place], tuple(sorted(busy().get(place, ()))))


@contextlib.contextmanager
def lease_cores(
    cores: Sequence[int],
    threads: int,
    folder: Path | None = None,
    claim: Claim | None = None,
    said: Said | None = None,
) -> Iterator[Lease]:
    """Hold as many of these cores of the processor as a run has threads, at most all of them.

    Waits for its turn among sessions; one never waits for itself.
    """
    names = {f"{CORE}{core}": f"core {core}" for core in cores}
    count = max(1, min(threads, len(names)))
    places = LeaseFolder(folder), claim or Claim(), tuple(names), count, names
    with _held(*places, None, said, beside_own=True) as taken:
        yield Lease(tuple(taken.values()))


@contextlib.contextmanager
def _held(
    leases: LeaseFolder,
    claim: Claim,
    places: tuple[str, ...],
    count: int,
    names: Mapping[str, str],
    busy: Callable[[], Mapping[str, frozenset[int]]] | None,
    said: Said | None,
    beside_own: bool = False,
) -> Iterator[dict[str, int]]:
    """Descriptors of the places that were got, by place, once they were."""
    began = time.monotonic()
    with leases.ticket(claim, places, count) as ticket:
        while True:
            others = busy() if busy else {}
            waited, limit = time.monotonic() - began, claim.share_after_seconds
            shares = {
                place
                for place, pids in others.items()
                if pids <= claim.known or (limit is not None and waited >= limit)
            }
            taken = leases.attempt(ticket, others.keys(), shares, beside_own)
            if taken is not None:
                break
            if said is not None and waited >= SAID_AFTER_SECONDS:
                holders = leases.holders(places)
                said(waiting_words(names, holders, others, limit))
                said = None
            time.sleep(WAIT_SECONDS)
    try:
        yield taken
    finally:
        for descriptor in taken.values():
            os.close(descriptor)


def waiting_words(
    names: Mapping[str, str],
    holders: Mapping[str, Holder],
    busy: Mapping[str, Collection[int]],
    share_after_seconds: float | None,
) -> str:
    """What a run waits for, by the names of its places, and who has them."""
    kind = next(iter(names.values())).partition(" ")[0]
    kind = "processor core" if kind == "core" else kind
    said = []
    if holders:
        many = {1: "it is", 2: "both are"}.get(len(names), "all are")
        if len(holders) < len(names):
            many = f"{len(holders)} of {len(names)} {'is' if len(holders) == 1 else 'are'}"
        known = list(dict.fromkeys(holder.words for holder in holders.values()))
        more = len(known) - SHOWN_HOLDERS
        shown = " and ".join(known[:SHOWN_HOLDERS]) + (f" and {more} more" if more > 0 else "")
        said.append(f"{many} used by {shown}")
    for place, pids in busy.items():
        if place not in holders:
            who = "process" if len(pids) == 1 else "processes"
            pause = "is not shared"
            if share_after_seconds is not None:
                pause = f"is shared after {spoken_duration(share_after_seconds)}"
            numbers = ", ".join(map(str, sorted(pids)[:SHOWN_HOLDERS]))
            said.append(f"{names[place]} has {who} {numbers} of others on it and {pause}")
    return f"waits for a {kind}: {'; '.join(said) or 'others come first'}"


class _Ticket(Frozen):
    """A waiter's own file, open and locked."""

    path: Path
    descriptor: int
    claim: Claim
    waiter: Waiter


class LeaseFolder:
    """Folder with the leases of a machine, and with the queue for them.

    By default it is in the temporary folder.  All users may write to it; nobody but root and
    its owner can take away another's files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = lease_folder() if folder is None else folder
        self._queue = self.folder / "queue"
        self._left: dict[str, float] = {}

    def _prepare(self) -> None:
        for place in (self.folder, self._queue):
            try:
                with contextlib.suppress(FileExistsError):
                    place.mkdir(parents=True)
                    place.chmod(0o1777)
                found = place.lstat()
            except OSError as error:
                raise self._unusable(place, error.strerror or str(error)) from None
            if not stat.S_ISDIR(found.st_mode):
                raise self._unusable(place, "it is no folder")
            if not found.st_mode & stat.S_ISVTX and found.st_uid not in (0, os.getuid()):
                raise self._unusable(place, "it is another user's own")

    def _unusable(self, place: Path, why: str) -> ConfigError:
        return ConfigError(
            f"{place}: expected a folder in which runs can lock their devices, found that it "
            f"cannot be used ({why}); set {FOLDER} to a folder on a disk of this machine, the "
            "same for all sessions"
        )

    @contextlib.contextmanager
    def ticket(self, claim: Claim, places: tuple[str, ...], count: int) -> Iterator[_Ticket]:
        """A place in the queue while the context lasts."""
        self._prepare()
        since = time.time()
        name = f"{time.time_ns():020}-{os.getpid()}-{os.urandom(4).hex()}"
        path, waiter = self._queue / name, Waiter(name, claim.owner, since, places, count)
        with self._order():
            descriptor = self._open(path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            asked = {"owner": claim.owner, "since": since, "places": places, "count": count}
            _write(descriptor, {**asked, "session": claim.session, "run": claim.run})
        try:
            yield _Ticket(path, descriptor, claim, waiter)
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)

    def attempt(
        self,
        ticket: _Ticket,
        busy: Collection[str] = (),
        shares: Collection[str] = (),
        beside_own: bool = False,
    ) -> dict[str, int] | None:
        """Descriptors of the places that it is this ticket's turn for; ``None`` for not yet.

        ``busy`` places come last, and of them only those that it ``shares``.  Nothing is
        held, and that is all, where ``beside_own`` leases alone one would have to wait.
        """
        os.utime(ticket.descriptor)
        own, mine = ticket.claim.owner, ticket.waiter.places
        with self._order() as order:
            waiters = [ticket.waiter, *self._others(ticket)]
            wanted = dict.fromkeys(place for each in waiters for place in each.places)
            free: dict[str, int | None] = {}
            taken: dict[str, int] | None = None
            try:
                for place in wanted:
                    self._lock(place, free, make=place in mine)
                holders = {place: self._holder(place) for place in wanted if place not in free}
                held = Counter(holder.owner for holder in holders.values())
                last = _read_turns(order)
                quiet = [place for place in free if place not in busy]
                turns = self._turns(waiters, held, last, quiet)
                got = turns.pop(ticket.waiter.ticket, ())
                if not got:
                    others = {place for places in turns.values() for place in places}
                    got = tuple(p for p in mine if p in free and p in shares and p not in others)[
                        :1
                    ]
                if got:
                    taken = {place: fd for place in got if (fd := free.pop(place)) is not None}
                    self._sign(ticket.claim, taken, order, last)
                elif beside_own:
                    rivals = [each.owner for each in waiters if {*each.places} & {*mine}]
                    rivals += [holders[place].owner for place in mine if place in holders]
                    taken = {} if {*rivals} == {own} else None
            finally:
                for descriptor in free.values():
                    if descriptor is not None:
                        os.close(descriptor)
        return taken

    def _turns(
        self,
        waiters: Sequence[Waiter],
        held: Mapping[str, int],
        last: Mapping[str, float],
        free: Collection[str],
    ) -> dict[str, tuple[str, ...]]:
        """Fair turns without those who leave what is theirs."""
        now, me = time.monotonic(), waiters[0].ticket
        late = {ticket for ticket, since in self._left.items() if now - since >= LEFT_SECONDS}
        turns = fair_turns([w for w in waiters if w.ticket not in late], held, last, free)
        there = {w.ticket for w in waiters}
        offered = {ticket for ticket in turns if ticket != me} | (late & there)
        self._left = {ticket: self._left.get(ticket, now) for ticket in offered}
        return turns

    def holders(self, places: Iterable[str]) -> dict[str, Holder]:
        """Who has each of these places that somebody has."""
        found = {}
        for place in places:
            try:
                descriptor = os.open(self._path(place), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            try:
                # Shared, and for an instant: a look, not a claim.
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                found[place] = _holder(_read(descriptor))
            finally:
                os.close(descriptor)
        return found

    def _holder(self, place: str) -> Holder:
        return self.holders([place]).get(place, Holder())

    def _sign(
        self, claim: Claim, taken: Mapping[str, int], order: int | None, last: Mapping[str, float]
    ) -> None:
        """Write who has these places now, for people, and that a turn was had."""
        now = time.time()
        about = {"pid": os.getpid(), "owner": claim.owner, "session": claim.session}
        for descriptor in taken.values():
            _write(descriptor, {**about, "run": claim.run, "since": now})
        if order is not None:
            latest = sorted({**last, claim.owner: now}.items(), key=lambda each: -each[1])
            _write(order, dict(latest[:KEPT_TURNS]))

    def _others(self, ticket: _Ticket) -> Iterator[Waiter]:
        """Those who wait beside one, for GPUs or cores as it does; what the dead left goes."""
        cores = ticket.waiter.places[0].startswith(CORE)
        now = os.fstat(ticket.descriptor).st_mtime
        flags = os.O_RDONLY | os.O_NOFOLLOW
        try:
            # Whose folder it is may have put a link in its place meanwhile.
            queue = os.open(self._queue, flags | os.O_DIRECTORY)
        except OSError as error:
            raise self._unusable(self._queue, error.strerror or str(error)) from None
        try:
            # Nothing else is looked at, or removed.
            for name in sorted(filter(_TICKET.fullmatch, os.listdir(queue))):  # noqa: PTH208
                if name == ticket.path.name:
                    continue
                try:
                    descriptor = os.open(name, flags | os.O_NONBLOCK, dir_fd=queue)
                except OSError:
                    continue
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    with contextlib.suppress(OSError):  # another user's
                        os.unlink(name, dir_fd=queue)
                except OSError:
                    if now - os.fstat(descriptor).st_mtime < STOPPED_SECONDS:
                        waiter = _waiter(name, _read(descriptor))
                        if waiter is not None and waiter.places[0].startswith(CORE) is cores:
                            yield waiter
                finally:
                    os.close(descriptor)
        finally:
            os.close(queue)

    @contextlib.contextmanager
    def _order(self) -> Iterator[int | None]:
        """Be the only one who decides; ``None`` where another took too long over it."""
        descriptor = self._open(self.folder / "turns")
        limit = time.monotonic() + ORDER_SECONDS
        held = False
        try:
            while not held and time.monotonic() < limit:
                held = _try_lock(descriptor)
                if not held:
                    time.sleep(0.005)
            yield descriptor if held else None
        finally:
            os.close(descriptor)

    def _lock(self, place: str, free: dict[str, int | None], make: bool) -> None:
        """Add a place with its descriptor to those that are free, if it is.

        ``None`` for one that nobody ever had, unless its file is to be made.
        """
        if not make and not self._path(place).exists():
            free[place] = None
            return
        descriptor = self._open(self._path(place))
        if _try_lock(descriptor):
            free[place] = descriptor
        else:
            os.close(descriptor)

    def _path(self, place: str) -> Path:
        return self.folder / f"{place.replace('/', '_')}.lock"

    def _open(self, path: Path) -> int:
        """A file of the folder, made if need be, that all users may lock and write to.

        No link is followed and no pipe waited for, whoever left it there.
        """
        flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            try:
                # Another user's file in a sticky folder cannot be opened to be created.
                descriptor = os.open(path, os.O_RDWR | flags)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | flags, 0o666)
                    os.fchmod(descriptor, 0o666)
                    return descriptor
                descriptor = os.open(path, os.O_RDWR | flags)
            except PermissionError:
                descriptor = os.open(path, os.O_RDONLY | flags)
        except OSError as error:
            raise self._unusable(path, error.strerror or str(error)) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self._unusable(path, "it is no file")
        return descriptor


def lease_folder() -> Path:
    """Folder of this machine's leases."""
    given = os.environ.get(FOLDER)
    return Path(given).resolve() if given else Path(tempfile.gettempdir()) / "ratchet-leases"


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


def _write(descriptor: int, value: Mapping[str, Any]) -> None:
    """Write JSON over a file, if it is one that may be written and has no other name."""
    with contextlib.suppress(OSError):
        if os.fstat(descriptor).st_nlink <= 1:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, (json.dumps(value) + "\n").encode(), 0)


def _read(descriptor: int) -> dict[str, Any]:
    """A file's JSON object; empty for anything else."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        value = json.loads(os.pread(descriptor, MOST_BYTES, 0))
        if isinstance(value, dict):
            return value
    return {}


def _read_turns(order: int | None) -> dict[str, float]:
    """When each owner had its last turn, as far as that is known."""
    found = {} if order is None else _read(order)
    known = {owner: finite_number(moment) for owner, moment in found.items()}
    return {owner: moment for owner, moment in known.items() if moment is not None}


def _holder(text: Mapping[str, Any]) -> Holder:
    def word(name: str) -> str:
        value = text.get(name)
        return value if isinstance(value, str) else ""

    pid = text.get("pid")
    return Holder(
        owner=word("owner"),
        session=word("session"),
        run=word("run"),
        since=finite_number(text.get("since")),
        pid=pid if isinstance(pid, int) else None,
    )


def _waiter(name: str, text: Mapping[str, Any]) -> Waiter | None:
    """Waiter of a ticket; ``None`` if it does not say what for."""
    owner, since, count = text.get("owner"), finite_number(text.get("since")), text.get("count")
    places = text.get("places")
    if not isinstance(owner, str) or since is None or not isinstance(places, list):
        return None
    known = [p for p in places if isinstance(p, str) and _PLACE.fullmatch(p)]
    if not isinstance(count, int) or count < 1 or not known:
        return None
    return Waiter(name, owner[:MOST_OWNER], since, tuple(known), count)
