r"""One row as one conversation, and its id.

Every layout comes down to the same (role, content) turns, with roles system, user, assistant and
tool; texts are taken exactly as they are.

alpaca, instruction-response
    user: the instruction, then ``"\n\n"`` and the input where that is not blank; assistant: the
    output. Rounds of a history come before them.
prompt-completion
    user: the prompt; assistant: the completion. Either may be a list of messages instead; those of
    the completion are assistant or tool turns, the first an assistant's.
messages, sharegpt
    The turns, with their roles in our words (``ROLES``), whatever their case. ``content`` may be a
    list of text parts, which are joined, with parts of reasoning before them. Tool calls of an
    assistant turn follow its text, each on a line of its own, as
    ``{"name": ..., "arguments": ...}`` with the arguments' keys sorted and what ``nested`` says of
    padding. A list of turns may be held as JSON text. Turns after the last
    assistant turn teach nothing and are left out; how many rows had some is logged.
system, tools
    A system column that is not blank becomes the first turn, as system; a tools column with
    anything in it follows the system text after ``"\n\n"``, or stands alone, as its JSON text.
    A blank system turn is none.

Allowed: a system turn first, and only there; a tool turn after an assistant or tool turn; several
turns of one role in a row. A prompt, user turn or completion that is blank makes the row unusable.

An assistant turn is learned unless a key of ``keys.TABLE`` says that it is not, or nothing is
before it: then it answers nothing. A row in which no turn is learned is unusable.

The id is the BLAKE2b digest of 16 bytes, in hexadecimal, of every turn's role (its length as one
byte, its name) and content (its length as 8 little-endian bytes, its UTF-8), followed by the
occurrence as 8 little-endian bytes: 0 for the first row with these turns, 1 for the next. Reasoning
that is not empty is written before its turn, as if of a role "reasoning"; the role of an assistant
turn that is not learned is written "assistant, not learned".

Rows with equal turns are counted by the BLAKE2b digest of 16 bytes of the row itself, then by
position: of its bytes where it has some (JSONL, JSON, CSV, unpacked), else of its columns, sorted,
with their values as Python's ``ascii`` writes them. So which row has which id does not follow the
order of the files; rows that are equal byte for byte are the same row to anybody.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from smalltolarge.examples.json_rows import DECODER, Duplicated, without_surrogates
from smalltolarge.examples.keys import (
    CONVERSATION,
    IN_PARTS,
    IN_ROWS,
    IN_TURNS,
    MARKS,
    Said,
    is_empty,
    look,
    no_keys,
    take_reasoning,
)
from smalltolarge.examples.layout import Layout
from smalltolarge.examples.nested import canonical, decoded, text_or_turns
from smalltolarge.examples.problems import Refused, shown
from smalltolarge.examples.table import Message
from smalltolarge.settings import ReadingSettings

ROLES = {
    name: role
    for role, names in {
        "system": "system developer",
        "user": "user human prompter",
        "assistant": "assistant gpt chatgpt bing bard claude model bot ai function_call tool_call",
        "tool": "tool function observation ipython tool_response function_response",
    }.items()
    for name in names.split()
}
_HEADS = {
    role: bytes([len(role)]) + role.encode() for role in ("system", "user", "assistant", "tool")
}
_REASONING, _NOT_LEARNED = (
    bytes([len(name)]) + name for name in (b"reasoning", b"assistant, not learned")
)
_SIZE = struct.Struct("<Q").pack
_TEXT = "a text that is not blank"
_LEARNED = "an answer that is to be learned"
_OPENAI, _SHAREGPT = ("role", "content"), ("from", "value")


def role_of(name: object) -> str | None:
    """Give our word for a role, whatever its case and the space around it; None if unknown."""
    if type(name) is not str:
        return None
    return ROLES.get(name) or ROLES.get(name.strip().lower())


def encode(messages: list[Message]) -> bytes:
    """Encode turns unambiguously; ``UnicodeEncodeError`` for a lone surrogate."""
    parts: list[bytes] = []
    for role, content, reasoning, learned in messages:
        if reasoning:
            thought = reasoning.encode()
            parts += (_REASONING, _SIZE(len(thought)), thought)
        body = content.encode()
        parts += (_HEADS[role] if learned else _NOT_LEARNED, _SIZE(len(body)), body)
    return b"".join(parts)


def example_id(encoded: bytes, occurrence: int) -> str:
    """Give the id of the ``occurrence``-th row (from 0) with these turns: 32 hex characters."""
    return hashlib.blake2b(encoded + _SIZE(occurrence), digest_size=16).hexdigest()


def completion_length(messages: list[Message]) -> int:
    """Count the characters of all learned turns together, with their reasoning."""
    length = 0
    for role, content, reasoning, learned in messages:
        if learned and role == "assistant":
            length += len(content) + len(reasoning)
    return length


class ConversationReader:
    """Turns rows of one layout into turns.

    Keys of the names ``besides`` mean nothing. ``cut`` counts rows with turns that teach nothing,
    ``opened`` those that an assistant opens.
    """

    def __init__(
        self,
        layout: Layout,
        settings: ReadingSettings = ReadingSettings(),  # noqa: B008  (frozen)
        besides: Iterable[str] = (),
    ) -> None:
        self.columns = layout.columns
        self.cut = 0
        self.opened = 0
        self._keys = _OPENAI if layout.format == "messages" else _SHAREGPT
        self._used = frozenset(layout.columns.values())
        self._plain = not {"system", "tools"} & layout.columns.keys()
        self._last_alone = settings.learn == "last"
        self._explicit = settings.format != "auto"
        self._besides = no_keys(self._used).union(besides, settings.ignore)
        self._watched = IN_ROWS - self._besides

    def read(self, row: dict[str, Any]) -> list[Message]:
        """Give the turns of one row; ``Refused`` when it cannot be used."""
        columns = self.columns
        if type(row) is Duplicated:
            _refuse_duplicates(row, self._used | self._watched, "")
        said = None if self._watched.isdisjoint(row) else self._said(row)
        if "instruction" in columns:
            field = columns["instruction"]
            turns = self._instructed(row)
            if said is None and self._plain:
                return turns
        elif "messages" in columns:
            field = columns["messages"]
            turns = self._in_order(_turns(row, field, self._keys), field)
        else:
            field = columns["prompt"]
            turns = self._in_order(_pair(row, field, columns["completion"]), field)
        if said is not None:
            turns = self._with_said(turns, said)
        if not self._plain:
            turns = self._with_system(row, turns, field)
        return _last_learned(turns, field) if self._last_alone else turns

    def _said(self, row: dict[str, Any]) -> Said:
        """Read what the keys of the table say of the whole row."""
        texts = [self.columns[part] for part in ("prompt", "completion") if part in self.columns]
        of_turns = "messages" in self.columns or any(
            isinstance(text_or_turns(row.get(column), column), list | dict) for column in texts
        )
        said = Said(CONVERSATION if of_turns else "assistant", self._explicit)
        look(row, "row", said, besides=self._besides)
        if said.unlearned_by:
            found = shown(row[said.unlearned_by])
            raise Refused("nothing to learn", said.unlearned_by, found, _LEARNED)
        return said

    def _with_said(self, turns: list[Message], said: Said) -> list[Message]:
        if said.reasoning:
            turns[-1] = turns[-1]._replace(reasoning=said.reasoning)
        rounds = [
            Message(role, text)
            for pair in said.history
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
        return rounds + turns

    def _instructed(self, row: dict[str, Any]) -> list[Message]:
        columns = self.columns
        prompt = _filled(row, columns["instruction"], "empty prompt")
        if "input" in columns:
            context = _optional(row, columns["input"])
            if context:
                prompt = f"{prompt}\n\n{context}"
        return [
            Message("user", prompt),
            Message("assistant", _filled(row, columns["output"], "empty completion")),
        ]

    def _with_system(self, row: dict[str, Any], turns: list[Message], field: str) -> list[Message]:
        system = _optional(row, self.columns["system"]) if "system" in self.columns else ""
        if turns[0].role == "system":
            if system and system != turns[0].content:
                raise Refused(
                    "turns out of order",
                    field,
                    f"a system turn and another text in {self.columns['system']}",
                    "one system text",
                )
            system = turns[0].content
            turns = turns[1:]
        tools = _tools(row, self.columns["tools"]) if "tools" in self.columns else ""
        preface = f"{system}\n\n{tools}" if system and tools else system or tools
        return [Message("system", preface), *turns] if preface else turns

    def _in_order(self, turns: list[Message], field: str) -> list[Message]:
        last = 0
        begun = opened = learns = False
        for number, (role, content, reasoning, learned) in enumerate(turns, 1):
            where = f"{field}, turn {number}"
            if role == "system":
                if number > 1:
                    raise Refused("turns out of order", where, "a system turn", "system only first")
                begun = bool(content) and not content.isspace()
                continue
            if role == "assistant":
                if not begun:
                    opened = True
                    turns[number - 1] = turns[number - 1]._replace(learned=False)
                elif learned:
                    learns = True
                last = number
            elif role == "tool" and (
                number == 1 or turns[number - 2].role not in ("assistant", "tool")
            ):
                raise Refused(
                    "turns out of order", where, "a tool turn that follows no assistant turn",
                    "a tool turn after an assistant or tool turn",
                )  # fmt: skip
            if role != "tool" and (not content or content.isspace()):
                reason = "empty completion" if role == "assistant" else "empty prompt"
                wanted = f"{_TEXT}; reasoning alone is not learned" if reasoning else _TEXT
                raise Refused(reason, where, shown(content), wanted)  # type: ignore[arg-type]
            begun = True
        if not last:
            roles = ", ".join(turn.role for turn in turns[:8])
            raise Refused("no assistant turn", field, f"turns: {roles}", "an assistant turn")
        if not learns:
            marked = f"assistant turns marked as not learned ({', '.join(MARKS)})"
            found = "an answer to nothing" if opened else marked
            raise Refused("nothing to learn", field, found, _LEARNED)
        self.opened += opened
        if last < len(turns):
            self.cut += 1
            turns = turns[:last]
        first = turns[0]
        blank = not first.content or first.content.isspace()
        return turns[1:] if first.role == "system" and blank else turns


def _last_learned(turns: list[Message], field: str) -> list[Message]:
    """Let the last answer alone be learned."""
    last = turns[-1]
    if not last.learned:
        raise Refused(
            "nothing to learn", field, "a last answer that is not to be learned", _LEARNED
        )
    return [
        turn._replace(learned=False) if turn.role == "assistant" else turn for turn in turns[:-1]
    ] + [last]


def _refuse_duplicates(row: Duplicated, used: frozenset[str], field: str) -> None:
    twice = sorted(row.twice & used)
    if twice:
        where = f"{field}, {twice[0]}" if field else twice[0]
        raise Refused("duplicate key", where, f"{twice[0]} more than once", "every key once")


def _filled(row: Mapping[str, Any], column: str, empty: str) -> str:
    text = row.get(column)
    if type(text) is str and text and not text.isspace():
        return text
    if text is None and column not in row:
        raise Refused("missing", column, "no such field", _TEXT)
    if text is None:
        raise Refused("missing", column, "null", _TEXT)
    if type(text) is not str:
        wanted = f"{_TEXT}; a row for each of several" if isinstance(text, list) else _TEXT
        quoted = isinstance(text, int | float) and not isinstance(text, bool)
        wanted += f", as in {json.dumps(str(text))}" if quoted else ""
        raise Refused("not text", column, shown(text), wanted)
    raise Refused(empty, column, shown(text), _TEXT)  # type: ignore[arg-type]


def _optional(row: Mapping[str, Any], column: str) -> str:
    text = row.get(column)
    if text is None:
        return ""
    if type(text) is not str:
        raise Refused("not text", column, shown(text), "text or null")
    return "" if text.isspace() else text


def _tools(row: Mapping[str, Any], column: str) -> str:
    tools = row.get(column)
    if not tools:
        return ""
    if type(tools) is str:
        said = _parsed(tools)
        if not isinstance(said, list | dict):
            return "" if tools.strip() in ("", "null") else tools
        tools = said
    if isinstance(tools, list | dict):
        return canonical(tools, column) if tools else ""
    raise Refused("not text", column, shown(tools), "a JSON text, a list or null")


def _pair(row: Mapping[str, Any], prompt: str, completion: str) -> list[Message]:
    asked = text_or_turns(row.get(prompt), prompt)
    turns = (
        _turns({prompt: asked}, prompt, _style(asked))
        if isinstance(asked, list)
        else [Message("user", _filled(row, prompt, "empty prompt"))]
    )
    answer = text_or_turns(row.get(completion), completion)
    if isinstance(answer, dict):
        answer = [answer]
    if not isinstance(answer, list):
        answered = _filled(row, completion, "empty completion")
        return [*turns, Message("assistant", answered)]
    answers = _turns({completion: answer}, completion, _style(answer))
    for number, (role, *_) in enumerate(answers, 1):
        if role not in ("assistant", "tool") or (number == 1 and role == "tool"):
            raise Refused(
                "turns out of order", f"{completion}, turn {number}", f"a {role} turn",
                "assistant and tool turns, an assistant turn first",
            )  # fmt: skip
    return turns + answers


def _style(turns: list[Any]) -> tuple[str, str]:
    first = turns[0] if turns else None
    return _SHAREGPT if isinstance(first, dict) and first.get("from") is not None else _OPENAI


def _turns(row: Mapping[str, Any], column: str, keys: tuple[str, str]) -> list[Message]:
    given = row.get(column)
    wanted = f"a list of objects with {keys[0]} and {keys[1]}"
    if type(given) is str and given:
        given = decoded(given, column, f"{wanted}, or the JSON text of one")
    if given is None:
        found = "null" if column in row else "no such field"
        raise Refused("missing", column, found, wanted)
    if not isinstance(given, list) or not given:
        raise Refused("not a conversation", column, shown(given), wanted)
    return [_turn(turn, f"{column}, turn {n}", keys) for n, turn in enumerate(given, 1)]


def _turn(turn: object, where: str, keys: tuple[str, str]) -> Message:
    if not isinstance(turn, dict):
        raise Refused("not a conversation", where, shown(turn), f"an object with {', '.join(keys)}")
    if type(turn) is Duplicated:
        _refuse_duplicates(turn, IN_TURNS.union(keys), where)
    name = turn.get(keys[0])
    role = role_of(name)
    if role is None:
        if name is None:
            raise Refused("missing", f"{where}, {keys[0]}", shown(turn), f"a {keys[0]}")
        raise Refused(
            "unknown role", f"{where}, {keys[0]}", shown(name), f"one of {_allowed(keys)}"
        )
    content = turn.get(keys[1])
    if len(turn) == 2 and type(content) is str:
        return Message(role, content)
    said = look(turn, "turn", Said(role), where)
    calls = _calls(turn, where)
    if type(content) is str:
        text = content
    elif content is None:
        if not calls:
            raise Refused("missing", f"{where}, {keys[1]}", shown(turn), "text")
        text = ""
    else:
        text = _parts(content, f"{where}, {keys[1]}", said)
    whole = [text, *calls] if text and not text.isspace() else calls or [text]
    return Message(role, "\n".join(whole), said.reasoning, not said.unlearned_by)


def _allowed(keys: tuple[str, str]) -> str:
    if keys is _OPENAI:
        return "system, developer, user, assistant, tool, function"
    return "system, human, user, gpt, assistant, function_call, observation, tool"


def _parts(content: object, where: str, said: Said) -> str:
    """Join the texts of a list of parts, and take in what they say of their turn."""
    if not isinstance(content, list):
        raise Refused("not text", where, shown(content), "text, or a list of text parts")
    texts: list[str] = []
    thoughts: list[str] = []
    marks: list[str] = []
    for number, part in enumerate(content, 1):
        here = f"{where}, part {number}"
        kind = part.get("type") if isinstance(part, dict) else None
        names = _TEXTS.get(kind, ()) if isinstance(part, dict) and type(kind) is str else ()
        found = [part[name] for name in names if part.get(name) is not None]
        if kind == "thinking" and len(found) == 1 and isinstance(found[0], list):
            found = [_parts(found[0], here, Said(said.role))]
        if len(found) != 1 or type(found[0]) is not str:
            raise Refused(
                "not only text", here, shown(part),
                'parts like {"type": "text", "text": ...}; images and sounds are not read',
            )  # fmt: skip
        if type(part) is Duplicated:
            _refuse_duplicates(part, IN_PARTS.union(names), here)
        if kind == "text":
            texts.append(found[0])
            marks.append(look(part, "part", Said(said.role), here).unlearned_by)
            continue
        if any(texts):
            raise Refused("not honoured", here, shown(part), "reasoning before the text")
        thoughts.append(found[0])
    marked = next(filter(None, marks), "")
    if marked and not all(marks):
        raise Refused(
            "not honoured", marked, "a part that is not learned beside one that is",
            "a turn that is learned as a whole or not",
        )  # fmt: skip
    said.unlearned_by = said.unlearned_by or marked
    thought = "".join(thoughts)
    if thought and not thought.isspace():
        take_reasoning(said, thought, where)
    return "".join(texts)


_TEXTS = {
    "text": ("text", "value"),
    "thinking": ("thinking", "text", "value"),
    "reasoning": ("reasoning", "text", "value"),
}


def _calls(turn: Mapping[str, Any], where: str) -> list[str]:
    calls, old = turn.get("tool_calls"), turn.get("function_call")
    key = "tool_calls"
    if is_empty(calls):
        key = "function_call"
        calls = [] if is_empty(old) else [old]
    elif not is_empty(old):
        raise Refused("not honoured", f"{where}, function_call", shown(old), "tool_calls alone")
    if not isinstance(calls, list):
        raise Refused("not a conversation", f"{where}, tool_calls", shown(calls), "a list of calls")
    lines = []
    for number, call in enumerate(calls, 1):
        field = f"{where}, {key}, call {number}"
        inner = (call.get("function") or call) if isinstance(call, dict) else None
        name = inner.get("name") if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or type(name) is not str:
            raise Refused(
                "not a conversation", field, shown(call), "a function with a name and arguments"
            )
        arguments = inner.get("arguments")
        if type(arguments) is str:
            arguments = _parsed(arguments)
        said = canonical(arguments, field)
        lines.append(f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {said}}}')
    return lines


def _parsed(text: str) -> object:
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError):
        return text


def repaired(messages: list[Message]) -> list[Message]:
    """Replace lone surrogates in every turn."""
    return [
        turn._replace(
            content=without_surrogates(turn.content), reasoning=without_surrogates(turn.reasoning)
        )
        for turn in messages
    ]
