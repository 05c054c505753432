"""What a process gives up for good before a stranger's program runs in it.

Every function is one layer, applies to the calling process and all that it starts, and raises
OSError where it cannot be had: a jail with a layer missing does not start. Only the standard
library is imported, because the jailed process imports this file too; it loads on any system and
works on Linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import struct
from collections.abc import Sequence
from typing import Any

_PDEATHSIG, _DUMPABLE, _SET_SECCOMP, _CAPBSET_DROP, _SUBREAPER, _NO_NEW_PRIVS, _AMBIENT = (
    1,
    4,
    22,
    24,
    36,
    38,
    47,
)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every machine
_CAPSET = {"x86_64": 126, "aarch64": 91}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_NEW_LISTENER = 1 << 3
_ASKED, _ANSWER, _GO_ON = 0xC0502100, 0xC0182101, 1

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_CHANGE = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 14
"""To write and empty files, and to make and remove files and folders."""
_HANDLED = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Landlock version: how many rights over files it knows."""
_TCP = 0b11
"""To listen at and to connect to a port."""
_SCOPED = 0b11
"""Abstract sockets of, and signals to, processes outside."""
_LIMITS = {
    "STACK": 8 << 20,
    "CORE": 0,
    "FSIZE": 1 << 20,
    "NOFILE": 64,
    "MEMLOCK": 0,
    "MSGQUEUE": 0,
    "NICE": 0,
    "RTPRIO": 0,
}


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _call(*arguments: Any) -> int:
    """Make a system call by its number, or fail with OSError."""
    libc = _libc()
    libc.syscall.restype = ctypes.c_long
    found = int(libc.syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found


def _prctl(option: int, *arguments: Any) -> None:
    full = [*arguments, 0, 0, 0, 0][:4]
    converted = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in full]
    if _libc().prctl(option, *converted) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends."""
    _prctl(_PDEATHSIG, int(signal.SIGKILL))


def leave_no_core() -> None:
    """Have a crash leave nothing, not even to a program of the system that collects crashes."""
    _prctl(_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Become the parent of processes that are left over by one's children."""
    _prctl(_SUBREAPER, 1)


def forgo_privileges(machine: str) -> None:
    """Never gain a privilege again, and drop all capabilities that there are."""
    _prctl(_NO_NEW_PRIVS, 1)
    for capability in range(64):
        try:
            _prctl(_CAPBSET_DROP, capability)
        except OSError:  # no such capability, or none of them is held and so none can come back
            break
    _prctl(_AMBIENT, 4)  # clear all
    header = struct.pack("=Ii", 0x20080522, 0)
    _call(_CAPSET[machine], ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))


def landlock_version() -> int:
    """Give the version of Landlock that the kernel has; 0: none."""
    try:
        return max(_call(_CREATE_RULESET, 0, 0, 1), 0)
    except (OSError, AttributeError, ValueError):
        return 0


def restrict_files(readable: Sequence[str], own: str) -> None:
    """Allow nothing of the file system but reading ``readable`` and changing ``own``; no TCP.

    Signals and abstract sockets end at this process and its children, where Landlock is new enough.
    """
    version = landlock_version()
    rights = (1 << _HANDLED.get(version, max(_HANDLED.values()))) - 1
    attributes = [rights, _TCP, _SCOPED][: 1 if version < 4 else 2 if version < 6 else 3]
    rules = struct.pack(f"={len(attributes)}Q", *attributes)
    ruleset = _call(_CREATE_RULESET, ctypes.c_char_p(rules), len(rules), 0)
    try:
        for path in (*readable, own):
            try:
                folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                allowed = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
                allowed |= _CHANGE & rights if path == own else 0
                rule = struct.pack("=Qi", allowed, folder)
                _call(_ADD_RULE, ruleset, 1, ctypes.c_char_p(rule), 0)
            finally:
                os.close(folder)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def restrict_signals() -> None:
    """Let signals end at this very process, where Landlock is new enough; else do nothing."""
    if landlock_version() >= 6:
        rules = struct.pack("=3Q", 0, 0, _SCOPED)
        ruleset = _call(_CREATE_RULESET, ctypes.c_char_p(rules), len(rules), 0)
        try:
            _call(_RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)


def restrict_calls(program: bytes) -> None:
    """Answer every system call as a filter says (see ``syscalls``)."""
    _code, head = _filter(program)
    _prctl(_SET_SECCOMP, 2, head)


def listen(program: bytes, machine: str) -> int:
    """Have the kernel ask, where a filter says so; give the file at which to answer."""
    _code, head = _filter(program)
    return _call(_SECCOMP[machine], 1, _NEW_LISTENER, head)


def _filter(program: bytes) -> tuple[Any, Any]:
    """Give what the kernel takes, and what has to be kept until then."""
    code = ctypes.create_string_buffer(program, len(program))
    return code, ctypes.c_char_p(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))


def asked(listener: int) -> tuple[int, int] | None:
    """Give a question of the kernel: its id and the number of the call; None: there is none."""
    question = bytearray(80)
    try:
        fcntl.ioctl(listener, _ASKED, question)
    except OSError:  # who made the call has ended
        return None
    found: tuple[int, int] = struct.unpack_from("=Q8xi", question)
    return found


def answer(listener: int, question: int, error: int) -> None:
    """Let a call go on (0), or have it fail with an error."""
    reply = struct.pack("=QqiI", question, 0, -error, 0 if error else _GO_ON)
    with contextlib.suppress(OSError):
        fcntl.ioctl(listener, _ANSWER, reply)


def limit(seconds: float, address_space: int | None) -> None:
    """Set the limits of a program: processor time, memory in bytes, length of a file."""
    whole = int(seconds) + 2
    _limit("CPU", whole, whole + 1)
    if address_space is not None:
        _limit("AS", address_space)
    for name, most in _LIMITS.items():
        _limit(name, most)


def limit_processes() -> None:
    """Start no process and no thread; as root, without a jail, this does not hold."""
    _limit("NPROC", 0)


def limit_own() -> None:
    """Set the limits of the process that starts programs."""
    _limit("CORE", 0)
    _limit("NOFILE", 64)


def _limit(name: str, soft: int, hard: int | None = None) -> None:
    kind = getattr(resource, f"RLIMIT_{name}", None)
    if kind is not None:  # not every system has every limit
        most = resource.getrlimit(kind)[1]
        hard = soft if hard is None else hard
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(kind, (soft, hard))
