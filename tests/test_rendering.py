"""What chat templates write, what of it is learned, and what they leave out of a conversation."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalltolarge.errors import DataError, RecipeError
from smalltolarge.examples.table import Message
from smalltolarge.lm.rendering import Rendering, alpaca
from smalltolarge.lm.templates import ChatTemplate

from .chat_templates import (
    CHANGES,
    CHATML,
    DATED,
    ENDS_ONCE,
    GENERATION,
    NO_SYSTEM,
    OPENS_THINKING,
    SILENT,
    STRICT,
    TEMPLATES,
    THINKING,
    UNASKED,
    template,
)

TWO = (
    Message("system", "Be kind."),
    Message("user", "One?"),
    Message("assistant", "1."),
    Message("user", "Two?"),
    Message("assistant", "2."),
)
THOUGHT = (
    Message("user", "One?"),
    Message("assistant", "<think>\nHm, one.\n</think>\n\n1."),
    Message("user", "Two?"),
    Message("assistant", "<think>\nHm, two.\n</think>\n\n2."),
)


def learned(rendering: Rendering) -> list[str]:
    [piece] = rendering.pieces
    return [piece.text[begin:end] for begin, end in piece.spans]


def dropped(rendering: Rendering) -> set[tuple[int, str, str]]:
    return {(part.turn, part.part, part.how) for part in rendering.dropped}


@pytest.mark.parametrize(
    ("text", "turns", "answers", "missing"),
    [
        (CHATML, TWO, ["1.<|im_end|>", "2.<|im_end|>"], set()),
        (CHATML, THOUGHT, [t.content + "<|im_end|>" for t in THOUGHT if t[0] != "user"], set()),
        (UNASKED, TWO, ["Assistant: 1.</s>", "Assistant: 2.</s>"], set()),
        (THINKING, TWO, ["1.<|im_end|>", "<think>\n\n</think>\n\n2.<|im_end|>"], set()),
        (
            THINKING,
            THOUGHT,
            ["1.<|im_end|>", "<think>\nHm, two.\n</think>\n\n2.<|im_end|>"],
            {(1, "reasoning", "left out")},
        ),
        (OPENS_THINKING, TWO, ["1.</s>", "2.</s>"], set()),
        (
            OPENS_THINKING,
            THOUGHT,
            ["\n\n1.</s>", "\n\n2.</s>"],
            {(1, "reasoning", "left out"), (3, "reasoning", "left out")},
        ),
        (DATED, TWO, ["1.<|eot|>", "2.<|eot|>"], set()),
        (ENDS_ONCE, TWO, ["1.<|im_end|>", "2.</s>"], set()),
        (STRICT, TWO, [" 1.</s>", " 2.</s>"], set()),
        (SILENT, TWO, ["1.</s>", "2.</s>"], {(0, "content", "left out")}),
        (NO_SYSTEM, TWO[1:], ["1.<end>", "2.<end>"], set()),
        (GENERATION, TWO, ["1.<|im_end|>", "2.<|im_end|>"], set()),
    ],
)
def test_what_is_learned_is_what_the_template_writes_for_an_answer(
    text: str, turns: Sequence[Message], answers: list[str], missing: set[tuple[int, str, str]]
) -> None:
    found = template(text).rendering(turns)
    assert learned(found) == answers
    assert dropped(found) == missing
    assert found.loss is None
    assert found.pieces[0].text == template(text).render(turns)


@pytest.mark.parametrize("text", TEMPLATES.values(), ids=TEMPLATES)
def test_a_turn_that_is_not_to_be_learned_is_context(text: str) -> None:
    turns = [TWO[1], TWO[2]._replace(learned=False), *TWO[3:]]
    found = template(text).rendering(turns)
    assert learned(found) == learned(template(text).rendering(TWO[1:]))[1:]
    assert found.pieces[0].text == template(text).render(TWO[1:])


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_goes_to_the_template_under_the_key_that_it_reads(key: str) -> None:
    reads = CHATML.replace("{{ m.content }}", "{{ m." + key + " or '' }}|{{ m.content }}")
    turns = [Message("user", "One?"), Message("assistant", "1.", "Hm.")]
    assert learned(template(reads).rendering(turns)) == ["Hm.|1.<|im_end|>"]
    without = template(CHATML).rendering(turns)
    assert learned(without) == ["1.<|im_end|>"] and without.loss is None
    assert dropped(without) == {(1, "reasoning", "left out")}
    alone = [turns[0], Message("assistant", "", "Hm.")]
    assert learned(template(reads).rendering(alone)) == ["Hm.|<|im_end|>"]
    lost = template(CHATML).rendering(alone).loss
    assert lost is not None and (lost.turn, lost.part) == (1, "reasoning")


WELCOME = "{% if messages and messages[0].role != 'system' %}<|im_start|>system\nHi.<|im_end|>\n"


@pytest.mark.parametrize(
    "text",
    [
        WELCOME + "{% endif %}" + CHATML,
        "{% if not messages %}{{ raise_exception('no turns') }}{% endif %}"
        + CHATML.replace("assistant\n{% endif", "assistant\n<think>\n{% endif"),
        CHATML.replace("<|im_start|>{{ m", "{% if loop.first %}<s>{% endif %}<|im_start|>{{ m"),
    ],
)
def test_an_answer_that_opens_a_conversation_begins_after_its_header(text: str) -> None:
    turns = [Message("assistant", "Hello."), Message("user", "One?"), Message("assistant", "1.")]
    found = template(text).rendering(turns)
    assert learned(found) == ["Hello.<|im_end|>", "1.<|im_end|>"]


def test_a_template_that_looks_at_the_texts_is_traced_by_them() -> None:
    turns = [
        Message("user", "Look it up."),
        Message("assistant", "<call>1</call>", "I need it."),
        Message("user", "<tool_response>one</tool_response>"),
        Message("assistant", "It is 1.", "There."),
    ]
    found = template(THINKING).rendering(turns)
    assert learned(found) == [
        "<think>\nI need it.\n</think>\n\n<call>1</call><|im_end|>",
        "<think>\nThere.\n</think>\n\nIt is 1.<|im_end|>",
    ]
    assert found.dropped == ()


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (CHANGES, "changed"),
        (CHATML.replace("m.content", "m.content[:20]"), "left out"),
        (CHATML.replace("m.content", "m.content | replace('e', 'E')"), "changed"),
        (SILENT.replace("{{ m.content }}{{ eos_token }}", "{{ eos_token }}"), "left out"),
        (CHATML.replace("m.content", "m.content | map(attribute='text') | join"), "left out"),
    ],
)
def test_an_answer_that_the_template_does_not_write_as_it_is_is_a_loss(text: str, how: str) -> None:
    turns = [Message("user", "One?"), Message("assistant", "one, " * 9 + "and no more")]
    lost = template(text).rendering(turns).loss
    assert lost is not None and lost.turn == 1 and lost.part == "content"
    assert lost.how in (how, "changed")


def test_marks_of_the_template_itself_are_what_is_learned() -> None:
    last = GENERATION.replace("m.role == 'assistant'", "m.role == 'assistant' and loop.last")
    found = template(last).rendering(TWO)
    assert learned(found) == ["2.<|im_end|>"]
    assert dropped(found) == {(2, "content", "not marked")} and found.loss is None


def test_the_date_is_the_same_on_every_day() -> None:
    code = (
        "import sys; from tests.chat_templates import DATED, template\n"
        "from transformers.utils import chat_template_utils as utils\n"
        "import datetime\n"
        "class Then(datetime.datetime):\n"
        "    now = classmethod(lambda cls, tz=None: cls(1999, 12, 31))\n"
        "utils.datetime = Then\n"
        "from smalltolarge.examples.table import Message\n"
        "print(template(DATED).render([Message('user', 'Hi')]))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == template(DATED).render([Message("user", "Hi")])
    assert "Today is 01 Jan 2025." in ran.stdout
    [note] = template(DATED).notes(TWO, (), str)
    assert "01 January 2025" in note and template(CHATML).notes(TWO, (), str) == []


def shipped() -> list[Path]:
    """The chat templates that TRL ships, as they are and with marks for training.

    Without those of models that see: they read a text from a list of parts.
    """
    found = find_spec("trl")
    if found is None or found.origin is None:
        return []
    files = sorted((Path(found.origin).parent / "chat_templates").glob("*.jinja"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    reads = ["image" not in text or "is string" in text for text in texts]
    return [file for file, is_read in zip(files, reads, strict=True) if is_read]


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
def test_templates_that_are_in_use_are_traced(file: Path) -> None:
    chat = template(file.read_text())
    found = chat.rendering(TWO[1:])
    assert found.dropped == ()
    [piece] = found.pieces
    text = "|".join(learned(found))
    assert re.findall(r"[12]\.", text) == ["1.", "2."]
    assert "One?" not in text and "Two?" not in text
    plain = file.with_name(file.name.replace("_training", ""))
    if plain != file and plain.is_file():
        [traced] = template(plain.read_text()).rendering(TWO[1:]).pieces
        closed = {len(piece.text[:end].rstrip()) for _, end in piece.spans}
        assert traced.text != piece.text or {end for _, end in traced.spans} <= closed


@pytest.mark.parametrize("chance", ["{{ [1, 2] | random }}", "{{ lipsum() }}"])
def test_a_template_that_writes_by_chance_is_refused(chance: str) -> None:
    with pytest.raises(DataError, match="at random"):
        template(CHATML + chance).rendering(TWO)


def test_a_system_text_can_head_the_next_user_turn() -> None:
    with pytest.raises(DataError, match=r"no system role.*--fold-system"):
        template(NO_SYSTEM).rendering(TWO)
    folding = ChatTemplate(NO_SYSTEM, "toy", {}, fold_system=True)
    found = folding.rendering(TWO)
    assert learned(found) == ["1.<end>", "2.<end>"] and found.dropped == ()
    assert found.pieces[0].text.startswith("<start>user\nBe kind.\n\nOne?<end>")
    late = [*TWO[1:], Message("system", "Now be brief.")]
    assert folding.render(late).endswith("<start>user\nNow be brief.<end>\n")
    lost = [("system turns left out", 3, 7)]
    [note] = template(SILENT).notes(TWO, lost, lambda row: f"row {row}")
    assert "system turns left out in 3 examples (first: row 7)" in note and "--fold-system" in note


def test_arguments_reach_the_template_and_unknown_ones_are_refused() -> None:
    silent = template(THINKING).with_arguments({"enable_thinking": False})
    assert silent.render(TWO[:2], prompt=True).endswith("<think>\n\n</think>\n\n")
    assert learned(silent.rendering(TWO)) == ["1.<|im_end|>", "2.<|im_end|>"]
    assert silent.made_of != template(THINKING).made_of
    with pytest.raises(RecipeError, match=r"enable_thinkin:.*enable_thinking"):
        template(THINKING).with_arguments({"enable_thinkin": False})


def test_under_headings_reasoning_is_learned_and_a_marked_turn_is_context() -> None:
    turns = [
        Message("user", "One?"),
        Message("assistant", "1.", learned=False),
        Message("user", "Two?"),
        Message("assistant", "2.", "Hm."),
    ]
    first, second = alpaca(turns).pieces
    assert (first.text, first.spans) == ("### Instruction:\nOne?\n\n### Response:\n1.", ())
    [(begin, end)] = second.spans
    assert second.text[begin:end] == "<think>\nHm.\n</think>\n\n2." and end == len(second.text)


words = st.text("ab Qé\n", min_size=1, max_size=8).filter(str.strip)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Draw questions and answers in any order, every text told apart by a number."""
    roles = draw(st.lists(st.sampled_from(["user", "assistant", "tool"]), max_size=5))
    turns = [] if draw(st.booleans()) else [Message("system", "")]
    turns += [Message(role, "") for role in [*roles, "user", "assistant"]]
    if draw(st.booleans()):
        turns.append(Message("user", ""))
    for i, turn in enumerate(turns):
        content, reasoning = f"{draw(words)}c{i}{draw(words)}", ""
        if turn.role == "assistant":
            kind = draw(st.sampled_from(["plain", "beside", "inside"]))
            if kind == "beside":
                reasoning = f"r{i}{draw(words)}"
            elif kind == "inside":
                gap = draw(st.sampled_from(["", " "]))
                content = f"<think>{draw(words)}r{i}\n</think>{gap}c{i}{draw(words)}"
        turns[i] = Message(turn.role, content, reasoning, draw(st.integers(0, 3)) > 0)
    return turns


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_exactly_the_answers_of_the_final_text_are_learned(name: str, data: Any) -> None:
    chat, turns = template(TEMPLATES[name]), data.draw(conversations())
    try:
        text = chat.render(turns)
    except Exception:
        with pytest.raises(DataError, match="does not take"):
            chat.rendering(turns)
        return
    found = chat.rendering(turns)
    [piece] = found.pieces
    assert piece.text == text
    assert found.loss is None
    ends = [place for span in piece.spans for place in span]
    assert ends == sorted(ends)
    inside = set(re.findall(r"[cr]\d+", " ".join(learned(found))))
    missing = {f"{part.part[0]}{part.turn}" for part in found.dropped}
    there = set(re.findall(r"[cr]\d+", text))
    all_texts = set(re.findall(r"[cr]\d+", " ".join(t.content + " " + t.reasoning for t in turns)))
    assert missing == all_texts - there
    wanted = {str(i) for i, turn in enumerate(turns) if turn.role == "assistant" and turn.learned}
    assert inside == {name for name in there if name[1:] in wanted}
    # A change of an answer changes the text between the two ends of its span, and nothing else.
    answers = [i for i, turn in enumerate(turns) if str(i) in wanted]
    assert len(piece.spans) == len(answers)
    for i, (begin, end) in zip(answers, piece.spans, strict=True):
        content = turns[i].content.rstrip() + "X"
        other = chat.render([*turns[:i], turns[i]._replace(content=content), *turns[i + 1 :]])
        assert other[:begin] == text[:begin]
        after = len(text) - end
        assert not after or other[-after:].lstrip() == text[-after:].lstrip()


@settings(max_examples=60, deadline=None)
@given(turns=conversations())
def test_plain_templates_learn_what_comes_after_the_prompt(turns: list[Message]) -> None:
    for text in (CHATML, UNASKED, SILENT):
        chat = template(text)
        spans = tuple(
            (len(chat.render(turns[:i], prompt=True)), len(chat.render(turns[: i + 1]).rstrip()))
            for i, turn in enumerate(turns)
            if turn.role == "assistant" and turn.learned
        )
        assert chat.rendering(turns).pieces[0].spans == spans


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OPENS_THINKING, True),
        *((TEMPLATES[n], False) for n in ("chatml", "thinking", "ends-once", "unasked", "strict")),
    ],
)
def test_a_prompt_that_is_not_what_was_trained_on_is_said(text: str, said: bool) -> None:
    notes = template(text).notes(TWO, (), str)
    assert ['"<think>\\n"' in note for note in notes] == [True] * said
