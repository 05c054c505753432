"""Which of several rows with equal turns is the first, whatever the order of the files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from smalltolarge.examples.arrow_rows import held_values
from smalltolarge.examples.conversation import ConversationReader, encode, example_id, repaired
from smalltolarge.examples.json_rows import DECODER
from smalltolarge.examples.originals import parquet_parts, row_bytes
from smalltolarge.examples.table import SCHEMA, Examples, Message

_BLOCK = 1_000_000
_MIX = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64
)
"""Odd numbers without a pattern."""


def number_occurrences(examples: Examples, reader: ConversationReader) -> Examples:
    """Deal the ids of rows with equal turns, which all have that of the first, out by what else is
    in the rows.

    ``reader`` reads rows again whose texts were not kept.
    """
    groups = _equal(examples.ids)
    if not groups:
        return examples
    ids = examples.ids.copy()
    group_of = {row: group for group in groups for row in group}
    rows = sorted(group_of)
    digests: dict[int, bytes] = {}
    names: dict[int, list[bytes]] = {}
    """The ids of a group, by its first row."""
    texts = _texts(examples, sorted(group[0] for group in groups))
    for row, content in zip(rows, _contents(examples, _places(examples, rows)), strict=True):
        digests[row] = hashlib.blake2b(content, digest_size=16).digest()
        group = group_of[row]
        if row == group[0]:
            encoded = encode(next(texts) if texts else _read_again(content, reader))
            names[row] = [example_id(encoded, place).encode() for place in range(len(group))]
    for group in groups:
        ids[sorted(group, key=lambda row: (digests[row], row))] = names[group[0]]
    parts = [
        pa.array(ids[begin : begin + _BLOCK].tolist(), pa.binary()).cast(pa.string())
        for begin in range(0, len(ids), _BLOCK)
    ]
    column = pa.chunked_array(parts)
    table = examples.table.set_column(SCHEMA.get_field_index("id"), SCHEMA.field("id"), column)
    return replace(examples, table=table)


def _equal(ids: np.ndarray) -> list[list[int]]:
    """Give the groups of rows with one id, each increasing."""
    short = ids.view(np.uint64).reshape(-1, 4) @ _MIX  # 8 bytes in the place of 32
    ordered = np.sort(short)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    groups: dict[bytes, list[int]] = {}
    for row in np.flatnonzero(np.isin(short, twice)).tolist() if len(twice) else ():
        groups.setdefault(ids[row], []).append(row)
    return [group for group in groups.values() if len(group) > 1]


def _texts(examples: Examples, rows: list[int]) -> Iterator[list[Message]] | None:
    """Yield the turns of ``rows``, increasing; None where they were not kept."""
    if "messages" not in examples.table.column_names:
        return None
    wanted, begin = np.array(rows), 0
    parts = []
    for chunk in examples.table["messages"].chunks:
        low, high = np.searchsorted(wanted, [begin, begin + len(chunk)])
        parts.append(chunk.take(pa.array(wanted[low:high] - begin)))
        begin += len(chunk)
    found: Iterator[Any] = (turns for part in parts for turns in part.to_pylist())
    return ([Message(**turn) for turn in turns] for turns in found)


def _read_again(content: bytes, reader: ConversationReader) -> list[Message]:
    turns = reader.read(DECODER.decode(content.decode("utf-8", "replace")))
    return repaired(turns)


def _places(examples: Examples, rows: list[int]) -> pa.Table:
    return examples.table.select(["file", "row", "start", "end"]).take(pa.array(rows, pa.int64()))


def _contents(examples: Examples, places: pa.Table) -> Iterator[bytes]:
    """Yield each row's own bytes, or a canonical form of a row that has none."""
    if examples.objects is not None:
        yield from (_as_text(examples.objects[row.as_py() - 1]) for row in places["row"])
    elif examples.dataset is not None:
        chosen = examples.dataset.select(places["row"].to_numpy() - 1, keep_in_memory=True)
        yield from _canonical(chosen.with_format("arrow")[:])
    elif examples.inputs[0].kind == "parquet":
        for part in parquet_parts(examples, places):
            yield from _canonical(part)
    else:
        # How lines end is no part of a row: a file and its copy from Windows are dealt alike.
        yield from (content.rstrip(b"\r\n") for content in row_bytes(examples, places))


def _canonical(rows: pa.Table) -> Iterator[bytes]:
    columns = {name: held_values(rows[name]) for name in rows.column_names}
    for row in range(rows.num_rows):
        yield _as_text({name: values[row] for name, values in columns.items()})


def _as_text(row: Mapping[str, object]) -> bytes:
    # ascii, not repr: what repr escapes follows Python's version of Unicode
    return ascii(sorted(row.items(), key=itemgetter(0))).encode()
