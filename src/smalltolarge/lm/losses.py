"""The negative log-likelihood of completion tokens: one function for training and scoring."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from smalltolarge.errors import DataError, OutOfSpace, printable
from smalltolarge.lm.fast import attention, layers
from smalltolarge.lm.fast.head import TokenLosses, token_losses
from smalltolarge.lm.fast.units import Unit

if TYPE_CHECKING:
    from smalltolarge.lm.tokens import Prepared

log = logging.getLogger("smalltolarge")

_CAUSAL = 1e-5
"""How far logits may move by a later token, over the largest: rounding, and nothing that is seen.

Measured on a CPU: 0 for 14 causal architectures, attention, experts and recurrences alike; 2e-5 to
4e-4 for an untrained BERT, which hardly attends yet, on 700 and on 40 tokens.
"""
_ROUNDING = {False: 1e-4, True: 5e-2}
"""How far packed hidden states may be from padded ones, over the largest: in float32, bfloat16."""
_LOGITS = 512
"""Tokens whose logits are held at once where losses are weighted."""
_COMPARED = 64
"""Places before the changed token whose logits are compared; all would be large to keep."""
_CAUSAL_WANTED = (
    "Give a model that predicts the next token (GPT-NeoX, GPT-2, Llama, Qwen), or --proxy scratch; "
    "of a BERT or RoBERTa made as a decoder, config.json must say is_decoder."
)
_CANNOT = (TypeError, AttributeError, IndexError, RuntimeError, ValueError)
"""What a model raises when it cannot be run in some way."""


class Losses:
    """A causal model as a function from units to losses.

    Three ways to the same numbers, the fastest that agrees with the model's own is taken: hidden
    states of packed examples and the output head at completion positions alone; the same of padded
    examples, where a model's layers do not take our attention; the model's own logits, where it
    does more after the head (scaling, soft-capping).

    Parameters
    ----------
    probe : a few examples to compare logits on
    longest : some with the longest among them, to compare hidden states on, which are smaller
    borrowed : the model is being trained by somebody else: nothing in it is changed, so examples
        are padded; "in parts" where its weights are cut over processes, which takes its own forward

    Raises
    ------
    DataError
        The model is not causal: what it says of a token depends on tokens that come later.
    """

    def __init__(
        self,
        model: Any,
        probe: Unit,
        longest: Unit,
        *,
        bfloat16: bool,
        borrowed: Literal["whole", "in parts"] | None = None,
    ) -> None:
        self.model = model
        self.bfloat16 = bfloat16
        self.borrowed = borrowed
        self.head = model.get_output_embeddings()
        self.way: Literal["packed", "padded", "own logits"] = "own logits"
        self._rotaries: tuple[ModuleType, ...] = ()
        self._refuse_hindsight(probe)
        if borrowed != "in parts" and self._head_agrees(probe):
            self.way = "padded"
            if borrowed is None and self._packing_agrees(probe, longest):
                self.way = "packed"
            self._refuse_hindsight(probe)
        if borrowed is None and probe.inputs.device.type == "cpu":
            layers.adopt(model)
            self._rotaries = layers.rotaries(model)
        level = logging.INFO if self.way == "own logits" else logging.DEBUG
        log.log(level, "%s: losses are taken from %s", type(model).__name__, _TOLD[self.way])

    def __call__(self, unit: Unit) -> TokenLosses:
        """Give the losses of the completion tokens of a unit."""
        with _autocast(unit, self.bfloat16):
            if self.way == "own logits":
                logits = self._own_logits(unit).float()
                each = cross_entropy(logits, unit.targets, reduction="none")
                return TokenLosses(each.detach(), each.sum())
            return self._of_hidden(self._hidden(unit), unit)

    def weighted(self, unit: Unit, weights: torch.Tensor) -> torch.Tensor:
        """Give the sum of the losses of the completion tokens times ``weights`` (p,).

        Slower than ``total`` of a call, which weighs all alike; logits are made twice.
        """
        with _autocast(unit, self.bfloat16):
            if self.way == "own logits":
                logits = self._own_logits(unit).float()
                return cross_entropy(logits, unit.targets, reduction="none") @ weights
            parts = zip(
                self._hidden(unit)[unit.predicting].split(_LOGITS),
                unit.targets.split(_LOGITS),
                weights.split(_LOGITS),
                strict=True,
            )
            found = [checkpoint(self._weigh, *part, use_reentrant=False) for part in parts]
            return torch.stack(found).sum()

    def _weigh(
        self, hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        return cross_entropy(self.head(hidden).float(), targets, reduction="none") @ weights

    def hidden(self, unit: Unit) -> torch.Tensor:
        """Give the last hidden states of a unit, (n, d)."""
        with _autocast(unit, self.bfloat16):
            return self._hidden(unit)

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Bring the model into evaluation mode, for units between which its weights stay."""
        with (
            _evaluating(self.model),
            layers.unchanging(self.model, bfloat16=self.bfloat16),
            # what a model keeps of inference would be of no use to its training
            torch.no_grad() if self.borrowed else torch.inference_mode(),
        ):
            yield

    def _of_hidden(self, hidden: torch.Tensor, unit: Unit) -> TokenLosses:
        hidden = hidden[unit.predicting]
        rounded = getattr(self.head, "rounded", None)
        weight = self.head.weight if rounded is None else rounded
        return token_losses(hidden, weight, self.head.bias, unit.targets)

    def _hidden(self, unit: Unit) -> torch.Tensor:
        """Give the last hidden states of a unit, (n, d)."""
        with layers.turning(self._rotaries):
            return self._run(unit)

    def _run(self, unit: Unit) -> torch.Tensor:
        if self.way == "packed":
            with attention.packed(unit):
                packed: torch.Tensor = self.model.base_model(
                    input_ids=unit.inputs[None], position_ids=unit.places[None], use_cache=False
                )[0]
            return packed[0]
        inputs, slots = unit.padded()
        padded: torch.Tensor = self.model.base_model(input_ids=inputs, use_cache=False)[0]
        return padded.flatten(0, 1)[slots]

    def _own_logits(self, unit: Unit) -> torch.Tensor:
        """Give the model's own logits at completion positions, (p, vocabulary)."""
        inputs, slots = unit.padded()
        logits: torch.Tensor = self.model(input_ids=inputs, use_cache=False).logits
        return logits.flatten(0, 1)[slots[unit.predicting]]

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _refuse_hindsight(self, probe: Unit) -> None:
        """Change the last token of every example: no logits of earlier places may move.

        Units have no attention mask, and the loss of an answer is that of predicting it: both
        hold of causal attention alone. BERT and its like load as causal models and are none.
        """
        units = _with_another_end(probe)
        # twice: one that looks ahead does so every time, and nothing else may refuse a model
        if self._end_moves(*units) and self._end_moves(*units):
            raise DataError(
                f"not a causal language model: {type(self.model).__name__} looks ahead; what it "
                "says of a token changes with the tokens after it, so that an answer's loss says "
                f"nothing. {_CAUSAL_WANTED}"
            )

    def _end_moves(self, earlier: Unit, changed: Unit) -> bool:
        """Whether the logits of two units, which differ in last tokens alone, differ."""
        try:
            with _evaluating(self.model):
                before, after = (
                    self._own_logits(unit)
                    if self.way == "own logits"
                    else self.head(self._hidden(unit)[unit.predicting])
                    for unit in (earlier, changed)
                )
        except _CANNOT as error:
            if is_memory(error):
                raise
            raise DataError(
                f"{type(self.model).__name__} cannot be run on token ids alone "
                f"({printable(str(error), 200)}). {_CAUSAL_WANTED}"
            ) from error
        finite = torch.isfinite(before) & torch.isfinite(after)  # others are refused as losses
        before, after = before[finite].float(), after[finite].float()
        if not before.numel():
            return False
        return bool((after - before).abs().max() > _CAUSAL * before.abs().max())

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _head_agrees(self, probe: Unit) -> bool:
        """Whether hidden states and the head give the losses of the model's own logits.

        Compared as they are and with hidden states enlarged until a logit is 100, because a cap
        on the logits hardly shows on the small ones of a new model.
        """
        plain = type(self.head) in (torch.nn.Linear, layers.Linear)
        if not plain or self.model.base_model is self.model:
            return False
        scale, largest = 1.0, 0.0
        enlarge = self.head.register_forward_pre_hook(lambda _, inputs: (inputs[0] * scale,))
        try:
            with _evaluating(self.model):
                for _ in range(2):
                    logits = self._own_logits(probe).float()
                    largest = max(largest, float(logits.abs().max()))
                    theirs = cross_entropy(logits, probe.targets, reduction="none")
                    ours = self._of_hidden(self._hidden(probe) * scale, probe).each
                    if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4):
                        return False
                    scale = 100.0 / max(largest, 1e-6)
        except _CANNOT as error:
            if is_memory(error):
                raise
            log.debug("hidden states and head cannot be used: %s", printable(str(error), 200))
            return False
        finally:
            enlarge.remove()
        return True

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _packing_agrees(self, *units: Unit) -> bool:
        """Whether packed examples give the hidden states of padded ones; if so, our attention
        stays in the model.
        """
        precisions = sorted({False, self.bfloat16})
        before = self.model.config._attn_implementation
        agrees = False
        try:
            with _evaluating(self.model):
                padded = [self._in(bfloat16, unit) for unit in units for bfloat16 in precisions]
                attention.register()
                self.model.set_attn_implementation(attention.NAME)
                self.way = "packed"
                packed = [self._in(bfloat16, unit) for unit in units for bfloat16 in precisions]
            agrees = all(
                (ours - theirs).abs().max() <= _ROUNDING[bfloat16] * theirs.abs().max()
                for ours, theirs, bfloat16 in zip(
                    packed, padded, precisions * len(units), strict=True
                )
            )
        except _CANNOT as error:
            if is_memory(error):
                raise
            log.debug("examples cannot be packed: %s", printable(str(error), 200))
        finally:
            self.way = "padded"
            if not agrees:
                self.model.set_attn_implementation(before)
        return agrees

    def _in(self, bfloat16: bool, unit: Unit) -> torch.Tensor:
        with _autocast(unit, bfloat16):
            return self._hidden(unit).float()


