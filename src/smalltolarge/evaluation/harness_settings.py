"""What lm-eval's ``--metadata`` may say to our tasks, read strictly."""

from __future__ import annotations

import difflib
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from smalltolarge.errors import RecipeError, printable
from smalltolarge.evaluation.task import FORMS

DATA_OPTION = """--metadata '{"data": "FOLDER"}'"""
"""How lm-eval is given the folder of the tasks' files."""


@dataclass(frozen=True)
class HarnessSettings:
    """How our tasks are asked when lm-eval asks them."""

    form: str = "combined"
    data: str | None = None
    template: str | None = None
    program_seconds: float = 10.0
    program_megabytes: int = 512
    confirm_run_unsafe_code: bool = False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_ALLOWED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "form": (lambda value: value in tuple(FORMS), ", ".join(FORMS)),
    "data": (
        lambda value: isinstance(value, str) and value != "",
        "the folder of the tasks' files",
    ),
    "template": (lambda value: value == "alpaca", "alpaca"),
    "program_seconds": (
        lambda value: _is_number(value) and 0 < value < math.inf,
        "a number of seconds above 0",
    ),
    "program_megabytes": (
        lambda value: _is_number(value) and isinstance(value, int) and value >= 1,
        "a whole number of megabytes, at least 1",
    ),
    "confirm_run_unsafe_code": (lambda value: isinstance(value, bool), "true or false"),
}
_OF_THE_TASK = {"version", "config_source"}
"""What the task's own file and lm-eval write into the metadata."""


def read_settings(task: str, metadata: Mapping[str, Any]) -> HarnessSettings:
    """Read the metadata of a task; a key given as null has its default.

    Raises
    ------
    RecipeError
        A key is not known, or a value is not allowed.
    """
    given = {key: value for key, value in metadata.items() if key not in _OF_THE_TASK}
    for key in given.keys() - _ALLOWED.keys() - _model_arguments():
        near = difflib.get_close_matches(key, _ALLOWED, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise RecipeError(
            f"{task}: --metadata has no key {printable(key)!r}. {hint}It takes "
            f"{', '.join(_ALLOWED)}."
        )
    found = {key: given[key] for key in _ALLOWED if given.get(key) is not None}
    for key, value in found.items():
        is_allowed, wanted = _ALLOWED[key]
        if not is_allowed(value):
            raise RecipeError(
                f"{task}: --metadata {key} is {printable(json.dumps(value, default=str))}; "
                f"needed: {wanted}"
            )
    return HarnessSettings(**found)


def _model_arguments() -> set[str]:
    """Give the names in lm-eval's ``--model_args``.

    lm-eval mixes them into the metadata before a task is made and gives neither them nor the model
    to one later, and a model may take any name, so that they cannot be told from misspelt keys. But
    its own call is on the stack. Where it is not, tasks are loaded by hand, and all metadata is
    meant for them.
    """
    from lm_eval.utils import simple_parse_args_string

    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != "simple_evaluate":
        frame = frame.f_back
    given = frame.f_locals.get("model_args") if frame is not None else None
    return set(simple_parse_args_string(given) if isinstance(given, str) else given or {})
