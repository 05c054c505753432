"""What each selection method claims of its own; what all must keep to is in test_selection.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import smalltolarge
from smalltolarge.errors import DataError, RecipeError
from smalltolarge.selection import (
    IFD,
    S2L,
    SELECTORS,
    ConfidenceCurriculum,
    HighLearnability,
    LeastConfidence,
    Longest,
    MiddlePerplexity,
    Pool,
    Random,
    RandomByLength,
    RandomBySource,
    Selector,
    Variability,
)
from smalltolarge.selection.s2l import _changes, _standardised
from smalltolarge.selection.sampling import matched_order
from smalltolarge.trajectories import Trajectories
from tests.conftest import Cli
from tests.test_selection import algorithm_1, chosen, labels_by_id, make_pool, shuffled


def with_losses(losses: Any, steps: Any = None, **evidence: Any) -> Pool:
    """Make a pool of given losses, at steps 0, 1, ... where no others are given."""
    table = np.asarray(losses, dtype=np.float32)
    ids = np.array([b"%03d" % row for row in range(len(table))])
    steps = np.arange(table.shape[1]) if steps is None else np.asarray(steps)
    return Pool(ids=ids, trajectories=Trajectories(table, steps, ids), **evidence)


def ranked(selector: Selector, pool: Pool) -> list[int]:
    order: list[int] = selector.select(pool, 1).order.tolist()
    return order


# Methods without a model


def test_every_source_gives_the_same_or_all_it_has() -> None:
    pool = make_pool(600, sources=6)
    assert pool.sources is not None
    few = {"source 1": 7, None: 30}
    counts: dict[str | None, int] = {}
    rows = []
    for row, source in enumerate(pool.sources):
        counts[source] = counts.get(source, 0) + 1
        if counts[source] <= few.get(source, 10**6):
            rows.append(row)
    small = Pool(ids=pool.ids[rows], sources=[pool.sources[row] for row in rows])
    taken = [rows[i] for i in RandomBySource().select(small, 200).indices]
    found = sorted([pool.sources[row] for row in taken].count(s) for s in counts)
    sizes = sorted([pool.sources[row] for row in rows].count(s) for s in counts)
    assert found == algorithm_1(sizes, 200)
    assert found[0] == 7


def test_without_any_source_random_by_source_says_how_to_name_one() -> None:
    with pytest.raises(DataError, match="'random-by-source' splits by.*--columns source=COLUMN"):
        RandomBySource().select(replace(make_pool(30), sources=[None] * 30), 5)


@settings(max_examples=60, deadline=None)
@given(bins=st.integers(1, 12), n=st.integers(80, 300), data=st.data())
def test_every_length_bin_is_within_one_row_of_its_share(
    bins: int, n: int, data: st.DataObject
) -> None:
    budget = data.draw(st.integers(1, n))
    lengths = np.random.default_rng(n).permutation(n)
    rows = matched_order(lengths, np.random.default_rng(bins).permutation(n), bins)[:budget]
    which = lengths * bins // n
    taken = np.bincount(which[rows], minlength=bins)
    share = budget * np.bincount(which, minlength=bins) / n
    assert np.abs(taken - share).max() <= 1


def test_random_by_length_matches_the_lengths_of_the_data_closer_than_random_does() -> None:
    rng = np.random.default_rng(0)
    pool = replace(make_pool(3000), lengths=np.exp(rng.normal(5, 1, 3000)).astype(np.int64))
    assert pool.lengths is not None
    levels = np.linspace(0.02, 0.98, 49)

    def distance(rows: np.ndarray) -> float:
        assert pool.lengths is not None
        cuts = np.quantile(pool.lengths, levels)
        return float(np.abs((pool.lengths[rows, None] <= cuts).mean(axis=0) - levels).max())

    ours = [distance(RandomByLength().select(pool, 150, s).indices) for s in range(20)]
    drawn = [distance(rng.choice(3000, 150, replace=False)) for _ in range(20)]
    assert max(ours) < min(drawn)


def test_equally_long_rows_are_drawn_at_random() -> None:
    pool = replace(make_pool(300), lengths=np.full(300, 7))
    assert chosen(pool, RandomByLength(), 30, 1) != chosen(pool, RandomByLength(), 30, 2)
    assert chosen(pool, Longest(), 30, 1) != chosen(pool, Longest(), 30, 2)


def test_longest_takes_the_longest() -> None:
    pool = make_pool(300)
    assert pool.lengths is not None
    taken = pool.lengths[Longest().select(pool, 40).indices]
    assert sorted(taken) == sorted(pool.lengths)[-40:]


def test_lengths_are_the_characters_of_all_assistant_turns(tmp_path: Path) -> None:
    turns = [("user", "abc"), ("assistant", "déf"), ("user", "gh"), ("assistant", "🙂!")]
    rows: list[list[tuple[str, str]]] = [turns, turns[:2], [("system", "x" * 9), *turns[:2]]]
    file = tmp_path / "rows.jsonl"
    lines = (json.dumps({"messages": [{"role": r, "content": c} for r, c in row]}) for row in rows)
    file.write_text("".join(line + "\n" for line in lines))
    examples = smalltolarge.load(str(file))
    assert examples.lengths().tolist() == [5, 3, 3]
    assert examples.without({0: "short"}).lengths().tolist() == [3, 3]
    assert examples.without({0: "a", 1: "a", 2: "a"}).lengths().tolist() == []


@pytest.mark.parametrize("method", ["longest", "random-by-length"])
def test_a_choice_by_length_is_verified_from_the_run_folder(
    method: str, data: Path, s2l: Cli, tmp_path: Path
) -> None:
    s2l("select", data, "--method", method, "--budget", 30, "--out", "few.jsonl", "--run", "run")
    table = smalltolarge.Run.open(tmp_path / "run").selection()
    assert table["length"].to_pylist() == smalltolarge.load(str(data)).lengths().tolist()
    assert "the subset chosen again: the same rows" in s2l("verify", "run").stdout


# Methods by loss


def test_least_confidence_takes_the_highest_losses_at_its_reference() -> None:
    losses = [[9, 1, 5, 2], [8, 4, 6, 3], [7, 2, 7, 1], [6, 3, 8, 4]]
    assert ranked(LeastConfidence(), with_losses(losses)) == [3, 1, 0, 2]
    assert ranked(LeastConfidence(reference="early"), with_losses(losses)) == [1, 3, 2, 0]


def test_early_is_the_first_checkpoint_after_step_0() -> None:
    losses = [[1, 5, 0], [5, 1, 0]]
    early = LeastConfidence(reference="early")
    assert ranked(early, with_losses(losses, steps=[0, 3, 4])) == [0, 1]
    assert ranked(early, with_losses(losses, steps=[2, 3, 4])) == [1, 0]
    assert ranked(early, with_losses(np.array(losses)[:, :1], steps=[0])) == [1, 0]


@given(n=st.integers(1, 40), data=st.data())
def test_middle_perplexity_takes_a_band_with_as_many_below_as_above(
    n: int, data: st.DataObject
) -> None:
    losses = np.random.default_rng(n).permutation(n)[:, None] ** 2
    budget = data.draw(st.integers(1, n))
    rows = MiddlePerplexity().select(with_losses(losses), budget).indices
    taken = np.sort(losses[rows, 0])
    below, above = (losses < taken[0]).sum(), (losses > taken[-1]).sum()
    assert below + above + budget == n  # no gap
    assert abs(int(below) - int(above)) <= 1


def test_high_learnability_takes_the_largest_fall_from_the_first_checkpoint() -> None:
    losses = [[9, 8, 5], [5, 1, 2], [7, 6, 1], [1, 1, 3]]
    assert ranked(HighLearnability(), with_losses(losses)) == [2, 0, 1, 3]
    assert ranked(HighLearnability(reference="early"), with_losses(losses))[0] == 1


@pytest.mark.parametrize(
    ("reference", "steps"), [("late", [0]), ("late", [9]), ("early", [1, 2, 3])]
)
def test_high_learnability_refuses_a_reference_that_is_its_own_beginning(
    reference: Literal["early", "late"], steps: list[int]
) -> None:
    pool = with_losses(np.random.default_rng(0).random((5, len(steps))), steps)
    with pytest.raises(DataError, match=f"step {steps[0]}, would be both"):
        HighLearnability(reference=reference).select(pool, 2)


def test_variability_takes_the_ambiguous_and_leaves_the_easy_and_the_hard() -> None:
    easy, hard = [9, 0.1, 0.11, 0.1], [9, 5, 5.1, 4.9]
    learned, wavering = [9, 3, 1, 0.2], [9, 0.5, 2, 0.4]
    order = ranked(Variability(), with_losses([easy, hard, learned, wavering]))
    assert set(order[:2]) == {2, 3}
    expected = np.exp(-np.array([easy, hard, learned, wavering])[:, 1:]).std(axis=1)
    assert order == np.argsort(-expected).tolist()


def test_variability_does_not_count_step_0() -> None:
    losses = np.random.default_rng(0).random((50, 4)) * 3
    other = losses.copy()
    other[:, 0] = 1
    assert ranked(Variability(), with_losses(losses)) == ranked(Variability(), with_losses(other))
    with pytest.raises(DataError, match="two or more checkpoints after step 0, found 1"):
        Variability().select(with_losses(losses[:, :2]), 3)


def test_ifd_takes_the_highest_ratio_below_1_and_the_rest_last() -> None:
    late = [1.0, 1.8, 0.1, 2.0, 3.0, 0.0, 1.0]
    alone = [2.0, 2.0, 2.0, 2.0, 2.0, 0.0, 0.0]
    pool = with_losses(
        np.column_stack([np.full(7, 9), late]), losses_alone=np.array(alone, dtype=np.float32)
    )
    order = ranked(IFD(), pool)
    assert order[:5] == [1, 0, 2, 3, 4]  # 0.9, 0.5, 0.05; then 1.0, 1.5
    assert set(order[5:]) == {5, 6}  # without a loss there is no ratio


def test_ifd_refuses_losses_that_are_not_finite() -> None:
    alone = np.array([1, np.nan, 1], dtype=np.float32)
    with pytest.raises(DataError, match="losses_alone has values that are not finite"):
        IFD().select(with_losses(np.ones((3, 2)), losses_alone=alone), 1)


def test_the_curriculum_goes_from_low_to_high_loss_at_its_reference() -> None:
    pool = make_pool(300)
    assert pool.trajectories is not None
    for reference, column in (("early", 1), ("late", -1)):
        selection = ConfidenceCurriculum(reference=reference).select(pool, 60)  # type: ignore[arg-type]
        assert selection.sequence is not None
        losses = pool.trajectories.losses[:, column]
        assert np.all(np.diff(losses[np.argsort(selection.sequence)]) >= 0)
        rows = selection.indices[np.argsort(selection.sequence[selection.indices])]
        assert np.all(np.diff(losses[rows]) >= 0)


def test_the_curriculum_has_easy_and_hard_rows_alike() -> None:
    pool = make_pool(1000, seed=3)
    assert pool.trajectories is not None
    losses = pool.trajectories.losses[:, -1]
    rank = np.argsort(np.argsort(losses))
    taken = rank[ConfidenceCurriculum(bins=10).select(pool, 100).indices]
    assert np.bincount(taken // 100).tolist() == [10] * 10


@pytest.mark.parametrize("kind", [RandomByLength, ConfidenceCurriculum])
def test_bins_below_one_are_refused(kind: Any) -> None:
    with pytest.raises(RecipeError, match="bins is 0"):
        kind(bins=0)


# All of them


PRINT_ORDERS = """
import hashlib, numpy as np
from smalltolarge.selection import SELECTORS, Pool
from smalltolarge.trajectories import Trajectories
rng = np.random.default_rng(5)
n, t, d = 5_000, 12, 96
ids = np.array([b"%032x" % i for i in range(n)])
losses = rng.gamma(2, 1, (n, 1)) * np.exp(-rng.random((n, 1)) * np.linspace(0, 2, t))
pool = Pool(
    ids=ids,
    trajectories=Trajectories(losses, np.arange(t), ids),
    embeddings=rng.normal(1, 1, (n, d)).astype(np.float32),
    sources=[str(i % 7) for i in range(n)],
    lengths=rng.integers(1, 900, n),
    losses_alone=(losses[:, -1] * rng.uniform(0.9, 2, n)).astype(np.float32),
)
for name, kind in SELECTORS.items():
    print(name, hashlib.sha256(kind().select(pool, 1, 3).order.tobytes()).hexdigest())
