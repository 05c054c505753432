"""Small examples, tokenizers and models for the tests of the room ``lm``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from smalltolarge.examples.table import EXCLUDED_SCHEMA, SCHEMA, Examples, InputFile, Message

SMALL: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
}
"""The size of a model of the tests."""
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def examples_of(conversations: Sequence[Sequence[Message]]) -> Examples:
    """Make the table of some conversations; their ids follow from their turns."""
    rows = [
        {
            "id": _id([Message(*turn) for turn in turns]),
            "messages": [Message(*turn)._asdict() for turn in turns],
            "source": None,
            "file": 0,
            "row": place + 1,
            "start": -1,
            "end": -1,
        }
        for place, turns in enumerate(conversations)
    ]
    return Examples(
        table=pa.Table.from_pylist(rows, schema=SCHEMA),
        excluded=pa.Table.from_pylist([], schema=EXCLUDED_SCHEMA),
        inputs=(InputFile("sums.jsonl", "jsonl", None, 1, "0"),),
        format="messages",
        columns={},
    )


def _id(turns: Sequence[Message]) -> str:
    short = [turn[:2] if turn[2:] == ("", True) else turn for turn in turns]
    return hashlib.blake2b(repr(short).encode(), digest_size=16).hexdigest()


def sums(n: int) -> list[list[Message]]:
    """Give n different short conversations of uneven length."""
    return [
        [
            Message("user", f"What is {i} + {i * 7 % 31}?" + " Think first." * (i % 4)),
            Message(
                "assistant",
                f"{i} and {i * 7 % 31} " + "make, step by step, " * (i % 5) + f"{i + i * 7 % 31}.",
            ),
        ]
        for i in range(n)
    ]


def tokenizer_folder(
    path: Path,
    *,
    eos: str | None = "</s>",
    bos: str | None = None,
    pad: str | None = None,
    adds_bos: bool = False,
    chat: str | None = None,
    vocabulary: int = 380,
) -> Path:
    """Write a byte-level BPE as a folder: tokenizer.json and tokenizer_config.json."""
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [turn.content for turns in sums(60) for turn in turns]
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator(
        [*texts, "### Instruction:\n### Response:\n"] * 3,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=special if eos != "none" else [],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    tokenizer.save(str(path / "tokenizer.json"))
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    tokens = {"eos_token": eos, "bos_token": bos, "pad_token": pad, "chat_template": chat}
    config |= {key: value for key, value in tokens.items() if value and value != "none"}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


def model_folder(path: Path, config: Any, **tokenizer: Any) -> Path:
    """Write a small random model with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(path)
    return tokenizer_folder(path, **tokenizer)
