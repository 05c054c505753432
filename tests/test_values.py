"""Any value of any setting and any bytes of any file: the right result, or one error of ours."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args, get_type_hints

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import smalltolarge
from smalltolarge.errors import RecipeError, S2LError
from smalltolarge.runs import recipe as recipes
from smalltolarge.runs.recipe import CompareRecipe, SelectRecipe, place, read, read_yaml, to_yaml
from smalltolarge.selection import SELECTORS
from smalltolarge.settings import (
    AskingSettings,
    ProxySettings,
    ReadingSettings,
    TargetSettings,
    Within,
)

from .conftest import Cli

TRIES = [pytest.param(25, id="few"), pytest.param(20_000, id="many", marks=pytest.mark.faults)]
RECIPES: list[Any] = [
    kind
    for kind in vars(recipes).values()
    if is_dataclass(kind) and isinstance(kind, type) and issubclass(kind, recipes.Recipe)
]
CLASSES: list[Any] = [ProxySettings, TargetSettings, ReadingSettings, AskingSettings]
CLASSES += [*SELECTORS.values(), *RECIPES, recipes.SampleData]
SMALLEST: dict[str, Any] = {"data": ["a.jsonl"], "budget": "11%"}


def tried(tries: int, *given: Any) -> Callable[[Callable[..., None]], None]:
    """Try a claim with ``tries`` values of each of the ``given`` kinds."""

    def run(claim: Callable[..., None]) -> None:
        given_to: Any = hypothesis.given(*given)
        tested: Any = given_to(claim)
        few: Any = hypothesis.settings(max_examples=tries, deadline=None)
        few(tested)()

    return run


def refused_or(result: Callable[[], object]) -> object:
    """Give the result, or the error of ours, which is of readable length."""
    try:
        return result()
    except S2LError as error:
        return error if len(str(error)) < 5000 else AssertionError("a message without end")


def test_every_number_that_can_be_set_has_bounds_beside_it() -> None:
    for kind in CLASSES:
        for name, hint in get_type_hints(kind, include_extras=True).items():
            parts = {hint, *get_args(hint)}
            notes = [note for part in parts for note in getattr(part, "__metadata__", ())]
            bounded = any(isinstance(note, Within) for note in notes)
            assert bounded or not parts & {int, float} or name in ("seed", "budget", "seeds"), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 1e18), ("epochs", 1e308), ("epochs", math.inf), ("epochs", Fraction(10**400)),
        ("epochs", True), ("epochs", "3"), ("warmup", 1.5), ("learning_rate", -1e-3),
        ("restarts", 1_000_000), ("checkpoints", 10**9), ("threads", 100_000),
        ("clusters", 10**5000), ("clusters", True), ("clusters", "5"), ("clusters", 5.0),
        ("clusters", Decimal(5)), ("template_arg", {"x": 10**30}), ("template_arg", {1: 2}),
        ("tokenizer", "\ud800"), ("seed", 2**64), ("seed", True), ("seed", 10**5000),
        ("budget", "9" * 5000), ("budget", 10**5000), ("budget", True), ("method", "../x:y"),
        ("method", "x:y z"), ("method", "tests.no_such:Thing"),
    ],
    ids=lambda value: printable_id(value),
)  # fmt: skip
def test_what_cannot_be_is_refused_in_python_by_its_name(name: str, value: Any) -> None:
    settings: dict[str, Any] = {"budget": "1%", name: value}
    with pytest.raises(S2LError, match=name):
        smalltolarge.select([{"prompt": "a", "completion": "b"}] * 3, **settings)


def printable_id(value: object) -> str:
    """Name a case; a number of thousands of digits has no text."""
    return type(value).__name__ if not isinstance(value, str) else ascii(value[:20])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--epochs", "1e18"], "epochs is 1e+18: a number above 0 and at most 10,000"),
        (["--epochs", "nan"], "proxy.epochs is nan: a finite number"),
        (["--restarts", "1000000"], "restarts is 1000000: a whole number at least 1"),
        (["--threads", "100000"], "threads is 100000"),
        (["--checkpoints", "1000000000"], "checkpoints is 1000000000"),
        (["--method", "../x:y"], "'../x:y': my_package.module:Class is needed"),
        (["--set", "x=" + "[" * 5000], "nested more than 100 deep"),
        (["--set", "x=" + "9" * 5000], "no plain decimal number"),
        (["--set", "x=2026-01-01"], "read as a timestamp; put it in quotes"),
        (["--set", ".".join("a" * 2000) + "=1"], "NAME=VALUE is needed"),
        (["--budget", "9" * 5000], "budget '999"),
    ],
    ids=lambda words: words[1][:20] if isinstance(words, list) else "",
)
def test_what_cannot_be_is_one_line_on_the_command_line(
    words: list[str], told: str, data: Path, s2l: Cli
) -> None:
    begin = ["select", "data.jsonl", "--budget", "20%", "--out", "subset.jsonl"]
    done = s2l(*begin, *words, expect=2)
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["\udcff.jsonl", "a\0b.jsonl"])
def test_a_name_that_is_no_utf8_is_refused_before_anything_is_read(name: str) -> None:
    rows = [{"prompt": "a", "completion": "b"}] * 3
    for out, run in ((name, None), (None, name)):
        with pytest.raises(RecipeError, match="no file name in valid UTF-8"):
            smalltolarge.select(rows, budget="50%", method="random", out=out, run=run)


@pytest.mark.parametrize(
    "values", [{"clusters": 10**9}, {"clusters": True}, {"clusters": 2.0}, {"restarts": -1}]
)
def test_the_class_of_a_method_has_the_bounds_of_its_options(values: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(values))):
        SELECTORS["s2l"](**values)


def test_whole_numbers_of_any_type_are_whole_numbers() -> None:
    s2l: Any = SELECTORS["s2l"]
    assert s2l(clusters=np.int64(5)) == s2l(clusters=5)
    assert type(s2l(clusters=np.uint8(5)).clusters) is int


@pytest.mark.parametrize(
    "text", ["1e5", "010", "1:30", "yes", "2026-01-01", "~", "\x85 \x07\n", "=", "", "<<"]
)
def test_a_text_that_looks_like_something_else_stays_a_text(text: str, tmp_path: Path) -> None:
    recipe = read({**SMALLEST, "data": [text]}, SelectRecipe)
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    assert read(read_yaml(tmp_path / "recipe.yaml"), SelectRecipe) == recipe


def test_lists_that_are_too_long_are_refused_at_once() -> None:
    comparison = {"methods": ["s2l"], "budgets": ["5%"], "evaluation": {"tasks": ["x"]}}
    with pytest.raises(RecipeError, match="seeds: 100,000 are there"):
        read({"data": ["a"], **comparison, "seeds": list(range(100_000))}, CompareRecipe)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=4), one, max_size=3),
    max_leaves=8,
)
NAMES = sorted({field.name for kind in CLASSES for field in fields(kind)})
LIKE_YAML = st.text(st.sampled_from("data: [ab]{}&*!|>-?%@'\"\n #09.e+~<=\x07\u2028"), max_size=60)


@pytest.mark.parametrize("tries", TRIES)
def test_any_value_of_any_setting_is_taken_as_it_is_or_refused(tries: int, tmp_path: Path) -> None:
    @tried(tries, st.sampled_from(NAMES), JSON)
    def _(name: str, value: Any) -> None:
        for kind in RECIPES:
            small = SMALLEST if kind is SelectRecipe else {"data": ["a.jsonl"]}
            recipe = refused_or(lambda: read(place({**small, name: value}, kind), kind))  # noqa: B023
            assert isinstance(recipe, kind | S2LError)
            if isinstance(recipe, kind):
                (tmp_path / "recipe.yaml").write_text(to_yaml(recipe), encoding="utf-8")
                assert read(read_yaml(tmp_path / "recipe.yaml"), kind) == recipe
        text = json.dumps(value)
        set_to = refused_or(lambda: recipes.assign({}, [f"x={text}"]))
        assert isinstance(set_to, S2LError) or json.dumps(set_to["x"]) == text  # type: ignore[index]


@pytest.mark.parametrize("tries", TRIES)
def test_any_bytes_are_a_recipe_or_refused(tries: int, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"

    @tried(tries, st.binary(max_size=60) | LIKE_YAML.map(str.encode))
    def _(content: bytes) -> None:
        file.write_bytes(content)
        found = refused_or(lambda: read(read_yaml(file), SelectRecipe))
        assert isinstance(found, SelectRecipe | S2LError)
