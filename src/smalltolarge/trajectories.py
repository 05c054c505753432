"""The loss of every example at every checkpoint, and its file.

On disk: one Parquet file, a row an example, with the columns ``id`` (string), ``n_tokens`` (int32,
optional: how many completion tokens the loss is a mean over) and one float column per checkpoint
named ``loss_<step>`` (``loss_0``, ``loss_120``, ...). Anybody may write such a file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from smalltolarge import store
from smalltolarge.errors import DataError, MissingArtifact, printable

_LOSS = re.compile(r"loss_([-+.0-9]+)")
_STEP = re.compile(r"0|[1-9][0-9]{0,17}")
_STEPS_END = 10**18  # a step has at most 18 digits, so that any reader's int64 holds it
_TOKENS_END = 2**31
_BLOCK = 2**16  # rows checked at once
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: multiplying by it mixes bits


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Losses of n examples at t checkpoints; finite, ids unique, steps increasing.

    Losses and ids that have the right type are not copied, so they may be memory maps.
    """

    losses: np.ndarray
    """float32 (n, t): mean negative log-likelihood of the completion tokens, in nats."""
    steps: np.ndarray
    """int64 (t,): optimiser steps done at each checkpoint; 0 is the untouched model. Of perturbed
    losses the numbers of the copies, of which 0 is that model itself."""
    ids: np.ndarray
    """bytes "S" (n,): one id an example."""
    n_tokens: np.ndarray | None = None
    """int32 (n,): completion tokens of each example, or None when not known."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """How they were made (proxy, settings, digests); plain data, kept in the file's metadata."""

    def __post_init__(self) -> None:
        losses = _as_losses(self.losses)
        steps = _as_whole(self.steps, "steps", 0, _STEPS_END)
        ids = _as_ids(self.ids)
        if losses.ndim != 2 or steps.shape != losses.shape[1:] or ids.shape != losses.shape[:1]:
            raise DataError(
                f"losses {losses.shape}, steps {steps.shape} and ids {ids.shape} do not fit: "
                "(n, t), (t,) and (n,) are needed"
            )
        if losses.size == 0:
            raise DataError("trajectories need at least one example and one checkpoint")
        if np.any(np.diff(steps) <= 0):
            raise DataError(f"steps must increase, found {steps.tolist()}")
        if self.n_tokens is not None:
            n_tokens = _as_array(self.n_tokens, "n_tokens")
            if n_tokens.shape != ids.shape:
                raise DataError(f"n_tokens has shape {n_tokens.shape}, {ids.shape} is needed")
            n_tokens = _as_whole(n_tokens, "n_tokens", 1, _TOKENS_END, ids)
            object.__setattr__(self, "n_tokens", n_tokens.astype(np.int32))
        _refuse_not_finite(losses, self.losses, steps, ids)
        _refuse_twice(ids)
        _check_origin(self.origin)
        object.__setattr__(self, "losses", losses)
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "ids", ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        steps = f"steps {self.steps[0]} to {self.steps[-1]}"
        proxy = f", proxy {self.origin['proxy']}" if "proxy" in self.origin else ""
        n, t = self.losses.shape
        return f"<Trajectories: {n:,} examples at {t} checkpoints, {steps}{proxy}>"

    @property
    def is_of_training(self) -> bool:
        """Whether the checkpoints follow each other in a training; copies of a perturbed model do
        not.
        """
        settings = self.origin.get("settings")
        return not (isinstance(settings, Mapping) and settings.get("losses") == "perturbed")

    def require_training(self, what: str) -> None:
        """Raise ``DataError`` where ``what``, a method or setting, has no training to look at."""
        if not self.is_of_training:
            raise DataError(
                f"{what} looks at how losses move in training, and these are of perturbed copies "
                "of one model: nothing was trained. Choose without it, or record scored losses."
            )

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
                f"{_shown(ids[missing[0]])}). The losses were recorded on other data: record them "
                "on this data, or give the data they belong to."
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
        store.write_table(Path(path), pa.table(columns), self.origin, self._digest())

    def _digest(self) -> str:
        """Digest ids, steps, losses, tokens and origin; their order and types too."""
        found = hashlib.blake2b(digest_size=16)
        shapes = f"{self.losses.shape} {self.n_tokens is not None}"
        found.update(shapes.encode() + b"\n".join(self.ids.tolist()))
        for array in (self.steps, self.losses, self.n_tokens):
            if array is not None:
                found.update(np.ascontiguousarray(array).data.cast("B"))
        found.update(json.dumps(dict(self.origin), sort_keys=True).encode())
        return found.hexdigest()

    @classmethod
    def from_parquet(cls, path: str | Path) -> Trajectories:
        """Read such a file, whoever wrote it.

        Raises
        ------
        MissingArtifact
            There is no such file.
        IntegrityError
            It is not a readable Parquet file, or not what was written.
        DataError
            A column is missing or of a wrong type, or a value is not allowed.
        """
        import pyarrow as pa

        path = Path(path)
        if not path.exists():
            raise MissingArtifact(f"no trajectories at {path}")
        table, origin, digest = store.read_table(path)
        names = table.column_names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"{path} has the column {printable(twice[0])} twice: rename one")
        found = sorted(
            (_step(path, name, match[1]), name)
            for name in names
            if (match := _LOSS.fullmatch(name))
        )
        if "id" not in names or not found:
            raise DataError(
                f"{path} has the columns {', '.join(map(printable, names))}; a "
                "trajectory file has 'id' and one 'loss_<step>' per checkpoint, for example "
                "loss_0, loss_100, loss_200"
            )
        types = pa.types
        ids = _column(table, path, "id", types.is_string, types.is_large_string)
        losses = [_column(table, path, name, types.is_floating).to_numpy() for _, name in found]
        tokens = None
        if "n_tokens" in names:
            tokens = _column(table, path, "n_tokens", types.is_integer).to_numpy()
        try:
            _check_origin(origin)
            made = cls(
                losses=np.column_stack(losses),
                steps=np.array([step for step, _ in found], dtype=np.int64),
                ids=np.array(ids.cast(pa.binary()).to_pylist(), dtype="S"),
                n_tokens=tokens,
                origin=origin,
            )
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        store.check_content(path, digest, made._digest)
        return made


