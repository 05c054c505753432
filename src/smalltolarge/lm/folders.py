"""What a model folder may hold: looked at before transformers sees any of it."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from pathlib import Path

from smalltolarge.errors import (
    IntegrityError,
    MissingArtifact,
    RefusedForSafety,
    printable,
)

_PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
_PLAIN_MAPS = {"tokenizer.json", "vocab.json", "added_tokens.json"}
_CONFIGURATIONS = {"config.json", "generation_config.json"}

_STRANGERS_CODE = {"auto_map", "trust_remote_code", "custom_pipelines"}
_KERNELS = {
    f"{start}{part}_implementation{end}"
    for part in ("attn", "experts")
    for start in ("", "_")
    for end in ("", "_internal")
}
"""Keys whose value may be "owner/kernel": transformers then fetches native code from the hub."""
_KNOWN_KERNELS = (None, "eager", "sdpa")
_QUANTISED = {"quantization_config", "compression_config"}
"""Keys by which transformers picks a quantiser; several of them fetch kernels from the hub."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*([@:].*)?", re.DOTALL)
"""A name on the hub: owner/name, perhaps with @revision or :function; no path or URL is one."""
_TYPE = r"(bf16|fp?(8|16|32)|u?int(4|8)|b?float(8|16|32))"
_NO_REPOSITORY = re.compile(rf"\d+/\d+|n/a|{_TYPE}/{_TYPE}", re.IGNORECASE)
"""What only looks like one, a closed list: two numbers (2026/11), two number types, n/a."""
_NOTES = {
    "_name_or_path",
    "name_or_path",
    "base_model_name_or_path",
    "base_model",
    "tokenizer_class",
    "id2label",
    "label2id",
}
"""Keys that only note where a model came from or what labels are called.

transformers loads nothing by them when it is given a folder, and many honest configurations have
them. Every other key is one that some model may load another repository by: ``backbone``,
``tokenizer_name``, ``pretrained_cfg.hf_hub_id``, ``vision_tower``, and those yet to be invented.
"""


def check_folder(folder: Path, name: str, *, weights: bool) -> None:
    """Refuse a model or tokenizer folder that would run code or has no safetensors.

    Raises
    ------
    RefusedForSafety
        Python files, keys that name code or may fetch it, names of other repositories, or
        (with ``weights``) weights that are quantised or only pickled.
    MissingArtifact
        With ``weights``: there are none.
    IntegrityError
        A JSON file of it cannot be read.
    """
    code = sorted(file.name for file in folder.rglob("*.py"))
    if code:
        raise RefusedForSafety(
            f"{name} holds Python files ({printable(', '.join(code[:3]))}). Models that need "
            "their own code are not loaded; take one that transformers itself knows."
        )
    for file in sorted(folder.glob("*.json")):
        if file.name in _PLAIN_MAPS or file.name.endswith(".index.json"):
            continue
        try:
            content = json.loads(file.read_bytes())
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"{file} is not JSON that can be read ({error})") from error
        _refuse_code(file, content)
        if file.name in _CONFIGURATIONS:
            _refuse_repositories(file, content)
        if weights and file.name == "config.json":
            _refuse_quantised(file, content)
    if not weights:
        return
    if not (folder / "config.json").is_file():
        raise MissingArtifact(f"{name} has no config.json: it is not a model folder")
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLED)
    if pickled:
        raise RefusedForSafety(
            f"{name} has its weights only as pickle ({printable(', '.join(pickled[:3]))}), which "
            "can run code when opened. If you trust it, convert it once where that does no harm:\n"
            '  python -c "from transformers import AutoModelForCausalLM as M; '
            "M.from_pretrained('IN').save_pretrained('OUT')\"\nand give the folder OUT."
        )
    raise MissingArtifact(
        f"{name} has a configuration but no weights (*.safetensors). Give a folder with weights, "
        "or a proxy built here: --proxy scratch."
    )


def _entries(content: object, apart: Container[str] = ()) -> Iterator[tuple[str, object]]:
    """Every key with its value, at any depth; what is in a list goes under the list's key.

    What is under a key of ``apart`` is left out.
    """
    waiting: list[tuple[str, object]] = [("", content)]
    while waiting:
        key, value = waiting.pop()
        yield key, value
        if isinstance(value, dict):
            waiting += [entry for entry in value.items() if entry[0] not in apart]
        elif isinstance(value, list):
            waiting += [(key, inner) for inner in value]


def _refuse_code(file: Path, content: object) -> None:
    for key, value in _entries(content):
        if key in _STRANGERS_CODE:
            raise RefusedForSafety(
                f"{file} has the key {key!r}, which asks for code of the model's author to be "
                "run. Take a model that transformers itself knows, or take the key out if the "
                "model does not need it."
            )
        # a dict gives one value for each part of the model
        chosen = list(value.values()) if isinstance(value, dict) else [value]
        if key in _KERNELS and not all(choice in _KNOWN_KERNELS for choice in chosen):
            raise RefusedForSafety(
                f"{file} has {key!r}: {printable(json.dumps(value))}, which may have native code "
                "fetched and run. Only eager, sdpa and null are taken; take the key out, the "
                "model computes the same without it."
            )


def _refuse_quantised(file: Path, content: object) -> None:
    for key, value in _entries(content):
        if key in _QUANTISED and value is not None:
            raise RefusedForSafety(
                f"{file} has the key {key!r}: to load quantised weights, native code may be "
                "fetched and run, and they cannot be trained. Give the model in float32, float16 "
                "or bfloat16."
            )


def _refuse_repositories(file: Path, content: object) -> None:
    for key, value in _entries(content, apart=_NOTES):
        if not isinstance(value, str):
            continue
        if _REPOSITORY.fullmatch(value.strip()) and not _NO_REPOSITORY.fullmatch(value.strip()):
            raise RefusedForSafety(
                f"{file} has {printable(key)!r}: {printable(value)!r}, which names another "
                "repository, from which something might be fetched. A proxy's folder is whole; "
                "take the key out if the model does not need it."
            )
