"""Chat templates: strangers' programs that write conversations, in transformers' sandbox."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import Any

from smalltolarge.errors import DataError, RecipeError, RefusedForSafety, printable
from smalltolarge.examples.table import Message
from smalltolarge.lm.child import NotDone, in_child
from smalltolarge.lm.rendering import Rendering
from smalltolarge.lm.skeletons import Generated
from smalltolarge.lm.tracing import Tracer

_SECONDS, _MEGABYTES = 2, 512
"""What the writing of one conversation may take."""
_CHARACTERS, _TIMES = 100_000, 8
"""It may have so many characters, and so many for each of the conversation's own."""
_AT_ONCE = 1024
_TODAY = datetime.datetime(2025, 1, 1)
_REASONING = ("reasoning_content", "reasoning", "thinking")
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_OURS = ("messages", "tools", "documents", "add_generation_prompt", "loop")


@dataclass(frozen=True, eq=False)
class ChatTemplate:
    """A chat template, what it is given beside the conversation, and how it is traced."""

    template: str
    name: str
    """Of the tokenizer, or its own file."""
    special: Mapping[str, str]
    """The tokenizer's special tokens: bos_token, eos_token, ..."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What else the template reads, such as enable_thinking."""
    fold_system: bool = False
    """Whether system turns are put at the head of the user turn that follows."""
    refusals: list[RefusedForSafety] = field(default_factory=list)
    """Why it is not asked again."""

    @property
    def made_of(self) -> str:
        """All that the text of a conversation follows from."""
        given = [sorted(self.special.items()), sorted(self.arguments.items()), self.fold_system]
        return repr((self.template, given, _TODAY.isoformat()))

    def notes(
        self,
        first: Sequence[Message],
        dropped: Sequence[tuple[str, int, int]],
        place: Callable[[int], str],
    ) -> list[str]:
        """Say what a person must know of texts that it wrote: the date, what it left out, and
        whether it asks for the answer of the ``first`` conversation as it writes it.
        """
        lines = []
        if extra := self._asked_beside(first):
            lines.append(
                f"the chat template of {self.name} asks for an answer with "
                f"{printable(json.dumps(extra))}, but does not write that before the answers of a "
                "conversation: a model is asked otherwise than it is trained. Give --template "
                "alpaca, or a template that does not as --template FILE.jinja"
            )
        if "strftime_now" in self.template:
            lines.append(
                f"the chat template of {self.name} writes today's date; {_TODAY:%d %B %Y} stands "
                "there on every day, so that the same command gives the same subset"
            )
        if dropped:
            found = "; ".join(
                f"{what} in {rows:,} examples (first: {place(row)})" for what, rows, row in dropped
            )
            cure = any(what.startswith("system") for what, _, _ in dropped)
            lines.append(
                f"the chat template of {self.name} does not write all there is: {found}"
                + cure * ". --fold-system puts system texts at the head of the user's turns"
            )
        return lines

    @cached_property
    def reasoning_key(self) -> str | None:
        """Under which key of a turn the template reads reasoning; None where under none."""
        key: str | None = self._read["reasoning_key"]
        return key

    def with_arguments(self, arguments: Mapping[str, Any]) -> ChatTemplate:
        """Give the template with what it is to read beside the conversation.

        Raises
        ------
        RecipeError
            It reads no such name.
        """
        if not arguments or self._read["names"] is None:  # the first row says what is wrong with it
            return replace(self, arguments=arguments)
        for name in arguments:
            if name not in self._read["names"]:
                known = ", ".join(self._read["wanted"]) or "none"
                raise RecipeError(
                    f"template_arg {printable(name)}: the chat template of {self.name} reads no "
                    f"such name; it reads {printable(known, 300)}"
                )
        return replace(self, arguments=arguments)

    def render(self, conversation: Sequence[Message], prompt: bool = False) -> str:
        """Write turns by the template; ``prompt`` adds what comes before an answer.

        Raises
        ------
        DataError
            It does not take them.
        RefusedForSafety
            It took too much time or memory, or wrote too much.
        """
        return self._write(conversation, prompt)[0]

    def prompts(self, conversations: Sequence[Sequence[Message]]) -> Iterator[str]:
        """Write conversations with what comes before an answer; raises as ``render``."""
        for start in range(0, len(conversations), _AT_ONCE):
            turns = conversations[start : start + _AT_ONCE]
            for answer in self._answers([(one, True) for one in turns]):
                yield self._text(answer)[0]

    def renderings(self, conversations: Sequence[Sequence[Message]]) -> Iterator[Rendering]:
        """Write conversations, each as one piece whose spans are the learned turns.

        Raises
        ------
        As ``render``; what was written before is yielded first.
        """
        written = self._answers([(conversation, False) for conversation in conversations])
        for conversation, answer in zip(conversations, written, strict=True):
            try:
                found = self._tracer.trace(conversation, self._text(answer)[0])
            except DataError as error:
                raise DataError(
                    f"the chat template of {self.name} does not take this conversation "
                    f"({printable(str(error), 200)}). {self._cure(conversation)}"
                ) from error
            if self.refusals:  # the tracer goes on without what it did not get
                raise self.refusals[0]
            yield found

    def rendering(self, conversation: Sequence[Message]) -> Rendering:
        """Write one conversation as ``renderings`` does."""
        return next(self.renderings([conversation]))

    @cached_property
    def _read(self) -> dict[str, Any]:
        """What the template reads: names and wanted, reasoning_key."""
        read: dict[str, Any] = self._allowed(_describe(self.template, [None])[0])
        return read

    @cached_property
    def _tracer(self) -> Tracer:
        return Tracer(self._write, marks_answers=self._marks_answers)

    @cached_property
    def _marks_answers(self) -> bool:
        return bool(_GENERATION.search(self.template))

    def _write(self, conversation: Sequence[Message], prompt: bool) -> tuple[str, Generated]:
        return self._text(self._answers([(conversation, prompt)])[0])

    def _answers(self, wanted: Sequence[tuple[Sequence[Message], bool]]) -> list[Any]:
        """Ask the child for conversations, each with or without what comes before an answer."""
        if self.refusals:
            return self.refusals * len(wanted)
        fold = folded if self.fold_system else list
        questions = [([self._turn(t) for t in fold(turns)], prompt) for turns, prompt in wanted]
        given = {"tools": None, "documents": None, **self.special, **self.arguments}
        return _write((self.template, given, self._marks_answers), questions)

    def _text(self, answer: Any) -> tuple[str, Generated]:
        text, generated = self._allowed(answer)
        return text, [(begin, end) for begin, end in generated]

    def _allowed(self, answer: Any) -> Any:
        """Give an answer of the child, or raise what it is instead."""
        if isinstance(answer, RefusedForSafety):
            if not self.refusals:
                self.refusals.append(
                    RefusedForSafety(
                        f"the chat template of {self.name} {answer} on one conversation. Give "
                        "--template alpaca, or another tokenizer with --tokenizer."
                    )
                )
            raise self.refusals[0]
        if isinstance(answer, NotDone):
            raise DataError(answer.reason)
        return answer

    def _turn(self, turn: Message) -> dict[str, str]:
        written = {"role": turn.role, "content": turn.content}
        if turn.reasoning and self.reasoning_key is not None:
            written[self.reasoning_key] = turn.reasoning
        return written

    def _asked_beside(self, conversation: Sequence[Message]) -> str:
        """Give what ends the prompt of the last answer and does not stand before that answer."""
        last = max(i for i, turn in enumerate(conversation) if turn.role == "assistant")
        try:
            asked = self.render(conversation[:last], prompt=True)
            text = self.render(conversation[: last + 1])
        except Exception:  # it need not take a conversation that ends there
            return ""
        alike = takewhile(lambda pair: pair[0] == pair[1], zip(asked, text, strict=False))
        return asked[len(list(alike)) :]

    def _cure(self, conversation: Sequence[Message]) -> str:
        """Say what to do about a conversation that the template does not take."""
        if not self.fold_system and any(turn.role == "system" for turn in conversation):
            with contextlib.suppress(Exception):
                replace(self, fold_system=True).render(conversation)
                return "Give --fold-system: the system text then heads the user's turn."
        return "Give --template alpaca, or a template that does as --template FILE.jinja."


