"""The user's own rows, read again from where they came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smalltolarge import store
from smalltolarge.errors import DataError, StaleArtifact, printable
from smalltolarge.examples.arrow_rows import without_views
from smalltolarge.examples.inputs import expanded, folder_digest
from smalltolarge.examples.stream import ByteStream
from smalltolarge.examples.table import Examples, InputFile


def changed(one: InputFile) -> StaleArtifact:
    """Make the error for an input whose bytes are not those that were read."""
    return StaleArtifact(
        f"{printable(one.path, 200)} is no longer the file that was read: its bytes have changed. "
        "Put the old file back, or begin again with the new one."
    )


def open_again(one: InputFile) -> ByteStream:
    """Open an input as it was read; ``StaleArtifact`` where its size is another."""
    path = expanded(one.path)
    if not path.is_file() or path.stat().st_size != one.size:
        raise changed(one)
    return ByteStream(path, one.path, one.compression)


def unchanged(one: InputFile) -> Path:
    """Give the path of an input whose every byte is as it was; else ``StaleArtifact``."""
    path = open_again(one).path
    if store.digest(path) != one.sha256:
        raise changed(one)
    return path


def row_bytes(examples: Examples, rows: pa.Table) -> Iterator[bytes]:
    """Yield the very bytes of ``rows`` (file, start, end; increasing).

    Raises
    ------
    StaleArtifact
        An input is no longer the file that was read; known when its last row is out.
    """
    files, starts, ends = (rows[name].to_numpy() for name in ("file", "start", "end"))
    for number, one in enumerate(examples.inputs):
        low, high = (int(np.searchsorted(files, number, side)) for side in ("left", "right"))
        stream = open_again(one)
        try:
            yield from _ranges(stream, starts[low:high].tolist(), ends[low:high].tolist())
        except DataError as error:
            raise changed(one) from error
        if (stream.size, stream.sha256) != (one.size, one.sha256):
            raise changed(one)


def _ranges(stream: ByteStream, starts: list[int], ends: list[int]) -> Iterator[bytes]:
    """Yield bytes [start, end) for each pair, reading the stream to its end."""
    held, base, place = b"", 0, 0
    for chunk in stream.chunks():
        if place == len(starts):
            continue  # read on, for the digest
        held += chunk
        while place < len(starts) and ends[place] <= base + len(held):
            yield held[starts[place] - base : ends[place] - base]
            place += 1
        keep = starts[place] if place < len(starts) else base + len(held)
        drop = min(max(keep - base, 0), len(held))
        held, base = held[drop:], base + drop


def parquet_parts(examples: Examples, rows: pa.Table) -> Iterator[pa.Table]:
    """Yield ``rows`` (file, row; increasing) of Parquet inputs with all their columns."""
    files, places = rows["file"].to_numpy(), rows["row"].to_numpy() - 1
    for number, one in enumerate(examples.inputs):
        wanted = places[files == number]
        with pq.ParquetFile(unchanged(one)) as file:
            begin = 0
            for group in range(file.metadata.num_row_groups):
                end = begin + file.metadata.row_group(group).num_rows
                inside = wanted[(wanted >= begin) & (wanted < end)] - begin
                if inside.size:
                    rows_of_it = without_views(file.read_row_group(group))
                    yield rows_of_it.take(pa.array(inside, pa.int64()))
                begin = end


def refuse_changed_folder(one: InputFile) -> None:
    """Raise ``StaleArtifact`` for a save_to_disk folder that is not the one that was read."""
    if one.kind == "saved-dataset":
        path = expanded(one.path)
        if folder_digest(path) != (one.size, one.sha256):
            raise changed(one)
