"""Tell whether an answer found in a completion is the reference.

What a question asks for (``Kind``) says how its answers are compared:

* ``number``: exactly, as fractions. A float that a program prints may be off by what double
  precision loses. A reference with decimals is taken as rounded: it equals what rounds to it, and a
  decimal of at least two places that it rounds to.
* ``latex``: by meaning, see ``latex``.
* ``mixed``: as numbers, expressions, words or options. Lists are in order only where the question
  asks for an order.
* ``numglue``: as the reference is: a number, a letter among the question's options (which the text
  of that option also states), or words.
* ``unknowns``: the reference is one of at most two numbers stated. Of three or more, those that
  the question gives are dropped; if three or more are left, only the last counts.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from smalltolarge.evaluation import expressions, latex
from smalltolarge.evaluation.expressions import Unreadable
from smalltolarge.evaluation.latex import words
from smalltolarge.evaluation.numerals import (
    Number,
    find_numbers,
    find_worded,
    read_number,
    without_latex,
)

Kind = Literal["number", "latex", "mixed", "numglue", "unknowns"]

LONGEST = 2000
"""Characters of an answer that is read; a longer one only equals the same text."""
_NOISE = Fraction(1, 10**9)
"""Relative, of a printed float; a sum of rounded terms loses less, a digit is more."""
_MOST_NOISE = Fraction(1, 10**6)
"""Absolute, so that a large whole number never equals its neighbour."""
_DOUBLE = Fraction(1, 10**15)
"""Relative: what double precision cannot hold at all."""

_OPTION = re.compile(r"\(\s*([A-Fa-f])\s*\)")
_LETTER = re.compile(
    r"(?:option|choice|answer)?\s*\(?\s*([A-Za-z])\s*(?:[).:]\s*(.{0,200})|$)",
    re.IGNORECASE | re.DOTALL,
)
_ORDERED = re.compile(
    r"\b(?:order|sort|sorted|rank|arrange|ascending|descending|increasing|decreasing)\b",
    re.IGNORECASE,
)
_TRUTH = {"true": "true", "yes": "true", "false": "false", "no": "false"}


def is_equal(found: str, reference: str, kind: Kind, question: str) -> bool:
    """Tell whether the answer found is the reference; any text gives a verdict."""
    found, reference = found.strip(), reference.strip()
    if not found or not reference:
        return False
    if found == reference:
        return True
    if max(len(found), len(reference)) > LONGEST:
        return False
    match kind:
        case "number":
            return _same_number(found, reference, question)
        case "latex":
            return _same_latex(found, reference)
        case "mixed":
            return _same_mixed(found, reference, question)
        case "numglue":
            return _same_as_it_is(found, reference, question)
        case "unknowns":
            return _one_of_two(found, reference, question)


@lru_cache(maxsize=1024)
def options(question: str) -> dict[str, str]:
    """Give the options that a question offers, by capital letter: ``(A) web (B) tree``."""
    marks = list(_OPTION.finditer(question[-4000:]))
    starts = [place for place, mark in enumerate(marks) if mark[1].upper() == "A"]
    found: dict[str, str] = {}
    if not starts:
        return found
    marks = marks[starts[-1] :]
    ends = [mark.start() for mark in marks[1:]] + [len(question[-4000:])]
    for mark, end, letter in zip(marks, ends, "ABCDEF", strict=False):
        if mark[1].upper() != letter:
            break
        found[letter] = question[-4000:][mark.end() : end].strip().split("\n")[0].strip(" ,;")
    return found if len(found) > 1 else {}


def chosen(text: str, offered: dict[str, str]) -> str | None:
    """Give the letter of the option that a text states by its letter: ``B``, ``(B) web``."""
    match = _LETTER.fullmatch(text.strip().strip("*$ ").rstrip("."))
    if match is None or match[1].upper() not in offered:
        return None
    return match[1].upper()


def same_value(found: Number, reference: Number, question: str = "") -> bool:
    """Compare two numbers, the reference's way of writing deciding how exactly."""
    candidates = [found.value]
    if reference.is_percent and not found.is_percent:
        candidates.append(found.value * 100)
    if found.is_percent and not reference.is_percent and 0 < reference.value < 1:
        candidates.append(found.value / 100)
    if found.scale and found.scale in question.lower():
        scale = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
        candidates.append(found.value / scale[found.scale])
    return any(_near(value, found, reference) for value in candidates)


