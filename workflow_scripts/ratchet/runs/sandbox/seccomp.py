"""Filter of system calls: what a run may ask of the kernel, whatever its sandbox shows it.

A sandbox of files and namespaces leaves calls that reach past it: sockets, keyrings, other
processes' limits, shared memory of System V.  The filter refuses them with an error
(``EPERM``, or ``ENOSYS`` as an older kernel would), so that honest libraries fall back.
Calls that are newer than the filter are unknown to it and refused too.

Linux 3.17 and later on x86-64 and 64-bit ARM; elsewhere there is none.  Standard library
only, since the supervisor applies it between fork and exec.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_LOAD, _AND, _JUMP_EQUAL, _JUMP_ABOVE, _RETURN = 0x20, 0x54, 0x15, 0x25, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
# Offsets in what the kernel shows of a call; arguments have a lower and an upper half.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_SET_FILTER, _SPEC_ALLOW = 1, 4
_WHOLE = 0xFFFFFFFF
# Place of each machine's number in the table, its name for the kernel, and seccomp() itself.
_MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}
# mseal: what is newer, and the calls of x32 with their high bit, are above.
_LAST = 462

# Numbers on x86-64 and on 64-bit ARM; None where there is no such call.
_NUMBERS: Mapping[str, tuple[int | None, int | None]] = {
    # Other processes' memory, descriptors and limits.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "prlimit64": (302, 261),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # Keyrings outlive a process.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Shared memory, semaphores and queues that have a number instead of a file.
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # Namespaces and mounts.
    "unshare": (272, 97),
    "setns": (308, 268),
    "clone": (56, 220),
    "clone3": (435, 435),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    # What can be changed of a file that may only be read; see _ATTRIBUTES.
    "truncate": (76, 45),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    # Programs in the kernel, and calls that pass filters by.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "lookup_dcookie": (212, 18),
    # The machine itself.
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "personality": (135, 92),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    # Terminals and sockets.
    "ioctl": (16, 29),
    "socket": (41, 198),
    "socketpair": (53, 199),
}
# As on a kernel without them: libraries have another way then.
_UNKNOWN = frozenset({"clone3", "userfaultfd", "statmount", "listmount"}) | {
    name for name in _NUMBERS if name.startswith(("io_uring", "shm", "sem", "msg", "mq_"))
}
# Landlock does not ask who changes these (the length of a file before Linux 6.2); a later
# run could read them.
_ATTRIBUTES = frozenset(
    name
    for name in _NUMBERS
    if name.lstrip("lf").startswith(("chmod", "chown", "utime", "truncate"))
    or name.endswith("xattr")
)
# The flags of clone() that make a namespace.
_NAMESPACES = 0x7E020000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _SEQPACKET, _TYPE = 1, 5, 0xF
_PRIO_PROCESS, _PRIO_GROUP = 0, 1
_IOPRIO_PROCESS, _IOPRIO_GROUP = 1, 2


class _Condition(NamedTuple):
    """The lower half of an argument, masked, must be one of these values (or ``not``).

    All arguments that are looked at are of 32 bits: the kernel ignores the upper half.
    """

    argument: int
    values: Sequence[int]
    mask: int = _WHOLE
    wanted: bool = True


_OWN = (_Condition(0, [0]),)
# What a call must look like; those of _NUMBERS that are named nowhere are always refused.
_CONDITIONS: Mapping[str, Sequence[_Condition]] = {
    "prlimit64": _OWN,
    "clone": (_Condition(0, [0], _NAMESPACES),),
    "personality": (_Condition(0, [0, _WHOLE]),),
    "ioctl": (_Condition(1, [_TIOCSTI, _TIOCLINUX], wanted=False),),
}
# The same where processes of others can be named.
_ABOUT_OTHERS: Mapping[str, Sequence[_Condition]] = {
    "setpriority": (_Condition(1, [0]), _Condition(0, [_PRIO_PROCESS, _PRIO_GROUP])),
    "ioprio_set": (_Condition(1, [0]), _Condition(0, [_IOPRIO_PROCESS, _IOPRIO_GROUP])),
    **dict.fromkeys(
        ("sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr"), _OWN
    ),
    **dict.fromkeys(("migrate_pages", "move_pages"), _OWN),
}


def filter_program(
    machine: str,
    unix: bool = False,
    network: bool = False,
    private: bool = False,
    attributes: bool = False,
) -> bytes:
    """The filter for a machine, by its name in ``os.uname()``; empty where there is none.

    ``unix`` says that sockets in the file system reach nothing outside, ``private`` that
    no process of others can be named, ``attributes`` that no file of others can be, and
    ``network`` that the internet may be used.
    Without ``unix`` there are pairs of sockets alone, and those connected for good.
    """
    if machine not in _MACHINES:
        return b""
    place, architecture, _ = _MACHINES[machine]
    families = [_UNIX] * unix + [_INET, _INET6, _NETLINK] * network
    pairs = [_Condition(0, [_UNIX])] + [_Condition(1, [_STREAM, _SEQPACKET], _TYPE)] * (not unix)
    conditions = {**_CONDITIONS, "socket": [_Condition(0, families)], "socketpair": pairs}
    program = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_JUMP_EQUAL, architecture, 1),
        _step(_RETURN, _ERROR | errno.ENOSYS),
        _step(_LOAD, _NUMBER),
        _step(_JUMP_ABOVE, _LAST, 0, 1),
        _step(_RETURN, _ERROR | errno.ENOSYS),
    ]
    for name, numbers in _NUMBERS.items():
        number = numbers[place]
        needless = (private and name in _ABOUT_OTHERS) or (attributes and name in _ATTRIBUTES)
        if number is None or needless:
            continue
        refusal = _step(_RETURN, _ERROR | (errno.ENOSYS if name in _UNKNOWN else errno.EPERM))
        wanted = conditions.get(name) or _ABOUT_OTHERS.get(name)
        body = [refusal] if wanted is None else _body(wanted, refusal)
        program += [_step(_JUMP_EQUAL, number, 0, len(body)), *body]
    return b"".join([*program, _step(_RETURN, _ALLOW)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _body(conditions: Sequence[_Condition], refusal: bytes) -> list[bytes]:
    """Steps for one call, each way out of which is an answer."""
    body = []
    for argument, values, mask, wanted in conditions:
        body.append(_step(_LOAD, _ARGUMENTS + 8 * argument))
        if mask != _WHOLE:
            body.append(_step(_AND, mask))
        # A value leads over those that follow and over the step after them.
        for later, value in zip(reversed(range(len(values))), values, strict=True):
            body.append(_step(_JUMP_EQUAL, value, later + 1))
        body += [refusal] if wanted else [_step(_RETURN, _ALLOW), refusal]
    return body if not conditions[-1].wanted else [*body, _step(_RETURN, _ALLOW)]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install_filter(program: bytes) -> None:
    """Filter the calls of this thread and of what it starts, for good.

    Raises :class:`OSError` where that does not work.
    """
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    given = ctypes.byref(_Program(len(program) // 8, program))
    _, _, number = _MACHINES[os.uname().machine]
    # Kernels before 5.16 slow down what is filtered, unless told not to.
    if library.syscall(number, _SET_FILTER, _SPEC_ALLOW, given) and library.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, given, 0, 0
    ):
        code = ctypes.get_errno()
        raise OSError(code, f"no filter of system calls: {os.strerror(code)}")
