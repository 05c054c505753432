"""A subset made ready for the trainers people use: TRL, LLaMA-Factory, Axolotl.

A configuration is written beside the subset, with the paper's hyper-parameters. The trainer reads
the subset itself where it knows its layout, and otherwise a copy of it as conversations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import yaml

from smalltolarge import examples, jinja, store
from smalltolarge.errors import DataError, RecipeError, StaleArtifact, printable
from smalltolarge.examples import Examples

Trainer = Literal["trl", "llamafactory", "axolotl"]
Template = Literal["alpaca", "chat"]

MODEL = "microsoft/phi-2"
"""The paper's target."""
_BATCH_SIZE, _AT_ONCE = 128, 8
_PAIRS = ("alpaca", "instruction-response", "prompt-completion")
_TURNS = {
    "messages": {"role": "role", "content": "content", "user": "user", "assistant": "assistant"},
    "sharegpt": {"role": "from", "content": "value", "user": "human", "assistant": "gpt"},
}
"""The keys of a turn and the names of the roles, as all three trainers expect them."""


def export(
    subset: Path,
    to: str,
    *,
    model: str = MODEL,
    template: str = "alpaca",
    overwrite: bool = False,
) -> list[Path]:
    """Write what a trainer needs to train ``model`` on ``subset``; give the files written.

    ``template`` is how prompts are written: under "### Instruction:" headings, which a base model
    needs, or by the chat template of the model's tokenizer.

    Raises
    ------
    DataError
        The subset cannot be read.
    RecipeError
        There is no such trainer or template.
    StaleArtifact
        A file of such a name is there with other content, and ``overwrite`` is not set; nothing is
        written then.
    """
    for name, value, known in (
        ("to", to, get_args(Trainer)),
        ("template", template, get_args(Template)),
    ):
        if value not in known:
            raise RecipeError(f"{name} is {printable(value)}: one of {', '.join(known)} is needed")
    found = examples.load(subset)
    writer = {"trl": _trl, "llamafactory": _llamafactory, "axolotl": _axolotl}[to]
    files = writer(found, subset, model, template)
    taken = [
        path
        for path, content in files.items()
        if path.name != "dataset_info.json" and path.exists() and not _holds(path, content)
    ]
    if taken and not overwrite:
        raise StaleArtifact(
            f"{', '.join(printable(str(path), 200) for path in taken)}: there already, with other "
            "content. Move it, or pass --overwrite."
        )
    for path, content in files.items():
        store.write_bytes(path, content)
    return list(files)


def _trl(found: Examples, subset: Path, model: str, template: str) -> dict[Path, bytes]:
    """TRL, "SFT Trainer" and "Dataset formats": prompt and completion as lists of messages are
    learned in the completion alone; conversations of several answers need assistant_only_loss.
    """
    copy, headings = _beside(subset, "trl.jsonl"), _beside(subset, "alpaca.jinja")
    conversations = _messages(found)
    one_answer = all(_is_one_answer(turns) for turns in conversations)
    rows = (
        [{"prompt": turns[:-1], "completion": turns[-1:]} for turns in conversations]
        if one_answer
        else [{"messages": turns} for turns in conversations]
    )
    settings = {
        "model_name_or_path": model,
        "datasets": [{"path": "json", "data_files": str(copy), "split": "train"}],
        **({"chat_template_path": str(headings)} if template == "alpaca" else {}),
        **({} if one_answer else {"assistant_only_loss": True}),
        "max_length": 512,
        "packing": False,
        "output_dir": f"{subset.stem}-trl",
        "num_train_epochs": 3,
        "per_device_train_batch_size": _AT_ONCE,
        "gradient_accumulation_steps": _BATCH_SIZE // _AT_ONCE,
        "learning_rate": 2e-5,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.03,  # a share, in transformers 5
        "weight_decay": 0.0,
        "bf16": True,
        "report_to": "none",
    }
    file = _beside(subset, "trl.yaml")
    files = {copy: _lines(rows), file: _yaml(settings, f"trl sft --config {file}")}
    return files | ({headings: jinja.HEADINGS.encode()} if template == "alpaca" else {})


