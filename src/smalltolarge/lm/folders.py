"""What a model folder may hold: looked at before transformers sees any of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, NoReturn

from safetensors import safe_open

from smalltolarge.errors import (
    DataError,
    IntegrityError,
    MissingArtifact,
    RefusedForSafety,
    printable,
)

_PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
_PLAIN_MAPS = {"tokenizer.json", "vocab.json", "added_tokens.json"}
_SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")
_CONFIGURATIONS = {"config.json", "generation_config.json"}

_STRANGERS_CODE = {"auto_map", "trust_remote_code", "custom_pipelines"}
_OTHER_FILES = {"configuration_files", "fast_tokenizer_files", "transformers_weights"}
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


INDEX = "model.safetensors.index.json"
_MEGABYTES = {"tokenizer.json": 128, INDEX: 32, "trainer_state.json": 128}
_OTHERS = 4
"""Megabytes that a JSON or text file may have, by its name."""
_UNREAD = {"trainer_state.json"}
"""Of a training; no model is made by it, and it may be long."""
_MOST_ENTRIES = 100_000
_DEEPEST = 64
_FEW_LAYERS = 128
"""Layers that may share their weights; of more, each has a tensor of its own."""
_BOUNDS = (
    (re.compile(r".*layers?"), -1, 1000),
    (re.compile(r".*(heads?|experts|labels|groups|per_tok)(_kv)?"), -1, 2**16),
    (re.compile(r".*(_size|_dim|n_embd|n_inner|d_model|d_ff|d_kv|d_inner)"), -1, 2**24),
    (re.compile(r".*(positions|position_embeddings|n_ctx|seq_len|_length)"), -1, 2**31),
    (re.compile(r".*(dropout|_drop|pdrop|layerdrop)(_prob|_rate|_p)?"), 0, 1),
    (re.compile(r"(.*_)?(eps|epsilon)"), 0, 1),
)
"""Names of numbers in a configuration, and the smallest and largest that is taken."""
_ANY = (-(2**63), 2**63 - 1)
"""Of a whole number by any other name."""


def path_of(name: str) -> Path:
    """Give the path that a name is, if it is one; a name that can be no path exists nowhere.

    Raises
    ------
    MissingArtifact
        It cannot be looked up.
    """
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, ~nobody, or a zero byte
        raise MissingArtifact(
            f"there is no {printable(name, 200)} ({printable(str(error))})"
        ) from error
    return path


def check_folder(folder: Path, name: str, *, weights: bool) -> None:
    """Refuse a model or tokenizer folder that would run code or has no safetensors.

    Raises
    ------
    RefusedForSafety
        Python files, links out of it, what is no file, files that are too large, keys that name
        code or may fetch it, names of other repositories, or (with ``weights``) weights that are
        quantised or only pickled.
    MissingArtifact
        With ``weights``: there are none.
    IntegrityError
        A file of it cannot be read.
    DataError
        A number of its configuration is out of bounds.
    """
    shown = printable(name, 200)
    if not folder.is_dir():
        raise MissingArtifact(f"{shown} is no folder")
    _refuse_strange_files(folder, shown)
    held = 0
    if weights:
        if not (folder / "config.json").is_file():
            raise MissingArtifact(f"{shown} has no config.json: it is not a model folder")
        files = weight_files(folder)
        if not files:
            _refuse_without_weights(folder, shown)
        held = sum(len(shapes(file)) for file in files)
    for file in sorted(folder.glob("*.json")):
        if file.name in _PLAIN_MAPS | _UNREAD or file.name.endswith(".index.json"):
            continue
        content = read_json(file)
        _refuse_code(file, content)
        if file.name in _CONFIGURATIONS:
            _refuse_repositories(file, content)
        if file.name == "config.json":
            _refuse_numbers(file, content, max(held, _FEW_LAYERS))
            if weights:
                _refuse_quantised(file, content)


def weight_files(folder: Path) -> list[Path]:
    """Give the files of weights that transformers loads; none where there are no safetensors.

    Raises
    ------
    RefusedForSafety
        The index names anything but safetensors of the folder.
    MissingArtifact
        It names a file that is not there.
    """
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    index = folder / INDEX
    if not index.is_file():
        return []
    content = read_json(index)
    names = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(names, dict) or not names:
        raise IntegrityError(f"{_shown(index)} has no weight_map")
    for name in names.values():
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise RefusedForSafety(
                f"{_shown(index)} names {printable(str(name))!r}: weights are read from "
                "*.safetensors in the same folder, and from nothing else"
            )
        if not (folder / name).is_file():
            raise MissingArtifact(f"{_shown(index)} names {name}, which is not there")
    return [folder / name for name in sorted(set(names.values()))]


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Read what a safetensors file says it holds: the shape of every tensor by its name.

    Raises
    ------
    IntegrityError
        It does not hold what it says.
    """
    try:
        with safe_open(file, "np") as opened:
            names = opened.keys()
            return {name: tuple(opened.get_slice(name).get_shape()) for name in names}
    except Exception as error:  # any of many, by what is wrong with the header
        raise IntegrityError(
            f"{_shown(file)} is no whole safetensors file ({printable(str(error), 200)})"
        ) from error


def read_json(file: Path) -> Any:
    """Read a JSON file of a folder.

    Raises
    ------
    RefusedForSafety
        It is no regular file, too large, or nested too deep.
    IntegrityError
        It is not JSON.
    """
    try:
        content = json.loads(_read(file))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{_shown(file)} is not JSON that can be read ({printable(str(error))})"
        ) from error
    level: list[Any] = [[content]]
    for _ in range(_DEEPEST):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return content
    raise RefusedForSafety(f"{_shown(file)} is nested more than {_DEEPEST} deep")


