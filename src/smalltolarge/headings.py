"""The "### Instruction:" headings (the alpaca template, ours) as a chat template.

It writes what ``lm.rendering.alpaca`` writes, in Jinja, which transformers, TRL and vLLM read.
"""

from __future__ import annotations

import json

TEMPLATE = (
    "{% for turn in messages %}"
    "{% if turn['role'] == 'assistant' %}{{ '### Response:\\n' }}"
    "{% generation %}{{ turn['content'] + eos_token }}{% endgeneration %}"
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}"
    "{% elif turn['role'] == 'system' %}{{ turn['content'] + '\\n\\n' }}"
    "{% else %}{{ '### ' + ('Tool' if turn['role'] == 'tool' else 'Instruction') + ':\\n' "
    "+ turn['content'] + '\\n\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"
)
"""The answers in it are marked, so that TRL learns them alone."""


def template(preamble: str, end: str) -> str:
    """Give the template with a text before every conversation and ``end`` after every answer."""
    return f"{{% set eos_token = {quoted(end)} %}}{written(opening(preamble))}{TEMPLATE}"


def opening(preamble: str) -> str:
    """Give a preamble as it stands before the first heading, a blank line after it."""
    return preamble if not preamble or preamble.endswith("\n") else preamble + "\n\n"


def written(text: str) -> str:
    """Give the Jinja that writes ``text``, whatever is in it."""
    return f"{{{{ {quoted(text)} }}}}" if text else ""


def quoted(text: str) -> str:
    """Give a text as a string of Jinja's, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)
