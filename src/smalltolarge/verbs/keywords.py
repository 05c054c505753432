"""Settings as keyword arguments: names and types alone, for editors and type checkers.

What they mean stands under the fields of the classes in ``settings`` and of ``S2L``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from smalltolarge.settings import Format, FormOfAsking


class Reading(TypedDict, total=False):
    """Fields of ``ReadingSettings``."""

    format: Format
    columns: dict[str, str] | None
    ignore: Sequence[str]
    learn: Literal["all", "last"]
    on_bad_row: Literal["stop", "exclude"]
    repair_text: bool
    max_line_bytes: int
    split: str | None
    exclude_overlap: Sequence[str]
    overlap_words: int


class _Prompting(TypedDict, total=False):
    """Fields of ``ModelSettings`` that any trainer knows."""

    revision: str | None
    tokenizer: str | None
    template: str
    template_arg: dict[str, str | int | float | bool | None] | None
    fold_system: bool
    preamble: str


class _Model(_Prompting, total=False):
    """Fields of ``ModelSettings``."""

    precision: Literal["auto", "float32", "bfloat16"]
    device: str
    threads: int | None


class Evaluating(_Model, total=False):
    """Fields of ``AskingSettings`` but the tasks, of ``ScoringSettings`` and ``ModelSettings``."""

    data: str | None
    form: FormOfAsking
    few_shot: int
    questions: int | None
    max_new_tokens: int
    batch_size: int | Literal["auto"]
    program_seconds: float
    program_megabytes: int
    trained_on: Sequence[str]
    overlap_words: int
    bertscore: str | None


class _Learning(Reading, _Prompting, total=False):
    """Fields of ``TrainingSettings`` that any trainer knows."""

    epochs: float
    learning_rate: float | None
    batch_size: int | None
    warmup: float
    weight_decay: float
    max_grad_norm: float
    max_length: int
    on_template_loss: Literal["stop", "exclude", "keep"]


class _Training(_Learning, _Model, total=False):
    """Fields of ``TrainingSettings``."""

    on_truncated: Literal["keep", "exclude"]
    unit_tokens: int | None


class Recording(_Training, total=False):
    """Fields of ``ProxySettings``."""

    proxy: str
    checkpoints: int
    schedule: Literal["even", "early"]
    losses: Literal["scored", "free", "perturbed"]
    perturbation: float | None
    from_checkpoints: str | None


class Selecting(Recording, total=False):
    """Fields of ``ProxySettings`` and ``S2L``."""

    clusters: int
    iterations: int
    restarts: int
    points_per_cluster: int | None
    stratify: Literal["source"] | None
    balance: float
    prune_slope: float | None
    part: Literal["all", "first", "last"]
    every: int
    standardise: bool
    inside: Literal["random", "stable"]


class Exporting(_Learning, total=False):
    """Fields of ``TargetSettings`` that any trainer knows."""

    steps: int | None
    lora_rank: int | None
    lora_alpha: float | None
    lora_modules: str


class Training(_Training, Exporting, total=False):
    """Fields of ``TargetSettings`` but the target itself."""

    trainer: Literal["trl", "own"]
    weights: str | None
    accumulate: int | None
    gradient_checkpointing: bool
    report_to: str
    save_every: int
