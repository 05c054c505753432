"""A recorded loss is the model's own, whatever the architecture and the batch."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from smalltolarge.errors import DataError, OutOfSpace
from smalltolarge.lm import Prepared, prepare, record
from smalltolarge.lm.fast import attention, products
from smalltolarge.lm.fast.units import Unit
from smalltolarge.settings import ProxySettings

from . import lm_samples
from .conftest import real
from .lm_samples import examples_of, model_folder, sums

SMALL = lm_samples.SMALL | {"initializer_range": 0.3}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt_neox": ("GPTNeoXConfig", SMALL),
    "gpt_neox, one after the other": ("GPTNeoXConfig", SMALL | {"use_parallel_residual": False}),
    "llama": ("LlamaConfig", SMALL | {"num_key_value_heads": 2}),
    "gpt2": (
        "GPT2Config",
        {
            "vocab_size": 384,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 256,
            "initializer_range": 0.3,
        },
    ),
    "phi": ("PhiConfig", SMALL),
    "qwen2, tied": ("Qwen2Config", SMALL | {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "gemma2, soft-capped": (
        "Gemma2Config",
        SMALL | {"num_key_value_heads": 2, "head_dim": 8, "final_logit_softcapping": 3.0},
    ),
    "granite, scaled": ("GraniteConfig", SMALL | {"num_key_value_heads": 2, "logits_scaling": 8.0}),
    "mistral, a window": ("MistralConfig", SMALL | {"num_key_value_heads": 2, "sliding_window": 9}),
    "bloom, distances": (
        "BloomConfig",
        {"vocab_size": 384, "hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3},
    ),
    "mamba, recurrent": (
        "MambaConfig",
        {"vocab_size": 384, "hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.3},
    ),
}
NOT_PACKED = {
    "gemma2, soft-capped": "the model's own logits",
    "granite, scaled": "the model's own logits",
    "mistral, a window": "padded examples",
    "bloom, distances": "padded examples",
    "mamba, recurrent": "padded examples",
}


@pytest.fixture(autouse=True)
def _by_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products too go the way of large ones, as where oneDNN is the faster one."""
    monkeypatch.setattr(products, "onednn_is_faster", products.onednn_works)
    for work in products._SMALL:
        monkeypatch.setitem(products._SMALL, work, 0)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        family: model_folder(root / str(place), getattr(transformers, config)(**options))
        for place, (family, (config, options)) in enumerate(FAMILIES.items())
    }


def prepared_for(folder: Path, **settings: Any) -> Prepared:
    defaults = {"epochs": 0.1, "batch_size": 4, "checkpoints": 2, "threads": 1}
    return prepare(
        examples_of(sums(24)), ProxySettings(proxy=str(folder), **(defaults | settings)), 0
    )


