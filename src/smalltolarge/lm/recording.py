"""Train the proxy and record the loss of every example at every checkpoint; resumable."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smalltolarge.errors import DataError, Interrupted, RecipeError, printable
from smalltolarge.lm import proxies
from smalltolarge.lm.losses import Losses, mean_per_example, naming_memory
from smalltolarge.lm.memory import Freed
from smalltolarge.lm.shelf import Shelf
from smalltolarge.lm.tokens import Prepared
from smalltolarge.lm.training import Training, refuse_diverged
from smalltolarge.lm.units import Unit
from smalltolarge.progress import Progress
from smalltolarge.settings import cores
from smalltolarge.trajectories import Trajectories

log = logging.getLogger("smalltolarge")

_LOSS_EVERY = 20
_FETCH_EVERY = 64


@dataclass(frozen=True, eq=False)
class Recording:
    """Trajectories, and what making them took."""

    trajectories: Trajectories
    facts: Mapping[str, Any]
    """seconds_training, seconds_scoring, training_tokens_per_second, scoring_tokens_per_second
    (real tokens, padding left out; all processes of a continued run together), train_loss (mean
    over the last steps), peak_memory_bytes (of this process), peak_device_memory_bytes, steps,
    parameters."""


def record(
    prepared: Prepared,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> Recording:
    """Fine-tune the proxy on all examples; score all of them at every checkpoint.

    With a ``folder``, finished checkpoints and one state of the training are kept in it, and a
    later call with the same ``prepared`` goes on from there; killed or not, the trajectories are
    the same bytes. ``check`` is called between steps and units; when it raises ``Interrupted``,
    the state is written first.

    Raises
    ------
    DataError
        A loss is not finite.
    OutOfSpace
        The memory or the disk does not suffice.
    Interrupted
        Raised by ``check``; the same call goes on.
    """
    settings = prepared.settings
    device = find_device(settings.device)
    bfloat16 = _bfloat16(settings.precision, device)
    threads = settings.threads or cores()
    with _machine(threads, device):
        model = proxies.load(prepared.proxy, prepared.seed).to(device)
        model.requires_grad_(True)
        losses = _losses(prepared, model, device, bfloat16)
        run = _Run(
            prepared,
            Training(prepared, losses, device),
            Shelf(folder, _fingerprint(prepared, device, bfloat16, threads)),
            progress or Progress(),
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
        origin=_origin(prepared, device, bfloat16, threads),
    )
    return Recording(trajectories, run.summary())


def _losses(prepared: Prepared, model: Any, device: torch.device, bfloat16: bool) -> Losses:
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
        self.progress, self.check = progress, check
        self.seconds = {"training": 0.0, "scoring": 0.0}
        self.train_loss = math.nan
        self.saved = 0
        self.freed = Freed()
        self.facts: dict[str, Any] = {}
        self.units = prepared.order.scoring_units()

    def run(self) -> np.ndarray:
        """Give the losses, float32 (n, t)."""
        checkpoints = self.prepared.plan.checkpoints
        kept = {k: self.shelf.losses(k) for k in range(len(checkpoints))}
        columns = {k: losses for k, losses in kept.items() if losses is not None}
        if len(columns) < len(checkpoints):
            self._continue()
            for k, step in enumerate(checkpoints):
                if step < self.training.step and k not in columns:
                    self._begin_again()
                    break
            for k, step in enumerate(checkpoints):
                self._train_to(step)
                if k not in columns:
                    columns[k] = self._score(k)
        return np.stack([columns[k] for k in range(len(checkpoints))], axis=1)

    def _continue(self) -> None:
        saved = self.shelf.state()
        if saved is None:
            return
        tensors, facts = saved
        self.training.restore(tensors, int(facts["step"]))
        self.saved = self.training.step
        self.seconds = {kind: float(facts[kind]) for kind in self.seconds}
        self.train_loss = float(facts["train_loss"])
        log.info("going on at step %d of %d", self.training.step, self.prepared.plan.steps)

    def _begin_again(self) -> None:
        """Start anew: the state is past a checkpoint whose losses were lost."""
        log.warning("the losses of an earlier checkpoint are lost; the training begins again")
        fresh = proxies.load(self.prepared.proxy, self.prepared.seed)
        self.training.model.load_state_dict(fresh.state_dict(), strict=True)
        self.training.optimiser.state.clear()
        self.training.step = self.saved = 0

    def _save(self) -> None:
        if self.shelf.folder is None or self.training.step == self.saved:
            return
        facts = {kind: repr(value) for kind, value in self.seconds.items()}
        facts |= {"step": str(self.training.step), "train_loss": repr(self.train_loss)}
        self.shelf.keep_state(self.training.state(), facts)
        self.saved = self.training.step

    def _check(self) -> None:
        self.freed.give_back()
        try:
            self.check()
        except Interrupted:
            self._save()
            raise

    def _train_to(self, last: int) -> None:
        training, steps = self.training, self.prepared.plan.steps
        if training.step >= last:
            return
        rate = self.prepared.settings.learning_rate or 0.0
        with self.progress.step("training", steps, "steps", done=training.step) as bar:
            began = time.monotonic()
            recent: list[torch.Tensor] = []
            while training.step < last:
                self.seconds["training"] += time.monotonic() - began
                began = time.monotonic()
                self._check()
                recent.append(training.advance())
                note = ""
                if training.step % _LOSS_EVERY == 0 or training.step == last:
                    self.train_loss = float(torch.stack(recent).mean())
                    refuse_diverged(self.train_loss, training.step, rate)
                    recent.clear()
                    note = f"loss {self.train_loss:.3f}"
                bar.advance(1, note)
            self.seconds["training"] += time.monotonic() - began
        self._save()

    def _score(self, k: int) -> np.ndarray:
        """Score all examples at checkpoint ``k``, and keep their losses."""
        prepared = self.prepared
        began = time.monotonic()
        n, checkpoints = len(prepared), len(prepared.plan.checkpoints)
        model = self.training.model
        found = np.empty(n, dtype=np.float32)
        waiting: list[tuple[np.ndarray, torch.Tensor]] = []
        training = model.training
        model.eval()
        try:
            with (
                self.progress.step("scoring", n * checkpoints, done=n * k) as bar,
                torch.inference_mode(),
            ):
                for rows in self.units:
                    self._check()
                    with naming_memory(prepared, rows):
                        unit = Unit.of(prepared, rows, self.training.device)
                        waiting.append((rows, self.training.losses(unit).each))
                    if len(waiting) == _FETCH_EVERY:
                        _fetch(waiting, prepared.n_tokens, found)
                    bar.advance(len(rows), f"checkpoint {k + 1} of {checkpoints}")
                _fetch(waiting, prepared.n_tokens, found)
        finally:
            model.train(training)
        self._refuse_nonfinite(found, k)
        self.seconds["scoring"] += time.monotonic() - began
        self.shelf.keep_losses(k, found)
        return found

    def _refuse_nonfinite(self, found: np.ndarray, k: int) -> None:
        wrong = np.flatnonzero(~np.isfinite(found))
        if wrong.size:
            first = ", ".join(name.decode() for name in self.prepared.ids[wrong[:3]].tolist())
            raise DataError(
                f"checkpoint {k + 1} of {len(self.prepared.plan.checkpoints)} (step "
                f"{self.training.step}): {wrong.size:,} of {len(found):,} losses are not finite, "
                f"first ids {first}. The proxy diverged at a peak learning rate of "
                f"{self.prepared.settings.learning_rate:g}: give a lower --learning-rate. Nothing "
                "of this checkpoint is recorded."
            )

    def summary(self) -> dict[str, Any]:
        """Give the facts of the run."""
        plan, seconds = self.prepared.plan, self.seconds
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return self.facts | {
            "seconds_training": seconds["training"],
            "seconds_scoring": seconds["scoring"],
            "training_tokens_per_second": plan.training_tokens / max(seconds["training"], 1e-9),
            "scoring_tokens_per_second": plan.scoring_tokens / max(seconds["scoring"], 1e-9),
            "train_loss": self.train_loss if math.isfinite(self.train_loss) else None,
            "peak_memory_bytes": peak * (1 if sys.platform == "darwin" else 1024),
            "steps": plan.steps,
            "parameters": plan.parameters,
        }


def _fetch(
    waiting: list[tuple[np.ndarray, torch.Tensor]], n_tokens: np.ndarray, found: np.ndarray
) -> None:
    """Bring losses off the device, in few waits, and average them over each example."""
    for rows, losses in waiting:
        found[rows] = mean_per_example(losses.cpu().numpy(), n_tokens[rows])
    waiting.clear()


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
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RecipeError(
            f"device {printable(name)!r} is not to be had here ({printable(reason)}). Give "
            "--device auto or cpu."
        ) from error
    return device


def _bfloat16(precision: str, device: torch.device) -> bool:
    if precision == "auto":
        return device.type == "cuda" and bool(torch.cuda.is_bf16_supported())
    return precision == "bfloat16"


@contextmanager
def _machine(threads: int, device: torch.device) -> Iterator[None]:
    """Fix what results depend on (threads, random numbers, kernels); put all back after."""
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    devices = [device] if device.type == "cuda" else []
    if devices:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


def _origin(
    prepared: Prepared, device: torch.device, bfloat16: bool, threads: int
) -> dict[str, Any]:
    """Say how trajectories were made, in plain data."""
    import tokenizers
    import transformers

    settings = asdict(prepared.settings)
    for machine in ("device", "precision", "threads"):
        settings.pop(machine)
    return {
        "made_by": "smalltolarge record",
        "proxy": prepared.proxy.name,
        "commit": prepared.proxy.commit,
        "weights": dict(prepared.proxy.weights),
        "parameters": prepared.plan.parameters,
        "vocabulary": prepared.proxy.vocabulary,
        "tokenizer": prepared.tokenizer.name,
        "template": prepared.template,
        "settings": settings,
        "seed": prepared.seed,
        "tokens": prepared.digest,
        "device": device.type,
        "precision": "bfloat16" if bfloat16 else "float32",
        "threads": threads,
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
    }


def _fingerprint(
    prepared: Prepared, device: torch.device, bfloat16: bool, threads: int
) -> dict[str, Any]:
    """Say all that a state depends on; the order of the rows too, as losses are kept in it."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    rows = hashlib.blake2b(prepared.ids.tobytes(), digest_size=16).hexdigest()
    return _origin(prepared, device, bfloat16, threads) | {"device": kind, "rows": rows}
