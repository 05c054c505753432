"""The loss of every example under a model as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from smalltolarge.lm.fast.units import Unit
from smalltolarge.lm.losses import Losses, mean_per_example, naming_memory

if TYPE_CHECKING:
    from smalltolarge.lm.tokens import Prepared

_FETCH_EVERY = 1024
"""Units whose losses are on their way from the device before it is waited for."""


class Collected:
    """The mean loss of every example, brought off the device without waiting for each unit."""

    def __init__(self, n_tokens: np.ndarray) -> None:
        self.n_tokens = n_tokens
        self.losses = np.full(len(n_tokens), np.nan, dtype=np.float32)
        self._waiting: list[tuple[np.ndarray, torch.Tensor]] = []
        self._device: torch.device | None = None

    def add(self, by_unit: list[tuple[np.ndarray, torch.Tensor]]) -> None:
        """Take the rows of units and the losses of their completion tokens."""
        for rows, losses in by_unit:
            host = losses
            if losses.is_cuda:
                self._device = losses.device
                host = torch.empty(losses.shape, dtype=losses.dtype, pin_memory=True)
                host.copy_(losses, non_blocking=True)
            self._waiting.append((rows, host))
        if len(self._waiting) >= _FETCH_EVERY:
            self.fetched()

    def fetched(self) -> np.ndarray:
        """Give the mean losses, float32 (n,), once all that were added are here."""
        if self._device is not None:
            torch.cuda.synchronize(self._device)
        for rows, losses in self._waiting:
            self.losses[rows] = mean_per_example(losses.cpu().numpy(), self.n_tokens[rows])
        self._waiting.clear()
        return self.losses


def score(
    prepared: Prepared,
    losses: Losses,
    device: torch.device,
    *,
    units: Sequence[np.ndarray] | None = None,
    check: Callable[[], None] = lambda: None,
    advance: Callable[[int], None] = lambda rows: None,
) -> np.ndarray:
    """Give the mean loss of every example, float32 (m,), with the model in evaluation mode.

    ``units`` are rows (b,) that go through the model at once: those of all examples where none are
    given; what is in no unit has NaN. ``advance`` is told how many examples more are scored.
    """
    collected = Collected(prepared.n_tokens)
    with losses.scoring():
        for rows in prepared.order.scoring_units() if units is None else units:
            check()
            with naming_memory(prepared, rows):
                unit = Unit.of(prepared, rows, device)
                collected.add([(rows, losses(unit).each)])
            advance(len(rows))
        return collected.fetched()
