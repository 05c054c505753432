"""The proxy's tokenizer: read from a folder, or a byte-level BPE trained on the user's data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from smalltolarge.errors import (
    DataError,
    IntegrityError,
    MissingArtifact,
    RecipeError,
    printable,
)
from smalltolarge.lm.folders import check_folder
from smalltolarge.lm.models import Model, locate
from smalltolarge.lm.plan import keyed_hashes
from smalltolarge.lm.rendering import Piece
from smalltolarge.lm.templates import ChatTemplate
from smalltolarge.settings import ModelSettings

END_OF_TEXT = "<|endoftext|>"
TRAINING_BYTES = 20_000_000
"""Characters of text that a vocabulary is learned from, at most."""
_USUAL_ENDS = (END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>", "<|eos|>", "[EOS]")


@dataclass(frozen=True, eq=False)
class ModelTokenizer:
    """A tokenizer and what tokenising conversations needs to know of it."""

    name: str
    """Folder, hub name, or "trained on this data"."""
    text: str
    """Its whole tokenizer.json."""
    size: int
    """Largest token id, plus one."""
    eos: int | None
    """End-of-text token, None where it has none."""
    prefix: tuple[int, ...]
    """Ids that it puts before a text itself (BOS)."""
    chat: ChatTemplate | None
    special: Mapping[str, str] = field(default_factory=dict)
    """Its special tokens by their names, bos_token and such."""

    @property
    def made_of(self) -> str:
        """All that the tokens of a text follow from."""
        return repr((self.text, self.eos, self.prefix))

    @cached_property
    def _whole(self) -> Tokenizer:
        return Tokenizer.from_str(self.text)

    def token(self, number: int) -> str:
        """Give a token as the vocabulary has it."""
        return self._whole.id_to_token(number) or ""

    def is_special(self, number: int) -> bool:
        """Whether a token is one of the special ones, such as "</s>"."""
        added = self._whole.get_added_tokens_decoder().get(number)
        return added is not None and added.special

    def encoder(self, *, special: bool) -> Callable[[list[str]], list[Any]]:
        """Give a function that tokenises texts, adding nothing and cutting nothing off.

        ``special``: whether "<|im_end|>" in a text is the special token (chat templates write
        them) or ten ordinary characters. The post-processor is taken out: it moves offsets past
        leading white space, and BOS is added elsewhere, once.
        """
        plain = json.loads(self.text) | {
            "post_processor": None,
            "truncation": None,
            "padding": None,
        }
        tokenizer = Tokenizer.from_str(json.dumps(plain))
        tokenizer.encode_special_tokens = not special
        return lambda texts: list(tokenizer.encode_batch(texts, add_special_tokens=False))


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> ModelTokenizer:
    """Train a byte-level BPE of at most ``vocabulary`` tokens; equal texts give equal bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            min_frequency=2,
            special_tokens=[END_OF_TEXT],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    return trained_tokenizer(tokenizer.to_str())


def trained_tokenizer(text: str) -> ModelTokenizer:
    """Give a tokenizer that ``train_tokenizer`` trained from its text."""
    tokenizer = Tokenizer.from_str(text)
    eos = tokenizer.token_to_id(END_OF_TEXT)
    return ModelTokenizer("trained on this data", text, tokenizer.get_vocab_size(), eos, (), None)


def training_sample(ids: np.ndarray, characters: np.ndarray, limit: int) -> np.ndarray:
    """Choose rows of at most ``limit`` characters together, by a hash of their ids, in id order.

    All rows where they fit; at least one row.
    """
    by_id = np.argsort(ids, kind="stable")
    if int(characters.sum()) <= limit:
        return by_id
    hashes = keyed_hashes("vocabulary", ids.tolist())
    order = by_id[np.argsort(hashes[by_id], kind="stable")]
    fitting = max(int(np.searchsorted(np.cumsum(characters[order]), limit, side="right")), 1)
    chosen = np.zeros(len(ids), dtype=bool)
    chosen[order[:fitting]] = True
    return by_id[chosen[by_id]]


