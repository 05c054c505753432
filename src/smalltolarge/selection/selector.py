"""The contract of a selection method.

A method orders the whole pool, most wanted first. Budgets, exact sizes, nested subsets and the
seed are dealt with here, once.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import ClassVar, SupportsIndex

import numpy as np

from smalltolarge.errors import DataError, RecipeError, printable
from smalltolarge.selection import columns
from smalltolarge.selection.budget import Budget
from smalltolarge.selection.columns import Column
from smalltolarge.selection.pool import Evidence, Pool, Selection
from smalltolarge.selection.sampling import order_by_key, order_by_value, random_keys
from smalltolarge.settings import Settings


@dataclass(frozen=True)
class Ranking:
    """What a method says of a pool."""

    order: np.ndarray
    """int64 (n,): every row once, most wanted first."""
    labels: np.ndarray | None = None
    """int32 (n,): the cluster of every row, or None."""
    sequence: np.ndarray | None = None
    """int64 (n,): the place of every row in the order in which a trainer should see them, smaller
    first; None: the trainer shuffles."""
    groups: np.ndarray | None = None
    """int (n,): groups that are drawn from, counted from 0, where they are not the clusters."""
    pruned: int = 0
    """How many rows, the last in order, were left out before clustering; they are the last cluster.
    """


@dataclass(frozen=True, kw_only=True)
class Selector(Settings, ABC):
    """A selection method; its settings are its fields."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[Evidence]] = frozenset()
    is_random: ClassVar[bool] = True
    """Whether another seed chooses other rows; else the seed only breaks ties."""

    @abstractmethod
    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Order the rows of ``pool``, most wanted first.

        The result must not depend on the order of the rows: break every tie by ``keys``
        (uint64 (n,), random, different for every seed), or by id.
        """

    def select(
        self,
        pool: Pool,
        budget: Budget | str | SupportsIndex,
        seed: SupportsIndex = 0,
        *,
        add_columns: Collection[Column] = (),
    ) -> Selection:
        """Choose the part of ``pool`` that ``budget`` buys.

        Raises
        ------
        RecipeError
            The method cannot give a column that is to be added.
        BudgetError
            The budget does not fit the pool.
        DataError
            The pool lacks what the method needs.
        """
        seed = check_seed(seed)
        if not isinstance(budget, Budget):
            budget = Budget.parse(budget)
        missing = sorted(self.needs - pool.has())
        if missing:
            raise DataError(f"method {self.name!r} needs {' and '.join(missing)}: none were given")
        has_losses = pool.trajectories is not None
        columns.refuse_impossible(
            add_columns, self.name, is_random=self.is_random, has_losses=has_losses
        )
        budget.least_rows(len(pool))
        keys = random_keys(pool.ids, seed)
        pool.check()
        ranking = self.rank(pool, keys, seed)
        order = np.asarray(ranking.order, dtype=np.int64)
        if not _has_every_row_once(order, len(pool)):
            raise DataError(f"method {self.name!r} did not rank every row exactly once")
        n_tokens = None if pool.trajectories is None else pool.trajectories.n_tokens
        indices = np.sort(order[: budget.rows(order, n_tokens)])
        made = {"weight": self._weights, "order": self._places}
        return Selection(
            indices=indices,
            order=order,
            keys=keys,
            labels=ranking.labels,
            method=self.name,
            settings=asdict(self),
            seed=seed,
            sequence=ranking.sequence,
            pruned=ranking.pruned,
            groups=ranking.groups,
            columns={
                columns.NAMES[name]: made[name](pool, keys, ranking, indices)
                for name in columns.NAMES
                if name in add_columns
            },
            examples=pool.examples,
        )

    @staticmethod
    def _weights(pool: Pool, keys: np.ndarray, ranking: Ranking, indices: np.ndarray) -> np.ndarray:
        groups = ranking.labels if ranking.groups is None else ranking.groups
        if groups is None:
            groups = np.zeros(len(pool), dtype=np.int64)
        return columns.weights(groups, indices)

    @staticmethod
    def _places(pool: Pool, keys: np.ndarray, ranking: Ranking, indices: np.ndarray) -> np.ndarray:
        """Order rows as the method wants them trained on, or by the last loss, the lowest first."""
        assert pool.trajectories is not None
        values = ranking.sequence
        if values is None:
            values = pool.trajectories.losses[:, -1]
        return columns.places(order_by_value(values, order_by_key(keys, pool.ids)), indices)


@dataclass(frozen=True, kw_only=True)
class Random(Selector):
    """Choose uniformly at random: what every other method has to beat."""

    name: ClassVar[str] = "random"

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Order rows by their random keys."""
        return Ranking(order_by_key(keys, pool.ids))


def _has_every_row_once(order: np.ndarray, n: int) -> bool:
    if order.shape != (n,) or order.min() < 0 or order.max() >= n:
        return False
    found = np.zeros(n, dtype=bool)
    found[order] = True
    return bool(found.all())


def check_seed(seed: SupportsIndex) -> int:
    """Give ``seed`` as an int; ``RecipeError`` unless it is a whole number in [0, 2**64)."""
    try:
        number = -1 if isinstance(seed, bool) else operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number < 2**64:
        raise RecipeError(
            f"seed is {printable(seed)}: a whole number from 0 to 2**64 - 1 is needed"
        )
    return number
