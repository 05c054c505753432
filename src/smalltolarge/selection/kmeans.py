"""k-means on trajectories, by faiss."""

from __future__ import annotations

import threading

import numpy as np

_one_thread = threading.Lock()


def kmeans(
    points: np.ndarray,
    n_clusters: int,
    *,
    seed: int,
    n_iterations: int,
    n_restarts: int,
    points_per_cluster: int | None,
) -> tuple[np.ndarray, float]:
    """Cluster points by Euclidean distance.

    faiss runs on one thread here: with more, the sums over a block of points are made in another
    order and a few labels change.

    Parameters
    ----------
    points : float32 (n, t)
    n_clusters : at most n
    points_per_cluster : centroids are fitted on at most this many points per cluster, drawn at
        random; None fits them on all points

    Returns
    -------
    labels : int32 (n,)
        Some clusters may be empty when points are equal.
    inertia : float
        Sum of squared distances to the nearest centroid.
    """
    import faiss

    points = np.ascontiguousarray(points, dtype=np.float32)
    n, width = points.shape
    with _one_thread:
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            clustering = faiss.Kmeans(
                width,
                n_clusters,
                niter=n_iterations,
                nredo=n_restarts,
                seed=seed % 2**31,
                min_points_per_centroid=1,
                max_points_per_centroid=points_per_cluster or n,
            )
            clustering.train(points)
            distances, labels = clustering.index.search(points, 1)
        finally:
            faiss.omp_set_num_threads(threads)
    return labels[:, 0].astype(np.int32), float(distances.sum(dtype=np.float64))
