"""Record the losses of a training that somebody else runs, by a callback of transformers' Trainer.

The losses are those of whole passes over our own tokenised copy of the examples, by the code that
scores a proxy. The training is left as it is: its weights, its random numbers and its modes after a
pass are those before it.
"""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tokenizers
import torch
from transformers import TrainerCallback

from smalltolarge.errors import DataError, RecipeError, S2LError, StaleArtifact, printable
from smalltolarge.examples import load
from smalltolarge.examples.sources import Source
from smalltolarge.examples.table import Examples
from smalltolarge.lm import child
from smalltolarge.lm.fast.units import Unit
from smalltolarge.lm.losses import Losses
from smalltolarge.lm.models import Model, shape_of
from smalltolarge.lm.plan import Order, Plan, checkpoint_steps, dealt, keyed_hashes
from smalltolarge.lm.scoring import score
from smalltolarge.lm.shelf import Shelf
from smalltolarge.lm.templates import ChatTemplate
from smalltolarge.lm.tokenizer import ModelTokenizer, bos_of, which_template, with_template
from smalltolarge.lm.tokens import Prepared, Writer, refuse_many_left_out
from smalltolarge.lm.trainers import Way, find_way, first_sequences, way_of_rows, ways_of_trl
from smalltolarge.settings import ProxySettings, versions
from smalltolarge.trajectories import Trajectories

log = logging.getLogger("smalltolarge")

_MADE_BY = "smalltolarge.recorder"
_UNIT_TOKENS = 4096
_LONGEST = 10_000_000
_NOT_SAMPLED = "not in the sample that was recorded"
_OF_A_TRAINING = (
    "learning_rate", "num_train_epochs", "per_device_train_batch_size",
    "gradient_accumulation_steps", "lr_scheduler_type", "warmup_steps", "weight_decay", "seed",
    "packing", "bf16", "fp16",
)  # fmt: skip
_BACKWARD = {True: 2.0, False: 1.0}
"""Forward passes that a backward pass costs, by whether most weights are trained."""


