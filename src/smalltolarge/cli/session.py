"""What a person at a terminal sees and may do while a command runs."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from smalltolarge.errors import Interrupted
from smalltolarge.progress import BarProgress, LineProgress, Progress, Watch

if TYPE_CHECKING:
    from rich.console import Console


_SILENT = 20.0
"""Seconds that a command says nothing for where nobody asked for lines and no terminal is."""


@contextmanager
def watching(lines: bool, *, first_row: bool = False) -> Iterator[tuple[Console, Watch]]:
    """Show progress and notices on stderr, and turn the first signal into a clean stop.

    With ``first_row`` the first row is shown as the model sees it.
    """
    from rich.console import Console

    from smalltolarge.report.rows import show_row

    errors = Console(stderr=True, highlight=False)
    progress: Progress
    if lines:
        progress = LineProgress()
    elif errors.is_terminal:
        progress = BarProgress(errors)
    else:
        progress = LineProgress(every=_SILENT, least=_SILENT)
    handler = logging.Handler()
    handler.emit = lambda record: errors.print(  # type: ignore[method-assign]
        f"{'note: ' if record.levelno >= logging.WARNING else ''}{record.getMessage()}",
        markup=False,
        soft_wrap=True,
    )
    logger = logging.getLogger("smalltolarge")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False  # a library may have given the root logger a handler of its own
    try:
        with _stopping() as check, progress:
            show = (lambda row: show_row(row.in_short(), errors)) if first_row else None
            yield Console(highlight=False, soft_wrap=True), Watch(progress, check, show)
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


@contextmanager
def _stopping() -> Iterator[Callable[[], None]]:
    """Yield a function that raises ``Interrupted`` after the first signal; a second one kills."""
    caught: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, signal.SIG_DFL)
        sys.stderr.write("stopping at the next safe point; once more to stop at once\n")

    def check() -> None:
        if caught:
            raise Interrupted(
                f"stopped by {signal.Signals(caught[0]).name}; what is done is kept. Give the same "
                "command again to go on."
            )

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, remember) for number in numbers}
    try:
        yield check
    finally:
        for number, old in before.items():
            signal.signal(number, old)
