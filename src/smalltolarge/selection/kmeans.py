"""k-means on trajectories: the same labels for any order of the rows, threads and processor.

Nothing in a label is left to rounding:

* Losses are put on a grid of whole numbers. The sum of a cluster is then exact, in whatever order
  its rows are added, and a row that changes its cluster is taken from one sum to the other.
* faiss finds the two nearest centroids in float32. Where they are nearer to each other than its
  rounding error, float64 operations in a fixed order decide.

How much nearer the first is than the second also says how far centroids may move before a label
can change (Hamerly, "Making k-means even faster", SDM 2010), so that most iterations compare only
a part of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from smalltolarge.settings import cores

R = TypeVar("R")

_BLOCK = 2**16  # rows a thread works on at once
_GRID_BITS = 23  # whole numbers to 2**23 are exact in float32, sums of 2**30 of them in float64
_SAMPLE_PER_CLUSTER = 256
_SAMPLE_ITERATIONS = 100
_SEED_ROWS = 2**15  # seeds are chosen among so many: their cost is rows times clusters
_SETTLED = 1e-3  # share of the rows
_UP = 1 + 2**-20  # more than the rounding of a few float32 operations


def kmeans(
    losses: np.ndarray,
    order: np.ndarray,
    n_clusters: int,
    *,
    seed: int,
    n_iterations: int,
    n_restarts: int = 1,
    points_per_cluster: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Cluster rows by Euclidean distance.

    The start is the best of ``n_restarts`` runs of greedy k-means++ and Lloyd's algorithm on a
    sample. Lloyd's algorithm on all rows then makes at most ``n_iterations``, and stops earlier
    when at most one row in 1,000 changes its cluster.

    Parameters
    ----------
    losses : float32 (n, t)
        Read in blocks, so it may be a memory map.
    order : int64 (n,)
        The rows in a random order that does not depend on the one they have in ``losses``. Its
        beginning is the sample: 256 rows a cluster.
    n_clusters : at most n
    points_per_cluster
        Fit the centroids on this many rows a cluster, the beginning of ``order``; None fits them
        on all rows.
    check
        Called between blocks of rows; may raise to stop.

    Returns
    -------
    int32 (n,)
        The cluster of every row. Some clusters are empty where trajectories are equal.
    """
    few = min(points_per_cluster or _SAMPLE_PER_CLUSTER, _SAMPLE_PER_CLUSTER)
    with _Threads(cores(), check) as threads:
        sample = losses[order[: few * n_clusters]]
        grid = _Grid.of(losses, sample, threads)
        points = grid.points(sample)
        candidates = points[: max(_SEED_ROWS, 4 * n_clusters)]
        starts = []
        for restart in range(n_restarts):
            rng = np.random.default_rng((seed, restart))
            fit = _Lloyd(sample, grid, _seeds(candidates, n_clusters, rng, threads), threads)
            fit.run(_SAMPLE_ITERATIONS)
            inertia = _squared_distances(points.T, fit.centroids[fit.labels].T).sum()
            starts.append((float(inertia), restart, fit.centroids))
        _, _, centroids = min(starts)
        if points_per_cluster is not None:
            fit = _Lloyd(losses[order[: points_per_cluster * n_clusters]], grid, centroids, threads)
            fit.run(n_iterations)
            n_iterations, centroids = 0, fit.centroids
        fit = _Lloyd(losses, grid, centroids, threads)
        fit.run(n_iterations)
    return fit.labels


class _Threads(ThreadPoolExecutor):
    """Threads in which faiss has no others; ``check`` is called as results come."""

    def __init__(self, count: int, check: Callable[[], None]) -> None:
        super().__init__(count, initializer=_use_one_thread)
        self._check = check

    def map(self, work: Callable[[Any], R], items: Iterable[Any]) -> Iterator[R]:  # type: ignore[override]
        """Give the results in order; when ``check`` raises, what has not begun is left."""
        self._check()
        for result in super().map(work, items):
            yield result
            self._check()


def _use_one_thread() -> None:
    import faiss

    faiss.omp_set_num_threads(1)  # of the calling thread alone


def _blocks(n: int) -> Iterator[slice]:
    return (slice(begin, min(begin + _BLOCK, n)) for begin in range(0, n, _BLOCK))