class LossRecorder(TrainerCallback):  # type: ignore[misc]
    """Records the loss of every example while a Trainer or an SFTTrainer trains on them.

    Give it among the trainer's ``callbacks``. At evenly spaced steps it scores all examples, step 0
    and the last step included, and at the end it writes them as ``s2l record`` does.

    Parameters
    ----------
    examples : the data that is trained on: ``Examples``, or what ``smalltolarge.load`` takes
    out : the Parquet file that is written; None: trajectories.parquet in the output folder
    checkpoints : how many times all examples are scored
    schedule : "even", or "early": half of the times in the first quarter of the training
    sample : score so many of the examples, drawn by ``seed``; the others are left out
    template : as ``--template``; "auto" finds out how the trainer wrote the examples
    max_length : where the trainer cuts an example, in tokens; None: as its arguments say
    tokens : the trainer's own tokens, where no template gives them: rows with ``input_ids`` and
        ``labels``, one for each example, in their order
    unit_tokens : tokens that go through the model at once
    folder : where passes are kept until the end, so that a training that is resumed has them; None:
        s2l in the output folder
    check : compare our tokens with the trainer's before anything is trained

    Raises
    ------
    RecipeError
        A setting is not allowed.
    DataError
        The data cannot be used; when training begins: the trainer learns other tokens.
    StaleArtifact
        When training begins: something else is at ``out``.
    """

    def __init__(
        self,
        examples: Examples | Source,
        *,
        out: str | PathLike[str] | None = None,
        checkpoints: int = 12,
        schedule: Literal["even", "early"] = "even",
        sample: int | None = None,
        seed: int = 0,
        template: str = "auto",
        max_length: int | None = None,
        tokens: Sequence[dict[str, Any]] | None = None,
        unit_tokens: int | None = None,
        folder: str | PathLike[str] | None = None,
        check: bool = True,
    ) -> None:
        if schedule not in ("even", "early"):
            raise RecipeError(f"schedule is {printable(schedule)}: even or early is possible")
        self.settings = ProxySettings(
            checkpoints=checkpoints,
            schedule=schedule,
            template=template,
            max_length=max_length or _LONGEST,
            unit_tokens=unit_tokens,
            on_template_loss="keep",
        ).resolved()
        self.examples = examples if isinstance(examples, Examples) else load(examples)
        if sample is not None and not 1 <= sample <= len(self.examples):
            raise RecipeError(
                f"sample is {sample}: 1 to {len(self.examples):,}, the number of examples, is "
                "possible"
            )
        self.out, self.folder = out, folder
        self.seed, self.sample, self.tokens, self.check = seed, sample, tokens, check
        self._run: _Run | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Tokenise, compare, say the cost, and score the untouched model."""
        began = time.monotonic()
        with _untouched(given["model"]):
            self._run = _Run(self, args, state, given)
            self._run.score(state.global_step)
            self._run.began, self._run.seconds = began, time.monotonic() - began

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Score all examples where a checkpoint is due."""
        if self._run is not None:
            self._run.score(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Write the trajectories; a training that ended early has its last step as a checkpoint."""
        if self._run is not None:
            self._run.score(state.global_step, is_last=True)
            self._run.write()
            self._run = None


class _Run:
    """The recording of one training, begun or resumed."""

    def __init__(self, recorder: LossRecorder, args: Any, state: Any, given: Any) -> None:
        self.args, self.given = args, given
        self.ranks = _Ranks.here(args.device)
        self.out = Path(recorder.out or Path(args.output_dir) / "trajectories.parquet")
        if self.ranks.is_first:
            _refuse_other_file(self.out)
        self.steps = checkpoint_steps(
            state.max_steps, recorder.settings.checkpoints, recorder.settings.schedule
        )
        self.in_parts = _is_in_parts(given["model"])
        self.model = given["model"] if self.in_parts else _inside(given["model"])
        self.prepared, self.left_out = self._prepared(recorder)
        self.ranks.refuse_different(self.prepared.digest)
        self.device = args.device
        if not self.in_parts:
            self.device = self.model.get_input_embeddings().weight.device
        self.losses = self._find_losses()
        self.origin = self._origin(recorder)
        self.training = _plain(args, _OF_A_TRAINING) | {"max_steps": state.max_steps}
        folder = Path(recorder.folder or Path(args.output_dir) / "s2l")
        self.shelf = Shelf(folder if self.ranks.is_first else None, self.origin)
        self.columns = self._kept(state.global_step)
        self.began, self.seconds = time.monotonic(), 0.0
        self._say_cost(state)

    def score(self, step: int, *, is_last: bool = False) -> None:
        """Score all examples after ``step`` steps if that is due and was not done."""
        if step in self.columns or not (is_last or step in self.steps):
            return
        began = time.monotonic()
        with _untouched(self.given["model"]):
            units = self.prepared.order.scoring_units()
            own = dealt(units, self.ranks.rank, self.ranks.world)
            # every process makes as many forward passes: sharded weights are gathered in each
            more = -(-len(units) // self.ranks.world) - len(own)
            passes = [*own, *[units[-1]] * more]
            found = score(self.prepared, self.losses, self.device, units=passes)
            mine = np.zeros(len(found), dtype=np.float32)
            rows = np.concatenate([*own, np.zeros(0, dtype=np.int64)])
            mine[rows] = found[rows]
            losses = self.ranks.added(mine)
        self.seconds += time.monotonic() - began
        wrong = int((~np.isfinite(losses)).sum())
        if wrong:
            self._say(
                "step %d: %d of %d losses are not finite; nothing of this checkpoint is recorded",
                step, wrong, len(losses),
            )  # fmt: skip
            return
        self.columns[step] = losses
        self.shelf.keep_losses(step, step, losses)
        log.info("step %d: the losses of %d examples are recorded", step, len(losses))

    def write(self) -> None:
        """Write the trajectories, in the first process."""
        if not self.ranks.is_first:
            return
        if not self.columns:
            self._say("no losses were recorded: %s is not written", self.out)
            return
        steps = sorted(self.columns)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        Trajectories(
            losses=np.stack([self.columns[step] for step in steps], axis=1),
            steps=np.array(steps, dtype=np.int64),
            ids=self.prepared.ids,
            n_tokens=self.prepared.n_tokens,
            origin=self.origin | {"training": self.training, "left_out": self.left_out},
        ).to_parquet(self.out)
        whole = max(time.monotonic() - self.began, 1e-9)
        self._say(
            "the losses of %s examples after %s steps are in %s; that took %.1f s of %.1f s",
            f"{len(self.prepared):,}", ", ".join(map(str, steps)), self.out, self.seconds, whole,
        )  # fmt: skip

    def _say(self, words: str, *values: Any) -> None:
        """Tell a person: as a warning, for a library's notes are not shown in a training."""
        if self.ranks.is_first:
            log.warning(words, *values)

    def _kept(self, done: int) -> dict[int, np.ndarray]:
        """Give the passes that an earlier process made on the way to the step where this begins.

        Those after it are made again: their weights are no more.
        """
        kept: dict[int, np.ndarray] = {}
        past = [step for step in self.steps if step <= done and done]
        for step in past:
            if (found := self.shelf.losses(step, step)) is not None:
                kept[step] = found
        there = self.ranks.added(np.array([step in kept for step in past], dtype=np.float32))
        missing = [step for step, has in zip(past, there, strict=True) if not has and step < done]
        if missing:
            self._say(
                "the training goes on at step %d, and the losses after %s steps were not kept: %d "
                "of %d checkpoints will be recorded",
                done, ", ".join(map(str, missing)), len(self.steps) - len(missing), len(self.steps),
            )  # fmt: skip
        nothing = np.zeros(0, dtype=np.float32)
        return {step: kept.get(step, nothing) for step, has in zip(past, there, strict=True) if has}

    def _prepared(self, recorder: LossRecorder) -> tuple[Prepared, dict[str, str]]:
        """Tokenise as the trainer did; gives the reason of every example that is left out, too."""
        args, examples = self.args, recorder.examples
        tokenizer, template = _tokenizer(self.given, recorder.settings)
        name = str(getattr(self.model.config, "_name_or_path", "") or type(self.model).__name__)
        model = Model(printable(name, 300), self.model.config, shape_of(self.model))
        longest = recorder.settings.max_length
        if longest == _LONGEST:
            longest = getattr(args, "max_length", None) or model.positions or _LONGEST
        settings = replace(recorder.settings, max_length=longest)
        way = self._way(recorder, settings, tokenizer, template)
        left_out: dict[str, str] = {}
        if recorder.sample is not None:
            hashes = keyed_hashes(f"recorded sample {recorder.seed}", examples.ids.tolist())
            rows = np.sort(np.argsort(hashes, kind="stable")[: recorder.sample])
            others = np.setdiff1d(np.arange(len(examples)), rows)
            left_out = {name.decode(): _NOT_SAMPLED for name in examples.ids[others].tolist()}
            examples = replace(examples, table=examples.table.take(rows))
        tokenized = way.tokenised(examples)
        child.close()
        refuse_many_left_out(examples, tokenized, longest)
        left_out |= {examples.ids[row].decode(): reason for row, reason in tokenized.left_out}
        ids = examples.ids[tokenized.kept]
        # as many as a batch of the training may have, which keeps more of each for its gradients
        batch = args.per_device_train_batch_size * int(tokenized.lengths.max())
        unit_tokens = recorder.settings.unit_tokens or max(_UNIT_TOKENS, batch)
        settings = replace(settings, unit_tokens=unit_tokens)
        order = Order.of(ids, tokenized.lengths, settings, recorder.seed)
        return (
            Prepared(
                settings=settings,
                seed=recorder.seed,
                model=model,
                tokenizer=tokenizer,
                template=way.name,
                tokenized=tokenized,
                made_with={},
                ids=ids,
                digest=tokenized.digest(ids),
                order=order,
                plan=Plan.of(order, tokenized.n_tokens, model.shape, settings),
            ),
            left_out,
        )

    def _way(
        self,
        recorder: LossRecorder,
        settings: ProxySettings,
        tokenizer: ModelTokenizer,
        template: str,
    ) -> Way:
        """Find how the trainer wrote the examples, from its first rows."""
        examples = recorder.examples
        theirs = _of_text(self.given.get("processing_class"))
        ours = [Way(template, Writer(settings, tokenizer, template).tokenised)]
        if recorder.tokens is not None:
            ways = [way_of_rows(recorder.tokens, examples, settings)]
        elif recorder.settings.template == "auto":
            ways = ours + ways_of_trl(theirs, settings)
        else:
            ways = ours
        data = getattr(self.given.get("train_dataloader"), "dataset", None)
        sequences = first_sequences(data, settings.max_length) if recorder.check else []
        if sequences:
            return find_way(ways, examples, sequences, theirs)
        if recorder.check:
            self._say(
                "the trainer has no rows of tokens that could be compared: the examples are "
                "written by the way %s, which may not be the trainer's", ways[0].name,
            )  # fmt: skip
        return ways[0]

    def _find_losses(self) -> Losses:
        """Find a way to the model's losses that changes nothing in it."""
        longest_first = np.concatenate(self.prepared.order.scoring_units())
        rows = longest_first[sorted({(len(longest_first) - 1) // 2, len(longest_first) - 1})]
        probe = Unit.of(self.prepared, rows, self.device)
        return Losses(
            self.model,
            probe,
            probe,
            bfloat16=bool(self.args.bf16),
            borrowed="in parts" if self.in_parts else "whole",
        )

    def _origin(self, recorder: LossRecorder) -> dict[str, Any]:
        prepared, settings = self.prepared, self.prepared.settings
        weight = next(iter(self.model.parameters()))
        return {
            "made_by": _MADE_BY,
            "proxy": prepared.model.name,
            "parameters": prepared.plan.parameters,
            "vocabulary": prepared.model.vocabulary,
            "tokenizer": prepared.tokenizer.name,
            "template": prepared.template,
            "settings": {
                "checkpoints": recorder.settings.checkpoints,
                "schedule": recorder.settings.schedule,
                "sample": recorder.sample,
                "max_length": settings.max_length,
                "unit_tokens": settings.unit_tokens,
            },
            "seed": recorder.seed,
            "tokens": prepared.digest,
            "rows": hashlib.blake2b(prepared.ids.tobytes(), digest_size=16).hexdigest(),
            "device": weight.device.type,
            "precision": "bfloat16" if self.losses.bfloat16 else str(weight.dtype).split(".")[1],
            "versions": versions(),
        }

    def _say_cost(self, state: Any) -> None:
        """Say what is going to be done, and what part of the training that is."""
        left = [step for step in self.steps if step not in self.columns]
        examples, tokens = len(self.prepared), int(self.prepared.order.lengths.sum())
        weights = [(w.numel(), w.requires_grad) for w in self.given["model"].parameters()]
        trained = sum(size for size, is_trained in weights if is_trained)
        backward = _BACKWARD[2 * trained > sum(size for size, _ in weights)]
        backward += bool(getattr(self.args, "gradient_checkpointing", False))
        loader = self.given.get("train_dataloader")
        about = ""
        if loader is not None and hasattr(loader, "__len__") and len(loader):
            epochs = state.max_steps * self.args.gradient_accumulation_steps / len(loader)
            share = len(left) / max(epochs, 1e-9) / (1 + backward)
            whole = examples + sum(why == _NOT_SAMPLED for why in self.left_out.values())
            share *= examples / whole
            about = f", about {share:.0%} on top of the training itself"
        passes = "1 pass" if len(left) == 1 else f"{len(left)} passes"
        self._say(
            "recording: %s over %s examples (%s tokens), at steps %s%s; written as %r",
            passes, f"{examples:,}", f"{tokens:,}", ", ".join(map(str, left)), about,
            self.prepared.template,
        )  # fmt: skip


@dataclass(frozen=True)
class _Ranks:
    """The processes of a training, which share a pass."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def here(cls, device: torch.device) -> _Ranks:
        group = torch.distributed
        if not (group.is_available() and group.is_initialized()):
            return cls(0, 1, device)
        return cls(group.get_rank(), group.get_world_size(), device)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def added(self, array: np.ndarray) -> np.ndarray:
        """Add the arrays of all processes; where only one has more than 0, that is exact."""
        if self.world == 1 or not array.size:
            return array
        tensor = torch.from_numpy(array.copy()).to(self.device)
        torch.distributed.all_reduce(tensor)
        found: np.ndarray = tensor.cpu().numpy()
        return found

    def refuse_different(self, digest: str) -> None:
        """Refuse processes that have other examples or tokens than this one."""
        number = int(digest[:6], 16)  # added exactly in float32 for any number of processes
        mine = np.zeros(self.world, dtype=np.float32)
        mine[self.rank] = number
        if (self.added(mine) != number).any():
            raise DataError(
                f"process {self.rank} of {self.world} has other examples, or writes them as other "
                "tokens, than another has: give every process the same data and the same tokenizer"
            )


def _plain(args: Any, names: Sequence[str]) -> dict[str, Any]:
    """Give some of a trainer's arguments, those it has, as plain data."""
    there = {name: getattr(args, name) for name in names if hasattr(args, name)}
    return {
        name: value if isinstance(value, int | float | None) else str(value)
        for name, value in there.items()
    }


@contextmanager
def _untouched(model: Any) -> Iterator[None]:
    """Put back what a pass might change: random numbers of all kinds, and modes of all layers."""
    modes = [(module, module.training) for module in model.modules()]
    plain, numbers = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(numbers)
        for module, is_training in modes:
            module.training = is_training


def _inside(model: Any) -> Any:
    """Give the model of transformers inside a PEFT one; its adapters stay in it.

    Raises
    ------
    RecipeError
        It is trained by its prompt, which only PEFT's own forward pass puts before a text.
    """
    if not hasattr(model, "get_base_model"):
        return model
    if getattr(model.active_peft_config, "is_prompt_learning", False):
        raise RecipeError("losses of a model that is trained by prompt learning are not recorded")
    return model.get_base_model()


def _is_in_parts(model: Any) -> bool:
    """Whether the weights of a model are cut over processes (FSDP, ZeRO-3)."""
    sharded = {"FullyShardedDataParallel", "FSDPModule"}
    return any(
        sharded & {kind.__name__ for kind in type(module).__mro__} for module in model.modules()
    ) or any(hasattr(weight, "ds_id") for weight in model.parameters())


def _of_text(processing_class: Any) -> Any:
    """Give the tokenizer of a processor."""
    return getattr(processing_class, "tokenizer", processing_class)


def _tokenizer(given: Any, settings: ProxySettings) -> tuple[ModelTokenizer, str]:
    """Give the tokenizer of a training, and how prompts are written by our own way."""
    found = _of_text(given.get("processing_class"))
    backend = getattr(found, "backend_tokenizer", None)
    if backend is None:
        raise RecipeError(
            "the trainer has no tokenizer of the tokenizers library: give it one as "
            "processing_class, for the examples are written as it writes them"
        )
    name = printable(str(getattr(found, "name_or_path", "") or "of the trainer"), 300)
    special = {
        key: str(token)
        for key in ("bos_token", "eos_token", "unk_token", "pad_token")
        if (token := getattr(found, key, None)) is not None
    }
    text = backend.to_str()
    plain = tokenizers.Tokenizer.from_str(text)
    vocabulary = plain.get_vocab(with_added_tokens=True)
    known = {"add_bos_token": getattr(found, "add_bos_token", None)}
    written = found.chat_template if isinstance(found.chat_template, str) else None
    tokenizer = ModelTokenizer(
        name,
        text,
        max(vocabulary.values()) + 1,
        found.eos_token_id,
        bos_of(plain, known, special, vocabulary),
        None if written is None else ChatTemplate(written, name, special),
        special,
    )
    tokenizer = with_template(tokenizer, settings)
    return tokenizer, which_template(settings, tokenizer)


def _refuse_other_file(out: Path) -> None:
    """Refuse to write over anything but the losses of another training.

    Raises
    ------
    StaleArtifact
        Something else is there.
    """
    if not out.exists():
        return
    try:
        made_by = Trajectories.from_parquet(out).origin.get("made_by")
    except S2LError:
        made_by = None
    if made_by != _MADE_BY:
        raise StaleArtifact(
            f"{printable(out, 200)} is there already, and is not of a recorder: give another out, "
            "or move it away"
        )
