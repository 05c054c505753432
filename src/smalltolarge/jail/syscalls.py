"""Which system calls a jailed program may make: the list, and the filter made of it.

The list is what plain Python, numpy and sympy need to calculate, to import more of themselves, and
to use files of a folder of their own, threads and event loops. Whatever is not on it (processes,
signals to others, sockets that lead anywhere, mounts, changing what files are, and all that later
kernels add) is answered with an error. Every new thread, file or folder is counted: the kernel asks
the process that started the program. Which files can be reached is not decided here. Only the
standard library is imported, because the jailed process imports this file too.
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
    # Changing files. Those outside the program's own folder are read-only by other layers.
    "pwrite64": (18, 68),
    "ftruncate": (77, 46),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rmdir": (84, None),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    # Event loops.
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "recvfrom": (45, 207),
    "getsockname": (51, 204),
    # Facts about files, for imports. Not where links lead: that tells of other processes in /proc.
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
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
    "rseq": (334, 293),
    "sched_yield": (24, 124),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""Name: number on x86_64, number on aarch64 (None: that machine has no such call)."""

_OPENING = sum(
    getattr(os, name, 0)
    for name in (
        "O_WRONLY",
        "O_RDWR",
        "O_CREAT",
        "O_EXCL",
        "O_TRUNC",
        "O_APPEND",
        "O_CLOEXEC",
        "O_DIRECTORY",
        "O_NOFOLLOW",
        "O_NOCTTY",
        "O_NONBLOCK",
    )
)
"""Flags with which a file may be opened: none makes a file without a name, or only locates one."""
_CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_APPEND
_LARGEFILE = 0o100000 | 0o400000
"""O_LARGEFILE and O_NOFOLLOW of x86_64 and of aarch64: C libraries pass the first where Python
says that it is 0."""
_DUPFD_CLOEXEC, _GETFD, _SETFD, _GETFL = 1030, 1, 2, 3
_TCGETS, _FIONBIO, _FIONCLEX, _FIOCLEX = 0x5401, 0x5421, 0x5450, 0x5451
_UNIX, _STREAM, _STREAM_NONBLOCK, _STREAM_CLOEXEC = 1, 1, 0o4001, 0o2000001
_THREAD, _THREAD_MUSL = 0x3D0F00, 0x7D0F00
"""Flags of a new thread, which shares all with this one, as two C libraries pass them."""
_CLONE, _CLONE3 = (56, 220), (435, 435)
_MAKING = (((83, None), 1), ((258, 34), 2))
"""mkdir and mkdirat, and which argument is the mode."""
_OPEN = (((2, None), 1), ((257, 56), 2))
"""open and openat, and which argument are the flags."""

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the table above, and what the kernel calls the architecture in a filter."""
_NEWEST = 463
"""System calls from this number on are unknown here; C libraries fall back when one is missing."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO, _ASK = 0x7FFF0000, 0x80000000, 0x00050000, 0x7FC00000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16


def machine() -> str | None:
    """Name this machine as in the tables; None where there is no table for it."""
    found = os.uname().machine
    is_64_bit = sys.maxsize > 2**32 and sys.byteorder == "little"
    return found if found in _MACHINES and is_64_bit else None


def is_thread(number: int) -> bool:
    """Whether what the kernel asks about is a new thread; else it is a new file or folder."""
    return number in _CLONE


