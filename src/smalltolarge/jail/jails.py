"""Several jails at once: programs in, what came of them out, in order."""

from __future__ import annotations

import selectors
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from smalltolarge.errors import RecipeError
from smalltolarge.jail import backends
from smalltolarge.jail.backends import BACKENDS, Backend
from smalltolarge.jail.worker import OUTPUT_KB, Lost, Ran, Worker
from smalltolarge.settings import cores

_MOST_WORKERS = 8
_TRIES = 2
"""How often a program is started whose jail was lost, which may have been another's doing."""


@dataclass
class _Waiting:
    """A program that is still to be run."""

    index: int
    text: bytes
    tries: int = 0


class Jails:
    """Processes in which programs run that a model wrote; closed, they are all gone.

    ``backend`` is what ``find_backend`` gives. Every program has ``seconds`` of time and
    ``megabytes`` of memory beyond those of Python and its libraries, and may print 64 KB. It may
    start 64 threads, and make 64 files of up to 1 MB in the folder in which it starts, which is
    empty at first and emptied afterwards. It is run as ``__main__``. Printing nothing, it counts as
    printing what ``solution()`` returns, else ``answer``, ``ans`` or ``result``, else what its last
    line gives. A program that draws without a seed draws the same every time. What it imports and
    is not there fails where it is used; without ``libraries`` numpy and sympy are not there.
    """

    def __init__(
        self,
        backend: str,
        *,
        workers: int | None = None,
        seconds: float = 10.0,
        megabytes: int = 512,
        libraries: bool = True,
    ) -> None:
        found = next((one for one in BACKENDS if one == backend), None)
        if found is None:
            raise RecipeError(f"backend is {backend!r}: one of {', '.join(BACKENDS)} is needed")
        for name, value in (("workers", workers), ("seconds", seconds), ("megabytes", megabytes)):
            if value is not None and not 0 < value < float("inf"):
                raise RecipeError(f"{name} is {value}: a number above 0 is needed")
        self.backend: Backend = found
        self._n = workers or min(cores(), _MOST_WORKERS)
        self._seconds, self._megabytes = seconds, megabytes
        self._folders = backends.library_folders() if libraries else []
        self._workers: list[Worker] = []
        self._one_run = threading.Lock()

    def run(
        self,
        programs: Sequence[str],
        *,
        advance: Callable[[int], None] | None = None,
        check: Callable[[], None] | None = None,
    ) -> list[Ran]:
        """Run programs, several at once; give what came of each, in their order.

        ``advance(1)`` is called after each program, and ``check()`` several times a second; it may
        raise to interrupt, and everything is killed.

        Raises
        ------
        RefusedForSafety
            The jail cannot be started.
        """
        found: dict[int, Ran] = {}
        waiting: deque[_Waiting] = deque()
        for index, program in enumerate(programs):
            text, reason = _checked(program)
            if reason is None:
                waiting.append(_Waiting(index, text))
            else:
                found[index] = Ran("", reason, 0.0)
        if advance is not None and found:
            advance(len(found))
        with self._one_run:
            try:
                for index, ran in self._run(waiting, check):
                    found[index] = ran
                    if advance is not None:
                        advance(1)
            except BaseException:
                self.close()
                raise
        return [found[index] for index in range(len(programs))]

    def _run(
        self, waiting: deque[_Waiting], check: Callable[[], None] | None
    ) -> Iterator[tuple[int, Ran]]:
        """Run programs; give the place and the outcome of each as it ends."""
        running: dict[Worker, _Waiting] = {}
        while waiting or running:
            if check is not None:
                check()
            self._start(len(waiting) + len(running))
            for worker in list(self._workers):
                if waiting and worker.is_ready and worker not in running:
                    given = waiting.popleft()
                    try:
                        worker.give(given.text)
                    except Lost:  # it was gone before: not this program's doing
                        waiting.appendleft(given)
                        self._drop(worker)
                    else:
                        given.tries += 1
                        running[worker] = given
            for worker in _readable(self._workers):
                try:
                    if worker.read() and worker.ran is not None and worker in running:
                        yield running.pop(worker).index, worker.ran
                except Lost:
                    self._drop(worker)
                    if worker in running:
                        lost = running.pop(worker)
                        if lost.tries < _TRIES:
                            waiting.appendleft(lost)
                        else:
                            yield lost.index, Ran("", "ended the process that ran it", 0.0)
            for worker in list(self._workers):
                if worker.is_overdue and (worker in running or not worker.is_ready):
                    ran = worker.overdue()
                    self._drop(worker)
                    yield running.pop(worker).index, ran

    def close(self) -> None:
        """End all processes."""
        while self._workers:
            self._workers.pop().kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _drop(self, worker: Worker) -> None:
        self._workers.remove(worker)
        worker.kill()

    def _start(self, needed: int) -> None:
        """Have as many processes as programs to run, up to the number of workers."""
        while len(self._workers) < min(self._n, needed):
            self._workers.append(
                Worker(
                    self.backend,
                    seconds=self._seconds,
                    megabytes=self._megabytes,
                    folders=self._folders,
                )
            )


def _readable(workers: Sequence[Worker]) -> list[Worker]:
    """Wait a moment for answers; give who has one."""
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.socket, selectors.EVENT_READ, worker)
        return [key.data for key, _ in selector.select(0.1)]


def _checked(program: str) -> tuple[bytes, str | None]:
    """Encode a program; say why it cannot be run, if so."""
    try:
        text = program.encode()
    except UnicodeEncodeError:
        return b"", "is not valid Unicode"
    if len(text) > OUTPUT_KB << 10:
        return b"", f"longer than {OUTPUT_KB} KB"
    if b"\0" in text:
        return b"", "holds a NUL character"
    return text, None
