"""The chosen rows written back: the user's own bytes, in the user's own order."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from smalltolarge import store
from smalltolarge.errors import DataError, RecipeError, printable
from smalltolarge.examples.arrow_rows import python_rows
from smalltolarge.examples.csv_rows import CsvRows
from smalltolarge.examples.inputs import expanded
from smalltolarge.examples.json_rows import DECODER
from smalltolarge.examples.memory import as_json, in_words, objects_again, without_nan
from smalltolarge.examples.originals import (
    changed,
    open_again,
    parquet_parts,
    refuse_changed_folder,
    row_bytes,
    unchanged,
)
from smalltolarge.examples.problems import Flaw
from smalltolarge.examples.sniff import suffix_of
from smalltolarge.examples.table import Examples, InputFile

if TYPE_CHECKING:
    from datasets import Dataset

Columns = Mapping[str, np.ndarray]
"""Numbers, float64 or int64 (b,), a value for each row that is written; by name."""
_BATCH = 1000
_FITTING = {
    "jsonl": (".jsonl", ".ndjson"),
    "json": (".json",),
    "csv": (".csv", ".tsv"),
    "parquet": (".parquet",),
    "saved-dataset": (".jsonl", ".json", ".csv", ".parquet", ""),
    "dataset": (".jsonl", ".json", ".csv", ".parquet", ""),
    "rows": (".jsonl", ".json", ".csv", ".parquet", ""),
}


def usual_suffix(kind: str) -> str:
    """Give the suffix of a subset of an input of this kind, not packed."""
    return _FITTING[kind][0]


def check_output(examples: Examples | str, out: Path) -> None:
    """Raise ``RecipeError`` unless rows of these examples (or this kind) can be written to ``out``.

    The suffix must be that of the input's kind; .gz or .zst after it compresses. An input is never
    written over. ``DataError`` where a value of the rows cannot be written there.
    """
    _check_place(examples, Path(out))
    if not isinstance(examples, str):
        _check_values(examples, Path(out))


def _check_place(examples: Examples | str, out: Path) -> None:
    kind = examples if isinstance(examples, str) else examples.inputs[0].kind
    fitting = _FITTING[kind]
    if not isinstance(examples, str) and kind == "jsonl":
        own = suffix_of(Path(examples.inputs[0].path))[0]
        fitting = (*fitting, *([own] if own == ".json" else []))
    suffix, packed = suffix_of(out)
    if packed and suffix in ("", ".parquet"):
        raise RecipeError(f"{printable(out, 200)}: only .jsonl, .json and .csv are packed.")
    if suffix not in fitting:
        shown = [name or "no suffix (a save_to_disk folder)" for name in fitting]
        also = ", .gz or .zst after it to pack it" if kind in ("jsonl", "json", "csv") else ""
        raise RecipeError(
            f"{printable(out, 200)}: the subset is written as the data came, as {kind}. Give "
            f"the output the suffix {' or '.join(shown)}{also}."
        )
    inputs = () if isinstance(examples, str) else examples.inputs
    if out.exists() and any(_is_same(expanded(one.path), out) for one in inputs):
        raise RecipeError(
            f"{printable(out, 200)} is an input: the subset would be written over the data. "
            "Choose another name."
        )
    if out.is_dir() and suffix:
        raise RecipeError(f"{printable(out, 200)} is a folder that exists. Choose another.")


def _check_values(examples: Examples, out: Path) -> None:
    """Raise ``DataError`` where a value of the rows, used or not, cannot be written to ``out``.

    Only values that may be such are looked at: what is no text, whole number or truth value.
    """
    suffix = suffix_of(out)[0]
    if examples.objects is not None:
        if suffix in (".jsonl", ".json"):
            for row in examples.objects:
                as_json(without_nan(row))
        else:
            rows_as_dataset(examples, np.arange(len(examples)))
    elif examples.dataset is not None and suffix in (".jsonl", ".json", ".csv"):
        schema = examples.dataset.data.schema
        doubtful = [field.name for field in schema if not _is_surely_json(field.type)]
        if doubtful:
            for row in _values(examples.dataset.select_columns(doubtful)):
                as_json(row, in_words)


def _is_surely_json(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.ListType | pa.LargeListType):
        return _is_surely_json(kind.value_type)
    if isinstance(kind, pa.StructType):
        return all(_is_surely_json(kind.field(place).type) for place in range(kind.num_fields))
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and one.samefile(other)


def refuse_taken(examples: Examples, names: Collection[str]) -> None:
    """Raise ``RecipeError`` where a row that is used has a column of one of these names."""
    if not names:
        return
    if examples.dataset is not None:
        found: Iterable[Collection[str]] = [examples.dataset.column_names]
    elif examples.objects is not None:
        found = examples.objects
    elif examples.inputs[0].kind == "parquet":
        found = [pq.read_schema(unchanged(one)).names for one in examples.inputs]
    elif examples.inputs[0].kind == "csv":
        found = [_read_header(one).header for one in examples.inputs]
    else:
        every = row_bytes(examples, _checked(examples, np.arange(len(examples))))
        marks = [name.encode() for name in names]
        found = (
            DECODER.decode(text.decode("utf-8", "replace"))
            for text in every
            if any(mark in text for mark in marks)
        )
    for there in found:
        taken = next((name for name in names if name in there), None)
        if taken is not None:
            raise RecipeError(
                f"add_columns: the data has a column {taken} of its own, which is not written "
                "over. Rename it there."
            )


def write_subset(
    examples: Examples, indices: np.ndarray, out: Path, columns: Columns = MappingProxyType({})
) -> int:
    """Write the rows ``indices`` (increasing) of the user's own data; give the bytes written.

    ``columns`` are put behind the rows' own; there must be none of their names (``refuse_taken``).

    JSONL: the lines' very bytes, each followed by one newline. CSV: the header's and the records'
    very bytes, each followed by one newline. JSON: an array of the items' very bytes. Parquet: the
    rows under the same schema. A dataset: its rows, in the format of the suffix.

    Raises
    ------
    RecipeError
        The suffix of ``out`` does not fit, or it is a folder with something in it.
    StaleArtifact
        An input is no longer the file that was read.
    OutOfSpace
        The disk is full; what was there before is untouched.
    """
    out = Path(out)
    _check_place(examples, out)
    if out.is_dir() and any(out.iterdir()):
        raise RecipeError(f"{printable(out, 200)} is a folder that exists. Choose another.")
    rows = _checked(examples, indices)
    kind = examples.inputs[0].kind
    in_memory = examples.dataset is not None or examples.objects is not None
    suffix = suffix_of(out)[0]
    if in_memory and not suffix:
        return _save_folder(rows_as_dataset(examples, indices, columns), out)
    with store.atomic_write(out) as raw, _packed(raw, suffix_of(out)[1]) as file:
        if in_memory and suffix == ".parquet":
            with _silent():
                rows_as_dataset(examples, indices, columns).to_parquet(file)
        elif in_memory and suffix == ".csv":
            _write_csv(rows_as_dataset(examples, indices, columns), file)
        elif examples.dataset is not None:
            values = _values(rows_as_dataset(examples, indices, columns))
            items = (as_json(row, in_words) for row in values)
            _write_items(items, file, array=suffix == ".json")
        elif kind == "parquet":
            _write_parquet(examples, rows, columns, file)
        elif kind == "csv":
            records: Iterator[bytes] = chain(
                [_header(examples.inputs[0])], row_bytes(examples, rows)
            )
            if columns:
                delimiter = _read_header(examples.inputs[0]).delimiter
                records = _with_fields(records, columns, delimiter.encode())
            for record in records:
                file.write(record + b"\n")
        else:
            in_file = examples.objects is None
            texts = row_bytes(examples, rows) if in_file else _items(examples, rows)
            if columns:
                texts = _with_members(texts, columns)
            _write_items(texts, file, array=suffix == ".json" and kind != "jsonl")
    return out.stat().st_size


def _items(examples: Examples, rows: pa.Table) -> Iterator[bytes]:
    places = (rows["row"].to_numpy() - 1).tolist()
    return (as_json(row) for row in objects_again(examples, places))


def _with_fields(records: Iterator[bytes], columns: Columns, delimiter: bytes) -> Iterator[bytes]:
    """Put fields behind those of CSV records, the first of which is the header."""
    for record, cells in zip(records, chain([tuple(columns)], _cells(columns)), strict=True):
        bare = record.removesuffix(b"\r")
        yield delimiter.join([bare, *(cell.encode() for cell in cells)]) + record[len(bare) :]


def _with_members(items: Iterator[bytes], columns: Columns) -> Iterator[bytes]:
    """Put members behind those of JSON objects."""
    for item, cells in zip(items, _cells(columns), strict=True):
        bare = item.rstrip()
        more = (f', "{name}": {cell}' for name, cell in zip(columns, cells, strict=True))
        yield bare[:-1] + "".join(more).encode() + b"}" + item[len(bare) :]


def _cells(columns: Columns) -> Iterator[tuple[str, ...]]:
    """Give what each row gets, as text."""
    return zip(*(map(repr, values.tolist()) for values in columns.values()), strict=True)


def _write_items(items: Iterator[bytes], file: BinaryIO, *, array: bool) -> None:
    if not array:
        for item in items:
            file.write(item + b"\n")
        return
    begin = b"[\n"
    for item in items:
        file.write(begin + item)
        begin = b",\n"
    file.write(b"[]\n" if begin == b"[\n" else b"\n]\n")


def rows_as_dataset(
    examples: Examples, indices: np.ndarray, columns: Columns = MappingProxyType({})
) -> Dataset:
    """Give the user's own rows ``indices`` (increasing) with all their columns, as a dataset, and
    ``columns`` behind these.

    Raises
    ------
    DataError
        The rows' values do not fit one type per column.
    StaleArtifact
        An input is no longer the file that was read.
    """
    dataset = _rows_as_dataset(examples, indices)
    if columns:
        with _silent():
            dataset = dataset.flatten_indices(keep_in_memory=True)
        for name, values in columns.items():
            dataset = dataset.add_column(name, values)
    return dataset


def read_weights(examples: Examples, name: str) -> np.ndarray:
    """Read a column of numbers above 0: float64 (n,).

    Raises
    ------
    DataError
        There is no such column, or a row that is used has no such number in it.
    StaleArtifact
        An input is no longer the file that was read.
    """
    rows = rows_as_dataset(examples, np.arange(len(examples)))
    if name not in rows.column_names:
        raise DataError(
            f"weights: the data has no column {printable(name)}. s2l select --add-column weight "
            f"writes one, s2l_weight."
        )
    weights = np.empty(len(examples))
    for place, value in enumerate(rows[name]):
        try:
            weights[place] = float(value)
        except (TypeError, ValueError):
            weights[place] = np.nan
        if not 0 < weights[place] < np.inf:
            file, row = (examples.table[part][place].as_py() for part in ("file", "row"))
            raise DataError(
                f"weights: {printable(examples.inputs[file].path, 200)}, row {row}: "
                f"{printable(name)} is {printable(repr(value), 40)}; a number above 0 is needed"
            )
    return weights


def _rows_as_dataset(examples: Examples, indices: np.ndarray) -> Dataset:
    """Give the user's own rows; raises as ``rows_as_dataset``."""
    from datasets import Dataset

    rows = _checked(examples, indices)
    if examples.dataset is not None:
        refuse_changed_folder(examples.inputs[0])
        place = rows["row"].to_numpy() - 1
        return cast("Dataset", examples.dataset.select(place, keep_in_memory=True))
    if examples.inputs[0].kind == "parquet":
        tables = list(parquet_parts(examples, rows))
        schema = pq.read_schema(unchanged(examples.inputs[0]))
        try:
            return Dataset(pa.concat_tables(tables) if tables else schema.empty_table())
        except (ValueError, TypeError, NotImplementedError) as error:
            raise DataError(f"the rows cannot become a dataset ({printable(error)})") from error
    if examples.objects is not None:
        found = objects_again(examples, (rows["row"].to_numpy() - 1).tolist())
    else:
        found = list(_rows_again(examples, row_bytes(examples, rows)))
    names = dict.fromkeys(name for row in found for name in row)
    columns = {name: [row.get(name) for row in found] for name in names}
    try:
        try:
            return Dataset.from_dict(columns)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            return Dataset(pa.table({name: _column(values) for name, values in columns.items()}))
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"the rows cannot become a dataset: a column changes its type ({printable(error)})"
        ) from error


