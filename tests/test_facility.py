"""Facility location: exact neighbours, exact greedy, and the same on any machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalltolarge.errors import DataError, RecipeError
from smalltolarge.selection import FacilityLocation, Pool, facility
from smalltolarge.selection.facility import greedy, nearest, on_grid
from smalltolarge.selection.sampling import random_keys
from tests.test_selection import make_pool


def dense(points: np.ndarray) -> np.ndarray:
    """All similarities of points on the grid, as whole numbers; int64 (n, n)."""
    whole = points.astype(np.int64)
    return np.asarray(np.maximum(whole @ whole.T, 0))


def naive_greedy(similarities: np.ndarray) -> list[int]:
    """Try every row at every step; of equals the first. ``[i, j]`` is how well j covers i."""
    n = len(similarities)
    covered = np.zeros(n, dtype=np.int64)
    order: list[int] = []
    for _ in range(n):
        adds = np.maximum(similarities - covered[:, None], 0).sum(axis=0)
        adds[order] = -1
        order.append(int(adds.argmax()))
        covered = np.maximum(covered, similarities[:, order[-1]])
    return order


def embedded(embeddings: np.ndarray) -> Pool:
    ids = np.array([b"%06d" % row for row in range(len(embeddings))])
    return Pool(ids=ids, embeddings=embeddings.astype(np.float32))


def some_embeddings(n: int, d: int, seed: int, heaps: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    heap = rng.normal(0, 1, (heaps, d))[rng.integers(0, heaps, n)]
    return np.asarray(heap + rng.normal(0, 0.5, (n, d)), dtype=np.float32)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 40), d=st.integers(1, 9), seed=st.integers(0, 1000), twice=st.booleans())
def test_with_all_rows_as_neighbours_the_order_is_that_of_naive_greedy_on_all_similarities(
    n: int, d: int, seed: int, twice: bool
) -> None:
    embeddings = some_embeddings(n, d, seed)
    if twice:
        embeddings[n // 2 :] = embeddings[: n - n // 2]
    pool = embedded(embeddings)
    selection = FacilityLocation(neighbours=n).select(pool, n)
    by_key = np.argsort(random_keys(pool.ids, 0))
    found = by_key[naive_greedy(dense(on_grid(embeddings, by_key)))]
    assert selection.order.tolist() == found.tolist()


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 60), k=st.integers(1, 20), seed=st.integers(0, 1000),
       block=st.integers(1, 70), few=st.booleans())  # fmt: skip
def test_neighbours_are_the_nearest_whatever_the_blocks(
    n: int, k: int, seed: int, block: int, few: bool
) -> None:
    embeddings = some_embeddings(n, 4, seed)
    if few:  # many of one similarity
        embeddings = np.sign(np.rint(embeddings))
    points = on_grid(embeddings, np.arange(n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facility, "_BLOCK", block)
        offsets, columns, similarities = nearest(points, k)
    every = dense(points)
    for row in range(n):
        others = [other for other in range(n) if other != row and every[row, other] > 0]
        others.sort(key=lambda other: (-every[row, other], other))
        expected = {(c, every[row, c]) for c in others[:k]} | {(row, every[row, row])}
        part = slice(offsets[row], offsets[row + 1])
        found = zip(columns[part].tolist(), similarities[part].tolist(), strict=True)
        assert set(found) == expected


def test_lazy_greedy_on_neighbours_takes_what_naive_greedy_takes() -> None:
    points = on_grid(some_embeddings(150, 6, 1), np.arange(150))
    offsets, columns, similarities = nearest(points, 7)
    sparse = np.zeros((150, 150), dtype=np.int64)
    sparse[np.repeat(np.arange(150), np.diff(offsets)), columns] = similarities
    assert greedy(offsets, columns, similarities).tolist() == naive_greedy(sparse)


def test_few_neighbours_cover_nearly_as_well_as_all() -> None:
    embeddings = some_embeddings(600, 16, 2, heaps=20)
    similarities = dense(on_grid(embeddings, np.arange(600)))
    covered = [
        similarities[:, FacilityLocation(neighbours=k).select(embedded(embeddings), 60).indices]
        .max(axis=1)
        .sum()
        for k in (20, 600)
    ]
    assert 0.98 < covered[0] / covered[1] <= 1.01


def test_every_heap_is_covered_before_any_is_twice() -> None:
    rng = np.random.default_rng(0)
    heap = rng.permutation(np.repeat(np.arange(6), [200, 100, 50, 25, 12, 13]))
    pool = embedded(np.eye(8)[heap] + rng.normal(0, 0.02, (400, 8)))
    assert sorted(heap[FacilityLocation().select(pool, 6).indices]) == list(range(6))


def test_a_product_on_the_grid_is_exact_and_near_the_cosine() -> None:
    rng = np.random.default_rng(0)
    for d in (1, 3, 512, 4096):
        scales = 10.0 ** rng.integers(-18, 18, (50, 1))
        embeddings = (rng.normal(0, 1, (50, d)) * scales).astype(np.float32)
        embeddings[0] = 1
        points = on_grid(embeddings, np.arange(50))
        whole = points.astype(np.int64)
        assert np.array_equal(points @ points.T, whole @ whole.T)
        assert np.abs(whole @ whole.T).max() <= 2**24
        long = embeddings.astype(np.float64)
        long /= np.abs(long).max(axis=1, keepdims=True)
        long /= np.linalg.norm(long, axis=1, keepdims=True)
        lengths = np.linalg.norm(points.astype(np.float64), axis=1)
        cosines = (whole @ whole.T) / np.outer(lengths, lengths)
        assert np.abs(cosines - long @ long.T).max() < 1e-3


def test_an_embedding_of_zeros_covers_nothing_and_comes_last() -> None:
    embeddings = some_embeddings(30, 4, 0)
    embeddings[[3, 8]] = 0
    assert set(FacilityLocation().select(embedded(embeddings), 1).order[-2:]) == {3, 8}


def test_embeddings_that_are_not_numbers_are_refused() -> None:
    embeddings = some_embeddings(30, 4, 0)
    embeddings[7, 2] = np.inf
    with pytest.raises(DataError, match="the embedding of row 7 is not finite"):
        FacilityLocation().select(embedded(embeddings), 3)
    with pytest.raises(DataError, match=r"float32 \(n, d\) is needed"):
        FacilityLocation().select(Pool(ids=make_pool(4).ids, embeddings=np.zeros(4)), 3)
    with pytest.raises(RecipeError, match="neighbours is 0"):
        FacilityLocation(neighbours=0)
