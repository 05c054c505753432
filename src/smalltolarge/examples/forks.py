"""Work dealt to forks of this process, whose results come in the order of the work."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import TypeVar, cast

from smalltolarge.errors import OutOfSpace, printable
from smalltolarge.settings import cores

Task = TypeVar("Task")
Result = TypeVar("Result")

_MOST = 16
"""More could not be fed: this process digests all that they read."""
_AHEAD = 2
"""Tasks that a fork is given before it has done the first of them."""
_TICK = 0.2


def forks() -> int:
    """Count the forks that this machine has room for; fewer than 2 are not worth it."""
    return min(cores(), _MOST) if sys.platform == "linux" else 0


def in_order(
    work: Callable[[Task], Result],
    tasks: Iterator[Task],
    count: int,
    check: Callable[[], None],
    name: str,
) -> Iterator[Result]:
    """Yield ``work(task)`` for each of ``tasks``, in their order, done by ``count`` forks.

    Tasks are taken as forks become free. Results, and what ``work`` raises, which is raised here in
    its place, are pickled on their way. ``check`` is called often and may raise; ``name`` is what
    the work is about, in messages.

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
        yield from _dealt(tasks, running, check)
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
    tasks: Iterator[Task], running: dict[Connection, int], check: Callable[[], None]
) -> Iterator[Result]:
    numbered = enumerate(tasks)
    given: dict[Connection, list[int]] = {connection: [] for connection in running}
    done: dict[int, tuple[Result | None, BaseException | None]] = {}

    def give(connection: Connection) -> None:
        number, task = next(numbered, (-1, None))
        if number >= 0:
            connection.send(task)
            given[connection].append(number)

    for _ in range(_AHEAD):
        for connection in given:
            give(connection)
    following = 0
    while any(given.values()):
        check()
        busy = [connection for connection, numbers in given.items() if numbers]
        for connection in cast("list[Connection]", wait(busy, _TICK)):
            done[given[connection].pop(0)] = connection.recv()
            give(connection)
        while following in done:
            result, error = done.pop(following)
            if error is not None:
                raise error
            yield result  # type: ignore[misc]
            following += 1


def _fork(work: Callable[[Task], Result], channel: Connection) -> int:
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
                task = channel.recv()
                try:
                    found: tuple[object, BaseException | None] = (work(task), None)
                except Exception as error:
                    found = (None, error)
                channel.send(found)
    finally:
        os._exit(0)
