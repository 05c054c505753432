"""The negative log-likelihood of completion tokens: one function for training and scoring."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from smalltolarge.errors import DataError, OutOfSpace, printable
from smalltolarge.lm.neox import PackedNeoX

if TYPE_CHECKING:
    from smalltolarge.lm.tokens import Prepared

log = logging.getLogger("smalltolarge")

_LOGITS = 2**26
"""Logits held at once: 256 MB in float32."""
_CAUSAL = 1e-5
"""How far logits may move by a later token, over the largest: rounding, and nothing that is seen.

Measured on a CPU: 0 for 14 causal architectures, attention, experts and recurrences alike; 2e-5 to
4e-4 for an untrained BERT, which hardly attends yet, on 700 and on 40 tokens.
"""
_COMPARED = 64
"""Places before the changed token whose logits are compared; all would be large to keep."""
_CAUSAL_WANTED = (
    "Give a model that predicts the next token (GPT-NeoX, GPT-2, Llama, Qwen), or --proxy scratch; "
    "of a BERT or RoBERTa made as a decoder, config.json must say is_decoder."
)


@dataclass(frozen=True, eq=False)
class Group:
    """Examples of a unit whose attention is taken together, padded to the longest of them."""

    tokens: int
    """Real tokens; those of the groups before come first."""
    examples: int
    columns: int
    slots: torch.Tensor | None
    """int64 (tokens,): places of the real ones in (examples, columns); None: all are real."""


@dataclass(frozen=True, eq=False)
class Unit:
    """Examples that go through the model at once, padded on the right to the longest.

    No attention mask: attention is causal, so that what stands to the right of a token, padding
    too, cannot reach it.
    """

    inputs: torch.Tensor
    """int64 (b, w): all tokens but the last of each example."""
    positions: torch.Tensor
    """int64 (p,): places in the flattened inputs that predict a completion token."""
    targets: torch.Tensor
    """int64 (p,): the completion tokens."""
    real: torch.Tensor
    """int64: places in the flattened inputs that are no padding."""
    predicting: torch.Tensor
    """int64 (p,): the same places as ``positions``, counted among the real ones alone."""
    groups: tuple[Group, ...]
    """Runs of examples of like length, that together are the unit."""

    @classmethod
    def of(cls, prepared: Prepared, rows: np.ndarray, device: torch.device) -> Unit:
        """Lay the examples ``rows`` out as one unit on ``device``."""
        starts = prepared.offsets[rows].tolist()
        ends = prepared.offsets[rows + 1].tolist()
        lengths = prepared.order.lengths[rows]
        width = int(lengths.max())
        tokens = np.zeros((len(rows), width), dtype=np.int64)
        learned = np.zeros((len(rows), width), dtype=bool)
        for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
            tokens[place, : end - start] = prepared.tokens[start:end]
            learned[place, : end - start] = prepared.completion[start:end]
        places = np.flatnonzero(learned[:, 1:])
        real = np.flatnonzero(np.arange(width - 1) < lengths[:, None] - 1)
        groups = _groups(lengths - 1, device)
        arrays = (
            tokens[:, :-1].copy(),
            places,
            tokens[:, 1:].reshape(-1)[places],
            real,
            np.searchsorted(real, places),
        )
        inputs, positions, targets, real_places, predicting = (
            _to(torch.from_numpy(array), device) for array in arrays
        )
        return cls(inputs, positions, targets, real_places, predicting, groups)


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
        slots = None if full else _to(torch.from_numpy(real), device)
        groups.append(Group(len(real), end - start, columns, slots))
    return tuple(groups)


def _to(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Losses:
    """A causal model as a function from units to losses.

    Three ways to the same numbers, the first that agrees with the model's own logits on ``probe``
    is taken: GPT-NeoX without padding (``PackedNeoX``); any model's hidden states, the output head
    at completion positions alone, which spares most of the logits; the model's own logits, for
    models that do more after the head (scaling, soft-capping).

    Raises
    ------
    DataError
        The model is not causal: what it says of a token depends on tokens that come later.
    """

    def __init__(self, model: Any, probe: Unit, *, bfloat16: bool) -> None:
        self.model = model
        self.bfloat16 = False
        self.head = model.get_output_embeddings()
        self.hidden: Callable[[Unit], torch.Tensor] | None = None
        self._refuse_hindsight(probe)  # the model's own logits, that the ways are compared with
        base = model.base_model
        if self.head is not None and hasattr(self.head, "weight") and base is not model:
            ways: list[Callable[[Unit], torch.Tensor]] = [partial(_hidden_states, base)]
            if PackedNeoX.fits(base):
                ways.insert(0, PackedNeoX(base))
            self.hidden = next((way for way in ways if self._agrees(way, probe)), None)
            if self.hidden is not None:
                self._refuse_hindsight(probe)
        self.bfloat16 = bfloat16
        if self.hidden is None:
            log.info("%s: the model's own logits are used", type(model).__name__)
        elif isinstance(self.hidden, PackedNeoX):
            log.debug("%s: nothing is computed on padding", type(model).__name__)

    def __call__(self, unit: Unit) -> torch.Tensor:
        """Give the loss of every completion token of a unit, float32 (p,), in nats."""
        kind = unit.inputs.device.type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self.bfloat16):
            if self.hidden is None:
                return _cross_entropy(self._own_logits(unit), unit.targets)
            hidden = self.hidden(unit)
            rows = max(1, _LOGITS // self.head.weight.shape[0])
            if len(hidden) <= rows:
                return self._of_hidden(hidden, unit.targets)
            # several slices: their logits are made again in the backward pass, not kept
            return torch.cat(
                [
                    checkpoint(self._of_hidden, part, targets, use_reentrant=False)
                    for part, targets in zip(
                        hidden.split(rows), unit.targets.split(rows), strict=True
                    )
                ]
            )

    def _own_logits(self, unit: Unit) -> torch.Tensor:
        logits = self.model(input_ids=unit.inputs, use_cache=False).logits
        flat: torch.Tensor = logits.view(-1, logits.shape[-1])
        return flat[unit.positions]

    def _of_hidden(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return _cross_entropy(self.head(hidden), targets)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _refuse_hindsight(self, probe: Unit) -> None:
        """Change the last token of every example: no logits of earlier places may move.

        Units have no attention mask, and the loss of an answer is that of predicting it: both
        hold of causal attention alone. BERT and its like load as causal models and are none.
        """
        earlier, changed = _with_another_end(probe)
        training = self.model.training
        self.model.eval()
        try:
            before, after = (
                self._own_logits(unit) if self.hidden is None else self.head(self.hidden(unit))
                for unit in (earlier, changed)
            )
        except (TypeError, AttributeError, IndexError, RuntimeError, ValueError) as error:
            if _is_memory(error):
                raise
            raise DataError(
                f"{type(self.model).__name__} cannot be run on token ids alone "
                f"({printable(str(error), 200)}). {_CAUSAL_WANTED}"
            ) from error
        finally:
            self.model.train(training)
        finite = torch.isfinite(before) & torch.isfinite(after)  # others are refused as losses
        before, after = before[finite].float(), after[finite].float()
        if not before.numel():
            return
        if (after - before).abs().max() > _CAUSAL * before.abs().max():
            raise DataError(
                f"not a causal language model: {type(self.model).__name__} looks ahead; what it "
                "says of a token changes with the tokens after it, so that an answer's loss says "
                f"nothing. {_CAUSAL_WANTED}"
            )

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _agrees(self, way: Callable[[Unit], torch.Tensor], probe: Unit) -> bool:
        """Compare one way with the model's own logits, as they are and at a size of 100.

        Enlarged, because a cap on the logits hardly shows on the small ones of a new model.
        """
        scale, largest = 1.0, 0.0

        def enlarge(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
            nonlocal largest
            largest = max(largest, float(output.abs().max()))
            return output * scale

        hook = self.head.register_forward_hook(enlarge)
        training = self.model.training
        self.model.eval()
        try:
            for _ in range(2):
                self.hidden = None
                whole = self(probe)
                self.hidden = way
                if not torch.allclose(self(probe), whole, rtol=1e-3, atol=1e-4):
                    return False
                scale = 100.0 / max(largest, 1e-6)
        except (TypeError, AttributeError, IndexError, RuntimeError, ValueError) as error:
            if _is_memory(error):
                raise
            return False
        finally:
            self.hidden = None
            hook.remove()
            self.model.train(training)
        return True


def _with_another_end(probe: Unit) -> tuple[Unit, Unit]:
    """Give a unit that predicts at the places before the last of each example, and the same unit
    with another token in the last place.
    """
    columns = probe.inputs.shape[1]
    rows = probe.real // columns
    ends = torch.searchsorted(rows, torch.arange(len(probe.inputs), device=rows.device), right=True)
    ends -= 1  # the last real place of each example, counted among the real ones
    back = ends[rows] - torch.arange(len(rows), device=rows.device)
    predicting = torch.nonzero((back > 0) & (back <= _COMPARED))[:, 0]
    earlier = replace(probe, positions=probe.real[predicting], predicting=predicting)
    inputs = probe.inputs.clone().view(-1)
    last = probe.real[ends]
    inputs[last] = (inputs[last] == 0).long()  # 0, or 1 for 0: every vocabulary has them
    return earlier, replace(earlier, inputs=inputs.view_as(probe.inputs))


def _hidden_states(base: Any, unit: Unit) -> torch.Tensor:
    hidden: torch.Tensor = base(input_ids=unit.inputs, use_cache=False)[0]
    return hidden.view(-1, hidden.shape[-1])[unit.positions]


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits.float(), targets, reduction="none")


def mean_per_example(losses: np.ndarray, n_tokens: np.ndarray) -> np.ndarray:
    """Average token losses, float32 (p,), over each example in float64; give float32 (b,)."""
    starts = np.concatenate([[0], np.cumsum(n_tokens[:-1], dtype=np.int64)])
    sums = np.add.reduceat(losses.astype(np.float64), starts)
    mean: np.ndarray = (sums / n_tokens).astype(np.float32)
    return mean


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


@contextmanager
def naming_memory(prepared: Prepared, rows: np.ndarray) -> Iterator[None]:
    """Turn running out of memory into an error that names the unit and what to do.

    Raises
    ------
    OutOfSpace
        The memory does not suffice for the unit ``rows``.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        longest = int(prepared.order.lengths[rows].max())
        raise OutOfSpace(
            f"out of memory on a unit of {len(rows)} examples of up to {longest} tokens (first id "
            f"{prepared.ids[rows[0]].decode()}). Lower --unit-tokens (now "
            f"{prepared.settings.unit_tokens}) or --max-length "
            f"(now {prepared.settings.max_length}), or take a smaller proxy."
        ) from error
