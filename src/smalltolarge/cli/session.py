"""What a person at a terminal sees and may do while a command runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smalltolarge.cli import stopping, streams
from smalltolarge.progress import BarProgress, LineProgress, Progress, Watch

if TYPE_CHECKING:
    from rich.console import Console


_SILENT = 20.0
"""Seconds that a command says nothing for where nobody asked for lines and no terminal is."""


@contextmanager
def watching(
    lines: bool, *, first_row: bool = False, stops: bool = True, silent: bool = False
) -> Iterator[tuple[Console, Watch]]:
    """Show progress and notices on stderr, and turn the first signal into a clean stop.

    With ``first_row`` the first row is shown as the model sees it. Without ``stops`` the first
    signal ends the command at once, for it keeps nothing until all of it is done. One of several
    processes is ``silent``: another speaks.
    """
    from smalltolarge.report.rows import show_row

    errors = streams.console(stderr=True, soft_wrap=False)
    progress: Progress
    if silent:
        progress = Progress()
    elif lines:
        progress = LineProgress()
    elif errors.is_terminal:
        progress = BarProgress(errors)
    else:
        progress = LineProgress(every=_SILENT, least=_SILENT)
    handler = logging.Handler()

    def tell(record: logging.LogRecord) -> None:
        if not silent:
            note = "note: " if record.levelno >= logging.WARNING else ""
            errors.print(f"{note}{record.getMessage()}", markup=False, soft_wrap=True)

    handler.emit = tell  # type: ignore[method-assign]
    logger = logging.getLogger("smalltolarge")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False  # a library may have given the root logger a handler of its own
    try:
        with stopping.working(stops) as check, progress:
            show = (lambda row: show_row(row.in_short(), errors)) if first_row else None
            yield streams.console(), Watch(progress, check, show)
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
