"""Rows from Parquet files and from Hugging Face datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smalltolarge.errors import DataError, printable
from smalltolarge.examples.json_rows import Row
from smalltolarge.examples.memory import Digest
from smalltolarge.examples.nested import decoded
from smalltolarge.examples.problems import Flaw, Refused
from smalltolarge.examples.stream import damaged, out_of_memory
from smalltolarge.unpacking import refuse_bomb, repeated_columns, unpacked_sizes

if TYPE_CHECKING:
    from datasets import Dataset

Decoder = Callable[[Any], Any]

_BATCH = 1000
_EXTENSION, _JSON = b"ARROW:extension:name", "arrow.json"
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
_NESTED = (
    pa.types.is_struct,
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_map,
)
_SLICE = 16 << 20


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
    if _is_json(field):
        return None
    if field.metadata and _EXTENSION in field.metadata:
        return field.metadata[_EXTENSION].decode("utf-8", "replace")
    if isinstance(kind, pa.BaseExtensionType):
        return str(kind)
    if any(is_plain(kind) for is_plain in _PLAIN):
        return None
    if pa.types.is_dictionary(kind):
        return _odd(pa.field("values", kind.value_type))
    if any(is_nested(kind) for is_nested in _NESTED):
        for place in range(kind.num_fields):
            inner = _odd(kind.field(place))
            if inner:
                return inner
        return None
    return str(kind)


def _is_json(field: pa.Field[Any]) -> bool:
    """Tell JSON text from text: by the type, or by what is written beside text."""
    if isinstance(field.type, pa.BaseExtensionType):
        return field.type.extension_name == _JSON
    return (field.metadata or {}).get(_EXTENSION) == _JSON.encode()


def _decoder(field: pa.Field[Any]) -> Decoder | None:
    """Give what puts its values in the place of JSON texts; None where there are none."""
    kind: Any = field.type
    name = field.name
    if _is_json(field):
        return lambda text: None if text is None else decoded(text, name, "JSON text")
    if not pa.types.is_nested(kind) or pa.types.is_union(kind):
        return None
    if pa.types.is_struct(kind):
        parts = [(part.name, one) for part in kind.fields if (one := _decoder(part)) is not None]
        if not parts:
            return None
        return lambda found: found and found | {key: decode(found[key]) for key, decode in parts}
    inner = kind.item_field if pa.types.is_map(kind) else kind.value_field
    decode = _decoder(inner)
    if decode is None:
        return None
    if pa.types.is_map(kind):
        return lambda found: found and {key: decode(value) for key, value in found.items()}
    return lambda found: found and [decode(value) for value in found]


def plain_types(table: pa.Table) -> pa.Table:
    """Give the same values without views and dictionaries, which not all that writes can write."""
    return table.cast(pa.schema([f.with_type(_plain(f.type)) for f in table.schema]))


def without_views(table: pa.Table) -> pa.Table:
    """Give the same values without views, of which Arrow cannot take rows."""
    about: Any = table.schema.metadata
    kinds = [f.with_type(_plain(f.type, dictionaries=True)) for f in table.schema]
    return table.cast(pa.schema(kinds, about))


def _plain(kind: Any, *, dictionaries: bool = False) -> pa.DataType:
    """Give the type without views, and without ``dictionaries`` unless they stay."""
    if pa.types.is_dictionary(kind):
        inside = _plain(kind.value_type, dictionaries=dictionaries)
        same: pa.DataType = kind
        return same if dictionaries and inside.equals(kind.value_type) else inside
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct(
            [part.with_type(_plain(part.type, dictionaries=dictionaries)) for part in kind.fields]
        )
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = kind.value_field.with_type(_plain(kind.value_type, dictionaries=dictionaries))
        return pa.list_(inner) if pa.types.is_list(kind) else pa.large_list(inner)
    same = kind
    return same  # noqa: RET504


def _refuse(name: str, what: str, error: Exception) -> NoReturn:
    """Raise the error for a container that cannot be read; want of memory stays what it is."""
    if out_of_memory(error):
        raise error
    raise damaged(name, f"{what} ({printable(error, 120)})") from error


def open_parquet(path: Path, name: str) -> tuple[pq.ParquetFile, pa.Schema]:
    """Open a Parquet file whose types are all allowed; give its schema, too.

    Texts that a few values unpack to many of are read as Arrow dictionaries.

    Raises
    ------
    DataError
        It is damaged, has odd types, or unpacks to more than any text does.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        schema = file.schema_arrow
        refuse_odd_types(schema, name)
        repeated = repeated_columns(file, path, name)
        if repeated:
            file.close()
            file = pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=repeated)
    except _READ_ERRORS as error:
        _refuse(name, "not a readable Parquet file", error)
    return file, schema


