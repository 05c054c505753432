"""Run straight-line arithmetic programs without running code.

A program of thought for a word problem assigns numbers to names and prints one of them. Such
programs are interpreted here, statement by statement, with Python's own arithmetic. Everything else
(loops, functions, attributes, other calls or imports) is refused, so that no program can do more
than calculate.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

Number = int | float | Fraction

_OPERATIONS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "comb": math.comb,
    "float": float,
    "Fraction": Fraction,
    "gcd": math.gcd,
    "int": int,
    "lcm": math.lcm,
    "max": max,
    "min": min,
    "round": round,
    "sum": lambda *values: sum(values),
}
_IMPORTS = {"math": {"comb", "gcd", "lcm"}, "fractions": {"Fraction"}}
_LONGEST = 4000
"""Characters of a program."""
_LARGEST = 10**100
_MOST_CHOSEN = 1000
"""Largest number that ``comb`` is given."""


class NotArithmetic(Exception):
    """The program does something else than calculate, or cannot be calculated."""


def run_program(program: str) -> str:
    """Give what a program prints: its last line.

    Raises
    ------
    NotArithmetic
        It is no straight-line arithmetic, fails, or prints nothing.
    """
    if len(program) > _LONGEST:
        raise NotArithmetic(f"longer than {_LONGEST} characters")
    printed: str | None = None
    names: dict[str, Number] = {}
    try:
        for statement in ast.parse(program).body:
            match statement:
                case ast.ImportFrom(module=module, names=found) if all(
                    one.name in _IMPORTS.get(module or "", ()) and one.asname is None
                    for one in found
                ):
                    pass
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    names[name] = _number(value, names)
                case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=[shown], keywords=[])):
                    printed = _text(shown, names)
                case _:
                    raise NotArithmetic(f"line {statement.lineno} is not arithmetic")
    except (
        SyntaxError,
        ArithmeticError,
        ValueError,
        TypeError,
        RecursionError,
        MemoryError,
    ) as error:
        raise NotArithmetic(str(error)) from error
    if printed is None:
        raise NotArithmetic("it prints nothing")
    return printed


def _number(node: ast.expr, names: Mapping[str, Number]) -> Number:
    match node:
        case ast.Constant(value=value) if type(value) in (int, float):
            found: Any = value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            found = -_number(operand, names)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            found = _OPERATIONS[type(op)](_number(left, names), _number(right, names))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            values = [_number(one, names) for one in args]
            if name == "comb" and max(values, default=0) > _MOST_CHOSEN:
                raise NotArithmetic("too large a choice")
            found = _FUNCTIONS[name](*values)
        case _:
            raise NotArithmetic(f"{type(node).__name__} is not arithmetic")
    size = max(abs(found.numerator), found.denominator) if isinstance(found, Fraction) else found
    if not -_LARGEST < size < _LARGEST:
        raise NotArithmetic("too large a number")
    return found  # type: ignore[no-any-return]


def _text(node: ast.expr, names: Mapping[str, Number]) -> str:
    """Write what is printed: a number, or an f-string of one with a fixed format."""
    match node:
        case ast.JoinedStr(
            values=[
                ast.FormattedValue(
                    value=value,
                    conversion=-1,
                    format_spec=None | ast.JoinedStr(values=[ast.Constant()]) as how,
                )
            ]
        ):
            form = ""
            if isinstance(how, ast.JoinedStr) and isinstance(how.values[0], ast.Constant):
                form = str(how.values[0].value)
            if len(form) > 6:
                raise NotArithmetic("too long a format")
            return format(_number(value, names), form)
        case _:
            return str(_number(node, names))