def _llamafactory(found: Examples, subset: Path, model: str, template: str) -> dict[Path, bytes]:
    """LLaMA-Factory, the README of its folder data, and its examples of full fine-tuning."""
    name = re.sub(r"\W+", "_", _stem(subset))
    read, layout, columns, files = _as_read(found, subset)
    entry: dict[str, Any] = {"file_name": read.name}
    if layout in _PAIRS:
        parts = {"prompt": ("instruction", "prompt"), "query": ("input",)}
        parts |= {"response": ("output", "completion"), "system": ("system",)}
        entry["formatting"] = "alpaca"
        entry["columns"] = {
            theirs: columns[ours] for theirs, names in parts.items() for ours in names
            if ours in columns
        }  # fmt: skip
    else:
        turn = _TURNS[layout]
        extra = {part: columns[part] for part in ("system", "tools") if part in columns}
        entry |= {
            "formatting": "sharegpt",
            "columns": {"messages": columns["messages"], **extra},
            "tags": {
                "role_tag": turn["role"],
                "content_tag": turn["content"],
                "user_tag": turn["user"],
                "assistant_tag": turn["assistant"],
                "observation_tag": "tool" if layout == "messages" else "observation",
                "system_tag": "system",
            },
        }
    settings = {
        "model_name_or_path": model,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "dataset_dir": str(subset.parent),
        "dataset": name,
        **({"template": "alpaca"} if template == "alpaca" else {}),  # else the tokenizer's own
        "cutoff_len": 512,
        "output_dir": f"{subset.stem}-llamafactory",
        "logging_steps": 10,
        "save_steps": 500,
        "per_device_train_batch_size": _AT_ONCE,
        "gradient_accumulation_steps": _BATCH_SIZE // _AT_ONCE,
        "learning_rate": 2e-5,
        "num_train_epochs": 3.0,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.03,
        "bf16": True,
        "report_to": "none",
    }
    file, known = _beside(subset, "llamafactory.yaml"), subset.with_name("dataset_info.json")
    entries = {**_entries(known), name: entry}
    text = json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
    command = f"llamafactory-cli train {file}"
    return files | {known: text.encode(), file: _yaml(settings, command)}


def _axolotl(found: Examples, subset: Path, model: str, template: str) -> dict[Path, bytes]:
    """Axolotl, "Config reference", and "Dataset formats": instruction tuning, conversation."""
    read, layout, columns, files = _as_read(found, subset)
    own = {"instruction": "instruction", "output": "output"}
    as_alpaca = template == "alpaca" and columns in (own, own | {"input": "input"})
    as_turns = layout not in _PAIRS and columns.keys() == {"messages"}
    if not as_alpaca and not as_turns:
        read, layout, columns, files = _as_copy(found, subset)
    dataset: dict[str, Any] = {"path": str(read), "ds_type": _kind(read)}
    chat: dict[str, Any] = {}
    if layout in _PAIRS:
        dataset["type"] = "alpaca"
    else:
        turn = _TURNS[layout]
        dataset |= {
            "type": "chat_template",
            "field_messages": columns["messages"],
            "message_property_mappings": {"role": turn["role"], "content": turn["content"]},
        }
        chat = {"chat_template": "alpaca" if template == "alpaca" else "tokenizer_default"}
    settings = {
        "base_model": model,
        "datasets": [dataset],
        **chat,
        "train_on_inputs": False,
        "sequence_len": 512,
        "sample_packing": False,
        "output_dir": f"{subset.stem}-axolotl",
        "num_epochs": 3,
        "micro_batch_size": _AT_ONCE,
        "gradient_accumulation_steps": _BATCH_SIZE // _AT_ONCE,
        "optimizer": "adamw_torch_fused",
        "learning_rate": 2e-5,
        "lr_scheduler": "cosine",
        "warmup_ratio": 0.03,
        "weight_decay": 0.0,
        "bf16": "auto",
    }
    file = _beside(subset, "axolotl.yaml")
    return files | {file: _yaml(settings, f"axolotl train {file}")}


