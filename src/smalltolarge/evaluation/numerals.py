"""Numbers as people, models and programs write them, read exactly.

``12``, ``1,234``, ``$12.50``, ``50%``, ``3/4``, ``1 1/2``, ``½``, ``1.2 × 10^3``, ``1e3``,
``twenty-one``, ``3 million``, ``\\frac{3}{4}``. A time (``3:30``) and a range (``5-6``) are no
numbers. A comma groups thousands and never starts decimals: ``12,5`` is two numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

_MOST_DIGITS = 3000
_MOST_EXPONENT = 400
"""Of ten, in scientific notation: what a float can have, and some."""

_SMALL = {word: value for value, word in enumerate((
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
))}  # fmt: skip
_TENS = {word: 10 * value for value, word in enumerate((
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), start=2
)}  # fmt: skip
SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
UNITS = {
    "year": (12, "month"), "week": (7, "day"), "day": (24, "hour"), "hour": (60, "minute"),
    "minute": (60, "second"), "foot": (12, "inch"), "feet": (12, "inch"), "pound": (16, "ounce"),
    "dollar": (100, "cent"),
}  # fmt: skip
"""Units, each with how many of a smaller one it has."""
_BOTH = (rf"{unit}s?(?:,? and|,)? [0-9]+ {part}" for unit, (_, part) in UNITS.items())
COMPOUND = rf"[0-9]+ (?:{'|'.join(_BOTH)})(?:e?s)?(?![A-Za-z])"
_PARTS = {name: Fraction(1, size) for size, name in enumerate(
    ("hal", "thi", "fou", "fif", "six", "sev", "eig", "nin", "ten"), start=2
)} | {"qua": Fraction(1, 4)}  # fmt: skip
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2212\ufe63\uff0d\u2011\u2010", "-"),
        **dict.fromkeys("\u00a0\u2007\u2009\u202f\u2002\u2003", " "),
        **dict.fromkeys("\u2044\u2215", "/"), **dict.fromkeys("\u2019\u2018", "'"),
        **dict.fromkeys("\u201c\u201d", '"'), "\u22c5": "·", "\u2217": "*", "\uff1a": ":",
        # "½" is "1⁄2" in the compatibility form.
        **{sign: " " + unicodedata.normalize("NFKC", sign).replace("\u2044", "/")
           for sign in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"},
    }
)  # fmt: skip

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])|[0-9]+)"
_SPACED = r"[0-9]{1,3}(?: [0-9]{3})+(?![0-9])"
_POWER_OF_TEN = r"\s{0,3}[×x*·]\s{0,3}10\s?(?:\^|\*\*)\s?[({]?\s?(?P<ten>[-+]?[0-9]{1,4})\s?[)}]?"
_TAIL = (
    rf"(?:\.[0-9]+|\.(?=[eE][-+]?[0-9]))?(?:[eE](?P<e>[-+]?[0-9]{{1,4}})(?![0-9A-Za-z])"
    rf"|{_POWER_OF_TEN})?"
)


def _pattern(digits: str) -> re.Pattern[str]:
    return re.compile(
        r"(?<![0-9A-Za-z_.\\])(?<![0-9],)"
        r"(?P<sign>(?:(?<![0-9)\]}%])(?<![0-9)\]}%] )[-+–]\s?)?)"
        r"(?P<money>(?:(?:US|C|A)?[$€£¥₹]\s?|(?:Rs|USD|EUR)\.?\s?)?)(?P<inner>(?:-\s?)?)"
        rf"(?P<whole>{digits}|(?=\.[0-9]))(?P<tail>{_TAIL})"
        r"(?:(?P<mixed>(?:\s+|-|\s+and\s+)(?P<up>[0-9]{1,9})\s?/\s?(?P<down>[0-9]{1,9})(?![0-9/]))"
        rf"|\s?/\s?(?P<over>-?{_DIGITS}(?:\.[0-9]+)?)(?![0-9/]))?"
        r"(?P<percent>\s?(?:%|percent\b|per cent\b))?"
        r"(?:\s(?P<scale>hundred|thousand|million|billion)\b|(?P<k>k)\b)?",
        re.IGNORECASE,
    )


_NUMBER = _pattern(_DIGITS)
_LEADING = _pattern(rf"{_SPACED}|{_DIGITS}")
"""At the start of a statement a space may group thousands; in running text it parts numbers."""

_WORD = r"(?:" + "|".join([*_SMALL, *_TENS, *SCALES]) + r")"
_WORDS = re.compile(
    rf"(?<![\w-])(?:(?P<minus>negative|minus)\s+)?(?P<words>{_WORD}(?:(?:[\s-]|\s+and\s+){_WORD})"
    r"{0,12})(?P<part>(?:\s+and\s+(?:a|one))?[\s-](?:hal(?:f|ves)|thirds?|quarters?"
    r"|(?:four|fif|six|seven|eigh|nin|ten)ths))?(?![\w-])",
    re.IGNORECASE,
)
_SIGN_WORD = re.compile(r"(?:negative|minus)\s{1,4}(?=[$€£]?\s?\.?[0-9])", re.IGNORECASE)

_DOTS = r"[0-9.,]{1,40}"
Rules = list[tuple[re.Pattern[str], Any]]


def compiled(*rules: tuple[str, Any]) -> Rules:
    """Compile rules of what is written instead of a pattern."""
    return [(re.compile(pattern), instead) for pattern, instead in rules]


def rewritten(text: str, rules: Rules) -> str:
    """Apply rules to a text, one after the other."""
    for pattern, instead in rules:
        text = pattern.sub(instead, text)
    return text


_PRINTED = compiled(
    (r"(?:Fraction|Rational)\((-?[0-9]{1,40}),\s?([0-9]{1,40})\)", r"\1/\2"),
    (r"(?:(?:np|numpy)\.\w{3,8}|Decimal|Float|Integer|mpf)\('?([^()']{1,40})'?\)", r"\1"),
)
_LATEX = compiled(
    (r"\{\s*([0-9.,]{1,40})\s*\\over\s*([0-9.,]{1,40})\s*\}", r"\\frac{\1}{\2}"),
    (r"\\boxed\s*(?=\{)|\\(?:left|right|displaystyle|quad|qquad)\b", ""),
    (rf"(-?[0-9]{{0,12}})\s{{0,4}}\\[dtc]?frac\s*\{{\s*(-?{_DOTS})\s*\}}\s*\{{\s*({_DOTS})\s*\}}",
     r"\1 \2/\3"),
    (r"(-?[0-9]{0,12})\s{0,4}\\[dtc]?frac\s*([0-9])\s*([0-9])", r"\1 \2/\3"),
    (r"\{,\}|,\\!", ","),
    (r"\\(?:times|cdot)\b", " × "),
    (r"\\(?:text[a-z]{0,2}|math(?:rm|bf|sf|it)|mbox|operatorname)\s*\{([^{}]{0,200})\}", r" \1 "),
    (r"\\[()\[\]]", " "),
    (r"\\[,;:! ~]", ""),
    (r"\\([$%])", r"\1"),
    (r"\^\s*\{?\s*\\circ\s*\}?|°|\\degree\b", " degrees"),
)  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A number, and how it is written."""

    value: Fraction
    decimals: int | None = None
    """Digits after the point; None: written without one."""
    is_float: bool = False
    """Written with a point or an exponent, as programs print floats."""
    is_percent: bool = False
    scale: str = ""
    """``million``, or ``hour`` where the value is in minutes; empty: none."""
    start: int = 0
    end: int = 0


