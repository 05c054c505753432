"""Axolotl; as version 0.19 does it.

Its own template "alpaca" knows no tool turns. It finds answers by rendering a conversation again
with another text in a turn's place, which our headings allow and templates that rewrite earlier
turns do not; what a turn's ``train`` says goes before its role. Rows that are tokens already are
taken as they are. Rows longer than ``sequence_len`` are dropped unless
``excess_length_strategy: truncate``, and rows with nothing to learn always.
"""

from __future__ import annotations

from typing import Any

from smalltolarge.store import json_lines
from smalltolarge.verbs.export.copies import Files, Work


def files(work: Work) -> Files:
    """Give the copy of the subset, the configuration, and our headings where prompts have them."""
    settings, written = work.settings, Files()
    at_once, times = work.batch
    read: dict[str, Any]
    if work.template == "alpaca":
        copy, rows = work.beside("messages.jsonl"), [{"messages": turns} for turns in work.turns()]
        written = work.headings()
        keys = ("role", "content", "reasoning_content")
        read = {
            "datasets": [
                {
                    "path": str(copy),
                    "ds_type": "json",
                    "type": "chat_template",
                    "field_messages": "messages",
                    "message_property_mappings": {key: key for key in keys},
                    "message_field_training": "train",
                    "roles_to_train": ["assistant"],
                    "train_on_eos": "turn",
                }
            ],
            "chat_template": "jinja",
            "chat_template_jinja": str(*written),
        }
    else:
        copy, rows = work.beside("tokens.jsonl"), work.tokens()
        read = {"datasets": [{"path": str(copy), "ds_type": "json"}]}
        if stop := work.stop():
            read["special_tokens"] = {"eos_token": stop}
    options = {
        "base_model": work.model,
        **({"revision_of_model": settings.revision} if settings.revision else {}),
        **read,
        "train_on_inputs": False,
        "sequence_len": settings.max_length,
        "excess_length_strategy": "truncate",
        "sample_packing": False,
        "output_dir": f"{work.stem}-axolotl",
        "num_epochs": settings.epochs,
        **({"max_steps": settings.steps} if settings.steps else {}),
        "micro_batch_size": at_once,
        "gradient_accumulation_steps": times,
        "optimizer": "adamw_torch_fused",
        "learning_rate": settings.learning_rate,
        "lr_scheduler": "cosine",
        "warmup_ratio": settings.warmup,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "bf16": "auto",
    }
    if settings.lora_rank:
        modules = settings.lora_modules
        options |= {
            "adapter": "lora",
            "lora_r": settings.lora_rank,
            "lora_alpha": settings.lora_alpha or 2 * settings.lora_rank,
            "lora_dropout": 0.0,
            **(
                {"lora_target_linear": True}
                if modules == "all-linear"
                else {"lora_target_modules": modules.split(",")}
            ),
        }
    configuration = work.configuration("axolotl", "axolotl train", options)
    return {copy: json_lines(rows), **configuration, **written}