@dataclass(frozen=True)
class _Grid:
    """Whole numbers of at most 2**23 in magnitude for losses, a power of two apart.

    They are counted from the median, so that most are small, and their float32 distances good.
    """

    scale: np.float32
    centre: np.ndarray
    """float32 (t,): the median of every checkpoint, times ``scale``."""

    @classmethod
    def of(cls, losses: np.ndarray, sample: np.ndarray, threads: Executor) -> _Grid:
        """Span all losses (n, t), with the medians of a sample of them."""

        def ends(block: slice) -> tuple[np.ndarray, np.ndarray]:
            return losses[block].min(axis=0), losses[block].max(axis=0)

        least, most = zip(*threads.map(ends, _blocks(len(losses))), strict=True)
        middle = len(sample) // 2
        median = np.partition(sample, middle, axis=0)[middle].astype(np.float64)
        reach = max((np.max(most, axis=0) - median).max(), (median - np.min(least, axis=0)).max())
        exponent = min(_GRID_BITS - math.frexp(reach)[1], 127) if reach else 0
        scale = np.float32(2.0**exponent)
        return cls(scale, median.astype(np.float32) * scale)

    def points(self, losses: np.ndarray) -> np.ndarray:
        """Put losses (m, t) on the grid: float32 (m, t)."""
        points: np.ndarray = losses * self.scale
        points -= self.centre
        np.rint(points, out=points)
        return points


def _seeds(points: np.ndarray, k: int, rng: np.random.Generator, threads: Executor) -> np.ndarray:
    """Choose k different points, or all there are: float32 (at most k, t).

    Greedy k-means++ (Arthur & Vassilvitskii, SODA 2007): each seed is the best of 2 + ln k drawn
    in proportion to the squared distance to the nearest seed so far.
    """
    columns = points.T.astype(np.float64)

    def trial(row: int) -> tuple[float, int, np.ndarray]:
        closer = np.minimum(nearest, _squared_distances(columns, columns[:, row]))
        return float(closer.sum()), row, closer

    seeds = [int(rng.integers(len(points)))]
    nearest = _squared_distances(columns, columns[:, seeds[0]])
    while len(seeds) < k and nearest.any():
        total = np.cumsum(nearest)
        drawn = rng.random(2 + int(math.log(k))) * total[-1]
        rows = np.searchsorted(total[:-1], drawn, side="right").tolist()
        _, row, nearest = min(threads.map(trial, rows), key=lambda found: found[:2])
        seeds.append(row)
    return points[seeds]


