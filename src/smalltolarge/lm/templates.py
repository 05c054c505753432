"""Chat templates: strangers' programs that write conversations, in transformers' sandbox."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import resource
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from smalltolarge.errors import DataError, RecipeError, RefusedForSafety, printable
from smalltolarge.examples.table import Message
from smalltolarge.lm.rendering import Rendering
from smalltolarge.lm.skeletons import Generated
from smalltolarge.lm.tracing import Tracer

_PROBE_SECONDS = 2
_PROBE_BYTES = 512 * 2**20
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
        from jinja2 import nodes

        read: set[object] = set()
        if (tree := self._parsed) is not None:
            read |= {found.attr for found in tree.find_all(nodes.Getattr)}
            read |= {found.value for found in tree.find_all(nodes.Const)}
        return next((key for key in _REASONING if key in read), None)

    def with_arguments(self, arguments: Mapping[str, Any]) -> ChatTemplate:
        """Give the template with what it is to read beside the conversation.

        Raises
        ------
        RecipeError
            It reads no such name.
        """
        from jinja2 import nodes

        if (tree := self._parsed) is None:
            return replace(self, arguments=arguments)
        used = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "load"}
        used -= {*self._environment.globals, *_OURS}
        own = {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
        asked = {  # a template may set what it was not given
            test.node.name
            for test in tree.find_all(nodes.Test)
            if test.name == "defined" and isinstance(test.node, nodes.Name)
        }
        for name in arguments:
            if name not in used:
                known = ", ".join(sorted(used - own | used & asked)) or "none"
                raise RecipeError(
                    f"template_arg {printable(name)}: the chat template of {self.name} reads no "
                    f"such name; it reads {known}"
                )
        return replace(self, arguments=arguments)

    def render(self, conversation: Sequence[Message], prompt: bool = False) -> str:
        """Write turns by the template; ``prompt`` adds what comes before an answer."""
        return self._write(conversation, prompt)[0]

    def rendering(self, conversation: Sequence[Message]) -> Rendering:
        """Write a conversation as one piece whose spans are the learned turns.

        Raises
        ------
        DataError
            The template does not take the conversation.
        """
        try:
            return self._tracer.trace(conversation)
        except Exception as error:  # whatever a stranger's template may raise
            raise DataError(
                f"the chat template of {self.name} does not take this conversation "
                f"({printable(str(error), 200)}). {self._cure(conversation)}"
            ) from error

    def probe(self, conversation: Sequence[Message]) -> None:
        """Render once in a child with limits, so that a template cannot hang or fill this process.

        Raises
        ------
        RefusedForSafety
            It took more than 2 s of processor time or 512 MB.
        """
        import transformers.utils.chat_template_utils  # noqa: F401  here, not in the child's 2 s

        short = [
            turn._replace(content=turn.content[:2000], reasoning=turn.reasoning[:2000])
            for turn in conversation
        ]
        if not _finishes(lambda: self.rendering(short)):
            raise RefusedForSafety(
                f"the chat template of {self.name} did not finish within {_PROBE_SECONDS} s and "
                f"{_PROBE_BYTES // 2**20} MB on one conversation. Give --template alpaca, or "
                "another tokenizer with --tokenizer."
            )

    @cached_property
    def _environment(self) -> Any:
        from transformers.utils.chat_template_utils import _compile_jinja_template

        # For its environment, whose globals other users of transformers share: ours go elsewhere.
        return _compile_jinja_template("").environment

    @cached_property
    def _parsed(self) -> Any:
        """Its syntax tree, None where it has none: the first row then says so.

        Not compiled: that may fill the memory, so it is tried in a child first.
        """
        from jinja2 import TemplateSyntaxError

        try:
            return self._environment.parse(self.template)
        except TemplateSyntaxError:
            return None

    @cached_property
    def _compiled(self) -> Any:
        if self._parsed is not None:
            _refuse_chance(self._parsed)
        ours = {"strftime_now": _TODAY.strftime}
        return self._environment.from_string(self.template, globals=ours)

    @cached_property
    def _tracer(self) -> Tracer:
        return Tracer(self._write, marks_answers=self._marks_answers)

    @cached_property
    def _marks_answers(self) -> bool:
        return bool(_GENERATION.search(self.template))

    def _write(self, conversation: Sequence[Message], prompt: bool) -> tuple[str, Generated]:
        turns = folded(conversation) if self.fold_system else conversation
        given = {
            "messages": [self._turn(turn) for turn in turns],
            "tools": None,
            "documents": None,
            "add_generation_prompt": prompt,
            **self.special,
            **self.arguments,
        }
        if not self._marks_answers:
            return self._compiled.render(given), []
        parts: list[str] = []
        generated: Generated = []
        with self._environment.activate_tracker(parts, generated):
            for part in self._compiled.generate(given):
                parts.append(part)
        return "".join(parts), generated

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


def _finishes(work: Callable[[], object]) -> bool:
    """Run ``work`` in a forked child; whether it ended (also by an exception) within the limits."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        verdict = b"x"
        try:
            os.close(reading)
            signal.signal(signal.SIGXCPU, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CPU, (_PROBE_SECONDS, _PROBE_SECONDS + 1))
            if sys.platform == "linux":
                size = int(Path("/proc/self/statm").read_text().split()[0])
                most = size * resource.getpagesize() + _PROBE_BYTES
                resource.setrlimit(resource.RLIMIT_AS, (most, most))
            try:
                work()
                verdict = b"."
            except DataError as error:
                verdict = b"x" if isinstance(error.__cause__, MemoryError) else b"."
        finally:
            os.write(writing, verdict)
            os._exit(0)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], 10 * _PROBE_SECONDS)
        return bool(ready) and os.read(reading, 1) == b"."
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
