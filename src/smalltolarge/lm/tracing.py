"""Where the turns of a conversation stand in the text that a chat template writes of it.

A template is a program; what it does is found by trying. Once for every *form* of conversation
(its roles, which turns have reasoning, white space and think tags around their texts) it writes
short marks in place of the texts. That is the form's *skeleton*: literal text, slots for the texts,
which texts are missing, and where each answer begins and ends. The text of a conversation then is
its skeleton filled in, character by character; or else the template looked at the texts, and the
conversation gets a skeleton of its own, with marks around the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from smalltolarge.examples.table import Message
from smalltolarge.lm.rendering import Dropped, Piece, Rendering
from smalltolarge.lm.skeletons import Edges, Marking, Place, Skeleton, Text, Write

_PRIVATE = range(0xE000, 0xF900)
"""Characters that mean nothing: no template looks for them, changes their case or strips them."""
_ALONE = Marking(chr(_PRIVATE[0]), alone=True)
_MOST_FORMS = 4096


class Tracer:
    """Finds the learned parts of the texts that one template writes."""

    def __init__(self, write: Write, *, marks_answers: bool) -> None:
        self._write, self._marks_answers = write, marks_answers
        self._skeletons: dict[tuple[Message, ...], Skeleton | None] = {}
        self._edges: dict[tuple[object, ...], int] = {}

    def trace(self, conversation: Sequence[Message], text: str) -> Rendering:
        """Find the answers of a conversation in the text that the template writes of it."""
        turns, texts = _ALONE.put(conversation)
        if turns not in self._skeletons:
            if len(self._skeletons) == _MOST_FORMS:
                self._skeletons.clear()
            self._skeletons[turns] = self._derived(turns, texts, _ALONE, self._edges)
        skeleton = self._skeletons[turns]
        if skeleton is not None:
            cores = [texts[slot].core for slot in skeleton.slots]
            if skeleton.filled(cores) == text:
                return skeleton.rendering(text, cores)
        return self._by_itself(conversation, text)

    def _by_itself(self, conversation: Sequence[Message], text: str) -> Rendering:
        """Trace a conversation with marks around its answers, all else as it is."""
        used = {letter for turn in conversation for part in turn[1:3] for letter in part}
        free = next(chr(code) for code in _PRIVATE if chr(code) not in used)
        marking = Marking(free, alone=False)
        turns, texts = marking.put(conversation)
        skeleton = self._derived(turns, texts, marking, {})
        dropped = [
            Dropped(i, turn.role, "content", "left out", is_loss=False)
            for i, turn in enumerate(conversation)
            if turn.role != "assistant" and turn.content.strip() not in text
        ]
        if skeleton is None or skeleton.filled(skeleton.bodies) != text:
            dropped += (
                Dropped(i, turn.role, "content", "changed", is_loss=turn.learned)
                for i, turn in enumerate(conversation)
                if turn.role == "assistant"
            )
            return Rendering([Piece(text, (), False)], tuple(dropped))
        found = skeleton.rendering(text, skeleton.bodies)
        return replace(found, dropped=(*dropped, *found.dropped))

    def _derived(
        self,
        turns: tuple[Message, ...],
        texts: Sequence[Text],
        marking: Marking,
        edges: dict[tuple[object, ...], int],
    ) -> Skeleton | None:
        """Derive a skeleton; None where the template does not take marks for texts."""
        try:
            text, generated = self._write(turns, False)
        except Exception:  # it took the conversation itself, so it looks at the texts
            return None
        bare = marking.skeleton(text)
        dropped = [*_missing(turns, texts, bare)]
        if self._marks_answers:
            places = [(marking.place(text, a), marking.place(text, b)) for a, b in generated]
            spans = [span for span in places if _owner(span, turns, texts, bare).learned]
            dropped += _unmarked(turns, texts, bare, spans)
        else:
            spans = Edges(turns, texts, text, marking, self._write, edges).spans()
        return replace(bare, spans=tuple(spans), dropped=tuple(dropped))


def _missing(turns: Sequence[Message], texts: Sequence[Text], bare: Skeleton) -> Iterator[Dropped]:
    """Say which parts of which turns are not there, or not in their own words."""
    bodies = dict(zip(bare.slots, bare.bodies, strict=True))
    gone = {(text.turn, text.part) for n, text in enumerate(texts) if n not in bodies}
    other = {
        (text.turn, text.part)
        for n, text in enumerate(texts)
        if bodies.get(n, "") not in ("", text.core)
    }
    there = {texts[n].turn for n in bodies}
    parts: tuple[Literal["content", "reasoning"], ...] = ("content", "reasoning")
    for i, turn in enumerate(turns):
        to_learn = turn.role == "assistant" and turn.learned
        for part in parts:
            is_loss = to_learn and (part == "content" or i not in there)
            if (i, part) in gone:
                yield Dropped(i, turn.role, part, "left out", is_loss)
            elif (i, part) in other:
                yield Dropped(i, turn.role, part, "changed", is_loss)


def _owner(
    span: tuple[Place, Place], turns: Sequence[Message], texts: Sequence[Text], bare: Skeleton
) -> Message:
    """Give the turn that a part marked by the template belongs to: the last one it reaches."""
    slots = bare.slots[: span[1].slots]
    return turns[texts[slots[-1]].turn if slots else 0]


def _unmarked(
    turns: Sequence[Message],
    texts: Sequence[Text],
    bare: Skeleton,
    spans: Sequence[tuple[Place, Place]],
) -> Iterator[Dropped]:
    """Say which answers are there, but not as what the template marks as generated."""
    marked = {slot for begin, end in spans for slot in bare.slots[begin.slots : end.slots]}
    for slot in dict.fromkeys(bare.slots):
        i, part, _ = texts[slot]
        if turns[i].role == "assistant" and turns[i].learned and slot not in marked:
            yield Dropped(i, turns[i].role, part, "not marked", is_loss=False)
