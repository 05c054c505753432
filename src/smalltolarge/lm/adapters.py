"""LoRA adapters as PEFT writes them: read from a folder, and merged into their base model."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smalltolarge.errors import (
    DataError,
    IntegrityError,
    MissingArtifact,
    RecipeError,
    RefusedForSafety,
    printable,
)
from smalltolarge.lm.folders import check_folder, read_json

CONFIGURATION, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_KEPT = {
    "alpha_pattern",
    "bias",
    "ensure_weight_tying",
    "exclude_modules",
    "fan_in_fan_out",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_bias",
    "modules_to_save",
    "r",
    "rank_pattern",
    "target_modules",
    "target_parameters",
    "trainable_token_indices",
    "use_dora",
    "use_rslora",
}
"""Keys that say where the weights belong and how they are scaled."""
_OF_TRAINING = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "revision",
    "runtime_config",
    "task_type",
}
"""Keys without a meaning for weights that are there; none of them is followed."""


@dataclass(frozen=True)
class LoraAdapter:
    """A folder with an adapter, and what it says of itself."""

    name: str
    folder: Path
    base: str
    """Folder or hub name of the model that it was trained on."""
    revision: str | None
    """Of the base on the hub."""
    config: Mapping[str, Any]

    @property
    def kept(self) -> dict[str, Any]:
        """What of its configuration is followed."""
        return {key: value for key, value in self.config.items() if key in _KEPT}


def is_adapter(folder: Path) -> bool:
    """Say whether a folder is one that PEFT wrote."""
    return (folder / CONFIGURATION).is_file()


def read_adapter(folder: Path, name: str) -> LoraAdapter:
    """Read what a folder's adapter is, once the folder is known to be safe.

    Raises
    ------
    RefusedForSafety
        The folder holds code, names code, or has only pickled weights.
    MissingArtifact
        It has no weights.
    IntegrityError
        Its configuration cannot be read.
    DataError
        It is no LoRA adapter, or of no named model.
    """
    check_folder(folder, name, weights=False)
    config = read_json(folder / CONFIGURATION)
    if not isinstance(config, dict):
        raise IntegrityError(f"{folder / CONFIGURATION} is no JSON object")
    if not (folder / WEIGHTS).is_file():
        if (folder / "adapter_model.bin").is_file():
            raise RefusedForSafety(
                f"{name} has its weights only as pickle (adapter_model.bin), which can run code "
                f"when opened. {merging(name)}"
            )
        raise MissingArtifact(f"{name} has {CONFIGURATION}, but no {WEIGHTS}")
    kind, base, revision = (
        config.get(key) for key in ("peft_type", "base_model_name_or_path", "revision")
    )
    if kind != "LORA":
        raise DataError(
            f"{name} is an adapter of the kind {printable(str(kind))}; only LORA is merged here. "
            f"{merging(name)}"
        )
    if not isinstance(base, str) or not base or not isinstance(revision, str | None):
        raise DataError(
            f"{folder / CONFIGURATION}: base_model_name_or_path is {printable(json.dumps(base))}; "
            "needed: the folder or the hub name of the model that the adapter was trained on"
        )
    return LoraAdapter(name, folder, base, revision, config)


def merging(name: str) -> str:
    """Say how to merge an adapter into its model by hand."""
    return (
        "If you trust it, merge it into its model once and give the folder OUT:\n"
        '  python -c "from peft import AutoPeftModelForCausalLM as M; '
        f"M.from_pretrained('{printable(name, 200)}').merge_and_unload().save_pretrained('OUT')\""
    )


def check_peft(adapter: LoraAdapter) -> None:
    """Refuse an adapter that cannot be merged here.

    Raises
    ------
    RecipeError
        PEFT is not installed.
    DataError
        The adapter was trained in a way of which the weights alone do not tell the model.
    """
    try:
        from peft import LoraConfig
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"{adapter.name} is a PEFT adapter of {printable(adapter.base, 200)}; loading it needs "
            f"{error.name}: pip install 'smalltolarge[eval]', or give a model with the adapter "
            "merged into it"
        ) from error
    usual = LoraConfig().to_dict()
    for key, value in adapter.config.items():
        if key in _KEPT | _OF_TRAINING or value in (usual.get(key), None, False, {}):
            continue
        if key == "init_lora_weights" and value in (True, "gaussian"):
            continue  # where the training began, without changing the base model
        raise DataError(
            f"{adapter.folder / CONFIGURATION} has {printable(key)!r}: "
            f"{printable(json.dumps(value))}; such an adapter is not merged here. "
            f"{merging(adapter.name)}"
        )


def added(model: Any, kept: Mapping[str, Any]) -> Any:
    """Give a model with an adapter of a configuration beside its weights, as PEFT begins one."""
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT calls what transformers renames
        return get_peft_model(model, LoraConfig(**kept, task_type="CAUSAL_LM"))


def merged(model: Any, adapter: LoraAdapter) -> Any:
    """Give a base model with the adapter added into its weights; the model is changed.

    Raises
    ------
    IntegrityError
        The adapter's weights are not those of its configuration, or do not fit the model.
    """
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        adapted = added(model, adapter.kept)
        weights = load_file(adapter.folder / WEIGHTS)
        wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
        missing = sorted(wanted - weights.keys())
        unexpected = [] if missing else set_peft_model_state_dict(adapted, weights).unexpected_keys
    except Exception as error:  # any of many, by what is wrong with the files
        raise IntegrityError(
            f"the adapter {adapter.name} does not fit {printable(adapter.base, 200)}: "
            f"{printable(str(error), 300)}"
        ) from error
    for kind, names in {"missing": missing, "unexpected": sorted(unexpected)}.items():
        if names:
            raise IntegrityError(
                f"the weights of the adapter {adapter.name} are not those of its configuration: "
                f"{len(names)} {kind} ({printable(', '.join(names[:3]), 200)})"
            )
    return adapted.merge_and_unload().requires_grad_(True)
