"""Which system calls a jailed program may make: the list, and the filter made of it.

The list is what plain Python, numpy and sympy need to calculate and to import more of themselves.
Whatever is not on it (processes, threads, signals to others, sockets, mounts, writing to or
changing files, and all that later kernels add) is answered with an error. Only the standard
library is imported, because the jailed process imports this file too.
"""

from __future__ import annotations

import errno
import os
import struct
import sys

_ALWAYS: dict[str, tuple[int | None, int | None]] = {
    # Input and output on files that are already open; what can be opened is decided below.
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "readv": (19, 65),
    "writev": (20, 66),
    "getdents64": (217, 61),
    # Facts about files, for imports. Not where links lead: that tells of other processes in /proc.
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "getcwd": (79, 17),
    # Memory.
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    # Time, and signals of the process to itself by a timer.
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "pause": (34, None),
    "alarm": (37, None),
    "getitimer": (36, 102),
    "setitimer": (38, 103),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigpending": (127, 136),
    "rt_sigreturn": (15, 139),
    "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    # Facts about itself, locks, chance, the end.
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "sched_yield": (24, 124),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""Name: number on x86_64, number on aarch64 (None: that machine has no such call)."""

_READING = os.O_RDONLY | sum(
    getattr(os, name, 0)
    for name in ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NOCTTY", "O_NONBLOCK", "O_LARGEFILE")
)
"""Flags with which a file may be opened: none of them writes, creates, truncates or locates."""
_LARGEFILE = 0o100000 | 0o400000
"""O_LARGEFILE and O_NOFOLLOW of x86_64 and of aarch64: C libraries pass the first where Python
says that it is 0."""
_DUPFD_CLOEXEC, _GETFD, _SETFD, _GETFL = 1030, 1, 2, 3
_TCGETS, _FIONCLEX, _FIOCLEX = 0x5401, 0x5450, 0x5451

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the table above, and what the kernel calls the architecture in a filter."""
_NEWEST = 463
"""System calls from this number on are unknown here; C libraries fall back when one is missing."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16


def machine() -> str | None:
    """Name this machine as in the tables; None where there is no table for it."""
    found = os.uname().machine
    is_64_bit = sys.maxsize > 2**32 and sys.byteorder == "little"
    return found if found in _MACHINES and is_64_bit else None


def program_filter() -> bytes:
    """Give the filter for a jailed program, as the kernel takes it.

    Raises
    ------
    OSError
        There is no table for this machine.
    """
    name = machine()
    if name is None:
        raise OSError(f"no table of system calls for {os.uname().machine}")
    column, architecture = _MACHINES[name]
    refuse = _ERRNO | errno.EPERM
    body = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),  # a call by another architecture's numbers
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, 0x40000000),  # x32: x86_64's calls under other numbers
        (_RETURN, 0, 0, _KILL),
    ]
    for numbers in _ALWAYS.values():
        body += _when(numbers[column], [(_RETURN, 0, 0, _ALLOW)])
    opening = ~(_READING | _LARGEFILE) & 0xFFFFFFFF
    for numbers, argument in (((2, None), 1), ((257, 56), 2)):  # open, openat
        body += _when(
            numbers[column],
            [
                (_LOAD, 0, 0, _ARGUMENTS + 8 * argument),
                (_ANY_BIT, 0, 1, opening),
                (_RETURN, 0, 0, refuse),
                (_RETURN, 0, 0, _ALLOW),
            ],
        )
    for numbers, accepted in (
        ((72, 25), (_DUPFD_CLOEXEC, _GETFD, _SETFD, _GETFL)),  # fcntl
        ((16, 29), (_TCGETS, _FIONCLEX, _FIOCLEX)),  # ioctl
    ):
        block = [(_LOAD, 0, 0, _ARGUMENTS + 8)]
        for value in accepted:
            block += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
        body += _when(numbers[column], [*block, (_RETURN, 0, 0, refuse)])
    # Of itself only (process 0), and limits are read, not set (no new limit is passed).
    for numbers, words in (((302, 261), (0, 4, 5)), ((204, 123), (0,))):  # prlimit64, affinity
        block = []
        for word in words:
            block += [
                (_LOAD, 0, 0, _ARGUMENTS + 4 * word),
                (_EQUAL, 1, 0, 0),
                (_RETURN, 0, 0, refuse),
            ]
        body += _when(numbers[column], [*block, (_RETURN, 0, 0, _ALLOW)])
    body += [
        (_AT_LEAST, 0, 1, _NEWEST),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        (_RETURN, 0, 0, refuse),
    ]
    return b"".join(struct.pack("=HBBI", *one) for one in body)


def _when(
    number: int | None, block: list[tuple[int, int, int, int]]
) -> list[tuple[int, int, int, int]]:
    """Do ``block``, which ends in a return, for one system call."""
    return [] if number is None else [(_EQUAL, 0, len(block), number), *block]
