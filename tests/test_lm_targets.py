"""Training a target: by our loop, by TRL, killed and continued; saved and used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smalltolarge.errors import DataError, Interrupted, RecipeError
from smalltolarge.examples import load
from smalltolarge.examples.table import Message
from smalltolarge.lm import Prepared, Target, prepare, train
from smalltolarge.settings import TargetSettings
from tests.lm_samples import SMALL, examples_of, model_folder, sums

SETTINGS: dict[str, Any] = {
    "target": "scratch-0.1m", "epochs": 2, "batch_size": 16, "max_length": 64, "threads": 1,
    "save_every": 2, "device": "cpu",
}  # fmt: skip
LORA: dict[str, Any] = {"trainer": "trl", "lora_rank": 4, "learning_rate": 1e-2}
QUESTIONS = [[Message("user", f"What is {i} + {i * 7 % 31}?")] for i in (3, 8, 21)]


def prepared_with(rows: int = 60, seed: int = 3, **settings: Any) -> Prepared:
    return prepare(examples_of(sums(rows)), TargetSettings(**(SETTINGS | settings)), seed)


def weights(target: Target) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in target.model.state_dict().items()}


def difference(one: Target, other: Target) -> float:
    pairs = zip(weights(one).values(), weights(other).values(), strict=True)
    return max(float((left - right).abs().max()) for left, right in pairs)


def stop_at(call: int) -> Callable[[], None]:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Interrupted("stopped")

    return check


@pytest.fixture(scope="module")
def own() -> Target:
    return train(prepared_with(trainer="own"))


@pytest.fixture(scope="module")
def by_trl() -> Target:
    return train(prepared_with(trainer="trl"))


@pytest.fixture(scope="module")
def adapted() -> Target:
    return train(prepared_with(**LORA))


def test_trl_trains_what_our_loop_trains(own: Target, by_trl: Target) -> None:
    assert difference(own, by_trl) < 1e-5
    np.testing.assert_allclose(own.losses(own.prepared), by_trl.losses(own.prepared), atol=1e-5)
    assert by_trl.facts["train_loss"] == pytest.approx(own.facts["train_loss"], abs=1e-5)
    same = ("steps", "tokens", "flops", "parameters", "trained_parameters")
    assert [own.facts[name] for name in same] == [by_trl.facts[name] for name in same]


def plain_sums(n: int) -> list[dict[str, Any]]:
    return [{"prompt": asked.content, "completion": told.content} for asked, told in sums(n)]


def test_in_one_batch_a_row_of_weight_3_is_three_rows_and_equal_weights_are_none(
    tmp_path: Path,
) -> None:
    from transformers import GPTNeoXConfig

    folder = model_folder(tmp_path / "model", GPTNeoXConfig(**SMALL, tie_word_embeddings=False))
    rows = plain_sums(12)
    counts = [1 + place % 3 for place in range(12)]

    def trained(rows: list[dict[str, Any]], **settings: Any) -> Target:
        given = {"target": str(folder), "trainer": "own", "batch_size": 64, "learning_rate": 1e-3}
        return train(prepare(load(rows), TargetSettings(**SETTINGS | given | settings), 3))

    weighted = [row | {"w": 0.7 * count} for row, count in zip(rows, counts, strict=True)]
    found = trained(weighted, weights="w")
    often = [row for row, count in zip(rows, counts, strict=True) for _ in range(count)]
    assert found.facts["steps"] == 2
    assert difference(found, trained(often)) < 1e-6
    assert difference(found, trained(rows)) > 1e-5
    equal = trained([row | {"w": "0.3"} for row in rows], weights="w")
    assert difference(equal, trained(rows)) == 0
    for parts in (1, 4):
        by_trl = trained(weighted, weights="w", trainer="trl", accumulate=parts)
        assert difference(by_trl, found) < 1e-5
        assert by_trl.facts["train_loss"] == pytest.approx(found.facts["train_loss"], abs=1e-4)


def test_weights_that_are_no_weights_are_told_with_their_row() -> None:
    def prepared(column: str, **more: Any) -> Prepared:
        rows = plain_sums(4)
        rows[3] |= more
        settings = SETTINGS | {"trainer": "own", "weights": column}
        return prepare(load(rows), TargetSettings(**settings), 3)

    with pytest.raises(DataError, match="the data has no column w. s2l select --add-column weight"):
        prepared("w")
    with pytest.raises(DataError, match="row 1: w is None; a number above 0 is needed"):
        prepared("w", w=2)
    with pytest.raises(DataError, match="row 1: prompt is 'What"):
        prepared("prompt")


def test_parts_of_a_batch_change_nothing_even_where_one_is_empty(by_trl: Target) -> None:
    whole = prepared_with(rows=18, trainer="trl", epochs=1)  # the last batch has two examples
    parts = prepared_with(rows=18, trainer="trl", epochs=1, accumulate=4)
    assert [len(rows) for rows in parts.order.batches()] == [16, 2]
    assert difference(train(whole), train(parts)) < 1e-5


def test_trl_takes_a_batch_in_as_many_parts_as_a_unit_asks_for() -> None:
    def parts(**settings: Any) -> int:
        calls = 0

        def count() -> None:
            nonlocal calls
            calls += 1

        made = prepared_with(rows=16, trainer="trl", epochs=1, **settings)
        assert [len(rows) for rows in made.order.batches()] == [16]
        train(made, check=count)
        return calls

    longest = SETTINGS["max_length"]
    whole = parts(accumulate=1)
    assert parts(unit_tokens=2 * longest) == whole + 7
    assert parts(unit_tokens=16 * longest) == whole


def test_dropout_follows_from_the_step(tmp_path: Path) -> None:
    from transformers import GPTNeoXConfig

    config = GPTNeoXConfig(**SMALL, hidden_dropout=0.2, tie_word_embeddings=False)
    folder = str(model_folder(tmp_path / "model", config))
    made = prepared_with(target=folder, trainer="trl", learning_rate=1e-3)
    with pytest.raises(Interrupted):
        train(made, folder=tmp_path / "state", check=stop_at(4))
    assert difference(train(made, folder=tmp_path / "state"), train(made)) == 0


@pytest.mark.parametrize("settings", [{"trainer": "own"}, {"trainer": "trl"}, LORA])
def test_a_stopped_training_goes_on_to_the_same_bytes(
    settings: dict[str, Any], own: Target, by_trl: Target, adapted: Target, tmp_path: Path
) -> None:
    made = prepared_with(**settings)
    for call in (4, 3):
        with pytest.raises(Interrupted):
            train(made, folder=tmp_path, check=stop_at(call))
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]
    found = train(made, folder=tmp_path)
    whole = adapted if settings is LORA else own if settings["trainer"] == "own" else by_trl
    assert difference(found, whole) == 0
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    assert difference(train(made, folder=tmp_path, check=count), whole) == 0
    assert steps == 0  # it was finished


@pytest.mark.parametrize(
    "settings", [{"trainer": "own", "unit_tokens": 200}, {"trainer": "trl", "accumulate": 4}]
)
def test_a_training_stopped_inside_a_step_goes_on_to_the_same_bytes(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    made = prepared_with(epochs=1, **settings)
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    whole = train(made, check=count)
    assert calls >= 2 * whole.facts["steps"]
    for call in (2, 7, 3):  # the last two go on from a state
        with pytest.raises(Interrupted):
            train(made, folder=tmp_path, check=stop_at(call))
    assert difference(train(made, folder=tmp_path), whole) == 0


def test_answers_are_stopped_inside_a_batch(own: Target) -> None:
    ask = partial(own.answerer.answers, QUESTIONS, max_new_tokens=12, batch_size=len(QUESTIONS))
    before = ask()
    with pytest.raises(Interrupted):
        ask(check=stop_at(3))
    assert ask() == before


@pytest.mark.parametrize("trainer", ["own", "trl"])
def test_a_killed_training_goes_on_to_the_same_bytes(
    trainer: str, own: Target, by_trl: Target, tmp_path: Path
) -> None:
    program = f"""
