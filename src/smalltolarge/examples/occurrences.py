"""Which of several rows with equal turns is the first, whatever the order of the files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter

import numpy as np
import pyarrow as pa

from smalltolarge.examples.arrow_rows import held_values
from smalltolarge.examples.originals import parquet_parts, row_bytes
from smalltolarge.examples.table import Examples


def number_occurrences(examples: Examples, later: Mapping[int, Sequence[int]]) -> Examples:
    """Deal the ids of rows with equal turns out by what else is in the rows.

    ``later`` has, for the first row of every group, the other rows of it, increasing. The ids stay
    the same set; row by row they no longer follow the order of the input.
    """
    if not later:
        return examples
    rows = sorted([*later, *(row for others in later.values() for row in others)])
    digests = dict(zip(rows, _digests(examples, rows), strict=True))
    origin = np.arange(len(examples))  # whose id by position each row gets
    for first, others in later.items():
        group = [first, *others]
        origin[sorted(group, key=lambda row: (digests[row], row))] = group
    table = examples.table
    ids = table["id"].take(pa.array(origin, pa.int64()))
    return replace(examples, table=table.set_column(table.schema.get_field_index("id"), "id", ids))


def _digests(examples: Examples, rows: list[int]) -> Iterator[bytes]:
    places = examples.table.select(["file", "row", "start", "end"]).take(pa.array(rows, pa.int64()))
    for content in _contents(examples, places):
        yield hashlib.blake2b(content, digest_size=16).digest()


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
