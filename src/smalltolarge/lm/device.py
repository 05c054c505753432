"""Where the model runs, and what its numbers depend on there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from smalltolarge.errors import RecipeError, printable
from smalltolarge.settings import TrainingSettings

_UNIT_TOKENS = {"cuda": 16384}
"""Tokens of a unit on a GPU, which needs that many to be busy; elsewhere they fit the cache."""
_USUAL_UNIT_TOKENS = 4096


def find_device(name: str) -> torch.device:
    """Give the device of a name; "auto" is cuda where there is one, else the CPU.

    Raises
    ------
    RecipeError
        There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RecipeError(
            f"device {printable(name)!r} is not to be had here ({printable(reason)}). Give "
            "--device auto or cpu."
        ) from error
    return device


def unit_tokens(settings: TrainingSettings) -> int:
    """Give the tokens of a unit: those asked for, or the default of the kind of device."""
    if settings.unit_tokens is not None:
        return settings.unit_tokens
    return _UNIT_TOKENS.get(find_device(settings.device).type, _USUAL_UNIT_TOKENS)


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether the model computes in bfloat16."""
    if precision == "auto":
        return device.type == "cuda" and bool(torch.cuda.is_bf16_supported())
    return precision == "bfloat16"


@contextmanager
def fixed(threads: int, device: torch.device) -> Iterator[None]:
    """Fix what results depend on (threads, random numbers, kernels); put all back after."""
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    devices = [device] if device.type == "cuda" else []
    if devices:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