def read_tokenizer(path: Path, name: str) -> ModelTokenizer:
    """Read a tokenizer from a checked folder, or from a tokenizer.json file.

    Only tokenizer.json is needed; special tokens and the chat template come from
    tokenizer_config.json, special_tokens_map.json, chat_template.jinja and config.json, where
    there are such files.

    Raises
    ------
    MissingArtifact
        There is no tokenizer.
    IntegrityError
        Its files cannot be read.
    """
    folder, file = (path, path / "tokenizer.json") if path.is_dir() else (path.parent, path)
    if file.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises plain Exception
            raise IntegrityError(
                f"{file} is not a tokenizer that can be read: {printable(str(error), 200)}"
            ) from error
    else:
        tokenizer = _converted(folder, name)
    known = _json(folder / "tokenizer_config.json") if path.is_dir() else {}
    known = (_json(folder / "special_tokens_map.json") if path.is_dir() else {}) | known
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    special = {
        key: token
        for key in ("bos_token", "eos_token", "unk_token", "pad_token")
        if (token := _content(known.get(key))) in vocabulary
    }
    eos = vocabulary.get(special.get("eos_token", ""))
    if eos is None and path.is_dir():
        eos = _config_eos(folder, vocabulary)
    if eos is None:
        eos = next((vocabulary[end] for end in _USUAL_ENDS if end in vocabulary), None)
    return ModelTokenizer(
        name,
        tokenizer.to_str(),
        max(vocabulary.values()) + 1,
        eos,
        _prefix(tokenizer, known, special, vocabulary),
        _chat_template(folder, known, name, special) if path.is_dir() else None,
        special,
    )


def given_tokenizer(settings: ModelSettings, model: Model | None) -> ModelTokenizer:
    """Read the tokenizer that the settings name, or else a model's own, its template as they say.

    Raises
    ------
    MissingArtifact, IntegrityError, RefusedForSafety
        It is not there, is damaged, or would run code.
    RecipeError
        The template does not read what it is to be given.
    """
    if settings.tokenizer is not None:
        path, _ = locate(settings.tokenizer)
        if path.is_dir():
            check_folder(path, settings.tokenizer, weights=False)
        found = read_tokenizer(path, settings.tokenizer)
    else:
        assert model is not None and model.tokenizer_folder is not None
        found = read_tokenizer(model.tokenizer_folder, model.name)
    return with_template(found, settings)


def with_template(tokenizer: ModelTokenizer, settings: ModelSettings) -> ModelTokenizer:
    """Give a tokenizer the chat template that the settings ask for.

    Raises
    ------
    MissingArtifact
        Its file is not there.
    RecipeError
        It does not read what it is to be given.
    """
    chat = tokenizer.chat
    if settings.template.endswith(".jinja"):
        file = Path(settings.template)
        if not file.is_file():
            raise MissingArtifact(f"template is {printable(str(file), 200)}: there is no such file")
        chat = ChatTemplate(_text(file), str(file), tokenizer.special)
    if chat is not None and settings.template != "alpaca":
        chat = chat.with_arguments(settings.template_arg or {})
        chat = replace(chat, fold_system=settings.fold_system)
    return replace(tokenizer, chat=chat)


def which_template(settings: ModelSettings, tokenizer: ModelTokenizer | None) -> str:
    """Say how prompts are written: "alpaca" or "chat".

    Raises
    ------
    RecipeError
        The settings ask for what the tokenizer does not have.
    """
    chat = tokenizer.chat if tokenizer is not None else None
    if settings.template not in ("auto", "alpaca") and chat is None:
        lacking = "the tokenizer has no chat template" if tokenizer else "there is no tokenizer"
        raise RecipeError(
            f"template is {printable(settings.template)}, but {lacking}. Give --template alpaca, "
            "or a tokenizer with --tokenizer."
        )
    if settings.template == "alpaca" or chat is None:
        if settings.template_arg or settings.fold_system:
            raise RecipeError(
                "template_arg and fold_system belong to chat templates, but the alpaca template is "
                "used. Give a chat template with --template, or leave them out."
            )
        return "alpaca"
    if settings.preamble:
        raise RecipeError(
            "preamble belongs to the alpaca template, but the tokenizer's chat template is used. "
            "Give --template alpaca, or no preamble."
        )
    return "chat"


