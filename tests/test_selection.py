"""Selections: exact, even, nested, and the same whatever the order, the threads or the machine."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalltolarge.errors import BudgetError, DataError, Interrupted, RecipeError
from smalltolarge.selection import (
    S2L,
    SELECTORS,
    Budget,
    Evidence,
    Pool,
    Random,
    RandomBySource,
    Ranking,
    Selector,
    find_selector,
)
from smalltolarge.selection.sampling import (
    balanced_order,
    even_order,
    order_by_key,
    random_keys,
    smallest_first,
)
from smalltolarge.settings import describe
from smalltolarge.trajectories import Trajectories


def make_pool(n: int, t: int = 4, seed: int = 0, groups: int = 5, sources: int = 3) -> Pool:
    """Everything a method may need, but examples; losses in ``groups`` heaps of uneven size."""
    rng = np.random.default_rng(seed)
    heap = np.minimum(rng.geometric(0.4, n) - 1, groups - 1)
    losses = heap[:, None] * 2.0 + rng.normal(0, 0.1, (n, t)) + 3
    ids = np.array([hashlib.md5(b"%d" % i).hexdigest().encode() for i in range(n)])
    trajectories = Trajectories(
        losses, np.arange(t) * 10, ids, rng.integers(1, 50, n).astype(np.int32)
    )
    numbers = rng.integers(0, sources, n)
    numbers[0] = 1
    centres = rng.normal(0, 1, (groups, 8))
    return Pool(
        ids=ids,
        trajectories=trajectories,
        embeddings=(centres[heap] + rng.normal(0, 0.3, (n, 8))).astype(np.float32),
        sources=[None if s == 0 else f"source {s}" for s in numbers],
        lengths=rng.permutation(n) + 10,
        losses_alone=(losses[:, -1] * rng.uniform(0.9, 2, n)).astype(np.float32),
    )


def shuffled(pool: Pool, seed: int) -> Pool:
    order = list(range(len(pool)))
    random.Random(seed).shuffle(order)
    return rows_of(pool, order)


def rows_of(pool: Pool, order: list[int]) -> Pool:
    assert pool.trajectories is not None and pool.sources is not None
    assert pool.embeddings is not None and pool.lengths is not None
    assert pool.losses_alone is not None
    return Pool(
        ids=pool.ids[order],
        trajectories=pool.trajectories.align(pool.ids[order]),
        embeddings=pool.embeddings[order],
        sources=[pool.sources[i] for i in order],
        lengths=pool.lengths[order],
        losses_alone=pool.losses_alone[order],
    )


def chosen(pool: Pool, selector: Selector, budget: str | int, seed: int = 0) -> set[bytes]:
    return set(pool.ids[selector.select(pool, budget, seed).indices].tolist())


def labels_by_id(pool: Pool, selector: Selector) -> dict[bytes, int]:
    labels = selector.select(pool, 1).labels
    assert labels is not None
    return dict(zip(pool.ids.tolist(), labels.tolist(), strict=True))


@pytest.fixture(params=sorted(SELECTORS))
def selector(request: pytest.FixtureRequest) -> Selector:
    return SELECTORS[request.param]()


class TestEveryMethod:
    """The conformance suite: one row in ``SELECTORS`` is enough to be under it."""

    @settings(max_examples=25, deadline=None)
    @given(n=st.integers(1, 200), seed=st.integers(0, 2**64 - 1), data=st.data())
    def test_gives_exactly_the_budget_in_different_rows(
        self, n: int, seed: int, data: st.DataObject
    ) -> None:
        budget = data.draw(st.integers(1, n))
        for kind in SELECTORS.values():
            selection = kind().select(make_pool(n, seed=seed % 97), budget, seed)
            assert len(selection) == budget
            assert np.all(np.diff(selection.indices) > 0)
            assert selection.indices.min() >= 0 and selection.indices.max() < n

    def test_a_smaller_budget_is_inside_a_larger_one(self, selector: Selector) -> None:
        pool = make_pool(300)
        budgets: list[int | str] = [1, 7, "11%", 99, 100, "50%", 299, "100%"]
        sets = [chosen(pool, selector, budget) for budget in budgets]
        assert all(small < large for small, large in itertools.pairwise(sets))

    def test_the_order_of_the_input_does_not_matter(self, selector: Selector) -> None:
        pool = make_pool(300)
        for seed in range(5):
            assert chosen(shuffled(pool, seed), selector, "20%") == chosen(pool, selector, "20%")

    def test_another_seed_chooses_other_rows_where_and_only_where_a_method_draws_them(
        self, selector: Selector
    ) -> None:
        pool = make_pool(300, seed=1)  # without ties
        one, other = (selector.select(pool, 50, seed).order for seed in (1, 2))
        assert np.array_equal(one, other) == (not selector.is_random)
        same = chosen(pool, selector, 50, seed=1) == chosen(pool, selector, 50, seed=2)
        assert same == (not selector.is_random)

    def test_a_token_budget_is_never_exceeded_and_one_more_row_would_exceed_it(
        self, selector: Selector
    ) -> None:
        pool = make_pool(300)
        assert pool.trajectories is not None and pool.trajectories.n_tokens is not None
        for tokens in (60, 1000, 5000):
            selection = selector.select(pool, f"{tokens}-tokens")
            n_tokens = pool.trajectories.n_tokens
            assert n_tokens[selection.indices].sum() <= tokens
            assert n_tokens[selection.order[: len(selection) + 1]].sum() > tokens

    def test_budgets_outside_the_pool_are_refused(self, selector: Selector) -> None:
        pool = make_pool(30)
        for wrong in (31, 0, "0%", "101%", "1%", "9M-tokens"):
            with pytest.raises(BudgetError):
                selector.select(pool, wrong)

    def test_what_a_method_needs_is_asked_for_by_name(self, selector: Selector) -> None:
        bare = Pool(ids=make_pool(10).ids)
        if selector.needs:
            with pytest.raises(DataError, match=f"needs {' and '.join(sorted(selector.needs))}"):
                selector.select(bare, 3)
            for kind in selector.needs:
                lacking: dict[str, Any] = {kind.value: None}
                with pytest.raises(DataError, match=f"needs {kind}: none were given"):
                    selector.select(replace(make_pool(10), **lacking), 3)
        else:
            assert len(selector.select(bare, 3)) == 3

    def test_it_says_where_it_comes_from_what_it_needs_and_what_each_setting_means(
        self, selector: Selector
    ) -> None:
        words = type(selector).__doc__
        assert words and selector.needs <= set(Evidence)
        first = words.partition("\n")[0]
        assert first.endswith(".") and len(first) <= 100
        if type(selector) is not Random:
            assert re.search(r"Source: |Ours\b|arXiv", words)
            assert re.search(r"\bNeeds\b", words)
        assert all(describe(type(selector)).values())

    def test_places_in_training_are_those_of_a_trainer(self, selector: Selector) -> None:
        pool = make_pool(300)
        sequence = selector.select(pool, 50).sequence
        assert sequence is None or sorted(sequence.tolist()) == list(range(300))


def algorithm_1(sizes: list[int], budget: int) -> list[int]:
    """The quota loop of the paper's Algorithm 1, letter for letter; sizes ascend."""
    taken: list[int] = []
    for j, size in enumerate(sizes, start=1):
        quota = (budget - sum(taken)) / (len(sizes) - j + 1)
        taken.append(size if size <= quota else int(quota))
    return taken


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12), data=st.data())
def test_quotas_are_those_of_algorithm_1(sizes: list[int], data: st.DataObject) -> None:
    sizes = sorted(sizes)
    budget = data.draw(st.integers(1, sum(sizes)))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    order = np.random.default_rng(budget).permutation(len(groups))
    taken = np.bincount(groups[even_order(groups, order)[:budget]], minlength=len(sizes))
    assert taken.tolist() == algorithm_1(sizes, budget)
    assert taken.sum() == budget


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    balance=st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1)),
    data=st.data(),
)
def test_a_balanced_draw_gives_each_cluster_what_its_weight_asks_for(
    sizes: list[int], balance: float, data: st.DataObject
) -> None:
    sizes = sorted(sizes)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    order = np.random.default_rng(len(groups)).permutation(len(groups))
    budget = data.draw(st.integers(1, len(groups)))
    drawn = balanced_order(groups, order, balance)
    assert sorted(drawn.tolist()) == list(range(len(groups)))
    taken = np.bincount(groups[drawn[:budget]], minlength=len(sizes))
    weights = np.array(sizes) ** (1 - balance)
    level = max((count - 1) / weight for count, weight in zip(taken, weights, strict=True) if count)
    for size, count, weight in zip(sizes, taken, weights, strict=True):
        assert count == size or (count + 1) / weight > level - 1e-9
    for group in range(len(sizes)):  # inside a cluster the order stays
        assert drawn[groups[drawn] == group].tolist() == order[groups[order] == group].tolist()