def parquet_rows(
    file: pq.ParquetFile,
    name: str,
    columns: Sequence[str],
    limit: int,
    advance: Callable[[int], None],
) -> Iterator[Row]:
    """Yield the rows of a Parquet file, with ``columns`` alone, of at most ``limit`` bytes each."""
    batches = file.iter_batches(batch_size=_BATCH, columns=list(columns)) if columns else iter(())
    row = 0
    while columns:
        try:
            batch = next(batches, None)
            if batch is None:
                break
            batch.validate()
        except _READ_ERRORS as error:
            _refuse(name, f"damaged after row {row}", error)
        for value in python_rows(batch, limit):
            row += 1
            yield row, -1, -1, value
        advance(batch.num_rows)
    if columns and row != file.metadata.num_rows:
        raise damaged(name, f"it ends after row {row} of {file.metadata.num_rows}")
    if not columns:
        yield from ((number, -1, -1, {}) for number in range(1, file.metadata.num_rows + 1))


def python_rows(
    batch: pa.RecordBatch | pa.Table, limit: int | None = None
) -> Iterator[dict[str, Any] | Flaw]:
    """Yield rows as Python objects, with what JSON texts of JSON columns say.

    Few rows at a time are apart, however large; one above ``limit`` bytes is not taken apart.
    """
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    for column in batch.columns:
        parts = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        sizes += np.concatenate([unpacked_sizes(part) for part in parts] or [sizes])
    begin, total = 0, np.cumsum(sizes)
    too_long = np.flatnonzero(sizes > (limit or sizes.max(initial=0)))
    for stop in [*too_long.tolist(), batch.num_rows]:
        while begin < stop:
            before = total[begin] - sizes[begin]
            end = max(int(np.searchsorted(total, before + _SLICE, side="right")), begin + 1)
            yield from _apart(batch.slice(begin, min(end, stop) - begin))
            begin = min(end, stop)
        if stop < batch.num_rows:
            yield Flaw(
                "too long", "", f"a row of {sizes[stop]:,} bytes",
                f"at most {limit:,} (--max-line-bytes)",
            )  # fmt: skip
            begin = stop + 1


def _apart(batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, Any] | Flaw]:
    decoders = [(f.name, one) for f in batch.schema if (one := _decoder(f)) is not None]
    rows: Sequence[dict[str, Any] | Flaw]
    try:
        rows = batch.to_pylist(maps_as_pydicts="strict")
    except (ValueError, OverflowError, KeyError):
        rows = [_python_row(batch.slice(place, 1)) for place in range(batch.num_rows)]
    for row in rows:
        if not decoders or isinstance(row, Flaw):
            yield row
            continue
        try:
            yield row | {name: decode(row[name]) for name, decode in decoders}
        except Refused as refused:
            yield refused.flaw


def _python_row(one: pa.RecordBatch | pa.Table) -> dict[str, Any] | Flaw:
    try:
        return one.to_pylist(maps_as_pydicts="strict")[0]
    except UnicodeDecodeError as error:
        near = printable(error.object[: error.end + 20].decode("utf-8", "backslashreplace"), 80)
        return Flaw("not valid Unicode", "", f'"{near}"', "UTF-8 text")
    except (ValueError, OverflowError, KeyError) as error:
        return Flaw("not text", "", printable(error, 80), "values that Python can hold")


def dataset_rows(
    dataset: Dataset,
    name: str,
    columns: Sequence[str],
    limit: int,
    advance: Callable[[int], None],
    content: Digest | None = None,
    size: int | None = None,
) -> Iterator[Row]:
    """Yield the rows of a Hugging Face dataset, with ``columns`` alone.

    A row has at most ``limit`` bytes. ``content`` takes in every row, with all its columns;
    ``size`` are the bytes of the files that hold them.
    """
    if not columns and content is None:
        yield from ((row, -1, -1, {}) for row in range(1, dataset.num_rows + 1))
        return
    refuse_odd_types(pa.schema([dataset.data.schema.field(one) for one in columns]), name)
    plain = dataset.with_format("arrow")
    row, given = 0, 0
    if size is not None:
        refuse_bomb(name, 8 * dataset.num_rows * max(len(columns), 1), size)
    try:
        for table in plain.iter(batch_size=_BATCH):
            _check_values(table, columns, name, row)
            others = [one for one in table.column_names if one not in columns] if content else []
            rest = {one: held_values(table[one]) for one in others}
            if size is not None:
                given += sum(
                    int(unpacked_sizes(c).sum()) for one in columns for c in table[one].chunks
                )
                refuse_bomb(name, given, size)
            for place, value in enumerate(python_rows(table.select(columns), limit)):
                row += 1
                if content is not None:
                    beside = {one: values[place] for one, values in rest.items()}
                    content.take(value if isinstance(value, Flaw) else value | beside)
                yield row, -1, -1, value
            advance(table.num_rows)
    except _READ_ERRORS as error:
        _refuse(name, f"damaged after row {row}", error)


def _check_values(table: pa.Table, columns: Sequence[str], name: str, row: int) -> None:
    """Raise ``DataError`` where a column is not what its type says; bad text is told by its row."""
    for column in table.column_names:
        try:
            table[column].validate(full=True)
        except pa.ArrowInvalid as error:
            kind = table.schema.field(column).type
            text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
            if text and column in columns and "UTF8" in str(error):
                continue
            _refuse(name, f"damaged after row {row}, column {printable(column)}", error)


def held_values(column: pa.ChunkedArray[Any]) -> Sequence[object]:
    """Give a column as Python objects; nothing where Python cannot hold one of them."""
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):
        return [None] * len(column)
