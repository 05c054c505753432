"""The arithmetic of an inspection, against definitions, and other libraries where they are."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from smalltolarge.selection.diagnostics import (
    Learning,
    PairMean,
    Shapes,
    adjusted_rand,
    average_ranks,
    cosines,
    cramers_v,
    effective,
    eta_squared,
    number,
    relative_error,
    spearman,
)

RNG = np.random.default_rng(0)
CLUSTERINGS = [
    (RNG.integers(0, k, n), RNG.integers(0, m, n))
    for n, k, m in [(8, 2, 3), (30, 4, 4), (30, 30, 2), (200, 7, 20)]
]


def test_the_same_clusters_under_other_names_are_alike() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert adjusted_rand(labels, np.array([9, 9, 0, 0, 4, 4])) == 1
    assert adjusted_rand(labels, labels[::-1]) == 1


def test_clusterings_without_any_choice_are_alike_only_with_themselves() -> None:
    one, singles = np.zeros(5, dtype=int), np.arange(5)
    assert adjusted_rand(one, one) == adjusted_rand(singles, singles) == 1
    assert adjusted_rand(one, singles) == adjusted_rand(one, np.array([0, 0, 1, 1, 1])) == 0


def test_the_adjusted_rand_index_is_that_of_a_case_done_by_hand() -> None:
    # Pairs together in both: 1; in a: 3 + 1; in b: 1 + 1 + 1; of 10.
    a, b = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 2])
    index = (1 - 4 * 2 / 10) / ((4 + 2) / 2 - 4 * 2 / 10)
    assert adjusted_rand(a, b) == pytest.approx(index)


@pytest.mark.parametrize(("a", "b"), CLUSTERINGS)
def test_the_adjusted_rand_index_counts_pairs(a: np.ndarray, b: np.ndarray) -> None:
    pairs = list(itertools.combinations(range(len(a)), 2))
    in_a = sum(a[i] == a[j] for i, j in pairs)
    in_b = sum(b[i] == b[j] for i, j in pairs)
    both = sum(a[i] == a[j] and b[i] == b[j] for i, j in pairs)
    chance = in_a * in_b / len(pairs)
    assert adjusted_rand(a, b) == pytest.approx((both - chance) / ((in_a + in_b) / 2 - chance))


@pytest.mark.parametrize(("a", "b"), CLUSTERINGS)
def test_the_adjusted_rand_index_is_scikit_learns(a: np.ndarray, b: np.ndarray) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    assert adjusted_rand(a, b) == pytest.approx(metrics.adjusted_rand_score(a, b))


def test_random_clusterings_are_alike_by_chance_alone() -> None:
    draws = [adjusted_rand(*RNG.integers(0, 10, (2, 500))) for _ in range(200)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / math.sqrt(200)


def test_equal_values_share_their_ranks() -> None:
    assert average_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1, 3.5, 2]


def test_any_rising_function_keeps_the_rank_correlation() -> None:
    values = RNG.normal(size=50)
    assert spearman(values, np.exp(values)) == pytest.approx(1)
    assert spearman(values, -values) == pytest.approx(-1)
    assert spearman(values, np.ones(50)) is None


def test_the_rank_correlation_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = RNG.integers(0, 9, 100), RNG.normal(size=100)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_eta_squared_is_the_variance_between_over_the_whole() -> None:
    groups, values = RNG.integers(3, 9, 80), RNG.normal(size=80)
    means = np.array([values[groups == group].mean() for group in groups])
    assert eta_squared(groups, values) == pytest.approx(means.var() / values.var())
    assert eta_squared(np.array([0, 0, 1]), np.array([2.0, 2.0, 5.0])) == pytest.approx(1)
    assert eta_squared(groups, np.ones(80)) is None


def test_eta_squared_of_random_groups_is_what_chance_gives() -> None:
    found = [eta_squared(RNG.permutation(np.arange(100) % 20), RNG.normal(size=100)) or 0
             for _ in range(300)]  # fmt: skip
    assert np.mean(found) == pytest.approx(19 / 99, abs=0.02)


def test_cramers_v_follows_its_definition() -> None:
    a, b = np.arange(60) % 3, np.arange(60) % 3
    b[:12] = RNG.integers(0, 3, 12)
    table = np.array([[np.sum((a == i) & (b == j)) for j in range(3)] for i in range(3)])
    expected = np.outer(table.sum(1), table.sum(0)) / 60
    phi = ((table - expected) ** 2 / expected).sum() / 60 - 4 / 59
    assert cramers_v(a, b) == pytest.approx(math.sqrt(phi / (3 - 4 / 59 - 1)))


def test_cramers_v_is_1_where_one_follows_from_the_other_and_0_by_chance() -> None:
    a = RNG.integers(0, 4, 400)
    assert cramers_v(a, (a + 1) % 4) == pytest.approx(1)
    assert np.mean([cramers_v(a, RNG.permutation(a)) for _ in range(20)]) < 0.06
    assert cramers_v(a, np.zeros(400, dtype=int)) is None
    assert cramers_v(np.arange(4), np.arange(4)) is None  # as many groups as examples


def test_a_flat_trajectory_is_measured_against_the_spread() -> None:
    levels = np.array([1.0, 3.0] * 50)  # spread 1
    losses = np.stack([levels, levels - 0.5], axis=1).astype(np.float32)
    losses[:20, 1] = levels[:20] + 0.05  # these hardly move, and up
    found = Shapes.of(losses)
    assert found is not None
    assert found.spread == pytest.approx(1, abs=0.05)
    assert found.threshold == pytest.approx(found.spread / 10)
    assert (found.flat, found.rising) == (0.2, 0.2)


def test_the_last_part_is_the_last_quarter_of_the_training() -> None:
    losses = np.array([[5, 4, 3, 2.5, 2], [5, 4, 3, 2, 2.5]], dtype=np.float32)
    found = Learning.of(losses, np.array([0, 25, 50, 75, 100]))
    assert found is not None
    assert found.since == 75
    assert list(found.mean_losses) == [5, 4, 3, 2.25, 2.25]
    assert (found.change, found.of_whole, found.falling) == (0, 0, 0.5)
    few = Learning.of(losses[:, :2], np.array([0, 100]))
    assert few is not None
    assert (few.since, few.change, few.of_whole, few.falling) == (0, -1, 1, 1)
    rising = Learning.of(losses[:, ::-1], np.array([0, 25, 50, 75, 100]))
    assert rising is not None
    assert rising.of_whole is None


def test_of_one_checkpoint_nothing_is_said() -> None:
    losses = np.ones((3, 1), dtype=np.float32)
    assert Learning.of(losses, np.array([7])) is None
    assert Shapes.of(losses) is None


def test_pairs_are_averaged_once_each_with_the_error_of_leaving_examples_out() -> None:
    values = RNG.normal(size=(6, 6))
    values += values.T
    mask = np.ones((6, 6), dtype=bool)
    mask[0, 1] = mask[1, 0] = False
    found = PairMean.of(values, mask)

    def mean(left_out: int | None = None) -> float:
        kept = [i for i in range(6) if i != left_out]
        return float(np.mean([values[i, j] for i, j in itertools.combinations(kept, 2)
                              if mask[i, j]]))  # fmt: skip

    without = np.array([mean(i) for i in range(6)])
    assert found.pairs == 14
    assert found.mean == pytest.approx(mean())
    assert found.error == pytest.approx(math.sqrt(5 / 6 * ((without - without.mean()) ** 2).sum()))
    assert PairMean.of(values, np.eye(6, dtype=bool)) == PairMean(None, None, 0)


def test_cosines_and_errors_do_not_depend_on_length() -> None:
    vectors = np.array([[3.0, 4.0], [6.0, 8.0], [-4.0, 3.0], [0.0, 0.0]])
    assert cosines(vectors)[0] == pytest.approx([1, 1, 0, 0])
    assert relative_error(vectors[1], vectors[0]) == pytest.approx(1)
    assert math.isnan(relative_error(vectors[0], vectors[3]))


def test_names_are_numbered_as_they_come() -> None:
    assert number(["b", None, "b", "a"]).tolist() == [0, 1, 0, 2]


def test_as_many_groups_count_as_there_are_of_one_size() -> None:
    assert effective(np.repeat(np.arange(7), 5)) == pytest.approx(7)
    assert effective(np.zeros(5, dtype=int)) == 1
    uneven = np.repeat([0, 1, 5], [90, 9, 1])
    shares = [0.9, 0.09, 0.01]
    assert effective(uneven) == pytest.approx(math.prod(share**-share for share in shares))
