"""Matrix products by oneDNN on an x86 CPU, where torch's own choice leaves speed on the table.

For float32 torch calls MKL, which keeps to AVX2 on processors not made by Intel. oneDNN, a part of
the same torch, uses AVX-512 wherever it exists.
"""

from __future__ import annotations

import platform
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional

_SMALL = {"scoring": 2**25, "training": 2**27}
"""Multiplications up to which torch's own choice is taken: oneDNN makes code for every new shape,
which takes it about 1 ms. Scoring meets its units again at every checkpoint, training never does.
"""


@cache
def onednn_works() -> bool:
    """Whether oneDNN multiplies here, strided operands too."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        left = torch.arange(12, dtype=torch.float32).view(4, 3)
        right = torch.arange(15, dtype=torch.float32).view(3, 5)
        whole = _onednn(left, right.t(), None)
        strided = _onednn(right.t(), left, None)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    wanted = left @ right
    return bool(torch.equal(whole, wanted) and torch.equal(strided, wanted.t()))


def _onednn(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return found


def product(
    inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Multiply inputs (n, d) by the transposed weight (m, d), and add the bias (m,).

    No gradient is recorded.
    """
    on_cpu = inputs.device.type == "cpu" and inputs.dtype == torch.float32
    small = _SMALL["scoring" if torch.is_inference_mode_enabled() else "training"]
    if on_cpu and inputs.numel() * len(weight) >= small and onednn_works():
        return _onednn(inputs, weight, bias)
    return functional.linear(inputs, weight, bias)


def _product_of(
    inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    rows = inputs.reshape(-1, inputs.shape[-1])
    return product(rows, weight, bias).view(*inputs.shape[:-1], len(weight))


class _Product(torch.autograd.Function):  # type: ignore[misc]
    """``product`` of tensors with leading dimensions, with its gradients."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(inputs, weight)
        return _product_of(inputs, weight, bias)

    @staticmethod
    def backward(
        ctx: Any, grad: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        inputs, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        rows, grads = inputs.reshape(-1, inputs.shape[-1]), grad.reshape(-1, grad.shape[-1])
        return (
            product(grads, weight.t()).reshape(inputs.shape) if wanted[0] else None,
            product(grads.t(), rows.t()) if wanted[1] else None,
            grads.sum(0) if wanted[2] else None,
        )


class Linear(nn.Linear):  # type: ignore[misc]
    """A linear layer whose products are made by oneDNN; the same weights under the same names."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Multiply (..., d) by the weight and add the bias."""
        fits = input.dtype == self.weight.dtype == torch.float32 and input.device.type == "cpu"
        if not fits or input.numel() == 0 or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        if torch.is_grad_enabled():
            found: torch.Tensor = _Product.apply(input, self.weight, self.bias)
            return found
        return _product_of(input, self.weight, self.bias)


def adopt(model: nn.Module) -> None:
    """Make the model's linear layers ``Linear``, where that helps."""
    if onednn_works():
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = Linear
