"""On a GPU: the losses of a CPU, up to the precision asked for, by the kernels meant for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from smalltolarge.lm import prepare, record
from smalltolarge.settings import ProxySettings
from smalltolarge.trajectories import Trajectories

from .lm_samples import SMALL, examples_of, model_folder, sums

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
WIDE = SMALL | {"hidden_size": 64, "initializer_range": 0.3}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt_neox": ("GPTNeoXConfig", WIDE),
    "llama": ("LlamaConfig", WIDE | {"num_key_value_heads": 2}),
    "qwen2": ("Qwen2Config", WIDE | {"num_key_value_heads": 2}),
    "mistral, a window": ("MistralConfig", WIDE | {"num_key_value_heads": 2, "sliding_window": 9}),
}


def recorded(folder: Path, **settings: Any) -> Trajectories:
    defaults = {"epochs": 1, "batch_size": 8, "checkpoints": 3, "learning_rate": 1e-3}
    wanted = ProxySettings(proxy=str(folder), **(defaults | settings))
    return record(prepare(examples_of(sums(60)), wanted, 0)).trajectories


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_are_those_of_the_cpu(family: str, tmp_path: Path) -> None:
    config, options = FAMILIES[family]
    folder = model_folder(tmp_path / "m", getattr(transformers, config)(**options))
    on_cpu = recorded(folder, device="cpu").losses
    exact = recorded(folder, device="cuda", precision="float32").losses
    rounded = recorded(folder, device="cuda", precision="bfloat16").losses
    np.testing.assert_allclose(exact[:, 0], on_cpu[:, 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(exact, on_cpu, rtol=1e-2, atol=1e-2)
    assert 0 < np.abs(rounded[:, 0] - on_cpu[:, 0]).max() < 0.3


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("family", ["gpt_neox", "llama", "qwen2"])
def test_a_second_recording_has_the_same_bytes(family: str, precision: str, tmp_path: Path) -> None:
    config, options = FAMILIES[family]
    folder = model_folder(tmp_path / "m", getattr(transformers, config)(**options))
    first, second = (
        recorded(folder, device="cuda", precision=precision, epochs=3).losses for _ in range(2)
    )
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("family", ["gpt_neox", "llama"])
def test_attention_is_one_kernel_of_variable_lengths(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smalltolarge.lm.fast import attention

    calls: list[torch.dtype] = []

    def counted(query: torch.Tensor, *rest: Any) -> torch.Tensor:
        calls.append(query.dtype)
        return flash(query, *rest)

    flash = attention._flash
    monkeypatch.setattr(attention, "_flash", counted)
    config, options = FAMILIES[family]
    folder = model_folder(tmp_path / "m", getattr(transformers, config)(**options))
    recorded(folder, device="cuda", precision="bfloat16")
    assert set(calls) == {torch.bfloat16}
