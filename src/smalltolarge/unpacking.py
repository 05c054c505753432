"""How much a file holds once it is unpacked, told before it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smalltolarge.errors import DataError, printable

RATIO_LIMIT = 200
"""Bytes out per byte in, above which a compressed file is taken for a bomb..."""
RATIO_FROM = 64 << 20
"""...once it has unpacked to this many bytes."""
_BINARY = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_map)


def refuse_bomb(name: str, given: int, taken: int) -> None:
    """Raise ``DataError`` where ``taken`` bytes are unpacked to more than any text is."""
    if given > RATIO_FROM and given > RATIO_LIMIT * taken:
        raise DataError(
            f"{printable(name, 200)}: unpacks to more than {RATIO_LIMIT} times its size "
            f"({given:,} bytes from {taken:,}), which no text does. If you trust it, unpack it "
            "yourself and give the unpacked file, or its rows as JSONL."
        )


def repeated_columns(file: pq.ParquetFile, path: Path, name: str) -> list[str]:
    """Name the columns in which values come back so often that they unpack to many times more."""
    about, size = file.metadata, path.stat().st_size
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    chunks = [
        (number, group.column(place))
        for number, group in enumerate(groups)
        for place in range(group.num_columns)
    ]
    given = 8 * about.num_rows
    given += sum(max(8 * chunk.num_values, chunk.total_uncompressed_size) for _, chunk in chunks)
    refuse_bomb(name, given, size)
    found = set()
    opened: Any = pq.ParquetFile
    for number, chunk in chunks:
        small = chunk.total_uncompressed_size
        if chunk.physical_type != "BYTE_ARRAY" or not chunk.has_dictionary_page:
            continue
        if chunk.num_values * small <= RATIO_FROM:
            continue
        column = chunk.path_in_schema
        with opened(path, read_dictionary=[column], arrow_extensions_enabled=False) as apart:
            table = apart.read_row_group(number, columns=[column])
        unpacked = sum(int(unpacked_sizes(part).sum()) for part in table.column(0).chunks)
        given += max(unpacked - small, 0)
        refuse_bomb(name, given, size)
        if unpacked > 4 * small + RATIO_FROM:
            found.add(column)
    return sorted(found)


def unpacked_sizes(values: Any) -> Any:
    """Say about how many bytes each of n values is once it is apart from the others: int64 (n,)."""
    kind, n = values.type, len(values)
    if isinstance(kind, pa.BaseExtensionType):
        return unpacked_sizes(values.storage)
    own = np.full(n, 8, dtype=np.int64)
    if pa.types.is_dictionary(kind):
        inside = unpacked_sizes(values.dictionary)
        return inside[values.indices.fill_null(0).to_numpy()] if len(inside) else own
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        lengths = np.frombuffer(values.buffers()[1] or b"", dtype=np.int32)[::4]
        return own + lengths[values.offset : values.offset + n]
    if any(one(kind) for one in _BINARY):
        return own + pc.binary_length(values).fill_null(0).to_numpy()
    if pa.types.is_fixed_size_binary(kind):
        return own + kind.byte_width
    if pa.types.is_struct(kind):
        return own + sum(unpacked_sizes(part) for part in values.flatten())
    if pa.types.is_fixed_size_list(kind):
        width = kind.list_size
        inner = unpacked_sizes(values.values.slice(values.offset * width, n * width))
        return own + inner.reshape(n, width).sum(axis=1)
    if any(one(kind) for one in _LISTS):
        ends = values.offsets.to_numpy().astype(np.int64)
        inner = unpacked_sizes(values.values.slice(ends[0], ends[-1] - ends[0]))
        return own + np.diff(np.concatenate([[0], np.cumsum(inner)])[ends - ends[0]])
    return own
