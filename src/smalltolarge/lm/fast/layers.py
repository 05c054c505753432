"""Layers of a model on a CPU in fewer passes over memory, and linear ones by the faster library.

Each stands in for a layer of transformers: the same weights under the same names, the same numbers
up to rounding. One is taken over only where it gives them on a sample, so that a layer which only
looks alike stays what it is. Under autocast to bfloat16 a norm and a gate give bfloat16 at once,
which the products after them take as it is; weights stay float32.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from smalltolarge.lm.fast.products import product

_ROTARY = "apply_rotary_pos_emb"
"""What transformers calls the function that turns queries and keys by their places."""


def _rounding() -> bool:
    """Whether products are rounded to bfloat16 here."""
    on = bool(torch.is_autocast_enabled("cpu"))
    return on and bool(torch.get_autocast_dtype("cpu") == torch.bfloat16)


class Linear(nn.Linear):  # type: ignore[misc]
    """A linear layer by ``product``, or in bfloat16 under autocast."""

    rounded: torch.Tensor | None = None
    """The weight in bfloat16, while it does not change."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Multiply (..., d) by the weight and add the bias."""
        found: torch.Tensor
        if input.device.type != "cpu" or input.numel() == 0 or self.weight.dtype != torch.float32:
            found = super().forward(input)
        elif _rounding():
            bias = None if self.bias is None else self.bias.to(torch.bfloat16)
            weight = self.weight if self.rounded is None else self.rounded
            found = _Product.apply(input, weight, bias, torch.bfloat16)
        elif input.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            found = super().forward(input)
        else:
            found = _Product.apply(input, self.weight, self.bias, torch.float32)
        return found


class _Product(torch.autograd.Function):  # type: ignore[misc]
    """``product`` in one type; gradients come in the types of what they are of."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        ctx.dtypes = inputs.dtype, weight.dtype
        with torch.autocast("cpu", enabled=False):
            inputs, weight = inputs.to(dtype), weight.to(dtype)
            ctx.save_for_backward(inputs, weight)
            rows = inputs.reshape(-1, inputs.shape[-1])
            return product(rows, weight, bias).view(*inputs.shape[:-1], len(weight))

    @staticmethod
    def backward(
        ctx: Any, grad: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None, None]:
        inputs, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        rows, grads = inputs.reshape(-1, inputs.shape[-1]), grad.reshape(-1, grad.shape[-1])
        return (
            product(grads, weight.t()).view(inputs.shape).to(ctx.dtypes[0]) if wanted[0] else None,
            product(grads.t(), rows.t()).to(ctx.dtypes[1]) if wanted[1] else None,
            grads.sum(0) if wanted[2] else None,
            None,
        )


class _RMSNorm(nn.Module):  # type: ignore[misc]
    """A root mean square norm as in Llama, in three passes instead of six."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Scale (..., d) to a mean square of 1, and by the weight."""
        found: torch.Tensor
        if hidden_states.dtype != torch.float32 or hidden_states.device.type != "cpu":
            found = super().forward(hidden_states)
        else:
            dtype = torch.bfloat16 if _rounding() else torch.float32
            found = _Norm.apply(hidden_states, self.weight, self.variance_epsilon, dtype)
        return found


class _Norm(torch.autograd.Function):  # type: ignore[misc]
    """``_RMSNorm`` with its gradients."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, epsilon: float, dtype: torch.dtype
    ) -> torch.Tensor:
        square = torch.linalg.vector_norm(inputs, dim=-1, keepdim=True).square_()
        scale = square.div_(inputs.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(inputs, weight, scale)
        return torch.mul(inputs, scale).mul_(weight).to(dtype)

    @staticmethod
    def backward(
        ctx: Any, grad: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        inputs, weight, scale = ctx.saved_tensors
        normed, grad = torch.mul(inputs, scale), grad.float()
        of_weight = (normed * grad).flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        of_normed = grad * weight
        along = torch.linalg.vecdot(of_normed, normed).div_(inputs.shape[-1])[..., None]
        return of_normed.sub_(normed.mul_(along)).mul_(scale), of_weight, None, None


class _GatedMLP(nn.Module):  # type: ignore[misc]
    """down(silu(gate) x up), which keeps two wide tensors for its gradients instead of three."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Go through the layer, (..., d)."""
        found: torch.Tensor
        if x.device.type != "cpu":
            found = super().forward(x)
        else:
            found = self.down_proj(_Gated.apply(self.gate_proj(x), self.up_proj(x)))
        return found


