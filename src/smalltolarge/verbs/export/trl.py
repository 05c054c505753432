"""TRL: its SFTTrainer and the command ``trl sft``; as TRL 1.16 does it.

A conversation is learned whole, unless it is split into ``prompt`` and ``completion``, or
``assistant_only_loss`` finds answers marked in the template. There are no marks for turns, but the
template sees every key of a turn. Of a completion, all that the template writes after the prompt
is learned, the line break after the end of a turn too. Rows with ``input_ids`` and ``labels`` are
taken as they are. Longer rows are cut at ``max_length``; then rows with nothing to learn are
dropped.
"""

from __future__ import annotations

from typing import Any

from smalltolarge.store import json_lines
from smalltolarge.verbs.export.copies import Files, Work


def files(work: Work) -> Files:
    """Give the copy of the subset, the configuration, and our headings where prompts have them."""
    settings, copy = work.settings, work.beside("trl.jsonl")
    at_once, times = work.batch
    read: dict[str, Any] = {}
    written: Files = {}
    if work.template == "alpaca":
        turns = work.turns()
        one_answer = all(_is_one_answer(said) for said in turns)
        written = work.headings()
        read["chat_template_path"] = str(*written)
        if not one_answer:
            read["assistant_only_loss"] = True
        rows: list[Any] = (
            [{"prompt": said[:-1], "completion": said[-1:]} for said in turns]
            if one_answer
            else [{"messages": said} for said in turns]
        )
    else:
        rows = work.tokens()
        if stop := work.stop():
            read["eos_token"] = stop
    options = {
        "model_name_or_path": work.model,
        **({"model_revision": settings.revision} if settings.revision else {}),
        "datasets": [{"path": "json", "data_files": str(copy), "split": "train"}],
        **read,
        "max_length": settings.max_length,
        "packing": False,
        "output_dir": f"{work.stem}-trl",
        "num_train_epochs": settings.epochs,
        **({"max_steps": settings.steps} if settings.steps else {}),
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": times,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": settings.warmup,  # a share, in transformers 5
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "bf16": True,
        "report_to": "none",
    }
    if settings.lora_rank:
        options |= {
            "use_peft": True,
            "lora_r": settings.lora_rank,
            "lora_alpha": settings.lora_alpha or 2 * settings.lora_rank,
            "lora_dropout": 0.0,
            "lora_target_modules": settings.lora_modules.split(","),
        }
    configuration = work.configuration("trl", "trl sft --config", options)
    return {copy: json_lines(rows), **configuration, **written}


def _is_one_answer(turns: list[dict[str, Any]]) -> bool:
    """Whether the last turn, an answer, is all that is learned."""
    return [turn.get("train", turn["role"] == "assistant") for turn in turns] == [
        *[False] * (len(turns) - 1),
        True,
    ]