def read_text(file: Path) -> str:
    """Read a text file of a folder; raises as ``read_json``."""
    try:
        return _read(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{_shown(file)} is not UTF-8 text ({error})") from error


def check_size(file: Path) -> None:
    """Refuse a file that is no regular one, or larger than one of its name may be."""
    most = _MEGABYTES.get(file.name, _OTHERS)
    if not file.is_file():
        raise RefusedForSafety(f"{_shown(file)} is no regular file")
    if (size := file.stat().st_size) > most * 2**20:
        raise RefusedForSafety(f"{_shown(file)} has {size:,} bytes; at most {most} MB are read")


def _read(file: Path) -> bytes:
    check_size(file)
    try:
        return file.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{_shown(file)} cannot be read ({error.strerror})") from error


def _shown(file: Path) -> str:
    return printable(str(file), 300)


def _refuse_strange_files(folder: Path, shown: str) -> None:
    """Refuse Python files, what is no file, and links that lead out of the folder.

    In a cache of Hugging Face, links lead to its blobs.
    """
    root = folder.resolve()
    homes = [root, *(up.parent / "blobs" for up in root.parents if up.name == "snapshots")]
    seen = 0
    for place, folders, files in os.walk(folder):
        seen += len(folders) + len(files)
        if seen > _MOST_ENTRIES:
            raise RefusedForSafety(
                f"{shown} holds more than {_MOST_ENTRIES:,} files: it is no model folder"
            )
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink():
                target = Path(os.path.realpath(path))
                if not any(target.is_relative_to(home) for home in homes):
                    raise RefusedForSafety(
                        f"{_shown(path)} is a link to {_shown(target)}, outside of the folder. If "
                        "that is as you want it, give a copy without links: cp -rL FOLDER COPY"
                    )
            if not (path.is_file() or path.is_dir()):
                raise RefusedForSafety(f"{_shown(path)} is neither a file nor a folder")
        code = sorted(name for name in files if name.endswith(".py"))
        if code:
            raise RefusedForSafety(
                f"{shown} holds Python files ({printable(', '.join(code[:3]))}). Models that need "
                "their own code are not loaded; take one that transformers itself knows."
            )


def _refuse_without_weights(folder: Path, shown: str) -> NoReturn:
    pickled = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLED)
    if pickled:
        raise RefusedForSafety(
            f"{shown} has its weights only as pickle ({printable(', '.join(pickled[:3]))}), which "
            "can run code when opened. If you trust it, convert it once where that does no harm:\n"
            '  python -c "from transformers import AutoModelForCausalLM as M; '
            "M.from_pretrained('IN').save_pretrained('OUT')\"\nand give the folder OUT."
        )
    raise MissingArtifact(
        f"{shown} has a configuration but no weights (model.safetensors, or {INDEX} and what it "
        "names). Give a folder with weights, or a proxy built here: --proxy scratch."
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
                f"{_shown(file)} has the key {key!r}, which asks for code of the model's author to "
                "be run. Take a model that transformers itself knows, or take the key out if the "
                "model does not need it."
            )
        if key in _OTHER_FILES and value is not None:
            raise RefusedForSafety(
                f"{_shown(file)} has the key {key!r}, by which other files would be read than "
                "those that every model has. Take it out."
            )
        # a dict gives one value for each part of the model
        chosen = list(value.values()) if isinstance(value, dict) else [value]
        if key in _KERNELS and not all(choice in _KNOWN_KERNELS for choice in chosen):
            raise RefusedForSafety(
                f"{_shown(file)} has {key!r}: {printable(json.dumps(value))}, which may have "
                "native code fetched and run. Only eager, sdpa and null are taken; take the key "
                "out, the model computes the same without it."
            )


def _refuse_quantised(file: Path, content: object) -> None:
    for key, value in _entries(content):
        if key in _QUANTISED and value is not None:
            raise RefusedForSafety(
                f"{_shown(file)} has the key {key!r}: to load quantised weights, native code may "
                "be fetched and run, and they cannot be trained. Give the model in float32, "
                "float16 or bfloat16."
            )


def _refuse_repositories(file: Path, content: object) -> None:
    for key, value in _entries(content, apart=_NOTES):
        if not isinstance(value, str):
            continue
        if _REPOSITORY.fullmatch(value.strip()) and not _NO_REPOSITORY.fullmatch(value.strip()):
            raise RefusedForSafety(
                f"{_shown(file)} has {printable(key)!r}: {printable(value)!r}, which names another "
                "repository, from which something might be fetched. A proxy's folder is whole; "
                "take the key out if the model does not need it."
            )


def check_named_files(folder: Path) -> None:
    """Refuse a tokenizer_config.json that names files, before transformers reads it.

    Only tokenizer.json is read without transformers; many honest folders note there where it was.
    """
    file = folder / "tokenizer_config.json"
    for key, value in _entries(read_json(file) if file.is_file() else {}):
        if key.endswith("_file") and value is not None and key != "special_tokens_map_file":
            raise RefusedForSafety(
                f"{_shown(file)} has the key {printable(key)!r}, by which a file elsewhere "
                "might be read. Take it out."
            )


def _refuse_numbers(file: Path, content: object, layers: int) -> None:
    for key, value in _entries(content):
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        low, high = next((row[1:] for row in _BOUNDS if row[0].fullmatch(key)), _ANY)
        if _BOUNDS[0][0].fullmatch(key):
            high = min(high, layers)
        if not low <= value <= high and (isinstance(value, int) or low != _ANY[0]):
            raise DataError(
                f"{_shown(file)} has {printable(key)!r}: {printable(str(value))}; for these "
                f"weights {low:,} to {high:,} is taken"
            )
