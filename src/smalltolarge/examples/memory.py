"""Rows that are Python objects: what of them is read, what they are, and how they are written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any

from smalltolarge.errors import DataError, StaleArtifact, printable
from smalltolarge.examples.json_rows import Row, checked
from smalltolarge.examples.problems import Flaw, shown
from smalltolarge.examples.table import Examples

Objects = Sequence[dict[str, Any]]

_BATCH = 1000
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


class Digest:
    """The digest of rows by what they hold, whatever holds them."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def take(self, row: object) -> None:
        """Take one row in."""
        try:
            text = _ENCODE(row)
        except (TypeError, ValueError, RecursionError):
            text = _said(row)
        self._sha256.update(text.encode() + b"\n")

    def hexdigest(self) -> str:
        """Give the digest of the rows so far."""
        return self._sha256.hexdigest()


def _said(value: object) -> str:
    try:
        return _ADDRESS.sub("", ascii(value))
    except RecursionError:
        return type(value).__name__


_ENCODE = json.JSONEncoder(sort_keys=True, default=_said).encode


def digest_of(rows: Objects) -> str:
    """Give the digest of all rows."""
    content = Digest()
    for row in rows:
        content.take(row)
    return content.hexdigest()


def object_rows(rows: Objects, advance: Callable[[int], None]) -> Iterator[Row]:
    """Yield rows that are dicts; NaN in the place of a value is null, as pandas means it."""
    for begin in range(0, len(rows), _BATCH):
        part = rows[begin : begin + _BATCH]
        for number, row in enumerate(part, begin + 1):
            yield number, -1, -1, _checked(row)
        advance(len(part))


def _checked(row: object) -> dict[str, Any] | Flaw:
    found = checked(row)
    if isinstance(found, Flaw):
        return found
    for name in found:
        if type(name) is not str:
            return Flaw("not text", "", f"a key that is {shown(name)}", "names of columns")
    return without_nan(found)


def without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """Put null in the place of NaN, as pandas means it."""
    return {
        name: None if isinstance(value, float) and value != value else value
        for name, value in row.items()
    }


def objects_again(examples: Examples, places: Sequence[int]) -> list[dict[str, Any]]:
    """Give the rows at ``places`` (from 0), which must all be as they were read.

    Raises
    ------
    StaleArtifact
        They were changed since.
    """
    assert examples.objects is not None
    if digest_of(examples.objects) != examples.inputs[0].sha256:
        raise StaleArtifact(
            "the rows in memory are no longer those that were read: their content has changed. "
            "Load them again."
        )
    return [without_nan(examples.objects[place]) for place in places]


def as_json(row: object, default: Callable[[object], str] | None = None) -> bytes:
    """Write a row as JSON, on one line; ``default`` says what JSON has no form for.

    Raises
    ------
    DataError
        It holds something that JSON does not.
    """
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=default)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a row cannot be written as JSON ({printable(error, 120)}). Give the output the "
            "suffix .parquet, or no suffix."
        ) from error
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: only an escape can hold it
        return json.dumps(row, allow_nan=False, default=default).encode()


def in_words(value: object) -> str:
    """Write a date or a time in ISO 8601, a decimal number with all its digits."""
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__}")
