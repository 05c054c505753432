"""BERTScore of summaries: the package bert-score's scoring, with a model that was checked first.

bert-score would load the model itself: by whatever is in the folder, pickles too, by the letters
"t5" in its path, and a name that begins with "scibert" by a shell command. So the model and the
tokenizer are loaded here, and handed to its scoring.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from smalltolarge.errors import (
    DataError,
    IntegrityError,
    MissingArtifact,
    RecipeError,
    printable,
)
from smalltolarge.examples.json_rows import without_surrogates
from smalltolarge.lm.device import find_device, fixed
from smalltolarge.lm.folders import check_folder, check_named_files
from smalltolarge.lm.models import locate, measured, quiet, read_config
from smalltolarge.settings import cores

_FINITE = 1_000_000
"""transformers gives 10**30 for a longest text that is not known."""
_USUAL_POSITIONS = 512


def bertscore(
    summaries: Sequence[str],
    references: Sequence[str],
    *,
    model: str | Path,
    n_layers: int | None = None,
    batch_size: int = 64,
    device: str = "auto",
    check: Callable[[], None] = lambda: None,
    advance: Callable[[int], None] = lambda pairs: None,
) -> list[float]:
    """Give the F1 of BERTScore for each of n summaries, about 0 to 1 (Zhang et al. 2020).

    ``model`` is the folder of an encoder such as BERT or RoBERTa with its weights in safetensors,
    or a name on the hub. Its embeddings are those after ``n_layers`` layers; default: for a hub
    name that bert-score knows the number it was tuned to, else all. No weighting by idf, no
    rescaling. Texts are taken as they are (lone surrogates become U+FFFD) and cut at the longest
    that the model takes; one without a token scores 0. ``check`` is called before each batch of
    pairs, ``advance`` after it.

    Raises
    ------
    MissingArtifact
        bert-score is not installed, or the model is not to be had.
    RefusedForSafety
        The model's folder holds code, names code, or has only pickled weights.
    IntegrityError
        The model cannot be loaded from it.
    DataError
        There are not as many summaries as references, or the model is no encoder.
    RecipeError
        The model has no such layer, or there is no such device.
    """
    if len(summaries) != len(references):
        raise DataError(f"{len(summaries):,} summaries, but {len(references):,} references")
    package = _package()
    described = _describe(model, n_layers, package)
    where = find_device(device)
    with fixed(cores(), where):
        network, tokenizer = _load(described)
        network = network.to(where).eval()
        # as BERTScorer does without idf: the marks around a text do not count
        weights: defaultdict[int | None, float] = defaultdict(lambda: 1.0)
        weights |= {tokenizer.sep_token_id: 0.0, tokenizer.cls_token_id: 0.0}
        texts = [[without_surrogates(text) for text in side] for side in (summaries, references)]
        pairs = list(zip(*texts, strict=True))
        counts = Counter(pairs)
        blank = {text for text in {*texts[0], *texts[1]} if not _has_tokens(text, tokenizer)}
        scores = {pair: 0.0 for pair in counts if not blank.isdisjoint(pair)}
        advance(sum(counts[pair] for pair in scores))
        # by length, so that little is padded; by content, so that the order given does not matter
        order = sorted(counts.keys() - scores.keys(), key=lambda pair: (len("".join(pair)), pair))
        for start in range(0, len(order), batch_size):
            check()
            batch = order[start : start + batch_size]
            found = package.bert_cos_score_idf(
                network,
                [reference for _, reference in batch],
                [summary for summary, _ in batch],
                tokenizer,
                weights,
                device=where,
                batch_size=batch_size,
            )
            scores.update(zip(batch, found[:, 2].clamp(max=1.0).tolist(), strict=True))
            advance(sum(counts[pair] for pair in batch))
    return [scores[pair] for pair in pairs]


def signature(model: str | Path, n_layers: int | None = None) -> str:
    """Say in bert-score's words what a score was computed with; raises as ``bertscore`` does."""
    package = _package()
    described = _describe(model, n_layers, package)
    name = described.name if described.commit else Path(described.name).resolve().name
    return str(package.get_hash(name, described.n_layers, False, False, False, True))


@dataclass(frozen=True)
class _Encoder:
    """A model before it is loaded."""

    name: str
    folder: Path
    commit: str | None
    config: Any
    n_layers: int


