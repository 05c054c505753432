"""Signals, from the first line of a command to its last.

Python runs a handler of its own only when a call into a library returns. So handlers do nothing
here: as signals arrive their numbers are written to a pipe, which a thread reads.
"""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from smalltolarge.errors import Interrupted, printable
from smalltolarge.progress import SafeImports

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
LAUNCHER = "S2L_LAUNCHER"
"""Variable that names the process of ours that began this one among others, and speaks for all."""
_AFTER_BARS = "\x1b[?25h\n"
"""Shows the cursor, which they hide, and begins a line."""

_first = 0
"""The first signal that came while work was under way."""
_is_told = False
"""Whether the work was told of it."""
_is_at_work = False
_notices = sys.stderr
"""Not what a library puts in its place, which may be busy."""


def listen() -> None:
    """Hear signals from now on; those that whoever began the command ignores (nohup) are left."""
    global _notices
    _notices = sys.stderr
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_hear, args=(reading,), name="signals", daemon=True).start()
    sys.meta_path.insert(0, SafeImports(_check_once))
    os.register_at_fork(after_in_child=lambda: _forget(signal.SIG_DFL))
    # The very last that Python does: a command that is done cannot be stopped any more.
    atexit.register(_forget, signal.SIG_IGN)


def _forget(handler: signal.Handlers) -> None:
    with suppress(ValueError):  # not in the main thread
        signal.set_wakeup_fd(-1)
        for number in _NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)


@contextmanager
def working(stops: bool) -> Iterator[Callable[[], None]]:
    """Give a function that raises ``Interrupted`` after a first signal; a second one ends all.

    Outside, and where work that keeps nothing never ``stops``, the first one does.
    """
    global _is_at_work
    _is_at_work = stops
    try:
        yield _check
    finally:
        _is_at_work = False


def came() -> int:
    """Give the first signal that came while work was under way; 0 for none."""
    return _first


def stopped(how: str, number: int) -> Interrupted:
    """Say what stopped the command, and how it goes on."""
    name = signal.Signals(number).name
    return Interrupted(f"stopped{how} by {name}; what is done is kept. To go on: {command()}")


def command() -> str:
    """Give the command as it was typed, quoted for a shell, on one line."""
    program = sys.argv[0]
    if os.path.basename(program) == "__main__.py":
        words = ["python", "-m", "smalltolarge"]
    else:
        name = os.path.basename(program)
        words = [name if shutil.which(name) in (program, None) else program]
    return printable(shlex.join([*words, *sys.argv[1:]]), 100_000)


def _check() -> None:
    global _is_told
    if _first:
        _is_told = True
        raise stopped("", _first)


def _check_once() -> None:
    if _is_at_work and not _is_told:
        _check()


def _hear(pipe: int) -> None:
    global _first
    while True:
        number = os.read(pipe, 1)[0]
        if number not in _NUMBERS:
            continue
        if _first or not _is_at_work:
            bars = _AFTER_BARS if _is_at_work and os.isatty(2) else ""
            _say(f"{bars}error: {stopped(' at once', number)}\n")
            os._exit(Interrupted.exit_code)
        _first = number
        _say("stopping at the next safe point; once more to stop at once\n")


def _say(line: str) -> None:
    """Write a line, but do not wait for who reads it."""
    if LAUNCHER in os.environ:
        return
    writing = threading.Thread(target=_notices.write, args=(line,), daemon=True)
    writing.start()
    writing.join(0.1)
