"""What a trained folder takes along: where its answers end, and its template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalltolarge.examples import jinja
from smalltolarge.examples.table import Message
from smalltolarge.lm import Answerer, Prepared, Target, prepare, train
from smalltolarge.lm.ending import learned_ends, own_template
from smalltolarge.lm.rendering import alpaca
from smalltolarge.lm.templates import ChatTemplate
from smalltolarge.settings import ModelSettings, TargetSettings
from tests.lm_samples import CHATML, SMALL, examples_of, model_folder

ROWS = [
    [Message("user", "What comes after one?"), Message("assistant", "It is two.")],
    [Message("user", "Red and blue make"), Message("assistant", "purple")],
]
QUESTIONS = [turns[:1] for turns in ROWS]
ANSWERS = [turns[1].content for turns in ROWS]
TALKS = [[*ROWS[0], *ROWS[1]], ROWS[0]]
OLMO = (  # turns end in <|im_end|>, the last one in the end of text
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% if loop.last and m['role'] == 'assistant' %}{{ eos_token }}{% else %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BARE = (  # an answer ends in nothing
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
HARD: dict[str, Any] = {
    "epochs": 40, "batch_size": 2, "learning_rate": 1e-2, "max_length": 96, "threads": 1,
    "device": "cpu",
}  # fmt: skip


def base(path: Path, **tokenizer: Any) -> str:
    from transformers import GPTNeoXConfig

    config = GPTNeoXConfig(**SMALL, bos_token_id=None, eos_token_id=1)
    return str(model_folder(path, config, **{"chat": CHATML, **tokenizer}))


def prepared_for(target: str, rows: list[list[Message]] | None = None, **settings: Any) -> Prepared:
    return prepare(
        examples_of(rows or ROWS), TargetSettings(target=target, **(HARD | settings)), seed=1
    )


def trained_in(folder: Path, target: str, **settings: Any) -> Target:
    trained = train(prepared_for(target, **settings))
    trained.save(folder)
    return trained


def asked(answerer: Answerer) -> list[tuple[str, bool]]:
    found = answerer.answers(QUESTIONS, max_new_tokens=32, batch_size=4)
    return [(one.text, one.is_truncated) for one in found]


def stops_of(folder: Path) -> list[int]:
    known = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    return known if isinstance(known, list) else [known]


@pytest.mark.parametrize(
    "settings",
    [{"trainer": "own"}, {"trainer": "trl"}, {"trainer": "trl", "lora_rank": 16, "epochs": 120}],
)
def test_a_model_whose_turns_end_unlike_its_texts_stops(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trained = trained_in(tmp_path / "target", base(tmp_path / "base"), **settings)
    wanted = [(answer, False) for answer in ANSWERS]
    assert asked(trained.answerer) == wanted
    assert asked(Answerer.load(str(tmp_path / "target"), ModelSettings(threads=1))) == wanted
    assert stops_of(tmp_path / "target")[0] == 3  # <|im_end|>
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "target")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "target")
    for question, answer in zip(QUESTIONS, ANSWERS, strict=True):
        turns = [{"role": turn.role, "content": turn.content} for turn in question]
        prompt = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        found = model.generate(**prompt, max_new_tokens=32, do_sample=False)
        ids = found[0, prompt["input_ids"].shape[1] :]
        assert tokenizer.decode(ids, skip_special_tokens=True) == answer


def test_a_model_that_was_not_trained_stops_where_its_template_ends_an_answer(
    tmp_path: Path,
) -> None:
    # trained without its generation settings saying so, as a folder of another program may be
    trained_in(tmp_path / "target", base(tmp_path / "base"), trainer="own")
    file = tmp_path / "target" / "generation_config.json"
    file.write_text(json.dumps({"eos_token_id": 1}))
    found = asked(Answerer.load(str(tmp_path / "target"), ModelSettings(threads=1)))
    assert found == [(answer, False) for answer in ANSWERS]


def test_a_template_that_does_not_take_every_conversation_is_taken_along(tmp_path: Path) -> None:
    strict = "{% if messages[0].role != 'system' %}{{ raise_exception('who?') }}{% endif %}"
    target = base(tmp_path / "base", chat=strict + CHATML, bos="<s>", adds_bos=True)
    told = Message("system", "Be brief.")
    trained = train(prepared_for(target, [[told, *turns] for turns in ROWS], trainer="own"))
    trained.save(tmp_path / "target")
    again = Answerer.load(str(tmp_path / "target"), ModelSettings(threads=1))
    found = again.answers([[told, *one] for one in QUESTIONS], max_new_tokens=32, batch_size=2)
    assert [(one.text, one.is_truncated) for one in found] == [
        (answer, False) for answer in ANSWERS
    ]


@pytest.mark.parametrize(
    ("chat", "rows", "ends"),
    [
        (CHATML, ROWS, [3]),
        (OLMO, ROWS, [1]),
        (OLMO, TALKS, [1, 3]),
        (BARE, ROWS, []),
        (None, TALKS, [1]),
    ],
)
def test_what_ends_a_turn_is_what_was_learned_last(
    chat: str | None, rows: list[list[Message]], ends: list[int], tmp_path: Path
) -> None:
    assert learned_ends(prepared_for(base(tmp_path, chat=chat), rows)) == ends


def test_what_is_cut_off_or_stands_inside_answers_ends_none(tmp_path: Path) -> None:
    said = "one<|im_start|> two<|im_start|>"
    rows = [[Message("user", "Count."), Message("assistant", said)], *ROWS]
    target = base(tmp_path, chat=BARE)
    assert learned_ends(prepared_for(target, rows)) == []
    longest = int(prepared_for(target, rows).order.lengths.max())
    assert learned_ends(prepared_for(target, rows, max_length=longest - 2)) == []


@pytest.mark.parametrize("trainer", ["own", "trl"])
def test_a_folder_trained_under_headings_is_asked_under_headings(
    trainer: str, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"template": "alpaca", "preamble": 'Answer "shortly".'}
    trained = trained_in(tmp_path / "target", base(tmp_path / "base"), trainer=trainer, **how)
    auto = Answerer.load(str(tmp_path / "target"), ModelSettings(threads=1))
    assert [ids.tolist() for ids in auto.prompts(QUESTIONS)] == [
        ids.tolist() for ids in trained.answerer.prompts(QUESTIONS)
    ]
    assert asked(auto) == [(answer, False) for answer in ANSWERS]
    config = json.loads((tmp_path / "target/tokenizer_config.json").read_text())
    assert "chat_template" not in config
    assert config["eos_token"] == "</s>"


def test_a_model_from_scratch_takes_its_headings_along(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    prepared = prepared_for("scratch-0.1m", epochs=1)
    train(prepared).save(tmp_path / "target")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "target")
    turns = [{"role": role, "content": content} for role, content, *_ in ROWS[0]]
    tokens, _ = prepared.writer.tokens(prepared.writer.rendering(ROWS[0]))
    assert tokenizer.apply_chat_template(turns, return_dict=False) == tokens.tolist()


TOKENIZERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with BOS": {"bos": "<s>", "adds_bos": True},
    "no end": {"eos": "none"},
    "end not named": {"eos": None},
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
TURNS = st.lists(st.tuples(st.sampled_from(["user", "tool", "system"]), TEXTS, TEXTS), max_size=3)


@pytest.fixture(scope="module")
def under_headings(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Prepared, ChatTemplate]]:
    """What is trained on each tokenizer, and the template that its folder takes along."""
    folder, found = tmp_path_factory.mktemp("bases"), {}
    for name, how in TOKENIZERS.items():
        target = base(folder / name, chat=None, **how)
        prepared = prepared_for(target, preamble='Say {{ "it" }} \\')
        found[name] = prepared, ChatTemplate(own_template(prepared), "folder", {})
    return found


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(turns=TURNS)
def test_the_template_of_a_folder_gives_the_tokens_of_the_training(
    under_headings: dict[str, tuple[Prepared, ChatTemplate]],
    kind: str,
    turns: list[tuple[str, str, str]],
) -> None:
    prepared, template = under_headings[kind]
    talk = [Message("user", "Begin."), Message("assistant", "Yes.")]
    for role, said, answer in turns:
        talk += [Message(role, said), Message("assistant", answer)]
    text = template.render(talk)
    tokens, _ = prepared.writer.tokens(prepared.writer.rendering(talk))
    assert prepared.tokenizer.encoder(special=True)([text])[0].ids == tokens.tolist()


SWITCHED = (  # reads an argument, and knows no system turns
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'user' and loud is true %}LOUD {{ words }} {% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> tuple[ChatTemplate, ...]:
    """A template with arguments, what its folder takes along, and that with another argument."""
    arguments = {"loud": True, "words": 'a "b" }}'}
    target = base(tmp_path_factory.mktemp("switched"), chat=SWITCHED)
    prepared = prepared_for(target, template_arg=arguments, fold_system=True)
    chat = prepared.tokenizer.chat
    assert chat is not None
    alone = ChatTemplate(own_template(prepared), "folder", prepared.tokenizer.special)
    return chat, alone, alone.with_arguments({"loud": False})


@given(turns=TURNS)
def test_a_template_takes_along_what_it_was_given(
    switched: tuple[ChatTemplate, ...], turns: list[tuple[str, str, str]]
) -> None:
    chat, alone, quiet = switched
    talk = [Message("system", "Be brief."), *ROWS[0]]
    for role, said, answer in turns:
        talk += [Message(role, said), Message("assistant", answer)]
    for prompt in (False, True):
        assert alone.render(talk, prompt) == chat.render(talk, prompt)
    assert 'LOUD a "b" }} Be brief.\n\nWhat' in alone.render(talk)
    assert "LOUD" not in quiet.render(talk)


@pytest.mark.parametrize("value", [None, True, -1.5, "é\n", [1, None], {"a": [False]}])
def test_any_value_can_be_written_into_a_template(value: object) -> None:
    shown = ChatTemplate(jinja.defaults({"x": value}) + "{{ x | tojson }}", "", {}).render([])
    assert json.loads(shown) == value


@given(TEXTS)
def test_any_text_can_be_written_into_a_template(text: str) -> None:
    for said in (text, text + '"}}{% raw %}\\', "{{" + text):
        assert ChatTemplate(jinja.written(said), "", {}).render([]) == said


def test_the_headings_are_those_of_the_proxy() -> None:
    talk = [
        Message("system", "S"), Message("user", "Q"), Message("assistant", "A"),
        Message("tool", "T"), Message("assistant", "B", "so"),
    ]  # fmt: skip
    for preamble in ("", "P", "P\n"):
        ours = "".join(piece.text + "<end>" for piece in alpaca(talk, preamble).pieces)
        assert ChatTemplate(jinja.headings(preamble, "<end>"), "", {}).render(talk) == ours
