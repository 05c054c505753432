"""Rows as a model sees them: from the very tokens and masks that it is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from smalltolarge.errors import DataError, harmless, printable
from smalltolarge.examples.shown import Shown, Stretch
from smalltolarge.examples.table import Examples, Message
from smalltolarge.lm.ending import special_tokens
from smalltolarge.lm.rendered import place
from smalltolarge.lm.rendering import Dropped, Rendering
from smalltolarge.lm.tokenized import TEMPLATE_LOSS, Collecting
from smalltolarge.lm.tokenizer import ModelTokenizer
from smalltolarge.lm.tokens import Prepared, Writer, begin, tokenizer_of
from smalltolarge.progress import Progress
from smalltolarge.settings import TrainingSettings

_ENOUGH = 1000
"""Rows that the vocabulary of a model from scratch is learned from, to show some."""


def show(
    examples: Examples,
    settings: TrainingSettings,
    rows: Sequence[int],
    *,
    progress: Progress | None = None,
    check: Callable[[], None] = lambda: None,
) -> list[Shown]:
    """Show rows as a model trained with these settings would see them; no model runs.

    A model from scratch learns its vocabulary from all rows; here it is that of the first 1,000.

    Raises
    ------
    Those of ``prepare`` that do not depend on other rows.
    """
    progress = progress or Progress()
    settings, _, tokenizer, template = begin(examples, settings, progress)
    some = len(examples) if tokenizer else min(_ENOUGH, len(examples))
    if tokenizer is None:
        few = replace(examples, table=examples.table.slice(0, some))
        tokenizer = tokenizer_of(few, settings, progress, check)
    writer = Writer(settings, tokenizer, template)
    notes = []
    if writer.template == "chat" and tokenizer.chat is not None:
        first = next(examples.conversations())
        notes += tokenizer.chat.notes(first, (), partial(place, examples))
    if some < len(examples):
        notes.append(
            f"the vocabulary is that of the first {some:,} rows; a run learns its own from all"
        )
    shown = [_shown(writer, examples, row) for row in rows]
    return [replace(row, notes=(*row.notes, *notes)) for row in shown]


def show_first(examples: Examples, prepared: Prepared) -> Shown:
    """Show the first of the examples that ``prepared`` trains on."""
    return _shown(prepared.writer, examples, int(prepared.tokenized.kept[0]))


def _shown(writer: Writer, examples: Examples, row: int) -> Shown:
    messages: Any = examples.table["messages"][row].as_py()
    conversation = [Message(**turn) for turn in messages]
    where = place(examples, row)
    try:
        rendering = writer.rendering(conversation)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    settings = writer.settings
    tokens, learned = writer.tokens(rendering)
    collecting = Collecting(settings)
    if rendering.loss and settings.on_template_loss == "exclude":
        collecting.leave_out(TEMPLATE_LOSS)
    else:
        collecting.add(tokens, learned)
    found = collecting.finish(())
    if len(found.kept):
        seen, mask = found.tokens, found.completion
    else:
        seen = tokens[: settings.max_length]
        mask = np.zeros(len(seen), dtype=bool)
    notes = [*_missing(conversation, rendering, settings)]
    if len(tokens) > len(seen):
        rest = learned[len(seen) :]
        notes.append(
            f"cut at max_length {settings.max_length:,}: {len(rest):,} more tokens, "
            f"{int(rest.sum()):,} of them to be learned"
        )
    notes += [f"left out of training: {reason}" for _, reason in found.left_out]
    return Shown(
        place=where,
        written_by=_written_by(writer),
        stretches=tuple(_stretches(writer.tokenizer, seen, mask)),
        n_tokens=len(seen),
        n_learned=int(mask.sum()),
        notes=tuple(notes),
    )


def _missing(
    conversation: Sequence[Message], rendering: Rendering, settings: TrainingSettings
) -> Iterator[str]:
    """Say what of a conversation is not in its text, or not learned."""
    for part in rendering.dropped:
        yield f"turn {part.turn + 1} ({part.role}): {part.part} {part.how}{_fate(part, settings)}"
    for i, turn in enumerate(conversation):
        if turn.role == "assistant" and not turn.learned:
            yield f"turn {i + 1} (assistant): context, not to be learned"


def _fate(part: Dropped, settings: TrainingSettings) -> str:
    stops = part.is_loss and settings.on_template_loss == "stop"
    return "; a run stops here (see --on-template-loss)" if stops else ""


def _written_by(writer: Writer) -> str:
    name = printable(writer.tokenizer.name, 200)
    chat = writer.tokenizer.chat
    if writer.template == "alpaca" or chat is None:
        return f'"### Instruction:" headings, tokenizer {name}'
    given = [f"{key}={value}" for key, value in chat.arguments.items()]
    given += ["system texts folded"] if chat.fold_system else []
    told = f" ({printable(', '.join(given), 200)})" if given else ""
    tokenizer = "" if chat.name == writer.tokenizer.name else f", tokenizer {name}"
    return f"chat template of {printable(chat.name, 200)}{told}{tokenizer}"


def _stretches(
    tokenizer: ModelTokenizer, tokens: np.ndarray, mask: np.ndarray
) -> Iterator[Stretch]:
    """Yield the text of the tokens, cut where they change from learned to not, or to special."""
    names, special = Tokenizer.from_str(tokenizer.text), special_tokens(tokenizer)
    kinds = [(bool(mask[place]), int(token) in special) for place, token in enumerate(tokens)]
    end, before = 0, ""
    for (is_learned, is_special), found in groupby(kinds):
        end += len(list(found))
        text = names.decode(tokens[:end].tolist(), skip_special_tokens=False)
        if end < len(tokens):
            text = text.rstrip("\ufffd")  # a character whose bytes go on in the next stretch
        new = text[len(before) :]
        before = text
        if new:
            yield Stretch(harmless(new), is_learned, is_special)
