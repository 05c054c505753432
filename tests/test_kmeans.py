"""k-means: the same labels for any order, threads and processor, and good ones."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from smalltolarge.selection import kmeans as module
from smalltolarge.selection.kmeans import kmeans


def decays(n: int, t: int, seed: int = 0) -> np.ndarray:
    """Losses that fall at different speeds: float32 (n, t)."""
    rng = np.random.default_rng(seed)
    fall = np.exp(-rng.gamma(2, 1, (n, 1)) * np.linspace(0, 1, t))
    return (rng.gamma(8, 0.5, (n, 1)) * fall + rng.normal(0, 0.05, (n, t))).astype(np.float32)


def cluster(losses: np.ndarray, k: int, seed: int = 0, n_iterations: int = 20) -> np.ndarray:
    return kmeans(losses, np.arange(len(losses)), k, seed=seed, n_iterations=n_iterations)


def means(losses: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Means of the clusters in float64; nan where one is empty."""
    return np.array(
        [
            losses[labels == c].mean(axis=0, dtype=float)
            if (labels == c).any()
            else np.full(losses.shape[1], np.nan)
            for c in range(k)
        ]
    )


def distances(losses: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return np.asarray(((losses[:, None].astype(float) - centroids) ** 2).sum(axis=2))


def inertia(losses: np.ndarray, labels: np.ndarray) -> float:
    centroids = means(losses, labels, int(labels.max()) + 1)
    return float(((losses - centroids[labels]) ** 2).sum())


@pytest.mark.parametrize("t", [1, 12, 36])
def test_threads_and_blocks_do_not_change_a_label(t: int, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = decays(6000, t)
    found = []
    for threads, block in ((1, 2**16), (2, 2**16), (2, 700), (3, 1001), (4, 499)):
        monkeypatch.setattr(module, "cores", lambda threads=threads: threads)
        monkeypatch.setattr(module, "_BLOCK", block)
        found.append(cluster(losses, 40))
    assert all(np.array_equal(found[0], labels) for labels in found)


few_values = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 60), st.integers(1, 5)),
    elements=st.integers(0, 6).map(lambda value: 1000 + value / 8),
)


@settings(max_examples=50, deadline=None)
@given(losses=few_values, k=st.integers(1, 8), seed=st.integers(0, 2**32))
def test_the_order_of_the_rows_does_not_matter(losses: np.ndarray, k: int, seed: int) -> None:
    k = min(k, len(losses))
    moved = np.random.default_rng(seed).permutation(len(losses))
    labels = kmeans(losses, np.arange(len(losses)), k, seed=seed, n_iterations=5)
    again = kmeans(losses[moved], np.argsort(moved), k, seed=seed, n_iterations=5)
    assert np.array_equal(again, labels[moved])


@settings(max_examples=50, deadline=None)
@given(losses=few_values, k=st.integers(1, 8))
def test_at_the_end_every_row_is_in_the_cluster_of_the_nearest_mean(
    losses: np.ndarray, k: int
) -> None:
    k = min(k, len(losses))
    labels = cluster(losses, k, n_iterations=100)
    to_mean = distances(losses, means(losses, labels, k))
    own = to_mean[np.arange(len(losses)), labels]
    assert np.all(own <= np.nanmin(to_mean, axis=1) + 1e-5)


@settings(max_examples=50, deadline=None)
@given(losses=few_values, k=st.integers(1, 8))
def test_no_cluster_is_empty_where_enough_rows_differ(losses: np.ndarray, k: int) -> None:
    k = min(k, len(losses))
    labels = cluster(losses, k, n_iterations=100)
    assert len(np.unique(labels)) == min(k, len(np.unique(losses, axis=0)))


def test_the_inertia_never_rises() -> None:
    losses = decays(60_000, 12)
    found = [inertia(losses, cluster(losses, 50, n_iterations=i)) for i in range(8)]
    assert all(after <= before for before, after in itertools.pairwise(found))