def _column(values: list[Any]) -> pa.Array[Any]:
    """Hold values of several types as JSON."""
    column: pa.Array[Any]
    try:
        column = pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        texts = [None if value is None else json.dumps(value) for value in values]
        column = pa.array(texts, pa.json_())
    return column


def _checked(examples: Examples, indices: np.ndarray) -> pa.Table:
    given = np.asarray(indices)
    if given.size == 0:
        given = given.astype(np.int64)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise RecipeError("indices: one array of whole numbers is needed")
    if given.size and (given[0] < 0 or given[-1] >= len(examples) or np.any(np.diff(given) <= 0)):
        raise RecipeError(f"indices: increasing row numbers below {len(examples)} are needed")
    return examples.table.select(["file", "row", "start", "end"]).take(pa.array(given, pa.int64()))


@contextmanager
def _packed(raw: BinaryIO, packed: str) -> Iterator[BinaryIO]:
    if packed == ".gz":  # no name and no time inside, so that equal rows are equal bytes
        with gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
            yield cast("BinaryIO", file)
    elif packed == ".zst":
        with zstandard.ZstdCompressor(write_checksum=True).stream_writer(raw, closefd=False) as out:
            yield cast("BinaryIO", out)
    else:
        yield raw


def _read_header(one: InputFile) -> CsvRows:
    records = CsvRows(open_again(one), csv.field_size_limit(), None)
    try:
        next(records.rows(), None)
    except DataError as error:
        raise changed(one) from error
    return records