def folded(conversation: Sequence[Message]) -> list[Message]:
    """Put system texts at the head of the user turn that follows, an empty line between.

    One that no user turn follows is written as a user's.
    """
    turns: list[Message] = []
    waiting = ""
    last = max((i for i, turn in enumerate(conversation) if turn.role == "user"), default=-1)
    for i, turn in enumerate(conversation):
        if turn.role == "system" and i < last:
            waiting += f"{turn.content}\n\n"
        elif turn.role == "system":
            turns.append(turn._replace(role="user"))
        elif turn.role == "user":
            turns.append(turn._replace(content=waiting + turn.content))
            waiting = ""
        else:
            turns.append(turn)
    return turns


@in_child(_SECONDS, _MEGABYTES)
def _write(about: tuple[str, dict[str, Any], bool]) -> Callable[[Any], tuple[str, Generated]]:
    """Give what writes [turns, whether a prompt], in the child."""
    template, given, marks_answers = about
    environment, compiled = _environment(), _compiled(template)

    def write(question: tuple[list[dict[str, str]], bool]) -> tuple[str, Generated]:
        messages, prompt = question
        most = _CHARACTERS + _TIMES * sum(len(part) for turn in messages for part in turn.values())
        parts: list[str] = []
        generated: Generated = []
        read = {"messages": messages, "add_generation_prompt": prompt, **given}
        tracked = environment.activate_tracker(parts, generated)
        with tracked if marks_answers else contextlib.nullcontext():
            for part in compiled.generate(read):
                parts.append(part)
                most -= len(part)
                if most < 0:
                    raise MemoryError
        return "".join(parts), generated

    return write


