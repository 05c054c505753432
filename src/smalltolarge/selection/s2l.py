"""SmallToLarge: even sampling over clusters of loss trajectories."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from smalltolarge.errors import DataError
from smalltolarge.selection.kmeans import kmeans
from smalltolarge.selection.pool import Evidence, Pool
from smalltolarge.selection.sampling import (
    balanced_order,
    number_sources,
    order_by_key,
    order_by_value,
    smallest_first,
)
from smalltolarge.selection.selector import Ranking, Selector
from smalltolarge.settings import Within

log = logging.getLogger("smalltolarge")


@dataclass(frozen=True, kw_only=True)
class S2L(Selector):
    """Cluster the loss trajectories of a small proxy and draw evenly over the clusters.

    Source: Yang et al., "SmallToLarge (S2L)", NeurIPS 2024, Algorithm 1; with
    ``stratify="source"`` the variant of the authors' code. Needs trajectories.
    """

    name: ClassVar[str] = "s2l"
    needs: ClassVar[frozenset[Evidence]] = frozenset({Evidence.TRAJECTORIES})

    clusters: Annotated[int, Within(1, 1_000_000)] = 100
    """Clusters of trajectories (K of the paper); in each source when stratified."""
    iterations: Annotated[int, Within(1, 100_000)] = 20
    """k-means iterations, at most; they start from centroids already fitted on a sample."""
    restarts: Annotated[int, Within(1, 1000)] = 1
    """Fits on the sample from other starts, the best of which goes on."""
    points_per_cluster: Annotated[int, Within(1, 1_000_000_000)] | None = None
    """Fit the centroids on at most this many examples per cluster, drawn at random (the authors'
    code: 256). Default: all examples."""
    stratify: Literal["source"] | None = None
    """Split the budget evenly over the sources first, then cluster inside each, as the authors'
    code does. Default: no split, as in the paper."""
    balance: Annotated[float, Within(0, 1)] = 1.0
    """How much even clusters count: each gives in proportion to its size to the power of 1 minus
    this. 1 draws evenly (the paper); 0 gives every cluster its share of all rows, as a random draw
    does on average. Sources too, when stratified. Costs nothing."""
    prune_slope: Annotated[float, Within(0, 1000)] | None = None
    """Leave out, before clustering, rows whose loss falls by less than this, in nats from one
    checkpoint to the next, on average (the least-squares line through the clustered checkpoints;
    our reading of "Prune, Then Select"). 0 leaves out those whose loss rises. They come last.
    Default: none is left out. Costs nothing."""
    part: Literal["all", "first", "last"] = "all"
    """Checkpoints that are clustered: all, the first half, or the last half (the middle one is in
    both). Costs nothing."""
    every: Annotated[int, Within(1, 10_000)] = 1
    """Cluster only every so many of these checkpoints, counted back from the last. Costs
    nothing."""
    standardise: bool = False
    """Bring the losses of each checkpoint to mean 0 and variance 1 over all examples, so that all
    checkpoints count alike. Costs a second, and memory for one more copy of the losses."""
    inside: Literal["random", "stable"] = "random"
    """What comes first inside a cluster: rows at random, or those whose loss changes least from
    checkpoint to checkpoint, on average (our reading of XMAS, arXiv 2510.01454). Costs nothing."""

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Draw in turn from the clusters, and from the sources when stratified."""
        assert pool.trajectories is not None
        losses = self._part(pool.trajectories.losses)
        order = order_by_key(keys, pool.ids)
        if self.prune_slope is not None:
            pool.trajectories.require_training("prune_slope")
            return self._rank_pruned(pool, _falls(losses), order, keys, seed)
        preferred = order
        if self.inside == "stable":
            preferred = order_by_value(_changes(losses), order)
        if self.standardise:
            losses = _standardised(losses)
        if self.stratify is None:
            return self._rank_losses(losses, order, preferred, seed, pool.check)
        strata = smallest_first(number_sources(pool.sources, "stratify"), order)
        ranked, labels, used = [], np.empty(len(pool), dtype=np.int32), 0
        place = np.empty(len(pool), dtype=np.int64)
        place[preferred] = np.arange(len(pool))
        for stratum in range(int(strata.max()) + 1):
            rows = order[strata[order] == stratum]
            found = self._rank_losses(
                losses[rows], np.arange(len(rows)), np.argsort(place[rows]), seed, pool.check
            )
            assert found.labels is not None
            ranked.append(rows[found.order])
            labels[rows] = found.labels + used
            used += int(found.labels.max()) + 1
        return Ranking(balanced_order(strata, np.concatenate(ranked), self.balance), labels)

    def _rank_pruned(
        self, pool: Pool, falls: np.ndarray, order: np.ndarray, keys: np.ndarray, seed: int
    ) -> Ranking:
        """Rank the rows that fall enough as if there were no others, which follow: of these, those
        that fall most come first.
        """
        assert self.prune_slope is not None
        kept = np.flatnonzero(falls >= self.prune_slope)
        if not kept.size:
            raise DataError(
                f"prune_slope is {self.prune_slope:g}: no loss falls by that much from one "
                f"checkpoint to the next; the most is {falls.max():.3g} nats. Give less."
            )
        found = replace(self, prune_slope=None).rank(pool.take(kept), keys[kept], seed)
        assert found.labels is not None
        labels = np.full(len(pool), found.labels.max() + 1, dtype=np.int32)
        labels[kept] = found.labels
        last = order_by_value(-falls, order)
        last = last[falls[last] < self.prune_slope]
        return Ranking(np.concatenate([kept[found.order], last]), labels, pruned=len(last))

    def _part(self, losses: np.ndarray) -> np.ndarray:
        """Take the columns that are clustered; all of them are not copied."""
        t = losses.shape[1]
        half = math.ceil(t / 2)
        columns = {"all": range(t), "first": range(half), "last": range(t - half, t)}[self.part]
        columns = columns[:: -self.every][::-1]
        return losses if len(columns) == t else np.ascontiguousarray(losses[:, columns])

    def _rank_losses(
        self,
        losses: np.ndarray,
        order: np.ndarray,
        preferred: np.ndarray,
        seed: int,
        check: Callable[[], None],
    ) -> Ranking:
        """Cluster ``losses`` (n, t) and draw evenly.

        ``order`` has their rows by key, ``preferred`` as they come inside their clusters.
        """
        k = min(self.clusters, len(losses))
        if k < self.clusters:
            log.warning("%d clusters for %d rows: lowered to %d", self.clusters, len(losses), k)
        labels = kmeans(
            losses,
            order,
            k,
            seed=seed,
            n_iterations=self.iterations,
            n_restarts=self.restarts,
            points_per_cluster=self.points_per_cluster,
            check=check,
        )
        labels = smallest_first(labels, order)
        return Ranking(balanced_order(labels, preferred, self.balance), labels)


