"""One thing to read: a file, a data set or rows in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smalltolarge import store
from smalltolarge.errors import DataError, printable
from smalltolarge.examples.arrow_rows import dataset_rows, open_parquet, parquet_rows
from smalltolarge.examples.csv_rows import CsvRows
from smalltolarge.examples.json_rows import Row, array_rows, jsonl_rows
from smalltolarge.examples.layout import Shapes
from smalltolarge.examples.memory import Digest, Objects, digest_of, object_rows
from smalltolarge.examples.sniff import kind_of
from smalltolarge.examples.stream import ByteStream
from smalltolarge.examples.table import InputFile, Split
from smalltolarge.settings import ReadingSettings

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass
class Input:
    """One input before and while it is read; ``record`` is what is kept of it afterwards."""

    name: str
    kind: str
    path: Path | None = None
    compression: str | None = None
    dataset: Dataset | None = None
    objects: Objects | None = None
    split: Split | None = None
    record: InputFile | None = None
    header: tuple[str, list[str]] | None = None
    """Delimiter and column names of a CSV file."""
    schema: Any = None
    """Arrow schema of a Parquet file."""

    def size(self) -> int:
        """Give what there is to read: bytes, or rows that are no file's."""
        if self.dataset is not None:
            return int(self.dataset.num_rows)
        if self.objects is not None:
            return len(self.objects)
        return self.path.stat().st_size if self.path else 0

    def stamp(self) -> tuple[int, ...]:
        """Give what is another once a file is written to or gone."""
        try:
            found = os.stat(self.path or "")
        except OSError:
            return ()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def rows(
        self,
        settings: ReadingSettings,
        shapes: Shapes,
        advance: Callable[[int], None],
        repaired: list[int] | None,
    ) -> Iterator[Row]:
        """Yield the rows; ``record`` is set when the last one is out."""
        if self.dataset is not None:
            yield from self._dataset(self.dataset, shapes, settings.max_line_bytes, advance)
            return
        if self.objects is not None:
            yield from object_rows(self.objects, advance)
            self.record = InputFile(self.name, self.kind, None, 0, digest_of(self.objects))
            return
        assert self.path is not None
        if self.kind == "parquet":
            yield from self._parquet(self.path, shapes, settings.max_line_bytes, advance)
            return
        stream = ByteStream(self.path, self.name, self.compression, advance)
        if self.kind == "jsonl":
            yield from jsonl_rows(stream, settings.max_line_bytes, repaired)
        elif self.kind == "json":
            yield from array_rows(stream, settings.max_line_bytes, repaired)
        else:
            records = CsvRows(stream, settings.max_line_bytes, repaired)
            for row in records.rows():
                self.header = (records.delimiter, records.header)
                yield row
            shapes.note(records.header)
            self.header = (records.delimiter, records.header)
        self.record = InputFile(self.name, self.kind, self.compression, stream.size, stream.sha256)

    def _parquet(
        self, path: Path, shapes: Shapes, limit: int, advance: Callable[[int], None]
    ) -> Iterator[Row]:
        size, sha256 = path.stat().st_size, store.digest(path)
        file, self.schema = open_parquet(path, self.name)
        share = size / max(file.metadata.num_rows, 1)
        columns = shapes.note(self.schema.names)
        with file:
            yield from parquet_rows(
                file, self.name, columns, limit, lambda n: advance(int(n * share))
            )
        self.record = InputFile(self.name, self.kind, None, size, sha256)

    def _dataset(
        self, dataset: Dataset, shapes: Shapes, limit: int, advance: Callable[[int], None]
    ) -> Iterator[Row]:
        columns = shapes.note(dataset.column_names)
        if self.path is not None:
            size, sha256 = folder_digest(self.path)
            yield from dataset_rows(dataset, self.name, columns, limit, advance, size=size)
        else:
            content = Digest()
            yield from dataset_rows(dataset, self.name, columns, limit, advance, content)
            size, sha256 = 0, content.hexdigest()
        self.record = InputFile(self.name, self.kind, None, size, sha256)


def rows_of(path: Path, limit: int | None = None) -> tuple[str, Iterator[Row]]:
    """Give the kind of a file (jsonl, json or csv) and its rows, of at most ``limit`` bytes each.

    Raises
    ------
    DataError
        It is no such file.
    """
    name = str(path)
    kind, compression = kind_of(path, name)
    if kind == "parquet":
        raise DataError(f"{printable(name, 200)} is {kind}: write the pairs as JSONL or CSV.")
    settings = ReadingSettings() if limit is None else ReadingSettings(max_line_bytes=limit)
    one = Input(name, kind, path, compression)
    return kind, one.rows(settings, Shapes(settings), lambda _: None, None)


def expanded(name: str | PathLike[str]) -> Path:
    """Give the path of a name, ``~`` being a home; a name of nobody's home is a name."""
    return Path(os.path.expanduser(name))


def folder_digest(folder: Path) -> tuple[int, str]:
    """Give the size and SHA-256 of a folder."""
    return store.size(folder), store.digest(folder)
