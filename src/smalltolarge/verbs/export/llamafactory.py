"""LLaMA-Factory; as version 0.9.5 does it.

It drops, with a warning only, every conversation in which turns of user (or tool) and assistant
(or tool call) do not alternate from a user's to an assistant's, and tool results in a row under
``formatting: sharegpt``. All answers are learned, or the last alone; single turns cannot be
unmarked, reasoning beside content is not read, and chat templates are guessed at, not rendered.
Under ``template: empty`` a user's and an assistant's turn are just their text, so the copy has the
text itself: what is not learned as a user's, what is learned as an assistant's. Rows beyond
``cutoff_len`` lose parts of prompt and answer by their shares; ours are cut before.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from smalltolarge.errors import DataError, StaleArtifact, printable
from smalltolarge.store import json_lines
from smalltolarge.verbs.export.copies import Files, Work

_GIVEN, _LEARNED = "given", "learned"


def files(work: Work) -> Files:
    """Give the copy of the subset, the entry of it among LLaMA-Factory's data sets, and the
    configuration.
    """
    settings = work.settings
    name = re.sub(r"\W+", "_", work.stem)
    copy, known = work.beside("segments.jsonl"), work.subset.with_name("dataset_info.json")
    entry = {
        "file_name": copy.name,
        "formatting": "sharegpt",
        "columns": {"messages": "segments"},
        "tags": {
            "role_tag": "kind",
            "content_tag": "text",
            "user_tag": _GIVEN,
            "assistant_tag": _LEARNED,
        },
    }
    rows = [{"segments": _alternating(one.segments)} for one in work.written]
    assert work.writer is not None
    encode = work.writer.encode
    work.note_other_tokens(
        {row: encode([text for text, _ in one.segments]) for row, one in work.kept.items()},
        "parts are tokenised one by one",
    )
    at_once, times = work.batch
    options: dict[str, Any] = {
        "model_name_or_path": work.model,
        **({"model_revision": settings.revision} if settings.revision else {}),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "dataset_dir": str(work.subset.parent),
        "dataset": name,
        "template": "empty",
        # Never reached: parts are tokenised one by one, which may take a few tokens more.
        "cutoff_len": 2 * settings.max_length,
        "output_dir": f"{work.stem}-llamafactory",
        "logging_steps": 10,
        "save_steps": 500,
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": times,
        "learning_rate": settings.learning_rate,
        "num_train_epochs": float(settings.epochs),
        **({"max_steps": settings.steps} if settings.steps else {}),
        "lr_scheduler_type": "cosine",
        "warmup_ratio": settings.warmup,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "bf16": True,
        "report_to": "none",
    }
    if settings.lora_rank:
        modules = settings.lora_modules
        options |= {
            "finetuning_type": "lora",
            "lora_rank": settings.lora_rank,
            "lora_alpha": settings.lora_alpha or 2 * settings.lora_rank,
            "lora_target": "all" if modules == "all-linear" else modules,
        }
    others = _entries(known)
    if others.get(name, entry) != entry:
        raise StaleArtifact(
            f"{printable(known, 200)} has another data set of the name {name}. Rename the "
            "subset, or take that entry out."
        )
    entries = {**others, name: entry}
    return {
        copy: json_lines(rows),
        known: (json.dumps(entries, indent=2, ensure_ascii=False) + "\n").encode(),
        **work.configuration("llamafactory", "llamafactory-cli train", options),
        **(work.headings() if work.template == "alpaca" else {}),
    }


def _alternating(segments: list[tuple[str, bool]]) -> list[dict[str, str]]:
    """Name the parts, the first of which must not be learned; neighbours differ already."""
    first = [("", False)] if segments[0][1] else []
    return [
        {"kind": _LEARNED if learned else _GIVEN, "text": text}
        for text, learned in [*first, *segments]
    ]


def _entries(known: Path) -> dict[str, Any]:
    """Read the data sets that LLaMA-Factory knows already in this folder."""
    if not known.exists():
        return {}
    try:
        entries = json.loads(known.read_bytes())
    except ValueError as error:
        raise DataError(f"{printable(known, 200)} is no JSON: {error}") from error
    if not isinstance(entries, dict):
        raise DataError(f"{printable(known, 200)} is no list of LLaMA-Factory's data sets")
    return entries
