"""Where the model runs, and what its numbers depend on there."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch

from smalltolarge.errors import RecipeError, printable
from smalltolarge.lm.fast import memory
from smalltolarge.lm.fast.products import bfloat16_gain
from smalltolarge.lm.plan import Shape
from smalltolarge.settings import ModelSettings, TrainingSettings, cores

log = logging.getLogger("smalltolarge")

T = TypeVar("T", bound=TrainingSettings)

_DEVICES = re.compile(r"cpu|mps|(cuda|xpu)(:\d{1,3})?")
_UNIT_TOKENS = {"cuda": 16384}
"""Tokens of a unit on a GPU, which needs that many to be busy; elsewhere they fit the cache."""
_USUAL_UNIT_TOKENS = 4096
_WORTH_ROUNDING = 2**24
"""Weights of the matrices from which on their products are most of the work."""
_CLEARLY = 1.5
"""How many times as fast products in bfloat16 must be."""


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
        if not _DEVICES.fullmatch(name):
            raise RuntimeError("auto, cpu, cuda, cuda:1, mps or xpu is needed")
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RecipeError(
            f"device {printable(name)!r} is not to be had here ({printable(reason)}). Give "
            "--device auto or cpu."
        ) from error
    return device


def visible_gpus() -> list[str]:
    """Name the NVIDIA GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` does."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = named.split(",") if named else map(str, range(count))
    return [name.strip() for name in names][:count]


def unit_tokens(settings: TrainingSettings) -> int:
    """Give the tokens of a unit: those asked for, or the default of the kind of device."""
    if settings.unit_tokens is not None:
        return settings.unit_tokens
    return _UNIT_TOKENS.get(find_device(settings.device).type, _USUAL_UNIT_TOKENS)


def settled(settings: T, shape: Shape) -> T:
    """Write out what a model of this shape runs in on this machine: device, threads, precision,
    and the tokens of a unit.
    """
    return replace(
        settings,
        device=str(find_device(settings.device)),
        threads=settings.threads or usual_threads(),
        precision=settled_precision(settings, shape),
        unit_tokens=unit_tokens(settings),
    )


def settled_precision(settings: TrainingSettings, shape: Shape) -> Literal["float32", "bfloat16"]:
    """Give the precision asked for; for "auto" on a CPU, try what its products gain there."""
    if settings.precision != "auto":
        return settings.precision
    device = find_device(settings.device)
    if device.type != "cpu":
        return "bfloat16" if uses_bfloat16("auto", device) else "float32"
    if shape.matrix_weights < _WORTH_ROUNDING:
        return "float32"
    gain = bfloat16_gain(shape.matrices, settings.threads or usual_threads())
    if gain < _CLEARLY:
        return "float32"
    log.info(
        "computing in bfloat16: its matrix products are %.1f times as fast on this processor as "
        "those of float32 (--precision float32 to have the exact losses)",
        gain,
    )
    return "bfloat16"


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether the model computes in bfloat16."""
    if precision == "auto":
        return device.type == "cuda" and bool(torch.cuda.is_bf16_supported())
    return precision == "bfloat16"


def usual_threads() -> int:
    """Give the threads of a process: its share of the cores, if others were begun beside it."""
    return max(cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)


@dataclass(frozen=True)
class Machine:
    """What settings come to here: where a model runs, and in what arithmetic."""

    device: torch.device
    bfloat16: bool
    threads: int

    @classmethod
    def of(cls, settings: ModelSettings) -> Machine:
        """Find the device; raises as ``find_device``."""
        device = find_device(settings.device)
        bfloat16 = uses_bfloat16(settings.precision, device)
        return cls(device, bfloat16, settings.threads or usual_threads())

    def fixed(self) -> AbstractContextManager[None]:
        """Fix what results depend on; see ``fixed``."""
        return fixed(self.threads, self.device)


@contextmanager
def fixed(threads: int, device: torch.device) -> Iterator[None]:
    """Fix what results depend on (threads, random numbers, kernels); put all back after.

    On a CPU, freed memory is kept for the next tensors inside.
    """
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    devices = [device] if device.type == "cuda" else []
    if devices:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(threads)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=devices))
            if device.type == "cpu":
                stack.enter_context(memory.kept())
            yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
