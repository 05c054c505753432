"""Conversations with marks in place of their texts, or around them, as a template writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from typing import Literal, NamedTuple

from smalltolarge.examples.table import Message
from smalltolarge.lm.rendering import Dropped, Piece, Rendering

Generated = list[tuple[int, int]]
Write = Callable[[Sequence[Message], bool], tuple[str, Generated]]
"""Writes turns by a template, with or without what comes before an answer, and says which parts of
the text the template itself marks as what a model generates."""

_TAG = re.compile("(</?think>)")
_UNIT = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]|.", re.DOTALL)
"""What is never cut in two: a marker such as <|im_end|> or [/INST], or else a character."""


class Text(NamedTuple):
    """A text of a turn, without the white space around it."""

    turn: int
    part: Literal["content", "reasoning"]
    core: str


class Place(NamedTuple):
    """A place in a skeleton: after so many slots, and so many characters of literal text."""

    slots: int
    literal: int


@dataclass(frozen=True)
class Skeleton:
    """Literal text and slots by turns; literals begin and end it."""

    literals: tuple[str, ...]
    slots: tuple[int, ...]
    """Which text stands there, by its number in the conversation."""
    bodies: tuple[str, ...]
    """What stands between the marks around it; empty where the mark is in place of the text."""
    spans: tuple[tuple[Place, Place], ...] = ()
    """Where learned text begins and ends."""
    dropped: tuple[Dropped, ...] = ()

    def filled(self, texts: Sequence[str]) -> str:
        """Give the text with one text for each slot."""
        parts = [self.literals[0]]
        for text, literal in zip(texts, self.literals[1:], strict=True):
            parts += (text, literal)
        return "".join(parts)

    def rendering(self, text: str, texts: Sequence[str]) -> Rendering:
        """Give what ``filled`` gave, with its learned spans."""
        before = list(accumulate(map(len, texts), initial=0))
        spans = tuple(
            (begin.literal + before[begin.slots], end.literal + before[end.slots])
            for begin, end in self.spans
        )
        return Rendering([Piece(text, spans, False)], self.dropped)


@dataclass(frozen=True)
class Marking:
    """Marks: a number between two of a character that the conversation does not have."""

    character: str
    alone: bool
    """In place of the texts of every turn; else around the texts of assistant turns only."""

    def put(self, conversation: Sequence[Message]) -> tuple[tuple[Message, ...], list[Text]]:
        """Mark the texts of a conversation; their numbers are their places in the list.

        White space around a text and think tags stay as they are: templates look at them.
        """
        texts: list[Text] = []
        turns = []
        for i, turn in enumerate(conversation):
            if turn.role == "assistant":
                reasoning = self._put(turn.reasoning, i, texts, is_reasoning=True)
                parts = _TAG.split(turn.content) if "think>" in turn.content else [turn.content]
                content = "".join(
                    part
                    if place % 2
                    else self._put(part, i, texts, parts[place + 1 : place + 2] == ["</think>"])
                    for place, part in enumerate(parts)
                )
                turns.append(Message(turn.role, content, reasoning, turn.learned))
            elif self.alone:
                turns.append(Message(turn.role, self._put(turn.content, i, texts)))
            else:
                turns.append(turn)
        return tuple(turns), texts

    def _put(self, text: str, turn: int, texts: list[Text], is_reasoning: bool = False) -> str:
        core = text.strip()
        if not core:
            return text
        mark = f"{self.character}{len(texts)}{self.character}"
        texts.append(Text(turn, "reasoning" if is_reasoning else "content", core))
        marked = mark if self.alone else f"{mark}{core}{mark}"
        begin = len(text) - len(text.lstrip())
        return text[:begin] + marked + text[begin + len(core) :]

    def skeleton(self, text: str) -> Skeleton:
        """Take a marked text apart."""
        literals, slots, bodies = [], [], []
        after = 0
        for slot, begin, end, body in self._slots(text):
            literals.append(text[after:begin])
            slots.append(slot)
            bodies.append(body)
            after = end
        literals.append(text[after:])
        return Skeleton(tuple(literals), tuple(slots), tuple(bodies))

    def place(self, text: str, at: int) -> Place:
        """Give the place of a character of a marked text."""
        before = list(takewhile(lambda slot: slot[2] <= at, self._slots(text)))
        return Place(len(before), at - sum(end - begin for _, begin, end, _ in before))

    def _slots(self, text: str) -> list[tuple[int, int, int, str]]:
        """Find number, begin, end and body of the slots. A mark without its twin is none."""
        c = self.character
        pattern = f"{c}(\\d+){c}" if self.alone else f"{c}(\\d+){c}(.*?){c}\\1{c}"
        return [
            (int(found[1]), found.start(), found.end(), "" if self.alone else found[2])
            for found in re.finditer(pattern, text, re.DOTALL)
        ]


@dataclass(frozen=True)
class Edges:
    """Where the answers of a marked conversation begin and end in its skeleton.

    An answer begins after the header that the template writes to ask for it, and takes in the
    template's own end of the turn, not the white space after that. How the text before and after
    an answer is divided is tried once and remembered in ``known``.
    """

    turns: Sequence[Message]
    texts: Sequence[Text]
    text: str
    """The marked text."""
    marking: Marking
    write: Write
    known: dict[tuple[object, ...], int]

    def spans(self) -> list[tuple[Place, Place]]:
        """Give the span of every learned turn that is there."""
        bare = self.marking.skeleton(self.text)
        owners = [self.texts[slot].turn for slot in bare.slots]
        before = list(accumulate(map(len, bare.literals), initial=0))
        spans = []
        for i, turn in enumerate(self.turns):
            if turn.role != "assistant" or not turn.learned:
                continue
            if i in owners:
                last = len(owners) - 1 - owners[::-1].index(i)
                first = last
                while first and owners[first - 1] == i:
                    first -= 1
                begin = Place(first, before[first] + self._begin(i, first, bare))
                end = Place(last + 1, before[last + 1] + self._end(i, last, bare))
                spans.append((begin, end))
            elif not any(text.turn == i for text in self.texts):
                spans += self._empty(i)
        return spans

    def _begin(self, turn: int, first: int, bare: Skeleton) -> int:
        """Say how much of the text before a turn's first slot comes before the answer."""
        region, previous = bare.literals[first], bare.slots[first - 1 : first]
        since = self.texts[previous[0]].turn if previous else -1
        roles = tuple(other.role for other in self.turns[max(since, 0) : turn])
        key = ("begin", region, since < 0, roles)
        if key not in self.known:
            self.known[key] = self._tried_begin(turn, region, previous)
        return self.known[key]

    def _tried_begin(self, turn: int, region: str, previous: tuple[int, ...]) -> int:
        asked, plain = self._after(turn, previous, True), self._after(turn, previous, False)
        if asked is not None and region.startswith(asked):
            return len(asked)
        goes_on = asked is not None and plain is not None and asked.startswith(plain)
        header = str(asked).removeprefix(str(plain)) if goes_on else ""
        follows = goes_on and region.startswith(str(plain))
        start = len(str(plain)) if follows else 0
        units = _UNIT.findall(header or self._header())
        for n in range(len(units), 0, -1):  # as much of the header as there is
            written = "".join(units[:n])
            if follows and region.startswith(written, start):
                return start + len(written)
            if (n == len(units) or len(units[n - 1]) > 1) and written in region[start:]:
                at = region.rindex(written) + len(written)
                return at + _common("".join(units[n:]), region[at:])
        return start if follows else len(region)

    def _end(self, turn: int, last: int, bare: Skeleton) -> int:
        """Say how much of the text after a turn's last slot still belongs to the answer."""
        region, following = bare.literals[last + 1], bare.slots[last + 1 : last + 2]
        until = self.texts[following[0]].turn if following else len(self.turns)
        roles = tuple(other.role for other in self.turns[turn + 1 : until + 1])
        key = ("end", region, not following, roles)
        if key not in self.known:
            self.known[key] = self._tried_end(turn, region, bare.slots[last], until)
        return self.known[key]

    def _tried_end(self, turn: int, region: str, slot: int, until: int) -> int:
        closed = self._after(turn + 1, (slot,), False)
        if closed is None:
            return 0
        ends = region[: _common(closed, region)].rstrip()
        if ends or not closed.strip() or until == len(self.turns):
            return len(ends)
        # The end differs when turns follow: it is what comes before the header of the next turn,
        # which begins like an answer's, or like a conversation of the next turn alone.
        opens = _UNIT.match(self._header())
        if opens is not None and len(opens[0]) > 1 and opens[0] in region:
            return len(region[: region.index(opens[0])].rstrip())
        opened = self._before(until)
        rest = region[: len(region) - _common(opened, region, from_end=True)] if opened else ""
        return len(rest.rstrip())

    def _empty(self, turn: int) -> list[tuple[Place, Place]]:
        """Give the span of a turn without any text, where the template only ever adds text."""
        asked, through = self._written(turn, True), self._written(turn + 1, False)
        if asked is None or through is None or not through.startswith(asked):
            return []
        if not self.text.startswith(through):
            return []
        ends = max(len(through.rstrip()), len(asked))
        return [(self.marking.place(self.text, len(asked)), self.marking.place(self.text, ends))]

    def _after(self, turn: int, slots: tuple[int, ...], prompt: bool) -> str | None:
        """Give what the turns before ``turn`` have after their last slot, if it is that one."""
        text = self._written(turn, prompt)
        bare = None if text is None else self.marking.skeleton(text)
        return bare.literals[-1] if bare is not None and bare.slots[-1:] == slots else None

    def _before(self, turn: int) -> str:
        """Give what a conversation of this turn alone has before its first slot."""
        try:
            bare = self.marking.skeleton(self.write(self.turns[turn : turn + 1], False)[0])
        except Exception:  # it does not take one without what came before
            return ""
        return bare.literals[0] if bare.slots else ""

    def _written(self, turn: int, prompt: bool) -> str | None:
        if turn == len(self.turns) and not prompt:
            return self.text
        try:
            return self.write(self.turns[:turn], prompt)[0]
        except Exception:  # it does not take a conversation that ends there
            return None

    def _header(self) -> str:
        """Give what the template writes to ask for the first answer."""
        question = [Message("user", "?")]
        try:
            plain, asked = self.write(question, False)[0], self.write(question, True)[0]
        except Exception:  # it takes no such conversation
            return ""
        return asked.removeprefix(plain) if asked.startswith(plain) else ""


def _common(one: str, other: str, *, from_end: bool = False) -> int:
    """Count the characters that two texts begin with (end with) alike, no marker cut in two."""
    step = -1 if from_end else 1
    pairs = zip(_UNIT.findall(one)[::step], _UNIT.findall(other)[::step], strict=False)
    return sum(len(a) for a, b in takewhile(lambda pair: pair[0] == pair[1], pairs))
