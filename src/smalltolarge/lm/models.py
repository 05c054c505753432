"""Where a model comes from: a shape built here, a folder, a file, a name; and how it is loaded."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
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
    S2LError,
    printable,
)
from smalltolarge.lm import adapters
from smalltolarge.lm.adapters import LoraAdapter
from smalltolarge.lm.child import NotDone, in_child
from smalltolarge.lm.folders import check_folder, path_of, read_json, shapes, weight_files
from smalltolarge.lm.gguf import find_gguf, kept_copy
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
    "scratch-0.1m": ScratchShape(32, 2, 2, 1024),
    "scratch-0.5m": ScratchShape(64, 2, 2, 2048),
    "scratch-2m": ScratchShape(128, 6, 4, 4096),
    "scratch-9m": ScratchShape(256, 6, 8, 8192),
    "scratch-70m": ScratchShape(512, 6, 8, 50304),
}
"""scratch-70m is the shape of Pythia-70M."""

_DOWNLOADED = ["*.safetensors", "*.json", "tokenizer.model", "*.txt", "chat_template.jinja"]
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_SMALL = 2**12
"""Weights of which nobody need be warned."""
_BUFFERS = re.compile(r"(rotary_emb\.inv_freq|(attn|attention)\.(masked_)?bias|position_ids)$")


@dataclass(frozen=True)
class Model:
    """A model before its weights are there: its configuration and where the weights come from."""

    name: str
    config: Any
    """A transformers configuration."""
    shape: Shape
    folder: Path | None = None
    """None: weights come from the seed."""
    commit: str | None = None
    """Commit of a hub model."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of every weight file."""
    adapter: LoraAdapter | None = None
    """What is added to the weights of ``folder``."""

    @property
    def own_folder(self) -> Path | None:
        """The folder that was given: of an adapter its own, not that of its base."""
        return self.folder if self.adapter is None else self.adapter.folder

    @property
    def tokenizer_folder(self) -> Path | None:
        """Where its tokenizer is: beside an adapter, if one was saved there."""
        own = self.own_folder
        files = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
        return own if own is not None and any((own / f).is_file() for f in files) else self.folder

    @property
    def loaded_from(self) -> str:
        """What other programs load it by: its name on the hub, or else its folder."""
        return self.name if self.folder is None or self.commit else str(self.own_folder)

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding."""
        return int(self.config.get_text_config().vocab_size)

    @property
    def positions(self) -> int | None:
        """Longest text that the model has positions for; None: no such limit is known."""
        known = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        return known if known is None or known > 0 else None  # XLNet says -1


def scratch_model(name: str, vocabulary: int, max_length: int) -> Model:
    """Describe a model from scratch for a vocabulary, padded to a multiple of 64."""
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
    return untrained_model(name, config)


def untrained_model(name: str, config: Any) -> Model:
    """Describe a model of a configuration of our own."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        # a copy: building a model writes what it chose into its configuration
        built = AutoModelForCausalLM.from_config(copy.deepcopy(config))
    return Model(name, config, shape_of(built))


def scratch_shape(name: str) -> ScratchShape:
    """Look a model from scratch up.

    Raises
    ------
    RecipeError
        There is no such name.
    """
    if name not in SCRATCH:
        raise RecipeError(
            f"model {printable(name)!r} is not known; built from scratch are {', '.join(SCRATCH)}"
        )
    return SCRATCH[name]


def pretrained_model(name: str, revision: str | None) -> Model:
    """Describe a pretrained model, or a LoRA adapter with the model that it names as its base.

    A folder is checked before transformers sees it.

    Raises
    ------
    RefusedForSafety
        The folder holds code, names code, or has only pickled weights.
    MissingArtifact
        There is no such folder or hub model, or it has no weights.
    IntegrityError
        Its configuration cannot be read.
    DataError
        Its model cannot predict the next token, or its adapter is not one that is merged here.
    RecipeError
        An adapter is given, and PEFT is not installed.
    """
    folder, commit = locate(name, revision)
    shown = printable(name, 300)
    if adapters.is_adapter(folder):
        return _adapted(folder, shown, commit)
    check_folder(folder, shown, weights=True)
    shape = measured(folder, shown)
    weights = {file.name: store.digest(file) for file in weight_files(folder)}
    return Model(shown, read_config(folder, shown), shape, folder, commit, weights)


