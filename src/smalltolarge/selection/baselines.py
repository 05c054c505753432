"""Methods that need no model: what any other one has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from smalltolarge.selection.pool import Evidence, Pool
from smalltolarge.selection.sampling import (
    balanced_order,
    matched_order,
    number_sources,
    order_by_key,
    order_by_value,
    smallest_first,
)
from smalltolarge.selection.selector import Ranking, Selector
from smalltolarge.settings import Within


@dataclass(frozen=True, kw_only=True)
class RandomBySource(Selector):
    """Choose at random, the same number of rows from every source.

    Small sources give all they have, and the others share the rest. Ours. Needs a source column,
    and no model.
    """

    name: ClassVar[str] = "random-by-source"
    needs: ClassVar[frozenset[Evidence]] = frozenset({Evidence.SOURCES})

    balance: Annotated[float, Within(0, 1)] = 1.0
    """How much even sources count: each gives in proportion to its size to the power of 1 minus
    this. 1 draws evenly; 0 gives every source its share of all rows."""

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Draw in turn from the sources."""
        order = order_by_key(keys, pool.ids)
        groups = smallest_first(number_sources(pool.sources, f"method {self.name!r}"), order)
        return Ranking(balanced_order(groups, order, self.balance), groups=groups)


@dataclass(frozen=True, kw_only=True)
class RandomByLength(Selector):
    """Choose at random, with completions as long and as short as those of all the data.

    Plain random sampling has this distribution on average; here every draw has it. Studies of
    selection find a random choice matched in length hard to beat (arXiv 2410.09335). Needs no
    model.
    """

    name: ClassVar[str] = "random-by-length"
    needs: ClassVar[frozenset[Evidence]] = frozenset({Evidence.LENGTHS})

    bins: Annotated[int, Within(1, 1_000_000_000)] = 50
    """Groups of equal size that the rows are cut into by length; each gives the same share."""

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Draw in turn from the bins."""
        assert pool.lengths is not None
        return Ranking(matched_order(pool.lengths, order_by_key(keys, pool.ids), self.bins))


@dataclass(frozen=True, kw_only=True)
class Longest(Selector):
    """Choose the longest completions, counted in characters.

    Source: Zhao et al., "Long Is More for Alignment", ICML 2024 (arXiv 2402.04833). Needs no
    model.
    """

    name: ClassVar[str] = "longest"
    needs: ClassVar[frozenset[Evidence]] = frozenset({Evidence.LENGTHS})
    is_random: ClassVar[bool] = False

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Order rows by length, the longest first."""
        assert pool.lengths is not None
        return Ranking(order_by_value(-pool.lengths, order_by_key(keys, pool.ids)))