def program_filter(*, counted: bool) -> bytes:
    """Give the filter for a jailed program, as the kernel takes it.

    ``counted`` says that ``asking_filter`` is there, without which there are no new threads, files
    or folders.

    Raises
    ------
    OSError
        There is no table for this machine.
    """
    column, architecture = _machine()
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    allow = (_RETURN, 0, 0, _ALLOW)
    unknown = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    body = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),  # a call by another architecture's numbers
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, 0x40000000),  # x32: x86_64's calls under other numbers
        (_RETURN, 0, 0, _KILL),
    ]
    for numbers in _ALWAYS.values():
        body += _when(numbers[column], [allow])
    writing = os.O_WRONLY | os.O_RDWR
    for numbers, argument in _OPEN:
        flags = (_LOAD, 0, 0, _ARGUMENTS + 8 * argument)
        known = _OPENING | _LARGEFILE if counted else (_OPENING | _LARGEFILE) & ~_CHANGING
        block = [
            *(flags, (_ANY_BIT, 0, 1, ~known & 0xFFFFFFFF), refuse),
            # Old kernels let a file be emptied that is opened for reading.
            *((_ANY_BIT, 0, 2, os.O_TRUNC), (_ANY_BIT, 1, 0, writing), refuse, allow),
        ]
        body += _when(numbers[column], block)
    for numbers, argument in _MAKING if counted else ():
        # A folder that its owner cannot open could not be emptied afterwards.
        block = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]
        for bit in (0o400, 0o200, 0o100):
            block += [(_ANY_BIT, 1, 0, bit), refuse]
        body += _when(numbers[column], [*block, allow])
    for numbers, argument, accepted in (
        (_CLONE, 0, (_THREAD, _THREAD_MUSL) if counted else ()),
        ((72, 25), 1, (_DUPFD_CLOEXEC, _GETFD, _SETFD, _GETFL)),  # fcntl
        ((16, 29), 1, (_TCGETS, _FIONBIO, _FIONCLEX, _FIOCLEX)),  # ioctl
    ):
        block = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]
        for value in accepted:
            block += [(_EQUAL, 0, 1, value), allow]
        body += _when(numbers[column], [*block, refuse])
    body += _when(_CLONE3[column], [unknown])  # its flags cannot be seen: C libraries take clone
    block = [(_LOAD, 0, 0, _ARGUMENTS), (_EQUAL, 1, 0, _UNIX), refuse]
    block += [(_LOAD, 0, 0, _ARGUMENTS + 8)]
    for value in (_STREAM, _STREAM_NONBLOCK, _STREAM_CLOEXEC):
        block += [(_EQUAL, 0, 1, value), allow]
    body += _when((53, 199)[column], [*block, refuse])  # socketpair: its ends are one program's
    # Of itself only (process 0), limits are read, not set (no new limit is passed), and what is
    # sent goes to the other end, not to an address.
    for numbers, words in (
        ((302, 261), (0, 4, 5)),  # prlimit64
        ((204, 123), (0,)),  # sched_getaffinity
        ((44, 206), (8, 9)),  # sendto
    ):
        block = []
        for word in words:
            block += [(_LOAD, 0, 0, _ARGUMENTS + 4 * word), (_EQUAL, 1, 0, 0), refuse]
        body += _when(numbers[column], [*block, allow])
    return _packed([*body, (_AT_LEAST, 0, 1, _NEWEST), unknown, refuse])


def asking_filter() -> bytes:
    """Give the filter by which the kernel asks about every new thread, file and folder.

    It holds beside the other one, whose refusals come first.

    Raises
    ------
    OSError
        There is no table for this machine.
    """
    column, _ = _machine()
    ask, allow = (_RETURN, 0, 0, _ASK), (_RETURN, 0, 0, _ALLOW)
    body = [(_LOAD, 0, 0, _NUMBER)]
    for numbers in (_CLONE, *(numbers for numbers, _ in _MAKING)):
        body += _when(numbers[column], [ask])
    for numbers, argument in _OPEN:
        flags = (_LOAD, 0, 0, _ARGUMENTS + 8 * argument)
        body += _when(numbers[column], [flags, (_ANY_BIT, 0, 1, os.O_CREAT), ask, allow])
    return _packed([*body, allow])


def _machine() -> tuple[int, int]:
    name = machine()
    if name is None:
        raise OSError(f"no table of system calls for {os.uname().machine}")
    return _MACHINES[name]


def _packed(steps: list[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("=HBBI", *one) for one in steps)


def _when(
    number: int | None, block: list[tuple[int, int, int, int]]
) -> list[tuple[int, int, int, int]]:
    """Do ``block``, which ends in a return, for one system call."""
    return [] if number is None else [(_EQUAL, 0, len(block), number), *block]
