"""Folders that PEFT wrote, given as models."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from smalltolarge.errors import (
    DataError,
    IntegrityError,
    MissingArtifact,
    RecipeError,
    RefusedForSafety,
    S2LError,
)
from smalltolarge.examples.table import Message
from smalltolarge.lm import Answerer
from smalltolarge.lm.models import load, pretrained_model
from smalltolarge.settings import ModelSettings

from .lm_samples import CHATML, SMALL, model_folder, tokenizer_folder

peft = pytest.importorskip("peft")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
]
QUESTION = [[Message("user", "What is 2 + 3?")]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "base"
    return model_folder(folder, LlamaConfig(**SMALL), chat=CHATML)


def adapter_folder(base: Path, folder: Path, **config: Any) -> Path:
    """Write an adapter with random weights, as PEFT does."""
    model = AutoModelForCausalLM.from_pretrained(base)
    usual = {"r": 2, "target_modules": "all-linear", "init_lora_weights": False}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        adapted = peft.get_peft_model(
            model, peft.LoraConfig(**usual | config, task_type="CAUSAL_LM")
        )
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.data += 0.05 * torch.randn_like(weight)
    adapted.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_dora": True, "lora_alpha": 4},
        {"use_rslora": True, "rank_pattern": {"q_proj": 3}, "target_modules": ["q_proj", "o_proj"]},
        {"modules_to_save": ["lm_head"], "target_modules": ["k_proj"], "layers_to_transform": [1]},
        {"target_modules": ["embed_tokens", "v_proj"]},
    ],
)
def test_an_adapter_is_the_model_that_peft_makes_of_it(
    base: Path, tmp_path: Path, config: dict[str, Any]
) -> None:
    folder = adapter_folder(base, tmp_path / "adapter", **config)
    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    described = pretrained_model(str(folder), None)
    ours = load(described, seed=0)
    ids = torch.arange(20)[None]
    torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, rtol=0, atol=1e-5)
    plain = AutoModelForCausalLM.from_pretrained(base)
    assert not torch.allclose(ours(ids).logits, plain(ids).logits, atol=1e-2)
    assert {name for name, _ in ours.named_parameters()} == {
        name for name, _ in plain.named_parameters()
    }
    assert all(weight.requires_grad for weight in ours.parameters())
    assert set(described.weights) == {"model.safetensors", "adapter_model.safetensors"}
    assert described.loaded_from == str(folder)


def test_an_adapter_is_asked_by_the_template_beside_it_or_else_by_its_model_s(
    base: Path, tmp_path: Path
) -> None:
    folder = adapter_folder(base, tmp_path / "adapter")
    answerer = Answerer.load(str(folder), ModelSettings())
    text = answerer.tokenizer.chat.render(QUESTION[0], prompt=True)  # type: ignore[union-attr]
    assert text.startswith("<|im_start|>user\nWhat is 2 + 3?")
    assert answerer.answers(QUESTION, max_new_tokens=4, batch_size=1)
    tokenizer_folder(folder, chat=CHATML.replace("im_start", "im_end"))
    answerer = Answerer.load(str(folder), ModelSettings())
    text = answerer.tokenizer.chat.render(QUESTION[0], prompt=True)  # type: ignore[union-attr]
    assert text.startswith("<|im_end|>user\nWhat is 2 + 3?")


def _set(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_bytes()) | values))

    return change


def _pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (_set(peft_type="IA3"), DataError, "kind IA3.*\n.*AutoPeftModelForCausalLM"),
        (_set(init_lora_weights="pissa"), DataError, "'init_lora_weights': \"pissa\""),
        (_set(megatron_config={"a": 1}), DataError, "'megatron_config'"),
        (_set(layer_replication=[[0, 2], [0, 2]]), DataError, "'layer_replication'"),
        (_set(r=3), IntegrityError, "does not fit .*base"),
        (_set(target_modules=["q_proj"]), IntegrityError, "unexpected .*mlp"),
        (_set(modules_to_save=["lm_head"]), IntegrityError, r"1 missing .*lm_head"),
        (_set(base_model_name_or_path=None), DataError, "base_model_name_or_path is null"),
        (_set(base_model_name_or_path="no/where/"), MissingArtifact, "cannot be taken: .*no/where"),
        (_set(auto_map={"a": "b"}), RefusedForSafety, "auto_map"),
        (_pickled, RefusedForSafety, "only as pickle"),
        (lambda folder: (folder / "a.py").touch(), RefusedForSafety, "Python files"),
    ],
)
def test_what_is_wrong_with_an_adapter_is_named(
    base: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    error: type[S2LError],
    told: str,
) -> None:
    folder = adapter_folder(base, tmp_path / "adapter")
    change(folder)
    with pytest.raises(error, match=told):
        load(pretrained_model(str(folder), None), seed=0)


def test_an_adapter_of_an_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    folder = adapter_folder(base, tmp_path / "adapter")
    _set(base_model_name_or_path=str(folder))(folder)
    with pytest.raises(DataError, match="it is an adapter itself"):
        pretrained_model(str(folder), None)


def test_without_peft_the_error_says_what_to_install(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = adapter_folder(base, tmp_path / "adapter")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(RecipeError, match=r"adapter of .*base; .*peft: pip install"):
        pretrained_model(str(folder), None)
