"""Fine-tune a target by TRL's SFTTrainer: LoRA, several GPUs, loggers.

The tokens, their masks, the batches and the learning rates are those of our own loop, and a state
is kept as our own loop keeps it: tensors, never a pickle. The Trainer's own checkpoints are not
used.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from smalltolarge.errors import IntegrityError, Interrupted, OutOfSpace, RecipeError, printable
from smalltolarge.lm import models
from smalltolarge.lm.device import Machine
from smalltolarge.lm.fast import attention
from smalltolarge.lm.losses import is_memory
from smalltolarge.lm.plan import keyed_number
from smalltolarge.lm.recording import find_losses, fingerprint_of_training
from smalltolarge.lm.shelf import Shelf, write_tensors
from smalltolarge.lm.tokens import Prepared
from smalltolarge.lm.training import learning_rate, refuse_diverged
from smalltolarge.lm.world import World
from smalltolarge.progress import LOADING, Progress, Step
from smalltolarge.settings import TargetSettings

_NEEDED = ("trl", "accelerate", "peft")
_LOSS_EVERY = 20
_MOMENTS = ("exp_avg", "exp_avg_sq")
_IGNORED = -100
"""The label of a token that is not learned."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """What LoRA trained, as PEFT names it; its model has been merged with it."""

    config: Any
    """A PEFT configuration."""
    weights: dict[str, torch.Tensor]

    def save(self, folder: Path) -> None:
        """Write adapter_config.json and adapter_model.safetensors into ``folder``."""
        folder.mkdir(parents=True)
        self.config.save_pretrained(folder)
        write_tensors(folder / "adapter_model.safetensors", self.weights, {"format": "pt"})


def train_with_trl(
    prepared: Prepared,
    settings: TargetSettings,
    folder: Path | None,
    progress: Progress,
    check: Callable[[], None],
    world: World,
) -> tuple[Any, dict[str, Any], Adapter | None]:
    """Give the trained model, with the adapters merged into it, the facts, and the adapters.

    A batch is one optimiser step: cut into ``accumulate`` parts for each process, examples of like
    length in a part. The last batch of an epoch may be short; it is a step of its own, as in our
    loop, and its loss too is taken over its completion tokens.

    Every process of ``world`` calls this and gets the model; plain data parallelism only.

    Raises
    ------
    RecipeError
        TRL is not installed, or refuses the settings.
    Others as ``targets.train``.
    """
    _refuse_what_cannot_be(world)
    settings = replace(settings, accumulate=_parts_of_batch(settings, world.size))
    machine = Machine.of(settings)
    made_of = fingerprint_of_training(prepared, machine)
    made_of["trained by"] = {name: importlib.metadata.version(name) for name in _NEEDED}
    world.compare(made_of)
    world.describe()
    shelf = Shelf(folder, made_of)
    with (
        machine.fixed(),
        models.quiet(),
        _silent(),
        tempfile.TemporaryDirectory() as unused,
    ):
        with progress.step(LOADING, unit=""):
            model = models.load(prepared.model, prepared.seed)
            use_cache = model.config.use_cache
            with _naming_refusals(settings):
                arguments = _arguments(
                    prepared, settings, machine, str(folder or unused), world.size
                )
            model.requires_grad_(True).to(arguments.device)
            # refuses what is not causal
            find_losses(prepared, model, arguments.device, machine.bfloat16)
        with attention.own(model):
            with _naming_refusals(settings):
                run = _Run(prepared, settings, shelf, arguments, model, check, world)
            run.restore()
            shown = progress if arguments.process_index == 0 else Progress()
            with shown.step("training", prepared.order.steps, "steps", done=run.done) as bar:
                run.run(bar)
            adapter = run.merge()
        model.config.use_cache = use_cache
    return model, run.facts, adapter


class _Run:
    """One training by the SFTTrainer, begun or continued."""

    def __init__(
        self,
        prepared: Prepared,
        settings: TargetSettings,
        shelf: Shelf,
        arguments: Any,
        model: Any,
        check: Callable[[], None],
        world: World,
    ) -> None:
        self.prepared, self.settings, self.shelf = prepared, settings, shelf
        self.check, self.model, self.world = check, model, world
        self.done = 0
        """Steps that earlier processes did."""
        self.step = 0
        self.moments: dict[str, dict[str, torch.Tensor]] = {}
        self.loss, self.seconds = math.nan, 0.0
        self.facts: dict[str, Any] = {}
        self.bar: Step | None = None
        self.trainer = _trainer(self, arguments)
        trained = [w for w in self.trainer.model.parameters() if w.requires_grad]
        self.trained_parameters = sum(weight.numel() for weight in trained)

    def restore(self) -> None:
        """Take up the state that an earlier rank 0 kept, if there is one.

        Raises
        ------
        IntegrityError
            It does not fit the model.
        """
        saved = self.shelf.state() or (None, None)
        tensors, facts = self.world.spread(saved[0]), self.world.tell(saved[1])
        if tensors is None:
            return
        weights = _trained(self.trainer.model)
        kinds: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in tensors.items():
            kind, name = key.split(".", 1)
            kinds.setdefault(kind, {})[name] = tensor
        there = kinds.pop("model", {})
        if there.keys() != weights.keys():
            raise IntegrityError("the state does not fit the model: other weights are trained")
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(there[name])
        self.moments = kinds
        self.done = self.step = int(facts["step"])
        self.loss, self.seconds = float(facts["train_loss"]), float(facts["seconds"])

    def restore_moments(self, optimiser: Any) -> None:
        """Give the optimiser, which the Trainer makes late, its moments back."""
        for name, weight in _trained(self.trainer.model).items():
            found = {
                kind: named[name].to(weight.device).clone()
                for kind, named in self.moments.items()
                if name in named
            }
            if found:
                count_on = weight.device if optimiser.defaults.get("fused") else "cpu"
                count = torch.tensor(float(self.done), dtype=torch.float32, device=count_on)
                optimiser.state[weight] = {"step": count, **found}
        self.moments = {}

    def save(self) -> None:
        """Keep weights, moments and the step; what is not trained is not kept."""
        if self.shelf.folder is None:
            return
        tensors = {}
        for name, weight in _trained(self.trainer.model).items():
            tensors[f"model.{name}"] = weight
            state = self.trainer.optimizer.state.get(weight, {})
            tensors |= {f"{kind}.{name}": state[kind] for kind in _MOMENTS if kind in state}
        self.shelf.keep_state(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            {
                "step": str(self.step),
                "train_loss": repr(self.loss),
                "seconds": repr(self.seconds + time.monotonic() - self.began),
            },
        )

    def before_step(self) -> None:
        """Save if it is time, stop if that is wanted, and seed the step (dropout)."""
        if self.step % self.settings.save_every == 0 and self.step > self.done:
            self.save()
        self.before_part()
        seed = f"step {self.prepared.seed} {self.step}"
        rank = self.trainer.args.process_index
        torch.manual_seed(keyed_number(f"{seed} {rank}" if rank else seed))

    def before_part(self) -> None:
        """Stop if that is wanted, with the state after the last whole step."""
        try:
            self.world.check(self.check)
        except Interrupted:
            if self.world.is_whole:
                self.save()
                self.world.gather(None)  # until rank 0 has written
            raise

    def run(self, bar: Step) -> None:
        """Do the steps that are left."""
        self.bar, self.began = bar, time.monotonic()
        if self.done < self.prepared.order.steps:
            with self.world.noticing(), _naming_memory(self.settings):
                self.trainer.train()
            self.save()
            self.seconds += time.monotonic() - self.began
        self.facts = {
            "seconds": self.seconds,
            "train_loss": self.loss if math.isfinite(self.loss) else None,
        }

    def merge(self) -> Adapter | None:
        """Take off what the Trainer put onto the model, and put adapters into its weights."""
        if self.settings.gradient_checkpointing:
            self.model.gradient_checkpointing_disable()
            self.model.disable_input_require_grads()
        adapter = None
        if self.settings.lora_rank is not None:
            from peft import get_peft_model_state_dict

            peft = self.trainer.model
            weights = get_peft_model_state_dict(peft)
            config = peft.peft_config["default"]
            config.inference_mode = True
            config.base_model_name_or_path = self.prepared.model.loaded_from
            config.revision = self.prepared.model.commit
            adapter = Adapter(
                config, {name: w.detach().cpu().clone() for name, w in weights.items()}
            )
            merged = peft.merge_and_unload()
            assert merged is self.model
            # weights that are not trained have no gradients of their own: two passes of three
            self.facts |= {
                "flops": self.prepared.plan.training_flops * 2 / 3,
                "trained_parameters": self.trained_parameters,
            }
        for name in ("forward", "_original_forward"):
            vars(self.model).pop(name, None)
        return adapter


def _trainer(run: _Run, arguments: Any) -> Any:
    """Make the SFTTrainer of a run."""
    from datasets import Dataset
    from tokenizers import Tokenizer
    from torch.optim.lr_scheduler import LambdaLR
    from torch.utils.data import DataLoader
    from transformers import PreTrainedTokenizerFast, PrinterCallback, TrainerCallback
    from trl import SFTTrainer

    prepared, settings = run.prepared, run.settings
    order = prepared.order

    class InOrder(SFTTrainer):  # type: ignore[misc]
        """An SFTTrainer that takes the batches and learning rates of ``prepared``."""

        def get_train_dataloader(self) -> Any:
            parts = list(_parts(prepared, settings, run.done, arguments))
            return DataLoader(
                range(len(prepared)),
                batch_sampler=parts,
                collate_fn=self.data_collator,
            )

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer,
                lambda step: learning_rate(run.done + step, order.steps, settings.warmup, 1.0),
            )
            self._created_lr_scheduler = True
            return self.lr_scheduler

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, torch.Tensor],
            return_outputs: bool = False,
            num_items_in_batch: torch.Tensor | int | None = None,
        ) -> Any:
            if "weights" not in inputs:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            weights, labels = inputs.pop("weights"), inputs.pop("labels")[:, 1:]
            outputs = model(**inputs, use_cache=False)
            logits = outputs.logits[:, :-1].float().transpose(1, 2)
            each = cross_entropy(logits, labels, ignore_index=_IGNORED, reduction="none")
            count = num_items_in_batch
            if count is None:
                count = (labels != _IGNORED).sum().clamp(min=1)
            elif getattr(
                arguments, "average_tokens_across_devices", False
            ):  # they are of all processes
                count = count / self.accelerator.num_processes
            loss = (each * weights[:, None]).sum() / count
            return (loss, outputs) if return_outputs else loss

    class Watching(TrainerCallback):  # type: ignore[misc]
        """Keeps states, shows progress, and counts the steps of all processes together."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            state.global_step = run.trainer._globalstep_last_logged = run.done
            run.restore_moments(more["optimizer"])

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            run.before_step()

        def on_substep_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            run.before_part()

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            run.step = state.global_step
            state.epoch = run.step / order.steps_per_epoch
            control.should_log |= run.step == order.steps
            assert run.bar is not None
            run.bar.advance(1)

        def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if "loss" in more["logs"]:
                run.loss = float(more["logs"]["loss"])
                refuse_diverged(run.loss, run.step, settings.learning_rate or 0.0)
                assert run.bar is not None
                run.bar.advance(0, f"loss {run.loss:.3f}")

    tokenizer = Tokenizer.from_str(prepared.tokenizer.text)
    eos = prepared.tokenizer.eos
    torch.manual_seed(arguments.seed)  # adapters begin at random; newer TRL does the same
    trainer = InOrder(
        model=run.model,
        args=arguments,
        data_collator=lambda rows: _collate(prepared, rows),
        train_dataset=Dataset.from_dict({"row": np.arange(len(prepared))}),
        processing_class=PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            eos_token=None if eos is None else tokenizer.id_to_token(eos),
        ),
        callbacks=[Watching()],
        peft_config=_lora(settings),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(
    prepared: Prepared, settings: TargetSettings, machine: Machine, folder: str, processes: int
) -> Any:
    """Give an SFTConfig."""
    from trl import SFTConfig

    assert settings.batch_size is not None and settings.accumulate is not None
    parts = settings.accumulate * processes
    device = machine.device
    with _on(device) if processes == 1 else nullcontext():
        arguments = SFTConfig(
            output_dir=folder,
            max_steps=prepared.order.steps,
            per_device_train_batch_size=-(-settings.batch_size // parts),
            gradient_accumulation_steps=settings.accumulate,
            optim="adamw_torch_fused" if device.type in ("cpu", "cuda") else "adamw_torch",
            learning_rate=settings.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=math.ceil(settings.warmup * prepared.order.steps),
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            seed=keyed_number(f"trl {prepared.seed}") % 2**32,
            bf16=machine.bfloat16,
            fp16=False,
            use_cpu=device.type == "cpu",
            gradient_checkpointing=settings.gradient_checkpointing,
            max_length=None,  # the tokens are cut already
            packing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            logging_steps=_LOSS_EVERY,
            logging_nan_inf_filter=False,  # it would hide a training that diverged
            eval_strategy="no",
            save_strategy="no",
            report_to=settings.report_to,
            disable_tqdm=True,
            log_level="error",
            log_level_replica="error",
        )
        if arguments.n_gpu > 1:  # others are visible; one is asked for
            arguments._n_gpu = 1
    return arguments


def _parts_of_batch(settings: TargetSettings, processes: int) -> int:
    """Give how many equal parts each process takes its share of a batch in."""
    if settings.accumulate is not None:
        return settings.accumulate
    assert settings.batch_size is not None and settings.unit_tokens is not None
    needed = settings.batch_size * settings.max_length / (settings.unit_tokens * processes)
    sizes = range(1, settings.batch_size + 1)
    equal = (parts for parts in sizes if settings.batch_size % parts == 0 and parts >= needed)
    return next(equal, settings.batch_size)


def _lora(settings: TargetSettings) -> Any:
    if settings.lora_rank is None:
        return None
    from peft import LoraConfig

    alpha = settings.lora_alpha or 0.0
    names = [name.strip() for name in settings.lora_modules.split(",")]
    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=int(alpha) if alpha.is_integer() else alpha,
        target_modules="all-linear" if names == ["all-linear"] else names,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )


def _parts(
    prepared: Prepared, settings: TargetSettings, done: int, arguments: Any
) -> Iterator[list[int]]:
    """Yield the rows that this process takes at once: ``accumulate`` times for every step."""
    order, processes = prepared.order, arguments.world_size
    assert settings.accumulate is not None
    for rows in islice(order.batches(), done, None):
        longest_first = np.concatenate(order.longest_first(rows))
        parts = np.array_split(longest_first, settings.accumulate * processes)
        yield from (part.tolist() for part in parts[arguments.process_index :: processes])


def _collate(prepared: Prepared, rows: list[int]) -> dict[str, torch.Tensor]:
    """Pad examples on the right. Where a short batch left a part empty, nothing is learned."""
    taken = rows or [0]
    lengths = prepared.order.lengths[taken]
    shape = (len(taken), int(lengths.max()))
    tokens, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    labels = np.full(shape, _IGNORED, dtype=np.int64)
    for place, row in enumerate(taken):
        start, end = prepared.offsets[row], prepared.offsets[row + 1]
        tokens[place, : end - start] = prepared.tokens[start:end]
        mask[place, : end - start] = 1
        if rows:
            learned = np.flatnonzero(prepared.completion[start:end])
            labels[place, learned] = prepared.tokens[start:end][learned]
    arrays = {"input_ids": tokens, "attention_mask": mask, "labels": labels}
    if prepared.weights is not None:
        arrays["weights"] = prepared.weights[taken].astype(np.float32)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _trained(model: Any) -> dict[str, torch.Tensor]:
    """Give the weights that are trained, by name; tied ones once."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def _refuse_what_cannot_be(world: World) -> None:
    needed = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if needed:
        raise RecipeError(
            f"training a target with TRL needs the package '{needed[0]}': "
            "pip install 'smalltolarge[train]'. Or give --trainer own, which needs none."
        )
    sharded = [
        kind
        for kind in ("FSDP", "DEEPSPEED")
        if os.environ.get(f"ACCELERATE_USE_{kind}", "").lower() in ("1", "true", "yes")
    ]
    if sharded:
        raise RecipeError(
            f"accelerate is set to {sharded[0]}, which cuts the weights into shards; a target is "
            "trained whole on every device. Write the subset and train with TRL itself: s2l export "
            "--to trl."
        )
    begun = os.environ.get("WORLD_SIZE", "1")
    if begun != str(world.size):
        raise RecipeError(
            f"{printable(begun)} processes were begun, and train together by the command alone: "
            "torchrun --nproc-per-node 2 -m -- smalltolarge train ..."
        )


@contextmanager
def _on(device: torch.device) -> Iterator[None]:
    """Have accelerate take this device where one process trains."""
    name = "ACCELERATE_TORCH_DEVICE"
    before = os.environ.get(name)
    if device.type != "cpu":
        os.environ[name] = str(device)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the warnings of TRL, PEFT and accelerate off the terminal."""
    loggers = [logging.getLogger(name) for name in _NEEDED]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _naming_refusals(settings: TargetSettings) -> Iterator[None]:
    """Turn what TRL, PEFT or a logger refuse into an error about the settings."""
    try:
        with _naming_memory(settings):
            yield
    except (ValueError, RuntimeError, ImportError) as error:
        raise RecipeError(
            f"TRL cannot train with these settings (report_to {settings.report_to}, lora_modules "
            f"{printable(settings.lora_modules)}): {printable(str(error), 300)}"
        ) from error


@contextmanager
def _naming_memory(settings: TargetSettings) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        raise OutOfSpace(
            f"out of memory on a batch of {settings.batch_size} examples in {settings.accumulate} "
            f"parts. Give a larger --accumulate, --gradient-checkpointing, a lower --max-length "
            f"(now {settings.max_length}), or adapters alone with --lora-rank."
        ) from error