@in_child(_SECONDS, _MEGABYTES)
def _describe(template: str) -> Callable[[None], dict[str, Any]]:
    """Give what a template reads, in the child: names, those it wants given, reasoning_key."""
    from jinja2 import TemplateSyntaxError, nodes

    environment = _environment()
    try:
        tree = environment.parse(template)
    except (TemplateSyntaxError, RecursionError):
        return lambda question: {"names": None, "reasoning_key": None}
    used = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "load"}
    used -= {*environment.globals, *_OURS}
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
    asked = {  # a template may set what it was not given
        test.node.name
        for test in tree.find_all(nodes.Test)
        if test.name == "defined" and isinstance(test.node, nodes.Name)
    }
    read = {found.attr for found in tree.find_all(nodes.Getattr)}
    read |= {found.value for found in tree.find_all(nodes.Const)}
    found = {
        "names": sorted(used),
        "wanted": sorted(used - own | used & asked),
        "reasoning_key": next((key for key in _REASONING if key in read), None),
    }
    return lambda question: found


@lru_cache(maxsize=4)
def _compiled(template: str) -> Any:
    environment = _environment()
    _refuse_chance(environment.parse(template))
    return environment.from_string(template, globals={"strftime_now": _TODAY.strftime})


def _environment() -> Any:
    from transformers.utils.chat_template_utils import _compile_jinja_template

    # For its environment, whose globals other users of transformers share: ours go elsewhere.
    return _compile_jinja_template("").environment


def _refuse_chance(tree: Any) -> None:
    """Refuse a template that would write the same conversation differently each time."""
    from jinja2 import nodes

    filters = {
        name
        for found in tree.find_all(nodes.Filter)
        for name in (found.name, *(a.value for a in found.args if isinstance(a, nodes.Const)))
    }
    if "random" in filters or any(name.name == "lipsum" for name in tree.find_all(nodes.Name)):
        raise ValueError("it writes text at random (random or lipsum)")
