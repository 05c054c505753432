"""Answers that look like a gold answer and are another, for ``bench_answers.py``.

Each is a template of the parts of a gold answer (``answer_shapes.parts``), or a function from a row
to a text, or None where there is none. That it is not equal follows from how it is made: a number
that counts is changed, an element is added, a unit is another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TypeVar

import sympy
from answer_dresses import Row
from answer_rewrites import Form, union
from answer_shapes import (
    decimal,
    fraction,
    intervals,
    matrix,
    members,
    point,
    polynomial,
    terms,
    whole,
)

T = TypeVar("T")


def _of(read: Callable[[Row], T | None], change: Callable[[T], T | str | None],
        write: Callable[[T], str]) -> Form:  # fmt: skip
    """Give a form: read an answer's shape, change it, write it."""

    def written(row: Row) -> str | None:
        found = read(row)
        changed = None if found is None else change(found)
        if changed is None or changed == found:
            return None
        return changed if isinstance(changed, str) else write(changed)

    return written


def _number(change: Callable[[int], int | None]) -> Form:
    return _of(whole, change, str)


def _fraction(change: Callable[[int, int], tuple[int, int]]) -> Form:
    def changed(value: Fraction) -> str | None:
        above, below = change(abs(value.numerator), value.denominator)
        if not below or Fraction(above, below) == abs(value):
            return None
        return f"{'-' if value < 0 else ''}{above}/{below}"

    return _of(fraction, changed, str)


def _list(change: Callable[[list[str]], list[str] | None]) -> Form:
    return _of(members, change, ", ".join)


def _tuple(change: Callable[[list[str]], list[str] | None]) -> Form:
    return _of(point, change, lambda found: f"({', '.join(found)})")


Piece = tuple[str, str, str, str]


def _interval(change: Callable[[str, str, str, str], Piece | None]) -> Form:
    def changed(found: list[Piece]) -> list[Piece] | None:
        last = change(*found[-1])
        return [*found[:-1], last] if last else None

    return _of(intervals, changed, union)


def _matrix(change: Callable[[list[list[str]]], list[list[str]] | None]) -> Form:
    return _of(
        matrix,
        change,
        lambda found: r"\begin{pmatrix} LINES \end{pmatrix}".replace(
            "LINES", r" \\ ".join(" & ".join(line) for line in found)
        ),
    )


def _sum(change: Callable[[list[str]], list[str]]) -> Form:
    def changed(found: list[str]) -> list[str] | None:
        return None if any(re.fullmatch(r"[+-]?\s*0", one) for one in found) else change(found)

    return _of(terms, changed, lambda found: " ".join(found).removeprefix("+").strip())


def _polynomial(change: Callable[[sympy.Expr], sympy.Expr]) -> Form:
    def written(row: Row) -> str | None:
        found = polynomial(row)
        if found is None or sympy.expand(change(found) - found) == 0:
            return None
        return (sympy.latex if row.kind == "latex" else str)(change(found))

    return written


def _edited(pattern: str, change: str | Callable[[re.Match[str]], str]) -> Form:
    def written(row: Row) -> str | None:
        return re.sub(pattern, change, row.gold, count=1) if row.kind == "latex" else None

    return written


def _digits(change: Callable[[str], str | None], *, in_decimals: bool = False) -> Form:
    """Change one run of digits, in an answer where each of them counts."""

    def written(row: Row) -> str | None:
        runs = list(re.finditer(r"[0-9]+", row.gold))
        if not runs or re.search(r"\\(?:sin|cos|tan|cot|sec|csc|log|ln)|\^\{?0|\||!", row.gold):
            return None
        run = row.draw("digits").choice(runs)
        changed = change(run[0])
        if changed is None or (row.gold[: run.start()].endswith(".") and not in_decimals):
            return None
        return row.gold[: run.start()] + changed + row.gold[run.end() :]

    return written


def _next_digit(digit: str) -> str:
    return str(int(digit) + 1) if digit != "9" else "8"


def _sign(row: Row) -> str | None:
    if not (whole(row) or fraction(row) or decimal(row)):
        return None
    return row.gold[1:] if row.gold[0] == "-" else f"-{row.gold}"


def _swapped(value: int) -> int | None:
    text = str(abs(value))
    return int(text[:-2] + text[-1] + text[-2]) if len(text) > 1 and text[-1] != text[-2] else None


def _rounded(row: Row) -> str | None:
    value = fraction(row)
    if value is None or row.kind not in ("latex", "mixed"):
        return None
    text = f"{float(value):.2f}"
    return text if Fraction(text) not in (0, value) else None


