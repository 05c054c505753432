"""A key that changes what a row means is read, honoured or refused by name; it is never ignored."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from smalltolarge.errors import DataError, RecipeError
from smalltolarge.examples import Examples, Message, load
from smalltolarge.examples.keys import BY_NAME, CONVERSATION, TABLE, Place
from smalltolarge.settings import ReadingSettings

from .conftest import LAYOUTS, Cli

quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TURNS = {"messages": ("role", "content"), "sharegpt": ("from", "value")}
USER, ANSWER = Message("user", "Q"), Message("assistant", "A")


def read(folder: Path, rows: Sequence[object], **how: Any) -> Examples:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load(file, settings=ReadingSettings(**how))


def turns(folder: Path, row: object, **how: Any) -> list[Message]:
    return next(read(folder, [row], **how).conversations())


def refusal(folder: Path, row: object, **how: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, [row], **how)
    return str(caught.value)


def chat(*given: dict[str, Any], **beside: Any) -> dict[str, Any]:
    """Give a row of messages whose roles alternate, from the user on."""
    roles = ("user", "assistant") * len(given)
    turns = [{"role": role, **turn} for role, turn in zip(roles, given, strict=False)]
    return {"messages": turns, **beside}


def pair(**beside: Any) -> dict[str, Any]:
    return {"instruction": "Q", "output": "A", **beside}


def answer(**beside: Any) -> dict[str, Any]:
    """Give a row of messages whose answer has these keys beside its content."""
    return chat({"content": "Q"}, {"content": "A", **beside})


def in_parts(*parts: dict[str, Any]) -> dict[str, Any]:
    return chat({"content": "Q"}, {"content": list(parts)})


def text(content: str, **beside: Any) -> dict[str, Any]:
    return {"type": "text", "text": content, **beside}


def with_key(layout: str, place: Place, name: str, value: object) -> dict[str, Any] | None:
    """Put a key into a row of a layout, beside what it has; None where it cannot stand there."""
    row = copy.deepcopy(LAYOUTS[layout])
    if place == "row":
        return row | {name: value}
    if layout not in TURNS:
        return None
    last = next(iter(row.values()))[-1]
    if place == "turn":
        last[name] = value
    else:
        content = TURNS[layout][1]
        last[content] = [{"type": "text", "text": last[content], name: value}]
    return row


values = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, 2, -1, 0.0, 1.0, 0.5])
    | st.sampled_from(["", " ", "0", "1", "true", "False", "on", "A", "B", "user", "test", "[]"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["text", "name", "role", "value"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@quick
@given(
    layout=st.sampled_from(list(LAYOUTS)),
    key=st.sampled_from([(place, name) for place in BY_NAME for name in BY_NAME[place]]),
    value=values,
)
@example(layout="alpaca", key=("row", "history"), value=[["Q", "A"]])
@example(layout="messages", key=("turn", "function_call"), value={"name": "f"})
@example(layout="sharegpt", key=("turn", "tool_calls"), value=[{"name": "f"}])
@example(layout="messages", key=("row", "tools"), value=[{"name": "f"}])
@example(layout="messages", key=("part", "weight"), value=False)
@example(layout="messages", key=("turn", "masked"), value=True)
def test_no_key_of_the_table_is_ignored_whatever_it_holds(
    layout: str, key: tuple[Place, str], value: object, tmp_path: Path
) -> None:
    place, name = key
    row = with_key(layout, place, name, value)
    if row is None:
        return
    plain = turns(tmp_path, LAYOUTS[layout])
    role = CONVERSATION if place == "row" and layout in TURNS else "assistant"
    nothing = BY_NAME[place][name].is_nothing(value, role)
    said = ""
    try:
        found = turns(tmp_path, row)
    except DataError as error:
        said = str(error)
    if said:
        assert not nothing
        assert "rows.jsonl, line 1" in said and name in said
    else:
        assert (found == plain) == nothing


@pytest.mark.parametrize("name", sorted(name for key in TABLE for name in key.names))
def test_a_column_that_is_given_a_part_plays_that_part_alone(name: str, tmp_path: Path) -> None:
    found = read(tmp_path, [pair(**{name: "true"})], columns={"source": name})
    assert found.sources() == ["true"]
    assert next(found.conversations()) == [USER, ANSWER]


NAMES = sorted(BY_NAME["row"])


@pytest.mark.parametrize("value", ["something", "test", 0, 1, False, [["Q", "A"]]])
def test_a_column_to_ignore_means_nothing_whatever_its_name(value: object, tmp_path: Path) -> None:
    names = NAMES
    row = pair(**dict.fromkeys(names, value))
    assert turns(tmp_path, row, ignore=tuple(names)) == [USER, ANSWER]
    pairs = [pair(chosen="A", rejected="B")]
    assert len(read(tmp_path, pairs, ignore=("chosen", "rejected"))) == 1
    with pytest.raises(RecipeError, match="no column lable"):
        read(tmp_path, [pair(label=1)], ignore=("lable",))


def test_a_refusal_says_how_a_column_is_ignored(tmp_path: Path, s2l: Cli) -> None:
    assert "or --ignore label, where it means nothing" in refusal(tmp_path, pair(label=0))
    s2l("load", str(tmp_path / "rows.jsonl"), "--ignore", "label")


@pytest.mark.parametrize("name", ["Weight", "WEIGHT", "lossWeight", "Loss_Weight", "LossWeight"])
def test_a_key_is_known_however_it_is_spelled(name: str, tmp_path: Path) -> None:
    assert turns(tmp_path, answer(**{name: 1})) == [USER, ANSWER]
    usual = "weight" if name.lower() == "weight" else "loss_weight"
    assert f"turn 2, {name}" in refusal(tmp_path, answer(**{name: 0}))
    assert f"the name {usual}" in refusal(tmp_path, answer(**{name: 0}))


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (pair(system="S", system_prompt="T"), "system_prompt"),
        (pair(input="I", context="C"), "context"),
        ({"prompt": "Q", "context": "C", "completion": "A"}, "context"),
        ({"question": "Q", "choices": ["a", "b"], "answer": "B"}, "choices"),
        ({"question": "Q", "answer": "A", "cot": "R"}, "cot"),
        (answer(thought="R"), "thought"),
        (answer(function_calls="f()"), "function_calls"),
        (chat({"content": "Q", "tools": [{"name": "f"}]}, {"content": "A"}), "tools"),
        (answer(channel="analysis"), "channel"),
        (chat({"content": "Q"}, {"content": "A"}, tools=[1], functions=[2]), "functions"),
    ],
)
def test_what_would_be_lost_beside_what_is_read_is_refused(
    row: dict[str, Any], name: str, tmp_path: Path
) -> None:
    said = refusal(tmp_path, row)
    assert f"{name}: not honoured" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("split", "test_sft"),
        ("split", "Validation"),
        ("partition", "dev"),
        ("data_split", "test-a"),
    ],
)
def test_rows_of_evaluation_splits_are_held_out(name: str, value: str, tmp_path: Path) -> None:
    assert "held out" in refusal(tmp_path, pair(**{name: value}))
    for harmless in ("train", "train_sft", "latest", "contest", "train/test"):
        assert turns(tmp_path, pair(**{name: harmless})) == [USER, ANSWER]


def test_numbers_of_other_libraries_mean_what_they_say(tmp_path: Path) -> None:
    for zero in (np.int64(0), np.float32(0), np.bool_(False), Decimal(0)):
        with pytest.raises(DataError, match="preference data"):
            load([pair(label=zero)])
        with pytest.raises(DataError, match="nothing to learn"):
            load([answer(weight=zero)])


def test_a_prompt_held_as_json_text_is_turns_to_the_keys_beside_it(tmp_path: Path) -> None:
    asked = json.dumps([{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}])
    row = {"prompt": asked, "completion": "A"}
    assert "history" in refusal(tmp_path, row | {"history": [["q", "a"]]})
    assert "reasoning" in refusal(tmp_path, row | {"reasoning": "R"})


def test_reasoning_is_part_of_the_conversation_and_of_the_id(tmp_path: Path) -> None:
    thought = [USER, ANSWER._replace(reasoning="R")]
    rows = [
        answer(reasoning_content="R"),
        answer(reasoning="R", thinking=None),
        answer(thinking="R", reasoning_content="R"),
        in_parts({"type": "thinking", "thinking": "R"}, text("A")),
        in_parts({"type": "reasoning", "text": "R"}, text("A")),
        in_parts({"type": "reasoning", "value": "R"}, {"type": "text", "value": "A"}),
        in_parts({"type": "thinking", "thinking": [text("R")]}, text("A")),
    ]
    assert list(read(tmp_path, rows).conversations()) == [thought] * len(rows)
    said = {"from": "gpt", "value": "A", "reasoning": "R"}
    sharegpt = {"conversations": [{"from": "human", "value": "Q"}, said]}
    prompted = {"prompt": "Q", "completion": "A", "reasoning": "R"}
    for row in (sharegpt, pair(thinking="R"), prompted):
        assert turns(tmp_path, row) == thought
    ids = {read(tmp_path, [row]).ids[0] for row in (answer(), answer(reasoning="R"), rows[0])}
    assert len(ids) == 2
    inside = chat({"content": "Q"}, {"content": "<think>R</think>A"})
    assert turns(tmp_path, inside)[1] == ("assistant", "<think>R</think>A", "", True)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (answer(reasoning="R", thinking="S"), 'thinking: not honoured; found "S", besides another'),
        (chat({"content": "Q", "thinking": "R"}, {"content": "A"}), "turn 1, thinking: not hon"),
        (chat({"content": "Q"}, {"content": "", "thinking": "R"}), "reasoning alone is not learne"),
        (in_parts(text("A"), {"type": "thinking", "thinking": "R"}), "reasoning before the text"),
        (answer(reasoning="on"), "a switch"),
        (answer(reasoning={"effort": "high"}), "not text"),
        (answer() | {"reasoning": "R"}, "reasoning in the turn that it belongs to"),
    ],
)
def test_reasoning_that_has_no_clear_place_is_refused(
    row: dict[str, Any], words: str, tmp_path: Path
) -> None:
    assert words in refusal(tmp_path, row)


@pytest.mark.parametrize(
    "mark",
    [{"weight": 0}, {"train": False}, {"loss": False}, {"loss_weight": 0.0}, {"training": "false"},
     {"trainable": 0}, {"loss_mask": 0}, {"step_loss_mask": 0}, {"masked": True},
     {"weight": 0, "train": None}],
)  # fmt: skip
def test_a_turn_marked_as_not_learned_is_context(mark: dict[str, Any], tmp_path: Path) -> None:
    earlier, last = {"content": "no", **mark}, {"content": "A", "weight": 1, "train": True}
    wanted = [USER, Message("assistant", "no", "", False), USER, ANSWER]
    assert turns(tmp_path, chat({"content": "Q"}, earlier, {"content": "Q"}, last)) == wanted
    parts = {"content": [text("n", **mark), text("o", **mark)]}
    assert turns(tmp_path, chat({"content": "Q"}, parts, {"content": "Q"}, last)) == wanted
    twin = [{"from": role, "value": value} for role, value, *_ in wanted]
    twin[1] |= mark
    assert turns(tmp_path, {"conversations": twin}) == wanted
    assert "nothing to learn" in refusal(tmp_path, answer(**mark))


def test_other_marks_are_refused_by_name_and_value(tmp_path: Path) -> None:
    for mark in ({"weight": 0.5}, {"loss_weight": 2}, {"train": "later"}, {"mask": True},
                 {"mask": 0}, {"train_detail": [{"begin_offset": 0}]}):  # fmt: skip
        said = refusal(tmp_path, answer(**mark))
        assert f"messages, turn 2, {next(iter(mark))}: not honoured" in said
    asked = chat({"content": "Q", "train": True}, {"content": "A"})
    assert "turn 1, train: not honoured; found true on a user turn" in refusal(tmp_path, asked)
    asked = chat({"content": "Q", "train": False, "weight": 0}, {"content": "A"})
    assert turns(tmp_path, asked) == [USER, ANSWER]
    mixed = in_parts(text("A", weight=0), text("B"))
    assert "part 1, weight: not honoured; found a part that is not" in refusal(tmp_path, mixed)


def test_a_row_with_nothing_left_to_learn_is_excluded_by_that_reason(tmp_path: Path) -> None:
    rows = [pair(weight=0), pair(weight=1), answer(train=False)]
    found = read(tmp_path, rows[:2], on_bad_row="exclude")
    assert found.excluded.to_pylist()[0]["reason"] == "nothing to learn"
    assert (len(found), found.excluded.to_pylist()[0]["field"]) == (1, "weight")
    found = read(tmp_path, [rows[2], answer()], on_bad_row="exclude")
    assert found.excluded["reason"].to_pylist() == ["nothing to learn"]
    (tmp_path / "rows.csv").write_text("instruction,output,weight\nQ,A,1\nQ,B,0\n")
    kept = load(tmp_path / "rows.csv", settings=ReadingSettings(on_bad_row="exclude"))
    assert list(kept.conversations()) == [[USER, ANSWER]]


def test_the_last_answer_alone_is_learned_where_asked(tmp_path: Path) -> None:
    row = chat(*({"content": word} for word in "qarb"))
    assert [turn.learned for turn in turns(tmp_path, row)] == [True] * 4
    found = read(tmp_path, [row], learn="last")
    assert [turn.learned for turn in next(found.conversations())] == [True, False, True, True]
    assert found.lengths().tolist() == [1]
    row["messages"][3]["weight"] = 0
    assert "nothing to learn" in refusal(tmp_path, row, learn="last")
    rounds = turns(tmp_path, pair(history=[["q", "a"]]), learn="last")
    assert [turn.learned for turn in rounds] == [True, False, True, True]


def test_earlier_rounds_are_turns(tmp_path: Path) -> None:
    row = pair(history=[["q", "a"], ["r", "b"]], system="S")
    said = [turn[:2] for turn in turns(tmp_path, row)]
    assert said == [
        ("system", "S"), ("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b"),
        ("user", "Q"), ("assistant", "A"),
    ]  # fmt: skip
    assert turns(tmp_path, pair(history=[])) == turns(tmp_path, pair(history=None))
    for odd in ([["q"]], [["q", ""]], [["q", 1]], {"q": "a"}, "q", ["q", "a"]):
        assert "history" in refusal(tmp_path, pair(history=odd))
    assert "history: not honoured" in refusal(tmp_path, answer() | {"history": [["q", "a"]]})


@pytest.mark.parametrize("grade", [True, False, 0, 1, "true", "False"])
def test_graded_answers_are_refused_in_every_layout(grade: object, tmp_path: Path) -> None:
    for row in LAYOUTS.values():
        for name in ("label", "kto_tag"):
            said = refusal(tmp_path, row | {name: grade})
            assert f"line 1 (byte 0), {name}: preference data; found" in said


def test_good_answers_alone_are_read_where_the_format_is_given(tmp_path: Path) -> None:
    rows = [pair(label=True), {"instruction": "Q", "output": "B", "label": False}]
    found = read(tmp_path, rows, format="alpaca", on_bad_row="exclude")
    assert list(found.conversations()) == [[USER, ANSWER]]
    assert found.excluded["reason"].to_pylist() == ["preference data"]
    assert turns(tmp_path, pair(label="spam")) == [USER, ANSWER]


@pytest.mark.parametrize(
    ("row", "chosen"),
    [
        (
            {"prompt": "Q", "chosen": "A", "rejected": "B"},
            {"prompt": "prompt", "completion": "chosen"},
        ),
        (
            {"question": "Q", "chosen": "A", "rejected": "B", "score_chosen": 8.0},
            {"instruction": "question", "output": "chosen"},
        ),
        (
            {
                "conversations": [{"from": "human", "value": "Q"}],
                "chosen": {"from": "gpt", "value": "A"},
                "rejected": {"from": "gpt", "value": "B"},
            },
            {"prompt": "conversations", "completion": "chosen"},
        ),
        (
            answer() | {"chosen": answer()["messages"], "rejected": answer()["messages"]},
            {"messages": "chosen"},
        ),
    ],
)
def test_preference_pairs_are_refused_with_the_columns_that_read_the_chosen_answers(
    row: dict[str, Any], chosen: dict[str, str], tmp_path: Path
) -> None:
    said = refusal(tmp_path, row)
    assert "preference pairs" in said
    assert " ".join(f"--columns {role}={column}" for role, column in chosen.items()) in said
    assert turns(tmp_path, row, columns=chosen) == [USER, ANSWER]
    assert "preference" in refusal(tmp_path, row, format="messages")
    assert "rejected_response: preference data" in refusal(
        tmp_path, answer() | {"rejected_response": "B"}
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (answer() | {"images": ["a.png"]}, "images: not only text"),
        (pair(image={"bytes": None, "path": "a.png"}), "image: not only text"),
        (answer(audio={"id": "x"}), "turn 2, audio: not only text"),
        (in_parts(text("A", image_url={"url": "x"})), "part 1, image_url: not only text"),
        (answer() | {"chat_template_kwargs": {"enable_thinking": False}}, "--template-arg"),
        (pair(split="test"), "split: held out"),
        (pair(tools=[{"name": "f"}]), "--columns tools=tools"),
        (answer(refusal="no"), "refusal: not honoured"),
        (answer() | {"input_ids": [1]}, "input_ids: not honoured"),
        ({"input_ids": [1], "labels": [1]}, "line 1|row 1, input_ids: tokens"),
        ({"segments": [{"label": True, "text": "A"}]}, "segments: pieces of text"),
        ({"message_id": "1", "parent_id": None, "text": "q", "role": "prompter"}, "of a tree"),
        ({"prompt": {"text": "q"}, "replies": [{"text": "a"}]}, "a tree of messages"),
        ({"conversations": ["q", "a"]}, "conversations: no turns with a role"),
        ({"text": "### Human: q### Assistant: a"}, "plain text"),
        (pair(output=["a", "b"]), "output: not text; found a list"),
        ({"question": "1 + 1?", "answer": 2}, 'as in "2"'),
    ],
)
def test_what_is_not_one_text_to_learn_is_refused_by_name(
    row: dict[str, Any], words: str, tmp_path: Path
) -> None:
    said = refusal(tmp_path, row)
    assert any(option in said for option in words.split("|")), said
    assert "rows.jsonl" in said


def test_tools_are_read_beside_lists_of_turns(tmp_path: Path) -> None:
    first, last = answer()["messages"]
    row = {"prompt": [first], "completion": [last], "tools": [{"name": "f"}]}
    assert turns(tmp_path, row) == [Message("system", '[{"name": "f"}]'), USER, ANSWER]
    assert turns(tmp_path, pair(tools=[]))[:1] == [USER]


def test_padding_and_provenance_mean_nothing(tmp_path: Path) -> None:
    plain = read(tmp_path, [answer()]).ids.tolist()
    row = chat(
        {"content": [text("Q", image=None)], "weight": None, "tool_calls": None},
        {"content": [text("A", image=None)], "weight": None, "function_call": {"name": None}},
        images=[], label="poetry", score_chosen=8.0, history=[], id=3, split="train", model="m",
    )  # fmt: skip
    assert read(tmp_path, [row]).ids.tolist() == plain


@pytest.mark.parametrize(
    "columns",
    [("instruction", "generation"), ("problem", "solution"), ("problem", "generated_solution"),
     ("question", "generated_solution"), ("question", "answer")],
)  # fmt: skip
def test_pairs_that_people_have_are_recognised(columns: tuple[str, str], tmp_path: Path) -> None:
    row = dict(zip(columns, ("Q", "A"), strict=True)) | {"expected_answer": "7"}
    assert turns(tmp_path, row) == [USER, ANSWER]


def test_turns_beside_a_pair_are_read_where_both_say_the_same(tmp_path: Path) -> None:
    both = answer() | {"problem": "Q", "solution": "A"}
    assert turns(tmp_path, both) == [USER, ANSWER]
    both["messages"] = [{"role": "system", "content": "S"}, *both["messages"]]
    assert turns(tmp_path, both)[1:] == [USER, ANSWER]
    said = refusal(tmp_path, both | {"solution": "B"})
    assert "line 1" in said and "more than one way" in said
    assert (
        "--format instruction-response --columns instruction=problem --columns output=sol" in said
    )
    found = turns(
        tmp_path, both | {"solution": "B"}, format="instruction-response",
        columns={"instruction": "problem", "output": "solution"},
    )  # fmt: skip
    assert found[1].content == "B"
    assert turns(tmp_path, both | {"solution": "B"}, format="messages", columns={
        "messages": "messages"})[2] == ANSWER  # fmt: skip


def test_roles_are_known_whatever_their_case(tmp_path: Path) -> None:
    for user, assistant in (("User", "Assistant"), ("HUMAN", " AI "), ("prompter", "ASSISTANT")):
        row = {"messages": [{"role": user, "content": "Q"}, {"role": assistant, "content": "A"}]}
        assert turns(tmp_path, row) == [USER, ANSWER]
    said = refusal(tmp_path, {"messages": [{"role": "Narrator", "content": "Q"}]})
    assert 'role: unknown role; found "Narrator"' in said


def test_an_answer_to_nothing_is_context(tmp_path: Path, s2l: Cli) -> None:
    opening = {"from": "gpt", "value": "Hi"}
    rest = LAYOUTS["sharegpt"]["conversations"]
    found = turns(tmp_path, {"conversations": [opening, *rest]})
    assert found == [Message("assistant", "Hi", "", False), USER, ANSWER]
    assert "1 conversations begin with an assistant turn" in s2l("load", "rows.jsonl").stderr
    assert "nothing to learn; found an answer to nothing" in refusal(
        tmp_path, {"conversations": [opening]}
    )


def test_a_source_column_is_proposed_and_last_is_an_option(tmp_path: Path, s2l: Cli) -> None:
    read(tmp_path, [pair(dataset=name, type=n) for n, name in enumerate("abab")])
    said = s2l("load", "rows.jsonl", "--learn", "last").stderr
    assert "dataset has 2 values: --columns source=dataset" in said
    assert "source=type" not in said