@pytest.mark.parametrize(
    "make", [partial(S2L, clusters=5), RandomBySource], ids=["s2l", "random-by-source"]
)
def test_balance_leads_from_the_shares_of_all_rows_to_even_ones(
    make: Callable[..., Selector],
) -> None:
    pool = replace(make_pool(4000), sources=[f"{int(row**0.2)}" for row in range(4000)])
    spread = []
    for balance in (0.0, 0.5, 1.0):
        selection = make(balance=balance).select(pool, 400)
        labels = selection.labels
        if labels is None:
            labels = np.array(pool.sources, dtype=np.int64)
        whole = np.bincount(labels)
        part = np.bincount(labels[selection.indices], minlength=len(whole))
        spread.append(part.max() - part.min())
        assert balance or np.abs(part - whole / 10).max() <= 1
    assert spread[0] > spread[1] > spread[2]


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12), data=st.data())
def test_small_clusters_give_all_they_have_and_the_others_differ_by_at_most_one(
    sizes: list[int], data: st.DataObject
) -> None:
    sizes = sorted(sizes)
    budget = data.draw(st.integers(1, sum(sizes)))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    taken = np.bincount(
        groups[even_order(groups, np.arange(len(groups)))[:budget]], minlength=len(sizes)
    )
    some_left = taken[taken < sizes]
    assert some_left.size == 0 or some_left.max() - some_left.min() <= 1
    assert some_left.size == 0 or taken.max() <= some_left.min() + 1


