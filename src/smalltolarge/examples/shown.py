"""A row as a model sees it: its text, what of it is learned, what is cut off, what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

OPEN, CLOSE = "⟦", "⟧"
"""What stands around learned text where there are no colours."""
_LINES, _CHARACTERS = (4, 4), (110, 40)
"""At the beginning and at the end of a row, and of a line of it, that is shown in short."""


@dataclass(frozen=True)
class Stretch:
    """Text of one kind in a row."""

    text: str
    is_learned: bool
    is_special: bool = False
    """Whether it is of special tokens, which text of the data looks like at most."""


@dataclass(frozen=True)
class Shown:
    """One row as a model sees it; ``str`` gives it as text, with marks around what is learned."""

    place: str
    """File, row and id."""
    written_by: str
    """The template and the tokenizer."""
    stretches: tuple[Stretch, ...]
    """The text of its tokens, up to the cut, in order."""
    n_tokens: int
    """Tokens up to the cut."""
    n_learned: int
    """How many of them are learned."""
    notes: tuple[str, ...] = ()
    """What of the row is not there or not learned, and why."""

    @property
    def heading(self) -> str:
        """Where it stands, how it is written, and how long it is."""
        return (
            f"{self.place}\n{self.written_by}: {self.n_tokens:,} tokens, {self.n_learned:,} learned"
        )

    def __str__(self) -> str:
        marked = "".join(stretch.text for stretch in self.marked())
        return "\n".join([self.heading, *(f"  {line}" for line in marked.split("\n")), *self.notes])

    def marked(self) -> Iterator[Stretch]:
        """Yield the stretches with marks around those that are learned."""
        for is_learned, found in groupby(self.stretches, lambda stretch: stretch.is_learned):
            if is_learned:
                yield Stretch(OPEN, is_learned)
            yield from found
            if is_learned:
                yield Stretch(CLOSE, is_learned)

    def in_short(self) -> Shown:
        """Give it with a few lines of text at most: their beginning and their end."""
        text = "".join(stretch.text for stretch in self.stretches)
        kinds = [
            replace(stretch, text="") for stretch in self.stretches for _ in stretch.text
        ]  # of each character
        lines = text.split("\n")
        starts = [0]
        for line in lines:
            starts.append(starts[-1] + len(line) + 1)
        kept: list[Stretch] = []
        for number in _ends(range(len(lines)), _LINES):
            if number is None:
                hidden_last = starts[-1 - _LINES[1]] - 1
                kept.append(Stretch("…\n", kinds[hidden_last].is_learned))
                continue
            characters = range(starts[number], min(starts[number + 1], len(text)))
            for place in _ends(characters, _CHARACTERS):
                kept.append(
                    Stretch(" … ", kept[-1].is_learned)
                    if place is None
                    else replace(kinds[place], text=text[place])
                )
        joined = (
            replace(kind, text="".join(stretch.text for stretch in found))
            for kind, found in groupby(kept, lambda stretch: replace(stretch, text=""))
        )
        return replace(self, stretches=tuple(joined))


def _ends(places: range, most: tuple[int, int]) -> Iterator[int | None]:
    """Yield the places; of too many, the first, None, and the last."""
    first, last = most
    if len(places) <= first + last:
        yield from places
    else:
        yield from places[:first]
        yield None
        yield from places[-last:]
