"""Whether a living process holds the sessions of a folder.

The lock ends with its process, however that ends, and with the machine; so it
tells what a journal cannot.
"""

import fcntl
import os
import re
import time
from pathlib import Path

from ratchet.base.errors import SessionBusyError
from ratchet.base.structs import Frozen

_OWNER = re.compile(r"(\d+)(?:, session (\S+))?")

# A look at the lock holds it for some microseconds.
_TRIES = 5
_PAUSE_SECONDS = 0.02


class Owner(Frozen):
    """Owner of a folder; ``None`` for what the lock's file does not say."""

    pid: int | None
    session: str | None


def lock_file(root: Path) -> Path:
    """Lock file that the workflow of a folder holds while it lives."""
    return root / ".snakemake" / "ratchet.owner"


def take_folder(root: Path, session: str) -> int:
    """Hold a folder for a session; gives the descriptor that holds it while it is open.

    Raises :class:`SessionBusyError` if another living process has it.
    """
    path = lock_file(root)
    path.parent.mkdir(exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if left:
                time.sleep(_PAUSE_SECONDS)
                continue
            other = os.pread(handle, 128, 0).decode(errors="replace").strip()
            os.close(handle)
            raise SessionBusyError(
                f"{root.resolve()}: another session is running here (process {other}); wait for "
                "it, stop it with Ctrl-C, or run this one in a clone of its own"
            ) from None
    os.truncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}, session {session}\n".encode(), 0)
    return handle


def folder_owner(root: Path) -> Owner | None:
    """Owner of the folder; ``None`` for nobody.

    Raises :class:`OSError` where it cannot be known, as in a copy of the records.
    """
    handle = os.open(lock_file(root), os.O_RDONLY)
    try:
        # Held for an instant, and shared: it is a look, not a claim.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        found = _OWNER.match(os.pread(handle, 128, 0).decode(errors="replace"))
        return Owner(int(found[1]), found[2]) if found else Owner(None, None)
    finally:
        os.close(handle)
    return None


def owns_session(root: Path, session: str) -> bool | None:
    """Whether a living process has this session; ``None`` where it cannot be known.

    A folder runs one session at a time, which may have others within it.
    """
    try:
        found = folder_owner(root)
    except OSError:
        return None
    if found is None:
        return False
    return True if found.session in (None, session) else None
