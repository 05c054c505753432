"""Values inside values, whatever container they came in.

Arrow gives every object of a column the same keys and pads with null; Parquet, data sets and data
frames hand that padding on. So in nested objects, of any container, a key with null is the same as
no key, and a number without a fraction is the same whether it came as 1 or as 1.0: in a column with
fractions Arrow makes both 1.0. Lists keep their nulls, which are places.

Where a container cannot hold lists and objects, or only such of one shape, they are held as JSON
text; that is the same as what it says.
"""

from __future__ import annotations

import json
import re
from typing import Any

from smalltolarge.examples.json_rows import DECODER, MAX_DEPTH, Duplicated, HugeInteger, too_deep
from smalltolarge.examples.problems import Refused, shown

_WHOLE = 2.0**53  # above it not every whole number is a float
_TURNS = re.compile(r"\s*\[\s*(?=\{)")
_TURN = frozenset({"role", "content"})
_ONCE = "every key once"


def without_padding(value: object, field: str) -> Any:
    """Leave out what has null in nested objects; write numbers without a fraction as integers.

    Raises
    ------
    Refused
        It holds what JSON does not, or an object has a key more than once.
    """
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _WHOLE else value
    if isinstance(value, list):
        return [without_padding(one, field) for one in value]
    if isinstance(value, HugeInteger):
        raise Refused("not text", field, "a whole number that is too long", "JSON values")
    if not isinstance(value, dict):
        raise Refused("not text", field, shown(value), "JSON values; write it as text")
    if type(value) is Duplicated:
        name = min(value.twice)
        raise Refused("duplicate key", f"{field}, {name}", f"{name} more than once", _ONCE)
    for key in value:
        if not isinstance(key, str):
            raise Refused("not text", field, f"a key that is {shown(key)}", "texts as keys")
    return {key: without_padding(one, field) for key, one in value.items() if one is not None}


def canonical(value: object, field: str) -> str:
    """Write nested values as JSON with sorted keys; ``Refused`` where JSON cannot hold them."""
    plain = without_padding(value, field)
    try:
        return json.dumps(plain, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except ValueError as error:
        found = "a number that JSON cannot hold (NaN, Infinity or too long)"
        raise Refused("not text", field, found, "JSON values") from error


def decoded(text: str, field: str, wanted: str) -> Any:
    """Give what a JSON text says, read as strictly as a row of a JSONL file.

    Raises
    ------
    Refused
        It is no JSON, or nested too deep.
    """
    try:
        value = DECODER.decode(text)
    except ValueError:
        raise Refused("not JSON", field, shown(text), wanted) from None
    except RecursionError:
        raise _too_deep(field) from None
    if text.count("{") + text.count("[") > MAX_DEPTH and too_deep(value):
        raise _too_deep(field)
    return value


def _too_deep(field: str) -> Refused:
    return Refused(
        "nested too deep", field, f"objects or lists inside one another more than {MAX_DEPTH} "
        "times", f"at most {MAX_DEPTH}",
    )  # fmt: skip


def first_turn(text: str) -> dict[str, Any] | None:
    """Give the first turn where a text begins as the JSON text of a list of turns does."""
    begin = _TURNS.match(text)
    if begin is None:
        return None
    try:
        turn, _ = DECODER.raw_decode(text, begin.end())
    except (ValueError, RecursionError):
        return None
    return turn if isinstance(turn, dict) else None


def text_or_turns(value: object, column: str) -> Any:
    """Give a list of turns where a text is the JSON text of one, else the value as it is.

    A text may be anything, JSON too: all of it must be turns with a role and a content.
    """
    if type(value) is not str or first_turn(value) is None:
        return value
    try:
        turns = decoded(value, column, "")
    except Refused:
        return value
    are_turns = all(isinstance(turn, dict) and turn.keys() >= _TURN for turn in turns)
    return turns if are_turns else value
