"""Causal attention over packed examples, as one of transformers' attention implementations.

Any model whose layers take their attention from transformers' table of implementations then runs
over real tokens alone: matrices, norms and activations have no padding, and no mask is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from smalltolarge.lm.fast.units import Group, Unit

NAME = "packed_examples"
_unit: ContextVar[Unit] = ContextVar("unit")
_CHANGES_ATTENTION = ("attention_mask", "sliding_window", "softcap", "s_aux", "position_bias")
"""Arguments of an implementation that ask for more than causal attention."""


def register() -> None:
    """Put the implementation into transformers' table."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attend)


@contextmanager
def packed(unit: Unit) -> Iterator[None]:
    """Say which examples the tokens inside are of."""
    token = _unit.set(unit)
    try:
        yield
    finally:
        _unit.reset(token)


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attend inside each example. Query, key, value: (1, heads, n, d); returns (1, n, heads, d).

    Raises
    ------
    NotImplementedError
        The model wants another attention than a causal one.
    """
    more["attention_mask"] = attention_mask
    asked = [name for name in _CHANGES_ATTENTION if more.get(name) is not None]
    if asked or more.get("is_causal") is False:
        raise NotImplementedError(f"attention with {', '.join(asked) or 'a look ahead'}")
    unit = _unit.get()
    kind = query.device.type
    if torch.is_autocast_enabled(kind):  # rotary positions leave query and key in float32
        # a CPU takes four times as long for the gradients in bfloat16 as in float32
        slow = kind == "cpu" and torch.is_grad_enabled()
        dtype = torch.float32 if slow else torch.get_autocast_dtype(kind)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
    fast = dropout == 0.0 and query.is_cuda and query.dtype in (torch.float16, torch.bfloat16)
    attend = _flash if fast else _in_groups
    with torch.autocast(kind, enabled=False):
        if query.is_cuda and torch.is_grad_enabled():
            found = _Repeatable.apply(attend, query, key, value, unit, scaling, dropout)
        else:
            found = attend(query, key, value, unit, scaling, dropout)
    return found[None], None


def _in_groups(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    unit: Unit,
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    sizes = [group.tokens for group in unit.groups]
    found = [
        _attend_group(q, k, v, group, scaling, dropout)
        for q, k, v, group in zip(
            query.split(sizes), key.split(sizes), value.split(sizes), unit.groups, strict=True
        )
    ]
    return torch.cat(found)


def _attend_group(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    group: Group,
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    def padded(part: torch.Tensor) -> torch.Tensor:
        if group.slots is not None:
            room = part.new_zeros(group.examples * group.columns, *part.shape[1:])
            part = room.index_copy_(0, group.slots, part)
        return part.reshape(group.examples, group.columns, *part.shape[1:]).transpose(1, 2)

    seen = scaled_dot_product_attention(
        padded(query),
        padded(key),
        padded(value),
        dropout_p=dropout,
        is_causal=group.columns > 1,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    seen = seen.transpose(1, 2).flatten(0, 1)
    return seen if group.slots is None else seen[group.slots]


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    unit: Unit,
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    """Attend in one kernel that takes examples of any lengths; it exists in half precision.

    The operator itself: ``varlen_attn``, which stands on it, does not let key and value have fewer
    heads in every version of torch.
    """
    longest, ends = int(unit.lengths.max()), unit.ends
    found: torch.Tensor = torch.ops.aten._flash_attention_forward(
        query, key, value, ends, ends, longest, longest, dropout, True, False, scale=scaling
    )[0]
    return found


class _Repeatable(torch.autograd.Function):  # type: ignore[misc]
    """An attention whose gradients are the same bits every time.

    On a GPU they are only while deterministic algorithms are insisted on, which elsewhere in a
    model would refuse operations that have none. The graph of the attention is kept for that.
    """

    @staticmethod
    def forward(ctx: Any, attend: Callable[..., torch.Tensor], *given: Any) -> torch.Tensor:
        parts = [part.detach().requires_grad_() for part in given[:3]]
        with torch.enable_grad():
            ctx.graph = attend(*parts, *given[3:]), parts
        return ctx.graph[0].detach()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        found, parts = ctx.graph
        del ctx.graph  # or it would stay as long as the loss does
        deterministic = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(deterministic)
        try:
            grads = torch.autograd.grad(found, parts, grad)
        finally:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        return (None, *grads, None, None, None)


@contextmanager
def own(model: Any) -> Iterator[None]:
    """Give a model an attention of transformers for a while, if it has ours."""
    before = model.config._attn_implementation
    if before == NAME:
        model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        if before == NAME:
            model.set_attn_implementation(NAME)
