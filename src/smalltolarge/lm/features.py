"""What a proxy that is trained says of every example, beside its losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from smalltolarge.lm import models
from smalltolarge.lm.device import Machine
from smalltolarge.lm.fast.units import Unit
from smalltolarge.lm.losses import Losses, naming_memory
from smalltolarge.lm.recording import find_losses
from smalltolarge.lm.scoring import score
from smalltolarge.lm.training import load_weights
from smalltolarge.progress import LOADING, Progress

if TYPE_CHECKING:
    from smalltolarge.lm.tokens import Prepared


def embed(
    prepared: Prepared,
    weights: Mapping[str, torch.Tensor],
    *,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Give the mean last hidden state at the places that predict a completion token.

    ``weights`` are those of a recording. float32 (m, width of the model).
    """
    settings = prepared.settings
    machine = Machine.of(settings)
    device = machine.device
    found: np.ndarray | None = None
    progress = progress or Progress()
    with machine.fixed():
        losses = trained_losses(prepared, weights, machine, progress)
        with progress.step("embedding", len(prepared)) as step, losses.scoring():
            for rows in prepared.order.scoring_units():
                check()
                with naming_memory(prepared, rows):
                    unit = Unit.of(prepared, rows, device)
                    hidden = losses.hidden(unit)[unit.predicting].float()
                n_tokens = torch.from_numpy(prepared.n_tokens[rows].astype(np.int64)).to(device)
                owner = torch.repeat_interleave(torch.arange(len(rows), device=device), n_tokens)
                sums = hidden.new_zeros(len(rows), hidden.shape[1]).index_add_(0, owner, hidden)
                means = (sums / n_tokens[:, None]).cpu().numpy()
                if found is None:
                    found = np.empty((len(prepared), means.shape[1]), dtype=np.float32)
                found[rows] = means
                step.advance(len(rows))
    assert found is not None
    return found


def score_alone(
    prepared: Prepared,
    weights: Mapping[str, torch.Tensor],
    *,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Give the mean loss of every completion without its prompt, float32 (m,).

    ``weights`` are those of a recording. One token of the prompt is kept, the last.
    """
    settings = prepared.settings
    machine = Machine.of(settings)
    alone = prepared.without_prompts()
    progress = progress or Progress()
    with machine.fixed():
        losses = trained_losses(prepared, weights, machine, progress)
        with progress.step("scoring without prompts", len(prepared)) as step:
            return score(alone, losses, machine.device, check=check, advance=step.advance)


def trained_losses(
    prepared: Prepared,
    weights: Mapping[str, torch.Tensor],
    machine: Machine,
    progress: Progress,
) -> Losses:
    """Give the proxy with the weights of a recording, as a function from units to losses."""
    with progress.step(LOADING, unit=""):
        model = models.load(prepared.model, prepared.seed)
        load_weights(model, weights)
        model = model.to(machine.device)
        losses = find_losses(prepared, model, machine.device, machine.bfloat16)
        model.eval()
    return losses
