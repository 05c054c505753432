"""GPT-NeoX (Pythia, and every scratch proxy) without arithmetic on padding.

The same layers and weights as transformers' model, called in another order: matrices, norms and
activations run over real tokens alone, and after the last attention over the tokens alone that
predict a completion. ``Losses`` compares it with the model's own logits before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from smalltolarge.lm.losses import Group, Unit


class PackedNeoX:
    """Hidden states of a GPT-NeoX model at the places that predict a completion token."""

    def __init__(self, base: Any) -> None:
        config = base.config
        self.base = base
        self.heads = config.num_attention_heads
        self.width = config.hidden_size // self.heads
        self.rotary = base.layers[0].attention.rotary_ndims
        self.parallel = config.use_parallel_residual

    @staticmethod
    def fits(base: Any) -> bool:
        """Whether a base model is one: GPT-NeoX with plain rotary positions and no dropout."""
        config = base.config
        return bool(
            config.model_type == "gpt_neox"
            and config.hidden_dropout == 0
            and config.attention_dropout == 0
            and config.rope_parameters.get("rope_type") == "default"
        )

    def __call__(self, unit: Unit) -> torch.Tensor:
        """Give the hidden states, (p, d)."""
        base = self.base
        hidden = base.embed_in(unit.inputs.view(-1)[unit.real])
        cos, sin = self._rotation(unit)
        last = len(base.layers) - 1
        for number, layer in enumerate(base.layers):
            wanted = unit.predicting if number == last else None
            hidden = self._layer(layer, hidden, unit, cos, sin, wanted)
        result: torch.Tensor = base.final_layer_norm(hidden)
        return result

    def _rotation(self, unit: Unit) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines, (N, 1, 3, rotary / 2); the third, for values, turns nothing."""
        places = unit.real % unit.inputs.shape[1]
        angles = places[:, None].float() * self.base.rotary_emb.inv_freq.float()
        cos, sin = angles.cos(), angles.sin()
        still = torch.ones_like(cos)
        return (
            torch.stack([cos, cos, still], 1)[:, None],
            torch.stack([sin, sin, still - 1], 1)[:, None],
        )

    def _layer(
        self,
        layer: Any,
        hidden: torch.Tensor,
        unit: Unit,
        cos: torch.Tensor,
        sin: torch.Tensor,
        wanted: torch.Tensor | None,
    ) -> torch.Tensor:
        states = layer.attention.query_key_value(layer.input_layernorm(hidden))
        states = states.view(-1, self.heads, 3, self.width)
        half = self.rotary // 2
        first, second, rest = states.split([half, half, self.width - self.rotary], dim=-1)
        cos, sin = cos.to(states.dtype), sin.to(states.dtype)
        states = torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)
        parts = states.split([group.tokens for group in unit.groups])
        seen = torch.cat(
            [self._attend(part, group) for part, group in zip(parts, unit.groups, strict=True)]
        )
        if wanted is not None:
            seen, hidden = seen[wanted], hidden[wanted]
        attended = layer.attention.dense(seen)
        if self.parallel:
            return hidden + attended + layer.mlp(layer.post_attention_layernorm(hidden))
        hidden = hidden + attended
        return hidden + layer.mlp(layer.post_attention_layernorm(hidden))

    def _attend(self, states: torch.Tensor, group: Group) -> torch.Tensor:
        """Causal attention inside each example of one group, (tokens, d)."""
        places = group.examples * group.columns
        if group.slots is not None:
            padded = states.new_zeros(places, *states.shape[1:])
            states = padded.index_copy(0, group.slots, states)
        states = states.view(group.examples, group.columns, self.heads, 3, self.width)
        query, key, value = states.transpose(1, 2).unbind(3)
        seen = scaled_dot_product_attention(query, key, value, is_causal=group.columns > 1)
        seen = seen.transpose(1, 2).reshape(places, self.heads * self.width)
        return seen if group.slots is None else seen[group.slots]
