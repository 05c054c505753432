"""Fine-tune a target on a subset, and use it: its answers, its losses, its folder."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from smalltolarge import store
from smalltolarge.errors import Interrupted
from smalltolarge.lm import child, ending, models
from smalltolarge.lm.device import Machine
from smalltolarge.lm.fast import attention
from smalltolarge.lm.fast.memory import giving_back
from smalltolarge.lm.generation import Answerer
from smalltolarge.lm.models import locate
from smalltolarge.lm.recording import find_losses, fingerprint_of_training
from smalltolarge.lm.scoring import score
from smalltolarge.lm.shelf import Shelf
from smalltolarge.lm.tokenizer import ModelTokenizer
from smalltolarge.lm.tokens import Prepared
from smalltolarge.lm.training import ByUnit, Training
from smalltolarge.lm.world import World
from smalltolarge.progress import LOADING, Progress
from smalltolarge.settings import TargetSettings

if TYPE_CHECKING:
    from smalltolarge.lm.sft import Adapter

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "generation_config.json",
)  # fmt: skip
_PLAIN_CLASS = "PreTrainedTokenizerFast"


@dataclass(frozen=True, eq=False)
class Target:
    """A fine-tuned model, in memory."""

    model: Any
    prepared: Prepared
    """What it was trained on, and how prompts are written for it."""
    facts: Mapping[str, Any]
    """seconds, steps, tokens (all seen in training), flops, parameters, trained_parameters,
    train_loss (mean over the last steps)."""
    adapter: Adapter | None = None
    """What LoRA trained, apart from the model, into which it is merged."""

    @property
    def answerer(self) -> Answerer:
        """The model, to be asked with the prompts it was trained on."""
        prepared = self.prepared
        return Answerer(
            self.model, prepared.model, prepared.tokenizer, prepared.template, prepared.settings
        )

    def losses(
        self,
        prepared: Prepared,
        *,
        check: Callable[[], None] = lambda: None,
        advance: Callable[[int], None] = lambda rows: None,
    ) -> np.ndarray:
        """Give the mean loss of every example, float32 (m,); they are tokenised for this model."""
        settings = self.prepared.settings
        machine = Machine.of(settings)
        device = machine.device
        with machine.fixed(), attention.own(self.model):
            losses = find_losses(prepared, self.model, device, machine.bfloat16)
            return score(prepared, losses, device, check=giving_back(check), advance=advance)

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder, whole or not at all; there must be none yet.

        It holds all weights, so that anything that loads a model loads it, and the chat template
        by which it was trained. What LoRA trained lies in its subfolder ``adapter`` too, as PEFT
        writes it.
        """
        with store.atomic_file(folder) as whole, models.quiet():
            self.model.save_pretrained(whole)
            if self.adapter is not None:
                self.adapter.save(whole / "adapter")
            _copy_tokenizer(self.prepared, whole)
        child.close()


def train(
    prepared: Prepared,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
    world: World | None = None,
) -> Target:
    """Fine-tune the target on what was prepared with ``TargetSettings``.

    With a ``folder``, a state of the training is kept in it now and then, and the same call goes on
    from there. ``check`` is called between units of work; when it raises ``Interrupted``, the state
    after the last whole step is written first. All processes of a ``world`` call it with the same
    ``prepared``, rank 0 alone with a folder, and each gets the target; by TRL alone.

    Raises
    ------
    DataError
        The training diverged.
    OutOfSpace
        The memory or the disk does not suffice.
    Interrupted
        Raised by ``check``; the same call goes on.
    RecipeError
        TRL is asked for and not installed.
    """
    settings = prepared.settings
    assert isinstance(settings, TargetSettings)
    progress, check = progress or Progress(), giving_back(check)
    world = world or World()
    if settings.trainer == "trl":
        from smalltolarge.lm.sft import train_with_trl

        model, spent, adapter = train_with_trl(prepared, settings, folder, progress, check, world)
    else:
        model, spent = _train(prepared, settings, folder, progress, check)
        adapter = None
    _add_ends(model, prepared)
    weights = list(model.parameters())
    plan = prepared.plan
    facts = {
        "steps": plan.steps,
        "tokens": plan.training_tokens,
        "flops": plan.training_flops,
        "parameters": sum(weight.numel() for weight in weights),
        "trained_parameters": sum(w.numel() for w in weights if w.requires_grad),
    }
    return Target(model, prepared, facts | spent, adapter)