def plain_losses(folder: Path, prepared: Prepared) -> np.ndarray:
    """The losses by transformers alone, one example at a time."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    found = []
    for start, end in zip(prepared.offsets[:-1], prepared.offsets[1:], strict=True):
        tokens = torch.from_numpy(prepared.tokens[start:end].astype(np.int64))
        with torch.no_grad():
            logits = model(tokens[None]).logits[0, :-1].double()
        every = -torch.log_softmax(logits, -1).gather(1, tokens[1:, None])[:, 0].numpy()
        found.append(every[prepared.completion[start + 1 : end]].mean())
    return np.array(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_batched_losses_are_those_of_transformers_one_at_a_time(
    family: str, folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    prepared = prepared_for(folders[family])
    with caplog.at_level(logging.DEBUG, "smalltolarge"):
        first = record(prepared).trajectories.losses[:, 0]
    np.testing.assert_allclose(first, plain_losses(folders[family], prepared), 1e-5, 1e-5)
    assert f"taken from {NOT_PACKED.get(family, 'packed examples')}" in caplog.text


BERT: dict[str, Any] = SMALL | {"initializer_range": 0.02}
LOOKING_AHEAD: dict[str, tuple[str, dict[str, Any]]] = {
    "BertLMHeadModel": ("BertConfig", BERT),
    "RobertaForCausalLM": ("RobertaConfig", BERT | {"pad_token_id": 1}),
    "XLNetLMHeadModel": (
        "XLNetConfig",
        {"vocab_size": 384, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    ),
    "LlamaForCausalLM": ("LlamaConfig", FAMILIES["llama"][1] | {"is_causal": False}),
    "GPTNeoXForCausalLM": ("GPTNeoXConfig", SMALL | {"is_causal": False}),
}


@pytest.mark.parametrize("model", LOOKING_AHEAD)
def test_a_model_that_sees_the_answer_is_refused(model: str, tmp_path: Path) -> None:
    config, options = LOOKING_AHEAD[model]
    folder = model_folder(tmp_path / "m", getattr(transformers, config)(**options))
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | options))
    with pytest.raises(DataError, match=f"not a causal language model: {model}.*--proxy scratch"):
        record(prepared_for(folder))


@pytest.mark.parametrize("config", ["BertConfig", "RobertaConfig"])
def test_an_encoder_made_as_a_decoder_is_recorded(config: str, tmp_path: Path) -> None:
    options = SMALL | {"is_decoder": True, "pad_token_id": 1}
    folder = model_folder(tmp_path / "m", getattr(transformers, config)(**options))
    prepared = prepared_for(folder)
    first = record(prepared).trajectories.losses[:, 0]
    np.testing.assert_allclose(first, plain_losses(folder, prepared), 1e-5, 1e-5)


def test_a_packed_way_that_looks_ahead_is_refused(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from smalltolarge.lm.fast import attention

    def bidirectional(*parts: Any, is_causal: bool, **how: Any) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(*parts, **how)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", bidirectional)
    monkeypatch.setattr("smalltolarge.lm.losses._ROUNDING", {False: np.inf, True: np.inf})
    with pytest.raises(DataError, match="not a causal language model"):
        record(prepared_for(folders["gpt_neox"]))


def test_a_loss_does_not_depend_on_batch_mates(folders: dict[str, Path]) -> None:
    for family in ("gpt_neox", "llama", "gpt2"):
        many, few, one = (
            record(prepared_for(folders[family], unit_tokens=tokens)).trajectories.losses[:, 0]
            for tokens in (4096, 150, 1)
        )
        np.testing.assert_allclose(few, many, 1e-5, 1e-6)
        np.testing.assert_allclose(one, many, 1e-5, 1e-6)


def test_logits_in_tiles_give_the_same_training(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepared_for(folders["llama"], epochs=1, learning_rate=1e-3)
    whole = record(prepared).trajectories.losses
    monkeypatch.setattr("smalltolarge.lm.fast.head._ROWS", 10)
    monkeypatch.setattr("smalltolarge.lm.fast.head._COLUMNS", 100)
    np.testing.assert_allclose(record(prepared).trajectories.losses, whole, 1e-5, 1e-6)


def test_bfloat16_is_close_to_float32(folders: dict[str, Path]) -> None:
    for family in ("gpt_neox", "llama"):
        exact = record(prepared_for(folders[family])).trajectories.losses[:, 0]
        rounded = record(prepared_for(folders[family], precision="bfloat16")).trajectories
        assert np.abs(rounded.losses[:, 0] - exact).max() < 0.3
        assert (rounded.losses[:, 0] != exact).any()


def test_gradients_of_units_add_up_to_those_of_the_batch(folders: dict[str, Path]) -> None:
    whole, cut = (
        record(
            prepared_for(folders["gpt_neox"], epochs=1, learning_rate=1e-3, unit_tokens=tokens)
        ).trajectories.losses[:, -1]
        for tokens in (4096, 60)
    )
    np.testing.assert_allclose(cut, whole, 1e-4)


def test_a_loss_that_is_no_number_is_named(folders: dict[str, Path]) -> None:
    prepared = prepared_for(folders["gpt_neox"], epochs=3, learning_rate=1e30)
    with pytest.raises(DataError, match=r"step .*1e\+30.*--learning-rate"):
        record(prepared)


def test_running_out_of_memory_names_the_unit(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepared_for(folders["llama"])
    monkeypatch.setattr(
        "smalltolarge.lm.losses.token_losses",
        lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")),
    )
    with pytest.raises(OutOfSpace, match="--unit-tokens"):
        record(prepared)


@pytest.mark.parametrize("heads", [9, 3])
def test_the_kernel_of_a_gpu_takes_what_it_is_given(heads: int) -> None:
    """Shapes alone, on torch's device without data: this is the call that a GPU gets."""
    lengths = np.array([12, 8])
    ends = torch.empty(3, dtype=torch.int32, device="meta")
    unit = Unit(ends, ends, ends, ends, lengths, ends, ())
    query, key, value = (
        torch.empty(20, n, 64, dtype=torch.bfloat16, device="meta", requires_grad=True)
        for n in (9, heads, heads)
    )
    found = attention._Repeatable.apply(attention._flash, query, key, value, unit, 0.125, 0.0)
    assert found.shape == query.shape
    found.sum().backward()
    assert [part.grad.shape for part in (query, key)] == [query.shape, key.shape]


@pytest.mark.real_data
def test_a_real_pretrained_model_learns_from_real_rows() -> None:
    folder = real("models/stories260K")
    prepared = prepared_for(folder, epochs=4, learning_rate=2e-3)
    assert prepared.tokens[prepared.offsets[:-1]].tolist() == [1] * len(prepared)
    losses = record(prepared).trajectories.losses
    np.testing.assert_allclose(losses[:, 0], plain_losses(folder, prepared), 1e-5, 1e-5)
    assert losses[:, -1].mean() < losses[:, 0].mean() - 0.3
