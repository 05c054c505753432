"""The warm process in the jail: it imports the libraries once and is copied for every program.

It is started as a script, with nothing of this package but its neighbours. Standard input is a
socket to the host. Every message is two lengths, a JSON object and raw bytes. The first message
holds the settings; each later one a program, which is answered with how it ended and what it wrote.
"""

from __future__ import annotations

import atexit
import errno
import gc
import json
import mmap
import os
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import confine  # type: ignore[import-not-found]
import libraries  # type: ignore[import-not-found]
import program  # type: ignore[import-not-found]
import syscalls  # type: ignore[import-not-found]

del sys.path[0]

_HEAD = struct.Struct(">II")
_LONGEST = 1 << 20
"""Bytes of a message that are read at most."""
_MOST = 64
"""Threads, and files and folders, that a program may make."""
_IS_LINUX = sys.platform == "linux"


class Ended(Exception):
    """The host is gone or has closed the connection."""


def _receive_into(into: memoryview) -> None:
    while into:
        count = os.readv(_host, [into])
        if count == 0:
            raise Ended
        into = into[count:]


def _receive() -> tuple[dict[str, Any], bytearray]:
    head = bytearray(_HEAD.size)
    _receive_into(memoryview(head))
    sizes = _HEAD.unpack(head)
    if max(sizes) > _LONGEST:
        raise Ended
    header, raw = (bytearray(size) for size in sizes)
    _receive_into(memoryview(header))
    _receive_into(memoryview(raw))
    return json.loads(header), raw


def _send(header: dict[str, Any], *raw: memoryview) -> None:
    text = json.dumps(header).encode()
    parts = [
        memoryview(_HEAD.pack(len(text), sum(len(one) for one in raw))),
        memoryview(text),
        *raw,
    ]
    for part in parts:
        while part:
            part = part[os.write(_host, part) :]


def _wipe(*used: bytearray) -> None:
    """Leave nothing of a program in the memory that later programs get a copy of."""
    for one in used:
        one[:] = bytes(len(one))


def _run(
    source: bytearray, settings: dict[str, Any]
) -> tuple[dict[str, Any], bytearray, bytearray]:
    """Run one program in a copy of this process; give how it ended and what it wrote."""
    most = settings["output"]
    ends = os.pipe(), os.pipe()
    asking, theirs = socket.socketpair()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        program.be_program(source, (ends[0][1], ends[1][1]), theirs, settings)
    theirs.close()
    buffers = bytearray(most), bytearray(most)
    filled = [0, 0]
    poll = select.poll()
    poll.register(_host, select.POLLIN)
    for reading, writing in ends:
        os.close(writing)
        poll.register(reading, select.POLLIN)
    # The child sends one byte, or none if it has ended: the file at which the kernel asks.
    _, files, _, _ = socket.recv_fds(asking, 1, 1)
    asking.close()
    for listener in files:
        poll.register(listener, select.POLLIN)
    made = [0, 0]
    which = {reading: index for index, (reading, _) in enumerate(ends)}
    how, status = "", None
    over = bytearray(4096)
    deadline = began + settings["seconds"]
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                how = "time"
                break
            # Once both pipes are closed, the process ends at once or has closed them itself.
            for ready, event in poll.poll(min(left, 0.02 if which else 0.0005) * 1000):
                if ready == _host:
                    raise Ended
                if ready in files:
                    if event & select.POLLIN:
                        _answer(ready, made)
                    else:
                        poll.unregister(ready)
                    continue
                index = which[ready]
                space = memoryview(buffers[index])[filled[index] :]
                count = os.readv(ready, [space if space else memoryview(over)])
                if count == 0:
                    poll.unregister(ready)
                    del which[ready]
                elif not space:
                    how = "output"
                else:
                    filled[index] += count
            if how:
                break
            if status is None:
                status = _status(child)
            if status is not None and not which:
                break
    finally:
        if status is None:
            _kill(child)
            status = os.waitpid(child, 0)[1]
        _end_orphans()
        for reading, _ in ends:
            os.close(reading)
        for listener in files:
            os.close(listener)
        _empty(settings["scratch"])
    seconds = time.monotonic() - began
    code = os.waitstatus_to_exitcode(status)
    if not how:
        how = "time" if code == -signal.SIGXCPU else "signal" if code < 0 else "exit"
    _wipe(source, over)
    told = {"how": how, "code": abs(code), "seconds": seconds, "out": filled[0], "err": filled[1]}
    return told, *buffers


