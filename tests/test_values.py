"""Any value of any setting and any bytes of any file: the right result, or one error of ours."""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args, get_type_hints

import hypothesis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from datasets import Dataset
from hypothesis import strategies as st

import smalltolarge
from smalltolarge.errors import DataError, RecipeError, S2LError
from smalltolarge.examples import check_output, write_subset
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
    """Try a claim with ``tries`` values of each of the ``given`` kinds; many are new every time."""

    def run(claim: Callable[..., None]) -> None:
        given_to: Any = hypothesis.given(*given)
        tested: Any = given_to(claim)
        how: Any = hypothesis.settings(max_examples=tries, deadline=None, derandomize=tries < 100)
        how(tested)()

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
    "text", ["1e5", "010", "1:30", "yes", "2026-01-01", "~", "\x85 \x07\n", "a\x85b", "=", "", "<<"]
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
        # YAML has other words for what is not finite.
        if "NaN" not in text and "Infinity" not in text:
            assert isinstance(set_to, S2LError) or json.dumps(set_to["x"]) == text  # type: ignore[index]


@pytest.mark.parametrize("tries", TRIES)
def test_any_bytes_are_a_recipe_or_refused(tries: int, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"

    @tried(tries, st.binary(max_size=60) | LIKE_YAML.map(str.encode))
    def _(content: bytes) -> None:
        file.write_bytes(content)
        found = refused_or(lambda: read(read_yaml(file), SelectRecipe))
        assert isinstance(found, SelectRecipe | S2LError)


def rows_of(path: Path) -> list[list[str]]:
    """Give the texts of a file's examples."""
    return [[turn.content for turn in turns] for turns in smalltolarge.load(path).conversations()]


def again(text: str, times: int) -> Any:
    """Hold a text once, however often it comes back; in a Parquet file it is a plain text."""
    return pa.DictionaryArray.from_arrays(np.zeros(times, np.int32), pa.array([text]))


def lists(values: Any, length: int) -> Any:
    ends = pa.array(range(0, len(values) + 1, length), pa.int32())
    return pa.ListArray.from_arrays(ends, values)


BOMBS: dict[str, Callable[[], dict[str, Any]]] = {
    "value": lambda: {"prompt": ["q"] * 2000, "completion": again("x" * 5_000_000, 2000)},
    "turns": lambda: {
        "messages": lists(
            pa.StructArray.from_arrays(
                [again("user", 5000), again("x" * 500_000, 5000)], ["role", "content"]
            ),
            100,
        )
    },
    "unused": lambda: {
        "prompt": ["q"],
        "completion": ["a"],
        "more": lists(again("x" * 9_000_000, 1000), 1000),
    },
    "nulls": lambda: {
        "prompt": pa.nulls(20_000_000, pa.string()),
        "completion": pa.nulls(20_000_000),
    },
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_parquet_file_of_many_rows_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    table = pa.table(BOMBS[kind]())
    pq.write_table(table, path, compression="zstd", row_group_size=20_000_000, store_schema=False)
    del table
    before = pa.total_allocated_bytes()
    with pytest.raises(DataError, match=r"bomb\.parquet: unpacks to more than 200 times its size"):
        smalltolarge.load(path)
    assert path.stat().st_size < 100_000
    assert pa.total_allocated_bytes() - before < 100_000_000


@pytest.mark.parametrize("long", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2]])
def test_all_rows_that_are_too_long_and_no_others_are_left_out_of_parquet(
    long: list[int], tmp_path: Path
) -> None:
    rows = {"prompt": ["q", "r", "s"], "completion": ["b" * 500 * (n in long) for n in range(3)]}
    rows["completion"] = [text or "a" for text in rows["completion"]]
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    how: dict[str, Any] = {"max_line_bytes": 300, "on_bad_row": "exclude"}
    if len(long) == 3:
        with pytest.raises(DataError, match="too long"):
            smalltolarge.load(tmp_path / "a.parquet", **how)
        return
    examples = smalltolarge.load(tmp_path / "a.parquet", **how)
    assert examples.excluded["row"].to_pylist() == [n + 1 for n in long]
    assert len(examples) == 3 - len(long)


