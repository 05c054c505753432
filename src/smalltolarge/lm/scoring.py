"""The loss of every example under a model as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from smalltolarge.errors import IntegrityError
from smalltolarge.lm.fast.units import Unit
from smalltolarge.lm.losses import Losses, mean_per_example, naming_memory
from smalltolarge.lm.plan import dealt
from smalltolarge.lm.world import World

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
    world: World | None = None,
) -> np.ndarray:
    """Give the mean loss of every example, float32 (m,), with the model in evaluation mode.

    ``units`` are rows (b,) that go through the model at once: those of all examples where none are
    given; what is in no unit has NaN. They are dealt to the processes of ``world``, and their
    losses joined in all of them. ``advance`` is told how many examples more are scored.

    Raises
    ------
    IntegrityError
        Several processes did not score each example exactly once.
    """
    world = world or World()
    collected = Collected(prepared.n_tokens)
    units = prepared.order.scoring_units() if units is None else units
    with losses.scoring():
        for place in range(0, len(units), world.size):
            world.check(check)
            together = units[place : place + world.size]
            for rows in dealt(together, world.rank, world.size):
                with naming_memory(prepared, rows):
                    unit = Unit.of(prepared, rows, device)
                    collected.add([(rows, losses(unit).each)])
            advance(sum(map(len, together)))
        found = collected.fetched()
    if world.size == 1:
        return found
    return _joined(found, dealt(units, world.rank, world.size), world)


def _joined(found: np.ndarray, units: Sequence[np.ndarray], world: World) -> np.ndarray:
    """Join what the processes scored, each its ``units``, of one order of the examples."""
    scored, times = np.zeros_like(found), np.zeros(len(found), dtype=np.int32)
    for rows in units:
        scored[rows] = found[rows]
        times[rows] += 1
    joined: np.ndarray = world.whole(torch.from_numpy(scored)).numpy()
    times = world.whole(torch.from_numpy(times)).numpy()
    if (times != 1).any():
        raise IntegrityError(
            f"{np.count_nonzero(times != 1):,} of {len(times):,} examples were not scored exactly "
            "once: please report it with the command"
        )
    return joined
