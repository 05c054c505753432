"""The verbs in Python are the verbs of the command line."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

import smalltolarge
from smalltolarge.errors import BudgetError, DataError, RecipeError
from smalltolarge.progress import Watch
from smalltolarge.report.page import facts
from smalltolarge.runs.results import Run
from smalltolarge.selection import S2L, Pool, RandomByLength
from smalltolarge.settings import (
    AskingSettings,
    ModelSettings,
    ProxySettings,
    ReadingSettings,
    ScoringSettings,
    TargetSettings,
)
from smalltolarge.trajectories import Trajectories
from smalltolarge.verbs import keywords

from .conftest import QUICK, Cli

SMALL: dict[str, Any] = {"proxy": "scratch-0.1m", "epochs": 1, "checkpoints": 3, "threads": 1}


def test_python_and_the_command_line_choose_the_same_rows(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    selection = smalltolarge.select(str(data), budget="20%", clusters=5, **SMALL)
    s2l("select", "data.jsonl", "--budget", "20%", "--clusters", "5", *QUICK)
    subset = smalltolarge.load(tmp_path / "subset.jsonl")
    assert selection.examples is not None
    assert set(selection.examples.ids[selection.indices]) == set(subset.ids)
    assert selection.to_dataset()["output"] == [row[1][1] for row in subset.conversations()]


def test_each_stage_is_usable_alone(data: Path, tmp_path: Path) -> None:
    examples = smalltolarge.load(data)
    trajectories = smalltolarge.record(examples, seed=2, run=tmp_path / "proxy", **SMALL)
    assert trajectories.losses.shape == (120, 3)
    trajectories.to_parquet(tmp_path / "t.parquet")
    again = smalltolarge.record(examples, seed=2, run=tmp_path / "proxy", **SMALL)
    assert np.array_equal(again.losses, trajectories.losses)
    from_file = smalltolarge.select(
        data, budget=30, trajectories=tmp_path / "t.parquet", clusters=5, seed=2
    )
    by_hand = S2L(clusters=5).select(Pool.of(examples, trajectories), 30, seed=2)
    assert np.array_equal(from_file.indices, by_hand.indices)


def test_a_dataset_in_memory_goes_in_and_comes_out() -> None:
    from datasets import Dataset

    rows = [{"prompt": f"What is {i} + 1?", "completion": str(i + 1), "n": i} for i in range(40)]
    selection = smalltolarge.select(Dataset.from_list(rows), budget=10, method="random")
    chosen = selection.to_dataset()
    assert len(chosen) == 10
    assert chosen.column_names == ["prompt", "completion", "n"]
    assert chosen["n"] == selection.indices.tolist()


def test_mistakes_are_named(data: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean epochs"):
        smalltolarge.record(data, epoch=1)  # type: ignore[call-arg]
    with pytest.raises(
        RecipeError, match="clustrs is not a setting of method s2l; did you mean clusters"
    ):
        smalltolarge.select(data, budget=5, clustrs=3)  # type: ignore[call-arg]
    with pytest.raises(BudgetError, match="only 120 can be used"):
        smalltolarge.select(data, budget=121, method="random")
    with pytest.raises(DataError, match="nowhere"):
        smalltolarge.load("nowhere.jsonl")


def test_whole_numbers_of_numpy_are_whole_numbers(data: Path) -> None:
    mine = smalltolarge.select(data, budget=np.int64(10), seed=np.int64(3), method="random")
    plain = smalltolarge.select(data, budget=10, seed=3, method="random")
    assert np.array_equal(mine.indices, plain.indices)
    with pytest.raises(RecipeError, match="a share is a text with %"):
        smalltolarge.select(data, budget=10.0, method="random")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="tokenizer: .* is a PosixPath"):
        smalltolarge.record(data, tokenizer=Path("x"))  # type: ignore[arg-type]


@pytest.mark.parametrize("budget", [121, "9M-tokens"])
def test_a_budget_that_cannot_be_met_is_refused_before_training(
    budget: str | int, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object, **__: object) -> None:
        raise AssertionError("the proxy was trained")

    monkeypatch.setattr("smalltolarge.lm.record", trained)
    with pytest.raises(BudgetError):
        smalltolarge.select(data, budget=budget, **SMALL)


def test_rows_in_a_list_are_read_and_give_a_dataset_of_the_chosen() -> None:
    rows = [{"prompt": f"q{n}", "completion": "a", "n": n} for n in range(10)]
    chosen = smalltolarge.select(rows, budget=3, method="random")
    assert chosen.to_dataset().to_list() == [rows[n] for n in chosen.indices]
    with pytest.raises(DataError, match="rows that are all dicts; it holds a int"):
        smalltolarge.load([1])  # type: ignore[arg-type]


def test_reading_settings_beside_examples_are_refused(data: Path) -> None:
    examples = smalltolarge.load(data)
    with pytest.raises(RecipeError, match="on_bad_row: these examples are read already"):
        smalltolarge.load(examples, on_bad_row="exclude")
    with pytest.raises(RecipeError, match="format: these examples are read already"):
        smalltolarge.select(examples, budget=5, method="random", format="alpaca")


def test_a_selection_goes_on_where_it_was_and_writes_what_the_command_writes(
    data: Path, tmp_path: Path, s2l: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    s2l("select", "data.jsonl", "--budget", "20%", "--clusters", "5", *QUICK)
    written = (tmp_path / "subset.jsonl").read_bytes()
    made = smalltolarge.select(
        "data.jsonl", budget="20%", clusters=5, out="here.jsonl", run="runs/here", **SMALL
    )
    assert Path("here.jsonl").read_bytes() == written
    again = smalltolarge.select(
        "data.jsonl", budget="20%", clusters=5, out="here.jsonl", run="runs/here", **SMALL
    )
    for name in ("indices", "order", "keys", "labels"):
        assert np.array_equal(getattr(again, name), getattr(made, name))
    again.write("third.jsonl")
    assert Path("third.jsonl").read_bytes() == written
    assert smalltolarge.verify("runs/here")[-1] == "the subset chosen again: the same rows"


@pytest.fixture
def recorded(data: Path, tmp_path: Path) -> Path:
    """Losses of the data at four checkpoints, in a file; a third of them rise."""
    ids = smalltolarge.load(data).ids
    rng = np.random.default_rng(0)
    slopes = rng.choice([-0.5, -0.2, 0.1], len(ids))
    losses = rng.uniform(3, 6, (len(ids), 1)) + slopes[:, None] * np.arange(4)
    file = tmp_path / "t.parquet"
    Trajectories(losses, np.arange(4) * 10, ids).to_parquet(file)
    return file


def test_pruned_rows_are_told_in_every_place_and_read_back(
    data: Path, recorded: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given: Any = {"trajectories": recorded, "prune_slope": 0, "clusters": 5, "budget": 100}
    made = smalltolarge.select(data, **given, run=tmp_path / "run", out=tmp_path / "some.jsonl")
    assert 0 < made.pruned < 120 and made.clusters == 5
    over = made.pruned - 20
    assert f"{120 - made.pruned} are left after pruning: it takes {over} pruned rows" in caplog.text
    run = Run.open(tmp_path / "run")
    assert run.facts("select")["pruned"] == made.pruned and run.facts("select")["clusters"] == 5
    reasons = run.selection()["reason"].to_pylist()
    assert reasons.count("selected") == 100 and reasons.count("pruned") == 20
    page = facts.facts(facts.read(run, Watch()))
    assert page["pruned"] == made.pruned and page["clusters"][5]["size"] == made.pruned
    again = smalltolarge.select(data, **given, run=tmp_path / "run", out=tmp_path / "some.jsonl")
    assert again.pruned == made.pruned and np.array_equal(again.order, made.order)


def test_columns_that_were_asked_for_are_written_told_and_read_back(
    data: Path, recorded: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both: Any = ("weight", "order")
    given: Any = {"trajectories": recorded, "clusters": 40, "run": tmp_path / "run"}
    made = smalltolarge.select(
        data, budget=30, add_columns=both, **given, out=tmp_path / "some.jsonl"
    )
    total = round(made.columns["s2l_weight"].sum())
    assert total < 120 and f"the weights add up to {total} of 120 rows" in caplog.text
    rows = [json.loads(line) for line in (tmp_path / "some.jsonl").read_bytes().splitlines()]
    assert [row["s2l_weight"] for row in rows] == made.columns["s2l_weight"].tolist()
    assert made.to_dataset()["s2l_order"] == made.columns["s2l_order"].tolist()
    (tmp_path / "some.jsonl").unlink()
    again = smalltolarge.select(
        data, budget=30, add_columns=both, **given, out=tmp_path / "some.jsonl"
    )
    assert [json.loads(line) for line in (tmp_path / "some.jsonl").open()] == rows
    assert all(np.array_equal(again.columns[name], made.columns[name]) for name in made.columns)
    # the subset of the subset would have two columns of a name
    with pytest.raises(RecipeError, match="the data has a column s2l_weight of its own"):
        smalltolarge.select(
            tmp_path / "some.jsonl", budget=5, method="random", add_columns=["weight"]
        )
    with pytest.raises(RecipeError, match="method random needs none"):
        smalltolarge.select(data, budget=5, method="random", add_columns=["order"])
    with pytest.raises(RecipeError, match="method longest draws nothing"):
        smalltolarge.select(data, budget=5, method="longest", add_columns=["weight"])


def test_without_a_place_nothing_is_left_behind(data: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    smalltolarge.select(data, budget="20%", clusters=5, **SMALL)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_method_may_be_an_object_with_its_settings(data: Path) -> None:
    by_name = smalltolarge.select(data, budget=20, method="random-by-length", bins=3)  # type: ignore[call-arg]
    by_object = smalltolarge.select(data, budget=20, method=RandomByLength(bins=3))
    assert np.array_equal(by_name.indices, by_object.indices)


def test_losses_without_a_file_are_refused_where_a_run_is_kept(data: Path) -> None:
    examples = smalltolarge.load(data)
    losses = np.ones((len(examples), 2), dtype=np.float32)
    given = Trajectories(losses=losses, steps=np.array([0, 1]), ids=examples.ids)
    with pytest.raises(RecipeError, match="trajectories: a run keeps where they came from"):
        smalltolarge.select(data, budget=5, trajectories=given, run="runs/x")


def test_what_is_given_back_says_in_a_line_what_it_is(data: Path) -> None:
    examples = smalltolarge.load(data)
    chosen = smalltolarge.select(examples, budget=12, method="random")
    assert repr(examples) == f"<Examples: 120 of 120 rows of {data}, alpaca>"
    assert repr(chosen) == "<Selection: 12 of 120 rows by random>"


KEYWORDS: dict[type[Any], tuple[type[Any], tuple[type[Any], ...]]] = {
    keywords.Reading: (ReadingSettings, ()),
    keywords.Recording: (ProxySettings, (ReadingSettings,)),
    keywords.Selecting: (S2L, (ProxySettings, ReadingSettings)),
    keywords.Training: (TargetSettings, (ReadingSettings,)),
    keywords.Evaluating: (AskingSettings, (ScoringSettings, ModelSettings)),
}


@pytest.mark.parametrize("typed", KEYWORDS, ids=lambda typed: typed.__name__)
def test_keywords_are_the_fields_of_the_settings(typed: type[Any]) -> None:
    kinds = [KEYWORDS[typed][0], *KEYWORDS[typed][1]]
    wanted = {
        field.name: get_type_hints(kind)[field.name] for kind in kinds for field in fields(kind)
    }
    for apart in ("target", "tasks"):  # an argument of its own
        wanted.pop(apart, None)
    lists = {name: Sequence[str] for name, hint in wanted.items() if hint == tuple[str, ...]}
    assert get_type_hints(typed) == wanted | lists


COMMANDS: dict[str, Callable[..., Any]] = runpy.run_path(
    str(Path(__file__).parents[1] / "docs" / "make_reference.py")
)["commands"]()
ONLY_TYPED = {
    "recipe", "assignments", "dry_run", "no_progress", "as_json", "list_arms", "table", "on",
    "submit", "processes", "devices", "rank_timeout",
}  # fmt: skip
"""What the command line asks for because everything there is typed in one line, or because it
begins itself anew, as several processes."""
NAMED_OTHERWISE = {"report": "report_page"}
"""Verbs whose own name in Python is that of a room."""
ELSEWHERE = {
    "no_gradients": "gradients", "task": "tasks", "arm": "arms", "shared": "arms",
    "no_wait": "wait", "add_column": "add_columns",
}  # fmt: skip


@pytest.mark.parametrize(
    "verb",
    [
        "load",
        "record",
        "select",
        "show_text",
        "train",
        "run",
        "inspect",
        "evaluate",
        "export",
        "report",
        "verify",
    ],
)
def test_a_verb_takes_in_python_what_its_command_takes(verb: str) -> None:
    function = getattr(smalltolarge, NAMED_OTHERWISE.get(verb, verb))
    takes = set(signature(function).parameters)
    if "settings" in takes:
        [typed] = get_type_hints(function)["settings"].__args__
        takes |= set(get_type_hints(typed))
    asked = {
        ELSEWHERE.get(name, name) for name in signature(COMMANDS[verb.replace("_", "-")]).parameters
    }
    assert asked - ONLY_TYPED <= takes
