"""What a model wrote, made ready to be read: the program in a completion."""

from __future__ import annotations

import re

_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


def program_of(completion: str) -> str:
    """Take the program out of a completion: the fenced part, or all of it."""
    fenced = _FENCED.findall(completion)
    text: str = "\n".join(fenced) if fenced else completion
    return text.partition("### Instruction:")[0].strip("\n")
