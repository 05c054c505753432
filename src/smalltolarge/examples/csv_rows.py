"""Rows from a CSV file with a header, with the place of their very bytes."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from smalltolarge.errors import DataError, printable
from smalltolarge.examples.json_rows import Row, unicode_flaw, without_surrogates
from smalltolarge.examples.problems import Flaw, place
from smalltolarge.examples.stream import ByteStream, damaged

_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t"


class CsvRows:
    """The records of one CSV file.

    ``header``, ``delimiter`` and ``header_end`` (in bytes) are known once a row is asked for.
    """

    def __init__(self, stream: ByteStream, limit: int, repaired: list[int] | None) -> None:
        self.stream, self.limit, self.repaired = stream, limit, repaired
        self.header: list[str] = []
        self.delimiter = ","
        self.header_end = 0
        self._first = self._start = self._end = 0
        self._record = bytearray()
        csv.field_size_limit(max(csv.field_size_limit(), limit))

    def rows(self) -> Iterator[Row]:
        """Yield the records as objects from the header's names to text.

        Raises
        ------
        DataError
            The header is unusable, or quoting is broken: what follows cannot be told apart.
        """
        lines = self._lines()
        self._read_header(lines)
        reader = csv.reader(self._text(lines), delimiter=self.delimiter, strict=True)
        width, header = len(self.header), self.header
        while True:
            self._record.clear()
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise self._broken(error) from error
            if not fields:
                continue
            if len(fields) == width:
                row = self._clean(dict(zip(header, fields, strict=True)))
            else:
                row = Flaw(
                    "wrong number of fields",
                    "",
                    f'{len(fields)} fields: "{printable(self.delimiter.join(fields), 60)}"',
                    f"{width}, as in the header",
                )
            yield self._first, self._start, self._end, row

    def _lines(self) -> Iterator[bytes]:
        for number, start, end, line in self.stream.lines(self.limit, empty=True):
            if line is None:
                raise damaged(
                    place(self.stream.name, "csv", number, start),
                    f"a line of {end - start:,} bytes, at most {self.limit:,} are read "
                    "(--max-line-bytes)",
                )
            if number == 1 and line.startswith(_BOM):
                line = line[3:]
                start += 3
            if not self._record:
                self._first, self._start = number, start
            self._end = end
            self._record += line + b"\n"
            if end - self._start > self.limit:
                raise damaged(
                    place(self.stream.name, "csv", self._first, self._start),
                    f"the record that begins there is longer than {self.limit:,} bytes "
                    "(--max-line-bytes); a quote may be missing",
                )
            yield line

    @staticmethod
    def _text(lines: Iterator[bytes]) -> Iterator[str]:
        for line in lines:
            try:
                yield line.decode() + "\n"
            except UnicodeDecodeError:
                yield line.decode("utf-8", "surrogateescape") + "\n"

    def _read_header(self, lines: Iterator[bytes]) -> None:
        header = b""
        for line in lines:
            header += line + b"\n"
            if header.strip() and header.count(b'"') % 2 == 0:
                break
        try:
            text = header.decode()
        except UnicodeDecodeError as error:
            flaw = unicode_flaw(header, self._start)
            raise DataError(
                f"{printable(self.stream.name, 200)}: its header is not UTF-8 ({flaw.found}). "
                "Save the file as UTF-8."
            ) from error
        best: list[str] = []
        for delimiter in _DELIMITERS:
            try:
                found = next(
                    iter([f for f in csv.reader([text], delimiter=delimiter, strict=True) if f]), []
                )
            except csv.Error as error:
                if "\r" in text.rstrip("\r\n"):
                    raise DataError(
                        f"{printable(self.stream.name, 200)} has bare carriage returns as line "
                        "ends. Save it with line feeds: tr '\\r' '\\n' < file > new-file"
                    ) from error
                continue
            if len(found) > len(best):
                best, self.delimiter = found, delimiter
        if len(best) < 2:
            raise DataError(
                f"{printable(self.stream.name, 200)}: its header has fewer than two columns: "
                f'"{printable(text.strip(), 80)}". A CSV file with a header of column names, '
                "separated by , or ; or tab, is needed."
            )
        self.header = best
        self.header_end = self._end

    def _clean(self, row: dict[str, str]) -> dict[str, str] | Flaw:
        if self._record.isascii():
            return row
        try:
            self._record.decode()
            return row
        except UnicodeDecodeError:
            if self.repaired is None:
                return unicode_flaw(bytes(self._record), self._start)
            self.repaired.append(self._first)
            return {name: without_surrogates(text) for name, text in row.items()}

    def _broken(self, error: csv.Error) -> DataError:
        text = self._record[:200].decode("utf-8", "replace")
        why = {"unexpected end of data": "a quote is opened and never closed"}.get(
            str(error), str(error)
        )
        if "new-line character" in why:
            why = "a carriage return outside quotes"
        return DataError(
            f"{place(self.stream.name, 'csv', self._first, self._start)}: the quoting of the "
            f'record that begins there is broken ({why}): "{printable(text, 60)}". What follows '
            "cannot be told apart, so none of the file is used. A field with quotes, separators or "
            'line ends stands in quotes, and each quote inside it is doubled ("").'
        )