def plain(text: str) -> str:
    """Write signs, spaces, quotes and vulgar fractions in ASCII."""
    return text.translate(_PLAIN)


def unprinted(text: str) -> str:
    """Write Python's numbers as plain text: ``np.float64(2.0)``, ``Fraction(1, 2)``."""
    return rewritten(text, _PRINTED) if "(" in text else text


def without_latex(text: str) -> str:
    """Write numbers in LaTeX, and in Python's types, as plain text."""
    text = unprinted(plain(text))
    return rewritten(text, _LATEX) if "\\" in text or "{" in text else text


def find_numbers(text: str) -> Iterator[Number]:
    """Give the numbers written in digits, in order; parts of times and ranges are none."""
    return (number for match in _NUMBER.finditer(text) if (number := _number(match, text)))


def leading_number(text: str) -> Number | None:
    """Read the number, in digits or in words, that a text starts with."""
    signed = _SIGN_WORD.match(text)
    match = _LEADING.match(text, signed.end() if signed else 0)
    if match is None:
        worded = _WORDS.match(text)
        return _from_words(worded) if worded else None
    number = _number(match, text)
    return replace(number, value=-number.value, start=0) if number and signed else number


def find_worded(text: str) -> list[Number]:
    """Give the numbers written in words, in order."""
    return [number for match in _WORDS.finditer(text) if (number := _from_words(match))]