import os, signal
from pathlib import Path
from smalltolarge.lm import train
from tests.test_lm_targets import prepared_with, stop_at
def check(stop=stop_at(6)):
    try:
        stop()
    except Exception:
        os.kill(os.getpid(), signal.SIGKILL)
train(prepared_with(trainer={trainer!r}), folder=Path({str(tmp_path)!r}), check=check)
"""
    root = Path(__file__).parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert killed.returncode == -9, killed.stderr
    assert killed.stdout + killed.stderr == ""  # TRL says nothing of its own
    assert (tmp_path / "state.safetensors").is_file()
    found = train(prepared_with(trainer=trainer), folder=tmp_path)
    assert difference(found, own if trainer == "own" else by_trl) == 0


def test_the_state_of_another_training_is_ignored_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, by_trl: Target
) -> None:
    with pytest.raises(Interrupted):
        train(prepared_with(trainer="trl", epochs=3), folder=tmp_path, check=stop_at(3))
    found = train(prepared_with(trainer="trl"), folder=tmp_path)
    assert "is of another recording and is ignored: epochs was 3, is 2" in caplog.text
    assert difference(found, by_trl) == 0


@pytest.mark.parametrize("trainer", ["own", "trl"])
def test_sequence_and_steps_are_kept_to(trainer: str) -> None:
    made = prepared_with(trainer=trainer, learning_rate=1e-3)
    rows = np.arange(48)
    taken = {
        backwards: made.take(rows, steps=4, sequence=-rows if backwards else rows)
        for backwards in (False, True)
    }
    batches = [batch.tolist() for batch in taken[True].order.batches()]
    assert batches[0] == list(range(47, 31, -1))
    assert batches[3] == batches[0]  # the second epoch
    found = {backwards: train(some) for backwards, some in taken.items()}
    assert found[True].facts["steps"] == 4
    assert difference(found[False], found[True]) > 1e-4


def test_a_part_taken_is_the_part_prepared_alone(tmp_path: Path) -> None:
    from transformers import GPTNeoXConfig

    folder = str(model_folder(tmp_path / "model", GPTNeoXConfig(**SMALL)))
    rows = np.array([2, 3, 5, 8, 13, 21, 34, 55])
    made = prepared_with(target=folder, trainer="own")
    conversations = sums(60)
    examples = examples_of([conversations[row] for row in rows])
    alone = prepare(examples, made.settings, 3)
    taken = made.take(rows)
    assert taken.digest == alone.digest
    assert taken.plan == alone.plan
    assert difference(train(taken), train(alone)) == 0


@pytest.mark.parametrize("kind", ["own", "by_trl", "adapted"])
def test_a_saved_target_answers_the_same(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    target: Target = request.getfixturevalue(kind)
    target.save(tmp_path / "target")
    model, report = AutoModelForCausalLM.from_pretrained(
        tmp_path / "target", output_loading_info=True
    )
    assert not any(report.values())
    assert all(
        torch.equal(there, weights(target)[name]) for name, there in model.state_dict().items()
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "target")
    answers = target.answerer.answers(QUESTIONS, max_new_tokens=12, batch_size=2)
    for prompt, answer in zip(target.answerer.prompts(QUESTIONS), answers, strict=True):
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        # no end is named here: the folder must know it
        found = model.generate(ids, max_new_tokens=12, do_sample=False)[0, len(prompt) :]
        assert tokenizer.decode(found, skip_special_tokens=True) == answer.text
    known = model.generation_config.eos_token_id
    assert target.prepared.tokenizer.eos in (known if isinstance(known, list) else [known])


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_lora_trains_adapters_alone_and_saves_them(adapted: Target, tmp_path: Path) -> None:
    from peft import PeftModel

    from smalltolarge.lm import models

    made = adapted.prepared
    base = models.load(made.model, made.seed)
    moved = {
        name
        for name, weight in base.state_dict().items()
        if not torch.equal(weight, weights(adapted)[name])
    }
    layers = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
    assert {name.split(".")[-2] for name in moved} == set(layers)
    assert adapted.facts["trained_parameters"] < 0.1 * adapted.facts["parameters"]
    assert adapted.facts["parameters"] == sum(weight.numel() for weight in base.parameters())
    adapted.save(tmp_path / "target")
    config = json.loads((tmp_path / "target/adapter/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["task_type"]) == (4, 8, "CAUSAL_LM")
    merged = PeftModel.from_pretrained(base, str(tmp_path / "target/adapter")).merge_and_unload()
    for name, weight in merged.state_dict().items():
        torch.testing.assert_close(weight, weights(adapted)[name])


def test_checkpointed_gradients_and_named_modules(adapted: Target) -> None:
    some = train(prepared_with(**LORA, gradient_checkpointing=True))
    assert difference(some, adapted) < 1e-6
    assert not any(module._forward_pre_hooks for module in some.model.modules())
    few = train(prepared_with(**LORA, lora_modules="dense, query_key_value"))
    assert few.facts["trained_parameters"] < adapted.facts["trained_parameters"]


def test_what_trl_refuses_is_an_error_about_settings() -> None:
    with pytest.raises(RecipeError, match="lora_modules no_such_layer"):
        train(prepared_with(**LORA, lora_modules="no_such_layer"))
    with pytest.raises(RecipeError, match="report_to no_such_logger"):
        train(prepared_with(trainer="trl", report_to="no_such_logger"))


def test_processes_that_do_not_meet_are_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match="2 processes were begun"):
        train(prepared_with(trainer="trl"))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(RecipeError, match="FSDP"):
        train(prepared_with(trainer="trl"))


def test_a_training_that_diverges_is_stopped() -> None:
    for trainer in ("own", "trl"):
        with pytest.raises(DataError, match="diverged"):
            train(prepared_with(trainer=trainer, learning_rate=1e30, max_grad_norm=1e30))


def test_without_trl_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "trl" else there(name)
    )
    with pytest.raises(RecipeError, match=r"'trl': pip install 'smalltolarge\[train\]'"):
        train(prepared_with(trainer="trl"))
