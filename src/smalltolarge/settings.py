"""What can be set, as frozen dataclasses.

The string under a field is its only documentation: the command line, the docs and error messages
read it from there (``describe``). Settings go in a constructor; data, budget and seed in the call.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import math
import operator
import os
import re
import textwrap
from dataclasses import dataclass, fields, is_dataclass, replace
from numbers import Real
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_type_hints

from smalltolarge.errors import RecipeError, printable

Format = Literal[
    "auto", "alpaca", "instruction-response", "prompt-completion", "messages", "sharegpt"
]
FormOfAsking = Literal["direct", "cot", "pot", "combined"]
K = TypeVar("K")
_DECIDING = (
    "smalltolarge", "datasets", "faiss-cpu", "numpy", "pyarrow", "safetensors", "tokenizers",
    "torch", "transformers",
)  # fmt: skip
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Within:
    """What numbers a field may hold; stands beside its type and is all that is said of it."""

    least: float
    most: float
    above: bool = False
    """Whether the least itself is too little."""

    def checked(self, name: str, value: Any, *, whole: bool) -> int | float:
        """Give a number of any type (NumPy's) as Python's; ``RecipeError`` where it is no such."""
        number = math.nan
        is_truth = isinstance(value, bool)
        try:
            if whole and not is_truth:
                number = operator.index(value)
            elif type(value) in (int, float):
                number = value
            elif isinstance(value, Real) and not is_truth:
                number = float(value)
        except (TypeError, ValueError, OverflowError):
            pass
        if self.least <= number <= self.most and not (self.above and number == self.least):
            return number
        least = f"above {self.least:,}" if self.above else f"at least {self.least:,}"
        kind = "a whole number" if whole else "a number"
        raise RecipeError(
            f"{name} is {printable(value)}: {kind} {least} and at most {self.most:,} is needed"
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings whose numbers are what ``Within`` beside their types says."""

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, (within, whole, words) in _numbers(kind).items():
            value = getattr(self, name)
            if not (value is None or isinstance(value, str)) or value not in words:
                object.__setattr__(self, name, within.checked(name, value, whole=whole))


@functools.cache
def _numbers(kind: type[Any]) -> dict[str, tuple[Within, bool, tuple[object, ...]]]:
    """Give the bounds of every number of a class, whether it is whole, and the words beside it."""
    found = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        parts = (hint, *get_args(hint))
        for part in parts:
            for within in getattr(part, "__metadata__", ()):
                if isinstance(within, Within):
                    words = [word for other in parts for word in get_args(other)]
                    words += [None] if type(None) in parts else []
                    found[name] = (within, part.__origin__ is int, tuple(words))
    return found


@dataclass(frozen=True, kw_only=True)
class ReadingSettings(Settings):
    """How files become examples."""

    format: Format = "auto"
    """Layout of the rows; "auto" recognises it over all rows and prints it."""
    columns: dict[str, str] | None = None
    """Which column plays which part, as ROLE=COLUMN, for example output=answer; once for each.
    Roles: instruction, input, output, system, prompt, completion, messages, tools, source."""
    ignore: tuple[str, ...] = ()
    """A column that carries nothing for learning, though its name is one of those that change what
    a row means, for example label. May be repeated."""
    learn: Literal["all", "last"] = "all"
    """Which answers of a conversation are learned: all that are not marked otherwise, or the last
    alone, the earlier ones being its context."""
    on_bad_row: Literal["stop", "exclude"] = "stop"
    """What to do with rows that cannot be used: stop and list them, or go on without them."""
    repair_text: bool = False
    """Replace bytes and characters that are not valid Unicode by U+FFFD instead of refusing."""
    max_line_bytes: Annotated[int, Within(1, 2_000_000_000)] = 64_000_000
    """Longest line or record read, in bytes."""
    split: str | None = None
    """Which split is read of a Hugging Face data set, or of a folder whose files or sub-folders are
    named by split. Default: train. Refused where there are no splits."""
    exclude_overlap: tuple[str, ...] = ()
    """Files or folders of test questions: rows whose prompt is one of them, or shares a run of
    words with one, are left out before anything is trained. May be repeated."""
    overlap_words: Annotated[int, Within(1, 1000)] = 13
    """How many words in a row a prompt must share with a question to overlap with it."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """How a model is found, how prompts are written for it, and where it runs."""

    revision: str | None = None
    """Commit, branch or tag of a hub model; resolved once to a commit."""
    tokenizer: str | None = None
    """Tokenizer folder or hub name. Default: the model's own; for a model from scratch a byte-level
    BPE trained on your data."""
    template: str = "auto"
    """How prompts are written: chat, by the tokenizer's chat template; alpaca, under
    "### Instruction:" headings; or by the chat template in a file, FILE.jinja. "auto" takes the
    tokenizer's where it has one."""
    template_arg: dict[str, str | int | float | bool | None] | None = None
    """What the chat template reads beside the conversation, as NAME=VALUE, for example
    enable_thinking=false; once for each."""
    fold_system: bool = False
    """Put system texts at the head of the user turn that follows, for chat templates that have no
    system turns."""
    preamble: str = ""
    """A text put before every prompt of the alpaca template."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the model. "auto" is bfloat16 on a GPU. On a CPU it is float32, but bfloat16
    for training and its losses where products of a model's size are tried to be at least 1.5 times
    as fast in it; weights stay float32. What it came to is in the run's recipe."""
    device: str = "auto"
    """Where the model runs: auto, cpu, cuda, cuda:1, mps."""
    threads: Annotated[int, Within(1, 1024)] | None = None
    """CPU threads of the model. Default: one per core. Training on another number changes losses
    by about 1e-7."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.template not in ("auto", "chat", "alpaca") and not self.template.endswith(".jinja"):
            raise RecipeError(
                f"template is {printable(self.template)}: auto, chat, alpaca, or a file whose name "
                "ends in .jinja is needed"
            )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(ModelSettings):
    """How a model, small or large, is fine-tuned on examples."""

    epochs: Annotated[float, Within(0, 10_000, above=True)] = 3.0
    """Passes over the data."""
    learning_rate: Annotated[float, Within(0, 1e30, above=True)] | None = None
    """Peak learning rate. Default: 2e-5 for a pretrained model, 2e-3 for one from scratch."""
    batch_size: Annotated[int, Within(1, 1_000_000)] | None = None
    """Examples per optimiser step. Default: 128 for a pretrained model, 32 for one from scratch."""
    warmup: Annotated[float, Within(0, 1)] = 0.03
    """Share of the steps over which the learning rate rises; it then falls as a cosine to 0."""
    weight_decay: Annotated[float, Within(0, 1000)] = 0.0
    """AdamW weight decay."""
    max_grad_norm: Annotated[float, Within(0, 1e30, above=True)] = 1.0
    """Gradients are scaled down to this norm."""
    max_length: Annotated[int, Within(1, 10_000_000)] = 512
    """Longest example in tokens; the rest is cut off and counted."""
    on_truncated: Literal["keep", "exclude"] = "keep"
    """What to do with examples whose completion is cut in part."""
    on_template_loss: Literal["stop", "exclude", "keep"] = "stop"
    """What to do with examples of whose answers the chat template leaves something out, or writes
    it in other words: stop, go on without these examples, or learn what is left."""
    unit_tokens: Annotated[int, Within(1, 1_000_000_000)] | None = None
    """Tokens that go through the model at once, counted as if padded to the longest example.
    Default: 4096 on a CPU, 16384 on a GPU. Lower it when memory runs out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup == 1:
            raise RecipeError("warmup is 1.0: a share of the steps in [0, 1) is needed")

    @property
    def model(self) -> str:
        """The model that is fine-tuned."""
        raise NotImplementedError

    @property
    def is_scratch(self) -> bool:
        """Whether the model is built here rather than loaded."""
        return self.model == "scratch" or self.model.startswith("scratch-")

    def resolved(self) -> Self:
        """Fill in the defaults that depend on the kind of model."""
        scratch = self.is_scratch
        return replace(
            self,
            learning_rate=self.learning_rate or (2e-3 if scratch else 2e-5),
            batch_size=self.batch_size or (32 if scratch else 128),
        )


@dataclass(frozen=True, kw_only=True)
class ProxySettings(TrainingSettings):
    """The small model, how it is fine-tuned, and when its losses are recorded."""

    proxy: str = "scratch"
    """A causal language model: a hub name, a folder with safetensors, a GGUF file, smollm2-135m
    (which is installed as a package), or one built here from scratch and trained on your data
    alone: scratch-0.1m, scratch-0.5m, scratch-2m, scratch-9m, scratch-70m. "scratch" is
    scratch-0.5m."""
    checkpoints: Annotated[int, Within(2, 10_000)] = 12
    """How many times the loss of every example is recorded during training; the untouched model
    and the last step are two of them."""
    schedule: Literal["even", "early"] = "even"
    """When that is: evenly over training, or early, half of the times in its first quarter."""
    losses: Literal["scored", "free", "perturbed"] = "scored"
    """Where the losses come from: scored passes over all examples at every checkpoint; free, the
    losses that training computes anyway, one an epoch for each example, which cost nothing; or
    perturbed: nothing is trained, and all examples are scored by a pretrained proxy and by copies
    of it with random changes, as many as checkpoints says with the proxy itself."""
    perturbation: Annotated[float, Within(0, 1000, above=True)] | None = None
    """How large these changes are: the standard deviation of the normal noise on each weight, over
    the root mean square of its matrix or vector (perturbed). Default: 0.1."""
    from_checkpoints: str | None = None
    """Train nothing: score the checkpoints that another training saved in this folder
    (checkpoint-STEP), all of them, by their steps. A pretrained proxy is then the model that this
    training began from, and is scored as step 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.losses != "scored" and self.from_checkpoints is not None:
            raise RecipeError(
                f"from_checkpoints: nothing is trained, so no losses are {self.losses}"
            )
        if self.losses == "perturbed" and self.is_scratch:
            raise RecipeError(
                f"losses perturbed: the proxy {self.proxy} is built from scratch and knows nothing "
                "yet that could be perturbed. Give a pretrained one, as --proxy smollm2-135m."
            )
        if self.losses == "free" and self.epochs % 1:
            raise RecipeError(
                f"epochs is {self.epochs}: free losses are those of whole epochs. Give a whole "
                "number, or losses scored."
            )

    @property
    def model(self) -> str:
        """The proxy, or the folder of its checkpoints."""
        return self.proxy if self.from_checkpoints is None else self.from_checkpoints

    @property
    def is_scratch(self) -> bool:
        """Whether the model is built here rather than loaded."""
        return self.from_checkpoints is None and super().is_scratch

    @property
    def begins_from(self) -> str | None:
        """The model that checkpoints of another training began from, where it is given."""
        return None if self.proxy.split("-")[0] == "scratch" else self.proxy

    def resolved(self) -> Self:
        """Fill in the defaults that depend on the kind of proxy."""
        proxy = "scratch-0.5m" if self.proxy == "scratch" else self.proxy
        perturbation = (self.perturbation or 0.1) if self.losses == "perturbed" else None
        return replace(super().resolved(), proxy=proxy, perturbation=perturbation)


@dataclass(frozen=True, kw_only=True)
class TargetSettings(TrainingSettings):
    """The large model and how it is fine-tuned on a subset."""

    target: str = "scratch"
    """A causal language model: a hub name, a folder with safetensors, a GGUF file, smollm2-135m
    (which is installed as a package), or one built here from scratch, as scratch-2m or scratch-70m.
    "scratch" is scratch-2m."""
    trainer: Literal["trl", "own"] = "trl"
    """What runs the training: TRL's SFTTrainer (LoRA, loggers), or the loop that also trains
    proxies: one device, all weights, and faster on a CPU. Both take the same batches."""
    weights: str | None = None
    """A column of the data with a number above 0 in each row, such as s2l_weight: so much its
    tokens count in the loss. Default: all count alike."""
    steps: Annotated[int, Within(1, 1_000_000_000)] | None = None
    """Optimiser steps, instead of epochs."""
    lora_rank: Annotated[int, Within(1, 65_536)] | None = None
    """Train low-rank adapters of this rank instead of all weights (trl)."""
    lora_alpha: Annotated[float, Within(0, 1_000_000, above=True)] | None = None
    """Scale of the adapters. Default: twice the rank."""
    lora_modules: str = "all-linear"
    """Which layers get adapters: all-linear, or names separated by commas."""
    accumulate: Annotated[int, Within(1, 1_000_000)] | None = None
    """Parts that a batch is cut into, to need less memory (trl). Default: as many as keep a part
    within unit_tokens."""
    gradient_checkpointing: bool = False
    """Compute activations twice to need less memory (trl)."""
    report_to: str = "none"
    """Logger: none, wandb, tensorboard, trackio, mlflow, ... (trl)."""
    save_every: Annotated[int, Within(1, 1_000_000_000)] = 500
    """Optimiser steps between two states that an interrupted training goes on from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = {
            "lora_rank": self.lora_rank is not None,
            "accumulate": self.accumulate not in (None, 1),
            "gradient_checkpointing": self.gradient_checkpointing,
            "report_to": self.report_to != "none",
        }
        wrong = [name for name, is_asked in asked.items() if is_asked]
        if self.trainer == "own" and wrong:
            raise RecipeError(f"{', '.join(wrong)}: only trainer trl can do that")
        if self.batch_size is not None and self.batch_size % (self.accumulate or 1):
            raise RecipeError(
                f"accumulate is {self.accumulate}: batch_size {self.batch_size} cannot be cut into "
                "that many equal parts"
            )

    @property
    def model(self) -> str:
        """The target."""
        return self.target

    def resolved(self) -> Self:
        """Fill in the defaults that depend on the kind of target."""
        target = "scratch-2m" if self.target == "scratch" else self.target
        alpha = self.lora_alpha or (2.0 * self.lora_rank if self.lora_rank else None)
        return replace(super().resolved(), target=target, lora_alpha=alpha)


OURS_ALONE = frozenset(
    {
        "target", "trainer", "weights", "on_truncated", "precision", "device", "threads",
        "unit_tokens", "accumulate", "gradient_checkpointing", "report_to", "save_every",
    }
)  # fmt: skip
"""Fields of ``TargetSettings`` for our own training; other trainers are told the rest."""


@dataclass(frozen=True, kw_only=True)
class AskingSettings(Settings):
    """What a model is asked, and how."""

    tasks: tuple[str, ...] = ()
    """Tasks and groups of s2l tasks, files of questions (FILE.jsonl), or tasks of your own,
    my_package.module:Class. May be repeated."""
    data: str | None = None
    """Folder of the tasks' files (gsm8k.jsonl, ...). Default: they come from the hub."""
    form: FormOfAsking = "combined"
    """What is asked for: the question alone (direct), a chain of thought (cot), a Python program
    that is run in a jail (pot), or, as in the paper, a program and, where it fails, the question
    alone (combined)."""
    few_shot: Annotated[int, Within(0, 1000)] = 0
    """Show this many questions with their answers before each: the first of the train split, which
    is NAME.train.jsonl beside NAME.jsonl, or the hub's."""
    questions: Annotated[int, Within(1, 1_000_000_000)] | None = None
    """Ask only the first of each task, this many."""
    max_new_tokens: Annotated[int, Within(1, 1_000_000)] = 1024
    """Longest answer in tokens; a longer one is truncated and counted."""
    batch_size: Annotated[int, Within(1, 1_000_000)] | Literal["auto"] = "auto"
    """Questions that are answered in one batch. "auto" is many, and fewer when memory runs out."""
    program_seconds: Annotated[float, Within(0, 86_400, above=True)] = 10.0
    """How long a program may run."""
    program_megabytes: Annotated[int, Within(1, 1_000_000)] = 512
    """How much memory a program may take, in MB."""


@dataclass(frozen=True, kw_only=True)
class ScoringSettings(Settings):
    """What is told of a model's answers, besides their scores."""

    trained_on: tuple[str, ...] = ()
    """Files of training rows: how many overlap with the questions is told and kept. May be
    repeated."""
    overlap_words: Annotated[int, Within(1, 1000)] = 13
    """Words in a row that make an overlap."""
    bertscore: str | None = None
    """Score summaries by BERTScore, too, with this encoder: a folder or a hub name."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(AskingSettings):
    """What a trained target is scored on."""

    held_out: tuple[str, ...] = ()
    """Fine-tuning data kept out of training: its mean loss, over all and by source."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.tasks or self.held_out):
            raise RecipeError("evaluation: tasks or held_out are needed, to score the targets on")


def versions() -> dict[str, str | None]:
    """Give the versions of what decides numbers, by package; None for what is not installed."""
    return {name: _version(name) for name in _DECIDING}


@functools.cache
def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def cores() -> int:
    """Count the CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_class(name: str, base: type[K], what: str) -> type[K]:
    """Import ``my_package.module:Class``, a subclass of ``base``.

    Raises
    ------
    RecipeError
        It cannot be imported, or is something else; ``what`` names what is asked for.
    """
    module, _, attribute = name.partition(":")
    if not (_MODULE.fullmatch(module) and attribute.isidentifier()):
        raise RecipeError(f"{what} {printable(name)!r}: my_package.module:Class is needed")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # of whatever the module does when it is imported
        raise RecipeError(
            f"{what} {printable(name)!r} cannot be imported: "
            f"{printable(f'{type(error).__name__}: {error}', 300)}"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise RecipeError(f"{what} {printable(name)!r} is not a {base.__name__} class")
    return kind


def describe(settings: type[Any]) -> dict[str, str]:
    """Give the documentation of every field of a settings class, from the string under it.

    The fields of the class itself come before those of its base.
    """
    found: dict[str, str] = {}
    for kind in filter(is_dataclass, reversed(settings.__mro__)):
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ):
                    found[name] = " ".join(words.split())
    names = [field.name for field in fields(settings)]
    own = [name for name in names if name in inspect.get_annotations(settings)]
    return {name: found[name] for name in dict.fromkeys([*own, *names])}