def read_number(text: str) -> Number | None:
    """Read a text that is one number, and perhaps what it counts: ``$12.50``, ``18 dollars``."""
    text = without_latex(text).strip().strip("$*_`\"'").strip()
    text = re.sub(r"^(?:=|≈|~|about|approximately|exactly|only)\s*", "", text, flags=re.IGNORECASE)
    if re.fullmatch(COMPOUND, text):
        unit = next(one for one in UNITS if one in text)
        ones, parts = map(int, re.findall("[0-9]+", text)[:2])
        return Number(Fraction(UNITS[unit][0] * ones + parts), scale=unit)
    number = leading_number(text)
    if number is None:
        return None
    after = text[number.end :]
    if next(find_numbers(after), None) or re.match(r"\s*[-+*/^=<>×÷(\[{]", after):
        return None
    return number


def _number(match: re.Match[str], text: str) -> Number | None:
    before, after = text[max(0, match.start() - 4) : match.start()], text[match.end() :][:6]
    is_part = re.match(r":[0-9]|(?!\s-\s)\s?(?:-|–|to)\s?\$?[0-9]", after)
    is_part = is_part or re.search(r"[0-9](?::|\s?–|\s?to\s)$", before)
    if is_part or (not match["sign"] and re.search(r"[0-9%]-$", before)):
        # Of a time, or of a range, whose second number has no sign of its own: "5-6".
        return None
    exponent = int(match["e"] or match["ten"] or 0)
    if len(match[0]) > _MOST_DIGITS or abs(exponent) > _MOST_EXPONENT:
        return None
    whole = match["whole"].replace(",", "").replace(" ", "")
    decimals = re.match(r"\.[0-9]+", match["tail"])
    value = Fraction(f"{whole or 0}{decimals[0] if decimals else ''}")
    value *= Fraction(10) ** exponent
    if match["over"] is not None:
        over = Fraction(match["over"].replace(",", ""))
        if not over:
            return None
        value /= over
    elif match["mixed"] is not None:
        up, down = int(match["up"]), int(match["down"])
        # "5 10/3" is two numbers: the fraction of a mixed number is below one.
        if not up < down or decimals or exponent:
            return None
        value += Fraction(up, down)
    if (match["sign"].strip() in ("-", "–")) != bool(match["inner"]):
        value = -value
    scale = "thousand" if match["k"] else (match["scale"] or "").lower()
    value *= SCALES.get(scale, 1)
    is_plain = match["over"] is None
    n_decimals = len(decimals[0]) - 1 if decimals and is_plain else None
    is_float = is_plain and bool(decimals or exponent or match["e"])
    return Number(value, n_decimals, is_float, match["percent"] is not None, scale, *match.span())


def _from_words(match: re.Match[str]) -> Number | None:
    total, current, before = 0, 0, ""
    for word in re.split(r"[\s-]+", match["words"].lower()):
        if word in _SMALL or word in _TENS:
            # "five six" is not a number.
            if before in _SMALL or (before in _TENS and word in _TENS):
                return None
            current += _SMALL.get(word, _TENS.get(word, 0))
        elif word == "hundred":
            current = max(current, 1) * 100
        elif word in SCALES:
            total, current = total + max(current, 1) * SCALES[word], 0
        before = word
    value = Fraction(total + current)
    if match["part"]:
        part = _PARTS[re.split(r"[\s-]", match["part"].lower())[-1][:3]]
        value = value + part if " and " in match["part"].lower() else value * part
    return Number(-value if match["minus"] else value, start=match.start(), end=match.end())