def test_inside_a_cluster_the_smallest_keys_are_taken() -> None:
    pool = make_pool(400)
    selection = S2L(clusters=5).select(pool, "30%")
    assert selection.labels is not None
    inside = np.zeros(len(pool), dtype=bool)
    inside[selection.indices] = True
    for label in np.unique(selection.labels):
        mine = selection.labels == label
        if (mine & ~inside).any() and (mine & inside).any():
            assert selection.keys[mine & inside].max() < selection.keys[mine & ~inside].min()


def test_clusters_are_numbered_from_the_smallest() -> None:
    selection = S2L(clusters=5).select(make_pool(400), 50)
    assert selection.labels is not None
    sizes = np.bincount(selection.labels)
    assert np.all(np.diff(sizes) >= 0) and sizes.min() > 0


def test_separate_heaps_become_separate_clusters() -> None:
    pool = make_pool(400, groups=3)
    assert pool.trajectories is not None
    selection = S2L(clusters=3, restarts=5).select(pool, 60)
    heap = np.rint((pool.trajectories.losses[:, 0] - 3) / 2).astype(int)
    assert selection.labels is not None
    assert len(set(zip(heap.tolist(), selection.labels.tolist(), strict=True))) == 3
    assert np.bincount(heap[selection.indices]).tolist() == [20, 20, 20]


def test_stratified_budgets_are_even_over_sources_and_then_over_clusters() -> None:
    pool = make_pool(600, sources=4)
    selection = S2L(clusters=3, stratify="source").select(pool, 120)
    assert pool.sources is not None and selection.labels is not None
    taken = [pool.sources[i] for i in selection.indices]
    assert {taken.count(source) for source in set(pool.sources)} == {30}
    for source in set(pool.sources):
        rows = np.array([i for i, s in enumerate(pool.sources) if s == source])
        mine = np.intersect1d(selection.indices, rows)
        counts = [int((selection.labels[mine] == k).sum()) for k in set(selection.labels[rows])]
        sizes = [int((selection.labels[rows] == k).sum()) for k in set(selection.labels[rows])]
        assert sorted(counts) == sorted(taken_by for taken_by in algorithm_1(sorted(sizes), 30))


def test_stratified_or_not_the_order_of_the_input_does_not_matter() -> None:
    pool = make_pool(600, sources=4)
    for stratify in (None, "source"):
        selector = S2L(clusters=5, points_per_cluster=20, restarts=2, stratify=stratify)
        found = [
            (chosen(rows, selector, 120), labels_by_id(rows, selector))
            for rows in (pool, shuffled(pool, 1), shuffled(pool, 2))
        ]
        assert found[0] == found[1] == found[2]


