"""What JSON that is read back must look like, so that a stranger's is refused and not stumbled on.

A shape is a type, a function that tells, a tuple of those of which one is needed, ``[shape]`` for a
list, ``{str: shape}`` for any names, or ``{"name": shape, ...}`` for names that must be there;
others may be. Numbers are finite and whole ones have 64 bits.
"""

from __future__ import annotations

import math
import re
from typing import Any, TypeAlias

from smalltolarge.errors import printable

Shape: TypeAlias = Any

_NO_NAME = re.compile("[\0\ud800-\udfff]")


def is_path(value: object) -> bool:
    """Say whether it is a text that can be the name of a file."""
    return isinstance(value, str) and _NO_NAME.search(value) is None


def is_share(value: object) -> bool:
    """Say whether it is a number from 0 to 1."""
    return isinstance(value, int | float) and 0 <= value <= 1


def is_many(value: object) -> bool:
    """Say whether it is a whole number above 0."""
    return _has_type(value, int) and value > 0  # type: ignore[operator]


NUMBER = (float, int)
COUNTS = {str: int}
SCORE = {
    "task": str, "measure": str, "value": is_share, "error": (*NUMBER, None), "questions": is_many,
    "unanswered": int, "truncated": int, "failed_programs": COUNTS, "measures": {str: object},
    "overlap": (int, None),
}  # fmt: skip
ARM = {
    "arm": {"method": str, "budget": str, "seed": int, "equal": str}, "rows": int, "steps": int,
    "tokens": int, "flops": NUMBER, "train_loss": (*NUMBER, None), "scores": {str: [NUMBER]},
    "unanswered": COUNTS, "truncated": COUNTS, "losses": {str: {str: [NUMBER]}},
    "failed_programs": {str: COUNTS}, "measures": {str: {str: object}},
}  # fmt: skip
ANSWER = {
    "task": str, "question": str, "reference": str, "form": str, "prompt": str, "completion": str,
    "found": (str, None), "score": NUMBER, "truncated": bool, "failed_program": (str, None),
    "printed": (str, None), "stderr": (str, None), "completions": [str],
}  # fmt: skip
FACTS = {
    "columns": {str: str}, "commit": (str, None), "excluded": COUNTS, "flops": NUMBER,
    "format": str, "inputs": [{"path": is_path, "kind": str, "size": int, "sha256": str}],
    "jail": (str, None), "left_out": COUNTS, "method": str, "out": is_path, "overlaps": COUNTS,
    "recipe": {str: object}, "score": SCORE, "sha256": str,
    "sources": [{"source": (str, None), "rows": int, "selected": int}],
    "train_loss": (*NUMBER, None),
} | dict.fromkeys(
    ("all_reduced_steps", "clusters", "parameters", "pruned", "read", "rows", "selected", "steps",
     "tokens", "tokens_selected", "trained_parameters", "truncated", "used"),
    int,
)  # fmt: skip
"""The facts of all stages, by name; the same name has the same shape everywhere."""
STAGE = {
    "facts": {str: object},
    "measured": {str: NUMBER},
    "outputs": {str: {"sha256": str, "bytes": int}},
}


def check_shape(value: object, shape: Shape, where: str) -> None:
    """Raise ``ValueError``, naming the place, unless ``value`` has ``shape``."""
    if isinstance(shape, tuple):
        if any(_has_type(value, one) for one in shape):
            return
    elif isinstance(shape, list):
        if isinstance(value, list):
            for place, one in enumerate(value):
                check_shape(one, shape[0], f"{where}[{place}]")
            return
    elif isinstance(shape, dict):
        if isinstance(value, dict):
            names = value if str in shape else shape
            for name in names:
                if name not in value:
                    raise ValueError(f"{where} lacks {name}")
                inner = shape[str] if str in shape else shape[name]
                check_shape(value[name], inner, f"{where}.{printable(name)}")
            return
    elif _has_type(value, shape):
        return
    raise ValueError(f"{where} is {printable(repr(value), 40)}")


def _has_type(value: object, kind: Any) -> bool:
    if kind is None:
        return value is None
    if not isinstance(kind, type):
        return bool(kind(value))
    if kind is int:
        return type(value) is int and -(2**63) <= value < 2**64
    return isinstance(value, kind) and (not isinstance(value, float) or math.isfinite(value))
