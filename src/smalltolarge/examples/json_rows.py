"""Rows from JSONL and from a JSON array, with the place of their very bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from smalltolarge.errors import DataError, printable
from smalltolarge.examples.problems import Flaw, shown
from smalltolarge.examples.stream import ByteStream, damaged

Row = tuple[int, int, int, "dict[str, Any] | Flaw"]
"""(line or item from 1, start, end, the row); start and end are -1 where rows have no bytes."""

MAX_DEPTH = 200
_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATES = re.compile("[\ud800-\udfff]")
_LONGEST_INT = 4000  # digits; Python refuses to convert more than 4300
_AN_OBJECT = 'one JSON object, like {"instruction": ..., "output": ...}'


class Duplicated(dict[str, Any]):
    """An object that had some of its keys more than once."""

    twice: frozenset[str] = frozenset()


_NESTED = frozenset((dict, list, Duplicated))


class HugeInteger:
    """A whole number of more digits than Python converts; never used as a value."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    marked = Duplicated(found)
    marked.twice = frozenset(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return marked


def _integer(digits: str) -> object:
    return int(digits) if len(digits) < _LONGEST_INT else HugeInteger()


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)
_scan: Callable[[str, int], tuple[Any, int]] = vars(DECODER)["scan_once"]


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which no encoding can hold, by U+FFFD."""
    return _SURROGATES.sub("\ufffd", text)


def too_deep(value: object) -> bool:
    """Tell whether objects and lists are nested more than ``MAX_DEPTH`` deep."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(inner, dict | list) for inner in level)


def _deep_flaw() -> Flaw:
    return Flaw(
        "nested too deep",
        "",
        f"objects or lists inside one another more than {MAX_DEPTH} times",
        f"at most {MAX_DEPTH}",
    )


def unicode_flaw(data: bytes, start: int) -> Flaw:
    """Say where bytes that begin at ``start`` of their file stop being UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        near = data[max(error.start - 20, 0) : error.start + 20].decode("utf-8", "backslashreplace")
        found = f'byte 0x{data[error.start]:02x} at byte {start + error.start}, in "{near}"'
        return Flaw(
            "not valid Unicode",
            "",
            printable(found, 140),
            "UTF-8 text, or --repair-text to replace what is not",
        )
    raise AssertionError("the bytes are UTF-8")


def jsonl_rows(stream: ByteStream, limit: int, repaired: list[int] | None) -> Iterator[Row]:
    """Yield the rows of a JSONL file; blank lines count as lines and hold no row.

    ``repaired`` collects the lines whose bytes were repaired; None: they are not repaired.
    """
    for number, start, end, line in stream.lines(limit, empty=False):
        if line is None:
            yield number, start, end, Flaw(
                "too long", "", f"a line of {end - start:,} bytes",
                f"at most {limit:,} (--max-line-bytes)",
            )  # fmt: skip
            continue
        if number == 1 and line.startswith(_BOM):
            line, start = line[3:], start + 3
        if line and not line.isspace():
            yield number, start, end, _parsed(line, start, number, repaired)


def _parsed(
    line: bytes, start: int, number: int, repaired: list[int] | None
) -> dict[str, Any] | Flaw:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        if repaired is None:
            return unicode_flaw(line, start)
        text = line.decode("utf-8", "replace")
        repaired.append(number)
    try:
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            end = -1
        if end != len(text):  # white space around it, or no JSON
            value = DECODER.decode(text)
    except RecursionError:
        return _deep_flaw()
    except json.JSONDecodeError as error:
        return Flaw(
            "not JSON", "", f'"{printable(text.strip(), 60)}" ({_complaint(error)})', _AN_OBJECT
        )
    if isinstance(value, dict) and _NESTED.isdisjoint(map(type, value.values())):
        return value
    return checked(value, line.count(b"{") + line.count(b"["))


def checked(value: object, brackets: int = MAX_DEPTH + 1) -> dict[str, Any] | Flaw:
    """Give back an object that is not nested too deep, or what is wrong.

    ``brackets`` is how many open in its text: with few it cannot be deep.
    """
    if brackets > MAX_DEPTH and too_deep(value):
        return _deep_flaw()
    if not isinstance(value, dict):
        return Flaw("not an object", "", shown(value), _AN_OBJECT)
    return value


def _complaint(error: json.JSONDecodeError) -> str:
    return f"{error.msg}, at character {error.pos + 1}"


def array_rows(stream: ByteStream, limit: int, repaired: list[int] | None) -> Iterator[Row]:
    """Yield the items of a JSON array; the whole file is held in memory.

    Raises
    ------
    DataError
        The file is not one whole JSON array: what follows damage cannot be told apart.
    """
    data = b"".join(stream.chunks())
    try:
        text, clean = data.decode(), True
    except UnicodeDecodeError:
        text, clean = data.decode("utf-8", "surrogateescape"), False
    same = len(text) == len(data)
    del data

    def after_space(at: int) -> int:
        found = _SPACE.match(text, at)
        return found.end() if found else at

    def broken(at: int, what: str) -> DataError:
        line = text.count("\n", 0, at) + 1
        byte = at if same else len(text[:at].encode("utf-8", "surrogateescape"))
        near = printable(without_surrogates(text[at : at + 60]), 60)
        return damaged(
            stream.name,
            f"not a whole JSON array: {what} at line {line} (byte {byte})"
            + (f', before "{near}"' if near else ", the end of the file"),
        )

    at = after_space(1 if text.startswith("\ufeff") else 0)
    if text[at : at + 1] != "[":
        raise broken(at, "no [ that begins it,")
    counted, byte = 0, 0
    at, number = after_space(at + 1), 0
    closed = text[at : at + 1] == "]"
    while not closed:
        number += 1
        try:
            value, end = DECODER.raw_decode(text, at)
        except RecursionError:
            raise broken(at, f"item {number} is nested more than {MAX_DEPTH} deep,") from None
        except json.JSONDecodeError as error:
            raise broken(error.pos, f"item {number}: {error.msg}") from error
        if same:
            start, stop = at, end
        else:
            start = byte + len(text[counted:at].encode("utf-8", "surrogateescape"))
            stop = start + len(text[at:end].encode("utf-8", "surrogateescape"))
            counted, byte = end, stop
        row: dict[str, Any] | Flaw
        if stop - start > limit:
            row = Flaw(
                "too long", "", f"an item of {stop - start:,} bytes",
                f"at most {limit:,} (--max-line-bytes)",
            )  # fmt: skip
        else:
            row = checked(value, text.count("{", at, end) + text.count("[", at, end))
            if not clean:
                row = _cleaned(text[at:end], start, number, row, repaired)
        yield number, start, stop, row
        at = after_space(end)
        mark = text[at : at + 1]
        closed = mark == "]"
        if not closed:
            if mark != ",":
                raise broken(at, f"no , or ] after item {number},")
            at = after_space(at + 1)
    at = after_space(at + 1)
    if at < len(text):
        raise broken(at, "more text after the array")


def _cleaned(
    text: str, start: int, number: int, row: dict[str, Any] | Flaw, repaired: list[int] | None
) -> dict[str, Any] | Flaw:
    data = text.encode("utf-8", "surrogateescape")
    try:
        data.decode()
        return row
    except UnicodeDecodeError:
        if repaired is None:
            return unicode_flaw(data, start)
        repaired.append(number)
        return checked(DECODER.decode(data.decode("utf-8", "replace")), 0)
