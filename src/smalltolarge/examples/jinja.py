"""What we write as chat templates, in Jinja, for transformers and what reads them as it does.

The "### Instruction:" headings (the alpaca template, ours) say what ``lm.rendering.alpaca`` says.
The other parts go before any template.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

HEADINGS = (
    "{% for turn in messages %}"
    "{% if turn['role'] == 'assistant' %}{{ '### Response:\\n' }}"
    "{% set thought = turn['reasoning_content'] %}"
    "{% set said = ('<think>\\n' + thought + '\\n</think>\\n\\n' if thought else '')"
    " + turn['content'] + eos_token %}"
    "{% if turn['train'] == false %}{{ said }}"
    "{% else %}{% generation %}{{ said }}{% endgeneration %}{% endif %}"
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}"
    "{% elif turn['role'] == 'system' %}{{ turn['content'] + '\\n\\n' }}"
    "{% else %}{{ '### ' + ('Tool' if turn['role'] == 'tool' else 'Instruction') + ':\\n'"
    " + turn['content'] + '\\n\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"
)
"""What is learned is marked for TRL: answers, but not those whose ``train`` is false."""

FOLD_SYSTEM = (
    "{% set folded = namespace(turns=[], waiting='', last=-1) %}"
    "{% for turn in messages %}"
    "{% if turn['role'] == 'user' %}{% set folded.last = loop.index0 %}{% endif %}"
    "{% endfor %}"
    "{% for turn in messages %}"
    "{% if turn['role'] == 'system' and loop.index0 < folded.last %}"
    "{% set folded.waiting = folded.waiting + turn['content'] + '\\n\\n' %}"
    "{% elif turn['role'] == 'system' %}"
    "{% set folded.turns = folded.turns + [dict(turn, role='user')] %}"
    "{% elif turn['role'] == 'user' %}"
    "{% set folded.turns = folded.turns + [dict(turn, content=folded.waiting + turn['content'])] %}"
    "{% set folded.waiting = '' %}"
    "{% else %}{% set folded.turns = folded.turns + [turn] %}{% endif %}"
    "{% endfor %}"
    "{% set messages = folded.turns %}"
)
"""Puts system texts at the head of the user turn that follows, as ``lm.templates.folded`` does."""


def headings(preamble: str, end: str) -> str:
    """Give the headings with a text before every conversation and ``end`` after every answer."""
    return f"{{% set eos_token = {literal(end)} %}}{written(preface(preamble))}{HEADINGS}"


def preface(preamble: str) -> str:
    """Give a preamble with the empty line after it, where it does not end its line itself."""
    return preamble if not preamble or preamble.endswith("\n") else preamble + "\n\n"


def written(text: str) -> str:
    """Give what writes a text, whatever is in it."""
    return f"{{{{ {literal(text)} }}}}" if text else ""


def defaults(arguments: Mapping[str, object]) -> str:
    """Give what sets the arguments of a template that the caller does not give."""
    return "".join(
        f"{{% if {name} is not defined %}}{{% set {name} = {literal(value)} %}}{{% endif %}}"
        for name, value in arguments.items()
    )


def literal(value: object) -> str:
    """Give a value of JSON as Jinja writes it."""
    if isinstance(value, Mapping):
        pairs = (f"{literal(key)}: {literal(inner)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(literal, value))}]"
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