def _converted(folder: Path, name: str) -> Tokenizer:
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        return Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    except Exception as error:  # any of many, by the kind of tokenizer
        raise MissingArtifact(
            f"{name} has no tokenizer.json, and no other tokenizer there could be converted "
            f"({printable(str(error), 200)}). Give a tokenizer with --tokenizer."
        ) from error


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    content = json.loads(file.read_bytes())
    return content if isinstance(content, dict) else {}


def _content(token: object) -> str:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _config_eos(folder: Path, vocabulary: dict[str, int]) -> int | None:
    eos = _json(folder / "config.json").get("eos_token_id")
    if isinstance(eos, list):
        eos = eos[0] if eos else None
    return eos if isinstance(eos, int) and eos in vocabulary.values() else None


def _prefix(
    tokenizer: Tokenizer,
    known: dict[str, Any],
    special: dict[str, str],
    vocabulary: dict[str, int],
) -> tuple[int, ...]:
    if isinstance(known.get("add_bos_token"), bool):
        bos = vocabulary.get(special.get("bos_token", ""))
        return (bos,) if known["add_bos_token"] and bos is not None else ()
    with_special = tokenizer.encode("a").ids
    without = tokenizer.encode("a", add_special_tokens=False).ids
    for start in range(len(with_special) - len(without) + 1):
        if with_special[start : start + len(without)] == without:
            return tuple(with_special[:start])
    return ()


def _chat_template(
    folder: Path, known: dict[str, Any], name: str, special: dict[str, str]
) -> ChatTemplate | None:
    file, template = folder / "tokenizer_config.json", known.get("chat_template")
    if (alone := folder / "chat_template.jinja").is_file():
        file, template = alone, _text(alone)
    elif (alone := folder / "chat_template.json").is_file():
        file, template = alone, _json(alone).get("chat_template", template)
    if isinstance(template, list):
        named = [(entry["name"], entry["template"]) for entry in template if _is_named(entry)]
        if len(named) == len(template):
            template = dict(named).get("default")
    if template is not None and not isinstance(template, str):
        raise IntegrityError(
            f"{file}: its chat_template is neither a text nor a list of templates, each with a "
            f"name and a template ({printable(json.dumps(template))}). Mend it or take it out."
        )
    return None if template is None else ChatTemplate(template, name, special)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{file} is not UTF-8 text ({error})") from error


def _is_named(entry: object) -> bool:
    """Whether an entry of a list of chat templates is one."""
    return isinstance(entry, dict) and all(
        isinstance(entry.get(key), str) for key in ("name", "template")
    )


def join(
    pieces: list[Piece], encodings: list[Any], prefix: tuple[int, ...], eos: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Put the tokenised pieces of one example together: int32 tokens, bool mask of the completion.

    A token belongs to the completion when it begins inside a learned span. One that begins before
    the span and reaches into it (a merge across the boundary) belongs to the prompt, so that the
    loss is never taken over a token that is partly prompt. What follows the last completion token
    is dropped: no loss depends on it.
    """
    ids: list[int] = []
    learned: list[np.ndarray] = []
    for piece, encoding in zip(pieces, encodings, strict=True):
        found = encoding.ids
        if not ids and tuple(found[: len(prefix)]) != prefix:
            ids += prefix
            learned.append(np.zeros(len(prefix), dtype=bool))
        starts = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)[:, 0]
        inside = np.zeros(len(found), dtype=bool)
        for start, end in piece.spans:
            inside |= (starts >= start) & (starts < end)
        ids += found
        learned.append(inside)
        if piece.ends_turn and eos is not None:
            ids.append(eos)
            learned.append(np.full(1, bool(piece.spans)))
    completion = np.concatenate(learned)
    kept = int(np.flatnonzero(completion)[-1]) + 1 if completion.any() else len(ids)
    return np.array(ids[:kept], dtype=np.int32), completion[:kept]


def check_ids(largest: int, vocabulary: int, tokenizer: str, proxy: str) -> None:
    """Refuse token ids that the model has no embedding for.

    Raises
    ------
    DataError
        ``largest`` is not below ``vocabulary``.
    """
    if largest >= vocabulary:
        raise DataError(
            f"the tokenizer {tokenizer} gives token id {largest}, but {proxy} has a vocabulary of "
            f"{vocabulary}. Give the tokenizer that belongs to it with --tokenizer."
        )
