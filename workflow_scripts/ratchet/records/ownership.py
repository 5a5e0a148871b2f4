"""Which sessions of a folder living processes hold.

A lock ends with its process, however that ends, and with the machine; so it tells what
a journal cannot.  Sessions of one folder run side by side, each under a lock of its own.
"""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from ratchet.base.errors import SessionBusyError
from ratchet.base.structs import Frozen
from ratchet.records.paths import SessionPaths

_OWNER = re.compile(r"(\d+)(?:, session (\S+))?")
_ENDING = ".lock"

# A look at the lock holds it for some microseconds.
_TRIES = 5
_PAUSE_SECONDS = 0.02


class Owner(Frozen):
    """Who holds a lock; ``None`` for what its file does not say."""

    pid: int | None
    session: str | None

    def __str__(self) -> str:
        session = f", session {self.session}" if self.session else ""
        return f"{'unknown' if self.pid is None else self.pid}{session}"


def session_lock(root: Path, session: str) -> Path:
    """Lock file that the workflow of a session holds while it lives.

    It is no file of the session's own folder: a copy of the records tells nothing of who
    runs them.
    """
    return root / ".snakemake" / "ratchet" / f"{session}{_ENDING}"


def take_sessions(root: Path, session: str, others: Iterable[str] = ()) -> list[int]:
    """Hold a session, and ``others`` within it; gives the descriptors that hold them while open.

    Raises :class:`SessionBusyError` if another living process has one of them.
    """
    taken = list[int]()
    try:
        for name in (session, *others):
            taken.append(_take(root, name, session))
    except BaseException:
        for handle in taken:
            os.close(handle)
        raise
    return taken


def _take(root: Path, name: str, session: str) -> int:
    path = session_lock(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if left:
                time.sleep(_PAUSE_SECONDS)
                continue
            other = read_owner(handle)
            os.close(handle)
            raise SessionBusyError(
                f"{root.resolve()}: session {name!r} is running here already (process {other}); "
                "wait for it, stop it with Ctrl-C, or start another session beside it: "
                "--config session=NAME"
            ) from None
    write_owner(handle, session)
    return handle


def write_owner(handle: int, session: str) -> None:
    """Say in a lock's file that this process holds it, for a session."""
    os.truncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}, session {session}\n".encode(), 0)


def read_owner(handle: int) -> Owner:
    """Who a lock's file says that holds it."""
    found = _OWNER.match(os.pread(handle, 128, 0).decode(errors="replace"))
    return Owner(int(found[1]), found[2]) if found else Owner(None, None)


def session_owner(root: Path, session: str) -> Owner | None:
    """Who holds a session, or the tournament that it is of; ``None`` for nobody.

    Raises :class:`OSError` where it cannot be known, as in a copy of the records.
    """
    handle = os.open(session_lock(root, session), os.O_RDONLY)
    try:
        # Held for an instant, and shared: it is a look, not a claim.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return read_owner(handle)
    finally:
        os.close(handle)
    return None


def owns_session(root: Path, session: str) -> bool | None:
    """Whether a living process has this session; ``None`` where it cannot be known."""
    try:
        return session_owner(root, session) is not None
    except OSError:
        return None


def tournament_of(root: Path, session: str) -> str:
    """The tournament that a session competes in; empty for one that only has a dot in its name."""
    name = session.rpartition(".")[0]
    return name if name and SessionPaths(name, root).tournament.parent.is_dir() else ""


def running_sessions(root: Path) -> dict[str, Owner]:
    """Owners of the sessions that run here, by name; competitors run within their tournament."""
    found = dict[str, Owner]()
    for path in sorted(session_lock(root, "").parent.glob(f"*{_ENDING}")):
        name = path.name.removesuffix(_ENDING)
        with contextlib.suppress(OSError):
            owner = session_owner(root, name)
            if owner is not None and owner.session in (None, name):
                found[name] = owner
    return found