def measured(folder: Path, name: str, kind: str = "AutoModelForCausalLM") -> Shape:
    """Measure the model of a checked folder, built without weights by a class of transformers.

    That is done in a child, before the configuration is read here.

    Raises
    ------
    RefusedForSafety
        It takes too long or too much memory to be built, or ends the process.
    IntegrityError
        It has more than twice as many weights as its files, or its configuration cannot be read.
    DataError
        The class builds none of its configuration.
    """
    _import_model(folder)
    told = _built((str(folder.absolute()), kind, None), name, weight_files(folder), _SMALL)
    if isinstance(told, NotDone):
        model_type = printable(str(read_config(folder, name).model_type))
        reason = told.reason.partition("\n")[0]  # transformers goes on with a list of all it knows
        what = "causal language model" if kind.endswith("CausalLM") else "encoder"
        raise DataError(
            f"{name}: no {what} can be built from its config.json (model type {model_type}: "
            f"{printable(reason, 200)}). A causal language model predicts the next token from "
            "those before it, as GPT-NeoX, GPT-2, Llama and Qwen do; give a folder of such a "
            "model, or --proxy scratch."
        )
    shape = Shape(**told["shape"])
    return replace(shape, matrices=tuple((rows, columns) for rows, columns in shape.matrices))


def _built(
    about: tuple[str, str, dict[str, Any] | None], name: str, files: list[Path], spare: int
) -> Any:
    """Build a model in the child; refuse one with more weights than twice its files and some."""
    [told] = _build(about, [None])
    if isinstance(told, RefusedForSafety):
        raise RefusedForSafety(
            f"{name}: building the model that its configuration describes {told}. Take another."
        )
    held = sum(math.prod(shape) for file in files for shape in shapes(file).values())
    if not isinstance(told, NotDone) and told["size"] > 2 * held + spare:
        raise IntegrityError(
            f"{name}: its configuration describes a model of {told['size']:,} weights, and its "
            f"files hold {held:,}. Fetch it again, or give one whose configuration and weights "
            "belong together."
        )
    return told


@in_child(20, 2048)
def _build(about: tuple[str, str, dict[str, Any] | None]) -> Callable[[None], dict[str, Any]]:
    """Measure a model in the child, and count its weights and buffers, or what an adapter adds."""
    import transformers

    folder, kind, adapter = about
    torch.set_num_threads(1)  # the others are the parent's

    def build(question: None) -> dict[str, Any]:
        config = read_config(Path(folder), "")
        with torch.device("meta"):
            model = getattr(transformers, kind).from_config(config)
            shape = asdict(shape_of(model))
            if adapter is not None:
                model = adapters.added(model, adapter)
        weights = [one for one in model.parameters() if adapter is None or one.requires_grad]
        weights += model.buffers() if adapter is None else ()
        return {"size": sum(weight.numel() for weight in weights), "shape": shape}

    return build