class _Gated(torch.autograd.Function):  # type: ignore[misc]
    """silu(gate) x up, with its gradients."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gate, up = ctx.saved_tensors
        return (
            torch.ops.aten.silu_backward(grad * up, gate),
            functional.silu(gate).mul_(grad),
        )


def _rotary(
    q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn queries and keys by their places, in two passes instead of five; transformers' names."""
    cos = cos.unsqueeze(unsqueeze_dim).to(q.dtype)
    sin = sin.unsqueeze(unsqueeze_dim).to(q.dtype)
    return _Turned.apply(q, cos, sin), _Turned.apply(k, cos, sin)


class _Turned(torch.autograd.Function):  # type: ignore[misc]
    """Queries or keys turned by their places; the gradient is turned back."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(inputs, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(grad, cos, sin.neg()), None, None


def _turn(inputs: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn the first numbers of each head, as many as there are angles, and keep the others."""
    width = cos.shape[-1]
    half = width // 2
    first, second = inputs[..., :half], inputs[..., half:width]
    turned = inputs.clone() if width < inputs.shape[-1] else torch.empty_like(inputs)
    torch.mul(inputs[..., :width], cos, out=turned[..., :width])
    turned[..., :half].addcmul_(second, sin[..., :half], value=-1)
    turned[..., half:width].addcmul_(first, sin[..., half:])
    return turned


def adopt(model: nn.Module) -> None:
    """Take over the layers of a model on the CPU that can be."""
    found: dict[Any, Any] = {}
    for module in model.modules():
        kind = type(module)
        if kind is nn.Linear:
            module.__class__ = Linear
        elif (ours := _ours(module)) is not None:
            if kind not in found:
                standing_in = type(kind.__name__, (ours, kind), {})
                found[kind] = standing_in if _agrees(module, standing_in) else kind
            module.__class__ = found[kind]


def _ours(module: nn.Module) -> type[nn.Module] | None:
    """Give what might stand in for a layer, by what the layer has; None where nothing might."""
    if isinstance(module, _RMSNorm | _GatedMLP):
        return None
    if hasattr(module, "variance_epsilon") and hasattr(module, "weight"):
        return _RMSNorm
    if all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
        return _GatedMLP
    return None


@torch.no_grad()  # type: ignore[untyped-decorator]
def _agrees(module: Any, ours: type) -> bool:
    """Whether a layer gives the same numbers as a layer of ours."""
    width = module.gate_proj.weight.shape[-1] if issubclass(ours, _GatedMLP) else len(module.weight)
    sample = torch.linspace(-3, 5, 3 * width).view(1, 3, width)
    theirs = type(module)
    try:
        wanted = module(sample)
        module.__class__ = ours
        found = module(sample)
    except (AttributeError, RuntimeError, TypeError):
        return False
    finally:
        module.__class__ = theirs
    same = wanted.shape == found.shape and torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)
    return bool(same)


def rotaries(model: nn.Module) -> tuple[ModuleType, ...]:
    """Give the modules of transformers in which the layers of a model find a rotary function that
    ours can stand in for.
    """
    homes = {sys.modules[type(module).__module__] for module in model.modules()}
    return tuple(home for home in homes if _turns_alike(getattr(home, _ROTARY, None)))


@torch.no_grad()  # type: ignore[untyped-decorator]
def _turns_alike(theirs: Any) -> bool:
    if theirs is None:
        return False
    angles = torch.linspace(0, 3, 5 * 4).view(1, 5, 4).repeat(1, 1, 2)
    sample = torch.linspace(-3, 5, 2 * 5 * 8).view(1, 2, 5, 8), torch.ones(1, 1, 5, 8)
    try:
        wanted = theirs(*sample, angles.cos(), angles.sin())
        found = _rotary(*sample, angles.cos(), angles.sin())
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False
    return all(
        torch.allclose(ours, other, rtol=1e-5, atol=1e-6)
        for ours, other in zip(found, wanted, strict=True)
    )


@contextmanager
def turning(homes: tuple[ModuleType, ...]) -> Iterator[None]:
    """Have layers of these modules call our rotary function."""
    with ExitStack() as stack:
        for home in homes:
            stack.callback(setattr, home, _ROTARY, getattr(home, _ROTARY))
            setattr(home, _ROTARY, _rotary)
        yield


@contextmanager
def unchanging(model: nn.Module, *, bfloat16: bool) -> Iterator[None]:
    """Keep the rounded weights of a model whose weights do not change inside."""
    linear = [module for module in model.modules() if isinstance(module, Linear) and bfloat16]
    for module in linear:
        module.rounded = module.weight.detach().to(torch.bfloat16)
    try:
        yield
    finally:
        for module in linear:
            module.rounded = None
