"""The standard streams, which may be closed, full or unread, and what goes out through them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
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


class _Output(io.TextIOWrapper):
    """Standard output; where it cannot be written, nothing more is.

    Raises
    ------
    SystemExit
        Nobody reads it any more.
    OutOfSpace
        It cannot be written.
    """

    def write(self, text: str) -> int:
        with _leaving_output():
            return super().write(text)

    def flush(self) -> None:
        with _leaving_output():
            super().flush()


@contextmanager
def _leaving_output() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left is written when Python ends
        if isinstance(error, BrokenPipeError):
            raise SystemExit(UNREAD) from None
        raise OutOfSpace(f"standard output cannot be written: {error.strerror}") from error


def open_streams() -> None:
    """Give every standard stream a place to go and an encoding that knows all characters."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened were this stream
            os.open(os.devnull, os.O_RDWR)
    encoding = "utf-8" if sys.stdout is None else sys.stdout.encoding
    at_once = sys.stdout is not None and sys.stdout.isatty()
    output = io.FileIO(1, "w", closefd=False)
    sys.stdout = _Output(
        io.BufferedWriter(output), encoding, "backslashreplace", line_buffering=at_once
    )
    # Without a buffer, which would keep what could not be written.
    notices = io.FileIO(2, "w", closefd=False)
    sys.stderr = _Unfailing(notices, encoding, "backslashreplace", write_through=True)


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
