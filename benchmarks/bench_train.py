"""Train a proxy: ours against transformers' Trainer and TRL's SFTTrainer, same rows, in turn.

    python benchmarks/bench_train.py [--models 70m] [--rows N] [--threads 1 2] [--repeats R]
                                     [--precisions float32 bfloat16] [--units 1024 4096] [--batch B]
                                     [--others random grouped trl]

All train with AdamW and dynamic padding, the prompt masked, in batches of 8, which is the default
of both, in bfloat16 by autocast. Only the steps are timed, from the second on; tokens are real
ones, without padding. Ours is timed with units of so many tokens (by default the usual ones). A
name such as smollm2-135m stands for a real model with its own tokens.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import workload

from smalltolarge.lm import models
from smalltolarge.lm.device import find_device, fixed
from smalltolarge.lm.recording import find_losses
from smalltolarge.lm.tokens import Prepared
from smalltolarge.lm.training import Training

OTHERS = {
    "random": "Trainer",
    "grouped": "Trainer, grouped by length",
    "trl": "SFTTrainer",
}


def ours(prepared: Prepared, device: torch.device, *, bfloat16: bool) -> Callable[[], float]:
    """Give a function that trains one epoch and gives tokens a second."""

    def run() -> float:
        model = models.load(prepared.model, 0).to(device)
        losses = find_losses(prepared, model, device, bfloat16)
        training = Training(prepared, losses, device)
        training.advance()
        began, tokens = time.perf_counter(), 0
        while training.step < prepared.order.steps_per_epoch:
            tokens += int(prepared.order.lengths[training.batch(training.step)].sum())
            training.advance()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return tokens / (time.perf_counter() - began)

    return run


def theirs(
    prepared: Prepared, device: torch.device, other: str, *, bfloat16: bool, **more_options: Any
) -> Callable[[], float]:
    """Give the same for one of ``OTHERS``; ``more_options`` are its own."""
    from datasets import Dataset
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Times steps from the second on."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 1:
                self.began = time.perf_counter()
            elif device.type == "cuda":
                torch.cuda.synchronize()
            self.ended = time.perf_counter()

    class Counted(DataCollatorForSeq2Seq):  # type: ignore[misc]
        """Counts the real tokens of batches."""

        def __call__(self, features: Any, return_tensors: Any = None) -> Any:
            self.batches.append(sum(len(row["input_ids"]) for row in features))
            width = max(len(row["input_ids"]) for row in features)
            return {
                "input_ids": _padded(features, "input_ids", width, 0),
                "labels": _padded(features, "labels", width, -100),
                "attention_mask": _padded(features, "attention_mask", width, 0),
            }

    data = []
    for start, end in zip(prepared.offsets[:-1], prepared.offsets[1:], strict=True):
        tokens = prepared.tokens[start:end].tolist()
        labels = np.where(prepared.completion[start:end], tokens, -100).tolist()
        data.append({"input_ids": tokens, "labels": labels, "attention_mask": [1] * len(tokens)})
    options: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": prepared.order.batch_size,
        "max_steps": prepared.order.steps_per_epoch,
        "learning_rate": 2e-5,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 1,
        "weight_decay": 0.0,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1000,
        "bf16": bfloat16,
        "use_cpu": device.type == "cpu",
        "remove_unused_columns": False,
    }
    if other == "grouped":
        options["train_sampling_strategy"] = "group_by_length"
    options |= more_options

    def run() -> float:
        model = models.load(prepared.model, 0)
        collator, clock = Counted(tokenizer=None), Clock()
        collator.batches = []
        if other == "trl":
            from trl import SFTConfig, SFTTrainer

            arguments = SFTConfig(
                **options,
                max_length=None,
                gradient_checkpointing=False,
                dataset_kwargs={"skip_prepare_dataset": True},
            )
            kind: Any = SFTTrainer
            more = {"processing_class": _tokenizer()}
        else:
            arguments, kind, more = TrainingArguments(**options), Trainer, {}
        trainer = kind(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(data),
            data_collator=collator,
            callbacks=[clock],
            **more,
        )
        trainer.train()
        tokens = sum(collator.batches[1 : options["max_steps"]])
        return float(tokens / (clock.ended - clock.began))

    return run


def _padded(features: Any, name: str, width: int, filler: int) -> torch.Tensor:
    return torch.tensor([row[name] + [filler] * (width - len(row[name])) for row in features])


def _tokenizer() -> Any:
    """A tokenizer that is asked for and never used: the rows are tokens already."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<unk>": 0, "<eos>": 1}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<unk>")


def compare(model: str, n: int, threads: int, device: torch.device, given: Namespace) -> None:
    """Print one line a way: ratios to ours in float32 with the first units, which come first."""
    prepared = workload.rows(
        n, model, batch_size=given.batch, learning_rate=2e-5, device=str(device)
    )
    ways: dict[str, Callable[[], float]] = {}
    limits: dict[str, float] = {}
    for precision in given.precisions:
        bfloat16 = precision == "bfloat16"
        limit = workload.peak_flops(device, torch.bfloat16 if bfloat16 else torch.float32)
        for unit in [unit for unit in given.units if unit] or [prepared.order.unit_tokens]:
            cut = replace(prepared, order=replace(prepared.order, unit_tokens=unit))
            name = f"{precision}, ours, units of {unit:,}"
            ways[name], limits[name] = ours(cut, device, bfloat16=bfloat16), limit
        for other in given.others:
            name = f"{precision}, {OTHERS[other]}"
            ways[name], limits[name] = theirs(prepared, device, other, bfloat16=bfloat16), limit
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(1 if given.quick else given.repeats):
        for name, run in ways.items():
            rates[name].append(run())
    flops = prepared.plan.training_flops / prepared.plan.training_tokens
    print(
        f"\n{model}: {prepared.plan.parameters:,} weights; {n:,} rows, batches of {given.batch}; "
        f"{workload.machine(device, threads)}"
    )
    first = statistics.median(next(iter(rates.values())))
    for name, found in rates.items():
        median = statistics.median(found)
        print(
            f"  {name:<36} {median:9,.0f} tokens/s ({min(found):,.0f} to {max(found):,.0f})  "
            f"{median * flops / limits[name]:6.1%} of {limits[name] / 1e9:,.0f} GFLOP/s  the first "
            f"is {first / median:.2f} times as fast",
            flush=True,
        )


def main() -> None:
    """Compare for every model and number of threads."""
    given = workload.arguments(
        __doc__,
        models=["70m"],
        rows=0,
        units=[0],
        batch=8,
        precisions=["float32", "bfloat16"],
        others=list(OTHERS),
    )
    device = find_device(given.device)
    for model in given.models:
        n = given.rows or (64 if workload.is_large(model) else 4000) // (2 if given.quick else 1)
        for threads in given.threads[-1 if given.quick else 0 :] if device.type == "cpu" else [1]:
            with fixed(threads, device):
                compare(model, n, threads, device, given)


if __name__ == "__main__":
    main()
