"""Memory that is free again, given back to the system while a model runs."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

_SECONDS = 10.0
_GROWN = 2**28
"""256 MB more than after the last time. Less, or more often: the same pages would be asked for
again and again, and each time costs some 0.4 s of computing."""


class Freed:
    """Gives freed memory back, now and then.

    Every unit has tensors of other sizes, and glibc keeps the blocks of all of them: a recording
    of 6,000 rows ended at 1.9 GB where 0.6 are in use. Without glibc nothing is done.
    """

    def __init__(self) -> None:
        self._looked = time.monotonic()
        self._least = _resident()
        self._trim: Callable[[int], int] | None
        try:
            self._trim = ctypes.CDLL(None).malloc_trim
        except (OSError, AttributeError, TypeError):  # musl, macOS, Windows
            self._trim = None

    def give_back(self) -> None:
        """Give back what is free, if it is some time ago and memory has grown since."""
        if self._trim is None or time.monotonic() - self._looked < _SECONDS:
            return
        self._looked = time.monotonic()
        if _resident() - self._least > _GROWN:
            self._trim(0)
            self._least = _resident()


@cache
def freed() -> Freed:
    """Give the one of this process, for work that is done in many pieces."""
    return Freed()


def giving_back(check: Callable[[], None]) -> Callable[[], None]:
    """Give a check that also gives freed memory back."""

    def both() -> None:
        freed().give_back()
        check()

    return both


def _resident() -> int:
    """Bytes of this process that are in memory; 0 where Linux does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