def shape_of(model: Any) -> Shape:
    """Measure a model of transformers; it may be one without weights (on torch's meta device)."""
    config = model.config.get_text_config()
    width, vocabulary = int(config.hidden_size), int(config.vocab_size)
    heads = int(getattr(config, "num_attention_heads", 0) or 0)
    if heads > width:
        raise ValueError(f"{heads:,} heads do not fit a width of {width:,}")
    head_width = int(getattr(config, "head_dim", None) or (width // heads if heads else 0))
    layers = int(getattr(config, "num_hidden_layers", 0) or 0)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    outside = {id(module.weight) for module in (head, embedding) if module is not None}
    parameters = list(model.parameters())
    inside = [weight for weight in parameters if weight.ndim > 1 and id(weight) not in outside]
    return Shape(
        parameters=sum(weight.numel() for weight in parameters),
        matrix_weights=sum(weight.numel() for weight in inside),
        head_weights=width * vocabulary,
        attention_width=layers * heads * head_width,
        matrices=tuple(sorted({tuple(weight.shape) for weight in inside if weight.ndim == 2})),
    )


def _import_model(folder: Path) -> None:
    """Import what a model is built by before the child is begun, so that both have it."""
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

    with contextlib.suppress(Exception):  # the configuration may name none that there is
        kind = CONFIG_MAPPING[read_json(folder / "config.json")["model_type"]]
        MODEL_FOR_CAUSAL_LM_MAPPING[kind]


def _adapted(folder: Path, name: str, commit: str | None) -> Model:
    adapter = adapters.read_adapter(folder, name)
    adapters.check_peft(adapter)
    log.info("%s is an adapter of %s", name, printable(adapter.base, 200))
    try:
        if adapters.is_adapter(locate(adapter.base, adapter.revision)[0]):
            raise DataError("it is an adapter itself")
        base = pretrained_model(adapter.base, adapter.revision)
    except S2LError as error:
        raise type(error)(
            f"{name} is an adapter of {printable(adapter.base, 200)}, as its "
            f"{adapters.CONFIGURATION} says, and that cannot be taken: {error}"
        ) from error
    assert base.folder is not None
    about = str(base.folder), "AutoModelForCausalLM", adapter.kept
    told = _built(about, name, [folder / adapters.WEIGHTS], base.shape.parameters)
    if isinstance(told, NotDone):
        raise IntegrityError(
            f"the adapter {name} does not fit {printable(adapter.base, 200)}: "
            f"{printable(told.reason, 300)}"
        )
    weights = {**base.weights, adapters.WEIGHTS: store.digest(folder / adapters.WEIGHTS)}
    return replace(base, name=name, commit=commit, weights=weights, adapter=adapter)


def read_config(folder: Path, name: str) -> Any:
    """Read the transformers configuration of a checked folder.

    Raises
    ------
    IntegrityError
        It describes no model that transformers knows.
    """
    from transformers import AutoConfig

    with quiet():
        try:
            config = AutoConfig.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
        except Exception as error:  # any of many, by what is wrong with the file
            raise IntegrityError(
                f"{name}: its config.json does not describe a model that transformers knows "
                f"({printable(str(error), 200)})"
            ) from error
    # None is transformers' own choice, sdpa or else eager: no folder decides which kernels run
    config._attn_implementation = None
    config._experts_implementation = None
    if hasattr(config, "gradient_checkpointing"):  # how to train is no folder's business
        config.gradient_checkpointing = False
    return config


def locate(name: str, revision: str | None = None) -> tuple[Path, str | None]:
    """Give the folder (or file) of a name and, for a hub name, its commit.

    The folder of a GGUF file, or of a model that is installed as a package, is that of its copy.

    Raises
    ------
    MissingArtifact
        It is neither there nor on the hub, or the hub cannot be reached.
    RecipeError
        It needs a package that is not installed.
    Others as ``gguf.kept_copy``.
    """
    file = find_gguf(name)
    if file is not None:
        if revision is not None:
            raise RecipeError(f"revision is for a hub model; {printable(name)} has none")
        with quiet():
            return kept_copy(file, name), None
    path = path_of(name)
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
        cause = str(reason if local else error) or repr(error)
        raise MissingArtifact(
            f"{printable(name)} is no folder here, and as a hub model it could not be had: "
            f"{printable(cause.splitlines()[0].rstrip('.'), 200)}. Give a "
            "folder, or check the name and the network. A proxy that needs neither is scratch."
        ) from error
    return folder, folder.name if local else commit


def load(described: Model, seed: int) -> Any:
    """Give the model with its weights, in float32 on the CPU; scratch weights follow the seed.

    Raises
    ------
    IntegrityError
        The folder's weights are not those of the model, or have changed.
    """
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(described.config)  # a model changes its own, its attention for example
    if described.folder is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(keyed_number(f"weights {seed}"))
            return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with quiet():
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                described.folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # any of many, by what is wrong with the files
            raise IntegrityError(
                f"the weights of {described.name} cannot be loaded: {printable(str(error), 300)}"
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
            f"the weights of {described.name} are not those of its configuration: "
            f"{'; '.join(told)}. Fetch the model again, or give one whose config.json and weights "
            "belong together."
        )
    if described.adapter is None:
        return model
    with quiet():
        return adapters.merged(model, described.adapter)


@contextmanager
def quiet() -> Iterator[None]:
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
