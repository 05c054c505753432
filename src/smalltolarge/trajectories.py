"""The loss of every example at every checkpoint, and its file.

On disk: one Parquet file, a row an example, with the columns ``id`` (string), ``n_tokens`` (int32,
optional: how many completion tokens the loss is a mean over) and one float column per checkpoint
named ``loss_<step>`` (``loss_0``, ``loss_120``, ...). Anybody may write such a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from smalltolarge import store
from smalltolarge.errors import DataError, IntegrityError, MissingArtifact, printable

_LOSS = re.compile(r"loss_(0|[1-9][0-9]*)")
_METADATA = b"smalltolarge"


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Losses of n examples at t checkpoints; finite, ids unique, steps increasing."""

    losses: np.ndarray
    """float32 (n, t): mean negative log-likelihood of the completion tokens, in nats."""
    steps: np.ndarray
    """int64 (t,): optimiser steps done at each checkpoint; 0 is the untouched model."""
    ids: np.ndarray
    """bytes "S" (n,): one id an example."""
    n_tokens: np.ndarray | None = None
    """int32 (n,): completion tokens of each example, or None when not known."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """How they were made (proxy, settings, digests); plain data, kept in the file's metadata."""

    def __post_init__(self) -> None:
        losses = np.ascontiguousarray(self.losses, dtype=np.float32)
        steps = np.asarray(self.steps, dtype=np.int64)
        ids = np.asarray(self.ids)
        if ids.dtype.kind in "UO":
            ids = np.array([str(name).encode() for name in ids], dtype="S")
        object.__setattr__(self, "losses", losses)
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "ids", ids)
        if losses.ndim != 2 or steps.shape != losses.shape[1:] or ids.shape != losses.shape[:1]:
            raise DataError(
                f"losses {losses.shape}, steps {steps.shape} and ids {ids.shape} do not fit: "
                "(n, t), (t,) and (n,) are needed"
            )
        if losses.size == 0:
            raise DataError("trajectories need at least one example and one checkpoint")
        if np.any(np.diff(steps) <= 0):
            raise DataError(f"steps must increase, found {steps.tolist()}")
        if self.n_tokens is not None and self.n_tokens.shape != ids.shape:
            raise DataError(f"n_tokens has shape {self.n_tokens.shape}, {ids.shape} is needed")
        if self.n_tokens is not None and (self.n_tokens < 1).any():
            row = int(np.argmin(self.n_tokens))
            raise DataError(
                f"n_tokens is {self.n_tokens[row]} for id {ids[row].decode(errors='replace')}: "
                "every example has at least 1 completion token"
            )
        wrong = ~np.isfinite(losses)
        if wrong.any():
            row, column = (int(i) for i in np.argwhere(wrong)[0])
            raise DataError(
                f"{int(wrong.sum())} losses are not finite, the first {losses[row, column]} for id "
                f"{ids[row].decode(errors='replace')} at step {steps[column]}. The proxy "
                "diverged, or the example has no completion token: lower the learning rate, or "
                "leave those examples out."
            )
        order = np.sort(ids)
        twice = order[1:][order[1:] == order[:-1]]
        if twice.size:
            raise DataError(
                f"{twice.size} ids occur more than once, the first "
                f"{printable(twice[0].decode(errors='replace'))}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def align(self, ids: np.ndarray) -> Trajectories:
        """Give the trajectories of ``ids``, in that order; every id must be there.

        Raises
        ------
        DataError
            An id has no trajectory.
        """
        if np.array_equal(ids, self.ids):
            return self
        order = np.argsort(self.ids, kind="stable")
        place = np.searchsorted(self.ids[order], ids)
        place[place == len(order)] = 0
        rows = order[place]
        missing = np.flatnonzero(self.ids[rows] != ids)
        if missing.size:
            raise DataError(
                f"{missing.size:,} of {len(ids):,} examples have no trajectory (first id "
                f"{printable(ids[missing[0]].decode(errors='replace'))}). The losses were recorded "
                "on other data: record them on this data, or give the data they belong to."
            )
        return Trajectories(
            losses=self.losses[rows],
            steps=self.steps,
            ids=self.ids[rows],
            n_tokens=None if self.n_tokens is None else self.n_tokens[rows],
            origin=self.origin,
        )

    def to_parquet(self, path: str | Path) -> None:
        """Write the file described at the top of this module, whole or not at all."""
        import pyarrow as pa

        columns: dict[str, Any] = {"id": pa.array(self.ids.tolist(), pa.binary()).cast(pa.string())}
        if self.n_tokens is not None:
            columns["n_tokens"] = pa.array(self.n_tokens, pa.int32())
        for column, step in enumerate(self.steps.tolist()):
            columns[f"loss_{step}"] = pa.array(self.losses[:, column])
        metadata = {_METADATA: json.dumps({"schema": 1, **self.origin}, sort_keys=True).encode()}
        store.write_parquet(Path(path), pa.table(columns).replace_schema_metadata(metadata))

    @classmethod
    def from_parquet(cls, path: str | Path) -> Trajectories:
        """Read such a file, whoever wrote it.

        Raises
        ------
        MissingArtifact
            There is no such file.
        IntegrityError
            It is not a readable Parquet file.
        DataError
            A column is missing or of a wrong type, or a value is not allowed.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(path)
        if not path.is_file():
            raise MissingArtifact(f"no trajectories at {path}")
        try:
            table = pq.ParquetFile(path).read()
            origin = json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise IntegrityError(f"{path} is not a readable Parquet file: {error}") from error
        found = sorted(
            (int(match[1]), name) for name in table.column_names if (match := _LOSS.fullmatch(name))
        )
        if "id" not in table.column_names or not found:
            raise DataError(
                f"{path} has the columns {', '.join(map(printable, table.column_names))}; a "
                "trajectory file has 'id' and one 'loss_<step>' per checkpoint, for example "
                "loss_0, loss_100, loss_200"
            )
        types = pa.types
        ids = _column(table, path, "id", types.is_string, types.is_large_string)
        losses = np.empty((table.num_rows, len(found)), dtype=np.float32)
        for place, (_, name) in enumerate(found):
            losses[:, place] = _column(table, path, name, types.is_floating).to_numpy()
        tokens = None
        if "n_tokens" in table.column_names:
            column = _column(table, path, "n_tokens", types.is_integer)
            tokens = column.to_numpy().clip(-1, 2**31 - 1).astype(np.int32)
        try:
            return cls(
                losses=losses,
                steps=np.array([step for step, _ in found], dtype=np.int64),
                ids=np.array(ids.cast(pa.binary()).to_pylist(), dtype="S"),
                n_tokens=tokens,
                origin={name: value for name, value in origin.items() if name != "schema"},
            )
        except DataError as error:
            raise DataError(f"{path}: {error}") from error


def _column(table: Any, path: Path, name: str, *fits: Callable[[Any], bool]) -> Any:
    column = table[name]
    if column.null_count or not any(fit(column.type) for fit in fits):
        wanted = {"id": "strings", "n_tokens": "whole numbers"}.get(name, "floating-point numbers")
        raise DataError(
            f"{path}, column {name!r}: {column.type} with {column.null_count} nulls; {wanted} "
            "without nulls are needed"
        )
    return column
