"""The filter of system calls, asked as the kernel asks it; tests/security runs it for real."""

import errno
import os
import re
import struct
from pathlib import Path

import pytest

from ratchet.runs.sandbox import seccomp
from ratchet.runs.sandbox.seccomp import filter_program

X86, ARM = 0xC000003E, 0xC00000B7
HEADERS = {
    0: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    1: Path("/usr/include/asm-generic/unistd.h"),
}
UNIX, INET, INET6, NETLINK, PACKET = 1, 2, 10, 16, 17
STREAM, DATAGRAM, RAW, SEQPACKET, CLOSE_ON_EXEC = 1, 2, 3, 5, 0o2000000


def ask(program: bytes, number: int, *words: int, architecture: int = X86) -> int:
    """Error that a filter gives to a call; 0 if it lets it through."""
    call = struct.pack("=iIQ6Q", number, architecture, 0, *words, *[0] * (6 - len(words)))
    steps = list(struct.iter_unpack("=HBBI", program))
    place, value = 0, 0
    while True:
        code, if_true, if_false, k = steps[place]
        place += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("=I", call, k)
            case 0x54:
                value &= k
            case 0x15 | 0x25:
                place += if_true if (value == k if code == 0x15 else value > k) else if_false
            case 0x06:
                return 0 if k == 0x7FFF0000 else k & 0xFFFF
            case _:
                raise AssertionError(f"no such step: {code:#x}")


def test_each_machine_has_its_own_numbers() -> None:
    x86, arm = filter_program("x86_64"), filter_program("aarch64")
    # ptrace(2) and keyctl(2); getpid(2).
    assert [ask(x86, n) for n in (101, 250, 39)] == [errno.EPERM, errno.EPERM, 0]
    numbers = (117, 219, 172)
    assert [ask(arm, n, architecture=ARM) for n in numbers] == [errno.EPERM, errno.EPERM, 0]
    assert filter_program("riscv64") == b""


def test_other_tables_of_calls_are_closed() -> None:
    program = filter_program("x86_64", unix=True, network=True, private=True)
    for architecture in (0x40000003, ARM, 0):
        assert ask(program, 20, architecture=architecture) == errno.ENOSYS
    assert ask(program, 0x40000000 + 39) == errno.ENOSYS
    assert ask(program, 500) == errno.ENOSYS
    assert ask(program, -1) == errno.ENOSYS


@pytest.mark.parametrize("place", HEADERS)
def test_numbers_are_the_kernels(place: int) -> None:
    if not HEADERS[place].exists():
        pytest.skip(f"there is no {HEADERS[place]}")
    text = HEADERS[place].read_text()
    found = re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", text)
    known = {name: int(number) for name, number in found}
    ours = {name: numbers[place] for name, numbers in seccomp._NUMBERS.items()}
    shared = {name: number for name, number in ours.items() if name in known}
    assert shared == {name: known[name] for name in shared}
    assert len(shared) > 70


def test_every_name_with_a_condition_is_known() -> None:
    assert {*seccomp._CONDITIONS, *seccomp._ABOUT_OTHERS, *seccomp._UNKNOWN} <= {*seccomp._NUMBERS}
    for program in (filter_program(m, *w) for m in ("x86_64", "aarch64") for w in ALL):
        # What the kernel takes at most, and no step leads beyond the end.
        steps = list(struct.iter_unpack("=HBBI", program))
        assert len(steps) < 4096
        for place, (code, if_true, if_false, _) in enumerate(steps):
            assert code == 0x06 or place + 1 + max(if_true, if_false) < len(steps)


ALL = [(u, n, p) for u in (False, True) for n in (False, True) for p in (False, True)]


@pytest.mark.parametrize(("unix", "network", "private"), ALL)
def test_sockets(unix: bool, network: bool, private: bool) -> None:
    program = filter_program("x86_64", unix, network, private)
    allowed = {f for f in (UNIX, INET, INET6, NETLINK, PACKET, 40) if not ask(program, 41, f)}
    wanted = ({UNIX} if unix else set()) | ({INET, INET6, NETLINK} if network else set())
    assert allowed == wanted
    # The upper half is nothing to the kernel.
    assert (ask(program, 41, (1 << 32) + UNIX) == 0) == unix
    pairs = {w for w in (STREAM, DATAGRAM, RAW, SEQPACKET) if not ask(program, 53, UNIX, w)}
    # A datagram can be sent to anybody, also from a pair.
    assert pairs == ({STREAM, DATAGRAM, RAW, SEQPACKET} if unix else {STREAM, SEQPACKET})
    assert ask(program, 53, UNIX, STREAM | CLOSE_ON_EXEC) == 0
    assert ask(program, 53, INET, STREAM) == errno.EPERM


def test_arguments_decide() -> None:
    program = filter_program("x86_64")
    clone = 56
    assert ask(program, clone, 0x003D0F00) == 0  # a thread
    assert ask(program, clone, 17) == 0  # a process
    for flag in (0x20000, *(1 << n for n in range(25, 31))):
        assert ask(program, clone, flag | 17) == errno.EPERM
    assert ask(program, 435) == errno.ENOSYS  # clone3, whose flags are out of sight
    assert ask(program, 302, 0, 7) == 0
    assert ask(program, 302, 1, 7) == errno.EPERM
    assert ask(program, 135, 0xFFFFFFFF) == 0
    assert ask(program, 135, 0x40000) == errno.EPERM
    assert ask(program, 16, 0, 0x5401) == 0
    assert ask(program, 16, 0, 0x5412) == ask(program, 16, 0, 0x541C) == errno.EPERM
    assert ask(program, 16, 0, 0xFFFFFFFF00005412) == errno.EPERM


def test_processes_of_others_are_left_alone() -> None:
    program, private = filter_program("x86_64"), filter_program("x86_64", private=True)
    affinity, priority, disk = 203, 141, 251
    assert ask(program, affinity, 0) == 0
    assert ask(program, affinity, 1) == errno.EPERM
    assert [ask(program, priority, which, 0) for which in range(3)] == [0, 0, errno.EPERM]
    assert ask(program, priority, 0, 1) == errno.EPERM
    assert [ask(program, disk, which, 0) for which in (1, 2, 3)] == [0, 0, errno.EPERM]
    assert {ask(private, affinity, 1), ask(private, priority, 2, 0)} == {0}
    # Limits of the sandbox's own first process are nobody's business.
    assert ask(private, 302, 1) == errno.EPERM


def test_attributes_of_files_that_others_read_are_left_alone() -> None:
    assert len(seccomp._ATTRIBUTES) == 19
    shut, free = filter_program("x86_64"), filter_program("x86_64", attributes=True)
    chmod, fchmodat2, utimensat, fsetxattr = 90, 452, 280, 190
    for number in (chmod, fchmodat2, utimensat, fsetxattr):
        assert (ask(shut, number), ask(free, number)) == (errno.EPERM, 0)


@pytest.mark.skipif(not filter_program(os.uname().machine), reason="no filter on this machine")
def test_a_filter_holds_for_good() -> None:
    child = os.fork()
    if child == 0:
        seen = 1
        try:
            seccomp.install_filter(filter_program(os.uname().machine))
            with open("/proc/self/status") as status:  # noqa: PTH123
                filtered = "Seccomp:\t2" in status.read()
            try:
                os.sched_setaffinity(os.getppid(), os.sched_getaffinity(0))
            except PermissionError:
                seen = 0 if filtered else 2
        finally:
            os._exit(seen)
    assert os.waitpid(child, 0)[1] == 0
