"""Gradients of a proxy after its training: of single examples, and of weighted means of many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from smalltolarge.lm.device import Machine
from smalltolarge.lm.fast.units import Unit
from smalltolarge.lm.features import trained_losses
from smalltolarge.lm.losses import Losses, naming_memory
from smalltolarge.lm.plan import keyed_number
from smalltolarge.progress import Progress, Step

if TYPE_CHECKING:
    from smalltolarge.lm.tokens import Prepared

WHOLE = 2**26
"""Numbers, of all single gradients together, up to which they are kept as they are: 256 MB."""
SKETCHED = 8191
"""Numbers of a sketch, a prime. Its cosines are off by about 1 / sqrt(8191) = 0.011."""


class Sketch:
    """A fixed linear map from p numbers to fewer that keeps cosines, by random signs.

    Number i is added, with its sign, to place i modulo the size (a count sketch: Charikar, Chen &
    Farach-Colton, ICALP 2002). The size is a prime, so that what stands in one column of a weight
    matrix is spread over all places.
    """

    def __init__(self, p: int, size: int, device: torch.device) -> None:
        self.size = size
        generator = torch.Generator().manual_seed(keyed_number(f"sketch {p} {size}"))
        signs = torch.randint(0, 2, (p,), generator=generator, dtype=torch.int8)
        self.signs = signs.mul_(2).sub_(1).to(device)

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """Map (p,) to (size,)."""
        signed = torch.nn.functional.pad(vector * self.signs, (0, -len(vector) % self.size))
        return signed.view(-1, self.size).sum(0)


class Gradients:
    """Gradients of the loss of examples by all weights of a model as it is, p in all.

    The loss of an example is the mean over its completion tokens.
    """

    def __init__(
        self,
        prepared: Prepared,
        losses: Losses,
        device: torch.device,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.prepared, self.losses, self.device, self.check = prepared, losses, device, check
        losses.model.eval().requires_grad_(True)
        self.weights = list(losses.model.parameters())
        self.parameters = sum(weight.numel() for weight in self.weights)

    def each(
        self, rows: np.ndarray, step: Step, whole: int = WHOLE, sketched: int = SKETCHED
    ) -> np.ndarray:
        """Give the gradient of every example, float32 (b, p); where that is more than ``whole``
        numbers, a sketch of it, float32 (b, sketched).
        """
        keep = len(rows) * self.parameters <= whole
        sketch = None if keep else Sketch(self.parameters, sketched, self.device)
        found = np.empty((len(rows), self.parameters if keep else sketched), dtype=np.float32)
        for place, row in enumerate(rows.tolist()):
            self.check()
            one = np.array([row])
            with naming_memory(self.prepared, one):
                self.losses.model.zero_grad(set_to_none=True)
                total = self.losses(Unit.of(self.prepared, one, self.device)).total
                (total / int(self.prepared.n_tokens[row])).backward()
                flat = self._flat()
            found[place] = (flat if sketch is None else sketch(flat)).cpu().numpy()
            step.advance(1)
        return found

    def mean(self, rows: np.ndarray, step: Step, shares: np.ndarray | None = None) -> np.ndarray:
        """Give the mean gradient of examples, float32 (p,), by units.

        ``shares`` (b,), which add up to 1, are the weights of the mean; None: all are equal.
        """
        prepared = self.prepared
        by_token = np.zeros(len(prepared))
        by_token[rows] = 1 / len(rows) if shares is None else shares
        by_token /= prepared.n_tokens
        self.losses.model.zero_grad(set_to_none=True)
        for unit in prepared.order.longest_first(rows):
            self.check()
            factors = np.repeat(by_token[unit], prepared.n_tokens[unit]).astype(np.float32)
            with naming_memory(prepared, unit):
                laid_out = Unit.of(prepared, unit, self.device)
                self.losses.weighted(laid_out, torch.from_numpy(factors).to(self.device)).backward()
            step.advance(len(unit))
        found: np.ndarray = self._flat().cpu().numpy()
        return found

    def _flat(self) -> torch.Tensor:
        """Give all gradients one after the other; a weight that took no part has zeros."""
        return torch.cat(
            [
                (torch.zeros_like(w) if w.grad is None else w.grad).detach().flatten().float()
                for w in self.weights
            ]
        )


@contextmanager
def proxy_gradients(
    prepared: Prepared,
    weights: Mapping[str, torch.Tensor],
    progress: Progress,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Gradients]:
    """Give the gradients of the proxy with the weights of a recording, while the block lasts."""
    machine = Machine.of(prepared.settings)
    with machine.fixed():
        losses = trained_losses(prepared, weights, machine, progress)
        yield Gradients(prepared, losses, machine.device, check)
