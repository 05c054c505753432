"""The copies of a subset that trainers read, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from smalltolarge.errors import DataError
from smalltolarge.examples import Examples, jinja
from smalltolarge.examples.sniff import stem_of
from smalltolarge.settings import TargetSettings

if TYPE_CHECKING:
    from smalltolarge.lm.texts import CutWriter, Written

Files = dict[Path, bytes]
_AT_ONCE = 8
_NAMED = 5
"""Rows that a note names."""


@dataclass(frozen=True)
class Work:
    """A subset that is made ready for one trainer."""

    subset: Path
    examples: Examples
    settings: TargetSettings
    model: str
    """Its folder or hub name."""
    writer: CutWriter | None
    """None where the tokenizer is neither needed nor at hand."""
    notes: list[str] = field(default_factory=list)

    @property
    def template(self) -> str:
        """How prompts are written: "alpaca" or "chat"."""
        return self.writer.template if self.writer is not None else "alpaca"

    @property
    def stem(self) -> str:
        """The subset's name without its suffixes."""
        return stem_of(self.subset)

    def beside(self, ending: str) -> Path:
        """Name a file beside the subset."""
        return self.subset.with_name(f"{self.stem}.{ending}")

    @property
    def batch(self) -> tuple[int, int]:
        """Examples that go through a model at once, and how often for a step."""
        size = self.settings.batch_size or 128
        at_once = next(number for number in range(min(_AT_ONCE, size), 0, -1) if not size % number)
        return at_once, size // at_once

    def turns(self) -> list[list[dict[str, Any]]]:
        """Give the conversations as messages, which say what was thought and is not learned.

        Where the tokenizer is at hand, those with something to learn within the longest length.
        """
        if self.writer is not None:
            self.note_other_tokens(
                {
                    row: self.writer.encode(["".join(text for text, _ in one.segments)])
                    for row, one in self.kept.items()
                    if not one.is_truncated
                },
                "the text of a special token in a turn is read as that token",
            )
        return [
            [
                {"role": turn.role, "content": turn.content}
                | ({"reasoning_content": turn.reasoning} if turn.reasoning else {})
                | ({} if turn.learned else {"train": False})
                for turn in turns
            ]
            for row, turns in enumerate(self.examples.conversations())
            if self.writer is None or row in self.kept
        ]

    def headings(self) -> Files:
        """Give our headings as a chat template, with what stands before a prompt."""
        bos = "{{ bos_token }}" if self.writer is not None and self.writer.prefix else ""
        preface = jinja.preface(self.settings.preamble)
        template = bos + jinja.written(preface) + jinja.HEADINGS
        return {self.beside("alpaca.jinja"): template.encode()}

    @cached_property
    def kept(self) -> dict[int, Written]:
        """Give the examples with something to learn within the longest length, by number.

        What is cut or left out is noted.
        """
        assert self.writer is not None
        every, notes = self.writer.write(self.examples)
        self.notes.extend(notes)
        longest = self.settings.max_length
        lost = [row for row, one in enumerate(every) if one is None]
        kept = {row: one for row, one in enumerate(every) if one is not None and any(one.learned)}
        nothing = [row for row in range(len(every)) if row not in kept and every[row] is not None]
        cut = [row for row, one in kept.items() if one.is_truncated]
        for rows, what in (
            (cut, f"cut at {longest} tokens"),
            (nothing, f"left out: no learned token within {longest} tokens (--max-length)"),
            (lost, "left out: the chat template loses something of their answers"),
        ):
            if rows:
                self.notes.append(f"{_rows(rows, self.examples)} {what}")
        if not kept:
            raise DataError(f"nothing is left to learn: {self.notes[-1]}")
        return kept

    @property
    def written(self) -> list[Written]:
        """The examples that are kept, as tokens and text."""
        return list(self.kept.values())

    def note_other_tokens(self, read: Mapping[int, list[int]], why: str) -> None:
        """Note the examples that the trainer reads as other tokens than ours, and why."""
        other = [
            row for row, tokens in read.items() if tokens != self.kept[row].tokens[: len(tokens)]
        ]
        if other:
            self.notes.append(f"{_rows(other, self.examples)} get other tokens than ours: {why}")

    def tokens(self) -> list[dict[str, Any]]:
        """Give the examples as tokens, with -100 for those that are not learned."""
        return [
            {
                "input_ids": one.tokens,
                "attention_mask": [1] * len(one.tokens),
                "labels": [
                    token if learned else -100
                    for token, learned in zip(one.tokens, one.learned, strict=True)
                ],
            }
            for one in self.written
        ]

    def stop(self) -> str | None:
        """Give the special token that learned turns end with, unless it ends texts anyway.

        A model generates until that token, so trainers must be told.
        """
        assert self.writer is not None
        tokenizer = self.writer.tokenizer
        ends = {
            token
            for one in self.written
            for token, learned, next_one in _neighbours(one)
            if learned and not next_one and tokenizer.is_special(token)
        }
        return tokenizer.token(ends.pop()) if len(ends) == 1 and tokenizer.eos not in ends else None

    def configuration(self, name: str, command: str, settings: Mapping[str, Any]) -> Files:
        """Give the trainer's configuration, under what is to be known of it."""
        file = self.beside(f"{name}.yaml")
        at_once, times = self.batch
        head = [
            f"{command} {file}",
            "Paths are seen from the folder that s2l export was run in. A batch has "
            f"{at_once * times} examples on one GPU;",
            "on several, divide gradient_accumulation_steps by their number.",
            *self.notes,
        ]
        text = "".join(f"# {line}\n" for line in head)
        return {file: text.encode() + yaml.safe_dump(dict(settings), sort_keys=False).encode()}


def _neighbours(one: Written) -> Iterator[tuple[int, bool, bool]]:
    """Give every token with whether it is learned, and whether the next one is."""
    return zip(one.tokens, one.learned, [*one.learned[1:], False], strict=True)


def _rows(rows: list[int], examples: Examples) -> str:
    """Count rows, and name the first of them as they stand in the file."""
    places = examples.table["row"].take(rows[:_NAMED]).to_pylist()
    named = ", ".join(str(place) for place in places)
    more = ", ..." if len(rows) > _NAMED else ""
    return f"{len(rows)} of {len(examples)} rows (row {named}{more})"
