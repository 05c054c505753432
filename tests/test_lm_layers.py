"""Layers of ours give the numbers of transformers' own, and stay away from those that differ."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from smalltolarge.lm.fast import layers, products

from .lm_samples import SMALL

WIDE: dict[str, Any] = SMALL | {"hidden_size": 64, "initializer_range": 0.3}
GROUPED: dict[str, Any] = WIDE | {"num_key_value_heads": 2}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt_neox": ("GPTNeoXConfig", WIDE),
    "llama": ("LlamaConfig", GROUPED),
    "qwen2": ("Qwen2Config", GROUPED),
    "mistral": ("MistralConfig", GROUPED),
}
NORMED_AND_GATED = {"llama", "qwen2", "mistral"}


def twins(family: str) -> tuple[Any, Any]:
    """Two models with the same weights; the layers of the second are ours where they can be."""
    config, options = FAMILIES[family]
    made = getattr(transformers, config)(**options)
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_config(made)
    ours = transformers.AutoModelForCausalLM.from_config(made)
    ours.load_state_dict(theirs.state_dict())
    layers.adopt(ours)
    return theirs, ours


def loss(model: Any) -> torch.Tensor:
    tokens = torch.arange(60).view(3, 20) * 7 % 384
    found: torch.Tensor = model(input_ids=tokens, labels=tokens).loss
    return found


def gradients(model: Any, *, bfloat16: bool) -> torch.Tensor:
    model.zero_grad()
    with (
        layers.turning(layers.rotaries(model) if is_ours(model) else ()),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16),
    ):
        found = loss(model)
    found.backward()
    assert {weight.grad.dtype for weight in model.parameters()} == {torch.float32}
    return torch.cat([found.detach()[None], *(w.grad.flatten() for w in model.parameters())])


def is_ours(model: Any) -> bool:
    return any(type(module) is layers.Linear for module in model.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_gradients_are_those_of_transformers(family: str) -> None:
    theirs, ours = twins(family)
    wanted, found = (gradients(model, bfloat16=False) for model in (theirs, ours))
    assert (found - wanted).norm() <= 1e-4 * wanted.norm()


@pytest.mark.parametrize("family", FAMILIES)
def test_in_bfloat16_gradients_are_as_near_to_exact_ones_as_by_transformers(family: str) -> None:
    theirs, ours = twins(family)
    exact = gradients(theirs, bfloat16=False)
    rounded, found = (gradients(model, bfloat16=True) for model in (theirs, ours))
    assert 0 < (found - exact).norm() <= 1.5 * (rounded - exact).norm()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_that_can_be_is_taken_over(family: str) -> None:
    _, ours = twins(family)
    kinds = {type(module).__mro__[1] for module in ours.modules()}
    assert all(type(m) is layers.Linear for m in ours.modules() if isinstance(m, torch.nn.Linear))
    assert (layers._RMSNorm in kinds) == (family in NORMED_AND_GATED)
    assert (layers._GatedMLP in kinds) == (family in NORMED_AND_GATED)
    assert len(layers.rotaries(ours)) == 1


class LikeANorm(torch.nn.Module):  # type: ignore[misc]
    """A norm that adds one to its weight, as in Gemma."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(8))
        self.variance_epsilon = 1e-6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return found * (1 + self.weight)


class LikeAGate(torch.nn.Module):  # type: ignore[misc]
    """A gated layer with another activation."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = torch.nn.Linear(8, 16), torch.nn.Linear(8, 16)
        self.down_proj, self.act_fn = torch.nn.Linear(16, 8), torch.nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return found


@pytest.mark.parametrize("kind", [LikeANorm, LikeAGate])
def test_a_layer_that_only_looks_alike_stays_what_it_is(kind: type[torch.nn.Module]) -> None:
    model = torch.nn.Sequential(kind())
    layers.adopt(model)
    assert type(model[0]) is kind


def test_rounded_weights_are_kept_while_nothing_changes_and_not_longer() -> None:
    _, model = twins("llama")
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        before = loss(model)
        with layers.unchanging(model, bfloat16=True):
            assert model.lm_head.rounded.dtype == torch.bfloat16
            torch.testing.assert_close(loss(model), before, rtol=0, atol=0)
    assert model.lm_head.rounded is None


def test_trying_products_draws_no_random_numbers() -> None:
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    products.onednn_is_faster.cache_clear()
    products.onednn_is_faster()
    assert products.bfloat16_gain(((64, 32), (32, 64)), 1) >= 0
    assert torch.equal(torch.rand(3), wanted)
