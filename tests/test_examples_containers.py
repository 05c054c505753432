"""The same conversations from every container; rows in memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, IterableDataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smalltolarge.errors import DataError, StaleArtifact
from smalltolarge.examples import Examples, load, rows_as_dataset, write_subset
from smalltolarge.settings import ReadingSettings

from .conftest import said

Rows = list[dict[str, Any]]


def jsonl(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def as_text(rows: Rows) -> Rows:
    return [{name: json.dumps(value) for name, value in row.items()} for row in rows]


def saved(path: Path, rows: Rows) -> Path:
    Dataset.from_list(rows).save_to_disk(path)
    return path


def parquet(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def text_in_csv(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(as_text(rows))
    return path


def columns_of(rows: Rows) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def json_type(rows: Rows) -> pa.Table:
    """Give columns of JSON, as an extension type."""
    texts = columns_of(as_text(rows))
    return pa.table({n: pa.array(column, pa.json_()) for n, column in texts.items()})


def json_named(rows: Rows) -> pa.Table:
    """Give columns of text that are said to be JSON beside, as writers without the type do."""
    about = {b"ARROW:extension:name": b"arrow.json", b"ARROW:extension:metadata": b""}
    fields = [pa.field(name, pa.string(), metadata=about) for name in rows[0]]
    return pa.table(columns_of(as_text(rows)), schema=pa.schema(fields))


CONTAINERS: dict[str, Callable[[Path, Rows], Any]] = {
    "JSONL": lambda path, rows: jsonl(path / "a.jsonl", rows),
    "Parquet": lambda path, rows: parquet(path / "a.parquet", pa.Table.from_pylist(rows)),
    "JSON columns": lambda path, rows: parquet(path / "b.parquet", json_type(rows)),
    "named JSON columns": lambda path, rows: parquet(path / "c.parquet", json_named(rows)),
    "saved data set": lambda path, rows: saved(path / "saved", rows),
    "JSON text in JSONL": lambda path, rows: jsonl(path / "b.jsonl", as_text(rows)),
    "JSON text in CSV": lambda path, rows: text_in_csv(path / "a.csv", rows),
    "JSON text in Parquet": lambda path, rows: parquet(
        path / "d.parquet", pa.Table.from_pylist(as_text(rows))
    ),
    "data set": lambda _, rows: Dataset.from_list(rows),
    "data set of JSON": lambda _, rows: Dataset.from_list(rows, on_mixed_types="use_json"),
    "dicts": lambda _, rows: rows,
    "pandas": lambda _, rows: pd.DataFrame(rows),
    "polars": lambda _, rows: pl.DataFrame(rows, infer_schema_length=None),
    "Arrow": lambda _, rows: pa.Table.from_pylist(rows),
    "iterated data set": lambda _, rows: IterableDataset.from_generator(lambda: iter(rows)),
}

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5).filter(
    str.strip
)
decimals = st.integers(-(10**6), 10**6).map(
    lambda n: n / 1000
)  # datasets writes ten digits of JSON
number = st.integers(-(2**53), 2**53) | decimals
arguments = st.fixed_dictionaries(
    {},
    optional={
        "count": number | st.none(),
        "city": text | st.none(),
        "days": st.lists(st.integers(0, 9), max_size=3),
        "place": st.fixed_dictionaries({}, optional={"street": text, "exact": st.booleans()}),
    },
)
whole = {"count": 1, "city": "Rome", "days": [1], "place": {"street": "x", "exact": True}}


@st.composite
def conversations(draw: st.DrawFn) -> Rows:
    found = []
    for n in range(draw(st.integers(2, 4))):
        given_ = whole if n == 0 else draw(arguments)
        calls = [{"type": "function", "function": {"name": draw(text), "arguments": given_}}]
        turns = [
            {"role": "user", "content": f"{n} {draw(text)}"},
            {"role": "assistant", "content": draw(st.none() | text), "tool_calls": calls},
            {"role": "tool", "content": draw(text)},
            {"role": "assistant", "content": draw(text)},
        ]
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"of": given_}}}]
        found.append({"messages": turns, "tools": tools})
    return found


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(conversations())
def test_the_same_conversations_are_the_same_from_every_container(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows
) -> None:
    folder = tmp_path_factory.mktemp("containers")
    wanted = load(jsonl(folder / "wanted.jsonl", rows))
    for name, make in CONTAINERS.items():
        examples = load(make(folder, rows))
        assert said(examples) == said(wanted), name
        assert examples.ids.tolist() == wanted.ids.tolist(), name


ROWS: Rows = [
    {
        "messages": [
            {"role": "user", "content": f"q{n}"},
            {"role": "assistant", "content": None, "tool_calls": [
                {"function": {"name": "f", "arguments": {"a": n} if n % 2 else {"b": "x"}}}
            ]},
            {"role": "tool", "content": "é"},
            {"role": "assistant", "content": "done"},
        ],
        "n": n,
    }
    for n in range(6)
]  # fmt: skip
CHOSEN = np.array([1, 2, 5])
IN_MEMORY = [
    "data set", "data set of JSON", "dicts", "pandas", "polars", "Arrow", "iterated data set",
]  # fmt: skip


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ""])
@pytest.mark.parametrize("name", IN_MEMORY)
def test_rows_in_memory_are_written_back_as_the_suffix_says(
    name: str, suffix: str, tmp_path: Path
) -> None:
    examples = load(CONTAINERS[name](tmp_path, ROWS))
    out = tmp_path / f"subset{suffix}"
    write_subset(examples, CHOSEN, out)
    again = load(out)
    assert again.ids.tolist() == examples.ids[CHOSEN].tolist()
    numbers = rows_as_dataset(again, np.arange(len(again)))["n"]
    assert [int(n) for n in numbers] == CHOSEN.tolist()


@pytest.mark.parametrize("name", CONTAINERS)
def test_rows_of_every_container_become_a_dataset(name: str, tmp_path: Path) -> None:
    examples = load(CONTAINERS[name](tmp_path, ROWS))
    chosen = load(rows_as_dataset(examples, CHOSEN))
    assert chosen.ids.tolist() == examples.ids[CHOSEN].tolist()


def test_python_objects_are_written_as_they_are(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": "a", "more": [1, "x", {"y": None}, 2.0]}, ROWS[0]]
    rows = [rows[0], {"prompt": "\ud800 half"[1:], "completion": "b", "more": True}]
    write_subset(load(rows), np.array([0, 1]), tmp_path / "out.jsonl")
    written = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written] == rows
    assert rows_as_dataset(load(rows), np.array([0, 1])).to_list() == rows
    odd = [{"prompt": "q", "completion": "a", "at": datetime(2024, 1, 2, tzinfo=UTC)}]
    with pytest.raises(DataError, match=r"cannot be written as JSON.*\.parquet"):
        write_subset(load(odd), np.array([0]), tmp_path / "odd.jsonl")
    write_subset(load(odd), np.array([0]), tmp_path / "odd.parquet")
    assert pq.read_table(tmp_path / "odd.parquet").to_pylist() == odd


def digest(source: Any) -> str:
    return load(source).inputs[0].sha256


def test_data_in_memory_is_known_by_its_content_not_by_its_object() -> None:
    table = pa.Table.from_pylist(ROWS)
    same = [
        Dataset.from_list(ROWS), Dataset(pa.concat_tables([table[:2], table[2:]])), table,
        pd.DataFrame(ROWS), pl.DataFrame(ROWS), Dataset.from_list(ROWS * 2).select(range(6)),
    ]  # fmt: skip
    assert len({digest(source) for source in same}) == 1
    assert digest(ROWS) == digest([dict(row) for row in ROWS])
    other = [*ROWS[:-1], ROWS[-1] | {"n": 7}]
    assert len({digest(rows) for rows in (ROWS, other, ROWS[::-1])}) == 3
    assert len({digest(Dataset.from_list(rows)) for rows in (ROWS, other, ROWS[::-1])}) == 3


def test_rows_that_changed_in_memory_are_not_written(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": "a"}, {"prompt": "r", "completion": "b"}]
    examples = load(rows)
    rows[1]["completion"] = "c"
    for use in (
        lambda: write_subset(examples, np.array([0]), tmp_path / "out.jsonl"),
        lambda: rows_as_dataset(examples, np.array([0])),
    ):
        with pytest.raises(StaleArtifact, match="no longer those that were read"):
            use()


def test_what_is_missing_in_a_data_frame_is_null(tmp_path: Path) -> None:
    frame = pd.DataFrame({"instruction": ["q", "r"], "input": ["x", np.nan], "output": ["a", "b"]})
    for source in (frame, frame.to_dict("records")):
        examples = load(source)
        assert said(examples)[1] == [("user", "r"), ("assistant", "b")]
        write_subset(examples, np.array([1]), tmp_path / "out.jsonl")
        assert json.loads((tmp_path / "out.jsonl").read_text())["input"] is None


def test_what_is_no_data_in_memory_is_refused_with_what_is() -> None:
    with pytest.raises(DataError, match="cannot be read from a list_iterator.*a list of dicts"):
        load(iter(ROWS))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="rows that are all dicts; it holds a int"):
        load([1])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="the list is empty"):
        load([])
    with pytest.raises(DataError, match="rows in memory, row 1: not text; found a key that is"):
        load([{1: "x", "prompt": "q", "completion": "a"}])
    with pytest.raises(DataError, match="DataFrame cannot be held as an Arrow.*list of dicts"):
        load(pd.DataFrame({"prompt": ["q", 1], "completion": ["a", "b"]}))
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(DataError, match="nested too deep"):
        load([{"prompt": "q", "completion": "a", "more": deep}])


def refusal(row: dict[str, Any]) -> str:
    with pytest.raises(DataError) as caught:
        load([row])
    return str(caught.value)


def call(arguments_: object) -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments_}
    return {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a", "tool_calls": [{"function": function}]},
        ]
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": None}, {"a": 1}),
        ({"a": [{"b": None}, None]}, {"a": [{}, None]}),
        ({"a": {"b": {"c": None}}}, {"a": {"b": {}}}),
        ({"a": 1.0, "b": [-2.0]}, {"b": [-2], "a": 1}),
        ('{"a": 1, "b": null}', {"a": 1}),
        (None, None),
    ],
)
def test_null_in_an_object_is_no_key_and_whole_numbers_have_one_form(
    one: object, other: object
) -> None:
    assert load([call(one)]).ids.tolist() == load([call(other)]).ids.tolist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": [None]}, {"a": []}),
        ({"a": {}}, {}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 2.0**53}, {"a": 2**53 + 1}),
    ],
)
def test_what_is_different_stays_different(one: object, other: object) -> None:
    assert load([call(one)]).ids.tolist() != load([call(other)]).ids.tolist()


def test_what_json_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    when = datetime(2024, 5, 1, tzinfo=UTC)
    assert "call 1: not text; found a value of type datetime" in refusal(call({"at": when}))
    assert "call 1: not text; found bytes" in refusal(call({"x": b"x"}))
    assert "a number that JSON cannot hold" in refusal(call({"x": float("inf")}))
    twice = json.dumps(call({"x": 1})).replace('"x": 1', '"x": 1, "x": 2')
    (tmp_path / "twice.jsonl").write_text(twice)
    with pytest.raises(DataError, match="call 1, x: duplicate key; found x more than once"):
        load(tmp_path / "twice.jsonl")


def test_a_map_is_an_object(tmp_path: Path) -> None:
    wanted = load([call({"a": "x", "b": "y"})])
    kind = pa.map_(pa.string(), pa.string())
    function = pa.struct([("name", pa.string()), ("arguments", kind)])
    turn = pa.struct([
        ("role", pa.string()), ("content", pa.string()),
        ("tool_calls", pa.list_(pa.struct([("function", function)]))),
    ])  # fmt: skip

    def table(*pairs: tuple[str, str]) -> pa.Table:
        schema = pa.schema([("messages", pa.list_(turn))])
        return pa.Table.from_pylist([call(list(pairs))], schema=schema)

    path = parquet(tmp_path / "map.parquet", table(("b", "y"), ("a", "x")))
    assert load(path).ids.tolist() == wanted.ids.tolist()
    with pytest.raises(DataError, match="row 1: not text; found .*duplicate field names"):
        load(parquet(path, table(("a", "x"), ("a", "y"))))
    with pytest.raises(DataError, match="Table cannot be held as an Arrow table or a data set"):
        load(table(("a", "x")))  # datasets knows no maps


def test_damaged_json_in_a_column_of_json_is_a_bad_row_that_is_named(tmp_path: Path) -> None:
    table = json_named(ROWS)
    texts = ['[{"role": "user"', *table["messages"].to_pylist()[1:]]
    table = table.set_column(0, table.schema.field("messages"), [texts])
    path = parquet(tmp_path / "a.parquet", table)
    with pytest.raises(DataError, match="row 1, messages: not JSON"):
        load(path)
    assert len(load(path, settings=ReadingSettings(on_bad_row="exclude"))) == len(ROWS) - 1


def test_lists_and_their_json_text_may_stand_in_one_file(tmp_path: Path) -> None:
    mixed = [row if n % 2 else as_text([row])[0] for n, row in enumerate(ROWS)]
    for order in (mixed, mixed[::-1]):
        assert set(load(order).ids.tolist()) == set(load(ROWS).ids.tolist())
    sharegpt = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    examples = load([{"conversations": "\n " + json.dumps(sharegpt, indent=1)}])
    assert examples.format == "sharegpt"
    assert said(examples) == [[("user", "q"), ("assistant", "a")]]


def test_text_that_is_no_list_of_turns_is_refused_with_what_would_be_read() -> None:
    row = {"messages": "[{'role': 'user', 'content': 'q'}]", "id": 1}
    assert "not the JSON text of a list of turns" in refusal(row)
    assert "json.dumps" in refusal(row)
    good, cut = as_text(ROWS[:1])[0]["messages"], {"messages": '[{"role": "user", "content": '}
    with pytest.raises(DataError, match="row 2, messages: not JSON; .*or the JSON text of one"):
        load([{"messages": good}, cut])
    with pytest.raises(DataError, match="row 2, messages: not a conversation"):
        load([{"messages": good}, {"messages": '{"role": "user"}'}])
    with pytest.raises(DataError, match="role: duplicate key"):
        load([{"messages": '[{"role": "user", "role": "user", "content": "q"}]'}])


def test_a_prompt_may_be_json_text_of_turns_and_any_other_json_is_text() -> None:
    turns = [{"role": "system", "content": "S"}, {"role": "user", "content": "q"}]
    answer = [{"role": "assistant", "content": "a"}]
    row = {"prompt": json.dumps(turns), "completion": json.dumps(answer)}
    assert said(load([row])) == [[("system", "S"), ("user", "q"), ("assistant", "a")]]
    staff = json.dumps([{"role": "Manager", "name": "Ada"}])
    for other in (staff, json.dumps(turns)[:-1], json.dumps(["role", "content"])):
        assert said(load([{"prompt": other, "completion": other}])) == [
            [("user", other), ("assistant", other)]
        ]


def test_tools_as_text_are_as_the_list_they_hold() -> None:
    tools = [{"name": "f", "parameters": {"b": 1, "a": None}}]

    def first(given_: object) -> str:
        examples: Examples = load([ROWS[0] | {"tools": given_}])
        return said(examples)[0][0][1]

    assert first(tools) == first(json.dumps(tools)) == '[{"name": "f", "parameters": {"b": 1}}]'
    assert first("no JSON: f(x)") == "no JSON: f(x)"
    blank: list[object] = [None, "", "[]", " {} ", "null", []]
    for nothing in blank:
        assert first(nothing) == "q0"


def test_a_split_of_data_in_memory_is_chosen() -> None:
    both = DatasetDict(train=Dataset.from_list(ROWS), test=Dataset.from_list(ROWS[:2]))
    assert (len(load(both)), load(both).split) == (6, ("train", ("train", "test")))
    assert len(load(both, settings=ReadingSettings(split="test"))) == 2
    for source in (ROWS, both["test"], pa.Table.from_pylist(ROWS)):
        with pytest.raises(DataError, match="has no splits"):
            load(source, settings=ReadingSettings(split="train"))