def _shown(name: bytes) -> str:
    return printable(name.decode(errors="replace"))


def _as_array(values: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: one array with rows of one length is needed ({error})") from error


def _as_losses(values: Any) -> np.ndarray:
    """Give the losses as float32; a copy only where they are of another type or layout."""
    given = _as_array(values, "losses")
    if given.dtype.kind not in "fiu":
        raise DataError(f"losses: an array of numbers is needed, found {given.dtype}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(given, dtype=np.float32)


def _as_whole(
    values: Any, name: str, low: int, end: int, ids: np.ndarray | None = None
) -> np.ndarray:
    """Give whole numbers in [low, end) as int64; a wrong one is named with its id, if given."""
    found = _as_array(values, name)
    if found.dtype.kind not in "iuf":
        raise DataError(f"{name}: whole numbers below {end:,} are needed, found {found.dtype}")
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero((found % 1 != 0) | ~((found >= low) & (found < end)))
    if wrong.size:
        of = "" if ids is None else f" for id {_shown(ids[wrong[0]])}"
        raise DataError(
            f"{name} is {found.flat[wrong[0]]}{of}: a whole number of at least {low} and below "
            f"{end:,} is needed"
        )
    return found.astype(np.int64)


def _as_ids(values: Any) -> np.ndarray:
    """Give ids as bytes: text as its UTF-8, bytes as they are."""
    ids = _as_array(values, "ids")
    if ids.dtype.kind == "S" or not ids.size:
        return ids.astype("S", copy=False)
    encoded = [_encoded(name, row) for row, name in enumerate(ids.ravel().tolist())]
    return np.array(encoded, dtype="S").reshape(ids.shape)


def _encoded(name: object, row: int) -> bytes:
    if isinstance(name, bytes):
        return name
    if not isinstance(name, str):
        raise DataError(
            f"ids: text is needed, found {printable(repr(name))} ({type(name).__name__}) in row "
            f"{row}. Give the ids of the examples, as text."
        )
    try:
        return name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"ids: {printable(name)} in row {row} is not valid Unicode") from error


def _refuse_not_finite(losses: np.ndarray, given: Any, steps: np.ndarray, ids: np.ndarray) -> None:
    blocks = (losses[begin : begin + _BLOCK] for begin in range(0, len(losses), _BLOCK))
    if all(np.isfinite(block).all() for block in blocks):
        return
    wrong = ~np.isfinite(losses)
    too_large = wrong & np.isfinite(given)
    row, column = (int(i) for i in np.argwhere(too_large if too_large.any() else wrong)[0])
    at = f"for id {_shown(ids[row])} at step {steps[column]}"
    if too_large.any():
        raise DataError(
            f"{int(too_large.sum())} losses are too large for float32 (3.4e38), the first {at}. "
            "A loss is a mean over tokens in nats, seldom above 20: check what was written."
        )
    raise DataError(
        f"{int(wrong.sum())} losses are not finite, the first {losses[row, column]} {at}. The "
        "proxy diverged, or the example has no completion token: lower the learning rate, or "
        "leave those examples out."
    )


def _refuse_twice(ids: np.ndarray) -> None:
    """Refuse ids that occur more than once.

    Numbers of 8 bytes are sorted instead of the ids, which are longer. Equal ids have equal
    numbers, so only ids that share theirs with others are compared.
    """
    blocks = [slice(begin, begin + _BLOCK) for begin in range(0, len(ids), _BLOCK)]
    numbers = np.empty(len(ids), dtype=np.uint64)
    for block in blocks:
        numbers[block] = _numbers(ids[block])
    numbers.sort()
    shared = np.unique(numbers[1:][numbers[1:] == numbers[:-1]])
    if not shared.size:
        return
    suspects = [ids[block][np.isin(_numbers(ids[block]), shared)] for block in blocks]
    ascending = np.sort(np.concatenate(suspects))
    twice = ascending[1:][ascending[1:] == ascending[:-1]]
    if twice.size:
        raise DataError(f"{twice.size} ids occur more than once, the first {_shown(twice[0])}")


def _numbers(ids: np.ndarray) -> np.ndarray:
    """Mix every id into one number: uint64 (n,)."""
    words = ids.astype(f"S{-(-ids.itemsize // 8) * 8}").view("<u8").reshape(len(ids), -1)
    numbers = np.zeros(len(ids), dtype=np.uint64)
    for word in words.T:
        numbers = (numbers ^ word) * _ODD
        numbers ^= numbers >> np.uint64(29)
    return numbers


def _check_origin(origin: object) -> None:
    if not isinstance(origin, Mapping):
        raise DataError(f"origin is a {type(origin).__name__}: a mapping of plain data is needed")
    left_out = origin.get("left_out", {})
    if not isinstance(left_out, Mapping) or not all(
        isinstance(part, str) for pair in left_out.items() for part in pair
    ):
        raise DataError("origin: left_out maps ids to the reason of each, texts to texts")


def _step(path: Path, name: str, digits: str) -> int:
    if not _STEP.fullmatch(digits):
        raise DataError(
            f"{path}, column {printable(name)}: a step is a whole number of at most 18 digits, "
            "without sign or leading zeros, as in loss_120"
        )
    return int(digits)


def _column(table: Any, path: Path, name: str, *fits: Callable[[Any], bool]) -> Any:
    column = table[name]
    if column.null_count or not any(fit(column.type) for fit in fits):
        wanted = {"id": "strings", "n_tokens": "whole numbers"}.get(name, "floating-point numbers")
        raise DataError(
            f"{path}, column {name!r}: {column.type} with {column.null_count} nulls; {wanted} "
            "without nulls are needed"
        )
    return column
