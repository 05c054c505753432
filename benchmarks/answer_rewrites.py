"""Equal forms of a gold answer, for ``bench_answers.py``.

Each is a template of the parts of a gold answer (``answer_shapes.parts``), or a function from a row
to a text, or None where there is none. That it is equal follows from how it is made and, for
polynomials, from sympy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import sympy
from answer_dresses import Row
from answer_shapes import (
    ASKS_FORM,
    decimal,
    fraction,
    intervals,
    matrix,
    members,
    polynomial,
    terms,
)

Form = Callable[[Row], str | None]


def _exact(row: Row) -> str | None:
    value = fraction(row)
    if value is None or ASKS_FORM.search(row.question):
        return None
    for places in range(1, 7):
        if (value * 10**places).denominator == 1:
            return f"{float(value):.{places}f}"
    return None


def _decimal_as_fraction(row: Row) -> str | None:
    value = decimal(row)
    if value is None or value.denominator == 1 or ASKS_FORM.search(row.question):
        return None
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def _leading_zero(row: Row) -> str | None:
    if decimal(row) is None:
        return None
    is_there = re.match(r"-?0\.", row.gold)
    return row.gold.replace("0.", ".", 1) if is_there else re.sub(r"^(-?)\.", r"\g<1>0.", row.gold)


def _brackets(row: Row) -> str | None:
    if r"\left" in row.gold:
        return re.sub(r"\\left|\\right", "", row.gold)
    if re.search(r"\\\{|\[", row.gold) or row.kind != "latex":
        return None
    return row.gold.replace("(", r"\left(").replace(")", r"\right)")


def _without_spaces(row: Row) -> str | None:
    has_words = re.search(r"\\(?:text|mbox)|[0-9] [0-9]", row.gold)
    if has_words or (row.kind != "latex" and "," not in row.gold):
        return None
    return re.sub(r"(?<!\\) +(?![A-Za-z])|(?<![A-Za-z\\]) +", "", row.gold)


def _thin_spaces(row: Row) -> str | None:
    if row.kind != "latex" or re.search(r"\\text|begin|mbox", row.gold):
        return None
    return re.sub(r"(?<=[0-9}a-z)])(?:,(?!\\)| ?[+=] ?)", r"\g<0>\\, ", row.gold)


def _each_labelled(row: Row) -> str | None:
    found = members(row)
    if found is None or row.letter is None or any(row.letter in one for one in found):
        return None
    return ", ".join(f"{row.letter} = {one}" for one in found)


def _as_inequality(row: Row) -> str | None:
    found = intervals(row)
    letter = row.letter or ("x" if re.search(r"\$x\$|f\(x\)", row.question) else None)
    if found is None or letter is None or "range" in row.question:
        return None
    told = []
    for opening, low, high, closing in found:
        less, more = ("<" if opening == "(" else r"\le"), ("<" if closing == ")" else r"\le")
        if "infty" in high and "infty" in low:
            return None
        if "infty" in high:
            told.append(f"{letter} {less.replace('<', '>').replace('l', 'g')} {low}")
        else:
            told.append(f"{'' if 'infty' in low else f'{low} {less} '}{letter} {more} {high}")
    return r" \text{ or } ".join(told)


def union(found: list[tuple[str, str, str, str]]) -> str:
    """Write a union of intervals."""
    return r" \cup ".join(f"{a}{b}, {c}{d}" for a, b, c, d in found)


def _union_turned(row: Row) -> str | None:
    found = intervals(row)
    return union(found[::-1]) if found and len(found) > 1 else None


def _element_of(row: Row) -> str | None:
    return rf"{row.letter} \in {row.gold}" if intervals(row) and row.letter else None


def _matrix(environment: str) -> Form:
    def written(row: Row) -> str | None:
        found = matrix(row)
        lines = r" \\ ".join(" & ".join(line) for line in found or [])
        return environment.replace("LINES", lines) if found else None

    return written


def _nested_list(opening: str, closing: str) -> Form:
    def written(row: Row) -> str | None:
        found = matrix(row)
        if not found or "\\" in "".join(map("".join, found)):
            return None
        return opening + ", ".join(f"[{', '.join(line)}]" for line in found) + closing

    return written


def _terms_turned(row: Row) -> str | None:
    found = terms(row)
    if found is None:
        return None
    turned = [one if one[0] in "+-" else f"+{one}" for one in reversed(found)]
    return " ".join(re.sub(r"^([+-])\s*", r"\1 ", one) for one in turned).removeprefix("+ ")


def _polynomial(
    change: Callable[[sympy.Expr], sympy.Expr], write: Callable[[sympy.Expr], str]
) -> Form:
    def written(row: Row) -> str | None:
        found = polynomial(row) if not ASKS_FORM.search(row.question) else None
        return None if found is None else write(change(found))

    return written


def _replaced(pattern: str, change: str) -> Form:
    def written(row: Row) -> str | None:
        return re.sub(pattern, change, row.gold) if row.kind == "latex" else None

    return written


def _python(row: Row) -> str | None:
    """Write roots, fractions and pi as Python has them."""
    if row.kind != "latex" or not re.search(r"sqrt|pi\b", row.gold):
        return None
    text = re.sub(r"\\sqrt\s*(?:\{([^{}]+)\}|([0-9]))", r"sqrt(\1\2)", row.gold)
    text = re.sub(r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}", r"(\1)/(\2)", text)
    text = text.replace("\\pi", "pi")
    if re.search(r"[\\{}^=,<]", text):
        return None
    return re.sub(r"(?<=[0-9)i])\s*(?=sqrt|pi|\()", "*", text)


REWRITES: Mapping[str, str | Form] = {
    "fraction, tfrac": r"<sign>\tfrac{<above>}{<below>}",
    "fraction, dfrac": r"<sign>\dfrac{<above>}{<below>}",
    "fraction with a stroke": "<sign><above>/<below>",
    "fraction with over": r"<sign>{<above> \over <below>}",
    "fraction, sign above": r"\frac{<sign><above>}{<below>}",
    "fraction as an exact decimal": _exact,
    "fraction as a mixed number": r"<units>\frac{<rest>}{<below>}",
    "fraction as a plain mixed number": "<units> <rest>/<below>",
    "decimal as a fraction": _decimal_as_fraction,
    "leading zero": _leading_zero,
    "point zero": "<whole>.0",
    "number in words": "<number word>",
    "number in bold": r"\mathbf{<formula whole>}",
    "number as text": r"\text{<formula whole>}",
    "number with a point": "<formula whole>.",
    "thousands": "<grouped>",
    "thousands, LaTeX": "<grouped tightly>",
    "thousands, braces": "<grouped in braces>",
    "thousands, none": "<whole>",
    "letter equals": "<letter> = <value>",
    "letter after": "<value> = <letter>",
    "letter dropped": "<labelled>",
    "sides swapped": "<side other> = <side>",
    "unit asked for": "<amount asked for> <asked unit>",
    "unit asked for, text": r"<amount asked for> \text{ <asked unit>}",
    "unit dropped": "<unit amount>",
    "unit, mathrm": r"<unit amount>\ \mathrm{<unit>}",
    "unit, plain": "<unit amount> <unit>",
    "degrees dropped": "<degrees>",
    "degrees in words": r"<degrees> \text{ degrees}",
    "degrees, sign": "<degrees>°",
    "degrees, braces": r"<degrees>^{\circ}",
    "percent dropped": "<percent>",
    "percent in words": r"<percent> \text{ percent}",
    "money dropped": "<money>",
    "money in words": r"<money> \text{ dollars}",
    "money with cents": r"\$<whole money>.00",
    "left and right": _brackets,
    "no spaces": _without_spaces,
    "thin spaces": _thin_spaces,
    "list in another order": "<turned members>",
    "list with and": r"<but last> \text{ and } <last>",
    "list with and, plain": "<plain but last> and <plain last>",
    "list as a set": r"\{<members>\}",
    "list, each with a letter": _each_labelled,
    "interval as an inequality": _as_inequality,
    "interval with element of": _element_of,
    "union in another order": _union_turned,
    "matrix, bmatrix": _matrix(r"\begin{bmatrix} LINES \end{bmatrix}"),
    "matrix, array": _matrix(r"\left( \begin{array}{ccc} LINES \end{array} \right)"),
    "matrix, nested list": _nested_list("[", "]"),
    "matrix, sympy": _nested_list("Matrix([", "])"),
    "terms in another order": _terms_turned,
    "polynomial as Python": _polynomial(lambda found: found, str),
    "polynomial as LaTeX": _polynomial(lambda found: found, sympy.latex),
    "polynomial expanded": _polynomial(sympy.expand, sympy.latex),
    "polynomial factored": _polynomial(sympy.factor, sympy.latex),
    "root without braces": _replaced(r"\\sqrt\{([0-9])\}", r"\\sqrt\1"),
    "root with braces": _replaced(r"\\sqrt\s*([0-9])", r"\\sqrt{\1}"),
    "root, sign": _replaced(r"\\sqrt\{([0-9]+)\}", r"√\1"),
    "root as a power": _replaced(r"^(-?)\\sqrt\{([0-9]+)\}$", r"\1\2^{1/2}"),
    "root times": _replaced(r"(?<=[0-9])\s*\\sqrt", r" \\cdot \\sqrt"),
    "pi times": _replaced(r"(?<=[0-9])\s*\\pi", r" \\times \\pi"),
    "pi outside": _replaced(r"\\frac\{([0-9]+)\s*\\pi\}\{([0-9]+)\}", r"\\frac{\1}{\2}\\pi"),
    "pi, part in front": _replaced(r"\\frac\{\\pi\}\{([0-9]+)\}", r"\\frac{1}{\1} \\pi"),
    "pi with a stroke": _replaced(r"^\\frac\{([0-9]*\s*\\pi)\}\{([0-9]+)\}$", r"\1/\2"),
    "roots and pi as Python": _python,
    "dfrac inside": _replaced(r"\\frac(?=\{)", r"\\dfrac"),
    "base in braces": "<based>_{<based base>}",
    "base around": "(<based>)_{<based base>}",
    "imaginary part times": _replaced(r"(?<=[0-9])\s*i\b", r" \\cdot i"),
    "word without text": "<word>",
    "word in bold": r"\textbf{<word>}",
    "choice, letter": "<choice>",
    "choice in brackets": r"\text{(<choice>)}",
    "choice in bold": r"\textbf{(<choice>)}",
    "truth": lambda row: {"True": "Yes", "False": "No"}.get(row.gold),
    "option in brackets": "(<option>)",
    "option with its text": "(<option>) <option text>",
    "option's text": "<option text>",
}
"""Ways to write an answer that is equal."""
