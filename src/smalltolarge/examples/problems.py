"""What can be wrong with a row or a file, and how a person is told."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from smalltolarge.errors import DataError, printable
from smalltolarge.examples.table import EXCLUDED_SCHEMA

MOST_SHOWN = 3
"""Bad rows of one reason that are shown; the others are counted."""

Reason = Literal[
    "not JSON",
    "not an object",
    "not valid Unicode",
    "too long",
    "nested too deep",
    "duplicate key",
    "wrong number of fields",
    "missing",
    "not text",
    "not a conversation",
    "empty prompt",
    "empty completion",
    "no assistant turn",
    "unknown role",
    "turns out of order",
    "not only text",
    "not honoured",
    "nothing to learn",
    "preference data",
    "held out",
]
"""Why a row cannot be used."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that makes one row unusable."""

    reason: Reason
    field: str
    """Where in the row: "output", "messages, turn 3, role"; empty for the row as a whole."""
    found: str
    """What is there, printable."""
    wanted: str
    """What is allowed there."""

    def told(self, where: str) -> str:
        """Say what is wrong with the row that stands there."""
        field = f", {printable(self.field)}" if self.field else ""
        return f"{where}{field}: {self.reason}; found {self.found}; needed: {self.wanted}"


class Refused(Exception):
    """Carries a ``Flaw`` from the depth of a row to the loop over the rows."""

    def __init__(self, reason: Reason, field: str, found: str, wanted: str) -> None:
        super().__init__(reason)
        self.flaw = Flaw(reason, field, found, wanted)


def shown(value: object) -> str:
    """Say what a value is, with a printable preview: ``a list: ["a", "b"]``."""
    if value is None:
        return "null"
    if isinstance(value, str):
        if not value:
            return "an empty string"
        if value.isspace():
            return f"only white space: {printable(repr(value), 40)}"
        return f'"{printable(value, 60)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {printable(_json(value), 40)}"
    if isinstance(value, list):
        return f"a list: {printable(_json(value[:20]), 60)}" if value else "an empty list"
    if isinstance(value, dict):
        few = dict(list(value.items())[:20])
        return f"an object: {printable(_json(few), 60)}"
    if isinstance(value, bytes):
        return f"bytes: {printable(repr(value[:60]), 60)}"
    return f"a value of type {printable(type(value).__name__)}"


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=lambda inner: type(inner).__name__)
    except (ValueError, TypeError, RecursionError):
        return "…"


def place(name: str, kind: str, row: int, start: int) -> str:
    """Name one row: ``train.jsonl, line 12 (byte 3400)``."""
    word = {"jsonl": "line", "csv": "line", "json": "item"}.get(kind, "row")
    at = f" (byte {start})" if start >= 0 else ""
    return f"{printable(name, 200)}, {word} {row}{at}"


class BadRows:
    """Every row that cannot be used: listed and raised at the end, or set aside."""

    def __init__(self, *, exclude: bool) -> None:
        self.exclude = exclude
        self.counts: Counter[Reason] = Counter()
        self._first: dict[Reason, list[str]] = {}
        self._set_aside: list[dict[str, Any]] = []

    @property
    def total(self) -> int:
        """All of them."""
        return self.counts.total()

    def add(self, file: int, name: str, kind: str, row: int, start: int, flaw: Flaw) -> None:
        """Count one bad row."""
        self.counts[flaw.reason] += 1
        first = self._first.setdefault(flaw.reason, [])
        if len(first) < MOST_SHOWN:
            first.append(f"  {flaw.told(place(name, kind, row, start))}")
        if self.exclude:
            values = (file, row, flaw.field, flaw.reason, flaw.found)
            self._set_aside.append(dict(zip(EXCLUDED_SCHEMA.names, values, strict=True)))

    def plain(self) -> list[Any]:
        """Give all of it as plain data, for ``join``."""
        return [[[reason, self.counts[reason], self._first[reason]] for reason in self.counts],
                self._set_aside]  # fmt: skip

    def join(self, counts: list[Any], set_aside: list[dict[str, Any]]) -> None:
        """Take in the bad rows that follow, as ``plain`` gives them."""
        for reason, count, lines in counts:
            self.counts[reason] += count
            first = self._first.setdefault(reason, [])
            first += lines[: MOST_SHOWN - len(first)]
        self._set_aside += set_aside

    def check(self, n_read: int) -> None:
        """Raise ``DataError`` if rows are bad and must not be, or if no good row is left."""
        if self.counts and (not self.exclude or self.total == n_read):
            lines = []
            for reason, count in self.counts.most_common():
                lines += self._first[reason]
                more = count - len(self._first[reason])
                lines += [f"  and {more:,} more: {reason}"] if more else []
            told = ", ".join(f"{count:,} {reason}" for reason, count in self.counts.most_common())
            todo = (
                "No row is left. Is this the right file? --format and --columns say how to read it."
                if self.total == n_read
                else "Fix these rows, or leave them out with --on-bad-row exclude."
            )
            raise DataError(
                f"{self.total:,} of {n_read:,} rows cannot be used: {told}\n"
                + "\n".join(lines)
                + f"\n{todo}"
            )

    def table(self) -> pa.Table:
        """Give the rows set aside."""
        return pa.Table.from_pylist(self._set_aside, schema=EXCLUDED_SCHEMA)
