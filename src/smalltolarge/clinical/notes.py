"""The notes of MIMIC-III's NOTEEVENTS file, one after the other."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from smalltolarge.errors import DataError, printable
from smalltolarge.examples.stream import ByteStream, compression_of

COLUMNS = ("ROW_ID", "SUBJECT_ID", "CATEGORY", "DESCRIPTION", "ISERROR", "TEXT")
"""The columns that are used; others may be there."""
LIMIT = 16 << 20
"""Bytes of the longest record that is read."""


@dataclass(frozen=True, slots=True)
class Note:
    """One row. ``is_text`` is False where its bytes are no text, as happens in MIMIC."""

    row_id: int
    subject_id: int
    category: str
    description: str
    is_error: bool
    text: str
    is_text: bool


class NoteFile:
    """A NOTEEVENTS file, plain or packed (gz, zst), that is read once.

    Only one record is in memory at a time.
    """

    def __init__(self, path: Path, advance: Callable[[int], None] = lambda amount: None) -> None:
        self.name = printable(path, 200)
        try:
            with path.open("rb") as file:
                head = file.read(16)
        except OSError as error:
            raise DataError(
                f"{self.name} cannot be read: {error.strerror}. Name the file NOTEEVENTS.csv or "
                "NOTEEVENTS.csv.gz of MIMIC-III."
            ) from error
        self.stream = ByteStream(path, self.name, compression_of(head), advance)
        self._first = self._line = self._bytes = 0
        self._is_text = True

    def notes(self) -> Iterator[Note]:
        """Yield the notes in the order of the file.

        Raises
        ------
        DataError
            The file is damaged, lacks a column, or a row is not one of such a file. No message
            holds anything of a note's text.
        """
        csv.field_size_limit(max(csv.field_size_limit(), LIMIT))
        reader = csv.reader(self._lines(), strict=True)
        header = self._next(reader)
        if header is None:
            raise DataError(f"{self.name} is empty. MIMIC-III's NOTEEVENTS file is needed.")
        row_id, subject_id, category, description, is_error, text = self._places(header)
        while (row := self._next(reader)) is not None:
            if not row:
                continue
            if len(row) != len(header):
                raise self._wrong(
                    f"{len(row)} fields, {len(header)} are in the header", "the whole row"
                )
            yield Note(
                self._number(row[row_id], "ROW_ID"),
                self._number(row[subject_id], "SUBJECT_ID"),
                row[category].strip(),
                row[description].strip(),
                self._flag(row[is_error]),
                row[text],
                self._is_text and "\0" not in row[text],
            )

    def _next(self, reader: Iterator[list[str]]) -> list[str] | None:
        self._bytes, self._is_text = 0, True
        try:
            return next(reader)
        except StopIteration:
            return None
        except csv.Error as error:
            raise self._wrong(f"broken quoting ({error})", "the whole row") from error

    def _lines(self) -> Iterator[str]:
        for number, _, _, line in self.stream.lines(LIMIT, empty=True):
            if not self._bytes:
                self._first = number
            self._line = number
            self._bytes += LIMIT + 1 if line is None else len(line) + 1
            if line is None or self._bytes > LIMIT:
                raise self._wrong(f"more than {LIMIT:,} bytes; a quote may be missing", "TEXT")
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            try:
                yield line.decode() + "\n"
            except UnicodeDecodeError:
                self._is_text = False
                yield line.decode("utf-8", "replace") + "\n"

    def _places(self, header: list[str]) -> list[int]:
        names = [name.strip().upper() for name in header]
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise DataError(
                f"{self.name}, line 1: no column {', '.join(missing)}; found "
                f"{printable(', '.join(header), 200)}. MIMIC-III's NOTEEVENTS file is needed, with "
                "its header."
            )
        twice = [name for name in COLUMNS if names.count(name) > 1]
        if twice:
            raise DataError(f"{self.name}, line 1: column {', '.join(twice)} is there twice.")
        return [names.index(name) for name in COLUMNS]

    def _number(self, text: str, field: str) -> int:
        # "1.0" is what a table with gaps makes of a whole number
        digits = text.strip().removesuffix(".0")
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
            raise self._wrong(f'"{printable(text, 40)}", a whole number is needed', field)
        return int(digits)

    def _flag(self, text: str) -> bool:
        flag = text.strip().removesuffix(".0")
        if flag not in ("", "0", "1"):
            raise self._wrong(f'"{printable(text, 40)}", 1 or nothing is needed', "ISERROR")
        return flag == "1"

    def _wrong(self, found: str, field: str) -> DataError:
        lines = f"line {self._first}"
        if self._line > self._first:
            lines = f"lines {self._first} to {self._line}"
        return DataError(
            f"{self.name}, {lines}, {field}: found {found}. Nothing was written. Fields are "
            "separated by commas, and a text with line ends stands in quotes, each quote inside it "
            "doubled: get the file again, or write it so."
        )
