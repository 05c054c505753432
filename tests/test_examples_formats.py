"""Recognition of layouts, normalisation into turns, ids."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smalltolarge.errors import DataError, Interrupted, RecipeError
from smalltolarge.examples import Examples, describe, load, rows_as_dataset, would_read
from smalltolarge.examples.sources import resolve
from smalltolarge.progress import Progress
from smalltolarge.settings import ReadingSettings

from .conftest import LAYOUTS, said

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def jsonl(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def read(tmp_path: Path, rows: Sequence[object], **how: Any) -> Examples:
    return load(jsonl(tmp_path / "data.jsonl", rows), settings=ReadingSettings(**how))


def turns(tmp_path: Path, row: object, **how: Any) -> list[tuple[str, str]]:
    return said(read(tmp_path, [row], **how))[0]


def refusal(tmp_path: Path, row: object, **how: Any) -> str:
    good = json.loads(json.dumps(row))
    with pytest.raises(DataError) as caught:
        read(tmp_path, [good], **how)
    return str(caught.value)


PLAIN: dict[str, dict[str, Any]] = {
    **LAYOUTS,
    "question-answer": {"question": "Q", "answer": "A"},
}


def test_importing_and_reading_needs_neither_torch_nor_datasets() -> None:
    import subprocess

    code = "import sys, smalltolarge.examples; print({'torch', 'datasets'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


@pytest.mark.parametrize("name", PLAIN)
def test_every_layout_is_recognised_and_named(name: str, tmp_path: Path) -> None:
    examples = read(tmp_path, [PLAIN[name]] * 3)
    assert examples.format == ("instruction-response" if name == "question-answer" else name)
    assert len(examples) == examples.n_read == 3
    assert set(examples.columns.values()) == set(PLAIN[name])


@pytest.mark.parametrize(("one", "other"), list(combinations(PLAIN, 2)))
def test_two_layouts_in_one_file_are_never_guessed_between(
    one: str, other: str, tmp_path: Path
) -> None:
    rows = [PLAIN[one], PLAIN[other]] * 2
    said = []
    for order in (rows, rows[::-1]):
        with pytest.raises(DataError) as caught:
            read(tmp_path, order)
        said.append(str(caught.value))
    for text in said:
        assert "data.jsonl" in text
        assert "more than one way" in text and "--format" in text
        assert "2 of 4 rows" in text


@pytest.mark.parametrize(("one", "other"), list(combinations(PLAIN, 2)))
def test_rows_that_fit_two_layouts_are_read_as_asked(one: str, other: str, tmp_path: Path) -> None:
    both = json.loads(json.dumps(PLAIN[one]).replace('"Q"', '"R"')) | PLAIN[other]
    with pytest.raises(DataError, match="more than one way"):
        read(tmp_path, [both] * 2)
    choice = {"question-answer": {"columns": {"instruction": "question", "output": "answer"}}}
    for name in (one, other):
        how = choice.get(name, {"format": name})
        examples = read(tmp_path, [both] * 2, **how)
        assert said(examples)[0][-1] == ("assistant", "A")


def test_the_verdict_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"instruction": f"Q{n}", "output": "A"} for n in range(600)]
    rows[599] |= {"input": "late", "system": "S", "source": "here"}
    forward, backward = read(tmp_path, rows), read(tmp_path, rows[::-1])
    assert forward.columns == backward.columns
    assert forward.columns["input"] == "input" and forward.columns["system"] == "system"
    assert set(forward.ids.tolist()) == set(backward.ids.tolist())
    assert said(forward)[599] == [
        ("system", "S"),
        ("user", "Q599\n\nlate"),
        ("assistant", "A"),
    ]


def test_a_layout_that_appears_late_is_still_a_conflict(tmp_path: Path) -> None:
    rows = [PLAIN["alpaca"]] * 600 + [PLAIN["messages"]]
    for order in (rows, rows[::-1]):
        with pytest.raises(DataError, match="more than one way"):
            read(tmp_path, order)


def test_a_layout_not_seen_in_the_first_rows_is_found(tmp_path: Path) -> None:
    rows: list[object] = [{"note": "nothing"}] * 500 + [PLAIN["alpaca"]] * 500
    examples = read(tmp_path, rows, on_bad_row="exclude")
    assert (len(examples), examples.excluded.num_rows) == (500, 500)
    assert examples.excluded["row"].to_pylist() == list(range(1, 501))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"chosen": [{"role": "user", "content": "q"}], "rejected": []}, "text"),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, "preference pairs"),
        ({"text": "all in one"}, "no boundary between prompt and completion"),
        ({"instruction": "q", "instances": [{"input": "", "output": "a"}]}, "nested lists"),
        ({"prompt": "q", "completion": "a", "label": True}, "label: preference data; found true"),
        ({"messages": "[]", "id": "y"}, "holds text that is not the JSON text of a list"),
        ({"a": "x", "b": "y"}, "no layout fits its columns (a, b)"),
    ],
)
def test_data_of_another_sort_is_answered_by_its_name(
    row: dict[str, Any], words: str, tmp_path: Path
) -> None:
    if "chosen" in row and not row["rejected"]:
        row = {**row, "rejected": row["chosen"]}
        words = "--columns messages=chosen"
    assert words in refusal(tmp_path, row)


def test_a_format_that_does_not_fit_is_answered_with_the_one_that_does(tmp_path: Path) -> None:
    assert "It can be read as sharegpt" in refusal(tmp_path, PLAIN["sharegpt"], format="messages")


def test_columns_say_which_column_is_which(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text('id,section_text,dialogue\n1,note,"a\nb"\n', "utf-8")
    how = ReadingSettings(columns={"prompt": "dialogue", "completion": "section_text"})
    examples = load(path, settings=how)
    assert said(examples)[0] == [("user", "a\nb"), ("assistant", "note")]
    assert examples.table["row"].to_pylist() == [2]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"promt": "a"}, "did you mean prompt"),
        ({"prompt": "instructio", "completion": "output"}, "did you mean instruction"),
        ({"prompt": "instruction", "output": "output"}, "do not go together"),
    ],
)
def test_a_misspelt_column_is_answered_with_the_nearest(
    columns: dict[str, str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=words):
        read(tmp_path, [PLAIN["alpaca"]], columns=columns)


ANYTHING: list[object] = [
    *PLAIN.values(),
    {"instruction": "q", "output": ""},
    {"instruction": 3, "output": "a"},
    {"input": "i", "output": "o"},
    {"messages": "text"},
    {"messages": []},
    {"chosen": "a", "rejected": "b"},
    {"text": "t"},
    {"x": 1},
    [1],
    None,
]


@quick
@given(
    st.lists(st.sampled_from(ANYTHING), min_size=1, max_size=8), st.integers(1, 80), st.randoms()
)
def test_any_rows_in_any_order_meet_the_same_verdict(
    tmp_path: Path, some: list[object], times: int, chance: Any
) -> None:
    def verdict(rows: list[object]) -> tuple[object, ...]:
        try:
            found = read(tmp_path, rows, on_bad_row="exclude")
        except DataError as error:
            said = str(error)
            return tuple(
                words in said for words in ("more than one", "No row is left", "no layout")
            )
        assert found.n_read == len(rows)
        return (
            found.format,
            dict(found.columns),
            sorted(found.ids.tolist()),
            sorted(map(str, found.excluded["reason"].to_pylist())),
        )

    rows = some * times
    first = verdict(rows)
    chance.shuffle(rows)
    assert verdict(rows) == first


def test_input_is_the_prompt_only_when_asked(tmp_path: Path) -> None:
    assert turns(tmp_path, PLAIN["alpaca"])[0] == ("user", "Q\n\nX")
    assert turns(tmp_path, PLAIN["alpaca"], format="prompt-completion")[0] == ("user", "X")
    assert turns(tmp_path, {"input": "X", "output": "A"})[0] == ("user", "X")


@pytest.mark.parametrize("blank", ["", "  \n", None])
def test_a_blank_input_or_system_adds_nothing(blank: str | None, tmp_path: Path) -> None:
    rows = [
        {"instruction": "Q", "input": blank, "system": blank, "output": "A"},
        {"instruction": "Q", "input": "X", "system": "S", "output": "A"},
    ]
    first, second = said(read(tmp_path, rows))
    assert first == [("user", "Q"), ("assistant", "A")]
    assert second == [("system", "S"), ("user", "Q\n\nX"), ("assistant", "A")]


def test_texts_are_kept_exactly(tmp_path: Path) -> None:
    odd = " \t\u2028\x85 a\r\nb\0 \x1b[31m "
    assert turns(tmp_path, {"instruction": odd, "output": odd}) == [
        ("user", odd),
        ("assistant", odd),
    ]


def test_prompt_and_completion_may_be_messages(tmp_path: Path) -> None:
    row = {
        "prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}],
        "completion": [{"role": "assistant", "content": "A"}],
    }
    assert turns(tmp_path, row) == [("system", "S"), ("user", "Q"), ("assistant", "A")]


def test_sharegpt_roles_become_ours_and_tools_join_the_system_text(tmp_path: Path) -> None:
    row = {
        "conversations": [
            {"from": "human", "value": "Q"},
            {"from": "function_call", "value": '{"name": "f"}'},
            {"from": "observation", "value": "42"},
            {"from": "gpt", "value": "A"},
        ],
        "system": "S",
        "tools": '[{"name": "f"}]',
    }
    assert turns(tmp_path, row) == [
        ("system", 'S\n\n[{"name": "f"}]'),
        ("user", "Q"),
        ("assistant", '{"name": "f"}'),
        ("tool", "42"),
        ("assistant", "A"),
    ]
    assert turns(tmp_path, row | {"tools": "[]"})[0] == ("system", "S")


def test_tool_calls_are_written_as_canonical_json(tmp_path: Path) -> None:
    def row(arguments: object, content: str | None) -> dict[str, Any]:
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
        return {
            "messages": [
                {"role": "user", "content": "Q"},
                {"role": "assistant", "content": content, "tool_calls": [call, call]},
                {"role": "tool", "content": ""},
                {"role": "assistant", "content": "done"},
            ]
        }

    line = '{"name": "f", "arguments": {"a": 1, "b": "é"}}'
    for arguments in ({"b": "é", "a": 1}, '{"b":"\\u00e9",  "a":1}'):
        assert turns(tmp_path, row(arguments, None))[1][1] == f"{line}\n{line}"
        assert turns(tmp_path, row(arguments, "Wait."))[1][1] == f"Wait.\n{line}\n{line}"


def test_text_parts_are_joined_and_images_refused(tmp_path: Path) -> None:
    def row(part: dict[str, str]) -> dict[str, Any]:
        content = [{"type": "text", "text": "a"}, part]
        return {
            "messages": [{"role": "user", "content": content}, PLAIN["messages"]["messages"][1]]
        }

    assert turns(tmp_path, row({"type": "text", "text": "b"}))[0] == ("user", "ab")
    said = refusal(tmp_path, row({"type": "image_url", "image_url": "x"}))
    assert "line 1" in said and "turn 1, content, part 2" in said and "images" in said


def talk(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": f"{role} text"} for role in roles]}


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        (("assistant",), "nothing to learn; found an answer to nothing"),
        (("user", "system", "assistant"), "turn 2: turns out of order"),
        (("user", "tool", "assistant"), "turn 2: turns out of order"),
        (("tool", "user", "assistant"), "turn 1: turns out of order"),
        (("user", "narrator"), "turn 2, role: unknown role"),
        (("system", "user"), "no assistant turn"),
        ((), "not a conversation"),
    ],
)
def test_turns_out_of_order_are_named_by_place_and_role(
    roles: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="line 2") as caught:
        read(tmp_path, [talk("user", "assistant"), talk(*roles)])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "roles",
    [
        ("system", "assistant"),
        ("user", "user", "assistant", "assistant"),
        ("user", "assistant", "tool", "tool", "assistant", "user", "assistant"),
    ],
)
def test_turns_in_order_are_kept_as_they_are(roles: tuple[str, ...], tmp_path: Path) -> None:
    assert [role for role, _ in turns(tmp_path, talk(*roles))] == list(roles)


def test_turns_after_the_last_answer_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = turns(tmp_path, talk("user", "assistant", "user"))
    assert [role for role, _ in found] == ["user", "assistant"]
    assert "1 conversations go on after their last assistant turn" in caplog.text


def test_the_id_is_the_documented_digest(tmp_path: Path) -> None:
    def part(role: str, content: str) -> bytes:
        body = content.encode()
        return bytes([len(role)]) + role.encode() + len(body).to_bytes(8, "little") + body

    row = {"instruction": "Qé", "output": "A"}
    content = part("user", "Qé") + part("assistant", "A")
    wanted = [
        hashlib.blake2b(content + n.to_bytes(8, "little"), digest_size=16).hexdigest()
        for n in range(3)
    ]
    assert read(tmp_path, [row] * 3).table["id"].to_pylist() == wanted


def test_equal_content_has_equal_ids_in_every_layout_and_kind(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Q", "output": "A", "extra": 1},
        {"instruction": "Q", "response": "A"},
        {"question": "Q", "answer": "A", "source": "s"},
        {"prompt": "Q", "completion": "A"},
        {"findings": "Q", "impression": "A"},
        PLAIN["messages"],
        PLAIN["sharegpt"],
    ]
    found = {read(tmp_path, [row]).ids.tobytes() for row in rows}
    (tmp_path / "a.json").write_text(json.dumps(rows[:1]))
    (tmp_path / "a.csv").write_text("output;instruction\nA;Q\n")
    (tmp_path / "b.tsv").write_text("output\tinstruction\nA\tQ\n")
    pq.write_table(pa.Table.from_pylist([PLAIN["prompt-completion"]]), tmp_path / "a.parquet")
    found |= {
        load(tmp_path / name).ids.tobytes() for name in ("a.json", "a.csv", "b.tsv", "a.parquet")
    }
    assert len(found) == 1


words = st.text(st.sampled_from("ab \n\"'é\u2028😀"), min_size=1, max_size=5).filter(str.strip)
conversation = st.lists(st.tuples(words, words), min_size=1, max_size=3)


@quick
@given(st.lists(conversation, min_size=2, max_size=8, unique_by=str))
def test_different_turns_have_different_ids(tmp_path: Path, given_: list[Any]) -> None:
    rows = [
        {
            "messages": [
                {"role": role, "content": text}
                for asked, answered in pairs
                for role, text in (("user", asked), ("assistant", answered))
            ]
        }
        for pairs in given_
    ]
    examples = read(tmp_path, rows)
    assert len(set(examples.ids.tolist())) == len(rows)
    assert said(examples) == [
        [(turn["role"], turn["content"]) for turn in row["messages"]] for row in rows
    ]


@quick
@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=12), st.randoms())
def test_ids_are_unique_and_the_same_set_in_any_order(
    tmp_path: Path, texts: list[str], chance: Any
) -> None:
    rows = [{"prompt": text, "completion": text, "source": None} for text in texts]
    first = read(tmp_path, rows).ids.tolist()
    chance.shuffle(rows)
    assert len(set(first)) == len(rows)
    assert sorted(read(tmp_path, rows).ids.tolist()) == sorted(first)


@pytest.mark.parametrize(
    ("rows", "columns", "wanted"),
    [
        ([{"source": "s"}, {"source": None}, {}], None, ["s", None, None]),
        ([{"topic": "t"}, {"topic": "u"}], {"source": "topic"}, ["t", "u"]),
        ([{"source": 3}, {"source": "s"}], None, [None, None]),
        ([{}, {}], None, [None, None]),
    ],
)
def test_the_source_column_is_optional_and_null_is_its_own_group(
    rows: list[dict[str, Any]],
    columns: dict[str, str] | None,
    wanted: list[str | None],
    tmp_path: Path,
) -> None:
    full = [row | {"instruction": "Q", "output": "A"} for row in rows]
    assert read(tmp_path, full, columns=columns).sources() == wanted


def test_describe_says_it_in_one_line(tmp_path: Path) -> None:
    rows = [{"instruction": "Q", "input": "X", "output": "A", "source": "s"}] * 1234
    assert describe(read(tmp_path, rows)) == (
        "alpaca: instruction, input, output; 1,234 rows; source column: source"
    )


def test_folders_globs_lists_and_datasets_are_read(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("b", "a"):
        jsonl(folder / f"{name}.jsonl", [{"prompt": name, "completion": name}])
    (folder / "README.md").write_text("about")
    wanted = [[("user", "a"), ("assistant", "a")], [("user", "b"), ("assistant", "b")]]
    for source in (folder, str(folder), str(folder / "*.jsonl"), sorted(folder.glob("*.jsonl"))):
        examples = load(source)
        assert said(examples) == wanted
        assert examples.table["file"].to_pylist() == [0, 1]
    rows = [{"prompt": name, "completion": name, "n": 1} for name in ("a", "b")]
    dataset = Dataset.from_list(rows)
    dataset.save_to_disk(tmp_path / "saved")
    DatasetDict({"train": dataset}).save_to_disk(tmp_path / "splits")
    for other in (dataset, tmp_path / "saved", tmp_path / "splits"):
        examples = load(other)
        assert said(examples) == wanted
        assert examples.inputs[0].kind == ("dataset" if other is dataset else "saved-dataset")
    with pytest.raises(DataError, match="no split test; it has train"):
        load(tmp_path / "splits", settings=ReadingSettings(split="test"))


def test_reading_reports_every_byte_and_can_be_stopped(tmp_path: Path) -> None:
    class Counted(Progress):
        amount: float = 0.0
        said: tuple[Any, ...] = ()

        @contextmanager
        def step(
            self, label: str, total: float | None = None, unit: str = "", done: float = 0.0
        ) -> Iterator[Any]:
            self.said = (label, total, unit)
            yield self

        def advance(self, amount: float = 1, note: str = "") -> None:
            self.amount += amount

    def stop() -> None:
        raise Interrupted("stopped")

    path = jsonl(tmp_path / "train.jsonl", [PLAIN["alpaca"]] * 100)
    counted = Counted()
    load(path, progress=counted)
    size = path.stat().st_size
    assert counted.said == ("reading", size, "bytes") and counted.amount == size
    with pytest.raises(Interrupted):
        load(path, check=stop)


def owners(examples: Examples, column: str = "mark") -> dict[Any, object]:
    """Which physical row has which id, by a column that is no part of the turns."""
    rows = rows_as_dataset(examples, np.arange(len(examples)))
    return dict(zip(examples.table["id"].to_pylist(), rows[column], strict=True))


def write_as(kind: str, folder: Path, rows: list[dict[str, Any]]) -> Any:
    file = folder / f"data.{kind}"
    if kind == "dataset":
        from datasets import Dataset

        return Dataset.from_list(rows)
    if kind == "jsonl":
        jsonl(file, rows)
    elif kind == "jsonl.gz":
        file.write_bytes(gzip.compress(jsonl(folder / "data.jsonl", rows).read_bytes()))
    elif kind == "json":
        file.write_text(json.dumps(rows))
    elif kind == "csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        file.write_text("".join(f"{line}\n" for line in lines))
    else:
        pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=2)
    return file


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "csv", "parquet", "dataset"])
def test_rows_with_equal_turns_have_the_same_ids_in_any_order_of_the_file(
    kind: str, tmp_path: Path
) -> None:
    rows = [{"prompt": f"Q{i % 3}", "completion": "A", "mark": f"m{i}"} for i in range(12)]
    wanted = owners(load(write_as(kind, tmp_path, rows)))
    assert len(wanted) == len(rows)
    for change in (rows[::-1], rows[5:] + rows[:5]):
        assert owners(load(write_as(kind, tmp_path, change))) == wanted


def test_rows_with_equal_turns_in_several_files_do_not_depend_on_the_order_of_the_files(
    tmp_path: Path,
) -> None:
    files = [
        jsonl(tmp_path / f"{name}.jsonl", [{"prompt": "Q", "completion": "A", "mark": name}] * 2)
        for name in "abc"
    ]
    assert owners(load(files)) == owners(load(files[::-1]))


def test_a_column_python_cannot_hold_decides_nothing(tmp_path: Path) -> None:
    far = pa.array([2**45, 2**45], pa.timestamp("s"))
    same = pa.array(["Q", "Q"])
    table = pa.table({"prompt": same, "completion": same, "when": far, "mark": pa.array([1, 2])})
    pq.write_table(table, tmp_path / "a.parquet")
    assert len(load(tmp_path / "a.parquet").ids) == 2


@pytest.mark.parametrize(
    ("given_", "out", "wanted"),
    [
        ("data", "data/subset.jsonl", True),
        ("data", "./data/../data/subset.jsonl.gz", True),
        ("data", "data/subset.parquet", True),
        ("data", "data/deeper/subset.jsonl", False),
        ("data", "data/.subset.jsonl", False),
        ("data", "data/subset", False),
        ("data", "subset.jsonl", False),
        ("link", "data/subset.jsonl", True),
        ("data/a.jsonl", "data/subset.jsonl", False),
        ("data/*.jsonl", "data/subset.jsonl", True),
        ("data/*.jsonl", "data/subset.csv", False),
        ("data/*.jsonl", "data/.subset.jsonl", False),
        ("link/*.jsonl", "data/subset.jsonl", True),
        ("*/*.jsonl", "new/subset.jsonl", True),
        ("data/[a-c]*", "data/subset.jsonl", False),
        ("**/*.jsonl", "data/deeper/subset.jsonl", True),
        ("**/*.jsonl", "subset.jsonl", True),
        ("**", "data/x/y.jsonl", True),
        ("**", "data/.x/y.jsonl", False),
        ("owner/name", "subset.jsonl", False),
        ("saved", "saved/subset.jsonl", True),
    ],
)
def test_an_output_that_a_later_reading_would_take_in_is_known(
    given_: str, out: str, wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "[odd] name"
    for folder in ("data", "saved"):
        (here / folder).mkdir(parents=True)
    monkeypatch.chdir(here)
    (here / "saved" / "state.json").write_text("{}")
    jsonl(here / "data" / "a.jsonl", [PLAIN["alpaca"]])
    (here / "link").symlink_to("data")
    assert would_read([given_], Path(out)) is wanted
    if given_ in ("saved", "owner/name"):
        return
    before = {one.name for one in resolve(given_)}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    jsonl(Path(out), [PLAIN["alpaca"]])
    with suppress(DataError):  # the suffix is of another kind, which is told apart by content
        after = {one.name for one in resolve(given_)}
        assert bool(after - before) is wanted
