"""Differences of arms that answered the same questions: intervals and p-values that hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalltolarge.runs.paired import Difference, holm, quantile, tail


@settings(deadline=None)
@given(st.floats(0, 10), st.floats(1, 1e4))
def test_the_tails_of_students_t_are_scipys(t: float, freedom: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert tail(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-5, abs=1e-300)


@pytest.mark.parametrize("freedom", [1, 1.7, 2, 4.2, 30, 1e3, 1e9])
def test_the_quantile_of_students_t_is_scipys(freedom: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=5e-4)


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=40), st.booleans())
def test_one_seed_or_one_number_a_seed_is_a_paired_t_test(
    differences: list[float], over_questions: bool
) -> None:
    stats = pytest.importorskip("scipy.stats")
    if np.std(differences) < 1e-6:
        return
    given = np.array(differences)
    found = Difference.of([given[None, None] if over_questions else given[None, :, None]])
    theirs = stats.ttest_1samp(differences, 0)
    interval = theirs.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-3)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-5, abs=1e-12)
    assert found.covers == (("questions",) if over_questions else ("seeds",))


@pytest.mark.parametrize(
    ("seeds", "sizes", "of_seeds"),
    [(1, (80,), 0.0), (2, (80,), 0.0), (3, (80,), 0.0), (3, (60, 30), 0.3), (5, (300,), 0.3)],
)
def test_two_arms_that_are_alike_are_seldom_told_apart(
    seeds: int, sizes: tuple[int, ...], of_seeds: float
) -> None:
    rng = np.random.default_rng(0)
    differ = 0
    for _ in range(400):
        luck = rng.normal(0, of_seeds, (2, seeds, 1))
        tasks = []
        for size in sizes:
            # Questions are hard or easy for both, and differ by chance in which arm they suit.
            logits = rng.normal(-0.5, 1.5, size) + rng.normal(0, 0.5, (2, 1, size)) + luck
            right = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
            tasks.append((right[0] * 1.0 - right[1])[None])
        differ += Difference.of(tasks).p < 0.05
    assert differ <= 36  # 20 are expected, and 33 or fewer in 998 of 1,000 cases


def test_pairs_see_what_means_with_their_own_errors_do_not() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.5  # the same questions are hard for both
    first = np.where(rng.random(400) < 0.05, True, hard)
    found = Difference.of([(first * 1.0 - hard)[None, None]])
    unpaired = math.sqrt(first.var() / 400 + hard.var() / 400)
    assert found.p < 0.01 and abs(found.mean) / unpaired < 1


def test_proxies_that_differ_make_the_interval_wider() -> None:
    rng = np.random.default_rng(0)
    answers = (rng.random((2, 3, 200)) < 0.6) * 1.0 - (rng.random((1, 3, 200)) < 0.5)
    answers[1, :, :30] = -1
    both, averaged = Difference.of([answers]), Difference.of([answers.mean(0, keepdims=True)])
    assert both.covers == ("proxies", "seeds", "questions")
    assert both.mean == pytest.approx(averaged.mean)
    assert both.high - both.low > 2 * (averaged.high - averaged.low)


def test_what_nothing_is_known_of_has_no_interval() -> None:
    one = Difference.of([np.ones((1, 1, 1))])
    assert (one.low, one.high) == (-math.inf, math.inf) and not one.is_known
    same = Difference.of([np.zeros((1, 2, 5))])
    assert (same.low, same.high, same.p) == (0, 0, 1)


def test_p_values_are_corrected_as_holm_has_it() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.02, math.nan, 0.9])[0] == pytest.approx(0.04)
    assert holm([0.9, 0.8]) == [1.0, 1.0]