class _Lloyd:
    """Lloyd's algorithm from given centroids: ``labels`` and ``centroids`` are the result.

    Rows without a cluster yet have the label k, and are a last cluster in ``sizes`` and ``sums``.
    """

    def __init__(
        self, losses: np.ndarray, grid: _Grid, centroids: np.ndarray, threads: Executor
    ) -> None:
        n, k = len(losses), len(centroids)
        self.losses, self.grid, self.centroids, self.threads = losses, grid, centroids, threads
        self.labels = np.full(n, k, dtype=np.int32)
        self.sizes = np.zeros(k + 1, dtype=np.int64)
        self.sums = np.zeros((k + 1, losses.shape[1]))
        # How much nearer, at least, a row is to its centroid than to any other, and how much of
        # this the last move of the centroids took from the rows of a cluster.
        self.margin = np.zeros(n, dtype=np.float32)
        self.drift = np.zeros(k + 1, dtype=np.float32)

    def run(self, n_iterations: int) -> None:
        """Assign the rows; move the centroids and assign again until the labels settle."""
        changed = self._assign()
        for _ in range(n_iterations):
            if changed <= _SETTLED * len(self.labels) and self.sizes[:-1].all():
                break
            self._move()
            changed = self._assign()

    def _assign(self) -> int:
        """Label every row with its nearest centroid; say how many labels changed."""
        total = 0
        for changed, sizes, sums in self.threads.map(self._assign_block, _blocks(len(self.labels))):
            total += changed
            self.sizes += sizes
            self.sums += sums
        return total

    def _assign_block(self, block: slice) -> tuple[int, np.ndarray, np.ndarray]:
        labels, margin = self.labels[block], self.margin[block]
        margin -= self.drift[labels]
        rows = np.flatnonzero(margin <= 0)
        points = self.grid.points(self.losses[block][rows])
        before = labels[rows]
        labels[rows], margin[rows] = _nearest(points, self.centroids)
        changed = np.flatnonzero(labels[rows] != before)
        before, after = before[changed], labels[rows[changed]]

        def by_cluster(values: np.ndarray | None = None) -> np.ndarray:
            k = len(self.sizes)
            total: np.ndarray = np.bincount(after, values, k) - np.bincount(before, values, k)
            return total

        sums = [by_cluster(column) for column in points[changed].T.astype(np.float64)]
        return len(changed), by_cluster(), np.column_stack(sums)

    def _move(self) -> None:
        """Move every centroid to the mean of its cluster, an empty cluster's to a far row."""
        before, sizes = self.centroids, self.sizes[:-1]
        self.centroids = before.copy()
        self.centroids[sizes > 0] = (self.sums[:-1] / np.maximum(sizes, 1)[:, None])[sizes > 0]
        if not sizes.all():
            # One an iteration: after it, another row is the farthest.
            self.centroids[np.argmin(sizes)] = self._farthest()
        moves = np.linalg.norm(self.centroids.astype(np.float64) - before, axis=1)
        others = np.where(moves < moves.max(), moves.max(), np.sort(moves)[-2:][0])
        self.drift[:-1] = (moves + others) * _UP

    def _farthest(self) -> np.ndarray:
        """Find the point farthest from its centroid; of several, the last by its coordinates."""

        def in_block(block: slice) -> tuple[float, list[float]]:
            points = self.grid.points(self.losses[block])
            distances = _squared_distances(points.T, self.centroids[self.labels[block]].T)
            return float(distances.max()), max(points[distances == distances.max()].tolist())

        return np.array(max(self.threads.map(in_block, _blocks(len(self.labels))))[1])


def _nearest(points: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest centroid of every point, the first of equally near ones.

    Returns
    -------
    labels : int32 (m,)
    margin : float32 (m,)
        How much farther, at least, the second nearest is.
    """
    import faiss

    m, t = points.shape
    if len(centroids) == 1 or m == 0:
        return np.zeros(m, dtype=np.int32), np.full(m, np.inf, dtype=np.float32)
    squared, found = faiss.knn(points, centroids, 2)
    labels = found[:, 0].astype(np.int32)
    # faiss computes |x - c|**2 as |x|**2 - 2xc + |c|**2. In whatever order these terms are added,
    # the error is at most (t + 4) * 2**-24 * (|x| + |c|)**2. With the first centroid a, the second
    # at the distance d, and |x| <= |a| + d, |c| <= |x| + d, that is (2|a| + 3d)**2; twice as much
    # is taken, which also covers the rounding of d and of the lines below.
    lengths = np.linalg.norm(centroids, axis=1) * np.float32(_UP)
    error = (t + 4) * 2.0**-23 * (2 * lengths[labels] + 3 * np.sqrt(squared[:, 1])) ** 2
    margin = np.sqrt(np.maximum(squared[:, 1] - error, 0)) - np.sqrt(squared[:, 0] + error)
    for begin in range(0, len(unsure := np.flatnonzero(margin <= 0)), 4096):
        rows = unsure[begin : begin + 4096]
        exact = _squared_distances(points[rows].T[:, :, None], centroids.T[:, None])
        labels[rows] = exact.argmin(axis=1)
        first, second = np.sqrt(np.partition(exact, 1, axis=1)[:, :2].T)
        margin[rows] = second - first
    # The margin is made smaller by more than what later subtractions may round it up.
    return labels, margin * np.float32(1 - 2**-16)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances between points whose t coordinates are the first axis of both: float64.

    Every operation is one of IEEE 754, and their order is fixed: any processor gives these bits.
    """
    total = np.zeros(np.broadcast_shapes(a.shape[1:], b.shape[1:]))
    for x, y in zip(a, b, strict=True):
        difference = np.subtract(x, y, dtype=np.float64)
        total += np.square(difference, out=difference)
    return total
