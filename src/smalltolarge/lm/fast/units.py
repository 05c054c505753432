"""Examples laid out for one pass through the model: packed one after the other, no padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from smalltolarge.lm.tokens import Prepared


@dataclass(frozen=True, eq=False)
class Group:
    """Neighbouring examples whose attention is taken together, padded to the longest of them."""

    tokens: int
    """Tokens of all its examples; those of the groups before come first."""
    examples: int
    columns: int
    slots: torch.Tensor | None
    """int64 (tokens,): their places in (examples, columns) flattened; None: there is no padding."""


@dataclass(frozen=True, eq=False)
class Unit:
    """Examples that go through the model at once: n tokens, of which p predict a completion token.

    The last token of an example is no input: nothing that is learned comes after it.
    """

    inputs: torch.Tensor
    """int64 (n,): all tokens but the last of each example."""
    places: torch.Tensor
    """int64 (n,): place of each in its example, from 0."""
    predicting: torch.Tensor
    """int64 (p,): which of the n predict a completion token."""
    targets: torch.Tensor
    """int64 (p,): the completion tokens."""
    lengths: np.ndarray
    """int64 (b,): inputs of each example, n in all."""
    ends: torch.Tensor
    """int32 (b + 1,): where the examples begin and end among the inputs."""
    groups: tuple[Group, ...]
    """Runs of examples of like length, that together are the unit."""

    @classmethod
    def of(cls, prepared: Prepared, rows: np.ndarray, device: torch.device) -> Unit:
        """Lay the examples ``rows`` out on ``device``."""
        lengths = prepared.order.lengths[rows] - 1
        ends = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(ends[-1]) - np.repeat(ends[:-1], lengths)
        source = places + np.repeat(prepared.offsets[rows], lengths)
        predicting = np.flatnonzero(prepared.completion[source + 1])
        arrays = (
            prepared.tokens[source].astype(np.int64),
            places,
            predicting,
            prepared.tokens[source[predicting] + 1].astype(np.int64),
            ends.astype(np.int32),
        )
        inputs, at, found, targets, bounds = (_to(array, device) for array in arrays)
        return cls(inputs, at, found, targets, lengths, bounds, _groups(lengths, device))

    def padded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the inputs padded on the right, (b, longest), and the n places of them in it.

        No attention mask is needed: attention is causal, so that what stands to the right of a
        token, padding too, cannot reach it.
        """
        columns = int(self.lengths.max())
        rows = np.repeat(np.arange(len(self.lengths)), self.lengths)
        slots = self.places + _to(rows * columns, self.places.device)
        filled = self.inputs.new_zeros(len(self.lengths) * columns)
        filled.index_copy_(0, slots, self.inputs)
        return filled.view(len(self.lengths), columns), slots


def _groups(lengths: np.ndarray, device: torch.device) -> tuple[Group, ...]:
    """Cut a unit where examples get shorter than 3/4 of the first of the group.

    On a CPU alone: an accelerator wastes less on padding than on more and smaller calls.
    """
    cuts = [0]
    for place, length in enumerate(lengths.tolist()):
        if device.type == "cpu" and length < 0.75 * lengths[cuts[-1]]:
            cuts.append(place)
    groups = []
    for start, end in zip(cuts, [*cuts[1:], len(lengths)], strict=True):
        own = lengths[start:end]
        columns = int(own.max())
        real = np.flatnonzero(np.arange(columns) < own[:, None])
        full = len(real) == len(own) * columns
        groups.append(Group(len(real), end - start, columns, None if full else _to(real, device)))
    return tuple(groups)


def _to(array: np.ndarray, device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
