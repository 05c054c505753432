"""Where a proxy comes from: a shape built here, a folder, or a hub name; and how it is loaded."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from smalltolarge import store
from smalltolarge.errors import (
    DataError,
    IntegrityError,
    MissingArtifact,
    RecipeError,
    RefusedForSafety,
    printable,
)
from smalltolarge.lm.plan import Shape, keyed_number

log = logging.getLogger("smalltolarge")


@dataclass(frozen=True)
class ScratchShape:
    """A GPT-NeoX model of the Pythia shape, built here."""

    width: int
    layers: int
    heads: int
    vocabulary: int
    """Most tokens of a vocabulary trained on the user's data."""


SCRATCH = {
    "scratch-0.5m": ScratchShape(64, 2, 2, 2048),
    "scratch-2m": ScratchShape(128, 6, 4, 4096),
    "scratch-9m": ScratchShape(256, 6, 8, 8192),
    "scratch-70m": ScratchShape(512, 6, 8, 50304),
}
"""scratch-70m is the shape of Pythia-70M."""

_DOWNLOADED = ["*.safetensors", "*.json", "tokenizer.model", "*.txt", "chat_template.jinja"]
_PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
_STRANGERS_CODE = {"auto_map", "trust_remote_code", "custom_pipelines"}
_PLAIN_MAPS = {"tokenizer.json", "vocab.json", "added_tokens.json"}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_BUFFERS = re.compile(r"(rotary_emb\.inv_freq|(attn|attention)\.(masked_)?bias|position_ids)$")


@dataclass(frozen=True)
class Proxy:
    """A proxy before its weights are there: its configuration and where the weights come from."""

    name: str
    config: Any
    """A transformers configuration."""
    folder: Path | None = None
    """None: weights come from the seed."""
    commit: str | None = None
    """Commit of a hub model."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of every weight file."""

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding."""
        return int(self.config.get_text_config().vocab_size)

    @property
    def positions(self) -> int | None:
        """Longest text that the model has positions for; None: no such limit is known."""
        return getattr(self.config.get_text_config(), "max_position_embeddings", None)


def scratch_proxy(name: str, vocabulary: int, max_length: int) -> Proxy:
    """Describe a scratch proxy for a vocabulary, padded to a multiple of 64."""
    from transformers import GPTNeoXConfig

    shape = scratch_shape(name)
    config = GPTNeoXConfig(
        vocab_size=-(-vocabulary // 64) * 64,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.width,
        max_position_embeddings=max(2048, max_length),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.25,
        },
        hidden_act="gelu",
        layer_norm_eps=1e-5,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        use_parallel_residual=True,
        tie_word_embeddings=False,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    return Proxy(name, config)


def scratch_shape(name: str) -> ScratchShape:
    """Look a scratch proxy up.

    Raises
    ------
    RecipeError
        There is no such name.
    """
    if name not in SCRATCH:
        raise RecipeError(
            f"proxy {printable(name)!r} is not known; built from scratch are {', '.join(SCRATCH)}"
        )
    return SCRATCH[name]


def pretrained_proxy(name: str, revision: str | None) -> Proxy:
    """Describe a pretrained proxy; its folder is checked before transformers sees it.

    Raises
    ------
    RefusedForSafety
        The folder holds code, names code, or has only pickled weights.
    MissingArtifact
        There is no such folder or hub model, or it has no weights.
    IntegrityError
        Its configuration cannot be read.
    """
    from transformers import AutoConfig

    folder, commit = locate(name, revision)
    check_folder(folder, name, weights=True)
    with _quiet():
        try:
            config = AutoConfig.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
        except Exception as error:  # any of many, by what is wrong with the file
            raise IntegrityError(
                f"{name}: its config.json does not describe a model that transformers knows "
                f"({printable(str(error), 200)})"
            ) from error
    weights = {file.name: store.digest(file) for file in sorted(folder.glob("*.safetensors"))}
    return Proxy(name, config, folder, commit, weights)


def locate(name: str, revision: str | None = None) -> tuple[Path, str | None]:
    """Give the folder (or file) of a name and, for a hub name, its commit.

    Raises
    ------
    MissingArtifact
        It is neither there nor on the hub, or the hub cannot be reached.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path, None
    if not _HUB_NAME.fullmatch(name):
        raise MissingArtifact(f"there is no folder {printable(name)}, and it is no hub name")
    from huggingface_hub import HfApi, snapshot_download

    try:
        commit = HfApi().model_info(name, revision=revision, timeout=10).sha
        local = False
    except Exception as error:  # offline, unknown or gated; a copy fetched before may do
        commit, local, reason = revision, True, error
    try:
        folder = Path(
            snapshot_download(
                name, revision=commit, allow_patterns=_DOWNLOADED, local_files_only=local
            )
        )
    except Exception as error:
        cause = reason if local else error
        raise MissingArtifact(
            f"{printable(name)} is no folder here, and as a hub model it could not be had: "
            f"{printable(str(cause).splitlines()[0] if str(cause) else repr(cause), 200)}. Give a "
            "folder, check the name and the network, or take a proxy that needs neither: "
            "--proxy scratch."
        ) from error
    return folder, folder.name if local else commit


