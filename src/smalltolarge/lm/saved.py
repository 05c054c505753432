"""The losses of every example under the checkpoints that another training saved."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from smalltolarge.errors import DataError
from smalltolarge.lm import models
from smalltolarge.lm.checkpoints import saved_steps
from smalltolarge.lm.device import Machine
from smalltolarge.lm.fast.memory import giving_back
from smalltolarge.lm.models import Model, pretrained_model
from smalltolarge.lm.recording import Recording, find_losses, fingerprint, origin
from smalltolarge.lm.scoring import score
from smalltolarge.lm.shelf import Shelf
from smalltolarge.lm.tokens import Prepared
from smalltolarge.lm.training import weights_of
from smalltolarge.progress import LOADING, Progress
from smalltolarge.settings import ProxySettings
from smalltolarge.trajectories import Trajectories


def _described(settings: ProxySettings) -> dict[int, Model]:
    """Find and check every model; raises as ``pretrained_model``."""
    assert settings.from_checkpoints is not None
    found = {
        step: pretrained_model(str(folder), None)
        for step, folder in saved_steps(settings.from_checkpoints).items()
    }
    if settings.begins_from and 0 not in found:
        found = {0: pretrained_model(settings.begins_from, settings.revision), **found}
    return found


def record_saved(
    prepared: Prepared,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> Recording:
    """Score all examples under every checkpoint of ``from_checkpoints``; as ``record`` otherwise.

    With a ``folder``, the losses of a checkpoint are kept in it, and a later call goes on there.

    Raises
    ------
    DataError
        A loss is not finite.
    Others as ``record`` and ``pretrained_model``.
    """
    prepared = prepared.keep_tokens(folder)
    settings = prepared.settings
    assert isinstance(settings, ProxySettings)
    machine, progress, check = Machine.of(settings), progress or Progress(), giving_back(check)
    with progress.step("checking model", unit=""):
        described = _described(settings)
    weights = {str(step): dict(model.weights) for step, model in described.items()}
    shelf = Shelf(folder, fingerprint(prepared, machine) | {"checkpoints": weights})
    columns: list[np.ndarray] = []
    seconds, scored = 0.0, 0
    n, last = len(prepared), list(described)[-1]
    with machine.fixed():
        for k, (step, one) in enumerate(described.items()):
            kept = shelf.losses(k, step)
            if kept is None or step == last:
                with progress.step(LOADING, unit=""):
                    model = models.load(one, prepared.seed).to(machine.device)
                    weights_now = weights_of(model)
            if kept is None:
                began = time.monotonic()
                note = f"checkpoint {k + 1} of {len(described)}"
                with progress.step("scoring", n * len(described), done=n * k) as bar:

                    def advance(rows: int, note: str = note) -> None:
                        bar.advance(rows, note)

                    kept = score(
                        prepared,
                        find_losses(prepared, model, machine.device, machine.bfloat16),
                        machine.device,
                        check=check,
                        advance=advance,
                    )
                seconds, scored = seconds + time.monotonic() - began, scored + 1
                _refuse_nonfinite(prepared, one, kept)
                shelf.keep_losses(k, step, kept)
            columns.append(kept)
    plan = prepared.plan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trajectories = Trajectories(
        losses=np.stack(columns, axis=1),
        steps=np.array(list(described), dtype=np.int64),
        ids=prepared.ids,
        n_tokens=prepared.n_tokens,
        origin=origin(prepared, machine) | {"checkpoints": weights},
    )
    facts = {
        "seconds_training": 0.0,
        "seconds_scoring": seconds,
        "training_tokens_per_second": 0.0,
        "scoring_tokens_per_second": plan.tokens * scored / max(seconds, 1e-9),
        "train_loss": None,
        "peak_memory_bytes": peak * (1 if sys.platform == "darwin" else 1024),
        "steps": plan.steps,
        "flops": plan.scoring_flops,
        "parameters": plan.parameters,
    }
    return Recording(trajectories, weights_now, facts)


def _refuse_nonfinite(prepared: Prepared, model: Model, found: np.ndarray) -> None:
    wrong = np.flatnonzero(~np.isfinite(found))
    if wrong.size:
        raise DataError(
            f"{model.name}: {wrong.size:,} of {len(found):,} losses are not finite, first id "
            f"{prepared.ids[wrong[0]].decode()}. That training diverged: take this checkpoint and "
            "the later ones out of the folder."
        )
