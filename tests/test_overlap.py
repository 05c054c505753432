"""Test questions are kept out of training by a rule that anybody can check by hand."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalltolarge.errors import DataError, MissingArtifact
from smalltolarge.examples import Examples, load
from smalltolarge.examples.overlap import (
    REASON,
    Overlap,
    questions_of,
    read_questions,
    words_of,
)
from smalltolarge.settings import ReadingSettings

from .conftest import Cli
from .test_comparison import tiny, without_times, write_recipe

__all__ = ["tiny"]  # a fixture

LONG = "Ann has 12 red apples and gives 3 of them to Bob, who eats one. How many are left?"
SHORT = "What is 7 * 6?"


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def examples_of(folder: Path, prompts: Sequence[str], **how: Any) -> Examples:
    rows = [{"prompt": prompt, "completion": "A"} for prompt in prompts]
    return load(write(folder / "data.jsonl", rows), settings=ReadingSettings(**how))


def prompts_of(examples: Examples) -> list[str]:
    return [messages[0][1] for messages in examples.conversations()]


def kept(folder: Path, prompts: Sequence[str], questions: Sequence[str], **how: Any) -> list[str]:
    """Give the prompts that do not overlap with the questions, and one that never does."""
    asked = write(folder / "asked.jsonl", [{"question": question} for question in questions])
    examples = examples_of(folder, [*prompts, "zzz"], exclude_overlap=(str(asked),), **how)
    return prompts_of(examples)[:-1]


@pytest.mark.parametrize(
    "same",
    [
        LONG.upper(),
        LONG.replace(" ", "\n\t "),
        LONG.replace(",", " ,").replace("?", " ?!"),
        LONG.replace("a", "\uff41"),
        LONG.replace("apples", "ap\u00adples"),
        f"**Question:** {LONG} Let's write a program.",
        "Some other story. " + LONG.partition(" eats")[0],
    ],
    ids=["case", "white space", "punctuation", "width", "invisible", "around it", "a part of it"],
)
def test_the_same_words_overlap_however_they_are_set(same: str, tmp_path: Path) -> None:
    assert kept(tmp_path, [same], [LONG]) == []


@pytest.mark.parametrize(
    ("prompt", "is_kept"),
    [
        ("WHAT IS 7*6", False),
        ("What is 7 + 6?", True),
        ("What is 7 / 6?", True),
        ("What is -7 * 6?", True),
        ("What is 7.6?", True),
        ("What is 76?", True),
        ("Say it in words: what is 7 * 6?", True),
    ],
)
def test_a_short_question_counts_only_as_a_whole_and_with_its_signs(
    prompt: str, is_kept: bool, tmp_path: Path
) -> None:
    assert bool(kept(tmp_path, [prompt], [SHORT])) is is_kept


words = st.lists(
    st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=3), max_size=20
)
between = st.sampled_from([" ", ", ", "  ", "\n", "! ", '" (', "; ", "\u3000", "…"])


@given(words, words, between, between)
def test_texts_are_equal_exactly_when_their_words_are(
    one: list[str], other: list[str], first: str, second: str
) -> None:
    assert words_of(first.join(one).upper()) == one
    same = words_of(first.join(one)) == words_of(second.join(other))
    assert same == (one == other)


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = words_of(text)
    assert words_of(" ".join(once)) == once


@pytest.mark.parametrize(
    ("one", "other"),
    [("कि", "की"), ("naïve", "naive"), ("ש", "שׁ"), ("3.5", "3 5"), ("2:3", "2 3"), ("x²", "y²"),
     ("a + b", "a b"), ("a < b", "a > b"), ("5 − 3", "5 3"), ("30%", "30"), ("是", "不")],
)  # fmt: skip
def test_what_differs_to_a_reader_stays_different(one: str, other: str) -> None:
    assert words_of(one) != words_of(other)


few = st.lists(st.sampled_from("abc"), min_size=1, max_size=8)


def runs(text: list[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(text[start : start + n]) for start in range(len(text) - n + 1)}


@given(st.lists(few, min_size=1, max_size=6), st.lists(few, max_size=6), st.integers(1, 5))
def test_an_example_overlaps_exactly_when_it_is_a_question_or_shares_a_run(
    prompts: list[list[str]], questions: list[list[str]], n: int
) -> None:
    turn = {"content": "A", "role": "assistant"}
    messages = [[{"role": "user", "content": " ".join(one)}, turn] for one in prompts]
    table = pa.table({"messages": messages})
    examples = Examples(table, table[:0], (), "messages", {})
    asked = [(f"line {i}", [" ".join(one)]) for i, one in enumerate(questions)]
    hits = Overlap([[asked]], n).find(examples)
    expected = [
        row
        for row, one in enumerate(prompts)
        if one in questions or any(runs(one, n) & runs(question, n) for question in questions)
    ]
    assert [hit.row for hit in hits] == expected
    turned = Overlap([[asked[::-1]]], n).find(examples)
    assert [hit.row for hit in turned] == expected
    apart = Overlap([[[one]] for one in asked], n).find(examples)
    assert sorted({hit.row for hit in apart}) == expected


def test_the_order_of_rows_and_files_does_not_matter(tmp_path: Path) -> None:
    prompts = [LONG, SHORT, "something else", LONG.lower() + " Really?"]
    one = write(tmp_path / "one.jsonl", [{"question": LONG}])
    two = write(tmp_path / "two.jsonl", [{"question": SHORT}])
    for files in ((one, two), (two, one)):
        for order in (prompts, prompts[::-1]):
            examples = examples_of(tmp_path, order, exclude_overlap=tuple(map(str, files)))
            assert prompts_of(examples) == ["something else"]
            assert len(examples.excluded) == 3


def test_wording_that_many_questions_share_does_not_count(tmp_path: Path) -> None:
    put = "Answer the following question about numbers by thinking step by step and then write it:"
    questions = [f"{put} what is {number}?" for number in range(11)]
    prompts = [f"{put} who was Ada?", f"{put} what is 3?"]
    assert kept(tmp_path, prompts, questions) == prompts[:1]
    assert kept(tmp_path, prompts, questions[:10]) == []
    more = write(tmp_path / "more.jsonl", [{"question": questions[0]}])
    both = (str(tmp_path / "asked.jsonl"), str(more))
    assert prompts_of(examples_of(tmp_path, [*prompts, "zzz"], exclude_overlap=both)) == ["zzz"]


def test_overlap_words_sets_the_length_of_a_run(tmp_path: Path) -> None:
    prompt = "Tom gives 3 of them to Bob"
    assert kept(tmp_path, [prompt], [LONG]) == [prompt]
    assert kept(tmp_path, [prompt], [LONG], overlap_words=6) == []
    assert kept(tmp_path, [prompt], [LONG], overlap_words=7) == [prompt]


def test_every_row_left_out_says_where_and_what(tmp_path: Path) -> None:
    asked = write(tmp_path / "asked.jsonl", [{"question": SHORT}, {"question": LONG}])
    examples = examples_of(tmp_path, ["fine", f"{LONG} \x1b[31m"], exclude_overlap=(str(asked),))
    assert examples.n_read == 2
    (row,) = examples.excluded.to_pylist()
    assert (row["file"], row["row"], row["reason"]) == (0, 2, REASON)
    assert row["found"].startswith(f'{asked}, line 2: "ann has 12 red apples and gives 3')
    assert examples.ids.tolist() == examples_of(tmp_path, ["fine"]).ids.tolist()


@pytest.mark.parametrize(
    "row",
    [
        {"question": LONG, "answer": "8"},
        {"problem": LONG},
        {"prompt": LONG, "completion": "8"},
        {"instruction": "Ann has 12 red apples and gives 3 of them to Bob,",
         "input": "who eats one. How many are left?", "output": "8"},
        {"prompt": [{"role": "user", "content": LONG}]},
        {"messages": [{"role": "system", "content": "Be kind"}, {"role": "user", "content": LONG}]},
        {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"},
                           {"from": "human", "value": LONG}]},
    ],
)  # fmt: skip
def test_questions_are_found_in_any_usual_layout(row: dict[str, Any], tmp_path: Path) -> None:
    file = write(tmp_path / "asked.jsonl", [row])
    files = [file]
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "asked.parquet")
    files.append(tmp_path / "asked.parquet")
    for one in files:
        examples = examples_of(tmp_path, [LONG, "zzz"], exclude_overlap=(str(one),))
        assert prompts_of(examples) == ["zzz"]


def test_later_user_turns_count_but_not_what_an_assistant_says(tmp_path: Path) -> None:
    def row(*turns: str) -> dict[str, Any]:
        roles = ("user", "assistant") * len(turns)
        return {"messages": [{"role": r, "content": c} for r, c in zip(roles, turns, strict=False)]}

    data = write(tmp_path / "data.jsonl", [row("Hi", "Hello", LONG, "8"), row("Quote it", LONG)])
    asked = write(tmp_path / "asked.jsonl", [{"question": LONG}])
    examples = load(data, settings=ReadingSettings(exclude_overlap=(str(asked),)))
    assert prompts_of(examples) == ["Quote it"]
    overlap = Overlap([questions_of(load(data))])
    (hit,) = overlap.find(examples_of(tmp_path, [LONG]))
    assert overlap.describe(hit).startswith(f"{data}, line 1: ")


def test_a_file_that_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    for text, said in (
        ('{"answer": 8}', "line 1: no question to keep out; found answer"),
        ('{"question": 8}', "line 1: no question to keep out"),
        ("{", "line 1: not JSON"),
    ):
        (tmp_path / "asked.jsonl").write_text(f"{text}\n")
        with pytest.raises(DataError, match=said):
            list(read_questions(tmp_path / "asked.jsonl"))
    with pytest.raises(MissingArtifact, match="--exclude-overlap none.jsonl: no such file"):
        examples_of(tmp_path, ["fine"], exclude_overlap=("none.jsonl",))
    data = str(tmp_path / "data.jsonl")
    with pytest.raises(DataError, match="all 2 rows overlap with the eval"):
        examples_of(tmp_path, ["one", "two"], exclude_overlap=(data,))


def test_select_keeps_test_questions_out_and_refuses_a_changed_file(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    lines = data.read_text().splitlines(keepends=True)
    rows = [json.loads(line) for line in lines]
    tests = tmp_path / "tests"
    tests.mkdir()
    questions = [{"question": row["instruction"].upper()} for row in rows[:7]]
    write(tests / "few.jsonl", questions)
    write(tmp_path / "other.jsonl", [{"question": rows[50]["instruction"]}])
    command = (
        "select", "data.jsonl", "--method", "longest", "--budget", "100%", "--out", "subset.jsonl",
        "--exclude-overlap", "tests", "--exclude-overlap", "other.jsonl",
    )  # fmt: skip
    done = s2l(*command)
    assert "tests: " in done.stderr and "rows overlap with its questions" in done.stderr
    excluded = [json.loads(line) for line in (tmp_path / "runs/subset/excluded.jsonl").open()]
    gone = {row["row"] for row in excluded}
    assert gone >= {1, 2, 3, 4, 5, 6, 7, 51}
    assert {row["reason"] for row in excluded} == {REASON}
    assert f"excluded: {REASON}" in done.stdout
    assert "--exclude-overlap tests --exclude-overlap other.jsonl" in done.stdout
    left = [line for number, line in enumerate(lines, 1) if number not in gone]
    assert (tmp_path / "subset.jsonl").read_text() == "".join(left)
    assert "nothing to do" in s2l(*command).stderr
    s2l("verify", "runs/subset")
    write(tests / "few.jsonl", questions[1:])
    assert "the input changed" in s2l(*command, expect=4).stderr


def test_a_comparison_says_how_much_it_trains_on_overlaps(
    tiny: Path, tmp_path: Path, s2l: Cli
) -> None:
    rows = [json.loads(line) for line in (tmp_path / "data.jsonl").open()]
    seen = [{"question": row["instruction"], "answer": 1} for row in rows[:3]]
    write(tmp_path / "seen.jsonl", seen)
    write(tmp_path / "new.jsonl", [{"question": "What is one?", "answer": 1}])
    asked: dict[str, Any] = {"tasks": ["seen.jsonl", "new.jsonl"], "form": "direct"}
    evaluation = {**asked, "max_new_tokens": 1}
    write_recipe(tmp_path, evaluation=evaluation, methods=["random"])
    assert "training rows overlap with seen;" in s2l("run", tiny, "--dry-run").stderr
    said = s2l("run", tiny, "--out", "all").stderr
    stages = json.loads((tmp_path / "all/manifest.json").read_text())["stages"]
    found = stages["load"]["facts"]["overlaps"]
    assert found["seen"] >= 3 and found["new"] == 0
    assert f"{found['seen']} of the 90 training rows overlap with seen;" in said
    arms = {name: entry["facts"]["overlaps"] for name, entry in stages.items() if "arm" in name}
    assert arms["arm full-100pct-epochs-0"] == found
    assert all(0 <= arm["seen"] <= found["seen"] for arm in arms.values())
    write_recipe(
        tmp_path,
        evaluation=evaluation,
        methods=["random"],
        reading={"exclude_overlap": ["seen.jsonl"]},
    )
    said = s2l("run", tiny, "--out", "kept-out").stderr
    assert "no training row overlaps" in said
    stages = json.loads((tmp_path / "kept-out/manifest.json").read_text())["stages"]
    assert stages["load"]["facts"]["excluded"] == {REASON: found["seen"]}
    assert stages["load"]["facts"]["overlaps"] == {"seen": 0, "new": 0}
    assert without_times(tmp_path / "all/table.csv") != without_times(
        tmp_path / "kept-out/table.csv"
    )
