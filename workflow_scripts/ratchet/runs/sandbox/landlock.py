"""Landlock: a process gives up the right to open what it does not need.

Linux 5.13 and later, no root and nothing to install.  Standard library only,
since the supervisor applies it between fork and exec.  Covered: contents of
files, other processes' memory, from kernel 6.7 TCP, from 6.12 signals and abstract
sockets.  ``seccomp`` and ``namespaces`` close what it leaves open.
"""

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Mapping, Sequence

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_VERSION_FLAG, _RULE_PATH_BENEATH = 1, 1
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
# Third version of the interface to capabilities; 64 of them, in two halves.
_CAPABILITIES, _CAPABILITY_COUNT = 0x20080522, 64
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
# What makes sense for a single file; a rule for one may not name more.
_FOR_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
# Number of access rights to files that a version of the interface knows.
_RIGHTS_BY_VERSION = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
# Binding and connecting TCP; abstract sockets and signals to processes outside.
_ALL_TCP, _ALL_SCOPES = 0b11, 0b11
TCP_VERSION, SCOPE_VERSION = 4, 6


def _call(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result = int(library.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def landlock_version() -> int:
    """Version of the kernel's interface; 0 where there is none."""
    try:
        return _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    except (OSError, AttributeError):
        return 0


def restrict_process(rules: Mapping[str, Sequence[str]], network: bool) -> None:
    """Restrict this thread and what it starts, for good.

    ``rules`` maps "read", "list" (names in folders alone) and "write" to
    paths; what does not exist is left out.  Raises :class:`OSError` where it
    does not work.
    """
    known = landlock_version()
    if not known:
        raise OSError("this kernel has no Landlock")
    rights = (1 << _RIGHTS_BY_VERSION.get(known, 16)) - 1
    tcp = 0 if network or known < TCP_VERSION else _ALL_TCP
    scopes = 0 if known < SCOPE_VERSION else _ALL_SCOPES
    attributes = struct.pack("=QQQ", rights, tcp, scopes)
    size = 8 if known < TCP_VERSION else 16 if known < SCOPE_VERSION else 24
    ruleset = _call(_CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    granted = {"read": READ, "list": READ_DIR, "write": rights}
    for kind, paths in rules.items():
        for path in paths:
            _allow(ruleset, path, granted[kind] & rights)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _drop_capabilities()
    _call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def restrict_scope() -> None:
    """Close signals and abstract sockets of processes outside to this thread and what it
    starts, where the kernel can; files and mounts stay as they are."""
    if landlock_version() < SCOPE_VERSION:
        return
    attributes = struct.pack("=QQQ", 0, 0, _ALL_SCOPES)
    ruleset = _call(_CREATE, attributes, ctypes.c_size_t(24), ctypes.c_uint32(0))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def _drop_capabilities() -> None:
    """Root gives up its powers; some of them look into processes past Landlock.

    With CAP_PERFMON or CAP_SYS_ADMIN, Linux 6.11 and later show the environment
    and the memory map of any process.
    """
    library = ctypes.CDLL(None, use_errno=True)
    for number in range(_CAPABILITY_COUNT):
        library.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    header, nothing = struct.pack("=Ii", _CAPABILITIES, 0), bytes(24)
    if library.capset(header, nothing):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _allow(ruleset: int, path: str, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(handle).st_mode):
                rights &= _FOR_FILES
            rule = struct.pack("=Qi", rights, handle)
            _call(
                _ADD_RULE,
                ctypes.c_int(ruleset),
                ctypes.c_int(_RULE_PATH_BENEATH),
                rule,
                ctypes.c_uint32(0),
            )
        finally:
            os.close(handle)
