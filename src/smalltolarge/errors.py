"""Every error a person can meet.

    S2LError                      exit
    ├── RecipeError (ValueError)     2   a setting or a combination of settings is wrong
    ├── DataError (ValueError)       3   the data given cannot be used
    │   └── BudgetError              3   the budget does not fit the data
    ├── MissingArtifact (FileNotFoundError)  4   a file that should be there is not
    ├── StaleArtifact (RuntimeError) 4   a run folder belongs to other data or settings
    │   └── InUse                    4   another process holds it
    ├── IntegrityError (ValueError)  5   a file is not the one that was written
    ├── OutOfSpace (OSError)         6   the disk or the memory does not suffice
    ├── RefusedForSafety (PermissionError)   7   it would run a stranger's code
    └── Interrupted (RuntimeError)  75   stopped by a signal; the same command goes on

What nobody foresaw is none of these, and the exit code of a command is then 70.

A message says where (file, line, field, id), what was found against what is allowed, and what to
do. What comes from files or from others in it goes through ``printable``, which keeps it one short
line wherever the message is read; what a person gave a command need not, for the command line
writes nothing that is not ``harmless``.
"""

from __future__ import annotations

import unicodedata
from typing import ClassVar


class S2LError(Exception):
    """The root: anything this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class RecipeError(S2LError, ValueError):
    """A setting, or a combination of settings, is wrong."""

    exit_code = 2


class DataError(S2LError, ValueError):
    """The data given cannot be used."""

    exit_code = 3


class BudgetError(DataError):
    """The budget does not fit the data."""


class MissingArtifact(S2LError, FileNotFoundError):
    """A file that should be there is not."""

    exit_code = 4


class StaleArtifact(S2LError, RuntimeError):
    """A run folder belongs to other data or other settings, or another run holds it."""

    exit_code = 4


class InUse(StaleArtifact):
    """Another process holds a run folder, a part of its work, or the place of a result."""


class IntegrityError(S2LError, ValueError):
    """A file is not the one that was written."""

    exit_code = 5


class OutOfSpace(S2LError, OSError):
    """The disk or the memory does not suffice."""

    exit_code = 6


class RefusedForSafety(S2LError, PermissionError):
    """Going on would run a stranger's code."""

    exit_code = 7


class Interrupted(S2LError, RuntimeError):
    """Stopped by a signal; what is done is kept, and the same command goes on."""

    exit_code = 75


_HARMFUL = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Categories of control, bidirectional, surrogate and private characters and line separators."""


def harmless(text: str, but: str = "\n\t") -> str:
    """Escape every character that can do something to a terminal, ``but`` these."""
    if text.translate(str.maketrans("", "", but)).isprintable():
        return text
    return "".join(
        character.encode("unicode_escape", "surrogatepass").decode("ascii")
        if unicodedata.category(character) in _HARMFUL and character not in but
        else character
        for character in text
    )


def printable(value: object, limit: int = 80) -> str:
    """Give anything as one line: escaped as ``harmless`` does, line ends too, and cut to ``limit``
    characters.
    """
    try:
        text = str(value)
    except ValueError:
        return "a number of thousands of digits"
    shown = harmless(text[: limit + 1], "")
    return shown if len(text) <= limit and len(shown) <= limit else shown[: limit - 1] + "…"
