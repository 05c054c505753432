"""What is known of every example beside its losses, by id: embeddings, losses without the prompt.

On disk: one Parquet file, a row an example, with the columns ``id`` (string) and ``embedding`` (a
list of as many numbers in every row) or ``loss_alone`` (a number). Anybody may write such a file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from smalltolarge import store
from smalltolarge.errors import DataError, MissingArtifact, printable

EMBEDDING = "embedding"
LOSS_ALONE = "loss_alone"
COLUMNS = {"embeddings": EMBEDDING, "losses_alone": LOSS_ALONE}
"""By the kind of evidence, the column of its file."""


def write_features(path: Path, name: str, ids: np.ndarray, values: np.ndarray) -> None:
    """Write values, float32 (n,) or (n, d), of the examples ``ids``, bytes "S" (n,)."""
    import pyarrow as pa

    flat: Any = pa.array(np.ascontiguousarray(values, dtype=np.float32).ravel())
    column = flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    names: Any = pa.array(ids.tolist(), pa.binary()).cast(pa.string())
    store.write_table(path, pa.table({"id": names, name: column}), {}, _digest(ids, values))


def read_features(path: Path, name: str, ids: np.ndarray) -> np.ndarray:
    """Read values of the examples ``ids``, in that order: float32 (n,) or (n, d), all finite.

    Raises
    ------
    MissingArtifact
        There is no such file.
    IntegrityError
        It is not a readable Parquet file, or not what was written.
    DataError
        A column is missing or of a wrong type, an example has no value or several, or one is not
        finite.
    """
    if not path.exists():
        raise MissingArtifact(f"no file of {name}s at {path}")
    table, _, digest = store.read_table(path)
    if not {"id", name} <= set(table.column_names):
        found = ", ".join(map(printable, table.column_names))
        raise DataError(f"{path} has the columns {found}; 'id' and {name!r} are needed")
    found_ids = np.array(
        [str(given).encode() for given in table["id"].to_pylist()] or [b""], dtype="S"
    )
    values = _values(table[name].combine_chunks(), path, name)
    store.check_content(path, digest, lambda: _digest(found_ids, values))
    order = np.argsort(found_ids, kind="stable")
    place = np.minimum(np.searchsorted(found_ids[order], ids), len(order) - 1)
    rows = order[place]
    _refuse_two_values(path, name, found_ids[order], values, order)
    missing = np.flatnonzero(found_ids[rows] != ids)
    if missing.size:
        first = printable(ids[missing[0]].decode(errors="replace"))
        raise DataError(
            f"{path}: {missing.size:,} of {len(ids):,} examples have no {name} (first id {first}). "
            "It was made of other data."
        )
    values = values[rows]
    wrong = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if wrong.size:
        first = printable(ids[wrong[0]].decode(errors="replace"))
        raise DataError(f"{path}: {wrong.size:,} {name}s are not finite (first id {first})")
    return values


def _refuse_two_values(
    path: Path, name: str, ids: np.ndarray, values: np.ndarray, order: np.ndarray
) -> None:
    """Refuse an id that has two rows with different values; ``order`` sorts ``values`` by id."""
    twice = np.flatnonzero(ids[1:] == ids[:-1])
    for place, (one, other) in zip(
        twice.tolist(), np.column_stack([order[twice], order[twice + 1]]).tolist(), strict=True
    ):
        if not np.array_equal(values[one], values[other]):
            raise DataError(
                f"{path}: id {printable(ids[place].decode(errors='replace'))} has one {name} in "
                f"row {one + 1} and another in row {other + 1}: keep one of them"
            )


def _digest(ids: np.ndarray, values: np.ndarray) -> str:
    found = hashlib.blake2b(str(values.shape).encode(), digest_size=16)
    found.update(b"\n".join(ids.tolist()))
    found.update(np.ascontiguousarray(values, dtype=np.float32).data.cast("B"))
    return found.hexdigest()


def _values(column: Any, path: Path, name: str) -> np.ndarray:
    import pyarrow as pa

    kind = column.type
    inner = kind if name == LOSS_ALONE else getattr(kind, "value_type", None)
    listed = name == LOSS_ALONE or pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind)
    if inner is None or not listed or not pa.types.is_floating(inner) or column.null_count:
        wanted = "numbers" if name == LOSS_ALONE else "lists of numbers, all of one length,"
        raise DataError(f"{path}, column {name!r}: {kind}; {wanted} without nulls are needed")
    if name == LOSS_ALONE:
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float32)
    flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    n = len(column)
    lengths = np.asarray(column.value_lengths().to_numpy(zero_copy_only=False))
    if not n or (lengths != lengths[0]).any() or not lengths[0]:
        raise DataError(f"{path}, column {name!r}: its lists are empty or of different lengths")
    return flat.reshape(n, int(lengths[0]))