def _near(value: Fraction, found: Number, reference: Number) -> bool:
    wanted = reference.value
    if value == wanted:
        return True
    gap = abs(value - wanted)
    noise = min(_NOISE * max(abs(wanted), Fraction(1)), _MOST_NOISE)
    if found.is_float and gap <= max(_DOUBLE * abs(wanted), noise):
        return True
    # "51.0" is a whole number that went through a float, and no rounded one.
    if not reference.decimals or wanted.denominator == 1:
        return False
    if gap <= Fraction(1, 2 * 10**reference.decimals):
        return True
    if found.decimals is None or found.decimals < 2 or value != found.value:
        return False
    return found.decimals < reference.decimals and gap <= Fraction(1, 2 * 10**found.decimals)


def _read(text: str) -> Number | None:
    """Read a number, or calculate one from digits and signs: ``x = 18``, ``2 * 3``."""
    number = read_number(text)
    if number is not None:
        return number
    shown = without_latex(text).strip().strip("$*`").strip().rstrip(".")
    shown = re.sub(r"\s(?:dollars|degrees)$", "", shown)
    if "=" in shown:
        return read_number(shown.rsplit("=", 1)[1])
    if match := re.fullmatch(r"[\[({]([^,\[\](){}:]*),?[\])}]", shown):
        return read_number(match[1])
    if not re.fullmatch(r"[0-9.\s+*/()×-]*[+*/×][0-9.\s+*/()×-]*", shown):
        return None
    try:
        tree = expressions.read(shown.replace("×", "*"), False)
        [(value,)] = expressions.values(tree)
    except Unreadable:
        return None
    if not isinstance(value, Fraction):
        return None
    return Number(value, None, False, False, "", 0, len(shown))


def _same_number(found: str, reference: str, question: str) -> bool:
    one, other = _read(found), _read(reference)
    if one is None or other is None:
        return one is other and words(found) == words(reference) != ""
    return same_value(one, other, question)


def _same_latex(found: str, reference: str) -> bool:
    return latex.are_equal(found, reference)


def _same_mixed(found: str, reference: str, question: str) -> bool:
    offered = options(question)
    if offered:
        letters = [chosen(text, offered) for text in (found, reference)]
        if letters[0] and letters[1]:
            return letters[0] == letters[1]
        if letters[0] and _same_unlettered(offered[letters[0]], reference, question):
            return True
        if letters[1]:
            return _same_unlettered(found, offered[letters[1]], question)
    return _same_unlettered(found, reference, question)


def _same_unlettered(found: str, reference: str, question: str) -> bool:
    said, wanted = words(found), words(reference)
    if wanted in _TRUTH:
        return _TRUTH.get(said.split(" ")[0].rstrip(",")) == _TRUTH[wanted]
    one, other = read_number(found), read_number(reference)
    if one and other and re.fullmatch(r"\W*[0-9.,/]+\W*", reference):
        return same_value(one, other, question)
    # No intervals are asked for: square brackets are a list.
    found, reference = (re.sub(r"^\s*\[(.*)\]\s*$", r"\1", text) for text in (found, reference))
    is_latex = "\\" in found or ("$" in found and "**" not in found)
    ordered = bool(_ORDERED.search(question))
    return latex.are_equal(found, reference, is_latex, ordered=ordered)


def _same_as_it_is(found: str, reference: str, question: str) -> bool:
    offered = options(question)
    wanted = chosen(reference, offered) if offered else None
    if wanted:
        letter = chosen(found, offered)
        if letter:
            return letter == wanted
        stated = words(found)
        named = [letter for letter, text in offered.items() if stated and words(text) == stated]
        return named == [wanted]
    if re.fullmatch(r"[A-Fa-f]", reference):
        letter_match = _LETTER.fullmatch(found)
        return bool(letter_match) and letter_match[1].upper() == reference.upper()  # type: ignore[index]
    if _read(reference) is not None:
        return _same_number(found, reference, question)
    return words(found) == words(reference) != ""


def _one_of_two(found: str, reference: str, question: str) -> bool:
    wanted = read_number(reference)
    if wanted is None:
        return words(found) == words(reference) != ""
    single = None if re.search(r"[A-Za-z]\w?\s*=", found) else _read(found)
    stated = [single] if single else stated_numbers(found)
    if len(stated) > 2:
        given = {number.value for number in find_numbers(without_latex(question))}
        left = [number for number in stated if number.value not in given]
        stated = left if 0 < len(left) <= 2 else stated[-1:]
    return any(same_value(number, wanted, question) for number in stated)


def stated_numbers(text: str) -> list[Number]:
    """Give the numbers in a text, in words only where there are none in digits."""
    text = without_latex(text)
    return list(find_numbers(text)) or find_worded(text)
