"""SmallToLarge: even sampling over clusters of loss trajectories."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from smalltolarge.errors import RecipeError
from smalltolarge.selection.kmeans import kmeans
from smalltolarge.selection.pool import Evidence, Pool
from smalltolarge.selection.sampling import (
    even_order,
    number_sources,
    order_by_key,
    smallest_first,
)
from smalltolarge.selection.selector import Ranking, Selector

log = logging.getLogger("smalltolarge")


@dataclass(frozen=True, kw_only=True)
class S2L(Selector):
    """Cluster the loss trajectories of a small proxy and draw evenly over the clusters.

    Source: Yang et al., "SmallToLarge (S2L)", NeurIPS 2024, Algorithm 1; with
    ``stratify="source"`` the variant of the authors' code. Needs trajectories.
    """

    name: ClassVar[str] = "s2l"
    needs: ClassVar[frozenset[Evidence]] = frozenset({Evidence.TRAJECTORIES})

    clusters: int = 100
    """Clusters of trajectories (K of the paper); in each source when stratified."""
    iterations: int = 20
    """k-means iterations, at most; they start from centroids already fitted on a sample."""
    restarts: int = 1
    """Fits on the sample from other starts, the best of which goes on."""
    points_per_cluster: int | None = None
    """Fit the centroids on at most this many examples per cluster, drawn at random (the authors'
    code: 256). Default: all examples."""
    stratify: Literal["source"] | None = None
    """Split the budget evenly over the sources first, then cluster inside each, as the authors'
    code does. Default: no split, as in the paper."""

    def __post_init__(self) -> None:
        for name in ("clusters", "iterations", "restarts", "points_per_cluster"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RecipeError(f"{name} is {value}: at least 1 is needed")

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        """Draw in turn from the clusters, and from the sources when stratified."""
        assert pool.trajectories is not None
        losses = pool.trajectories.losses
        order = order_by_key(keys, pool.ids)
        if self.stratify is None:
            return self._rank_losses(losses, order, seed)
        strata = smallest_first(number_sources(pool.sources, "stratify"), order)
        preferred, labels, used = [], np.empty(len(pool), dtype=np.int32), 0
        for stratum in range(int(strata.max()) + 1):
            rows = order[strata[order] == stratum]
            found = self._rank_losses(losses[rows], np.arange(len(rows)), seed)
            assert found.labels is not None
            preferred.append(rows[found.order])
            labels[rows] = found.labels + used
            used += int(found.labels.max()) + 1
        return Ranking(even_order(strata, np.concatenate(preferred)), labels)

    def _rank_losses(self, losses: np.ndarray, order: np.ndarray, seed: int) -> Ranking:
        """Cluster ``losses`` (n, t) and draw evenly; ``order`` has their rows by key."""
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
        )
        labels = smallest_first(labels, order)
        return Ranking(even_order(labels, order), labels)
