"""What chat templates leave out, from rows to tokens; and that trainers learn the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from smalltolarge.errors import DataError, MissingArtifact, RecipeError
from smalltolarge.examples.table import Message
from smalltolarge.lm import Prepared, prepare
from smalltolarge.runs.recipe import RecordRecipe, read
from smalltolarge.settings import ModelSettings, ProxySettings

from .chat_templates import CHANGES, CHATML, GENERATION, SILENT, TEMPLATES, THINKING
from .lm_samples import SMALL, examples_of, model_folder, sums, tokenizer_folder

TALK = [
    Message("user", "One?"),
    Message("assistant", "1.", "Hm, one."),
    Message("user", "Two?"),
    Message("assistant", "2.", "Hm, two."),
]
SHORT = CHATML.replace("m.content", "(m.content | replace('not', 'NOT'))")


def prepared_with(
    conversations: list[list[Message]],
    tokenizer: Path | None,
    folder: Path | None = None,
    **given: Any,
) -> Prepared:
    name = None if tokenizer is None else str(tokenizer)
    chosen = ProxySettings(tokenizer=name, threads=1, **given)
    return prepare(examples_of(conversations), chosen, 0, folder=folder)


def learned(prepared: Prepared, row: int) -> str:
    part = slice(prepared.offsets[row], prepared.offsets[row + 1])
    tokens = prepared.tokens[part][prepared.completion[part]]
    text = Tokenizer.from_str(prepared.tokenizer.text).decode(tokens, skip_special_tokens=False)
    return str(text)


def test_what_the_template_leaves_out_is_said_once_also_when_tokens_are_used_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tokenizer_folder(tmp_path / "silent", chat=SILENT)
    rows = [*sums(20), [Message("system", "Be kind."), *TALK], [Message("system", "So."), *TALK]]
    texts = []
    for _ in range(2):
        caplog.clear()
        prepared_with(rows, folder, tmp_path / "kept").keep_tokens(tmp_path / "kept")
        said = [record.getMessage() for record in caplog.records]
        texts.append([line for line in said if "does not write" in line])
    [note] = texts[0]
    assert "system turns left out in 2 examples (first: sums.jsonl, row 21, id" in note
    assert "reasoning left out in 2 examples" in note and "--fold-system" in note
    assert texts[0] == texts[1]
    caplog.clear()
    prepared_with(rows, folder, fold_system=True)
    assert "system" not in caplog.text


def test_an_answer_that_is_changed_stops_or_is_left_out_or_kept(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "short", chat=SHORT)
    bad = [Message("user", "Or?"), Message("assistant", "Do not."), *TALK]
    rows = [*sums(30), bad, *[[Message("user", f"{i}?"), TALK[1]] for i in range(9)]]
    with pytest.raises(DataError, match=r"sums.jsonl, row 31, .*turn 2: .*--on-template-loss"):
        prepared_with(rows, folder)
    without = prepared_with(rows, folder, on_template_loss="exclude")
    assert without.left_out == ((30, "answer changed or left out by the chat template"),)
    again = prepared_with(rows, folder, tmp_path / "kept", on_template_loss="exclude")
    again.keep_tokens(tmp_path / "kept")
    known = prepared_with(rows, folder, tmp_path / "kept", on_template_loss="exclude")
    assert known.left_out == without.left_out and known.tokenized.dropped
    kept = prepared_with(rows, folder, on_template_loss="keep")
    assert learned(kept, 30) == "Do NOT.<|im_end|>1.<|im_end|>2.<|im_end|>"
    with pytest.raises(DataError, match=r"row 1, .*turn 2"):
        prepared_with(sums(5), tokenizer_folder(tmp_path / "loud", chat=CHANGES))


def test_a_template_comes_from_a_file_with_its_arguments(tmp_path: Path) -> None:
    folder, file = tokenizer_folder(tmp_path / "plain"), tmp_path / "own.jinja"
    file.write_text(THINKING)
    prepared = prepared_with([TALK], folder, template=str(file))
    assert prepared.template == "chat"
    assert learned(prepared, 0) == "1.<|im_end|><think>\nHm, two.\n</think>\n\n2.<|im_end|>"
    off = prepared_with([TALK], folder, template=str(file), template_arg={"enable_thinking": False})
    assert off.made_with["template"] != prepared.made_with["template"]
    with pytest.raises(MissingArtifact, match=r"none\.jinja: there is no such file"):
        prepared_with([TALK], folder, template=str(tmp_path / "none.jinja"))
    with pytest.raises(RecipeError, match="there is no tokenizer"):
        prepared_with([TALK], None, template=str(file))
    with pytest.raises(RecipeError, match=r"ends in \.jinja"):
        ModelSettings(template="chatml")
    for given in ({"fold_system": True}, {"template_arg": {"x": 1}}):
        with pytest.raises(RecipeError, match="belong to chat templates"):
            prepared_with([TALK], folder, **given)


def test_arguments_of_a_template_are_read_strictly() -> None:
    values = {"data": ["a"], "proxy": {"template_arg": {"enable_thinking": False, "n": 1}}}
    proxy = read(values, RecordRecipe).proxy
    assert proxy is not None and proxy.template_arg == {"enable_thinking": False, "n": 1}
    with pytest.raises(RecipeError, match="template_arg"):
        read({"data": ["a"], "proxy": {"template_arg": {"enable_thinking": [1]}}}, RecordRecipe)


def test_a_marked_turn_is_read_and_not_learned(tmp_path: Path) -> None:
    turns = [TALK[0], TALK[1]._replace(learned=False), *TALK[2:]]
    plain = tokenizer_folder(tmp_path / "plain")
    assert learned(prepared_with([turns], plain), 0) == "<think>\nHm, two.\n</think>\n\n2.</s>"
    whole = prepared_with([TALK], plain)
    assert learned(whole, 0).startswith("<think>\nHm, one.\n</think>\n\n1.</s><think>")
    chat = tokenizer_folder(tmp_path / "chat", chat=CHATML)
    assert learned(prepared_with([turns], chat), 0) == "2.<|im_end|>"
    alone = [turns[0], turns[1]]
    some = prepared_with([*sums(40), alone], chat)
    assert some.left_out == ((40, "no completion token within max_length"),)


def test_marks_of_a_template_are_the_mask_of_transformers(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = tokenizer_folder(tmp_path / "marks", chat=GENERATION)
    rows = [[*turns, *TALK[2:]] for turns in sums(20)]
    prepared = prepared_with(rows, folder)
    theirs = AutoTokenizer.from_pretrained(folder)
    for row, turns in enumerate(rows):
        found = theirs.apply_chat_template(
            [dict(zip(("role", "content"), turn[:2], strict=True)) for turn in turns],
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        part = slice(prepared.offsets[row], prepared.offsets[row + 1])
        length = part.stop - part.start
        assert prepared.tokens[part].tolist() == found["input_ids"][:length]
        assert prepared.completion[part].astype(int).tolist() == found["assistant_masks"][:length]
        assert not any(found["assistant_masks"][length:])


@pytest.mark.parametrize("name", ["chatml", "dated", "ends-once", "silent", "thinking"])
def test_trl_learns_the_same_answers(name: str, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from datasets import Dataset
    from transformers import AutoTokenizer, GPTNeoXConfig
    from trl import SFTConfig, SFTTrainer

    model = model_folder(tmp_path / "model", GPTNeoXConfig(**SMALL), chat=TEMPLATES[name])
    rows = sums(12)
    told = [
        {"prompt": [{"role": "user", "content": turns[0][1]}],
         "completion": [{"role": "assistant", "content": turns[1][1]}]}
        for turns in rows
    ]  # fmt: skip
    trainer = SFTTrainer(
        model=str(model),
        args=SFTConfig(
            output_dir=str(tmp_path / "out"), use_cpu=True, bf16=False, report_to="none"
        ),
        train_dataset=Dataset.from_list(told),
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    prepared = prepared_with(rows, model)
    tokenizer = Tokenizer.from_str(prepared.tokenizer.text)
    for row, found in enumerate(trainer.train_dataset):
        theirs = [token for token in found["labels"] if token != -100]
        text = tokenizer.decode(theirs, skip_special_tokens=False)
        assert learned(prepared, row) == text.rstrip()
