"""Examples as another trainer is to read them: the text and tokens that a model learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from smalltolarge.errors import MissingArtifact, printable
from smalltolarge.examples.table import Examples
from smalltolarge.lm.folders import check_folder, path_of
from smalltolarge.lm.gguf import find_gguf
from smalltolarge.lm.models import locate
from smalltolarge.lm.rendered import Rendered, ahead, place
from smalltolarge.lm.rendering import Piece
from smalltolarge.lm.tokenizer import (
    ModelTokenizer,
    join,
    read_tokenizer,
    which_template,
    with_template,
)
from smalltolarge.lm.tokens import Writer
from smalltolarge.settings import TargetSettings

_TOKENIZER_FILES = ["*.json", "*.jinja", "*.txt", "*.model"]


@dataclass(frozen=True)
class Written:
    """One example, cut to the longest length."""

    segments: list[tuple[str, bool]]
    """Its text in parts, and whether each is learned."""
    tokens: list[int]
    learned: list[bool]
    """Which tokens are learned; none where all of an answer is cut away."""
    is_truncated: bool


@dataclass(frozen=True, eq=False)
class CutWriter(Writer):
    """Writes examples as our own training of a target cuts and learns them."""

    @property
    def eos(self) -> str:
        """The tokenizer's end-of-text token, or nothing."""
        return "" if self.tokenizer.eos is None else self.tokenizer.token(self.tokenizer.eos)

    @property
    def prefix(self) -> str:
        """What the tokenizer puts before a text (BOS), as text."""
        return "".join(self.tokenizer.token(number) for number in self.tokenizer.prefix)

    def encode(self, texts: list[str]) -> list[int]:
        """Give the tokens of texts, one after another, as other trainers read them."""
        return [token for encoding in self._encode(texts) for token in encoding.ids]

    @cached_property
    def _encode(self) -> Callable[[list[str]], list[Any]]:
        return self.tokenizer.encoder(special=True)

    def write(self, examples: Examples) -> tuple[list[Written | None], list[str]]:
        """Write each example, None for one that the template loses; and say what it leaves out.

        Raises
        ------
        DataError
            The chat template does not take a conversation, or loses something of an answer.
        RefusedForSafety
            It does not finish.
        """
        chat = self.tokenizer.chat if self.template == "chat" else None
        first = next(examples.conversations())
        rendered = Rendered(examples, self.render, self.settings.on_template_loss)
        every = [
            None if pieces is None else self._written(pieces, [next(found) for _ in pieces])
            for chunk, found in ahead(rendered, self.tokenizer.encoder(special=chat is not None))
            for pieces in chunk
        ]
        notes = (
            [] if chat is None else chat.notes(first, rendered.dropped, partial(place, examples))
        )
        return every, notes

    def _written(self, pieces: list[Piece], encodings: list[Any]) -> Written:
        longest = self.settings.max_length
        tokens, learned = join(pieces, encodings, self.tokenizer.prefix, self.tokenizer.eos)
        learned[:1] = False  # nothing predicts the first token
        return Written(
            self._segments(pieces, encodings),
            tokens[:longest].tolist(),
            learned[:longest].tolist(),
            len(tokens) > longest,
        )

    def _segments(self, pieces: list[Piece], encodings: list[Any]) -> list[tuple[str, bool]]:
        parts: list[tuple[str, bool]] = []
        room, prefix = self.settings.max_length, self.tokenizer.prefix
        if tuple(encodings[0].ids[: len(prefix)]) != prefix:
            parts.append((self.prefix, False))
            room -= len(prefix)
        for piece, encoding in zip(pieces, encodings, strict=True):
            ends = [end for _, end in encoding.offsets[: max(room, 0)]]
            kept = len(piece.text) if len(encoding.ids) <= room else max(ends, default=0)
            begun = 0
            for start, end in piece.spans:
                parts.append((piece.text[begun : min(start, kept)], False))
                parts.append((piece.text[start : min(end, kept)], True))
                begun = end
            parts.append((piece.text[begun:kept], False))
            room -= len(encoding.ids)
            if piece.ends_turn and room > 0:
                parts.append((self.eos, bool(piece.spans)))
                room -= 1
        return _joined(parts)


def _joined(parts: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Join neighbours of one kind, and leave out what follows the last learned part."""
    joined: list[tuple[str, bool]] = []
    for text, learned in parts:
        if joined and joined[-1][1] == learned:
            joined[-1] = (joined[-1][0] + text, learned)
        elif text:
            joined.append((text, learned))
    while joined and not joined[-1][1]:
        joined.pop()
    return joined


def cut_writer(settings: TargetSettings, tokenizer: ModelTokenizer) -> CutWriter:
    """Give what writes examples for a target with this tokenizer."""
    return CutWriter(settings, tokenizer, which_template(settings, tokenizer))


def folder_of(model: str) -> str:
    """Give the folder of a model that only we know by its name; other names stay.

    Raises
    ------
    As ``locate``.
    """
    return str(locate(model)[0]) if find_gguf(model) is not None else model


def tokenizer_at_hand(settings: TargetSettings, *, fetch: bool) -> ModelTokenizer | None:
    """Read the tokenizer of a target, without its weights; None where it is not here.

    ``fetch``: a hub model's may be had from the hub; raises ``MissingArtifact`` where it cannot.
    """
    name, revision = settings.tokenizer or settings.target, settings.revision
    path = path_of(folder_of(name))
    if not path.exists():
        from huggingface_hub import snapshot_download

        try:
            path = Path(
                snapshot_download(
                    name,
                    revision=revision,
                    allow_patterns=_TOKENIZER_FILES,
                    local_files_only=not fetch,
                )
            )
        except Exception as error:  # offline, unknown, gated, or no hub name
            if not fetch:
                return None
            cause = str(error).splitlines()[0] if str(error) else repr(error)
            raise MissingArtifact(cause) from error
    try:
        if path.is_dir():
            check_folder(path, name, weights=False)
        return with_template(read_tokenizer(path, printable(name, 300)), settings)
    except MissingArtifact:
        if fetch:
            raise
        return None