def test_losses_and_ids_mapped_from_disk_give_the_same_selection(tmp_path: Path) -> None:
    pool = make_pool(500)
    assert pool.trajectories is not None
    mapped = []
    for name, array in (("losses", pool.trajectories.losses), ("ids", pool.ids)):
        copy = np.lib.format.open_memmap(tmp_path / name, "w+", array.dtype, array.shape)
        copy[:] = array
        mapped.append(copy)
    losses, ids = mapped
    same = Pool(ids=ids, trajectories=Trajectories(losses, pool.trajectories.steps, ids))
    for selector in (S2L(clusters=9), Random()):
        one, other = selector.select(pool, "11%", 3), selector.select(same, "11%", 3)
        assert np.array_equal(one.order, other.order)


def test_more_clusters_than_rows_are_lowered_aloud(caplog: pytest.LogCaptureFixture) -> None:
    selection = S2L().select(make_pool(7), 3)
    assert "100 clusters for 7 rows: lowered to 7" in caplog.text
    assert len(selection) == 3


@pytest.mark.parametrize("losses", [np.zeros((50, 3)), np.full((50, 3), 2.5)])
def test_equal_trajectories_are_sampled_like_any_others(losses: np.ndarray) -> None:
    ids = make_pool(50).ids
    pool = Pool(ids=ids, trajectories=Trajectories(losses, np.arange(3), ids))
    assert len(S2L(clusters=10).select(pool, 20)) == 20


PRINT_SELECTION = """
import hashlib, numpy as np
from smalltolarge.selection import S2L, Pool
from smalltolarge.trajectories import Trajectories
rng = np.random.default_rng(5)
n, t = 20_000, 36
ids = np.array([b"%032x" % i for i in range(n)])
losses = rng.gamma(2, 1, (n, 1)) * np.exp(-rng.random((n, 1)) * np.linspace(0, 2, t))
pool = Pool(ids=ids, trajectories=Trajectories(losses, np.arange(t), ids))
selection = S2L().select(pool, "11%", 3)
print(hashlib.sha256(selection.indices.tobytes() + selection.labels.tobytes()).hexdigest())
"""


def test_threads_locale_hash_seed_and_processor_do_not_change_a_selection() -> None:
    found = set()
    for change in (
        {"OMP_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "2", "LC_ALL": "C", "PYTHONOPTIMIZE": "2"},
        {"OMP_NUM_THREADS": "4", "PYTHONHASHSEED": "7", "OPENBLAS_NUM_THREADS": "3"},
        {
            "NPY_DISABLE_CPU_FEATURES": "AVX2 AVX512F AVX512_SKX FMA3",
            "FAISS_SIMD_LEVEL": "NONE",
            "OPENBLAS_CORETYPE": "Prescott",
        },
    ):
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PRINT_SELECTION],
            env={**os.environ, **change},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        found.add(run.stdout)
    assert len(found) == 1


@pytest.mark.parametrize("method", ["s2l", "facility-location"])
def test_a_long_choice_asks_often_whether_to_stop_and_comes_out_the_same(method: str) -> None:
    pool = make_pool(600)
    selector = SELECTORS[method](**({"clusters": 50} if method == "s2l" else {}))
    asked, stop = 0, -1

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == stop:
            raise Interrupted("stop")

    watched = selector.select(replace(pool, check=check), 60)
    assert asked > 50
    assert np.array_equal(watched.order, selector.select(pool, 60).order)
    asked, stop = 0, asked // 2
    with pytest.raises(Interrupted):
        selector.select(replace(pool, check=check), 60)
    assert asked == stop


def test_keys_are_uniform_and_depend_on_seed_and_id_alone() -> None:
    ids = make_pool(4000).ids
    keys = random_keys(ids, 3)
    assert np.array_equal(random_keys(ids[::-1], 3)[::-1], keys)
    assert not np.array_equal(random_keys(ids, 4), keys)
    shares = np.bincount((keys >> np.uint64(60)).astype(int), minlength=16) / len(keys)
    assert abs(shares - 1 / 16).max() < 0.02


def test_keys_are_final() -> None:
    # The published rule: whoever changes it changes every selection ever made.
    assert random_keys(np.array([b"a", b"b"]), 0).tolist() == [
        int.from_bytes(hashlib.blake2b(name, digest_size=8, key=bytes(8)).digest(), "big")
        for name in (b"a", b"b")
    ]