_TOLD = {
    "packed": "packed examples",
    "padded": "padded examples",
    "own logits": "the model's own logits",
}


def _autocast(unit: Unit, bfloat16: bool) -> torch.autocast:
    return torch.autocast(unit.inputs.device.type, dtype=torch.bfloat16, enabled=bfloat16)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _with_another_end(probe: Unit) -> tuple[Unit, Unit]:
    """Give a unit that predicts at the places before the last of each example, and the same unit
    with another token in the last place.
    """
    last = probe.ends[1:].long() - 1
    lengths = probe.ends.diff().long()
    back = last.repeat_interleave(lengths) - torch.arange(len(probe.inputs), device=last.device)
    predicting = torch.nonzero((back > 0) & (back <= _COMPARED))[:, 0]
    earlier = replace(probe, predicting=predicting, targets=probe.inputs[predicting])
    inputs = probe.inputs.clone()
    inputs[last] = (inputs[last] == 0).long()  # 0, or 1 for 0: every vocabulary has them
    return earlier, replace(earlier, inputs=inputs)


def mean_per_example(losses: np.ndarray, n_tokens: np.ndarray) -> np.ndarray:
    """Average token losses, float32 (p,), over each example in float64; give float32 (b,)."""
    starts = np.concatenate([[0], np.cumsum(n_tokens[:-1], dtype=np.int64)])
    sums = np.add.reduceat(losses.astype(np.float64), starts)
    mean: np.ndarray = (sums / n_tokens).astype(np.float32)
    return mean


def is_memory(error: BaseException) -> bool:
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
        if not is_memory(error):
            raise
        longest = int(prepared.order.lengths[rows].max())
        raise OutOfSpace(
            f"out of memory on a unit of {len(rows)} examples of up to {longest} tokens (first id "
            f"{prepared.ids[rows[0]].decode()}). Lower --unit-tokens (now "
            f"{prepared.settings.unit_tokens}) or --max-length "
            f"(now {prepared.settings.max_length}), or take a smaller proxy."
        ) from error