def check_folder(folder: Path, name: str, *, weights: bool) -> None:
    """Refuse a model or tokenizer folder that would run code or has no safetensors.

    Raises
    ------
    RefusedForSafety
        Python files, keys that name code, or (with ``weights``) pickled weights alone.
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
            found = _first_key(json.loads(file.read_bytes()), _STRANGERS_CODE)
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"{file} is not JSON that can be read ({error})") from error
        if found:
            raise RefusedForSafety(
                f"{file} has the key {found!r}, which asks for code of the model's author to be "
                "run. Take a model that transformers itself knows, or take the key out if the "
                "model does not need it."
            )
    if not weights:
        return
    if not (folder / "config.json").is_file():
        raise MissingArtifact(f"{name} has no config.json: it is not a model folder")
    if (folder / "adapter_config.json").is_file():
        raise DataError(f"{name} is an adapter; merge it into its model and give that folder")
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


def _first_key(value: object, keys: set[str]) -> str | None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in keys:
                return str(key)
            if found := _first_key(inner, keys):
                return found
    elif isinstance(value, list):
        for inner in value:
            if found := _first_key(inner, keys):
                return found
    return None


def shape_of(proxy: Proxy) -> Shape:
    """Measure a proxy without its weights (on torch's meta device)."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(proxy.config)
    config = proxy.config.get_text_config()
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    outside = {id(module.weight) for module in (head, embedding) if module is not None}
    parameters = list(model.parameters())
    heads = int(getattr(config, "num_attention_heads", 0) or 0)
    width = int(config.hidden_size)
    head_width = int(getattr(config, "head_dim", None) or (width // heads if heads else 0))
    return Shape(
        parameters=sum(weight.numel() for weight in parameters),
        matrix_weights=sum(
            weight.numel() for weight in parameters if weight.ndim > 1 and id(weight) not in outside
        ),
        head_weights=width * proxy.vocabulary,
        attention_width=int(getattr(config, "num_hidden_layers", 0) or 0) * heads * head_width,
    )


def load(proxy: Proxy, seed: int) -> Any:
    """Give the model with its weights, in float32 on the CPU; scratch weights follow the seed.

    Raises
    ------
    IntegrityError
        The folder's weights are not those of the model, or have changed.
    """
    from transformers import AutoModelForCausalLM

    if proxy.folder is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(keyed_number(f"weights {seed}"))
            return AutoModelForCausalLM.from_config(proxy.config, dtype=torch.float32)
    with _quiet():
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                proxy.folder,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # any of many, by what is wrong with the files
            raise IntegrityError(
                f"the weights of {proxy.name} cannot be loaded: {printable(str(error), 300)}"
            ) from error
    unexpected = [name for name in report["unexpected_keys"] if not _BUFFERS.search(name)]
    problems = {
        "missing": sorted(report["missing_keys"]),
        "unexpected": sorted(unexpected),
        "of another size": sorted(str(key) for key in report.get("mismatched_keys", ())),
    }
    told = [
        f"{len(names)} {kind} ({printable(', '.join(names[:3]), 200)})"
        for kind, names in problems.items()
        if names
    ]
    if told:
        raise IntegrityError(
            f"the weights of {proxy.name} are not those of its configuration: {'; '.join(told)}. "
            "Fetch the model again, or give one whose config.json and weights belong together."
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' own bars and warnings off the terminal."""
    from transformers.utils import logging as theirs

    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()
