"""From hidden states to the loss of each token, without all logits at once.

The output head has one row a token of the vocabulary: at 50,304 of them the logits of 1,000 tokens
take 200 MB, and going over them again and again costs as much as making them. Here they are made a
tile at a time and turned into exponentials while they are in the cache. Scoring drops them at once.
Training keeps those of ``_ROWS`` tokens until their gradients are taken, in the same pass; beside
them it holds the gradient of the head's weight twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch

from smalltolarge.lm.fast.products import product

log = logging.getLogger("smalltolarge")

_ROWS = 1024
"""Tokens whose exponentials are held at once when gradients are taken."""
_COLUMNS = 1024
"""Logits of a tile in each row: with ``_ROWS`` 4 MB, which a processor's cache holds."""


class TokenLosses(NamedTuple):
    """Losses of p completion tokens."""

    each: torch.Tensor
    """float32 (p,), in nats, detached."""
    total: torch.Tensor
    """Their sum, with gradient."""


class _Gradients(NamedTuple):
    weight: torch.Tensor
    bias: torch.Tensor | None


def token_losses(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
) -> TokenLosses:
    """Give the negative log-likelihoods of ``targets`` under softmax(hidden x weight + bias).

    Parameters
    ----------
    hidden : (p, d)
    weight : (vocabulary, d)
    bias : (vocabulary,) or None
    targets : int64 (p,)
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    with torch.autocast(kind, enabled=False):
        if torch.is_grad_enabled():
            return TokenLosses(*_Losses.apply(hidden, weight, bias, targets))
        found = [
            _slice(part, weight, bias, wanted, None)[0]
            for part, wanted in zip(hidden.split(_ROWS), targets.split(_ROWS), strict=True)
        ]
        each = torch.cat(found)
        return TokenLosses(each, each.sum())


class _Losses(torch.autograd.Function):  # type: ignore[misc]
    """``token_losses`` with the gradient of their sum, made in the same pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        into = _Gradients(
            torch.zeros_like(weight, dtype=torch.float32),
            None if bias is None else torch.zeros_like(bias, dtype=torch.float32),
        )
        found = [
            _slice(part, weight, bias, wanted, into)
            for part, wanted in zip(hidden.split(_ROWS), targets.split(_ROWS), strict=True)
        ]
        each = torch.cat([losses for losses, _ in found])
        ctx.dtypes = hidden.dtype, weight.dtype
        ctx.biased = bias is not None
        ctx.save_for_backward(
            torch.cat([grad for _, grad in found if grad is not None]), *into[: 1 + ctx.biased]
        )
        ctx.mark_non_differentiable(each)
        return each, each.sum()

    @staticmethod
    def backward(
        ctx: Any, _each: torch.Tensor, total: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, *bias = ctx.saved_tensors
        return (
            (hidden * total).to(ctx.dtypes[0]),
            (weight * total).to(ctx.dtypes[1]),
            (bias[0] * total).to(ctx.dtypes[1]) if ctx.biased else None,
            None,
        )


def _slice(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    into: _Gradients | None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Give the losses of some tokens, float32, and the gradient of their sum by ``hidden``.

    The gradients by weight and bias are added to ``into``; without it none are taken.
    """
    kind, vocabulary = hidden.device.type, len(weight)
    columns = _COLUMNS if kind == "cpu" else vocabulary  # an accelerator wants few large calls
    exponentials = _reduction(kind)
    tiles = []
    for start in range(0, vocabulary, columns):
        part = slice(start, start + columns)
        logits = product(hidden, weight[part], None if bias is None else bias[part])
        kept, top, total = exponentials(logits)
        tiles.append((part, kept if into is not None else None, top, total))
    tops = torch.stack([top for _, _, top, _ in tiles])
    totals = torch.stack([total for *_, total in tiles])
    top = tops.amax(0)
    normaliser = top + (totals * (tops - top).exp_()).sum(0).log_()
    wanted = weight[targets]
    at_target = (hidden.float() * wanted.float()).sum(1)
    if bias is not None:
        at_target += bias[targets].float()
    losses = (normaliser - at_target.to(hidden.dtype).float()).clamp_(min=0.0)
    if into is None:
        return losses, None
    grad = wanted.float().neg_()
    into.weight.index_add_(0, targets, hidden.float().neg())
    if into.bias is not None:
        into.bias.index_add_(0, targets, torch.full_like(losses, -1.0))
    for part, kept, top, _ in tiles:
        assert kept is not None
        share = (top - normaliser).exp_()[:, None]  # exponentials x share = probabilities
        scaled = (hidden.float() * share).to(hidden.dtype)
        grad += product(kept, weight[part].t()).float() * share
        into.weight[part] += product(kept.t(), scaled.t())
        if into.bias is not None:
            into.bias[part] += (kept.float() * share).sum(0)
    return losses, grad


_Reduction = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


def _exponentials(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Give exp(logits - top) in their own type, top and the sum of each row, float32.

    ``logits`` in float32 are overwritten.
    """
    wide = logits.float()
    top = wide.amax(1)
    found = wide.sub_(top[:, None]).exp_()
    return found.to(logits.dtype), top, found.sum(1)


@cache
def _reduction(kind: str) -> _Reduction:
    """Give ``_exponentials``; on CUDA in one kernel, where torch can compile it."""
    if kind != "cuda":
        return _exponentials
    compiled: _Reduction = torch.compile(_exponentials, dynamic=True)
    try:
        compiled(torch.zeros(_ROWS, _COLUMNS, device=kind))
    except Exception as error:  # Triton or a compiler is missing, or one of many things
        log.warning("torch cannot compile here, which makes losses slower: %s", str(error)[:200])
        return _exponentials
    return compiled
