"""From a conversation to text, with the places that are learned.

Two ways: the tokenizer's chat template, or "### Instruction:" headings (the alpaca template, ours).
Text and spans only; nothing is tokenised here.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from smalltolarge.errors import DataError, RefusedForSafety, printable
from smalltolarge.examples.table import Message

_PROBE_SECONDS = 2
_PROBE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Piece:
    """A run of text that is tokenised as one; pieces of an example never merge into one token."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """Where the learned text begins and ends, in characters."""
    ends_turn: bool
    """Whether the end-of-text token, learned too, follows."""


Render = Callable[[Sequence[Message]], list[Piece]]


def alpaca(conversation: Sequence[Message], preamble: str = "") -> list[Piece]:
    """Write a conversation under "### Instruction:" and "### Response:" headings.

    A piece ends where an assistant turn ends, since the end-of-text token stands there. What comes
    after the last assistant turn is left out: no loss depends on it.
    """
    text = preamble if not preamble or preamble.endswith("\n") else preamble + "\n\n"
    pieces = []
    for role, content, *_ in conversation:
        if role == "assistant":
            text += "### Response:\n"
            pieces.append(Piece(text + content, ((len(text), len(text) + len(content)),), True))
            text = "\n\n"
        elif role == "system":
            text += f"{content}\n\n"
        else:
            heading = "Tool" if role == "tool" else "Instruction"
            text += f"### {heading}:\n{content}\n\n"
    return pieces


class ChatTemplate:
    """A tokenizer's chat template, rendered in transformers' sandboxed environment."""

    def __init__(self, template: str, name: str, special: dict[str, str]) -> None:
        self.template, self.name, self.special = template, name, special

    @property
    def made_of(self) -> str:
        """All that the text of a conversation follows from."""
        return repr((self.template, sorted(self.special.items())))

    def render(self, conversation: Sequence[Message], prompt: bool = False) -> str:
        """Write turns by the template; ``prompt`` adds what comes before an answer."""
        from transformers.utils.chat_template_utils import render_jinja_template

        turns = [{"role": turn.role, "content": turn.content} for turn in conversation]
        rendered, _ = render_jinja_template(
            [turns], chat_template=self.template, add_generation_prompt=prompt, **self.special
        )
        return str(rendered[0])

    def pieces(self, conversation: Sequence[Message]) -> list[Piece]:
        """Write a conversation as one piece whose spans are the assistant turns.

        A turn's span begins where the prompt for it ends and takes in the template's own end of
        the turn, not the white space after it.

        Raises
        ------
        DataError
            The template raises, or changes earlier text when turns follow.
        """
        last = max(i for i, turn in enumerate(conversation) if turn.role == "assistant")
        try:
            text = self.render(conversation[: last + 1])
            spans = []
            for i, turn in enumerate(conversation[: last + 1]):
                if turn.role != "assistant":
                    continue
                before = self.render(conversation[:i], prompt=True)
                through = text if i == last else self.render(conversation[: i + 1])
                if not (text.startswith(through) and through.startswith(before)):
                    raise DataError(
                        f"the chat template of {self.name} writes turn {i + 1} differently when "
                        "more turns follow, so the learned text cannot be told apart. Give "
                        "--template alpaca."
                    )
                spans.append((len(before), len(through.rstrip())))
        except DataError:
            raise
        except Exception as error:  # whatever a stranger's template may raise
            raise DataError(
                f"the chat template of {self.name} does not take this conversation "
                f"({printable(str(error), 200)}). Give --template alpaca."
            ) from error
        return [Piece(text, tuple(spans), False)]

    def probe(self, conversation: Sequence[Message]) -> None:
        """Render once in a child with limits, so that a template cannot hang or fill this process.

        Raises
        ------
        RefusedForSafety
            It took more than 2 s of processor time or 512 MB.
        """
        import transformers.utils.chat_template_utils  # noqa: F401  here, not in the child's 2 s

        short = [turn._replace(content=turn.content[:2000]) for turn in conversation]
        if not _finishes(lambda: self.pieces(short)):
            raise RefusedForSafety(
                f"the chat template of {self.name} did not finish within {_PROBE_SECONDS} s and "
                f"{_PROBE_BYTES // 2**20} MB on one conversation. Give --template alpaca, or "
                "another tokenizer with --tokenizer."
            )


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
