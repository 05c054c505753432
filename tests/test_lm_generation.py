"""Questions put to a model: batches that are kept, made smaller, or left unanswered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from smalltolarge.errors import Interrupted, OutOfSpace, RecipeError
from smalltolarge.examples.table import Message
from smalltolarge.lm import Answerer
from smalltolarge.settings import ModelSettings
from tests.lm_samples import CHATML, SMALL, model_folder

QUESTIONS = [[Message("user", f"What is {n} and {'very ' * (n % 3)}much?")] for n in range(7)]


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    from transformers import GPTNeoXConfig

    config = GPTNeoXConfig(**SMALL, bos_token_id=None, eos_token_id=1)
    folder = model_folder(tmp_path_factory.mktemp("model"), config, chat=CHATML)
    return Answerer.load(str(folder), ModelSettings(threads=1, device="cpu"))


def test_answers_that_were_interrupted_go_on_to_the_same(
    answerer: Answerer, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"max_new_tokens": 4, "batch_size": 2}
    whole = answerer.answers(QUESTIONS, **how)
    checks: list[None] = []

    def stop() -> None:
        checks.append(None)
        if len(checks) == 13:  # in the third batch: once before it, once for each token
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        answerer.answers(QUESTIONS, **how, check=stop, folder=tmp_path)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["00000000.json", "00000002.json"]
    checks.clear()
    again = answerer.answers(QUESTIONS, **how, check=lambda: checks.append(None), folder=tmp_path)
    assert again == whole
    assert len(checks) == 10
    (tmp_path / "00000002.json").write_text("{}")
    other = [*QUESTIONS[:-1], [Message("user", "Why?")]]
    assert answerer.answers(other, **how, folder=tmp_path) == answerer.answers(other, **how)


def test_of_a_model_s_generation_settings_only_its_ends_are_followed(
    answerer: Answerer, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    assert answerer.described.folder is not None
    shutil.copytree(answerer.described.folder, folder)
    theirs = {
        "eos_token_id": [1, 2**40, -5],
        "suppress_tokens": [2**40],
        "min_new_tokens": 3,
        "prompt_lookup_num_tokens": 10**9,
        "max_length": 2**62,
        "repetition_penalty": 5.0,
    }
    (folder / "generation_config.json").write_text(json.dumps(theirs))
    other = Answerer.load(str(folder), answerer.settings)
    how: dict[str, Any] = {"max_new_tokens": 4, "batch_size": 4}
    assert other.answers(QUESTIONS, **how) == answerer.answers(QUESTIONS, **how)


def test_a_question_without_room_for_an_answer_is_unanswered_and_the_others_are_not(
    answerer: Answerer, caplog: pytest.LogCaptureFixture
) -> None:
    long = [Message("user", "many words " * 120)]
    found = answerer.answers([QUESTIONS[0], long], max_new_tokens=8, batch_size=4)
    assert (found[1].text, found[1].is_truncated) == ("", True)
    assert found[:1] == answerer.answers(QUESTIONS[:1], max_new_tokens=8, batch_size=4)
    prompts = answerer.prompts([QUESTIONS[0], long])
    answerer.check_room(prompts, 8, "mine")
    assert "1 of 2 prompts do not fit: they count as unanswered and truncated" in caplog.text
    told = (
        r"--max-new-tokens is 600, but .*model[0-9]+ has room for 256 tokens, a prompt and "
        rf"its answer together. That leaves 0 for the prompt, and those of mine have "
        rf"{len(prompts[0])} to {len(prompts[0])}. Give {256 - len(prompts[0])} or less, and all "
        rf"of them fit"
    )
    with pytest.raises(RecipeError, match=told):
        answerer.check_room(prompts[:1], 600, "mine")
    answerer.check_room(prompts[:1], 256 - len(prompts[0]), "mine")


def test_batches_become_smaller_where_memory_runs_out(
    answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = answerer.answers(QUESTIONS, max_new_tokens=4, batch_size=1)
    sizes: list[int] = []
    generate = answerer.model.generate

    def full(input_ids: torch.Tensor, **more: Any) -> torch.Tensor:
        sizes.append(len(input_ids))
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("full")
        found: torch.Tensor = generate(input_ids=input_ids, **more)
        return found

    monkeypatch.setattr(answerer.model, "generate", full)
    assert answerer.answers(QUESTIONS, max_new_tokens=4, batch_size="auto") == one_by_one
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    with pytest.raises(OutOfSpace, match="--batch-size"):
        answerer.answers(QUESTIONS, max_new_tokens=4, batch_size=3)
