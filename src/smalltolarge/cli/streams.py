"""The standard streams, which may be closed, full or unread, and what goes out through them."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from smalltolarge.errors import OutOfSpace, harmless

if TYPE_CHECKING:
    from rich.console import Console

UNREAD = 128 + 13
"""Exit code where nobody reads the output any more; what a shell says of SIGPIPE."""


class _Unfailing(io.TextIOWrapper):
    """A stream for notices: where they cannot be written, the work goes on without."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            super().flush()


def open_streams() -> None:
    """Give every standard stream a place to go and an encoding that knows all characters."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened were this stream
            os.open(os.devnull, os.O_RDWR)
    encoding = "utf-8" if sys.stdout is None else sys.stdout.encoding
    # Not the buffer of Python's own stderr, which keeps what could not be written.
    sys.stderr = _Unfailing(
        io.FileIO(2, "w", closefd=False), encoding, "backslashreplace", write_through=True
    )
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding=encoding, closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def close_output(code: int) -> int:
    """Write what is left of the output; give the exit code, which is ``code`` if that went well.

    Raises
    ------
    OutOfSpace
        It cannot be written.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python writes it once more when it ends
        if isinstance(error, BrokenPipeError):
            return code or UNREAD
        raise OutOfSpace(f"the output cannot be written: {error.strerror}") from error
    return code


def is_unread() -> bool:
    """Say whether whoever read the output has closed it."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def console(*, stderr: bool = False, soft_wrap: bool = True) -> Console:
    """Give a console whose text can do nothing to a terminal, whatever it is made of."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Harmless(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                if not segment.control and not segment.text.isprintable():
                    segment = Segment(harmless(segment.text), segment.style)
                yield segment

    return Harmless(stderr=stderr, highlight=False, soft_wrap=soft_wrap)
