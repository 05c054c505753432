"""What a selection is made from, and what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smalltolarge.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

    from smalltolarge.examples import Examples
    from smalltolarge.trajectories import Trajectories


class Evidence(StrEnum):
    """What a method may need beside the ids."""

    EXAMPLES = "examples"
    TRAJECTORIES = "trajectories"
    EMBEDDINGS = "embeddings"
    SOURCES = "sources"
    LENGTHS = "lengths"
    LOSSES_ALONE = "losses_alone"


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool:
    """The n examples to choose from; row i is the same example in every field."""

    ids: np.ndarray
    """bytes "S" (n,), unique."""
    trajectories: Trajectories | None = None
    embeddings: np.ndarray | None = None
    """float32 (n, d)."""
    sources: Sequence[str | None] | None = None
    """Where each example comes from; None is a group of its own."""
    lengths: np.ndarray | None = None
    """int64 (n,): characters of the completion, all assistant turns together."""
    losses_alone: np.ndarray | None = None
    """float32 (n,): mean negative log-likelihood of each completion without its prompt, by the
    proxy after training."""
    examples: Examples | None = None
    check: Callable[[], None] = lambda: None
    """Called often by a method that works for long; raises ``Interrupted`` when it is to stop."""

    def __post_init__(self) -> None:
        n = len(self.ids)
        if n == 0:
            raise DataError("there is no example to choose from")
        for name in Evidence:
            rows = getattr(self, name)
            if rows is not None and len(rows) != n:
                raise DataError(f"{name} has {len(rows):,} rows and ids {n:,}: they must be equal")
        if self.trajectories is not None and not np.array_equal(self.trajectories.ids, self.ids):
            raise DataError("the trajectories are in another order than ids: align them first")

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(
        cls,
        examples: Examples,
        trajectories: Trajectories | None = None,
        *,
        embeddings: np.ndarray | None = None,
        losses_alone: np.ndarray | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Pool:
        """Put examples and their trajectories, joined by id, side by side.

        ``embeddings`` and ``losses_alone`` have the rows of ``examples``, in their order.

        Raises
        ------
        DataError
            An example has no trajectory.
        """
        return cls(
            ids=examples.ids,
            trajectories=None if trajectories is None else trajectories.align(examples.ids),
            embeddings=embeddings,
            sources=examples.sources(),
            lengths=examples.lengths(),
            losses_alone=losses_alone,
            examples=examples,
            check=check,
        )

    def take(self, rows: np.ndarray) -> Pool:
        """Give the pool of some rows, int64 (m,), with the ids, losses and sources it has."""
        return Pool(
            ids=self.ids[rows],
            trajectories=self.trajectories and self.trajectories.align(self.ids[rows]),
            sources=self.sources and [self.sources[row] for row in rows.tolist()],
            check=self.check,
        )

    def has(self) -> frozenset[Evidence]:
        """Say what the pool holds."""
        return frozenset(kind for kind in Evidence if getattr(self, kind.value) is not None)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Selection:
    """b different rows of a pool, and how they were found."""

    indices: np.ndarray
    """int64 (b,), increasing: the rows chosen."""
    order: np.ndarray
    """int64 (n,): all rows, most wanted first; the first b are the ones chosen."""
    keys: np.ndarray
    """uint64 (n,): the random key of every row, from seed and id alone."""
    labels: np.ndarray | None
    """int32 (n,): the cluster of every row, 0 the smallest; None where a method has none."""
    method: str
    settings: Mapping[str, Any]
    seed: int
    sequence: np.ndarray | None = None
    """int64 (n,): the place of every row in the order in which a trainer should see them, smaller
    first; None where the trainer shuffles."""
    pruned: int = 0
    """How many rows, the last in ``order``, were left out before clustering; they are the last
    cluster."""
    groups: np.ndarray | None = None
    """int (n,): groups that were drawn from, counted from 0, where they are not the clusters."""
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Columns that the subset has beside the user's own: float64 or int64 (b,), by name."""
    examples: Examples | None = None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def clusters(self) -> int:
        """How many clusters the method made; 0 where it makes none."""
        return 0 if self.labels is None else int(self.labels.max()) + 1 - (self.pruned > 0)

    def to_dataset(self) -> Dataset:
        """Give the chosen rows, with all their columns, as a ``datasets.Dataset``.

        Raises
        ------
        DataError
            The pool was made of arrays, so there are no rows to give.
        """
        from smalltolarge.examples import rows_as_dataset

        return rows_as_dataset(self._rows(), self.indices, self.columns)

    def write(self, path: str | PathLike[str]) -> None:
        """Write the chosen rows as they came in, in the format and the order of the data.

        Raises
        ------
        DataError
            The pool was made of arrays, so there are no rows to give.
        RecipeError
            ``path`` is named as another format than the data's.
        """
        from smalltolarge.examples import check_output, write_subset

        check_output(self._rows(), Path(path))
        write_subset(self._rows(), self.indices, Path(path), self.columns)

    def _rows(self) -> Examples:
        if self.examples is None:
            raise DataError("this selection was made from arrays alone: it has no rows to give")
        return self.examples

    def __repr__(self) -> str:
        clusters = "" if self.labels is None else f", {self.clusters} clusters"
        return f"<Selection: {len(self):,} of {len(self.order):,} rows by {self.method}{clusters}>"