def _truncated(row: Row) -> str | None:
    found = re.fullmatch(r"(-?[0-9]*\.[0-9]+)[1-9]", row.gold)
    return found[1] if found and row.kind in ("latex", "mixed") else None


def _turned(one: str) -> str | None:
    is_number = re.fullmatch(r"-?(?:[0-9.]+|\\[dt]?frac\{[0-9]+\}\{[0-9]+\})", one)
    return (one[1:] if one[0] == "-" else f"-{one}") if is_number and one != "0" else None


def _first_turned(found: list[str]) -> list[str] | None:
    turned = _turned(found[0])
    return [turned, *found[1:]] if turned and {turned, *found[1:]} != {*found} else None


def _other_bracket(a: str, low: str, high: str, d: str) -> Piece | None:
    if "infty" not in low:
        return "[" if a == "(" else "(", low, high, d
    return (a, low, high, "]" if d == ")" else ")") if "infty" not in high else None


def _other_end(a: str, low: str, high: str, d: str) -> Piece | None:
    return (a, low, f"{int(high) + 1}", d) if re.fullmatch(r"-?[0-9]+", high) else None


def _endless(a: str, low: str, high: str, d: str) -> Piece | None:
    return (a, low, r"\infty", ")") if "infty" not in high else None


def _entry_turned(found: list[list[str]]) -> list[list[str]] | None:
    for place, one in enumerate(found[-1]):
        if turned := _turned(one):
            return [*found[:-1], [*found[-1][:place], turned, *found[-1][place + 1 :]]]
    return None


def _transposed(found: list[list[str]]) -> list[list[str]] | None:
    return [list(line) for line in zip(*found, strict=True)] if len(found[0]) > 1 else None


_OTHER_UNITS = {
    "inches": "feet", "feet": "yards", "cm": "m", "meters": "kilometers", "miles": "feet",
    "dollars": "cents", "cents": "dollars", "hours": "minutes", "minutes": "hours",
    "days": "weeks", "seconds": "minutes", "degrees": "radians", "square units": "cubic units",
    "square feet": "cubic feet", "square inches": "square feet", "centimeters": "meters",
    "pounds": "ounces", "years": "months",
}  # fmt: skip


def _unit(row: Row) -> str | None:
    found = re.fullmatch(r"(.*[0-9}]\s*\\(?:text|mbox)\{\s*)([a-z ]+?)(\s*\}.*)", row.gold)
    other = _OTHER_UNITS.get(found[2]) if found else None
    return f"{found[1]}{other}{found[3]}" if found and other else None


def _opposite(term: str) -> str:
    return f"+ {term[1:].strip()}" if term[0] == "-" else f"- {term.lstrip('+ ')}"


def _another_letter(found: sympy.Expr) -> sympy.Expr:
    free = next(one for one in "wqvk" if sympy.Symbol(one) not in found.free_symbols)
    return found.subs(min(found.free_symbols, key=str), sympy.Symbol(free))


def _approximate(row: Row) -> str | None:
    found = re.fullmatch(r"([1-9]?)\s*(?:\\sqrt\{([2367])\}|\\pi)", row.gold)
    if found is None or re.search(r"approx|nearest|decimal|3\.14", row.question):
        return None
    return f"{int(found[1] or 1) * (math.sqrt(int(found[2])) if found[2] else math.pi):.2f}"


_OTHER_WORDS = {
    "odd": "even", "even": "odd", "neither": "even", "Yes": "No", "No": "Yes", "True": "False",
    "False": "True", "circle": "ellipse", "ellipse": "circle", "Friday": "Sunday",
}  # fmt: skip


def _another_word(row: Row) -> str | None:
    found = re.fullmatch(r"\\text\{\s*([A-Za-z]{2,}[a-z ]*?)\s*\}", row.gold)
    if found is None:
        return _OTHER_WORDS.get(row.gold)
    return rf"\text{{{_OTHER_WORDS.get(found[1], 'seventeen')}}}"


def _another_choice(row: Row) -> str | None:
    if row.kind == "mixed":
        offered = re.findall(r"\(([a-h])\)", row.question)
        left = [one for one in offered if one != row.gold]
        return left[0] if row.gold in offered and left else None
    found = re.fullmatch(r"(?:\\text\{)?\(?([A-F])\)?\}?", row.gold)
    return rf"\text{{({'ABCDEFA'['ABCDEF'.index(found[1]) + 1]})}}" if found else None


def _echo(row: Row) -> str | None:
    """Give the formula that the question asks to write otherwise."""
    asked = re.search(
        r"(?i:factor|expand|simplify|rationalize)[^$.]*\$([^$]+)\$|"
        r"(?:Factor|Expand|Simplify) ([^?]*?[0-9a-z)])(?: assuming [^?]*)?[.?]?$",
        row.question,
    )
    formula = (asked[1] or asked[2]).strip(" .,") if asked else row.gold
    return None if re.sub(r"\W", "", formula) == re.sub(r"\W", "", row.gold) else formula