def test_a_row_that_is_too_long_is_told_by_its_number_in_parquet_too(tmp_path: Path) -> None:
    rows = {"prompt": ["q", "r", "s"], "completion": ["a", "b" * 2000, "c"]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"row 2: too long; found a row of 2,0\d\d bytes"):
        smalltolarge.load(tmp_path / "a.parquet", max_line_bytes=1000)


def test_values_that_come_back_often_are_read_and_written_as_they_are(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    texts = ["long " * 40_000, "other " * 30_000]
    rows = {
        "prompt": [noise.bytes(2000).hex() for _ in range(360)],
        "completion": [texts[row % 2] for row in range(360)],
    }
    pq.write_table(pa.table(rows), tmp_path / "a.parquet", compression="zstd")
    assert rows_of(tmp_path / "a.parquet") == [
        list(one) for one in zip(*rows.values(), strict=True)
    ]
    examples = smalltolarge.load(tmp_path / "a.parquet")
    write_subset(examples, np.array([1, 4]), tmp_path / "b.parquet")
    assert pq.read_table(tmp_path / "b.parquet").to_pydict()["completion"] == texts[::-1]


@pytest.mark.parametrize("kind", [pa.string_view(), pa.large_string()])
def test_rows_of_views_are_written_with_their_type(kind: pa.DataType, tmp_path: Path) -> None:
    rows = {"prompt": ["q" * 20, "r"], "completion": ["a", "b" * 30]}
    table = pa.table({name: pa.array(texts, kind) for name, texts in rows.items()})
    pq.write_table(table, tmp_path / "a.parquet")
    examples = smalltolarge.load(tmp_path / "a.parquet")
    check_output(examples, tmp_path / "b.parquet")
    write_subset(examples, np.array([1]), tmp_path / "b.parquet")
    assert pq.read_table(tmp_path / "b.parquet").equals(table.slice(1))


def test_a_line_with_many_keys_twice_is_read_in_no_time(tmp_path: Path) -> None:
    keys = ", ".join(f'"k{number % 40_000}": 1' for number in range(80_000))
    (tmp_path / "a.jsonl").write_text('{"prompt": "q", "completion": "a", ' + keys + "}\n")
    began = time.process_time()
    assert rows_of(tmp_path / "a.jsonl") == [["q", "a"]]
    assert time.process_time() - began < 5


EXACT: dict[str, list[Any]] = {
    "prompt": ["q", "r"],
    "completion": ["a", "b/c"],
    "score": [0.12345678901234567, -1e-300],
    "count": [2**60 + 1, None],
    "at": [datetime(2026, 1, 2, 3, 4, 5, 123456), None],
}


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_a_data_set_becomes_text_with_every_value_as_it_is(suffix: str, tmp_path: Path) -> None:
    examples = smalltolarge.load(pa.table(EXACT))
    out = tmp_path / f"out{suffix}"
    check_output(examples, out)
    write_subset(examples, np.array([0, 1]), out)
    if suffix == ".csv":
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [float(row["score"]) for row in rows] == EXACT["score"]
        assert [row["count"] for row in rows] == [str(2**60 + 1), ""]
    else:
        text = out.read_text()
        rows = json.loads(text) if suffix == ".json" else list(map(json.loads, text.splitlines()))
        assert [row["score"] for row in rows] == EXACT["score"]
        assert [row["count"] for row in rows] == EXACT["count"]
    assert next(row["at"] for row in rows) == "2026-01-02T03:04:05.123456"
    assert [row["completion"] for row in rows] == EXACT["completion"]


@pytest.mark.parametrize(
    "more",
    [
        pa.array([math.nan, 1.0]),
        pa.array([math.inf, None]),
        pa.array([b"\xff", b""]),
        pa.array([2**62, 0], pa.timestamp("us")),
        pa.array([timedelta(1), None]),
        pa.array([[b"\xff"], None]),
    ],
    ids=["nan", "infinity", "bytes", "year", "duration", "bytes inside"],
)
def test_a_value_that_text_cannot_hold_is_refused_before_anything_runs(
    more: pa.Array[Any], tmp_path: Path
) -> None:
    table = pa.table({"prompt": ["q", "r"], "completion": ["a", "b"], "more": more})
    examples = smalltolarge.load(table)
    for suffix in (".jsonl", ".json.gz"):
        with pytest.raises(DataError, match=r"\.parquet, or no suffix"):
            check_output(examples, tmp_path / f"out{suffix}")
    check_output(examples, tmp_path / "out.parquet")
    write_subset(examples, np.array([1]), tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").equals(table.slice(1))


def test_text_that_is_no_utf8_in_an_unused_column_is_no_end_of_the_process(tmp_path: Path) -> None:
    odd = pa.array([b"\xff\xfe", b"b"]).view(pa.string())
    table = pa.table({"prompt": ["q", "r"], "completion": ["a", "b"], "more": odd})
    with pytest.raises(DataError, match="column more"):
        smalltolarge.load(table)


def test_a_pipe_in_a_saved_data_set_keeps_nobody_waiting(tmp_path: Path) -> None:
    Dataset.from_dict({"prompt": ["q"], "completion": ["a"]}).save_to_disk(tmp_path / "saved")
    os.mkfifo(tmp_path / "saved" / "more.arrow")
    with pytest.raises(DataError, match=r"more\.arrow in it is neither a file nor a folder"):
        smalltolarge.load(tmp_path / "saved")


def test_a_pipe_beside_data_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    for name in ("README.md", "b.jsonl"):
        os.mkfifo(tmp_path / name)
    assert rows_of(tmp_path) == [["q", "a"]]


def test_a_file_whose_name_is_no_utf8_is_refused_as_it_is_found(tmp_path: Path) -> None:
    (tmp_path / "\udcff.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    with pytest.raises(DataError, match="its name is not valid UTF-8"):
        smalltolarge.load(tmp_path)


def test_a_name_like_that_of_a_home_is_a_name(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("~.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    assert rows_of(Path("~.jsonl")) == [["q", "a"]]


FORMATS = ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"]


@pytest.mark.parametrize("tries", TRIES)
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_refused_or_read_as_rows(name: str, tries: int, tmp_path: Path) -> None:
    whole = tmp_path / name
    texts = [[f"question {row}", f"answer {row}"] for row in range(20)]
    rows = [dict(zip(("prompt", "completion"), text, strict=True)) for text in texts]
    examples = smalltolarge.load(rows)
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), whole, write_page_checksum=True)
    elif name == "a.csv":
        write_subset(examples, np.arange(20), whole)
    else:
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        array = json.dumps(rows).encode()
        zst = zstandard.ZstdCompressor(write_checksum=True)
        packed = {".gz": gzip.compress(lines), ".zst": zst.compress(lines)}
        whole.write_bytes(packed.get(whole.suffix, array if whole.suffix == ".json" else lines))
    content = whole.read_bytes()

    @tried(
        tries, st.sampled_from(["flip", "cut", "splice"]), *[st.integers(0, len(content) - 1)] * 2
    )
    def _(how: str, at: int, other: int) -> None:
        changed = bytearray(content)
        if how == "flip":
            changed[at] ^= 1 << other % 8
        elif how == "cut":
            del changed[at:]
        else:
            changed[at : at + 7] = content[other : other + 13]
        whole.write_bytes(changed)
        found = refused_or(lambda: rows_of(whole))
        if not isinstance(found, S2LError):
            assert isinstance(found, list)
            checked = name.endswith((".gz", ".zst", ".parquet"))
            assert not checked or found == texts or how == "splice"
