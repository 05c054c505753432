"""How a trainer wrote our examples as tokens, found from the first that it has.

Losses say something of a training only where they are of the tokens that it learns. Trainers write
the same rows in different ways: our own, and those of TRL for rows of messages, of prompts with
completions, and of texts. A way is taken only if it gives the trainer's own tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from smalltolarge.errors import DataError, printable
from smalltolarge.examples.table import Examples, Message
from smalltolarge.lm.rendered import place
from smalltolarge.lm.tokenized import Collecting, Tokenized
from smalltolarge.settings import TrainingSettings

IGNORED = -100
"""The label of a token that is not learned."""
_FIRST = 8
"""Sequences of a trainer that are looked at, in its first rows."""
_ROWS = 64
_CANDIDATES = 3
"""Examples that are tried for a sequence: of those whose texts stand in it, the longest."""

Tokens = tuple[np.ndarray, np.ndarray]
"""Token ids (l,), and which are learned, bool (l,), up to the last that is."""


@dataclass(frozen=True)
class Way:
    """A way of writing examples as tokens."""

    name: str
    tokenised: Callable[[Examples], Tokenized]


def ways_of_trl(tokenizer: Any, settings: TrainingSettings) -> list[Way]:
    """Give the ways of TRL's SFTTrainer, by the tokenizer that a training has.

    A completion is all that comes after the prompt, a line break after the end of its turn too; of
    messages alone, everything is learned. Texts are one after the other, and then the end of text.
    """
    kinds = {"completion by the chat template": (_chat, True), "chat template": (_chat, False)}
    if not getattr(tokenizer, "chat_template", None):
        kinds = {}
    kinds |= {"completion after the prompt's text": (_text, True), "text": (_text, False)}
    return [
        Way(name, partial(_tokenised, settings, partial(write, tokenizer, completion)))
        for name, (write, completion) in kinds.items()
    ]


def way_of_rows(rows: Any, examples: Examples, settings: TrainingSettings) -> Way:
    """Give the way of a trainer's own rows: ``input_ids`` and ``labels`` for every example.

    Raises
    ------
    DataError
        They are not as many as the examples.
    """
    if len(rows) != len(examples):
        raise DataError(
            f"tokens has {len(rows):,} rows, and there are {len(examples):,} examples: needed is a "
            "row with input_ids and labels for each, in their order"
        )
    row_of = {name: row for row, name in enumerate(examples.ids.tolist())}

    def tokenised(some: Examples) -> Tokenized:
        collected = Collecting(settings)
        for name in some.ids.tolist():
            found = _tokens(rows[row_of[name]])
            if found is None:
                raise DataError(f"tokens, row {row_of[name]}: there are no input_ids")
            collected.add(*found)
        return collected.finish(())

    return Way("given", tokenised)


def first_sequences(data: Any, longest: int) -> list[Tokens]:
    """Give the first sequences of a trainer's data, none that may be cut at ``longest``.

    Packed rows are taken apart where they say how. None come of data that is no list of rows with
    ``input_ids``.
    """
    found: list[Tokens] = []
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        return found
    for number in range(min(len(data), _ROWS)):
        row = data[number]
        tokens = _tokens(row)
        if tokens is None:
            break
        for start, end in _bounds(row, len(tokens[0])):
            if end - start < longest and tokens[1][start + 1 : end].any():
                found.append(_ended(tokens[0][start:end], tokens[1][start:end]))
    return found[:_FIRST]


def find_way(
    ways: Sequence[Way], examples: Examples, sequences: Sequence[Tokens], tokenizer: Any
) -> Way:
    """Give the first way that writes a trainer's sequences as the trainer does.

    Sequences of no example are passed over: a training may have other rows, too.

    Raises
    ------
    DataError
        None does; says what the trainer learns and what would be learned here. Or no sequence is
        of an example.
    """
    alike = _alike(examples, [tokenizer.decode(ids) for ids, _ in sequences])
    known = [(found, rows) for found, rows in zip(sequences, alike, strict=True) if rows]
    if not known:
        start = printable(tokenizer.decode(sequences[0][0]), 100)
        raise DataError(
            f"none of the first {len(sequences)} sequences of the trainer is an example of these: "
            f"in none are an example's prompt and answer (the first begins {start!r}). Give the "
            "recorder the data that is trained on."
        )
    rows = sorted({row for _, some in known for row in some})
    part = replace(examples, table=examples.table.take(rows))
    told = []
    for way in ways:
        try:
            made = way.tokenised(part)
        except Exception as error:  # any of many, by what a template does not take
            told.append(f"{way.name}: {printable(str(error), 200)}")
            continue
        written = {
            rows[number]: _ended(made.tokens[start:end], made.completion[start:end])
            for number, start, end in zip(
                made.kept.tolist(), made.offsets, made.offsets[1:], strict=False
            )
        }
        other = next((pair for pair in known if not _is_any(pair, written)), None)
        if other is None:
            return way
        row = other[1][0]
        ours = written.get(row, (np.zeros(0), np.zeros(0, dtype=bool)))
        told.append(
            f"{way.name}: the trainer learns {_said(other[0])} of {place(examples, row)}, and here "
            f"it would be {_said(ours)}"
        )
    raise DataError(
        "the trainer's tokens are not those of any way of writing them that is known here, so the "
        "losses would be of other tokens than are trained:\n  " + "\n  ".join(told) + "\nGive the "
        "template that it trains with (template=), or its own tokens (tokens=): rows with "
        "input_ids and labels, one for each example."
    )


def _said(tokens: Tokens) -> str:
    return f"{int(tokens[1].sum()):,} of {len(tokens[0]):,} tokens"


def _is_any(pair: tuple[Tokens, list[int]], written: dict[int, Tokens]) -> bool:
    (ids, learned), rows = pair
    return any(
        np.array_equal(ids, written[row][0]) and np.array_equal(learned, written[row][1])
        for row in rows
        if row in written
    )


def _alike(examples: Examples, texts: Sequence[str]) -> list[list[int]]:
    """Give, for each text, rows whose last prompt and answer stand in it, the longest first."""
    found: list[list[tuple[int, int]]] = [[] for _ in texts]
    for row, turns in enumerate(examples.conversations()):
        said = [turns[-1].content.strip()]
        said += [turn.content.strip() for turn in turns if turn.role == "user"][-1:]
        for text, rows in zip(texts, found, strict=True):
            if all(part in text for part in said):
                rows.append((-sum(map(len, said)), row))
    return [[row for _, row in sorted(rows)[:_CANDIDATES]] for rows in found]


def _tokens(row: Any) -> Tokens | None:
    """Read a row of a trainer; without labels or masks all of it is learned."""
    if "input_ids" not in row:
        return None
    ids = np.asarray(row["input_ids"], dtype=np.int64)
    learned = np.ones(len(ids), dtype=bool)
    if row.get("labels") is not None:
        learned = np.asarray(row["labels"]) != IGNORED
    else:
        for name in ("completion_mask", "assistant_masks"):
            if row.get(name) is not None:
                learned &= np.asarray(row[name]).astype(bool)
    return ids.astype(np.int32), learned


def _bounds(row: Any, length: int) -> Iterator[tuple[int, int]]:
    """Give where the sequences of a packed row begin and end; a row that is not packed is one."""
    if row.get("seq_lengths") is not None:
        ends = np.cumsum(np.asarray(row["seq_lengths"], dtype=np.int64)).tolist()
    elif row.get("position_ids") is not None:
        ends = [*np.flatnonzero(np.asarray(row["position_ids"]) == 0)[1:].tolist(), length]
    else:
        ends = [length]
    yield from zip([0, *ends], ends, strict=False)


def _ended(ids: np.ndarray, learned: np.ndarray) -> Tokens:
    """Leave out what follows the last learned token; nothing predicts the first."""
    learned = learned.copy()
    learned[:1] = False
    end = int(np.flatnonzero(learned)[-1]) + 1
    return ids[:end], learned[:end]


def _tokenised(
    settings: TrainingSettings,
    write: Callable[[Sequence[Message]], tuple[list[int], int]],
    examples: Examples,
) -> Tokenized:
    collected = Collecting(settings)
    for turns in examples.conversations():
        ids, prompt = write(turns)
        collected.add(np.array(ids, dtype=np.int32), np.arange(len(ids)) >= prompt)
    return collected.finish(())


def _chat(tokenizer: Any, completion: bool, turns: Sequence[Message]) -> tuple[list[int], int]:
    """Give the tokens of a conversation and how many come before what is learned."""

    def ids(some: list[dict[str, str]], **asked: Any) -> list[int]:
        text = tokenizer.apply_chat_template(some, tokenize=False, **asked)
        found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    said = [
        {"role": turn.role, "content": turn.content}
        | ({"reasoning_content": turn.reasoning} if turn.reasoning else {})
        for turn in turns
    ]
    before = len(ids(said[:-1], add_generation_prompt=True)) if completion else 0
    return ids(said), before


def _text(tokenizer: Any, completion: bool, turns: Sequence[Message]) -> tuple[list[int], int]:
    """Give the tokens of texts one after another and how many come before what is learned."""
    prompt, end = "".join(turn.content for turn in turns[:-1]), tokenizer.eos_token or ""
    answer = turns[-1].content
    whole = prompt + answer + ("" if end and answer.endswith(end) else end)
    before = len(tokenizer(prompt)["input_ids"]) if completion else 0
    return tokenizer(whole)["input_ids"], before
