"""Namespaces of a run's own: a file system of named mounts, processes, shared memory, a network.

What bubblewrap does, for machines without it.  Linux lets root do it, and where user
namespaces are allowed everybody.  Standard library only, since the supervisor applies it
between fork and exec.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

_NEW_FILES, _NEW_IPC, _NEW_USER, _NEW_NETWORK = 0x20000, 0x08000000, 0x10000000, 0x40000000
_NEW_PROCESSES = 0x20000000
_NOSUID, _NODEV, _NOEXEC, _BIND, _RECURSIVE, _PRIVATE = 2, 4, 8, 0x1000, 0x4000, 0x40000
_DETACH, _PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 2, 1, 4
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
# Since Linux 5.12; Landlock is younger.
_MOUNT_SETATTR, _AT_RECURSIVE, _READ_ONLY = 442, 0x8000, 1
# Mounted over while the new root is made; the machine's own is not seen any more then.
_BASE = "/tmp"
_OLD, _NEW = "/old", "/new"
# Of /dev what no program can do without; /dev/shm holds semaphores of multiprocessing.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SHARED_MEMORY = "/dev/shm"
_LINKS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}

Mount = Sequence[str]
"""What to do, where, and with what.

``read``, ``write``, ``try`` (read, if it is there) and ``device`` (write, if it is there)
show a file or folder of the machine, ``link`` makes a symbolic link.  ``empty``, ``devices``
and ``processes`` are folders: empty and writable, the least ``/dev``, and ``/proc``.
"""


def enter_namespaces(mounts: Iterable[Mount], network: bool, folder: str) -> None:
    """Go on, for good, where nothing is but these mounts, in a folder there.

    ``network`` leaves it that of the machine.  The process must have one thread.  Who goes on
    is a grandchild: this process waits for it and ends as shells do (128 + n for signal n),
    and its child is the first process there, with which all others die.
    Raises :class:`OSError` where it does not work.
    """
    parent, user, group = os.getppid(), os.geteuid(), os.getegid()
    # A process that others may not look into does not own its own folder in /proc.
    _call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)
    flags = _NEW_FILES | _NEW_IPC | _NEW_PROCESSES | (0 if network else _NEW_NETWORK)
    try:
        _call("unshare", flags | _NEW_USER)
    except OSError:
        # Root may do without where users may not.
        _call("unshare", flags)
    else:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    child = os.fork()
    if child:
        _wait_for(child, parent)
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _mount("none", "/", _RECURSIVE | _PRIVATE)
    _mount("tmpfs", _BASE, _NOSUID | _NODEV, "tmpfs", "mode=0755")
    for path in (_OLD, _NEW):
        Path(_BASE + path).mkdir()
    _mount(_BASE + _NEW, _BASE + _NEW, _BIND)
    _pivot(_BASE, _BASE + _OLD)
    usual = os.umask(0o022)
    for what, place, source in mounts:
        _make(what, place, source)
    os.umask(usual)
    _call("umount2", _OLD.encode(), _DETACH)
    os.chdir(_NEW)
    _pivot(".", ".")
    _call("umount2", b".", _DETACH)
    os.chdir(folder)
    child = os.fork()
    if child:
        _wait_for(child)


def _wait_for(child: int, parent: int | None = None) -> NoReturn:
    """End as a child does, having waited for all others; or with the parent."""
    # The run's output and sockets are not to be kept open.
    os.closerange(0, 1 << 20)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    if parent is not None:
        # Again: new rights, those in the namespace, may have ended that.
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def seal_devices(devices: Iterable[str]) -> None:
    """Let nobody that this process becomes change rights and times of devices.

    Root owns them, also in a sandbox.  Does nothing for others, or where it does not work.
    """
    with contextlib.suppress(OSError):
        if os.geteuid() == 0:
            _call("unshare", _NEW_FILES)
            _mount("none", "/", _RECURSIVE | _PRIVATE)
            for device in filter(os.path.exists, devices):
                _mount(device, device, _BIND | _RECURSIVE)
                _seal(device)


def _make(what: str, place: str, source: str) -> None:
    target = _NEW + place
    if what == "link":
        Path(target).symlink_to(source)
    elif what == "empty":
        Path(target).mkdir(parents=True, exist_ok=True)
        _mount("tmpfs", target, _NOSUID | _NODEV, "tmpfs", "mode=1777")
    elif what == "processes":
        Path(target).mkdir(parents=True, exist_ok=True)
        _mount("proc", target, _NOSUID | _NODEV | _NOEXEC, "proc")
        _seal(target)
    elif what == "devices":
        for device in DEVICES:
            _make("device", device, device)
        for name, path in _LINKS.items():
            Path(target, name).symlink_to(f"/proc/self/fd{path}")
        _make("empty", SHARED_MEMORY, "")
    else:
        missing = [FileNotFoundError] if what in ("try", "device") else []
        with contextlib.suppress(*missing):
            _bind(source, place)
            if what != "write":
                # A device can be written to all the same, and its rights stay as they are.
                _seal(target)


def _bind(source: str, place: str) -> None:
    """Show a file or folder of the machine, with what is mounted in it, at a place."""
    old, new = Path(_OLD + source), Path(_NEW + place)
    if old.is_dir():
        new.mkdir(parents=True, exist_ok=True)
    elif not os.path.lexists(new):
        old.stat()
        new.parent.mkdir(parents=True, exist_ok=True)
        new.touch(0o444)
    _mount(str(old), str(new), _BIND | _RECURSIVE)


def _seal(target: str) -> None:
    """Make a mount, and those in it, read-only."""
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    at, flags = ctypes.c_int(-100), ctypes.c_uint(_AT_RECURSIVE)
    _call("syscall", _MOUNT_SETATTR, at, target.encode(), flags, attributes, size)


def _mount(source: str, target: str, flags: int, kind: str | None = None, data: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode() if kind else None)
    _call("mount", *words, ctypes.c_ulong(flags), data.encode() or None)


def _pivot(root: str, old: str) -> None:
    _call("syscall", _PIVOT_ROOT[os.uname().machine], root.encode(), old.encode())
    if root != ".":
        os.chdir("/")


def _call(function: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments):
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
