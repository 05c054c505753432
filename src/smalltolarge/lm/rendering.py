"""A conversation as text, with the places that are learned, and what of it is not in the text.

Two ways: a chat template (``templates``), or "### Instruction:" headings (alpaca, ours). Text and
spans only; nothing is tokenised here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from smalltolarge.examples.jinja import preface
from smalltolarge.examples.table import Message


@dataclass(frozen=True)
class Piece:
    """A run of text that is tokenised as one; pieces of an example never merge into one token."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """Where the learned text begins and ends, in characters."""
    ends_turn: bool
    """Whether the end-of-text token follows; it is learned where a span is."""


@dataclass(frozen=True)
class Dropped:
    """A part of a turn that the text of its conversation does not have, or does not learn."""

    turn: int
    """Which turn, from 0."""
    role: str
    """Whose turn it is."""
    part: Literal["content", "reasoning"]
    """What of the turn."""
    how: Literal["left out", "changed", "not marked"]
    """Not there, there in other words, or there outside the template's own marks of what is
    learned."""
    is_loss: bool
    """Whether it is an answer that was to be learned, or all that was to be learned of one."""


@dataclass(frozen=True)
class Rendering:
    """The text of one conversation."""

    pieces: list[Piece]
    dropped: tuple[Dropped, ...] = ()

    @property
    def loss(self) -> Dropped | None:
        """The first answer that was to be learned and cannot be, if there is one."""
        return next((part for part in self.dropped if part.is_loss), None)


Render = Callable[[Sequence[Sequence[Message]]], Iterator[Rendering]]
"""Writes conversations, one after another."""


def alpaca(conversation: Sequence[Message], preamble: str = "") -> Rendering:
    """Write a conversation under "### Instruction:" and "### Response:" headings.

    A piece ends where an assistant turn ends, since the end-of-text token stands there. What comes
    after the last assistant turn is left out: no loss depends on it.
    """
    text = preface(preamble)
    pieces = []
    for role, content, reasoning, learned in conversation:
        if role == "assistant":
            text += "### Response:\n"
            answer = f"<think>\n{reasoning}\n</think>\n\n{content}" if reasoning else content
            spans = ((len(text), len(text) + len(answer)),) if learned else ()
            pieces.append(Piece(text + answer, spans, True))
            text = "\n\n"
        elif role == "system":
            text += f"{content}\n\n"
        else:
            heading = "Tool" if role == "tool" else "Instruction"
            text += f"### {heading}:\n{content}\n\n"
    return Rendering(pieces)
