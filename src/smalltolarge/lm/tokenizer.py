"""The proxy's tokenizer: read from a folder, or a byte-level BPE trained on the user's data."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from smalltolarge.errors import (
    DataError,
    IntegrityError,
    MissingArtifact,
    RecipeError,
    RefusedForSafety,
    printable,
)
from smalltolarge.lm.child import NotDone, in_child
from smalltolarge.lm.folders import (
    check_folder,
    check_named_files,
    check_size,
    read_json,
    read_text,
)
from smalltolarge.lm.models import Model, locate
from smalltolarge.lm.plan import keyed_hashes
from smalltolarge.lm.rendering import Piece
from smalltolarge.lm.templates import ChatTemplate
from smalltolarge.settings import ModelSettings

END_OF_TEXT = "<|endoftext|>"
TRAINING_BYTES = 20_000_000
"""Characters of text that a vocabulary is learned from, at most."""
_SECONDS, _SECONDS_A_CHARACTER = 60, 2e-5
"""How long is waited for tokens: a hundred times as long as they usually take."""
_MOST_GROWTH = 64
_LARGEST_ID = 2**24
_PROBES = [
    "What is 2 + 3?\nIt is 5.",
    *(letter * 100 for letter in "a \n0-.é夏🌞"),
    "".join(map(chr, range(32, 127))),
    "ab " * 100,
]
"""Texts that every tokenizer is tried on."""
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
        leading white space, and BOS is added elsewhere, once. What it gives raises ``DataError``
        where the tokenizer does not take a text, and ``RefusedForSafety`` where it does not finish.
        """
        plain = json.loads(self.text) | {
            "post_processor": None,
            "truncation": None,
            "padding": None,
        }
        tokenizer = Tokenizer.from_str(json.dumps(plain))
        tokenizer.encode_special_tokens = not special

        def encode(texts: list[str]) -> list[Any]:
            seconds = _SECONDS + _SECONDS_A_CHARACTER * sum(map(len, texts))
            work = partial(tokenizer.encode_batch, texts, add_special_tokens=False)
            return list(_within(seconds, work, self.name))

        return encode


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


def read_tokenizer(path: Path, name: str, rows: Sequence[str] = ()) -> ModelTokenizer:
    """Read a tokenizer from a checked folder, or from a tokenizer.json file.

    Only tokenizer.json is needed; special tokens and the chat template come from
    tokenizer_config.json, special_tokens_map.json, chat_template.jinja and config.json, where
    there are such files. It is tried first in a child, on texts of our own and on ``rows``.

    Raises
    ------
    MissingArtifact
        There is no tokenizer.
    IntegrityError
        Its files cannot be read.
    RefusedForSafety
        It takes too long or too much memory, or ends the process.
    """
    folder, file = (path, path / "tokenizer.json") if path.is_dir() else (path.parent, path)
    if file.is_file():
        check_size(file)
        _tried(file, name, rows)
        tokenizer = Tokenizer.from_file(str(file))
    else:
        check_named_files(folder)
        tokenizer = Tokenizer.from_str(_tried(folder, name, rows))
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
        bos_of(tokenizer, known, special, vocabulary),
        _chat_template(folder, known, name, special) if path.is_dir() else None,
        special,
    )