MISSES: Mapping[str, str | Form] = {
    "sign": _sign,
    "last digit": _digits(lambda run: run[:-1] + _next_digit(run[-1]), in_decimals=True),
    "first digit": _digits(lambda run: _next_digit(run[0]) + run[1:] if run[1:] else None),
    "digit missing": _digits(lambda run: run[:-1] or None),
    "digit twice": _digits(lambda run: run + run[-1] if run != "0" else None),
    "one more": _number(lambda value: value + 1),
    "one less": _number(lambda value: value - 1),
    "twice": _number(lambda value: 2 * value),
    "half": _number(lambda value: value // 2 if value % 2 == 0 else None),
    "digits swapped": _number(_swapped),
    "digits apart": "<spaced>",
    "ten times": "<nonzero>0",
    "decimal in front": "0.<large>",
    "reciprocal": "1/<large>",
    "squared": "<large>^2",
    "factorial": "<large formula>!",
    "times pi": r"<large formula>\pi",
    "percentage": r"<no percentage>\%",
    "numerator": _fraction(lambda above, below: (above + 1, below)),
    "denominator": _fraction(lambda above, below: (above, below + 1)),
    "numerator alone": _fraction(lambda above, below: (above, 1)),
    "fraction upside down": _fraction(lambda above, below: (below, above)),
    "complement of a fraction": _fraction(lambda above, below: (below - above, below)),
    "fraction rounded": _rounded,
    "decimal shifted": _of(decimal, lambda value: f"{float(10 * value):.12g}", str),
    "decimal point missing": lambda row: row.gold.replace(".", "") if decimal(row) else None,
    "decimal truncated": _truncated,
    "element missing": _list(lambda found: found[1:]),
    "element more": _list(lambda found: [*found, "97"] if "97" not in found else None),
    "element turned": _list(_first_turned),
    "tuple in another order": _tuple(lambda found: [*found[1:], found[0]]),
    "tuple with an element twice": _tuple(lambda found: [*found, found[-1]]),
    "tuple with an element less": _tuple(lambda found: found[:-1] if len(found) > 2 else None),
    "tuple with an element turned": _tuple(_first_turned),
    "bracket of an interval": _interval(_other_bracket),
    "end of an interval": _interval(_other_end),
    "interval without end": _interval(_endless),
    "piece of a union missing": _of(intervals, lambda found: found[1:] or None, union),
    "matrix transposed": _matrix(_transposed),
    "matrix with an entry turned": _matrix(_entry_turned),
    "matrix with a row missing": _matrix(lambda found: found[:-1] or None),
    "matrix with rows swapped": _matrix(lambda found: found[::-1]),
    "unit": _unit,
    "power of a unit": _edited(
        r"(\\(?:text|mbox)\{[^{}]*\}\s*\^\{?)([23])", lambda found: f"{found[1]}{5 - int(found[2])}"
    ),
    "sign of the last term": _sum(lambda found: [*found[:-1], _opposite(found[-1])]),
    "sign of the first term": _sum(lambda found: [_opposite(found[0]), *found[1:]]),
    "term missing": _sum(lambda found: found[:-1]),
    "another letter": _polynomial(_another_letter),
    "coefficients twice": _polynomial(lambda found: 2 * found),
    "constant added": _polynomial(lambda found: found + 1),
    "exponent": _edited(
        r"(?<=[a-z])\^(?:\{[2-9]\}|[2-9])",
        lambda found: f"^{{{int(found[0].strip('^{}')) + 1}}}",
    ),
    "letter without its power": _edited(r"(?<=[a-z])\^(?:\{[2-9]\}|[2-9])", ""),
    "radicand": _edited(r"\\sqrt\{([0-9]+)\}", lambda found: rf"\sqrt{{{int(found[1]) + 1}}}"),
    "root dropped": _edited(r"\\sqrt\{([0-9]{2,})\}$", r"\1"),
    "pi dropped": _edited(r"(?<=[2-9])\s*\\pi$", ""),
    "i dropped": _edited(r"(?<=[2-9])\s*i$", ""),
    "approximate": _approximate,
    "base": _edited(r"_\{?([2-9])\}?$", lambda found: f"_{{{int(found[1]) + 1}}}"),
    "word": _another_word,
    "choice": _another_choice,
    "strict": _edited(r"\\[lg]eq?(?![a-z])", lambda found: "<" if "l" in found[0] else ">"),
    "formula of the question": _echo,
}
"""Ways to miss an answer."""
