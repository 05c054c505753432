"""Train the proxy and record the loss of every example at every checkpoint; resumable."""

from __future__ import annotations

import hashlib
import logging
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smalltolarge.errors import DataError, Interrupted
from smalltolarge.lm import models
from smalltolarge.lm.device import Machine
from smalltolarge.lm.fast.memory import Freed
from smalltolarge.lm.fast.units import Unit
from smalltolarge.lm.losses import Losses, naming_memory
from smalltolarge.lm.plan import keyed_number
from smalltolarge.lm.scoring import Collected, score
from smalltolarge.lm.shelf import Shelf
from smalltolarge.lm.tokens import Prepared
from smalltolarge.lm.training import ByUnit, Training
from smalltolarge.lm.world import World
from smalltolarge.progress import LOADING, Progress
from smalltolarge.settings import ProxySettings, versions
from smalltolarge.trajectories import Trajectories

log = logging.getLogger("smalltolarge")

_COLLECTED = "collected.losses"


@dataclass(frozen=True, eq=False)
class Recording:
    """Trajectories, and what making them took."""

    trajectories: Trajectories
    weights: Mapping[str, torch.Tensor]
    """Those of the proxy after its training, by name, on the CPU."""
    facts: Mapping[str, Any]
    """seconds_training, seconds_scoring, training_tokens_per_second, scoring_tokens_per_second
    (real tokens, padding left out; all processes of a continued run together), train_loss (mean
    over the last steps), peak_memory_bytes (of this process), peak_device_memory_bytes, steps,
    flops (of training and scoring), parameters; all_reduced_steps, where a number of processes took
    part that adds gradients otherwise than one."""


def record(
    prepared: Prepared,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
    world: World | None = None,
) -> Recording:
    """Fine-tune the proxy on all examples; score all of them at every checkpoint.

    Of perturbed losses nothing is trained: in the place of a checkpoint is a copy of the proxy.

    With a ``folder``, finished checkpoints and one state of the training are kept in it, and a
    later call with the same ``prepared`` goes on from there; killed or not, the trajectories are
    the same bytes. ``check`` is called between units of work; when it raises ``Interrupted``,
    the state is written first.

    All processes of a ``world`` call it with the same ``prepared``, rank 0 alone with a folder,
    and get the same trajectories. Which number of processes goes on is all one.

    Raises
    ------
    DataError
        A loss is not finite, or another process has other data, settings or versions.
    OutOfSpace
        The memory or the disk does not suffice.
    IntegrityError
        Another process computes otherwise than rank 0.
    Interrupted
        Raised by ``check``, or a process is gone; the same call goes on.
    """
    world = world or World()
    prepared = prepared.keep_tokens(folder)
    settings = prepared.settings
    by_machine = world.tell([settings.precision, settings.threads])
    settings = replace(settings, precision=by_machine[0], threads=by_machine[1])
    prepared = replace(prepared, settings=settings)
    assert isinstance(settings, ProxySettings)
    machine = Machine.of(settings)
    device = machine.device
    progress = progress or Progress()
    world.compare(fingerprint(prepared, machine))
    world.describe()
    world.warn(prepared.order.units_of_a_batch())
    with machine.fixed():
        with progress.step(LOADING, unit=""):
            model = models.load(prepared.model, prepared.seed).to(device)
            model.requires_grad_(True)
            losses = find_losses(prepared, model, device, machine.bfloat16)
        run = _Run(
            prepared,
            Training(prepared, losses, device, world),
            Shelf(folder, fingerprint(prepared, machine)),
            progress,
            check,
        )
        found = run.run()
    if device.type == "cuda":
        run.facts["peak_device_memory_bytes"] = torch.cuda.max_memory_allocated(device)
    trajectories = Trajectories(
        losses=found,
        steps=np.array(prepared.plan.checkpoints, dtype=np.int64),
        ids=prepared.ids,
        n_tokens=prepared.n_tokens,
        origin=origin(prepared, machine),
    )
    return Recording(trajectories, run.training.weights_now(), run.summary())