def _header(one: InputFile) -> bytes:
    records = _read_header(one)
    head = b""
    for chunk in open_again(one).chunks():
        head += chunk
        if len(head) >= records.header_end:
            break
    return head[: records.header_end]


def _rows_again(examples: Examples, texts: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    if examples.inputs[0].kind != "csv":
        for text in texts:
            yield DECODER.decode(text.decode("utf-8", "replace"))
        return
    records = _read_header(examples.inputs[0])
    for text in texts:
        record = io.StringIO(text.decode("utf-8", "replace"), newline="")
        fields = next(csv.reader(record, delimiter=records.delimiter, strict=True))
        yield dict(zip(records.header, fields, strict=True))


def _write_parquet(examples: Examples, rows: pa.Table, columns: Columns, file: BinaryIO) -> None:
    with pq.ParquetFile(unchanged(examples.inputs[0])) as source:
        schema, about = source.schema_arrow, source.metadata
        codec = "snappy"
        if about.num_row_groups and about.num_columns:
            codec = about.row_group(0).column(0).compression.lower()
    codec = {"uncompressed": "none"}.get(codec, codec)
    added = {name: pa.array(values) for name, values in columns.items()}
    whole = schema
    for name, values in added.items():
        whole = whole.append(pa.field(name, values.type))
    begin = 0
    with pq.ParquetWriter(file, whole, compression=cast("Any", codec)) as writer:
        for part in parquet_parts(examples, rows):
            own = part.cast(schema)
            for name, values in added.items():
                own = own.append_column(name, values.slice(begin, len(part)))
            writer.write_table(own)
            begin += len(part)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep ``datasets`` from drawing bars beside ours."""
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _values(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Yield the rows of a dataset with every value as it is, JSON columns as what they say.

    Raises
    ------
    DataError
        Python cannot hold a value, or it is no UTF-8.
    """
    row = 0
    for table in dataset.with_format("arrow").iter(batch_size=_BATCH):
        for value in python_rows(table):
            row += 1
            if isinstance(value, Flaw):
                raise DataError(
                    f"row {row} cannot be written as text: {value.told('')}. Give the output the "
                    "suffix .parquet, or no suffix."
                )
            yield value


def _write_csv(dataset: Dataset, file: BinaryIO) -> None:
    """Write a header and the rows; lists and objects are JSON text, since CSV has only texts."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow(dataset.column_names)
    for row in _values(dataset):
        writer.writerow([_cell(value) for value in row.values()])
    text.detach()


def _cell(value: object) -> object:
    if value is None or isinstance(value, str | int | float):
        return value
    text = as_json(value, in_words).decode()
    return json.loads(text) if text.startswith('"') else text


def _save_folder(dataset: Dataset, out: Path) -> int:
    with store.atomic_file(out) as aside, _silent():
        dataset.save_to_disk(aside)
    return store.size(out)