def given_tokenizer(
    settings: ModelSettings, model: Model | None, rows: Sequence[str] = ()
) -> ModelTokenizer:
    """Read the tokenizer that the settings name, or else a model's own, its template as they say.

    ``rows`` are texts that it is tried on.

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
        found = read_tokenizer(path, printable(settings.tokenizer, 300), rows)
    else:
        assert model is not None and model.tokenizer_folder is not None
        found = read_tokenizer(model.tokenizer_folder, model.name, rows)
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
        chat = ChatTemplate(read_text(file), str(file), tokenizer.special)
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


def _tried(path: Path, name: str, rows: Sequence[str]) -> str:
    """Read a tokenizer in the child and have it read texts there; raises as ``read_tokenizer``.

    Gives its tokenizer.json where ``path`` is a folder that has none.
    """
    answers = _read_in_child(str(path.absolute()), [_PROBES, list(rows)])
    for answer in answers:
        if isinstance(answer, RefusedForSafety):
            raise RefusedForSafety(
                f"the tokenizer of {name} {answer} on texts that it was tried on. Give another "
                "with --tokenizer."
            )
        if isinstance(answer, NotDone):
            reason = printable(answer.reason, 200)
            if path.is_dir():
                raise MissingArtifact(
                    f"{name} has no tokenizer.json, and no other tokenizer there could be "
                    f"converted ({reason}). Give a tokenizer with --tokenizer."
                )
            raise IntegrityError(
                f"{printable(str(path), 300)} is not a tokenizer that can be read: {reason}"
            )
    return str(answers[0])


@in_child(30, 4096)
def _read_in_child(path: str) -> Callable[[list[str]], str]:
    """Give what reads texts by the tokenizer of a file or folder, in the child."""
    if Path(path).is_dir():
        from transformers import AutoTokenizer

        loaded = AutoTokenizer.from_pretrained(path, trust_remote_code=False, local_files_only=True)
        text: str = loaded.backend_tokenizer.to_str()
        tokenizer = Tokenizer.from_str(text)
    else:
        text, tokenizer = "", Tokenizer.from_file(path)
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder)
    times = math.prod(_growth(json.loads(part.__getstate__())) for part in parts if part)
    if times > _MOST_GROWTH:
        raise ValueError(f"it may make a text {times:g} times as long")
    numbers = tokenizer.get_vocab(with_added_tokens=True).values()
    if max(numbers, default=0) > _LARGEST_ID:
        raise ValueError(f"it has token ids above {_LARGEST_ID:,}")
    if not numbers:
        raise ValueError("it has no tokens")
    tokenizer.to_str()
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def read(texts: list[str]) -> str:
        for special in (False, True):
            tokenizer.encode_special_tokens = special
            for ids in [found.ids for found in tokenizer.encode_batch(["a", *texts])]:
                tokenizer.decode(ids[:1000])
        return text

    return read


def _growth(part: object) -> float:
    """Say how many times as long the replacements in a part of a tokenizer may make a text."""
    if isinstance(part, list):
        return math.prod(map(_growth, part))
    if not isinstance(part, dict):
        return 1
    if part.get("type") == "Replace":
        pattern, content = part["pattern"], len(part["content"])
        return max(1, content / max(len(pattern["String"]), 1) if "String" in pattern else content)
    return math.prod(map(_growth, part.values()))


def _within(seconds: float, work: Callable[[], Any], name: str) -> Any:
    """Do what calls the tokenizers library, and wait no longer than ``seconds`` for it."""
    done: list[Any] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # a panic in Rust is no Exception
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise DataError(
            f"the tokenizer of {name} does not take these texts "
            f"({printable(str(raised[0]), 200)}). Give another with --tokenizer."
        ) from raised[0]
    if not done:
        raise RefusedForSafety(
            f"the tokenizer of {name} did not finish within {seconds:.0f} s. Give another with "
            "--tokenizer."
        )
    return done[0]


def _json(file: Path) -> dict[str, Any]:
    content = read_json(file) if file.is_file() else {}
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


def bos_of(
    tokenizer: Tokenizer,
    known: dict[str, Any],
    special: dict[str, str],
    vocabulary: dict[str, int],
) -> tuple[int, ...]:
    if isinstance(known.get("add_bos_token"), bool):
        bos = vocabulary.get(special.get("bos_token", ""))
        return (bos,) if known["add_bos_token"] and bos is not None else ()
    tokenizer.no_padding()
    tokenizer.no_truncation()
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
        file, template = alone, read_text(alone)
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