def find_losses(prepared: Prepared, model: Any, device: torch.device, bfloat16: bool) -> Losses:
    """Find the fastest way to the model's losses, tried on examples of every length."""
    longest_first = np.concatenate(prepared.order.scoring_units())
    shorter = sorted({(len(longest_first) - 1) // 2, len(longest_first) - 1})
    probe, longest = longest_first[shorter], longest_first[[0, *shorter]]
    with naming_memory(prepared, longest):
        return Losses(
            model,
            Unit.of(prepared, probe, device),
            Unit.of(prepared, longest, device),
            bfloat16=bfloat16,
        )


class _Run:
    """One training with its scorings, begun or continued."""

    def __init__(
        self,
        prepared: Prepared,
        training: Training,
        shelf: Shelf,
        progress: Progress,
        check: Callable[[], None],
    ) -> None:
        self.prepared, self.training, self.shelf = prepared, training, shelf
        self.progress, self.check, self.world = progress, check, training.world
        self.seconds = {"training": 0.0, "scoring": 0.0}
        self.saved = 0
        self.freed = Freed()
        self.facts: dict[str, Any] = {}
        assert isinstance(prepared.settings, ProxySettings)
        self.free = prepared.settings.losses == "free"
        self.unperturbed: dict[str, torch.Tensor] | None = None
        """The weights of the proxy, where copies of it are scored and nothing is trained."""
        if prepared.settings.losses == "perturbed":
            named = training.model.named_parameters()
            self.unperturbed = {name: weight.detach().clone() for name, weight in named}
        self.collected = Collected(prepared.n_tokens)

    def run(self) -> np.ndarray:
        """Give the losses, float32 (n, t)."""
        try:
            return self._go_on()
        except Interrupted:
            self._save()
            if self.world.is_whole:
                self.world.gather(None)  # until rank 0 has written
            raise

    def _go_on(self) -> np.ndarray:
        checkpoints = self.prepared.plan.checkpoints
        columns = self._kept()
        self._continue()
        if len(columns) < len(checkpoints) or self.training.step < checkpoints[-1]:
            for k, step in enumerate(checkpoints):
                if step < self.training.step and k not in columns:
                    self._begin_again()
                    break
            for k, step in enumerate(checkpoints):
                if self.unperturbed is None:
                    self._train_to(step)
                elif k not in columns:
                    self._perturb(k)
                if k not in columns:
                    columns[k] = self._checkpoint(k)
        if self.unperturbed is not None:
            self._perturb(0)
        return np.stack([columns[k] for k in range(len(checkpoints))], axis=1)

    def _kept(self) -> dict[int, np.ndarray]:
        """Give the losses of the checkpoints that are done, by number."""
        kept = {}
        for k, step in enumerate(self.prepared.plan.checkpoints):
            if (losses := self.shelf.losses(k, step)) is not None:
                kept[str(k)] = torch.from_numpy(losses)
        spread = self.world.spread(kept) or {}
        return {int(k): losses.numpy() for k, losses in spread.items()}

    def _continue(self) -> None:
        saved = self.shelf.state()
        tensors = self.world.spread(saved and saved[0])
        facts = self.world.tell(saved and saved[1])
        if tensors is None:
            return
        if self.free:
            self.collected.losses[:] = tensors.pop(_COLLECTED).numpy()
        self.training.restore(tensors, int(facts["step"]))
        self.saved = self.training.step
        self.seconds = {kind: float(facts[kind]) for kind in self.seconds}
        self.training.train_loss = float(facts["train_loss"])
        self.training.all_reduced = int(facts["all_reduced"])
        log.info("going on at step %d of %d", self.training.step, self.prepared.plan.steps)

    def _begin_again(self) -> None:
        """Start anew: the state is past a checkpoint whose losses were lost."""
        log.warning("the losses of an earlier checkpoint are lost; the training begins again")
        fresh = models.load(self.prepared.model, self.prepared.seed)
        self.training.model.load_state_dict(fresh.state_dict(), strict=True)
        self.training.optimiser.state.clear()
        self.training.recent.clear()
        self.training.step = self.training.all_reduced = self.saved = 0

    def _save(self) -> None:
        if self.shelf.folder is None or self.training.step == self.saved:
            return
        facts = {kind: repr(value) for kind, value in self.seconds.items()}
        facts |= {
            "step": str(self.training.step),
            "train_loss": repr(self.training.train_loss),
            "all_reduced": str(self.training.all_reduced),
        }
        tensors = self.training.state()
        if self.free:
            tensors[_COLLECTED] = torch.from_numpy(self.collected.fetched())
        self.shelf.keep_state(tensors, facts)
        self.saved = self.training.step

    def _check(self) -> None:
        self.freed.give_back()
        self.check()

    def _train_to(self, last: int) -> None:
        training, steps = self.training, self.prepared.plan.steps
        if training.step >= last:
            return
        with self.progress.step("training", steps, "steps", done=training.step) as bar:
            began = time.monotonic()

            def check() -> None:
                nonlocal began
                self.seconds["training"] += time.monotonic() - began
                began = time.monotonic()
                self._check()

            def done(by_unit: ByUnit) -> None:
                if self.free:
                    self.collected.add(by_unit)

            training.run_to(last, bar, check, done)
            self.seconds["training"] += time.monotonic() - began
        self._save()

    def _perturb(self, copy: int) -> None:
        """Make the model one of the copies that are scored."""
        assert self.unperturbed is not None and isinstance(self.prepared.settings, ProxySettings)
        scale = self.prepared.settings.perturbation
        assert scale is not None
        perturb(self.training.model, self.unperturbed, self.prepared.seed, copy, scale)
        self.training.step = self.saved = copy  # there is no state to be kept

    def _checkpoint(self, k: int) -> np.ndarray:
        """Give the losses of all examples at checkpoint ``k``, and keep them."""
        if self.free:
            found = self.collected.fetched().copy()
            self.collected.losses.fill(np.nan)
        else:
            began = time.monotonic()
            self.world.compare_weights(self.training.weights, self.training.step)
            found = self._score(k)
            self.seconds["scoring"] += time.monotonic() - began
        self._refuse_nonfinite(found, k)
        self.shelf.keep_losses(k, self.training.step, found)
        return found

    def _score(self, k: int) -> np.ndarray:
        """Score all examples with the model as it is."""
        n, checkpoints = len(self.prepared), len(self.prepared.plan.checkpoints)
        note = f"checkpoint {k + 1} of {checkpoints}"
        with self.progress.step("scoring", n * checkpoints, done=n * k) as bar:
            return score(
                self.prepared,
                self.training.losses,
                self.training.device,
                check=self._check,
                advance=lambda rows: bar.advance(rows, note),
                world=self.world,
            )

    def _refuse_nonfinite(self, found: np.ndarray, k: int) -> None:
        wrong = np.flatnonzero(~np.isfinite(found))
        if wrong.size:
            why = (
                "The proxy diverged at a peak learning rate of "
                f"{self.prepared.settings.learning_rate:g}: give a lower --learning-rate"
            )
            if self.unperturbed is not None:
                why = "The copy is too far from the proxy: give a lower --perturbation"
            first = ", ".join(name.decode() for name in self.prepared.ids[wrong[:3]].tolist())
            raise DataError(
                f"checkpoint {k + 1} of {len(self.prepared.plan.checkpoints)} (step "
                f"{self.training.step}): {wrong.size:,} of {len(found):,} losses are not finite, "
                f"first ids {first}. {why}. Nothing of this checkpoint is recorded."
            )

    def summary(self) -> dict[str, Any]:
        """Give the facts of the run."""
        plan, seconds = self.prepared.plan, self.seconds
        if self.training.all_reduced:
            self.facts["all_reduced_steps"] = self.training.all_reduced
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return self.facts | {
            "seconds_training": seconds["training"],
            "seconds_scoring": seconds["scoring"],
            "training_tokens_per_second": plan.training_tokens / max(seconds["training"], 1e-9),
            "scoring_tokens_per_second": plan.scoring_tokens / max(seconds["scoring"], 1e-9),
            "train_loss": self.training.train_loss
            if math.isfinite(self.training.train_loss)
            else None,
            "peak_memory_bytes": peak * (1 if sys.platform == "darwin" else 1024),
            "steps": plan.steps,
            "flops": plan.training_flops + plan.scoring_flops,
            "parameters": plan.parameters,
        }


@torch.no_grad()  # type: ignore[untyped-decorator]
def perturb(
    model: Any, weights: Mapping[str, torch.Tensor], seed: int, copy: int, scale: float
) -> None:
    """Give a model these weights, by name, with normal noise on each; copy 0 has none.

    The standard deviation is ``scale`` times the root mean square of the tensor. The noise is made
    on the CPU, by the seed, the copy and the name.
    """
    for name, weight in model.named_parameters():
        weight.copy_(weights[name])
        if copy:
            number = keyed_number(f"perturb {seed} {copy} {name}")
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(number))
            weight.add_(noise.to(weight.device) * (scale * weight.square().mean().sqrt()))


def origin(prepared: Prepared, machine: Machine) -> dict[str, Any]:
    """Say how trajectories were made, in plain data."""
    settings = asdict(prepared.settings)
    for name in ("device", "precision", "threads"):
        settings.pop(name)
    if settings.get("perturbation") is None:
        settings.pop("perturbation", None)
    return {
        "made_by": "smalltolarge record",
        "proxy": prepared.model.name,
        "commit": prepared.model.commit,
        "weights": dict(prepared.model.weights),
        "parameters": prepared.plan.parameters,
        "vocabulary": prepared.model.vocabulary,
        "tokenizer": prepared.tokenizer.name,
        "template": prepared.template,
        "settings": settings,
        "seed": prepared.seed,
        "tokens": prepared.digest,
        "device": machine.device.type,
        "precision": "bfloat16" if machine.bfloat16 else "float32",
        "threads": machine.threads,
        "versions": versions(),
    }


def fingerprint(prepared: Prepared, machine: Machine) -> dict[str, Any]:
    """Say all that a state depends on; the order of the rows too, as losses are kept in it."""
    device = machine.device
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    rows = hashlib.blake2b(prepared.ids.tobytes(), digest_size=16).hexdigest()
    return origin(prepared, machine) | {"device": kind, "rows": rows}


def fingerprint_of_training(prepared: Prepared, machine: Machine) -> dict[str, Any]:
    """Say all that a state of a training depends on, its length and its sequence too."""
    order = prepared.order
    sequence = b"" if order.sequence is None else order.sequence.tobytes()
    found = fingerprint(prepared, machine) | {
        "steps": order.steps,
        "sequence": hashlib.blake2b(sequence, digest_size=16).hexdigest(),
    }
    if prepared.weights is not None:
        weights = prepared.weights.tobytes()
        found["weights of rows"] = hashlib.blake2b(weights, digest_size=16).hexdigest()
    return found
