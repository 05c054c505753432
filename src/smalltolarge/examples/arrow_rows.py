"""Rows from Parquet files and from Hugging Face datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from smalltolarge.errors import DataError, printable
from smalltolarge.examples.json_rows import Row
from smalltolarge.examples.problems import Flaw
from smalltolarge.examples.stream import damaged

if TYPE_CHECKING:
    from datasets import Dataset

_BATCH = 1000
_READ_ERRORS = (pa.ArrowException, OSError, EOFError)
_PLAIN = (
    pa.types.is_null,
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
    pa.types.is_temporal,
)


def refuse_odd_types(schema: pa.Schema, name: str) -> None:
    """Raise ``DataError`` for a column of an extension type or of a type not known here."""
    twice = {column for column in schema.names if schema.names.count(column) > 1}
    if twice:
        raise DataError(
            f"{printable(name, 200)} has several columns named {printable(sorted(twice)[0])}. "
            "Rename them."
        )
    for field in schema:
        odd = _odd(field)
        if odd:
            raise DataError(
                f"{printable(name, 200)}, column {printable(field.name)}: type {printable(odd)} is "
                "not read. Plain types, lists and structs are; leave the column out or save it as "
                "text."
            )


def _odd(field: pa.Field[Any]) -> str | None:
    kind = field.type
    if field.metadata and b"ARROW:extension:name" in field.metadata:
        return field.metadata[b"ARROW:extension:name"].decode("utf-8", "replace")
    if isinstance(kind, pa.BaseExtensionType):
        return str(kind)
    if any(is_plain(kind) for is_plain in _PLAIN):
        return None
    if pa.types.is_dictionary(kind):
        return _odd(pa.field("values", kind.value_type))
    if pa.types.is_nested(kind) and not pa.types.is_union(kind):
        for place in range(kind.num_fields):
            inner = _odd(kind.field(place))
            if inner:
                return inner
        return None
    return str(kind)


def open_parquet(path: Path, name: str) -> pq.ParquetFile:
    """Open a Parquet file whose types are all allowed; ``DataError`` otherwise."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        schema = file.schema_arrow
    except _READ_ERRORS as error:
        raise damaged(
            name, f"not a readable Parquet file ({printable(str(error), 120)})"
        ) from error
    refuse_odd_types(schema, name)
    return file


def parquet_rows(
    file: pq.ParquetFile, name: str, columns: Sequence[str], advance: Callable[[int], None]
) -> Iterator[Row]:
    """Yield the rows of a Parquet file, with ``columns`` alone."""
    batches = file.iter_batches(batch_size=_BATCH, columns=list(columns)) if columns else iter(())
    row = 0
    while columns:
        try:
            batch = next(batches, None)
            if batch is None:
                break
            batch.validate()
        except _READ_ERRORS as error:
            raise damaged(
                name, f"damaged after row {row} ({printable(str(error), 120)})"
            ) from error
        for value in _python_rows(batch):
            row += 1
            yield row, -1, -1, value
        advance(batch.num_rows)
    if columns and row != file.metadata.num_rows:
        raise damaged(name, f"it ends after row {row} of {file.metadata.num_rows}")
    if not columns:
        yield from ((number, -1, -1, {}) for number in range(1, file.metadata.num_rows + 1))


def _python_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Flaw]:
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass
    for place in range(batch.num_rows):
        try:
            yield batch.slice(place, 1).to_pylist()[0]
        except UnicodeDecodeError as error:
            near = printable(error.object[: error.end + 20].decode("utf-8", "backslashreplace"), 80)
            yield Flaw("not valid Unicode", "", f'"{near}"', "UTF-8 text")


def dataset_rows(
    dataset: Dataset, name: str, columns: Sequence[str], advance: Callable[[int], None]
) -> Iterator[Row]:
    """Yield the rows of a Hugging Face dataset, with ``columns`` alone."""
    if not columns:
        for row in range(1, dataset.num_rows + 1):
            yield row, -1, -1, {}
        return
    plain = dataset.with_format(None).select_columns(list(columns))
    row = 0
    try:
        for batch in plain.iter(batch_size=_BATCH):
            for values in zip(*(batch[column] for column in columns), strict=True):
                row += 1
                yield row, -1, -1, dict(zip(columns, values, strict=True))
            advance(len(batch[columns[0]]))
    except (*_READ_ERRORS, UnicodeDecodeError) as error:
        raise damaged(name, f"damaged after row {row} ({printable(str(error), 120)})") from error