@pytest.mark.parametrize("t", [3, 40])
def test_it_is_no_worse_than_the_best_of_five_plain_runs(t: int) -> None:
    rng = np.random.default_rng(t)
    heaps = rng.normal(0, 2, (30, t))[np.minimum(rng.geometric(0.1, 4000) - 1, 29)]
    losses = (heaps + rng.normal(0, 0.3, heaps.shape)).astype(np.float32)
    plain = []
    for _ in range(5):
        centroids = losses[rng.choice(len(losses), 30, replace=False)].astype(float)
        for _ in range(20):
            labels = distances(losses, centroids).argmin(axis=1)
            there = np.unique(labels)
            centroids[there] = means(losses, labels, 30)[there]
        plain.append(distances(losses, centroids).min(axis=1).sum())
    assert max(inertia(losses, cluster(losses, 30, seed)) for seed in range(3)) <= min(plain)


def test_more_starts_are_no_worse() -> None:
    losses = decays(3000, 6)
    order = np.arange(len(losses))
    found = [
        inertia(losses, kmeans(losses, order, 30, seed=1, n_iterations=0, n_restarts=restarts))
        for restarts in (1, 3, 6)
    ]
    assert found[0] >= found[1] >= found[2]


def test_points_per_cluster_leaves_the_other_rows_out_of_the_fit() -> None:
    losses = decays(2000, 6)
    changed = losses.copy()
    changed[200:] = changed[200:][::-1]
    order = np.arange(2000)
    one, other = (
        kmeans(rows, order, 10, seed=0, n_iterations=20, points_per_cluster=20)
        for rows in (losses, changed)
    )
    assert np.array_equal(one[:200], other[:200]) and np.array_equal(one[200:], other[200:][::-1])


def test_one_cluster_has_all_rows_and_n_clusters_have_one_each() -> None:
    losses = decays(50, 4)
    assert not cluster(losses, 1).any()
    assert sorted(cluster(losses, 50).tolist()) == list(range(50))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [3e38, 1.0, 1e-30])
def test_the_size_of_the_losses_does_not_matter(size: float) -> None:
    losses = np.repeat(np.array([[-size, size], [size, size]], np.float32), [5, 3], axis=0)
    labels = cluster(losses, 2)
    assert sorted(np.bincount(labels).tolist()) == [3, 5] and len(set(labels[:5].tolist())) == 1


@settings(max_examples=100, deadline=None)
@given(data=st.data(), t=st.sampled_from([1, 2, 12, 36]), k=st.integers(1, 40))
def test_close_decisions_are_those_of_exact_arithmetic(data: st.DataObject, t: int, k: int) -> None:
    """Float32 sees almost no difference here: all points are within 4 steps of a far one."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    far = rng.integers(-(2**22), 2**22, t)
    points, centroids = (far + rng.integers(-4, 5, (rows, t)) for rows in (300, k))
    labels, margin = module._nearest(points.astype(np.float32), centroids.astype(np.float32))
    exact = ((points[:, None] - centroids) ** 2).sum(axis=2)
    assert np.array_equal(labels, exact.argmin(axis=1))
    if k > 1:
        first, second = np.sqrt(np.sort(exact, axis=1)[:, :2].T)
        assert np.all(margin <= second - first)


def test_the_sums_are_still_exact_after_rows_have_moved_from_one_to_another() -> None:
    losses = decays(5000, 7)
    with ThreadPoolExecutor(2) as threads:
        grid = module._Grid.of(losses, losses, threads)
        points = grid.points(losses)
        lloyd = module._Lloyd(losses, grid, points[:25], threads)
        lloyd.run(15)
    for label in range(25):
        mine = points[lloyd.labels == label].astype(np.int64)
        assert lloyd.sizes[label] == len(mine)
        assert lloyd.sums[label].tolist() == mine.sum(axis=0).tolist()


def test_an_empty_cluster_takes_the_farthest_row_and_of_two_the_one_that_is_last() -> None:
    losses = np.array([[0], [1], [2], [100], [130]], np.float32)
    with ThreadPoolExecutor(1) as threads:
        grid = module._Grid.of(losses, losses, threads)
        start = grid.points(np.array([[0], [110], [900]], np.float32))
        lloyd = module._Lloyd(losses, grid, start, threads)
        lloyd.run(10)
    assert lloyd.labels.tolist() == [0, 0, 0, 1, 2]
