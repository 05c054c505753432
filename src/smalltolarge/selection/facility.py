"""Facility location: the same order for any order of the rows, number of threads and processor.

Embeddings are put on a grid of whole numbers so coarse that a product of two of them, and every
sum on the way to it, is a whole number of at most 24 bits. float32 holds these exactly, so that
matrix products have no rounding to depend on, and what is added up later stays exact too.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from smalltolarge.errors import DataError
from smalltolarge.selection.pool import Evidence, Pool
from smalltolarge.selection.sampling import order_by_key
from smalltolarge.selection.selector import Ranking, Selector
from smalltolarge.settings import Within

_BLOCK = 2048  # rows: a tile of similarities is their square, 16 MiB
_UNIT = 2**12  # the length of every embedding on the grid, at most
_ROW_BITS, _SIMILARITY_BITS, _COLUMN_BITS = 12, 25, 26  # of one whole number, 63 together


@dataclass(frozen=True, kw_only=True)
class FacilityLocation(Selector):
    """Choose rows that cover the data: every row should be near to one that is chosen.

    Greedy maximisation of the sum, over all rows, of the largest cosine similarity to a row
    chosen, where a row is covered by its nearest neighbours and itself alone, and negative
    similarities count as 0. Source: a baseline of the S2L paper, after Bhatt et al., 2024 (arXiv
    2401.06692). Needs embeddings; the time grows with the square of the rows.
    """

    name: ClassVar[str] = "facility-location"
    needs: ClassVar[frozenset[Evidence]] = frozenset({Evidence.EMBEDDINGS})
    is_random: ClassVar[bool] = False

    neighbours: Annotated[int, Within(1, 100_000)] = 64
    """Nearest rows that may cover a row. More come closer to the full objective and need more
    memory (16 bytes a row for each), hardly more time."""

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Order rows as the greedy algorithm takes them."""
        assert pool.embeddings is not None
        order = order_by_key(keys, pool.ids)
        points = on_grid(pool.embeddings, order)
        pool.check()
        return Ranking(order[greedy(*nearest(points, self.neighbours, pool.check), pool.check)])