def _package() -> Any:
    try:
        import bert_score.utils
    except ImportError as error:
        raise MissingArtifact(
            f"BERTScore needs the package 'bert-score' ({printable(str(error), 100)}): "
            "pip install 'smalltolarge[bertscore]'"
        ) from error
    return bert_score.utils


def _describe(model: str | Path, n_layers: int | None, package: Any) -> _Encoder:
    name = str(model)
    try:
        folder, commit = locate(name)
        check_folder(folder, name, weights=True)
        check_named_files(folder)
    except MissingArtifact as error:
        reason = str(error).partition(". Give")[0]  # what follows speaks of proxies
        raise MissingArtifact(
            f"{reason}. For BERTScore give the folder of an encoder with weights in safetensors; "
            "one is fetched where there is a network: hf download roberta-large --local-dir FOLDER"
        ) from error
    measured(folder, name, "AutoModel")
    config = read_config(folder, name)
    layers = getattr(config, "num_hidden_layers", None)
    if getattr(config, "is_encoder_decoder", False) or not isinstance(layers, int):
        raise DataError(
            f"{name} is no encoder (model type {printable(str(config.model_type))}); BERTScore "
            "takes one, such as BERT, RoBERTa or DeBERTa."
        )
    tuned = package.model2layers.get(name) if commit else None
    chosen = n_layers if n_layers is not None else tuned if tuned is not None else layers
    if not 1 <= chosen <= layers:
        raise RecipeError(f"n_layers is {chosen}; {name} has layers 1 to {layers}")
    config.num_hidden_layers = chosen  # those above are not built, and their weights not read
    return _Encoder(name, folder, commit, config, chosen)


def _load(described: _Encoder) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer, GPT2Tokenizer, RobertaTokenizer

    name, local = described.name, {"trust_remote_code": False, "local_files_only": True}
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(described.folder, **local)
            if isinstance(tokenizer, GPT2Tokenizer | RobertaTokenizer):
                # bert-score asks for it at each text, which transformers 5 no longer heeds
                tokenizer = AutoTokenizer.from_pretrained(
                    described.folder, add_prefix_space=True, **local
                )
            network, report = AutoModel.from_pretrained(
                described.folder,
                config=described.config,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                **local,
            )
        except Exception as error:  # any of many, by what is wrong with the files
            raise IntegrityError(
                f"{name} cannot be loaded for BERTScore: {printable(str(error), 300)}"
            ) from error
    # a pooler is often not stored, and is not used
    wrong = [key for key in report["missing_keys"] if "pooler" not in key]
    wrong += [str(key) for key in report.get("mismatched_keys", ())]
    if wrong:
        raise IntegrityError(
            f"the weights of {name} are not those of its configuration: {len(wrong)} are missing "
            f"or of another size ({printable(', '.join(sorted(wrong)[:3]), 200)}). Fetch it again."
        )
    if tokenizer.pad_token_id is None:
        raise DataError(f"the tokenizer of {name} has no token for padding: it is no encoder's")
    if len(tokenizer) > network.get_input_embeddings().num_embeddings:
        raise IntegrityError(
            f"the tokenizer of {name} has {len(tokenizer):,} tokens, its model "
            f"{network.get_input_embeddings().num_embeddings:,}. Fetch it again."
        )
    tokenizer.model_max_length = _longest(tokenizer, described.config)
    return network, tokenizer


def _longest(tokenizer: Any, config: Any) -> int:
    """Give the longest text in tokens; bert-score hands it on, so it must be finite."""
    positions = getattr(config, "max_position_embeddings", None) or 0
    if positions <= 0:  # XLNet says -1: no such limit
        positions = _FINITE
    if tokenizer.model_max_length <= min(positions, _FINITE):
        return int(tokenizer.model_max_length)
    # RoBERTa counts its positions from its padding token on; for BERT this is a token less
    known = positions if positions < _FINITE else _USUAL_POSITIONS
    return int(max(known - tokenizer.pad_token_id - 1, 3))


def _has_tokens(text: str, tokenizer: Any) -> bool:
    return bool(
        tokenizer.encode(
            text.strip(),
            add_special_tokens=False,
            truncation=True,
            max_length=tokenizer.model_max_length,
        )
    )