def test_groups_of_one_size_are_ordered_by_their_first_key() -> None:
    labels = np.array([7, 7, 3, 3, 9])
    assert smallest_first(labels, np.array([2, 0, 4, 1, 3])).tolist() == [2, 2, 1, 1, 0]
    assert smallest_first(labels, np.array([0, 2, 4, 1, 3])).tolist() == [1, 1, 2, 2, 0]


@pytest.mark.parametrize(
    ("text", "rows"),
    [("11%", 5957), ("30000", 30000), ("30K", 30000), ("30,000", 30000), ("0.5%", 270), (7, 7)],
)
def test_budgets_are_read_as_people_write_them(text: str | int, rows: int) -> None:
    assert Budget.parse(text).least_rows(54159) == rows


@pytest.mark.parametrize("text", ["", "eleven", "-3", "0.11", "1.5", "3 rows", "2M-rows", True])
def test_what_is_not_a_budget_is_a_usage_error(text: str) -> None:
    with pytest.raises(RecipeError, match="budget"):
        Budget.parse(text)


def test_a_token_budget_without_token_counts_says_what_to_give() -> None:
    with pytest.raises(BudgetError, match="n_tokens"):
        Random().select(Pool(ids=make_pool(10).ids), "100-tokens")


class Careless(Random):
    """Ranks one row twice."""

    def rank(self, pool: Pool, keys: np.ndarray, seed: int) -> Ranking:
        return Ranking(np.zeros(len(pool), dtype=np.int64))


def test_a_method_that_does_not_rank_every_row_once_is_caught() -> None:
    with pytest.raises(DataError, match="exactly once"):
        Careless().select(make_pool(10), 3)


def test_a_method_from_outside_is_named_by_its_dotted_path() -> None:
    assert find_selector(f"{__name__}:Careless") is Careless
    for wrong in (f"{__name__}:Nothing", "no_such_module:X", "json:dumps"):
        with pytest.raises(RecipeError):
            find_selector(wrong)


def test_a_misspelt_method_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'random'"):
        find_selector("randon")


def test_the_blocks_that_rows_are_worked_on_in_leave_no_trace(
    selector: Selector, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(400)
    whole = selector.select(pool, "11%", 3)
    monkeypatch.setattr("smalltolarge.selection.sampling._BLOCK", 7)
    in_blocks = selector.select(pool, "11%", 3)
    assert np.array_equal(whole.keys, in_blocks.keys)
    assert np.array_equal(whole.order, in_blocks.order)


def test_equal_keys_are_ordered_by_id() -> None:
    keys = np.array([5, 5, 1], dtype=np.uint64)
    assert order_by_key(keys, np.array([b"b", b"a", b"c"])).tolist() == [2, 1, 0]
    ids = make_pool(500).ids
    keys = np.random.default_rng(0).integers(0, 100, len(ids), dtype=np.uint64)
    by_key_and_id = sorted(range(len(ids)), key=lambda row: (keys[row], ids[row]))
    assert order_by_key(keys, ids).tolist() == by_key_and_id


@pytest.mark.parametrize("sources", [None, [None] * 30])
def test_stratifying_without_any_source_says_how_to_name_one(sources: list[None] | None) -> None:
    pool = replace(make_pool(30), sources=sources)
    with pytest.raises(DataError, match="no source column.*--columns source=COLUMN"):
        S2L(clusters=2, stratify="source").select(pool, 5)


@pytest.mark.parametrize("text", ["1,5%", "1,5K", "1_5", "1,00", "1000,000", "1,,000", ",100"])
def test_a_comma_or_underscore_parts_groups_of_three_digits_alone(text: str) -> None:
    with pytest.raises(RecipeError, match="is needed"):
        Budget.parse(text)
    assert Budget.parse("1,234,567").amount == Budget.parse("1_234_567").amount == 1_234_567


@pytest.mark.parametrize(("wrong", "share"), [(10.0, "10%"), (0.11, "11%"), (1e9, "11%")])
def test_a_fraction_is_no_budget_and_the_answer_writes_it_as_a_share(
    wrong: float, share: str
) -> None:
    with pytest.raises(RecipeError, match=rf'share is a text with % \("{share}"'):
        Random().select(make_pool(30), wrong)  # type: ignore[arg-type]


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    pool = make_pool(30)
    mine = Random().select(pool, np.int64(10), np.int64(3))
    assert np.array_equal(mine.indices, Random().select(pool, 10, 3).indices)
    assert type(mine.seed) is int
    with pytest.raises(RecipeError, match="seed is 1.5"):
        Random().select(pool, 10, 1.5)  # type: ignore[arg-type]
