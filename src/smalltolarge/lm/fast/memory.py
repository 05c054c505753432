"""Memory that a model frees: kept for its next tensors, and given back now and then."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_SECONDS = 60.0
_GROWN = 2**28
"""256 MB more than after the last time. Less, or more often: the same pages would be asked for
again and again, and each time costs a model of 135 million weights a second or two."""
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # glibc's malloc.h
_KEPT = {_TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26, _MMAP_MAX: 0}
_USUAL = {_TRIM_THRESHOLD: 2**17, _TOP_PAD: 2**17, _MMAP_MAX: 2**16}


class Freed:
    """Gives freed memory back, now and then.

    Every unit has tensors of other sizes, and glibc keeps the blocks of all of them: a recording
    of 6,000 rows ended at 1.9 GB where 0.6 are in use. Without glibc nothing is done.
    """

    def __init__(self) -> None:
        self._looked = time.monotonic()
        self._least = _resident()
        self._trim = _of_glibc("malloc_trim")

    def give_back(self) -> None:
        """Give back what is free, if it is some time ago and memory has grown since."""
        if self._trim is None or time.monotonic() - self._looked < _SECONDS:
            return
        self._looked = time.monotonic()
        if _resident() - self._least > _GROWN:
            self._trim(0)
            self._least = _resident()


@contextmanager
def kept() -> Iterator[None]:
    """Have freed memory stay with the process inside; without glibc nothing is done.

    glibc otherwise maps each large tensor anew and gives it back at once, and the system clears its
    pages every time: a fifth of the time of a training step.
    """
    limit = _of_glibc("mallopt")
    if limit is None:
        yield
        return
    for name, value in _KEPT.items():
        limit(name, value)
    try:
        yield
    finally:
        for name, value in _USUAL.items():
            limit(name, value)


def _of_glibc(name: str) -> Callable[..., Any] | None:
    try:
        found: Callable[..., Any] = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):  # musl, macOS, Windows
        return None
    return found


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
