"""Settings are read strictly, answered helpfully, and written out whole."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smalltolarge.errors import MissingArtifact, RecipeError
from smalltolarge.runs import recipe as recipes
from smalltolarge.runs.recipe import (
    RecordRecipe,
    SelectRecipe,
    merge,
    place,
    read,
    read_yaml,
    to_plain,
    to_yaml,
)
from smalltolarge.selection import SELECTORS
from smalltolarge.settings import ProxySettings, ReadingSettings, describe

SMALLEST: dict[str, Any] = {"data": ["a.jsonl"], "budget": "11%"}


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"proxi": {}}, "proxi is not a setting; did you mean proxy?"),
        ({"proxy": {"epoch": 1}}, "proxy.epoch is not a setting; did you mean epochs?"),
        ({"settings": {"cluster": 5}}, "s2l.cluster is not a setting; did you mean clusters?"),
        ({"proxy": {"epochs": "three"}}, 'proxy.epochs: .*number.* found "three"'),
        ({"proxy": {"epochs": 0}}, "epochs is 0.0: a number above 0 and at most 10,000"),
        ({"proxy": {"epochs": float("nan")}}, "proxy.epochs is nan: a finite number"),
        ({"proxy": {"checkpoints": 1}}, "checkpoints is 1: a whole number at least 2"),
        ({"proxy": {"warmup": 1.0}}, r"warmup is 1.0: a share of the steps in \[0, 1\)"),
        ({"proxy": {"batch_size": True}}, "proxy.batch_size: .*integer"),
        ({"reading": {"format": "alpacca"}}, "reading.format: .*'alpaca'"),
        ({"settings": {"clusters": 0}}, "clusters is 0: a whole number at least 1"),
        ({"seed": -1}, "seed is -1: a whole number from 0"),
        ({"budget": "lots"}, "budget 'lots'"),
        ({"data": []}, "data: at least one"),
        ({"method": "randon"}, "Did you mean 'random'"),
        ({"method": "random", "settings": {"clusters": 5}}, "random.clusters is not a setting"),
    ],
)
def test_a_wrong_setting_is_named_by_its_path(change: dict[str, Any], answer: str) -> None:
    with pytest.raises(RecipeError, match=answer):
        read({**SMALLEST, **change}, SelectRecipe).resolved()


@pytest.mark.parametrize("method", sorted(SELECTORS))
def test_a_recipe_written_out_is_the_same_recipe(method: str, tmp_path: Path) -> None:
    recipe = read({**SMALLEST, "method": method}, SelectRecipe).resolved()
    file = tmp_path / "recipe.yaml"
    file.write_text(to_yaml(recipe))
    assert read(read_yaml(file), SelectRecipe) == recipe
    assert recipe.resolved() == recipe


def test_every_default_is_written_out() -> None:
    plain = to_plain(read(SMALLEST, SelectRecipe).resolved())
    assert set(plain["proxy"]) == {f.name for f in fields(ProxySettings)}
    assert set(plain["reading"]) == {f.name for f in fields(ReadingSettings)}
    assert set(plain["settings"]) == {f.name for f in fields(SELECTORS["s2l"])}
    assert plain["proxy"]["learning_rate"] == 2e-3
    assert plain["proxy"]["batch_size"] == 32


def test_what_was_left_open_is_as_it_was_when_the_run_began() -> None:
    began = {"precision": "bfloat16", "device": "cuda", "threads": 7, "unit_tokens": 16384}
    found = {"proxy": began}
    for given in ({}, {"device": "auto", "threads": None}):
        recipe = recipes.continued(read({**SMALLEST, "proxy": given}, SelectRecipe), found)
        assert began.items() <= to_plain(recipe)["proxy"].items()
    asked = recipes.continued(read({**SMALLEST, "proxy": {"threads": 2}}, SelectRecipe), found)
    assert to_plain(asked)["proxy"]["threads"] == 2
    with pytest.raises(RecipeError, match=r"proxy\.threads: .* found \"many\""):
        recipes.continued(read(SMALLEST, SelectRecipe), {"proxy": {"threads": "many"}})


def test_pretrained_proxies_get_the_settings_of_the_paper() -> None:
    proxy = ProxySettings(proxy="EleutherAI/pythia-70m-deduped").resolved()
    assert (proxy.learning_rate, proxy.batch_size, proxy.epochs, proxy.max_length) == (
        2e-5, 128, 3.0, 512,
    )  # fmt: skip
    assert (proxy.warmup, proxy.weight_decay, proxy.checkpoints) == (0.03, 0.0, 12)


@pytest.mark.parametrize("change", [{"method": "random"}, {"trajectories": "t.parquet"}])
def test_a_recipe_that_needs_no_proxy_has_none(change: dict[str, Any]) -> None:
    assert read({**SMALLEST, **change}, SelectRecipe).resolved().proxy is None


def test_bare_names_find_their_section() -> None:
    flat = {"data": ["a"], "budget": "5%", "epochs": 1.0, "clusters": 7, "format": "alpaca"}
    assert place(flat, SelectRecipe) == {
        "data": ["a"],
        "budget": "5%",
        "proxy": {"epochs": 1.0},
        "settings": {"clusters": 7},
        "reading": {"format": "alpaca"},
    }
    with pytest.raises(RecipeError, match="epoch is not a setting; did you mean epochs"):
        place({"epoch": 1}, RecordRecipe)


def test_a_setting_of_another_method_is_answered_with_those_of_the_method() -> None:
    for method, own in {"longest": "none", "middle-perplexity": "reference"}.items():
        with pytest.raises(RecipeError) as refused:
            place({"method": method, "clusters": 5}, SelectRecipe)
        assert str(refused.value) == (
            f"clusters is not a setting of method {method}, which has {own}; it is one of s2l"
        )


def test_rows_of_a_comparison_are_weighed_by_what_they_stand_for_or_not_at_all() -> None:
    given: dict[str, Any] = {
        "data": ["a.jsonl"], "methods": ["s2l"], "budgets": ["11%"],
        "evaluation": {"held_out": ["b.jsonl"]},
    }  # fmt: skip

    def refusal(method: str = "s2l", **target: str) -> str:
        changed = {"methods": [{"method": method, "weighted": True}], "target": target}
        with pytest.raises(RecipeError) as refused:
            read(given | changed, recipes.CompareRecipe)
        return str(refused.value)

    assert "methods weighted: true" in refusal(weights="w")
    for method in ("longest", "full", "untuned"):
        assert f"methods.{method}.weighted: {method} draws nothing" in refusal(method)


def test_of_many_settings_those_like_the_one_that_there_is_not_are_named() -> None:
    with pytest.raises(RecipeError, match="known: [a-z_, ]+ and 45 more") as refused:
        place({"quick_rate": 1}, SelectRecipe)
    assert "learning_rate" in str(refused.value)


def test_no_two_sections_share_a_name() -> None:
    seen: list[str] = [f.name for f in fields(SelectRecipe)]
    seen += [f.name for kind in (ProxySettings, ReadingSettings) for f in fields(kind)]
    shared = {"proxy"}  # the section and the model in it
    for kind in SELECTORS.values():
        names = seen + [f.name for f in fields(kind)]
        assert {name for name in names if names.count(name) > 1} <= shared


def test_what_is_laid_over_wins_section_by_section() -> None:
    under = {"proxy": {"epochs": 1.0, "warmup": 0.1}, "reading": {"columns": {"input": "x"}}}
    over = {"proxy": {"epochs": 2.0}, "reading": {"columns": {"output": "y"}}}
    assert merge(under, over) == {
        "proxy": {"epochs": 2.0, "warmup": 0.1},
        "reading": {"columns": {"output": "y"}},
    }


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch pwned']",
        "data: !!python/name:os.system",
        "a: &x [1]\nb: *x",
        "just text",
        "- a\n- b",
        "a: [",
        "\x00",
        "a: " + "[" * 5000,
        "a: !!set {b}",
        "a: 2026-01-01",
        "a: 12:30",
        "a: 010",
        "a: 0x1F",
        f"a: {'9' * 5000}",
        "a: 1\nb: 2\na: 3",
        "a: {b: 1, b: 1}",
        "1: a",
        "? [a]\n: b",
        "<<: {a: 1}",
        "a: 1\n---\na: 2",
        "- " * 100_000,
    ],
)
def test_a_recipe_file_runs_nothing_and_is_a_plain_mapping(text: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=str(file)):
        read_yaml(file)


def test_a_missing_or_huge_recipe_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "huge.yaml").write_text("a: 1\n" * 300_000)
    with pytest.raises(RecipeError, match="at most"):
        read_yaml(tmp_path / "huge.yaml")


@pytest.mark.parametrize(
    "kind", [ReadingSettings, ProxySettings, RecordRecipe, SelectRecipe, *SELECTORS.values()]
)
def test_every_setting_is_documented_under_its_field(kind: type[Any]) -> None:
    described = describe(kind)
    assert set(described) == {f.name for f in fields(kind)}
    assert all(len(words) > 10 and words.endswith(".") for words in described.values())


@pytest.mark.parametrize("name", ["method", "budget", "settings", "trajectories"])
def test_the_recipe_of_a_select_run_is_called_that_by_record(name: str) -> None:
    for refused in (
        lambda: place({name: "x"}, RecordRecipe),
        lambda: read({name: 1}, RecordRecipe),
    ):
        with pytest.raises(
            RecipeError, match=f"{name} is a setting of a select run, not of record"
        ):
            refused()


def test_numbers_of_numpy_are_numbers() -> None:
    values = {"seed": np.int64(1), "proxy": {"epochs": np.float32(0.5), "threads": np.int32(2)}}
    found = read({**SMALLEST, **values}, SelectRecipe)
    assert found.proxy is not None
    assert (found.seed, found.proxy.epochs, found.proxy.threads) == (1, 0.5, 2)
    with pytest.raises(RecipeError, match=r"proxy\.tokenizer: .* is a PosixPath"):
        read({**SMALLEST, "proxy": {"tokenizer": Path("x")}}, SelectRecipe)


def test_a_budget_that_is_a_fraction_is_answered_with_how_to_write_a_share() -> None:
    with pytest.raises(RecipeError, match='a share is a text with % \\("11%"'):
        read({**SMALLEST, "budget": 0.11}, SelectRecipe)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("2E5", 200000.0), ("'1e-3'", "1e-3"), ("e5", "e5"), ("1e3x", "1e3x")],
)
def test_a_number_with_an_exponent_is_a_number(text: str, value: object, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(f"x: {text}\n")
    assert recipes.read_yaml(file) == recipes.assign({}, [f"x={text}"]) == {"x": value}


def test_an_object_is_never_made_from_a_set_value() -> None:
    with pytest.raises(RecipeError, match="not YAML"):
        recipes.assign({}, ["x=!!python/object/apply:os.getcwd []"])