def untrained(prepared: Prepared) -> Target:
    """Give the target as it is before any training; its prompts are those it would be trained on.

    Raises as ``train``.
    """
    machine = Machine.of(prepared.settings)
    model = models.load(prepared.model, prepared.seed).to(machine.device)
    _add_ends(model, prepared)
    nothing = dict.fromkeys(("steps", "tokens", "flops", "seconds", "trained_parameters"), 0)
    parameters = sum(weight.numel() for weight in model.parameters())
    return Target(model, prepared, {**nothing, "parameters": parameters, "train_loss": None})


def _train(
    prepared: Prepared,
    settings: TargetSettings,
    folder: Path | None,
    progress: Progress,
    check: Callable[[], None],
) -> tuple[Any, dict[str, Any]]:
    """Train all weights by the loop that also trains proxies."""
    machine = Machine.of(settings)
    order = prepared.order
    shelf = Shelf(folder, fingerprint_of_training(prepared, machine))
    with machine.fixed():
        with progress.step(LOADING, unit=""):
            model = models.load(prepared.model, prepared.seed).to(machine.device)
            model.requires_grad_(True)
            losses = find_losses(prepared, model, machine.device, machine.bfloat16)
        training = Training(prepared, losses, machine.device)
        seconds, began = 0.0, time.monotonic()
        saved = shelf.state()
        if saved is not None:
            tensors, facts = saved
            training.restore(tensors, int(facts["step"]))
            training.train_loss, seconds = float(facts["train_loss"]), float(facts["seconds"])

        def save() -> None:
            shelf.keep_state(
                training.state(),
                {
                    "step": str(training.step),
                    "train_loss": repr(training.train_loss),
                    "seconds": repr(seconds + time.monotonic() - began),
                },
            )

        def stop() -> None:
            try:
                check()
            except Interrupted:
                if folder is not None:
                    save()
                raise

        with progress.step("training", order.steps, "steps", done=training.step) as bar:

            def done(by_unit: ByUnit) -> None:
                if folder is not None and training.step % settings.save_every == 0:
                    save()

            training.run_to(order.steps, bar, stop, done)
        if folder is not None:
            save()
    return model, {
        "seconds": seconds + time.monotonic() - began,
        "train_loss": training.train_loss if math.isfinite(training.train_loss) else None,
    }


def _add_ends(model: Any, prepared: Prepared) -> None:
    """Have answers end where the completions of its prompts do."""
    ends = [*ending.learned_ends(prepared), prepared.tokenizer.eos]
    ending.add_ends(model.generation_config, ends)


def _copy_tokenizer(prepared: Prepared, folder: Path) -> None:
    """Put the tokenizer's files beside the model, and the template that was trained with."""
    settings, source = prepared.settings, prepared.model.tokenizer_folder
    if settings.tokenizer is not None:
        source = locate(settings.tokenizer)[0]
    if source is not None and source.is_dir():
        for name in _TOKENIZER_FILES:
            if (source / name).is_file() and not (folder / name).exists():
                shutil.copyfile(source / name, folder / name)
    about = folder / "tokenizer_config.json"
    known = json.loads(about.read_bytes()) if about.is_file() else {}
    told = {key: value for key, value in known.items() if key != "chat_template"}
    if not (folder / "tokenizer.json").exists():
        store.write_bytes(folder / "tokenizer.json", prepared.tokenizer.text.encode())
        told = _described(prepared.tokenizer) | told | {"tokenizer_class": _PLAIN_CLASS}
    if told != known:
        store.write_json(about, told)
    store.write_bytes(folder / "chat_template.jinja", ending.own_template(prepared).encode())


def _described(tokenizer: ModelTokenizer) -> dict[str, str]:
    """Say what a tokenizer.json alone does not."""
    if tokenizer.eos is None:
        return {}
    end = str(Tokenizer.from_str(tokenizer.text).id_to_token(tokenizer.eos))
    return {"eos_token": end, "pad_token": end}
