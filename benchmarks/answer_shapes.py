"""What gold answers are made of, read by their text alone, for ``bench_answers.py``."""

from __future__ import annotations

import re
from fractions import Fraction

import sympy
from answer_dresses import Row

ASKS_FORM = re.compile(
    r"factor|expand|simplif|simplest|rationaliz|radical form|lowest terms|fraction|decimal|mixed"
    r"|standard form|nearest|round|express|write|form|collect|calculate",
    re.IGNORECASE,
)
"""A question that asks for its answer in a certain form."""
_ASKS_ORDER = re.compile(
    r"order|sort|least to|respectively|ascending|descending|increasing|decreasing|sequence",
    re.IGNORECASE,
)
_ASKS_A_SET = re.compile(r"\b(?:all|roots|solutions|zeros|factors|divisors)\b")
_ASKS_AN_INTERVAL = re.compile(
    r"interval|domain|range|inequal|for which|for what|all (?:real )?(?:values|numbers|\$?x)"
)
_ASKS_A_POINT = re.compile(r"pair|point|coordinates|triple|cent(?:er|re)|vert")
_UNITS = (
    "square centimeters", "cubic centimeters", "square inches", "square meters", "square units",
    "cubic inches", "cubic units", "square feet", "cubic feet", "centimeters", "kilometers",
    "dollars", "degrees", "minutes", "gallons", "seconds", "inches", "meters", "pounds", "ounces",
    "liters", "yards", "miles", "units", "cents", "hours", "weeks", "years", "feet", "days",
)  # fmt: skip
_WORDS = (
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_FRACTION = re.compile(
    r"(-?)\s*(?:\\[dt]?frac\s*(?:\{([0-9]+)\}|([0-9]))\s*(?:\{([0-9]+)\}|([0-9]))|([0-9]+)/([0-9]+))"
)
_INTERVAL = re.compile(r"([(\[])([^()\[\],]+),([^()\[\],]+)([)\]])")
_NO_SUM = re.compile(r"[=,<>&:|]|\\(?:text|mbox|cup|pm|begin|in|infty|cdots|left|to)\b|\.$")


def split(text: str, separator: str = ",") -> list[str]:
    """Split outside all brackets."""
    found, depth, start, place = [], 0, 0, 0
    while place < len(text):
        depth += (text[place] in "([{") - (text[place] in ")]}")
        if depth == 0 and text.startswith(separator, place):
            found.append(text[start:place].strip())
            start = place = place + len(separator)
        else:
            place += 1
    return [*found, text[start:].strip()]


def whole(row: Row) -> int | None:
    """Read a whole number, its thousands marked or not."""
    text = re.sub(r"\\!\s*", "", row.gold.replace("{,}", ","))
    is_number = re.fullmatch(r"-?[0-9]{1,3}(?:,[0-9]{3})+|-?[1-9][0-9]{0,14}|0", text)
    return int(text.replace(",", "")) if is_number else None


def fraction(row: Row) -> Fraction | None:
    """Read a fraction that is not whole and stands in lowest terms."""
    found = _FRACTION.fullmatch(row.gold)
    if found is None:
        return None
    sign, above, below = (
        found[1],
        found[2] or found[3] or found[6],
        found[4] or found[5] or found[7],
    )
    value = Fraction(int(sign + above), int(below) or 1)
    return value if value.denominator == int(below) != 1 else None


def decimal(row: Row) -> Fraction | None:
    """Read a decimal that is not zero."""
    is_decimal = re.fullmatch(r"-?[0-9]*\.[0-9]+", row.gold)
    return (Fraction(row.gold) or None) if is_decimal else None


def members(row: Row) -> list[str] | None:
    """Read a list or set of two or more; intervals, points and marked thousands are none."""
    text = row.gold.replace("{,}", "").replace("\\!", "")
    if inner := re.fullmatch(r"\[(.*)\]" if row.kind == "mixed" else r"\\\{(.*)\\\}", text):
        text = inner[1]
    if whole(row) is not None or re.search(r"\\(?:text|mbox|cup|begin|pm|in|left)\b|[=<>]", text):
        return None
    found = split(text)
    return found if len(found) == len({*found} - {""}) > 1 else None


def point(row: Row) -> list[str] | None:
    """Read a point or a tuple."""
    text = re.sub(r"\\left|\\right", "", row.gold).strip()
    found = split(text[1:-1])
    is_one = text[:1] == "(" and text[-1:] == ")" and ")" not in text[1:-1] and len(found) > 1
    return found if is_one and not _is_interval(row) else None


def _is_interval(row: Row) -> bool:
    asks = _ASKS_AN_INTERVAL.search(row.question) and not _ASKS_A_POINT.search(row.question)
    return "infty" in row.gold or bool(asks)


def intervals(row: Row) -> list[tuple[str, str, str, str]] | None:
    """Read (bracket, end, end, bracket) of an interval or of each one in a union."""
    text = re.sub(r"\\left|\\right", "", row.gold).strip()
    found = [_INTERVAL.fullmatch(one) for one in split(text, r"\cup")]
    if not all(found) or not (_is_interval(row) or text[0] + text[-1] in ("[)", "(]")):
        return None
    return [(one[1], one[2].strip(), one[3].strip(), one[4]) for one in found if one]


def matrix(row: Row) -> list[list[str]] | None:
    """Read the rows of a matrix."""
    found = re.fullmatch(r"\\begin\{([pb])matrix\}(.*)\\end\{\1matrix\}", row.gold, re.DOTALL)
    if not found or "begin" in found[2]:
        return None
    lines = [one for one in found[2].split(r"\\") if one.strip()]
    return [[one.strip() for one in line.split("&")] for line in lines]


def terms(row: Row) -> list[str] | None:
    """Read the terms of a sum, each with its sign."""
    if _NO_SUM.search(row.gold):
        return None
    found, depth, start = [], 0, 0
    for place, sign in enumerate(row.gold):
        depth += (sign in "([{") - (sign in ")]}")
        before = row.gold[:place].rstrip()[-1:]
        if depth == 0 and sign in "+-" and before and before not in "+-*/^(e":
            found.append(row.gold[start:place].strip())
            start = place
    found.append(row.gold[start:].strip())
    return found if len(found) > 1 else None


def polynomial(row: Row) -> sympy.Expr | None:
    """Read a polynomial of one-letter variables, written as LaTeX or as Python."""
    text = row.gold.replace("**", "^")
    if row.kind == "mixed" and re.search(r"[0-9][a-z]|[a-z][0-9]", text):
        return None  # digits of another base
    if not re.fullmatch(r"[-+*/0-9a-z^{}() ]*[-+*/0-9^{}()][-+*/0-9a-z^{}() ]*", text):
        return None
    if not re.search("[a-z]", text) or re.search(r"[a-z]{2}\^?\(|[a-z]\(|/[a-z(]|[ei]", text):
        return None
    text = re.sub(r"(?<=[0-9a-z)}])\s*(?=[a-z(])", "*", text).replace("^", "**")
    text = text.replace("{", "(").replace("}", ")")
    names = {letter: sympy.Symbol(letter) for letter in re.findall("[a-z]", text)}
    try:
        found = sympy.sympify(text, locals=names)
    except (sympy.SympifyError, SyntaxError, TypeError):
        return None
    return found if found.is_polynomial() and found.free_symbols else None


def parts(row: Row) -> dict[str, str]:
    """Give what templates of answers may name: the parts of the gold answer, as text."""
    found = {"gold": row.gold}
    is_free, is_formula = not ASKS_FORM.search(row.question), row.kind == "latex"
    if (number := whole(row)) is not None:
        found |= {"whole": str(number)} | ({"formula whole": row.gold} if is_formula else {})
        if number:
            found["nonzero"] = str(number)
        if abs(number) >= 1000:
            for name, mark in (("", ","), (" tightly", r",\!"), (" in braces", "{,}")):
                found[f"grouped{name}"] = f"{number:,}".replace(",", mark)
        if number > 2:
            found |= {"large": str(number)} | ({"large formula": str(number)} if is_formula else {})
        if number > 9 and is_formula:
            found["spaced"] = " ".join(str(number))
        if 2 <= number <= 12 and not re.search(r"\b(?:base|digit)\b", row.question):
            word = _WORDS[number - 2]
            found["number word"] = rf"\text{{{word}}}" if is_formula else word
        if number and not re.search("percent|%|per cent", row.question):
            found["no percentage"] = str(number)
    if (value := fraction(row)) is not None:
        found |= {"sign": "-" if value < 0 else "", "above": str(abs(value.numerator))}
        found["below"] = str(value.denominator)
        if value > 1 and is_free:
            units, left = divmod(value, 1)
            found |= {"units": str(units), "rest": str(left.numerator)}
    if row.letter is not None and row.is_one_value and row.letter not in row.gold:
        found |= {"letter": row.letter, "value": row.gold}
    if (number is not None or value is not None) and row.kind != "unknowns":
        ask = row.question.lower()
        asked = [
            one for one in _UNITS if re.search(rf"how many {one}\b|in {one}\b[^.?!]*[?.]?\s*$", ask)
        ]
        if asked:
            found |= {"asked unit": asked[0], "amount asked for": row.gold}
    for name, pattern in _TEXTS.items():
        if match := re.fullmatch(pattern, row.gold):
            found |= {f"{name} {key}" if key != "it" else name: text
                      for key, text in match.groupdict().items() if text is not None}  # fmt: skip
    if not re.search(r"what percent|percentage", row.question, re.IGNORECASE):
        found.pop("percent", None)
    if is_formula and (listed := members(row)) is not None:
        found |= {"members": ", ".join(listed), "but last": ", ".join(listed[:-1])}
        found["last"] = listed[-1]
    elif (listed := members(row)) is not None:
        found |= {"plain but last": ", ".join(listed[:-1]), "plain last": listed[-1]}
    if listed and _ASKS_A_SET.search(row.question) and not _ASKS_ORDER.search(row.question):
        found["turned members"] = ", ".join(reversed(listed))
    if row.kind == "mixed" and re.fullmatch("[a-h]", row.gold):
        option = re.search(rf"\({row.gold}\)\s*(\S+)", row.question)
        found |= {"option": row.gold, "option text": option[1]} if option else {}
    return found


_TEXTS = {
    "unit": r"(?P<amount>.*[0-9}])\s*\\(?:text|mbox)\{\s*(?P<it>(?!and|or|[ap]\.m)[a-z .]+?)\s*\}",
    "degrees": r"(?P<it>-?[0-9.]+)\s*\^\s*(?:\\circ|\{\s*\\circ\s*\})",
    "percent": r"(?P<it>-?[0-9.]+)\s*\\?%",
    "money": r"\\?\$\s*(?P<it>[0-9]+(?:\.[0-9]{2})?)",
    "whole money": r"\\?\$\s*(?P<it>[0-9]+)",
    "word": r"\\text\{\s*(?P<it>[A-Za-z]{2,}[a-z ]*?)\s*\}",
    "choice": r"(?:\\text\{)?\(?(?P<it>[A-F])\)?\}?",
    "side": r"(?P<it>[^=,<>]+)=(?P<other>[^=,<>]+)",
    "labelled": r"\s*[a-zA-Z]\s*=\s*(?P<it>-?[0-9]+|-?\\[dt]?frac\{[0-9]+\}\{[0-9]+\})",
    "based": r"(?P<it>[0-9A-F]+)_\{?(?P<base>[0-9]+)\}?",
}
"""Answers of one shape, each with the parts that templates name."""
