"""Work dealt to forks of this process, whose results come in the order of the work."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from smalltolarge.errors import DataError, OutOfSpace, printable
from smalltolarge.settings import cores

_MOST = 16
"""More could not be fed: this process digests all that they read."""
_AHEAD = 2
"""Tasks that a fork is given before it has done the first of them."""
_TICK = 0.2
_ERRORS: dict[str, type[Exception]] = {"DataError": DataError, "MemoryError": MemoryError}


def forks() -> int:
    """Count the forks that this machine has room for; fewer than 2 are not worth it."""
    return min(cores(), _MOST) if sys.platform == "linux" else 0


def in_order(
    work: Callable[[Any], bytes],
    tasks: Iterator[Any],
    count: int,
    check: Callable[[], None],
    name: str,
) -> Iterator[bytes]:
    """Yield the bytes ``work(task)`` for each of ``tasks``, in their order, by ``count`` forks.

    A task is plain data, as in JSON, and is taken when a fork becomes free. What ``work`` raises is
    raised here in its place. ``check`` is called often and may raise; ``name`` is what the work is
    about, in messages.

    Raises
    ------
    OutOfSpace
        A fork was killed.
    """
    pipes = [Pipe() for _ in range(count)]
    running: dict[Connection, int] = {}
    try:
        for ours, theirs in pipes:
            running[ours] = _fork(work, theirs)
            theirs.close()
        yield from _dealt(tasks, list(running), check)
    except (EOFError, ConnectionError) as error:
        time.sleep(_TICK)  # what killed it may stop this process, too
        check()
        raise OutOfSpace(
            f"{printable(name, 200)}: a process that was reading it has been killed, as happens "
            "when memory runs out. Free some, and give the command again."
        ) from error
    finally:
        for ours, _ in pipes:
            ours.close()
        for process in running.values():
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _dealt(
    tasks: Iterator[Any], channels: list[Connection], check: Callable[[], None]
) -> Iterator[bytes]:
    numbered = enumerate(tasks)
    given: dict[Connection, list[int]] = {channel: [] for channel in channels}
    done: dict[int, tuple[bytes, bytes]] = {}
    following = 0

    def give(channel: Connection) -> None:
        number, task = next(numbered, (-1, None))
        if number >= 0:
            channel.send_bytes(json.dumps(task).encode())
            given[channel].append(number)

    for channel in channels * _AHEAD:
        give(channel)
    while any(given.values()):
        check()
        busy = [channel for channel, numbers in given.items() if numbers]
        for channel in cast("list[Connection]", wait(busy, _TICK)):
            done[given[channel].pop(0)] = (channel.recv_bytes(), channel.recv_bytes())
            give(channel)
        while following in done:
            result, error = done.pop(following)
            if error:
                kind, text = json.loads(error)
                raise _ERRORS.get(kind, RuntimeError)(text)
            yield result
            following += 1


def _fork(work: Callable[[Any], bytes], channel: Connection) -> int:
    """Begin a fork that works until this process closes the other end of its channel."""
    process = os.fork()
    if process:
        return process
    try:
        # What stops this process is heard there; it then ends its forks.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        # Locks and pipes are not held any longer than by this process.
        os.closerange(0, channel.fileno())
        os.closerange(channel.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        gc.disable()  # rows hold no cycles
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                task = json.loads(channel.recv_bytes())
                found, said = b"", b""
                try:
                    found = work(task)
                except Exception as error:
                    said = json.dumps([type(error).__name__, str(error)]).encode()
                channel.send_bytes(found)
                channel.send_bytes(said)
    finally:
        os._exit(0)