_Read = tuple[Path, str, Mapping[str, str], dict[Path, bytes]]
"""The file that is read, its layout, its columns, and what is written for that."""


def _as_read(found: Examples, subset: Path) -> _Read:
    """Have the subset itself read where the trainers understand every row, else a copy."""
    one = found.inputs[0]
    plain = len(found.inputs) == 1 and one.compression is None and not len(found.excluded)
    if not plain or one.kind not in ("jsonl", "json", "csv", "parquet"):
        return _as_copy(found, subset)
    if found.format not in _PAIRS or found.columns.get("completion"):
        rows = examples.rows_as_dataset(found, np.arange(len(found)))
        if found.format in _PAIRS:
            columns = [found.columns["prompt"], found.columns["completion"]]
            if not all(isinstance(value, str) for name in columns for value in rows[name]):
                return _as_copy(found, subset)
        elif not _are_usual(rows[found.columns["messages"]], _TURNS[found.format]):
            return _as_copy(found, subset)
    columns_read = {role: name for role, name in found.columns.items() if role != "source"}
    return subset, found.format, columns_read, {}


def _as_copy(found: Examples, subset: Path) -> _Read:
    copy = _beside(subset, "messages.jsonl")
    rows = [{"messages": turns} for turns in _messages(found)]
    return copy, "messages", {"messages": "messages"}, {copy: _lines(rows)}


def _are_usual(conversations: list[list[Mapping[str, Any]]], turn: Mapping[str, str]) -> bool:
    """Whether all turns have the keys and the role names that the trainers expect."""
    roles = {turn["user"], turn["assistant"], "system"}
    return all(
        said.get(turn["role"]) in roles and isinstance(said.get(turn["content"]), str)
        for turns in conversations
        for said in turns
    )


def _is_one_answer(turns: list[dict[str, str]]) -> bool:
    roles = [turn["role"] for turn in turns]
    return len(turns) > 1 and roles[-1] == "assistant" and roles.count("assistant") == 1


def _messages(found: Examples) -> list[list[dict[str, str]]]:
    return [
        [{"role": turn.role, "content": turn.content} for turn in turns]
        for turns in found.conversations()
    ]


def _entries(known: Path) -> dict[str, Any]:
    """Read the data sets that LLaMA-Factory knows already in this folder."""
    if not known.exists():
        return {}
    try:
        entries = json.loads(known.read_bytes())
    except ValueError as error:
        raise DataError(f"{printable(str(known), 200)} is no JSON: {error}") from error
    if not isinstance(entries, dict):
        raise DataError(f"{printable(str(known), 200)} is no list of LLaMA-Factory's data sets")
    return entries


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _stem(subset: Path) -> str:
    packed = subset.with_suffix("") if subset.suffix in (".gz", ".zst") else subset
    return packed.stem


def _beside(subset: Path, ending: str) -> Path:
    return subset.with_name(f"{_stem(subset)}.{ending}")


def _kind(path: Path) -> str:
    return {".csv": "csv", ".parquet": "parquet"}.get(path.suffix, "json")


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _yaml(settings: Mapping[str, Any], command: str) -> bytes:
    head = (
        f"# {command}\n"
        "# Paths are seen from the folder that s2l export was run in. A batch has "
        f"{_BATCH_SIZE} examples on one GPU;\n"
        "# on several, divide gradient_accumulation_steps by their number.\n"
    )
    return head.encode() + yaml.safe_dump(dict(settings), sort_keys=False).encode()
