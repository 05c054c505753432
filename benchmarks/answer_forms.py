"""Equal and unequal forms of a gold answer, for ``bench_answers.py``.

Every function takes a row and gives another text of its answer, or None where it has none for this
answer. Equality and inequality follow from how the text is made (and, for polynomials, from sympy);
the code under test has no part in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction

import sympy
from answer_dresses import Row

Form = Callable[[Row], str | None]

_FRACTION = re.compile(
    r"(?P<sign>-?)\s*(?:\\[dt]?frac\s*(?:\{(?P<a>[0-9]+)\}|(?P<b>[0-9]))\s*"
    r"(?:\{(?P<c>[0-9]+)\}|(?P<d>[0-9]))|(?P<e>[0-9]+)/(?P<f>[0-9]+))"
)
_UNITS = (
    "inches", "feet", "yards", "miles", "centimeters", "meters", "kilometers", "units", "dollars",
    "cents", "degrees", "minutes", "hours", "seconds", "days", "weeks", "years", "pounds", "ounces",
    "grams", "gallons", "liters", "square units", "square inches", "square feet", "cubic inches",
    "square centimeters", "square meters", "cubic feet", "cubic centimeters", "cubic units",
)  # fmt: skip
_ASKS_FORM = re.compile(
    r"factor|expand|simplif|simplest|rationaliz|radical form|lowest terms|common fraction|decimal"
    r"|mixed number|standard form|nearest|round|express|write|form|collect|calculate",
    re.IGNORECASE,
)
_ASKS_ORDER = re.compile(
    r"order|sort|least to|respectively|ascending|descending|increasing|decreasing|sequence",
    re.IGNORECASE,
)


# What an answer is made of


def pieces(text: str, separator: str = ",") -> list[str]:
    """Split outside all brackets."""
    found, depth, start, place = [], 0, 0, 0
    while place < len(text):
        if text[place] in "([{":
            depth += 1
        elif text[place] in ")]}":
            depth -= 1
        elif depth == 0 and text.startswith(separator, place):
            found.append(text[start:place].strip())
            start = place + len(separator)
            place = start
            continue
        place += 1
    return [*found, text[start:].strip()]


def whole(row: Row) -> int | None:
    """Give a whole number, its thousands marked or not."""
    text = re.sub(r"\\!|\s", "", row.gold.replace("{,}", ","))
    if re.fullmatch(r"-?[0-9]{1,3}(?:,[0-9]{3})+|-?[1-9][0-9]{0,14}|0", text):
        return int(text.replace(",", ""))
    return None


def fraction(row: Row) -> Fraction | None:
    """Give a fraction that is not whole, in lowest terms as it stands."""
    found = _FRACTION.fullmatch(row.gold.strip())
    if found is None:
        return None
    above, below = found["a"] or found["b"] or found["e"], found["c"] or found["d"] or found["f"]
    value = Fraction(int(above), int(below) or 1)
    is_lowest = value.denominator == int(below) != 1
    return (-value if found["sign"] else value) if is_lowest else None


def decimal(row: Row) -> Fraction | None:
    """Give a decimal."""
    text = row.gold.strip()
    return Fraction(text) if re.fullmatch(r"-?[0-9]*\.[0-9]+", text) else None


def mixed_number(row: Row) -> tuple[int, int, int] | None:
    found = re.fullmatch(r"([1-9][0-9]*)\s*\\[dt]?frac\s*\{?([0-9]+?)\}?\{?([0-9]+)\}?", row.gold)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def members(row: Row) -> list[str] | None:
    """Give what a list or set holds; intervals, points and marked thousands are none."""
    text = row.gold.replace("{,}", "").replace("\\!", "").strip()
    as_set = r"\[(.*)\]" if row.kind == "mixed" else r"\\\{(.*)\\\}"
    if inner := re.fullmatch(as_set, text):
        text = inner[1]
    if whole(row) is not None or re.search(r"\\(?:text|mbox|cup|begin|pm|in|left)\b|[=<>]", text):
        return None
    found = pieces(text)
    return found if len(found) > 1 and all(found) and len(set(found)) == len(found) else None


def point(row: Row) -> list[str] | None:
    """Give what a point or a tuple holds."""
    text = re.sub(r"\\left|\\right", "", row.gold).strip()
    found = pieces(text[1:-1])
    is_tuple = text[:1] == "(" and text[-1:] == ")" and len(pieces(text)) == 1
    if not is_tuple or len(found) < 2 or "infty" in text or _is_interval(row) or ")" in text[1:-1]:
        return None
    return found


def _is_interval(row: Row) -> bool:
    asks = r"interval|domain|range|inequal|for which|for what|all (?:real )?(?:values|numbers|\$?x)"
    return bool(re.search(asks, row.question)) or "infty" in row.gold


_INTERVAL = re.compile(r"([(\[])([^()\[\],]+),([^()\[\],]+)([)\]])")


def intervals(row: Row) -> list[tuple[str, str, str, str]] | None:
    """Give (bracket, end, end, bracket) of an interval or a union of intervals."""
    text = re.sub(r"\\left|\\right", "", row.gold).strip()
    found = [_INTERVAL.fullmatch(one) for one in pieces(text, r"\cup")]
    if not all(found) or not (_is_interval(row) or text[0] + text[-1] in ("[)", "(]")):
        return None
    return [(one[1], one[2].strip(), one[3].strip(), one[4]) for one in found if one]


def matrix(row: Row) -> list[list[str]] | None:
    found = re.fullmatch(r"\s*\\begin\{([pb])matrix\}(.*)\\end\{\1matrix\}\s*", row.gold, re.DOTALL)
    if not found or "begin" in found[2]:
        return None
    return [
        [one.strip() for one in line.split("&")] for line in found[2].split(r"\\") if line.strip()
    ]


def terms(row: Row) -> list[str] | None:
    """Give the terms of a sum, each with its sign."""
    text = re.sub(r"\s+", " ", row.gold).strip()
    if re.search(r"[=,<>&:|]|\\(?:text|mbox|cup|pm|begin|in|infty|cdots|left|to)\b", text):
        return None
    found, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        before = text[:place].rstrip()[-1:]
        if depth == 0 and sign in "+-" and before and before not in "+-*/^(e":
            found.append(text[start:place].strip())
            start = place
    found.append(text[start:].strip())
    return found if len(found) > 1 else None


def _polynomial(row: Row) -> sympy.Expr | None:
    """Read a polynomial of one-letter variables, as LaTeX or as Python."""
    text = row.gold.replace("**", "^").strip()
    if not re.fullmatch(r"[-+*/0-9a-z^{}() ]+", text) or not re.search(r"[a-z]", text):
        return None
    if re.search(r"[a-z]{2}\^?\(|[a-z]\(|/[a-z(]", text) or re.search(r"[ei]", text):
        return None
    text = re.sub(r"(?<=[0-9a-z)}])\s*(?=[a-z(])", "*", text).replace("^", "**")
    text = text.replace("{", "(").replace("}", ")")
    names = {letter: sympy.Symbol(letter) for letter in re.findall("[a-z]", text)}
    try:
        found = sympy.sympify(text, locals=names)
    except (sympy.SympifyError, SyntaxError, TypeError):
        return None
    return found if found.is_polynomial() and found.free_symbols else None


def _outside(text: str, change: Callable[[re.Match[str]], str], pattern: str) -> str | None:
    changed = re.sub(pattern, change, text)
    return changed if changed != text else None


def _is_formula(row: Row) -> bool:
    return row.kind == "latex"


# Equal forms


def _fraction_as(form: str) -> Form:
    def written(row: Row) -> str | None:
        value = fraction(row)
        if value is None:
            return None
        sign, above, below = "-" if value < 0 else "", abs(value.numerator), value.denominator
        found = form.replace("A", str(above)).replace("B", str(below)).replace("-", sign)
        return found if found != row.gold else None

    return written


def _exact(row: Row) -> str | None:
    value = fraction(row)
    if value is None or _ASKS_FORM.search(row.question):
        return None
    for places in range(1, 7):
        if (value * 10**places).denominator == 1:
            digits = str(abs(int(value * 10**places))).rjust(places + 1, "0")
            return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    return None


def _mixed(form: str) -> Form:
    def written(row: Row) -> str | None:
        value = fraction(row)
        if value is None or value < 1 or _ASKS_FORM.search(row.question):
            return None
        units, left = divmod(value, 1)
        parts = {"U": units, "A": left.numerator, "B": left.denominator}
        return re.sub("[UAB]", lambda found: str(parts[found[0]]), form)

    return written


def _improper(row: Row) -> str | None:
    parts = mixed_number(row)
    if parts is None or _ASKS_FORM.search(row.question):
        return None
    return rf"\frac{{{parts[0] * parts[2] + parts[1]}}}{{{parts[2]}}}"


def _decimal_as_fraction(row: Row) -> str | None:
    value = decimal(row)
    if value is None or value.denominator == 1 or _ASKS_FORM.search(row.question):
        return None
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def _no_leading_zero(row: Row) -> str | None:
    text = row.gold.strip()
    if re.fullmatch(r"-?0\.[0-9]+", text):
        return text.replace("0.", ".", 1)
    return text.replace(".", "0.", 1) if re.fullmatch(r"-?\.[0-9]+", text) else None


def _point_zero(row: Row) -> str | None:
    value = whole(row)
    return None if value is None else f"{value}.0"


_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
)  # fmt: skip


def _in_words(row: Row) -> str | None:
    value = whole(row)
    if value is None or not 2 <= value <= 12:
        return None
    return rf"\text{{{_WORDS[value]}}}" if row.kind == "latex" else _WORDS[value]


def _wrapped(form: str) -> Form:
    def written(row: Row) -> str | None:
        return form.replace("ANSWER", row.gold) if _is_formula(row) and whole(row) else None

    return written


def _thousands(mark: str) -> Form:
    def written(row: Row) -> str | None:
        value = whole(row)
        if value is None or abs(value) < 1000:
            return None
        found = f"{value:,}".replace(",", mark)
        return found if found != row.gold else None

    return written


def _labelled(form: str) -> Form:
    def written(row: Row) -> str | None:
        if row.letter is None or not row.is_one_value or row.letter in row.gold:
            return None
        return form.replace("X", row.letter).replace("ANSWER", row.gold)

    return written


def _label_dropped(row: Row) -> str | None:
    found = re.fullmatch(
        r"\s*[a-zA-Z]\s*=\s*(-?[0-9]+|-?\\[dt]?frac\{[0-9]+\}\{[0-9]+\})\s*", row.gold
    )
    return found[1] if found else None


def _asked_unit(row: Row) -> str | None:
    """Give the unit that the question asks for."""
    question = row.question.lower()
    for unit in sorted(_UNITS, key=len, reverse=True):
        if re.search(rf"how many {unit}\b|in {unit}\b[^.?!]*[?.]?\s*$", question):
            return unit
    return None


def _with_unit(form: str) -> Form:
    def written(row: Row) -> str | None:
        unit, is_number = _asked_unit(row), whole(row) is not None or fraction(row) is not None
        if unit is None or not is_number or row.kind == "unknowns":
            return None
        if row.kind != "latex" and "\\" in form:
            return None
        return form.replace("UNIT", unit).replace("ANSWER", row.gold)

    return written


def _unit_dropped(row: Row) -> str | None:
    found = re.fullmatch(
        r"(.*[0-9}])\s*\\(?:text|mbox)\{\s*([a-z .]+)\}(?:\^\{?[23]\}?)?", row.gold, re.DOTALL
    )
    return (
        found[1].strip()
        if found and found[2].strip() not in ("a.m.", "p.m.", "and", "or")
        else None
    )


def _unit_as(form: str) -> Form:
    def written(row: Row) -> str | None:
        found = re.fullmatch(r"(.*[0-9}])\s*\\(?:text|mbox)\{\s*([a-z ]+?)\s*\}", row.gold)
        return form.replace("ANSWER", found[1]).replace("UNIT", found[2]) if found else None

    return written


def _degrees(form: str) -> Form:
    def written(row: Row) -> str | None:
        found = re.fullmatch(r"(-?[0-9.]+)\s*\^\s*(?:\\circ|\{\\circ\})", row.gold)
        if found:
            return form.replace("ANSWER", found[1])
        asks = "in degrees" in row.question.lower() and whole(row) is not None
        return form.replace("ANSWER", row.gold) if asks and form != "ANSWER" else None

    return written


def _percent(form: str) -> Form:
    def written(row: Row) -> str | None:
        found = re.fullmatch(r"(-?[0-9.]+)\s*\\?%", row.gold)
        if found and re.search(r"what percent|percentage", row.question, re.IGNORECASE):
            return form.replace("ANSWER", found[1])
        return None

    return written


def _money(form: str) -> Form:
    def written(row: Row) -> str | None:
        found = re.fullmatch(r"\\?\$\s*([0-9]+(?:\.[0-9]{2})?)", row.gold)
        if found and not (form.endswith(".00") and "." in found[1]):
            return form.replace("ANSWER", found[1])
        return None

    return written


def _brackets(row: Row) -> str | None:
    if r"\left" in row.gold:
        return re.sub(r"\\left|\\right", "", row.gold)
    if "\\{" in row.gold or not re.search(r"\(", row.gold):
        return None
    changed = row.gold.replace("(", r"\left(").replace(")", r"\right)")
    is_balanced = changed.count(r"\left") == changed.count(r"\right")
    return changed if is_balanced and _is_formula(row) else None


def _without_spaces(row: Row) -> str | None:
    if re.search(r"\\(?:text|mbox)|[0-9] [0-9]", row.gold) or (
        row.kind != "latex" and "," not in row.gold
    ):
        return None
    changed = re.sub(r"(?<!\\) +(?![A-Za-z])|(?<![A-Za-z\\]) +", "", row.gold.strip())
    return changed if changed != row.gold else None


def _thin_spaces(row: Row) -> str | None:
    if not _is_formula(row) or re.search(r"\\text|begin|mbox", row.gold):
        return None
    return _outside(
        row.gold, lambda found: f"{found[0]}\\, ", r"(?<=[0-9}a-z)]),(?!\\)|(?<=[0-9}a-z)]) ?[+=] ?"
    )


def _reordered(row: Row) -> str | None:
    found = members(row)
    if found is None or _ASKS_ORDER.search(row.question):
        return None
    brackets = re.fullmatch(r"(\\\{|\[)?.*?(\\\}|\])?", row.gold.strip(), re.DOTALL)
    assert brackets is not None
    return f"{brackets[1] or ''}{', '.join(reversed(found))}{brackets[2] or ''}"


def _as_list(form: str, glue: str, last: str) -> Form:
    def written(row: Row) -> str | None:
        found = members(row)
        if found is None or (row.kind == "mixed" and "\\" in form + last):
            return None
        return form.replace("MEMBERS", f"{glue.join(found[:-1])}{last}{found[-1]}")

    return written


def _each_labelled(row: Row) -> str | None:
    found = members(row)
    if found is None or row.letter is None or any(row.letter in one for one in found):
        return None
    return ", ".join(f"{row.letter} = {one}" for one in found)


_PRINTED_INFINITY = r"-?\\infty"


def _as_inequality(row: Row) -> str | None:
    found = intervals(row)
    letter = row.letter or ("x" if "$x$" in row.question or "f(x)" in row.question else None)
    if found is None or letter is None or "range" in row.question or not _is_formula(row):
        return None
    told = []
    for opening, low, high, closing in found:
        below = "" if "infty" in low else f"{low} {'<' if opening == '(' else chr(92) + 'le'} "
        above = "" if "infty" in high else f" {'<' if closing == ')' else chr(92) + 'le'} {high}"
        if not below and not above:
            return None
        if not above:
            above, below = f" {'>' if opening == '(' else chr(92) + 'ge'} {low}", ""
        told.append(f"{below}{letter}{above}")
    return r" \text{ or } ".join(told)


def _union_reordered(row: Row) -> str | None:
    found = intervals(row)
    if found is None or len(found) < 2:
        return None
    return r" \cup ".join(f"{a}{b}, {c}{d}" for a, b, c, d in reversed(found))


def _element_of(row: Row) -> str | None:
    found = intervals(row)
    return rf"{row.letter} \in {row.gold}" if found and row.letter else None


def _matrix_as(opening: str, row_end: str, closing: str, glue: str, line: str) -> Form:
    def written(row: Row) -> str | None:
        found = matrix(row)
        if found is None or (line != "LINE" and any("\\" in one for each in found for one in each)):
            return None
        lines = [line.replace("LINE", glue.join(each)) for each in found]
        changed = f"{opening}{row_end.join(lines)}{closing}"
        return changed if changed != row.gold else None

    return written


def _terms_reversed(row: Row) -> str | None:
    found = terms(row)
    if found is None or _ASKS_ORDER.search(row.question):
        return None
    turned = [one if one[0] in "+-" else f"+{one}" for one in reversed(found)]
    return " ".join(re.sub(r"^([+-])\s*", r"\1 ", one) for one in turned).removeprefix("+ ")


def _python(row: Row) -> str | None:
    found = _polynomial(row)
    return None if found is None or str(found) == row.gold else str(found)


def _by_sympy(change: Callable[[sympy.Expr], sympy.Expr]) -> Form:
    def written(row: Row) -> str | None:
        found = _polynomial(row)
        if found is None or _ASKS_FORM.search(row.question):
            return None
        changed = change(found)
        return None if changed == found else sympy.latex(changed)

    return written


def _latex_of_python(row: Row) -> str | None:
    found = _polynomial(row) if row.kind != "latex" else None
    return None if found is None else sympy.latex(found)


def _replaced(pattern: str, change: str) -> Form:
    def written(row: Row) -> str | None:
        if not _is_formula(row):
            return None
        changed = re.sub(pattern, change, row.gold)
        return changed if changed != row.gold else None

    return written


def _python_numbers(row: Row) -> str | None:
    """Write roots, fractions and pi as Python has them."""
    if (
        not _is_formula(row)
        or not re.search(r"sqrt|pi\b", row.gold)
        or re.search(r"text|[=,<]", row.gold)
    ):
        return None
    text = re.sub(r"\\sqrt\s*([0-9])", r"sqrt(\1)", row.gold)
    text = re.sub(r"\\sqrt\s*\{([^{}]+)\}", r"sqrt(\1)", text)
    text = re.sub(r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}", r"(\1)/(\2)", text)
    text = text.replace("\\pi", "pi")
    if re.search(r"[\\{}^]", text):
        return None
    return re.sub(r"(?<=[0-9)i])\s*(?=sqrt|pi|\()", "*", text)


def _words(form: str) -> Form:
    def written(row: Row) -> str | None:
        found = re.fullmatch(r"\\text\{\s*([A-Za-z]{2,}[a-z ]*)\}", row.gold)
        return form.replace("WORD", found[1]) if found else None

    return written


def _choice(form: str) -> Form:
    def written(row: Row) -> str | None:
        found = re.fullmatch(r"(?:\\text\{)?\(?([A-F])\)?\}?", row.gold)
        changed = form.replace("LETTER", found[1]) if found else None
        return changed if changed != row.gold and _is_formula(row) else None

    return written


def _truth(row: Row) -> str | None:
    return {"True": "Yes", "False": "No"}.get(row.gold)


def _lettered(form: str) -> Form:
    def written(row: Row) -> str | None:
        found = re.search(rf"\({re.escape(row.gold)}\)\s*(\S+)", row.question)
        if row.kind != "mixed" or not re.fullmatch("[a-h]", row.gold) or not found:
            return None
        return form.replace("LETTER", row.gold).replace("TEXT", found[1])

    return written


def _sides_swapped(row: Row) -> str | None:
    sides = row.gold.split("=")
    if len(sides) != 2 or re.search(r"[,<>]|text|\\(?:cup|begin)", row.gold):
        return None
    return f"{sides[1].strip()} = {sides[0].strip()}"


REWRITES: Mapping[str, Form] = {
    "fraction, tfrac": _fraction_as(r"-\tfrac{A}{B}"),
    "fraction, dfrac": _fraction_as(r"-\dfrac{A}{B}"),
    "fraction with a stroke": _fraction_as("-A/B"),
    "fraction with over": _fraction_as(r"-{A \over B}"),
    "fraction, sign above": _fraction_as(r"\frac{-A}{B}"),
    "fraction as an exact decimal": _exact,
    "fraction as a mixed number": _mixed(r"U\frac{A}{B}"),
    "fraction as a plain mixed number": _mixed("U A/B"),
    "mixed number as a fraction": _improper,
    "decimal as a fraction": _decimal_as_fraction,
    "leading zero": _no_leading_zero,
    "point zero": _point_zero,
    "number in words": _in_words,
    "number in bold": _wrapped(r"\mathbf{ANSWER}"),
    "number as text": _wrapped(r"\text{ANSWER}"),
    "number with a point": _wrapped("ANSWER."),
    "thousands, comma": _thousands(","),
    "thousands, LaTeX": _thousands(r",\!"),
    "thousands, braces": _thousands("{,}"),
    "thousands, none": _thousands(""),
    "letter equals": _labelled("X = ANSWER"),
    "letter after": _labelled("ANSWER = X"),
    "letter dropped": _label_dropped,
    "sides swapped": _sides_swapped,
    "unit asked for": _with_unit("ANSWER UNIT"),
    "unit asked for, text": _with_unit(r"ANSWER \text{ UNIT}"),
    "unit dropped": _unit_dropped,
    "unit, mathrm": _unit_as(r"ANSWER\ \mathrm{UNIT}"),
    "unit, plain": _unit_as("ANSWER UNIT"),
    "degrees dropped": _degrees("ANSWER"),
    "degrees in words": _degrees(r"ANSWER \text{ degrees}"),
    "degrees, sign": _degrees("ANSWER°"),
    "degrees, braces": _degrees(r"ANSWER^{\circ}"),
    "percent dropped": _percent("ANSWER"),
    "percent in words": _percent(r"ANSWER \text{ percent}"),
    "money, dropped": _money("ANSWER"),
    "money in words": _money(r"ANSWER \text{ dollars}"),
    "money with cents": _money(r"\$ANSWER.00"),
    "left and right": _brackets,
    "no spaces": _without_spaces,
    "thin spaces": _thin_spaces,
    "list in another order": _reordered,
    "list with and": _as_list("MEMBERS", ", ", r" \text{ and } "),
    "list as a set": _as_list(r"\{MEMBERS\}", ", ", ", "),
    "list with and, plain": _as_list("MEMBERS", ", ", " and "),
    "list, each with a letter": _each_labelled,
    "interval as an inequality": _as_inequality,
    "interval with element of": _element_of,
    "union in another order": _union_reordered,
    "matrix, bmatrix": _matrix_as(r"\begin{bmatrix} ", r" \\ ", r" \end{bmatrix}", " & ", "LINE"),
    "matrix, array": _matrix_as(
        r"\left( \begin{array}{ccc} ", r" \\ ", r" \end{array} \right)", " & ", "LINE"
    ),
    "matrix, nested list": _matrix_as("[", ", ", "]", ", ", "[LINE]"),
    "matrix, sympy": _matrix_as("Matrix([", ", ", "])", ", ", "[LINE]"),
    "terms in another order": _terms_reversed,
    "polynomial as Python": _python,
    "polynomial expanded": _by_sympy(sympy.expand),
    "polynomial factored": _by_sympy(sympy.factor),
    "Python as LaTeX": _latex_of_python,
    "root without braces": _replaced(r"\\sqrt\{([0-9])\}", r"\\sqrt\1"),
    "root with braces": _replaced(r"\\sqrt\s*([0-9])", r"\\sqrt{\1}"),
    "root, sign": _replaced(r"\\sqrt\{([0-9]+)\}", r"√\1"),
    "root as a power": _replaced(r"^(-?)\\sqrt\{([0-9]+)\}$", r"\1\2^{1/2}"),
    "root times": _replaced(r"(?<=[0-9])\s*\\sqrt", r" \\cdot \\sqrt"),
    "pi times": _replaced(r"(?<=[0-9])\s*\\pi", r" \\times \\pi"),
    "pi outside": _replaced(r"\\frac\{([0-9]+)\s*\\pi\}\{([0-9]+)\}", r"\\frac{\1}{\2}\\pi"),
    "pi, half in front": _replaced(r"\\frac\{\\pi\}\{([0-9]+)\}", r"\\frac{1}{\1} \\pi"),
    "pi with a stroke": _replaced(r"^\\frac\{([0-9]*\s*\\pi)\}\{([0-9]+)\}$", r"\1/\2"),
    "roots and pi as Python": _python_numbers,
    "fraction, dfrac inside": _replaced(r"\\frac(?=\{)", r"\\dfrac"),
    "base in braces": _replaced(r"^([0-9A-F]+)_([0-9])$", r"\1_{\2}"),
    "base around": _replaced(r"^([0-9A-F]+)_([0-9])$", r"(\1)_{\2}"),
    "imaginary part times": _replaced(r"(?<=[0-9])\s*i\b", r" \\cdot i"),
    "word without text": _words("WORD"),
    "word in bold": _words(r"\textbf{WORD}"),
    "choice, letter": _choice("LETTER"),
    "choice in brackets": _choice(r"\text{(LETTER)}"),
    "choice in bold": _choice(r"\textbf{(LETTER)}"),
    "truth": _truth,
    "option in brackets": _lettered("(LETTER)"),
    "option with its text": _lettered("(LETTER) TEXT"),
    "option's text": _lettered("TEXT"),
}
"""Ways to write an answer that is equal."""


# Unequal forms


def _sign(row: Row) -> str | None:
    is_number = whole(row) or fraction(row) or decimal(row)
    if not is_number:
        return None
    return row.gold.strip()[1:] if row.gold.strip()[0] == "-" else f"-{row.gold.strip()}"


def _numeral(change: Callable[[str], str | None]) -> Form:
    """Change one run of digits, where all that surrounds it makes it count."""

    def written(row: Row) -> str | None:
        if re.search(r"\\(?:sin|cos|tan|cot|sec|csc|log|ln)|\^\{?0|\||!", row.gold):
            return None
        runs = list(re.finditer(r"[0-9]+", row.gold))
        if not runs:
            return None
        run = row.draw("numeral").choice(runs)
        changed = change(run[0])
        is_decimal = row.gold[: run.start()].endswith(".")
        if changed is None or changed == run[0] or (is_decimal and len(changed) != len(run[0])):
            return None
        return row.gold[: run.start()] + changed + row.gold[run.end() :]

    return written


def _digit(place: int) -> Callable[[str], str | None]:
    def change(run: str) -> str | None:
        digits = list(run)
        digits[place] = str((int(digits[place]) + 1) if digits[place] != "9" else 8)
        return "".join(digits)

    return change


def _number(change: Callable[[int], int | None]) -> Form:
    def written(row: Row) -> str | None:
        value = whole(row)
        changed = None if value is None else change(value)
        return None if changed is None or changed == value else str(changed)

    return written


def _swapped_digits(value: int) -> int | None:
    text = str(abs(value))
    if len(text) < 2 or text[-1] == text[-2]:
        return None
    return int(text[:-2] + text[-1] + text[-2])


def _of_number(form: str) -> Form:
    def written(row: Row) -> str | None:
        value = whole(row)
        if value is None or value < 3 or (form.endswith("!") and row.kind != "latex"):
            return None
        return form.replace("ANSWER", str(value))

    return written


def _fraction(change: Callable[[int, int], tuple[int, int]]) -> Form:
    def written(row: Row) -> str | None:
        value = fraction(row)
        if value is None:
            return None
        above, below = change(abs(value.numerator), value.denominator)
        if not below or Fraction(above, below) == abs(value):
            return None
        sign = "-" if value < 0 else ""
        return (
            f"{sign}{above}/{below}"
            if row.kind != "latex"
            else rf"{sign}\frac{{{above}}}{{{below}}}"
        )

    return written


def _rounded(row: Row) -> str | None:
    value = fraction(row)
    if value is None or row.kind == "number":
        return None
    text = f"{float(value):.2f}"
    return text if Fraction(text) != value and float(text) else None


def _shifted(row: Row) -> str | None:
    value = decimal(row)
    if not value:
        return None
    text = row.gold.strip()
    return f"{float(value * 10):.10f}".rstrip("0").rstrip(".") if len(text) < 12 else None


def _point_dropped(row: Row) -> str | None:
    return row.gold.replace(".", "") if decimal(row) else None


def _last_decimal_dropped(row: Row) -> str | None:
    text = row.gold.strip()
    found = re.fullmatch(r"(-?[0-9]*\.[0-9]+)([1-9])", text)
    return found[1] if found and row.kind in ("latex", "mixed") else None


def _list(change: Callable[[list[str]], list[str] | None]) -> Form:
    def written(row: Row) -> str | None:
        found = members(row)
        changed = None if found is None else change(found)
        return None if not changed else ", ".join(changed)

    return written


def _tuple(change: Callable[[list[str]], list[str] | None]) -> Form:
    def written(row: Row) -> str | None:
        found = point(row)
        changed = None if found is None else change(found)
        return None if not changed or changed == found else f"({', '.join(changed)})"

    return written


def _turned(one: str) -> str | None:
    if one in ("0", "") or not re.fullmatch(r"-?(?:[0-9.]+|\\[dt]?frac\{[0-9]+\}\{[0-9]+\})", one):
        return None
    return one[1:] if one[0] == "-" else f"-{one}"


def _first_turned(found: list[str]) -> list[str] | None:
    turned = _turned(found[0])
    return None if turned is None else [turned, *found[1:]]


def _interval(change: Callable[[str, str, str, str], tuple[str, str, str, str] | None]) -> Form:
    def written(row: Row) -> str | None:
        found = intervals(row)
        changed = None if found is None else change(*found[-1])
        if found is None or changed is None or changed == found[-1]:
            return None
        return r" \cup ".join(f"{a}{b}, {c}{d}" for a, b, c, d in [*found[:-1], changed])

    return written


def _other_bracket(a: str, low: str, high: str, d: str) -> tuple[str, str, str, str] | None:
    if "infty" not in low:
        return "[" if a == "(" else "(", low, high, d
    return (a, low, high, "]" if d == ")" else ")") if "infty" not in high else None


def _other_end(a: str, low: str, high: str, d: str) -> tuple[str, str, str, str] | None:
    return (a, low, f"{int(high) + 1}", d) if re.fullmatch(r"-?[0-9]+", high) else None


def _endless(a: str, low: str, high: str, d: str) -> tuple[str, str, str, str] | None:
    return (a, low, r"\infty", ")") if "infty" not in high else None


def _piece_missing(row: Row) -> str | None:
    found = intervals(row)
    if found is None or len(found) < 2:
        return None
    return r" \cup ".join(f"{a}{b}, {c}{d}" for a, b, c, d in found[1:])


def _matrix(change: Callable[[list[list[str]]], list[list[str]] | None]) -> Form:
    def written(row: Row) -> str | None:
        found = matrix(row)
        changed = None if found is None else change(found)
        if not changed or changed == found:
            return None
        lines = r" \\ ".join(" & ".join(line) for line in changed)
        return rf"\begin{{pmatrix}} {lines} \end{{pmatrix}}"

    return written


def _entry_turned(found: list[list[str]]) -> list[list[str]] | None:
    for place, one in enumerate(found[-1]):
        if turned := _turned(one):
            return [*found[:-1], [*found[-1][:place], turned, *found[-1][place + 1 :]]]
    return None


def _unit(row: Row) -> str | None:
    others = {
        "inches": "feet", "feet": "yards", "cm": "m", "meters": "kilometers", "miles": "feet",
        "dollars": "cents", "cents": "dollars", "hours": "minutes", "minutes": "hours",
        "days": "weeks", "seconds": "minutes", "degrees": "radians", "square units": "cubic units",
        "square feet": "cubic feet", "square inches": "square feet", "centimeters": "meters",
        "pounds": "ounces", "years": "months",
    }  # fmt: skip
    found = re.fullmatch(r"(.*[0-9}]\s*\\(?:text|mbox)\{\s*)([a-z ]+?)(\s*\}.*)", row.gold)
    return f"{found[1]}{others[found[2]]}{found[3]}" if found and found[2] in others else None


def _unit_power(row: Row) -> str | None:
    found = re.fullmatch(r"(.*\\(?:text|mbox)\{[^{}]*\}\s*\^\{?)([23])(\}?)", row.gold)
    return f"{found[1]}{5 - int(found[2])}{found[3]}" if found else None


def _term(change: Callable[[list[str]], list[str]]) -> Form:
    def written(row: Row) -> str | None:
        found = terms(row)
        if found is None or any(re.fullmatch(r"[+-]?\s*0", one) for one in found):
            return None
        return " ".join(change(found)).removeprefix("+").strip()

    return written


def _opposite(term: str) -> str:
    return f"+ {term[1:].strip()}" if term[0] == "-" else f"- {term.lstrip('+ ')}"


def _polynomial_as(change: Callable[[sympy.Expr], sympy.Expr]) -> Form:
    def written(row: Row) -> str | None:
        found = _polynomial(row)
        if found is None:
            return None
        changed = change(found)
        if sympy.expand(changed - found) == 0:
            return None
        return str(changed) if row.kind != "latex" else sympy.latex(changed)

    return written


def _another_letter(found: sympy.Expr) -> sympy.Expr:
    symbol = min(found.free_symbols, key=str)
    free = next(one for one in "wqvk" if sympy.Symbol(one) not in found.free_symbols)
    return found.subs(symbol, sympy.Symbol(free))


def _edited(pattern: str, change: str | Callable[[re.Match[str]], str]) -> Form:
    def written(row: Row) -> str | None:
        if not _is_formula(row):
            return None
        changed = re.sub(pattern, change, row.gold, count=1)
        return changed if changed != row.gold else None

    return written


def _approximate(row: Row) -> str | None:
    known = {r"\sqrt{2}": "1.41", r"\sqrt{3}": "1.73", r"\pi": "3.14", r"\frac{\pi}{2}": "1.57"}
    found = re.fullmatch(r"\s*([1-9]?)\s*(\\sqrt\{[23]\}|\\pi)\s*", row.gold)
    return f"{int(found[1] or 1) * float(known[found[2]]):.2f}" if found else None


def _another_word(row: Row) -> str | None:
    found = re.fullmatch(r"\\text\{\s*([A-Za-z]{2,}[a-z ]*)\}", row.gold)
    if found is None:
        return {"True": "False", "False": "True", "Yes": "No", "No": "Yes"}.get(row.gold)
    others = {"odd": "even", "even": "odd", "neither": "even", "Yes": "No", "No": "Yes",
              "circle": "ellipse", "ellipse": "circle", "Friday": "Sunday"}  # fmt: skip
    return rf"\text{{{others.get(found[1].strip(), 'parabola')}}}"


def _another_choice(row: Row) -> str | None:
    if row.kind == "mixed":
        offered = re.findall(r"\(([a-h])\)", row.question)
        left = [one for one in offered if one != row.gold]
        return left[0] if row.gold in offered and left else None
    found = re.fullmatch(r"(?:\\text\{)?(\(?)([A-F])(\)?)\}?", row.gold)
    return (
        rf"\text{{{found[1]}{'ABCDEFA'['ABCDEF'.index(found[2]) + 1]}{found[3]}}}"
        if found
        else None
    )


def _strict(row: Row) -> str | None:
    for one, other in ((r"\le", "<"), (r"\leq", "<"), (r"\ge", ">"), (r"\geq", ">")):
        if re.search(re.escape(one) + r"(?![a-z])", row.gold):
            return re.sub(re.escape(one) + r"(?![a-z])", other, row.gold, count=1)
    return None


def _echo(row: Row) -> str | None:
    """Give the formula that the question asks to write otherwise."""
    asked = re.search(
        r"(?:factor|expand|simplify|rationalize)[^$.]*?(?:\$([^$]+)\$|: )|"
        r"(?:Factor|Expand|Simplify) ([^?]*[0-9a-z)])[.?]?$",
        row.question,
        re.IGNORECASE,
    )
    formula = (asked[1] or asked[2]) if asked else None
    if not formula or re.sub(r"\W", "", formula) == re.sub(r"\W", "", row.gold):
        return None
    return formula.strip(" .")


MISSES: Mapping[str, Form] = {
    "sign": _sign,
    "last digit": _numeral(_digit(-1)),
    "first digit": _numeral(_digit(0)),
    "digit missing": _numeral(lambda run: run[:-1] if len(run) > 1 else None),
    "digit twice": _numeral(lambda run: run + run[-1] if run != "0" else None),
    "one more": _number(lambda value: value + 1),
    "one less": _number(lambda value: value - 1),
    "ten times": _number(lambda value: value * 10 or None),
    "twice": _number(lambda value: value * 2 or None),
    "half": _number(lambda value: value // 2 if value % 2 == 0 else None),
    "digits swapped": _number(_swapped_digits),
    "digits apart": lambda row: (
        " ".join(str(whole(row))) if (whole(row) or 0) > 9 and row.kind == "latex" else None
    ),
    "squared": _of_number("ANSWER^2"),
    "factorial": _of_number("ANSWER!"),
    "reciprocal": _of_number(r"1/ANSWER"),
    "a percentage": lambda row: (
        rf"{row.gold}\%"
        if whole(row) and not re.search("percent|%|per cent", row.question)
        else None
    ),
    "decimal in front": _of_number("0.ANSWER"),
    "times pi": lambda row: rf"{row.gold}\pi" if whole(row) and row.kind == "latex" else None,
    "numerator": _fraction(lambda above, below: (above + 1, below)),
    "denominator": _fraction(lambda above, below: (above, below + 1)),
    "fraction upside down": _fraction(lambda above, below: (below, above)),
    "numerator alone": _fraction(lambda above, below: (above, 1)),
    "fraction to its complement": _fraction(lambda above, below: (below - above, below)),
    "fraction rounded": _rounded,
    "decimal shifted": _shifted,
    "decimal point missing": _point_dropped,
    "decimal truncated": _last_decimal_dropped,
    "element missing": _list(lambda found: found[1:]),
    "element more": _list(lambda found: [*found, "97"] if "97" not in found else None),
    "element turned": _list(
        lambda found: (
            changed if (changed := _first_turned(found)) and {*changed} != {*found} else None
        )
    ),
    "tuple in another order": _tuple(lambda found: [*found[1:], found[0]]),
    "tuple with an element twice": _tuple(lambda found: [*found, found[-1]]),
    "tuple with an element less": _tuple(lambda found: found[:-1] if len(found) > 2 else None),
    "tuple with an element turned": _tuple(_first_turned),
    "bracket of an interval": _interval(_other_bracket),
    "end of an interval": _interval(_other_end),
    "interval without end": _interval(_endless),
    "piece of a union missing": _piece_missing,
    "matrix transposed": _matrix(lambda found: [list(line) for line in zip(*found, strict=True)]),
    "matrix with an entry turned": _matrix(_entry_turned),
    "matrix with a row missing": _matrix(lambda found: found[:-1]),
    "matrix with rows swapped": _matrix(lambda found: found[::-1]),
    "unit": _unit,
    "power of a unit": _unit_power,
    "sign of the last term": _term(lambda found: [*found[:-1], _opposite(found[-1])]),
    "sign of the first term": _term(lambda found: [_opposite(found[0]), *found[1:]]),
    "term missing": _term(lambda found: found[:-1]),
    "another letter": _polynomial_as(_another_letter),
    "coefficients twice": _polynomial_as(lambda found: 2 * found),
    "constant added": _polynomial_as(lambda found: found + 1),
    "exponent": _edited(
        r"(?<=[a-z])\^\{?([2-9])\}?(?![0-9])", lambda found: f"^{{{int(found[1]) + 1}}}"
    ),
    "letter without its power": _edited(r"(?<=[a-z])\^\{?[2-9]\}?(?![0-9])", ""),
    "radicand": _edited(r"\\sqrt\{([0-9]+)\}", lambda found: rf"\sqrt{{{int(found[1]) + 1}}}"),
    "root dropped": _edited(r"\\sqrt\{([0-9]{2,})\}$", r"\1"),
    "pi dropped": _edited(r"(?<=[2-9])\s*\\pi$", ""),
    "i dropped": _edited(r"(?<=[2-9])\s*i$", ""),
    "approximate": _approximate,
    "base": _edited(r"_\{?([2-9])\}?$", lambda found: f"_{{{int(found[1]) + 1}}}"),
    "word": _another_word,
    "choice": _another_choice,
    "strict": _strict,
    "formula of the question": _echo,
}
"""Answers that look like the gold one and are another."""
