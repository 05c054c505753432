"""Tell whether an answer found in a completion is the reference.

What a question asks for (``Kind``) says how its answers are compared:

* ``number``: exactly, as fractions. A float that a program prints may be off by what double
  precision loses. A reference with two decimals or more is taken as rounded: it equals what rounds
  to it, and a decimal of at least two places that it rounds to. One decimal is exact.
* ``latex``: by meaning, see ``latex``.
* ``mixed``: as exact numbers, expressions, words or options. Lists are in order only where the
  question asks for an order.
* ``numglue``: as the reference is: a number, a letter among the question's options (which the text
  of that option also states), or words.
* ``unknowns``: the reference is one of at most two numbers stated. Of three or more, those that
  the question gives are dropped; if three or more are left, only the last counts.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal

from smalltolarge.evaluation import algebra, expressions, latex
from smalltolarge.evaluation.choices import chosen, options
from smalltolarge.evaluation.expressions import Unreadable
from smalltolarge.evaluation.forms import words
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

_ALONE = re.compile(r"[\[({\s]{1,6}(?:[A-Za-z]\w{0,9}:\s*)?([^,:\[\](){}]{1,200}),?[\])}\s]{1,6}")
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


def same_value(
    found: Number, reference: Number, question: str = "", *, is_rounded: bool = True
) -> bool:
    """Compare two numbers; ``is_rounded``: a reference with decimals may be rounded."""
    candidates = [found.value]
    if reference.is_percent and not found.is_percent:
        candidates.append(found.value * 100)
    if found.is_percent and not reference.is_percent and 0 < reference.value < 1:
        candidates.append(found.value / 100)
    if found.scale and found.scale in question.lower():
        scale = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
        candidates.append(found.value / scale[found.scale])
    return any(_near(value, found, reference, is_rounded) for value in candidates)


def _near(value: Fraction, found: Number, reference: Number, is_rounded: bool) -> bool:
    wanted = reference.value
    if value == wanted:
        return True
    gap = abs(value - wanted)
    noise = min(_NOISE * max(abs(wanted), Fraction(1)), _MOST_NOISE)
    if found.is_float and gap <= max(_DOUBLE * abs(wanted), noise):
        return True
    # "51.0" is a whole number that went through a float, and no rounded one.
    if not is_rounded or (reference.decimals or 0) < 2 or wanted.denominator == 1:
        return False
    if reference.decimals and gap <= Fraction(1, 2 * 10**reference.decimals):
        return True
    if found.decimals is None or found.decimals < 2 or value != found.value:
        return False
    return found.decimals < (reference.decimals or 0) and gap <= Fraction(1, 2 * 10**found.decimals)


def _read(text: str) -> Number | None:
    """Read a number, or calculate one from digits and signs: ``x = 18``, ``2 * 3``."""
    number = read_number(text)
    if number is not None:
        return number
    shown = without_latex(text).strip().strip("$*`").strip().rstrip(".")
    shown = re.sub(r"\s(?:dollars|degrees)$", "", shown)
    if "=" in shown:
        return read_number(shown.rsplit("=", 1)[1])
    if shown[:1] in ("[", "(", "{"):
        # One value in brackets, as programs print it: [18], (18,), {x: 18}, [{x: 18}].
        match = _ALONE.fullmatch(shown)
        return read_number(match[1]) if match else None
    if not re.fullmatch(r"[0-9.\s+*/()×-]*[+*/×][0-9.\s+*/()×-]*", shown):
        return None
    try:
        tree = expressions.read(shown.replace("×", "*"), False)
        [(value,)] = algebra.values(tree)
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
        return same_value(one, other, question, is_rounded=False)
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
        return [one for one, text in offered.items() if _states(found, text)] == [wanted]
    if re.fullmatch(r"[A-Fa-f]", reference):
        return chosen(found, dict.fromkeys("ABCDEF", "")) == reference.upper()
    if _read(reference) is not None:
        return _same_number(found, reference, question)
    return words(found) == words(reference) != ""


def _states(found: str, option: str) -> bool:
    if words(found) == words(option) != "":
        return True
    one, other = read_number(found), read_number(option)
    return one is not None and other is not None and same_value(one, other)


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
