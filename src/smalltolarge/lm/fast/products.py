"""Matrix products on a CPU: which library makes them, and in which precision, by trying it here.

For float32 torch calls MKL, which keeps to AVX2 on some processors with AVX-512; oneDNN, a part of
the same torch, then is twice as fast. On others MKL is the faster one. Processors with AMX multiply
bfloat16 six to nine times as fast as float32, others emulate it. So nothing is taken for granted.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch.nn import functional

_SMALL = {"scoring": 2**25, "training": 2**27}
"""Multiplications up to which torch's own choice is taken: oneDNN makes code for every new shape,
which takes it about 1 ms. Scoring meets its units again at every checkpoint, training never does.
"""
_TRIED = ((512, 2048), (2048, 512))
"""Weights whose products are tried."""
_ROWS = 512
_REPEATS = 3
_CLEARLY = 1.25
"""How much faster oneDNN must be. On every processor seen it is nearly as fast or twice as fast, so
that chance decides nowhere, and a run goes on as it began."""


@cache
def onednn_works() -> bool:
    """Whether oneDNN multiplies float32 here, strided operands too."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        left = torch.arange(12, dtype=torch.float32).view(4, 3)
        right = torch.arange(15, dtype=torch.float32).view(3, 5)
        whole = by_onednn(left, right.t(), None)
        strided = by_onednn(right.t(), left, None)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    wanted = left @ right
    return bool(torch.equal(whole, wanted) and torch.equal(strided, wanted.t()))


@cache
def onednn_is_faster() -> bool:
    """Whether oneDNN multiplies float32 clearly faster here than torch's own choice."""
    return onednn_works() and _times_faster(by_onednn, functional.linear, _TRIED) >= _CLEARLY


@cache
def bfloat16_gain(shapes: tuple[tuple[int, int], ...], threads: int) -> float:
    """Give how many times as fast products with weights (m, d) are here in bfloat16 as in float32.

    Rounding inputs and weights counts.
    """
    try:
        known = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError, NotImplementedError):
        known = False
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _times_faster(_rounded, product, shapes) if known else 0.0
    finally:
        torch.set_num_threads(before)


def product(
    inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Multiply inputs (n, d) by the transposed weight (m, d), and add the bias (m,).

    No gradient is recorded.
    """
    on_cpu = inputs.device.type == "cpu" and inputs.dtype == torch.float32
    small = _SMALL["scoring" if torch.is_inference_mode_enabled() else "training"]
    if on_cpu and inputs.numel() * len(weight) >= small and onednn_is_faster():
        return by_onednn(inputs, weight, bias)
    return functional.linear(inputs, weight, bias)


def by_onednn(
    inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """``product`` by oneDNN, float32 on a CPU where ``onednn_works``."""
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return found


def _rounded(inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return functional.linear(inputs.to(torch.bfloat16), weight.to(torch.bfloat16))


_Multiply = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@torch.inference_mode()  # type: ignore[untyped-decorator]
def _times_faster(one: _Multiply, other: _Multiply, shapes: Iterable[tuple[int, int]]) -> float:
    """Time both in turn on a weight of each shape; the least of some runs, added up, are compared.

    Operands are constant: random ones would move the generator that training draws from.
    """
    spent = {one: 0.0, other: 0.0}
    for outputs, width in shapes:
        inputs, weight = torch.full((_ROWS, width), 0.5), torch.full((outputs, width), 0.5)
        runs: dict[_Multiply, list[float]] = {one: [], other: []}
        for _ in range(_REPEATS + 1):
            for multiply, seconds in runs.items():
                began = time.perf_counter()
                multiply(inputs, weight)
                seconds.append(time.perf_counter() - began)
        for multiply, seconds in runs.items():
            spent[multiply] += min(seconds[1:])  # code is made in the first
    return spent[other] / spent[one]
