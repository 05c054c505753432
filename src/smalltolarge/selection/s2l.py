"""SmallToLarge: even sampling over clusters of loss trajectories."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from smalltolarge.errors import DataError, RecipeError
from smalltolarge.selection.kmeans import kmeans
from smalltolarge.selection.pool import Evidence, Pool
from smalltolarge.selection.sampling import even_order, order_by_key, smallest_first
from smalltolarge.selection.selector import Ranking, Selector

log = logging.getLogger("smalltolarge")


@dataclass(frozen=True, kw_only=True)
class S2L(Selector):
    """Cluster the loss trajectories of a small proxy and draw evenly over the clusters.

    Source: Yang et al., "SmallToLarge (S2L)", NeurIPS 2024, Algorithm 1; with
    ``stratify="source"`` the variant of the authors' code.
    """

    name: ClassVar[str] = "s2l"
    needs: ClassVar[frozenset[Evidence]] = frozenset({Evidence.TRAJECTORIES})

    clusters: int = 100
    """Clusters of trajectories (K of the paper); in each source when stratified."""
    iterations: int = 20
    """k-means iterations."""
    restarts: int = 1
    """k-means runs from other starts, the best of which is kept."""
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
        by_id = np.argsort(pool.ids, kind="stable")
        strata = np.zeros(len(pool), dtype=np.int32)
        if self.stratify is not None:
            strata = smallest_first(_as_numbers(pool.sources), order_by_key(keys, pool.ids))
        preferred, labels, used = [], np.empty(len(pool), dtype=np.int32), 0
        for stratum in range(int(strata.max()) + 1):
            # k-means starts from rows by position: sorted by id, any order of the input is one.
            rows = by_id[strata[by_id] == stratum]
            order, found = self._rank_stratum(pool, rows, keys, seed)
            preferred.append(order)
            labels[rows] = found + used
            used += int(found.max()) + 1
        return Ranking(even_order(strata, np.concatenate(preferred)), labels)

    def _rank_stratum(
        self, pool: Pool, rows: np.ndarray, keys: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        assert pool.trajectories is not None
        k = min(self.clusters, len(rows))
        if k < self.clusters:
            log.warning("%d clusters for %d rows: lowered to %d", self.clusters, len(rows), k)
        found, _ = kmeans(
            pool.trajectories.losses[rows],
            k,
            seed=seed,
            n_iterations=self.iterations,
            n_restarts=self.restarts,
            points_per_cluster=self.points_per_cluster,
        )
        order = order_by_key(keys[rows], pool.ids[rows])
        labels = smallest_first(found, order)
        return rows[even_order(labels, order)], labels


def _as_numbers(sources: Sequence[str | None] | None) -> np.ndarray:
    """Number the groups; rows without a source are a group of their own. int (n,)."""
    if sources is None or all(source is None for source in sources):
        raise DataError(
            "stratify splits by the source of the examples, and no example has one: there is no "
            "source column. Name the column that says where a row is from with --columns "
            'source=COLUMN (in Python columns={"source": COLUMN}), or leave stratify out.'
        )
    numbers: dict[str | None, int] = {}
    return np.array([numbers.setdefault(source, len(numbers)) for source in sources])
