"""The table of a comparison: means, intervals, verdicts, and what it takes to break even."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalltolarge.errors import IntegrityError
from smalltolarge.report.comparison import to_csv, to_markdown
from smalltolarge.runs.outcomes import Arm, ArmResult, Row, Table, tabulate, wilson


def result(
    method: str,
    seed: int,
    scores: Sequence[float] = (1, 0),
    budget: str = "11%",
    flops: float = 1.0,
    **changes: object,
) -> ArmResult:
    return replace(
        ArmResult(
            arm=Arm(method, budget, seed, "epochs"),
            rows=10,
            steps=3,
            tokens=100,
            flops=flops,
            seconds=flops,
            seconds_selecting=0.1,
            seconds_evaluating=1.0,
            train_loss=2.0,
            scores={"task": list(scores)},
            unanswered={"task": 0},
            truncated={"task": 0},
            losses={},
        ),
        **changes,  # type: ignore[arg-type]
    )


def table_of(*results: ArmResult, proxy: float = 6.0) -> Table:
    return tabulate(results, {"s2l": ""}, {"": {"flops": proxy, "seconds": proxy}})


def row_of(table: Table, method: str) -> Row:
    return next(row for row in table.rows if row.method == method)


def test_one_seed_gives_an_interval_over_the_questions_and_no_verdict() -> None:
    better = [1] * 40 + [0]
    table = table_of(
        result("full", 0, better), result("s2l", 0, better), result("random", 0, [0] * 41)
    )
    row = row_of(table, "s2l")
    assert row.to_random is not None and row.to_random.covers == ("questions",)
    assert row.verdict == "one seed: not known"
    json.dumps(table.to_plain(), allow_nan=False)


def test_a_method_beats_random_only_where_chance_hardly_would() -> None:
    rng = np.random.default_rng(0)

    def answers(share: float) -> list[int]:
        return [int(draw < share) for draw in rng.random(60)]

    shares = {"random": (0.5,) * 3, "always": (0.9,) * 3, "never": (0.1,) * 3,
              "sometimes": (0.9, 0.1, 0.5)}  # fmt: skip
    table = table_of(
        *(result(name, seed, answers(share[seed])) for name, share in shares.items()
          for seed in range(3))
    )  # fmt: skip
    verdicts = {row.method: row.verdict for row in table.rows}
    assert verdicts == {
        "random": "",
        "always": "beats random",
        "sometimes": "does not beat random",
        "never": "worse than random",
    }
    assert table.comparisons == 3
    assert "for the 3 comparisons with random in this table" in to_markdown(table)


def test_a_verdict_is_harder_to_get_among_many_methods() -> None:
    rng = np.random.default_rng(1)
    scores = {name: rng.random((3, 50)) < 0.5 for name in ("random", *"abcdefghij")}
    first = scores["random"] | (rng.random((3, 50)) < 0.15)

    def verdict(*others: str) -> tuple[str, float]:
        arms = {"random": scores["random"], "s2l": first, **{name: scores[name] for name in others}}
        table = table_of(
            *(result(name, seed, found.astype(float).tolist()) for name, many in arms.items()
              for seed, found in enumerate(many))
        )  # fmt: skip
        row = row_of(table, "s2l")
        assert row.to_random is not None
        assert row.to_random.corrected == pytest.approx(row.to_random.p * table.comparisons)
        return row.verdict, row.to_random.p

    alone, among = verdict(), verdict(*"abcdefghij")
    assert alone == ("beats random", among[1])
    assert among[0] == "does not beat random"


def test_differences_are_between_arms_of_one_seed() -> None:
    # Seeds differ much, methods always by one question: pairs see it, averages would not.
    table = table_of(
        *(result("random", seed, [1] * seed + [0] * (10 - seed)) for seed in (1, 5, 8)),
        *(result("s2l", seed, [1] * (seed + 1) + [0] * (9 - seed)) for seed in (1, 5, 8)),
    )
    found = row_of(table, "s2l").to_random
    assert found is not None
    assert found.mean == pytest.approx(0.1)
    error = np.std([1 / 3] * 3 + [0] * 7, ddof=1) / math.sqrt(10)  # over the questions
    assert (found.low, found.high) == pytest.approx(
        (0.1 - 2.262 * error, 0.1 + 2.262 * error), 1e-3
    )


def test_a_difference_is_a_point_only_where_no_question_differs() -> None:
    full = [result("full", seed, budget="100%") for seed in range(2)]
    same = table_of(
        *full,
        *(result("random", seed) for seed in range(2)),
        *(result("s2l", seed) for seed in range(2)),
        *(result("other", seed, [0, 1]) for seed in range(2)),  # as many right, others
    )
    alike, other = (row_of(same, name).to_random for name in ("s2l", "other"))
    assert alike is not None and (alike.low, alike.high) == (0, 0)
    assert other is not None and other.low < 0 < other.high
    assert "| no difference |" in to_markdown(same)
    one = [result(name, seed, [score]) for name, score in [("random", 0), ("s2l", 1)]
           for seed in range(2)]  # fmt: skip
    assert row_of(table_of(*one), "s2l").verdict == "does not beat random"


def test_failed_programs_stand_in_the_table_by_kind() -> None:
    failed = {"task": {"SyntaxError": 1}, "other": {"too slow": 2, "SyntaxError": 3}}
    table = table_of(
        result("full", 0, budget="100%"), result("s2l", 0, failed_programs=failed),
        result("s2l", 1, failed_programs=failed), result("random", 0),
    )  # fmt: skip
    assert row_of(table, "s2l").failed_programs == {"SyntaxError": 8, "too slow": 4}
    assert "| 8 SyntaxError, 4 too slow |" in to_markdown(table)
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(to_csv(table)))}
    assert (rows["s2l"]["failed_programs"], rows["random"]["failed_programs"]) == ("12", "0")
    assert "failed programs" not in to_markdown(table_of(result("full", 0), result("random", 0)))


def test_standard_errors_are_over_questions_each_averaged_over_seeds() -> None:
    table = table_of(result("random", 0, [1, 0, 1, 1]), result("random", 1, [0, 0, 1, 1]))
    (row,) = table.rows
    questions = np.array([0.5, 0, 1, 1])
    assert row.main.mean == pytest.approx(questions.mean())
    assert row.main.error == pytest.approx(questions.std(ddof=1) / 2)


@settings(deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_share_is_wilsons_and_never_a_point(counts: tuple[int, int]) -> None:
    right, n = counts
    stats = pytest.importorskip("scipy.stats")
    low, high = wilson(right / n, n)
    theirs = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-5)
    assert 0 <= low <= right / n <= high <= 1
    assert low < high


def test_a_suite_that_full_does_not_learn_is_said_to_tell_nothing_apart() -> None:
    def scored(method: str, seed: int, easy: int, hard: int, budget: str) -> ArmResult:
        scores = {"easy": [1.0] * easy + [0.0] * (60 - easy), "hard": [1.0] * hard + [0.0] * 60}
        return replace(result(method, seed, budget=budget), scores=scores)

    def table(easy: int) -> Table:
        return table_of(
            scored("untuned", 0, 5, 1, "0%"),
            *(scored("full", seed, easy + seed, 1, "100%") for seed in range(3)),
            *(scored("random", seed, 20 + seed, 1, "11%") for seed in range(3)),
        )

    learned = table(50)
    assert learned.floors == {"epochs": ("hard",)}
    assert "full is within the error of the untuned model on hard (" in to_markdown(learned)
    assert table(5).floors == {"epochs": ("easy", "hard", "mean")}
    assert row_of(learned, "untuned").to_random is None
    assert learned.comparisons == 0


def test_none_right_is_shown_with_what_it_leaves_open() -> None:
    full = result("full", 0, [1] * 100, budget="100%")
    none = table_of(full, result("random", 0, [0] * 100), result("random", 1, [0] * 100))
    assert "| random | 0.0 [0.0, 3.7] | 0.0 [0.0, 3.7] |" in to_markdown(none)
    two = {"large": [1.0] * 60, "small": [1.0] * 60}
    every = table_of(replace(full, scores=two), replace(result("random", 0), scores=two))
    assert "| random | 100.0 [94.0, 100.0] | 100.0 [94.0, 100.0] | 100.0 [96.9, 100.0] |" in (
        to_markdown(every)
    )


def test_scores_that_are_no_shares_have_their_standard_error() -> None:
    full = result("full", 0, [0.5] * 4, budget="100%")
    summaries = table_of(full, result("random", 0, [0.2, 0.4, 0.3, 0.5]))
    assert "| random | 35.0 ± 6.5 | 35.0 ± 6.5 |" in to_markdown(summaries)


def test_the_proxy_is_paid_for_by_what_the_subset_saves() -> None:
    table = table_of(
        result("full", 0, budget="100%", flops=10), result("s2l", 0, flops=7), result("random", 0)
    )
    assert row_of(table, "s2l").break_even == pytest.approx(6 / (10 - 7))
    assert row_of(table, "random").break_even == 0
    dear = table_of(result("full", 0, budget="100%", flops=10), result("s2l", 0, flops=10))
    assert row_of(dear, "s2l").break_even is None
    assert "never" in to_markdown(dear)


def test_the_compute_multiplier_is_of_the_training_of_random_at_its_budgets() -> None:
    def scored(method: str, seed: int, right: int, tokens: int, budget: str) -> ArmResult:
        scores = [1.0] * right + [0.0] * (100 - right)
        return result(method, seed, scores, budget=budget, tokens=tokens)

    arms = [("full", 90, 1600, "100%"), ("random", 30, 100, "5%"), ("random", 50, 200, "11%"),
            ("s2l", 50, 100, "5%"), ("s2l", 95, 200, "11%")]  # fmt: skip
    results = [
        scored(method, seed, right, tokens, budget)
        for method, right, tokens, budget in arms for seed in range(2)
    ]  # fmt: skip
    table = table_of(*results)
    found = {(row.method, row.budget): row.multiplier for row in table.rows if row.multiplier}
    assert found.keys() == {("s2l", "5%"), ("s2l", "11%")}
    assert found["s2l", "5%"].value == pytest.approx(2)
    assert "| >=8.00x [" in to_markdown(table) and "| 2.00x [" in to_markdown(table)
    rows = [row for row in csv.DictReader(io.StringIO(to_csv(table))) if row["method"] == "s2l"]
    assert [row["compute_multiplier_bound"] for row in rows] == ["", ">="]
    one_budget = table_of(*(one for one in results if one.arm.budget != "5%"))
    assert "compute multiplier" not in to_markdown(one_budget)
    steps = [replace(one, arm=replace(one.arm, equal="steps")) for one in results]
    assert not table_of(*steps).has_multipliers


def test_without_tasks_the_lower_balanced_loss_is_better() -> None:
    def losing(method: str, seed: int, loss: float) -> ArmResult:
        losses = {"held-out": {"frequent": [9.0] * 9, "rare": [2 * loss - 9.0]}}
        return replace(result(method, seed), scores={}, unanswered={}, truncated={}, losses=losses)

    table = table_of(
        *(losing("random", seed, 2.0 + seed / 100) for seed in range(3)),
        *(losing("s2l", seed, 1.9 + seed / 90) for seed in range(3)),
        *(losing("worse", seed, 2.2 + seed / 90) for seed in range(3)),
    )
    assert table.measure == "loss"
    assert row_of(table, "s2l").verdict == "beats random"
    assert row_of(table, "worse").verdict == "worse than random"
    assert "lower is better" in to_markdown(table)


@given(
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=5), min_size=1, max_size=3),
    st.integers(0, 2**32 - 1),
)
def test_held_out_rows_are_paired_and_every_source_counts_the_same(
    sizes: list[list[int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)

    def losing(method: str, loss: float) -> ArmResult:
        losses = {
            f"data-{place}": {
                f"source-{source}": (loss + rng.random(rows)).tolist()
                for source, rows in enumerate(of_sources)
            }
            for place, of_sources in enumerate(sizes)
        }
        return result(method, 0, losses=losses)

    def balanced(one: ArmResult) -> float:
        return float(
            np.mean([np.mean([np.mean(rows) for rows in x.values()]) for x in one.losses.values()])
        )

    random, chosen = losing("random", 2.0), losing("s2l", 1.5)
    found = row_of(table_of(random, chosen), "s2l").besides["loss"]
    assert found.mean == pytest.approx(balanced(chosen) - balanced(random))
    single = [of_sources.count(1) == 1 for of_sources in sizes]
    several = any(max(of_sources) > 1 or of_sources.count(1) > 1 for of_sources in sizes)
    assert found.is_known == several and (not several or found.covers == ("questions",))
    if several and not any(single):
        assert found.low < found.mean < found.high
    without = [replace(one, scores={}, unanswered={}, truncated={}) for one in (random, chosen)]
    row = row_of(table := table_of(*without), "s2l")
    assert row.to_random is not None and row.to_random.mean == found.mean
    first, second = (
        [np.mean([*itertools.chain(*rows.values())]) for rows in one.losses.values()]
        for one in (chosen, random)
    )
    assert row.besides["all rows"].mean == pytest.approx(np.mean(first) - np.mean(second))
    assert not several or "over the held-out rows" in to_markdown(table)
    assert "loss to random" in to_markdown(table_of(random, chosen))


def test_markdown_and_csv_have_every_row() -> None:
    table = table_of(
        result("full", 0, budget="100%"), result("s2l", 0), result("random", 0),
        result("s2l", 0, budget="5%"), result("random", 0, budget="5%"),
    )  # fmt: skip
    markdown = to_markdown(table)
    assert markdown.index("Budget 11%") < markdown.index("Budget 5%")
    assert markdown.count("| full |") == 4
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [(row["budget"], row["method"]) for row in rows] == [
        ("100%", "full"), ("11%", "s2l"), ("11%", "random"), ("5%", "s2l"), ("5%", "random"),
    ]  # fmt: skip


def test_a_result_is_read_back_as_it_was_written() -> None:
    before = result("s2l", 3)
    assert ArmResult.from_plain(json.loads(json.dumps(before.to_plain()))) == before
    with pytest.raises(IntegrityError, match="not the result of an arm"):
        ArmResult.from_plain({"arm": {"method": "s2l"}})


@pytest.mark.parametrize("budget", ["11%", "0.5%", "30K", "30_000"])
def test_the_name_of_an_arm_is_a_plain_file_name(budget: str) -> None:
    name = Arm("s2l-by-source", budget, 2**64 - 1, "epochs").name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")
    assert Arm("s2l", "0.5%", 0, "epochs").name != Arm("s2l", "5%", 0, "epochs").name