def on_grid(embeddings: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Give the directions of embeddings (n, d), in ``order``, as whole numbers: float32 (n, d).

    Raises
    ------
    DataError
        They are not an array of finite numbers with two axes.
    """
    if embeddings.ndim != 2 or embeddings.dtype.kind != "f":
        raise DataError(
            f"embeddings are {embeddings.dtype} {embeddings.shape}: float32 (n, d) is needed"
        )
    n, d = embeddings.shape
    # Rounding lengthens a row by less than this, so that none is longer than the unit.
    unit = _UNIT - math.sqrt(d) / 2 - 1
    points = np.empty((n, d), dtype=np.float32)
    for block in _blocks(n):
        part = embeddings[order[block]].astype(np.float64)
        wrong = np.flatnonzero(~np.isfinite(part).all(axis=1))
        if wrong.size:
            raise DataError(f"the embedding of row {order[block][wrong[0]]} is not finite")
        largest = np.abs(part).max(axis=1, keepdims=True)
        part /= np.where(largest > 0, largest, 1)  # so that squares are in range
        lengths = np.sqrt(np.square(part).sum(axis=1, keepdims=True))
        part *= unit / np.where(lengths > 0, lengths, 1)
        points[block] = np.rint(part)
    return points


def nearest(
    points: np.ndarray, k: int, check: Callable[[], None] = lambda: None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the k nearest other rows of every row, and the row itself; of equally near the first.

    Rows with a similarity of 0 or less are no neighbours.

    Parameters
    ----------
    points : float32 (n, d), as ``on_grid`` gives them

    Returns
    -------
    offsets : int64 (n + 1,)
        The neighbours of row i are those from ``offsets[i]`` to ``offsets[i + 1]``.
    columns : int32 (m,)
        The neighbours, the nearest first.
    similarities : int32 (m,)
        How near they are; 2**24 is the largest there could be.
    """
    n = len(points)
    if n >= 2**_COLUMN_BITS:
        raise DataError(f"{n:,} rows: at most {2**_COLUMN_BITS - 1:,} can be covered")
    blocks = list(_blocks(n))
    found = [_Nearest(block.stop - block.start, k) for block in blocks]
    for i, rows in enumerate(blocks):
        for j in range(i, len(blocks)):
            # A tile has the similarities of its rows and those of its columns. Every block so
            # meets the others in ascending order, and of equally near rows the first is kept.
            check()
            tile = points[rows] @ points[blocks[j]].T
            if i == j:
                itself = np.diagonal(tile).copy()
                np.fill_diagonal(tile, 0)
            found[i].offer(tile, blocks[j].start)
            if i != j:
                found[j].offer(tile.T, rows.start)
        found[i].settle(k)
        found[i].add(np.arange(len(itself)), itself, np.arange(rows.start, rows.stop))
        found[i].settle(k + 1)
    counts, columns, similarities = zip(*(one.split() for one in found), strict=True)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return offsets, np.concatenate(columns), np.concatenate(similarities)


class _Nearest:
    """The nearest rows to each row of a block, among those offered so far.

    Each is one whole number, made of the row in the block, how much the similarity lacks to the
    largest, and the column. Sorted, they are the rows with the nearest of each first.
    """

    def __init__(self, size: int, k: int) -> None:
        self.size, self.k = size, k
        self.kept = np.empty(0, dtype=np.int64)
        self.new: list[np.ndarray] = []
        self.n_new = 0
        # A column has to be nearer than this. It is that of the k-th nearest, at the last look.
        self.threshold = np.zeros(size, dtype=np.float32)

    def offer(self, tile: np.ndarray, first_column: int) -> None:
        """Take what is near of similarities (size, m) to the columns from ``first_column`` on."""
        if not self.kept.size and tile.shape[1] > self.k:
            # Nothing is known yet: what is below the k-th of this tile need not be looked at.
            kth = np.partition(tile, tile.shape[1] - self.k, axis=1)[:, tile.shape[1] - self.k]
            near = (tile >= kth[:, None]) & (tile > 0)
        else:
            near = tile > self.threshold[:, None]
        if tile.flags.c_contiguous:
            rows, columns = np.divmod(np.flatnonzero(near), tile.shape[1])
        else:
            columns, rows = np.divmod(np.flatnonzero(near.T), tile.shape[0])
        self.add(rows, tile[rows, columns], columns + first_column)
        if self.n_new > self.size * self.k or not self.kept.size:
            self.settle(self.k)

    def add(self, rows: np.ndarray, similarities: np.ndarray, columns: np.ndarray) -> None:
        """Take all of these."""
        lack = _UNIT**2 - similarities.astype(np.int64)
        self.new.append((rows << _SIMILARITY_BITS | lack) << _COLUMN_BITS | columns)
        self.n_new += len(rows)

    def settle(self, k: int) -> None:
        """Keep the k nearest of each row."""
        every = np.sort(np.concatenate([self.kept, *self.new]))
        counts = np.bincount(every >> _SIMILARITY_BITS + _COLUMN_BITS, minlength=self.size)
        begins = np.cumsum(counts) - counts
        self.kept = every[np.arange(len(every)) - np.repeat(begins, counts) < k]
        self.new, self.n_new = [], 0
        full = counts >= k
        self.threshold[full] = self._similarities(every[begins[full] + k - 1])

    def split(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give the number of neighbours of each row, then their columns and similarities."""
        rows = self.kept >> _SIMILARITY_BITS + _COLUMN_BITS
        columns = (self.kept & 2**_COLUMN_BITS - 1).astype(np.int32)
        return np.bincount(rows, minlength=self.size), columns, self._similarities(self.kept)

    @staticmethod
    def _similarities(numbers: np.ndarray) -> np.ndarray:
        lack = numbers >> _COLUMN_BITS & 2**_SIMILARITY_BITS - 1
        similarities: np.ndarray = _UNIT**2 - lack
        return similarities.astype(np.int32)


def greedy(
    offsets: np.ndarray,
    columns: np.ndarray,
    similarities: np.ndarray,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Order rows so that each adds most to what those before it cover; of equals the first.

    The lazy greedy algorithm (Minoux, 1978): what a row adds only falls as others are taken, so
    that the row whose last known value is the largest is taken if it still has that value.

    Parameters
    ----------
    offsets, columns, similarities
        As ``nearest`` gives them.

    Returns
    -------
    int64 (n,)
    """
    n = len(offsets) - 1
    # The other way round: which rows a column covers, and how well.
    by_column = np.argsort(columns, kind="stable")
    covers = np.repeat(np.arange(n, dtype=np.int32), np.diff(offsets))[by_column]
    gives = similarities[by_column].astype(np.int64)
    begins = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=n))]).tolist()
    total = np.concatenate([[0], np.cumsum(gives)])
    heap = list(zip((-np.diff(total[begins])).tolist(), range(n), strict=True))
    heapq.heapify(heap)
    covered = np.zeros(n, dtype=np.int64)
    order = np.empty(n, dtype=np.int64)
    for place in range(n):
        check()
        while True:
            known, row = heap[0]
            part = slice(begins[row], begins[row + 1])
            rows, now = covers[part], gives[part]
            before = covered[rows]
            now = np.maximum(now, before)
            adds = int((now - before).sum())
            if adds == -known:
                break
            heapq.heapreplace(heap, (-adds, row))
        heapq.heappop(heap)
        covered[rows] = now
        order[place] = row
    return order


def _blocks(n: int) -> Iterator[slice]:
    return (slice(begin, min(begin + _BLOCK, n)) for begin in range(0, n, _BLOCK))