s2l = SELECTORS["s2l"](standardise=True, inside="stable", part="last")
print(hashlib.sha256(s2l.select(pool, 1, 3).order.tobytes()).hexdigest())
"""


def test_threads_and_processor_change_no_order() -> None:
    found = set()
    for change in (
        {"OMP_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "3", "OPENBLAS_CORETYPE": "Prescott"},
        {"NPY_DISABLE_CPU_FEATURES": "AVX2 AVX512F AVX512_SKX FMA3", "FAISS_SIMD_LEVEL": "NONE"},
    ):
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PRINT_ORDERS],
            env={**os.environ, **change},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        found.add(run.stdout)
    assert len(found) == 1, found


# Settings of S2L


def clustered(pool: Pool, columns: list[int]) -> Pool:
    assert pool.trajectories is not None
    kept = pool.trajectories
    part = Trajectories(kept.losses[:, columns], kept.steps[columns], kept.ids, kept.n_tokens)
    return replace(pool, trajectories=part)


@pytest.mark.parametrize(
    ("given", "columns"),
    [
        ({"part": "first"}, [0, 1, 2, 3]),
        ({"part": "last"}, [3, 4, 5, 6]),
        ({"every": 2}, [0, 2, 4, 6]),
        ({"every": 3}, [0, 3, 6]),
        ({"every": 4}, [2, 6]),
        ({"part": "first", "every": 2}, [1, 3]),
        ({"every": 99}, [6]),
    ],
)
def test_checkpoints_left_out_have_no_part_in_the_choice(
    given: dict[str, Any], columns: list[int]
) -> None:
    pool = make_pool(300, t=7)
    ours = S2L(clusters=9, **given).select(pool, "20%")
    same = S2L(clusters=9).select(clustered(pool, columns), "20%")
    assert np.array_equal(ours.order, same.order)
    assert not np.array_equal(ours.order, S2L(clusters=9).select(pool, "20%").order)


def test_standardised_every_checkpoint_counts_alike() -> None:
    losses = np.random.default_rng(0).gamma(2, [3, 1, 0.1], (1000, 3)).astype(np.float32)
    found = _standardised(losses)
    assert np.allclose(found.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(found.std(axis=0), 1, atol=1e-5)
    order = np.random.default_rng(1).permutation(1000)
    assert np.array_equal(_standardised(losses[order]), found[order])
    assert not _standardised(np.full((9, 2), 1.1, dtype=np.float32)).any()
    pool = with_losses(losses * [128, 1, 1])
    ours = S2L(clusters=9, standardise=True)
    assert labels_by_id(pool, ours) == labels_by_id(with_losses(losses), ours)


@pytest.mark.parametrize("stratify", [None, "source"])
def test_stable_rows_come_first_inside_their_clusters(stratify: Any) -> None:
    pool = make_pool(400)
    assert pool.trajectories is not None
    selection = S2L(clusters=5, inside="stable", stratify=stratify).select(pool, "30%")
    changes = np.abs(np.diff(pool.trajectories.losses.astype(np.float64), axis=1)).sum(axis=1)
    assert np.allclose(changes, _changes(pool.trajectories.losses))
    assert selection.labels is not None
    drawn = S2L(clusters=5, stratify=stratify).select(pool, "30%")
    assert drawn.labels is not None
    assert np.array_equal(selection.labels, drawn.labels)
    assert np.array_equal(selection.labels[selection.order], drawn.labels[drawn.order])
    for label in range(selection.labels.max() + 1):
        mine = selection.order[selection.labels[selection.order] == label]
        assert np.all(np.diff(changes[mine]) >= 0)


def test_stability_needs_two_checkpoints() -> None:
    with pytest.raises(DataError, match="only one is clustered"):
        S2L(inside="stable", every=9).select(make_pool(50), 5)


@pytest.mark.parametrize("stratify", [None, "source"])
@pytest.mark.parametrize("part", ["all", "first"])
def test_no_setting_makes_the_order_of_the_input_matter(stratify: Any, part: Any) -> None:
    pool = make_pool(400)
    selector = S2L(clusters=9, stratify=stratify, part=part, standardise=True, inside="stable")
    for seed in range(3):
        assert chosen(shuffled(pool, seed), selector, 80) == chosen(pool, selector, 80)


# Columns of the subset


@settings(max_examples=40, deadline=None)
@given(
    method=st.sampled_from(sorted(SELECTORS)),
    b=st.integers(1, 200),
    balance=st.sampled_from([0.0, 0.5, 1.0]),
    stratify=st.sampled_from([None, "source"]),
    slope=st.sampled_from([None, 0.0, 0.03]),
)
def test_weights_stand_for_all_rows_of_every_group_that_gave_some_and_order_is_by_the_last_loss(
    method: str, b: int, balance: float, stratify: Any, slope: Any
) -> None:
    pool = falling(200, 4, 0)
    assert pool.trajectories is not None
    selector = SELECTORS[method]()
    if isinstance(selector, S2L):
        selector = S2L(clusters=6, balance=balance, stratify=stratify, prune_slope=slope)
    if isinstance(selector, RandomBySource):
        selector = RandomBySource(balance=balance)
    wanted: Any = ["order", "weight"] if selector.is_random else ["order"]
    found = selector.select(pool, b, add_columns=wanted)
    assert np.array_equal(found.order, selector.select(pool, b).order)
    place = found.columns["s2l_order"]
    assert sorted(place.tolist()) == list(range(b))
    if found.sequence is None:
        losses = pool.trajectories.losses[found.indices, -1]
        assert np.all(np.diff(losses[np.argsort(place)]) >= 0)
    if not selector.is_random:
        with pytest.raises(RecipeError, match=f"method {method} draws nothing at random"):
            selector.select(pool, b, add_columns=["weight"])
        return
    groups = np.zeros(200, dtype=int) if found.labels is None else found.labels
    if method == "random-by-source":
        groups = np.unique([str(source) for source in pool.sources or ()], return_inverse=True)[1]
    weights = found.columns["s2l_weight"]
    for group in range(groups.max() + 1):
        of_group = weights[groups[found.indices] == group]
        assert np.unique(of_group).size <= 1
        assert not of_group.size or np.isclose(of_group.sum(), (groups == group).sum())


def test_weighted_a_draw_is_right_on_average_about_all_rows() -> None:
    pool = make_pool(300)
    values = np.random.default_rng(0).gamma(2, 1, 300)
    plain, weighted = [], []
    for seed in range(200):
        found = Random().select(pool, 30, seed, add_columns=["weight"])
        plain.append(found.columns["s2l_weight"] @ values[found.indices])
        by_cluster = RandomBySource(balance=1).select(pool, 60, seed, add_columns=["weight"])
        weighted.append(by_cluster.columns["s2l_weight"] @ values[by_cluster.indices])
    for totals in (plain, weighted):
        error = np.std(totals) / np.sqrt(len(totals))
        assert abs(np.mean(totals) - values.sum()) < 3 * error


def falling(n: int, t: int, seed: int) -> Pool:
    """Heaps of losses, a third of which rise or hardly fall."""
    pool = make_pool(n, t)
    assert pool.trajectories is not None
    slopes = np.random.default_rng(seed).choice([-0.3, -0.05, -0.01, 0.0, 0.02], n)
    losses = pool.trajectories.losses + slopes[:, None] * np.arange(t, dtype=np.float32) + 2
    old = pool.trajectories
    return replace(pool, trajectories=Trajectories(losses, old.steps, old.ids, old.n_tokens))


@settings(max_examples=30, deadline=None)
@given(
    slope=st.floats(0, 0.2),
    stratify=st.sampled_from([None, "source"]),
    t=st.integers(2, 6),
    seed=st.integers(0, 3),
)
def test_rows_that_hardly_fall_come_last_and_the_others_as_if_alone(
    slope: float, stratify: Any, t: int, seed: int
) -> None:
    pool = falling(200, t, seed)
    assert pool.trajectories is not None
    line = np.polyfit(np.arange(t), pool.trajectories.losses.astype(np.float64).T, 1)[0]
    if np.abs(-line - slope).min() < 1e-9:
        return
    pruned = -line < slope
    plain = S2L(clusters=5, stratify=stratify)
    found = replace(plain, prune_slope=slope).select(pool, 50, seed)
    kept = np.flatnonzero(~pruned)
    alone = plain.select(pool.take(kept), 1, seed)
    assert found.pruned == pruned.sum()
    assert np.array_equal(found.order[: len(kept)], kept[alone.order])
    assert np.all(np.diff(-line[found.order[len(kept) :]]) <= 1e-9)
    assert found.labels is not None and alone.labels is not None
    assert np.array_equal(found.labels[kept], alone.labels)
    assert set(found.labels[pruned].tolist()) <= {int(alone.labels.max()) + 1}
    assert found.clusters == alone.clusters
    assert chosen(shuffled(pool, 1), replace(plain, prune_slope=slope), 150, seed) == chosen(
        pool, replace(plain, prune_slope=slope), 150, seed
    )


def test_pruned_at_0_are_those_whose_loss_rises_over_the_checkpoints_that_are_clustered() -> None:
    pool = with_losses([[2, 1, 3], [3, 2, 1], [2, 2, 2], [1, 2, 1.5]])
    assert S2L(clusters=2, prune_slope=0).select(pool, 1).order.tolist()[2:] == [3, 0]
    first = S2L(clusters=2, prune_slope=0, part="first").select(pool, 1)
    assert first.pruned == 1 and first.order[-1] == 3


def test_pruning_that_leaves_nothing_says_how_much_losses_fall() -> None:
    with pytest.raises(DataError, match=r"the most is 1 nats. Give less"):
        S2L(prune_slope=5).select(with_losses([[3, 2, 1], [2, 2, 2]]), 1)
    with pytest.raises(DataError, match="only one is clustered"):
        S2L(prune_slope=0, every=9).select(make_pool(50), 5)


def test_every_below_one_is_refused() -> None:
    with pytest.raises(RecipeError, match="every is 0"):
        S2L(every=0)