def _answer(listener: int, made: list[int]) -> None:
    """Let a program make another thread, file or folder, up to a number."""
    question = confine.asked(listener)
    if question is not None:
        kind = int(syscalls.is_thread(question[1]))
        made[kind] += 1
        error = 0 if made[kind] <= _MOST else (errno.EDQUOT, errno.EAGAIN)[kind]
        confine.answer(listener, question[0], error)


def _empty(folder: str) -> None:
    """Remove what a program has left in its folder; there are no links in it."""
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)


def _status(child: int) -> int | None:
    """Give the status of a child that has ended, and end what it left in its group; else None."""
    if hasattr(os, "waitid"):
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        _kill(child)  # while it is still there: its number cannot be another's yet
        return os.waitpid(child, 0)[1]
    ended, status = os.waitpid(child, os.WNOHANG)
    return status if ended else None


def _kill(child: int) -> None:
    """End a child and its group."""
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _end_orphans() -> None:
    """End what a program without a jail has left running; in a jail it can start nothing."""
    for _ in range(100):
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended == 0:
            try:
                with open(f"/proc/self/task/{os.getpid()}/children") as children:
                    for one in children.read().split():
                        os.kill(int(one), signal.SIGKILL)
            except OSError:
                return
            time.sleep(0.005)


def _mapped() -> int | None:
    """Find how many bytes of address space are in use: below that, the kernel gives no more.

    /proc would say so too, but is not there in every jail. None: the system sets no such limit.
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    low, high = 0, 1 << 44
    while high - low > 1 << 20:
        middle = (low + high) // 2
        try:
            resource.setrlimit(resource.RLIMIT_AS, (middle, before[1]))
            mmap.mmap(-1, mmap.PAGESIZE).close()
            high = middle
        except (OSError, MemoryError, ValueError):
            low = middle
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
    return high if low else None


_ATTEMPTS = """
import os, socket
def create(): os.open("/created", os.O_CREAT | os.O_WRONLY)
def listing(): os.listdir("/")
for attempt in (os.fork, socket.socket, create, listing, lambda: os.kill(1, 0)):
    try:
        attempt()
    except OSError:
        continue
    print(attempt.__name__)
"""


def _try_out(settings: dict[str, Any]) -> None:
    """Make sure, before the first program, that a jailed one is held and can calculate."""
    source = _ATTEMPTS if settings["landlock"] else _ATTEMPTS.replace("listing, ", "")
    told, printed, errors = _run(bytearray(source.encode()), {**settings, "seconds": 30})
    done = (printed[: told["out"]] + errors[: told["err"]]).decode("utf-8", "replace").split()
    if done or told["how"] != "exit" or told["code"] != 0:
        raise OSError(f"it does not hold: {told['how']} {told['code']} {' '.join(done)}")


def _serve() -> None:
    settings, _ = _receive()
    settings["self"] = os.getpid()
    settings["landlock"] = 0
    if _IS_LINUX:
        confine.die_with_parent()
        confine.adopt_orphans()
    confine.limit_own()
    os.umask(0o077)
    if settings["is_confined"]:
        name = syscalls.machine()
        settings["filters"] = [syscalls.program_filter(counted=one) for one in (False, True)]
        settings["asking"] = syscalls.asking_filter()
        confine.forgo_privileges(name)
        settings["landlock"] = confine.landlock_version()
        if settings["landlock"]:
            confine.restrict_files(settings["readable"], settings["scratch"])
        elif settings["needs_landlock"]:
            raise OSError("the kernel has no Landlock")
    libraries.warm(settings["folders"])
    used = _mapped()
    settings["address_space"] = None if used is None else used + (settings["megabytes"] << 20)
    # Nothing that a program registers is run: it ends without leaving Python in good order.
    atexit._clear()
    gc.collect()
    gc.freeze()  # copies do not touch, and so do not copy, what is there already
    gc.disable()
    if settings["is_confined"]:
        _try_out(settings)
    os.dup2(1, 2)
    _send({"landlock": settings["landlock"]})
    while True:
        _, source = _receive()
        told, *written = _run(source, settings)
        shown = [
            memoryview(one)[: told[name]] for one, name in zip(written, ("out", "err"), strict=True)
        ]
        _send(told, *shown)
        for one in shown:
            one.release()
        _wipe(*written)


if __name__ == "__main__":
    _host = os.dup(0)
    os.dup2(1, 0)  # the host opened 1 as /dev/null
    try:
        _serve()
    except (Ended, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # nothing is left to put in order, and that would take a while
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(1)
