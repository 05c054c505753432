"""Which tokens are learned, what is left out, and what is refused before any training."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from smalltolarge.errors import (
    DataError,
    IntegrityError,
    MissingArtifact,
    RecipeError,
    RefusedForSafety,
)
from smalltolarge.examples.table import Message
from smalltolarge.lm import Prepared, prepare
from smalltolarge.settings import ProxySettings

from .lm_samples import CHATML, examples_of, sums, tokenizer_folder


def prepared_with(
    conversations: list[list[Message]], tokenizer: Path | None = None, **settings: Any
) -> Prepared:
    name = None if tokenizer is None else str(tokenizer)
    return prepare(
        examples_of(conversations), ProxySettings(tokenizer=name, threads=1, **settings), 0
    )


def pieces(prepared: Prepared, row: int) -> tuple[str, str]:
    """The text of the prompt tokens, and that of the completion tokens."""
    tokenizer = Tokenizer.from_str(prepared.tokenizer.text)
    part = slice(prepared.offsets[row], prepared.offsets[row + 1])
    tokens, mask = prepared.tokens[part], prepared.completion[part]
    prompt, completion = (
        tokenizer.decode(tokens[chosen].tolist(), skip_special_tokens=False)
        for chosen in (~mask, mask)
    )
    return prompt, completion


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tokenizer_folder(tmp_path_factory.mktemp("tokenizer") / "plain")


def test_the_answer_and_its_end_are_learned_and_nothing_else(plain: Path) -> None:
    prepared = prepared_with(
        [[Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Ho")]], plain
    )
    assert pieces(prepared, 0) == ("Be kind.\n\n### Instruction:\nHi\n\n### Response:\n", "Ho</s>")
    assert prepared.n_tokens.tolist() == [int(prepared.completion.sum())]


def test_every_assistant_turn_is_learned(plain: Path) -> None:
    turns: list[Message] = [
        Message("user", "1 + 1?"),
        Message("assistant", "2."),
        Message("tool", "3"),
        Message("user", "2 + 2?"),
        Message("assistant", "4."),
        Message("user", "thanks"),
    ]
    prepared = prepared_with([turns], plain, preamble="Below is a task.")
    prompt, completion = pieces(prepared, 0)
    assert completion == "2.</s>4.</s>"
    assert prompt == (
        "Below is a task.\n\n### Instruction:\n1 + 1?\n\n### Response:\n"
        "\n\n### Tool:\n3\n\n### Instruction:\n2 + 2?\n\n### Response:\n"
    )


@pytest.mark.parametrize("answer", ["\n\nyes", " yes", "\tyes", "é", "日本", "🙂"])
def test_a_token_across_the_boundary_belongs_to_the_prompt(answer: str, plain: Path) -> None:
    prepared = prepared_with([[Message("user", "q"), Message("assistant", answer)]], plain)
    prompt, completion = pieces(prepared, 0)
    assert prompt + completion == f"### Instruction:\nq\n\n### Response:\n{answer}</s>"
    assert completion.endswith("</s>") and answer.strip() in completion
    assert prompt.strip().endswith("### Response:")


def test_padding_tokens_change_no_label(tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [{}, {"pad": "</s>"}, {"pad": "<|im_end|>"}]
    found = [
        prepared_with(sums(20), tokenizer_folder(tmp_path / str(place), **kind))
        for place, kind in enumerate(kinds)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.tokens, found[0].tokens)
        np.testing.assert_array_equal(other.completion, found[0].completion)


def test_without_an_end_token_all_other_labels_are_the_same(tmp_path: Path, plain: Path) -> None:
    without = prepared_with(sums(20), tokenizer_folder(tmp_path / "no", eos="none"))
    with_end = prepared_with(sums(20), plain)
    for row in range(20):
        prompt, completion = pieces(with_end, row)
        assert pieces(without, row) == (prompt, completion.removesuffix("</s>"))


def test_bos_is_there_once_when_the_tokenizer_adds_it(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "bos", bos="<s>", adds_bos=True)
    prepared = prepared_with(sums(20), folder)
    bos = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("<s>")
    assert (prepared.tokens[prepared.offsets[:-1]] == bos).all()
    assert (prepared.tokens == bos).sum() == 20
    chat = tokenizer_folder(tmp_path / "chat", bos="<s>", adds_bos=True, chat="<s>" + CHATML)
    assert (prepared_with(sums(20), chat).tokens == bos).sum() == 20


def test_special_tokens_written_in_the_data_stay_text(plain: Path) -> None:
    text = "a</s>b<|im_end|>c<|endoftext|>d"
    for tokenizer in (plain, None):
        prepared = prepared_with(
            [[Message("user", text), Message("assistant", text)], *sums(40)], tokenizer
        )
        assert pieces(prepared, 0)[1].startswith(text)
        ends = prepared.tokens[: prepared.offsets[1]] == prepared.tokenizer.eos
        assert np.flatnonzero(ends).tolist() == [prepared.offsets[1] - 1]


def test_lengths_around_the_limit(plain: Path) -> None:
    turns: list[list[Message]] = [
        [Message("user", "What is it?"), Message("assistant", "one two three four")]
    ]
    whole = prepared_with(turns, plain)
    total, learned = int(whole.offsets[1]), int(whole.n_tokens[0])
    for limit in range(total - learned - 1, total + 3):
        kept = min(limit, total) - (total - learned)
        if kept <= 0:
            with pytest.raises(DataError, match="--max-length"):
                prepared_with(turns, plain, max_length=limit)
            continue
        prepared = prepared_with(turns, plain, max_length=limit)
        assert prepared.n_tokens.tolist() == [kept]
        assert prepared.tokenized.n_truncated == (limit < total)


def test_examples_without_a_completion_are_left_out_with_the_reason(plain: Path) -> None:
    long: list[Message] = [Message("user", "very " * 200), Message("assistant", "yes")]
    prepared = prepared_with([*sums(30), long, *sums(60)[30:]], plain, max_length=128)
    assert prepared.left_out == ((30, "no completion token within max_length"),)
    assert prepared.tokenized.kept.tolist() == [*range(30), *range(31, 61)]
    with pytest.raises(DataError, match=r"2 of 32 examples .*--max-length"):
        prepared_with(
            [*sums(30), long, [Message("user", "so " * 300), Message("assistant", "no")]],
            plain,
            max_length=128,
        )


def test_cut_completions_are_counted_or_excluded(plain: Path) -> None:
    long: list[Message] = [Message("user", "say"), Message("assistant", "yes and no, " * 100)]
    keep = prepared_with([*sums(30), long], plain, max_length=128)
    assert keep.tokenized.n_truncated == 1 and len(keep) == 31 and keep.plan.rows == 31
    exclude = prepared_with([*sums(30), long], plain, max_length=128, on_truncated="exclude")
    assert exclude.left_out == ((30, "completion cut"),) and exclude.tokenized.n_truncated == 0


def test_a_chat_template_is_used_where_there_is_one(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "chat", chat=CHATML)
    turns: list[Message] = [
        Message("user", "1 + 1?"),
        Message("assistant", "2."),
        Message("user", "2 + 2?"),
        Message("assistant", "4."),
    ]
    prepared = prepared_with([turns], folder)
    assert prepared.template == "chat"
    prompt, completion = pieces(prepared, 0)
    assert completion == "2.<|im_end|>4.<|im_end|>"
    assert prompt.count("<|im_start|>assistant\n") == 2
    end = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("<|im_end|>")
    assert (prepared.tokens == end).sum() == 4
    assert prepared_with([turns], folder, template="alpaca").template == "alpaca"


def test_a_chat_template_that_is_asked_for_must_be_there(plain: Path) -> None:
    with pytest.raises(RecipeError, match="--tokenizer"):
        prepared_with(sums(5), plain, template="chat")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('only users') }}", "only users"),
        ("{% for m in messages %}", "does not take"),
        ("{{ messages.__class__.__mro__ }}", "does not take"),
    ],
)
def test_a_template_that_does_not_fit_is_named_with_the_row(
    template: str, reason: str, tmp_path: Path
) -> None:
    folder = tokenizer_folder(tmp_path / "chat", chat=template)
    with pytest.raises(DataError, match=rf"(?s)sums.jsonl, row 1, .*{reason}.*--template alpaca"):
        prepared_with(sums(5), folder)


@pytest.mark.parametrize(
    "template",
    [["x"], {"default": CHATML}, 7, [{"name": ["a"], "template": CHATML}], [{"name": "default"}]],
)
@pytest.mark.parametrize("file", ["tokenizer_config.json", "chat_template.json"])
def test_a_chat_template_that_is_no_text_is_an_error_naming_its_file(
    file: str, template: object, tmp_path: Path
) -> None:
    folder = tokenizer_folder(tmp_path / "chat")
    (folder / file).write_text(json.dumps({"chat_template": template}))
    with pytest.raises(IntegrityError, match=rf"{file}: its chat_template is neither"):
        prepared_with(sums(5), folder)


def test_a_chat_template_file_that_is_not_utf_8_is_an_error_naming_it(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "chat")
    (folder / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(IntegrityError, match=r"chat_template\.jinja is not UTF-8"):
        prepared_with(sums(5), folder)


def test_of_several_chat_templates_the_default_is_used(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "chat")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    named = [{"name": "tools", "template": "{{ no }}"}, {"name": "default", "template": CHATML}]
    for given, used in ((named, "chat"), (named[:1], "alpaca"), ([], "alpaca")):
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": given}))
        assert prepared_with(sums(5), folder).template == used


@pytest.mark.parametrize(
    "loop",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% set x = 'aaaaaaaaaa' * 1000000000 %}",
    ],
)
def test_a_template_that_loops_or_fills_the_memory_is_refused(loop: str, tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "chat", chat=loop + CHATML)
    began = time.monotonic()
    with pytest.raises(RefusedForSafety, match="2 s"):
        prepared_with(sums(5), folder)
    assert time.monotonic() - began < 30


def test_the_vocabulary_does_not_depend_on_the_order_of_the_rows() -> None:
    forward = prepared_with(sums(200))
    backward = prepared_with(sums(200)[::-1])
    assert forward.tokenizer.text == backward.tokenizer.text
    assert forward.digest == backward.digest
    assert forward.plan == backward.plan
    assert forward.model.vocabulary % 64 == 0


def test_a_vocabulary_is_learned_from_a_sample_when_the_data_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("smalltolarge.lm.tokens.TRAINING_BYTES", 3000)
    forward, backward = prepared_with(sums(200)), prepared_with(sums(200)[::-1])
    assert forward.tokenizer.text == backward.tokenizer.text
    assert len(forward) == 200


def test_a_tokenizer_may_be_a_single_file(plain: Path, tmp_path: Path) -> None:
    alone = tmp_path / "tokenizer.json"
    alone.write_bytes((plain / "tokenizer.json").read_bytes())
    for name in (alone, tmp_path):
        np.testing.assert_array_equal(
            prepared_with(sums(9), name).tokens, prepared_with(sums(9), plain).tokens
        )


def test_unknown_names_are_answered_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="scratch-0.5m, scratch-2m"):
        prepared_with(sums(3), proxy="scratch-1b")
    with pytest.raises(MissingArtifact, match="no folder ./nowhere"):
        prepared_with(sums(3), proxy="./nowhere")


def test_a_hub_name_without_a_network_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        MissingArtifact, match="Give a folder, .* A proxy that needs neither is scratch"
    ):
        prepared_with(sums(3), proxy="nobody/no-such-model")


def test_the_plan_counts_what_will_be_done() -> None:
    prepared = prepared_with(sums(100), epochs=2.5, batch_size=8, checkpoints=5)
    plan = prepared.plan
    assert plan.steps == 13 + 13 + 7
    assert plan.checkpoints == (0, 8, 16, 25, 33)
    assert plan.completion_tokens == int(prepared.n_tokens.sum())
    assert plan.tokens == len(prepared.tokens)
    assert 2 * plan.tokens < plan.training_tokens < 3 * plan.tokens
    assert plan.scoring_tokens == 5 * plan.tokens
    width, vocabulary = prepared.model.config.hidden_size, prepared.model.vocabulary
    layers = prepared.model.config.num_hidden_layers
    lengths = np.diff(prepared.offsets).astype(float)
    forward = (
        2 * layers * 12 * width**2 * lengths
        + 2 * layers * width * lengths * (lengths + 1)
        + 2 * width * vocabulary * prepared.n_tokens
    )
    np.testing.assert_allclose(plan.scoring_flops, 5 * forward.sum())
    np.testing.assert_allclose(plan.training_flops, 3 * 2.5 * forward.sum(), rtol=0.05)
    assert json.loads(json.dumps(plan.checkpoints)) == [0, 8, 16, 25, 33]