def _falls(losses: np.ndarray) -> np.ndarray:
    """Say how much each loss falls from one checkpoint to the next: float64 (n,).

    It is minus the slope of the least-squares line over the number of the checkpoint.
    """
    t = losses.shape[1]
    if t == 1:
        raise DataError(
            "prune_slope: a loss falls between two checkpoints, and only one is clustered. Record "
            "more, or take more of them with part and every."
        )
    total = np.zeros(len(losses))
    for number, column in enumerate(losses.T):
        total += np.multiply(column, t - 1 - 2 * number, dtype=np.float64)
    total /= t * (t * t - 1) / 6  # the sum of the squares of these numbers, halved
    return total


def _changes(losses: np.ndarray) -> np.ndarray:
    """Add up how much each loss changes between checkpoints, up or down: float64 (n,)."""
    if losses.shape[1] == 1:
        raise DataError(
            "inside is stable: a loss changes between two checkpoints, and only one is clustered. "
            "Record more, or take more of them with part and every."
        )
    total = np.zeros(len(losses))
    for before, after in itertools.pairwise(losses.T):
        total += np.abs(np.subtract(after, before, dtype=np.float64))
    return total


def _standardised(losses: np.ndarray) -> np.ndarray:
    """Bring every checkpoint to mean 0 and variance 1: float32 (n, t).

    The sums are exact (``fsum``), so that the order of the rows does not matter. A checkpoint at
    which all losses are equal is 0.
    """
    result = np.empty_like(losses)
    for column in range(losses.shape[1]):
        values = losses[:, column].astype(np.float64)
        values -= math.fsum(values) / len(values)
        deviation = math.sqrt(math.fsum(np.square(values)) / len(values))
        result[:, column] = values / (deviation or 1)
    return result
