r"""Compare answers in LaTeX, or in the notation of programs, by what they mean.

What is compared with what, by the form of the reference:

* ``4,6,14,15`` without parentheses, and sets: the same values in any order;
* ``(3, 5)``, ``[a, b)``: in order, with the same brackets, since these make an interval open or
  closed; the values alone, ``3, 5``, are also a pair;
* a column or a matrix: entry by entry; a column also as a tuple;
* ``y = 2x + 3``: an equation with the same solutions up to a factor, or what ``y`` is; ``x = 5``
  is also ``5``, and ``x \in S`` is also ``S``; an inequality in one name is an interval;
* ``a \pm b``: both values;
* ``1,234``: one number, or two values;
* ``1011_2``: the same digits, with the base or without it;
* ``27\%``: 27, 27% or 0.27; units, degrees and currencies are dropped;
* a decimal: exactly, save that an expression such as ``2000/9`` is also its value rounded to two
  decimals or more, and a decimal of six or more is also the expression it rounds.

What cannot be read is compared as text without spaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from smalltolarge.evaluation import algebra, expressions
from smalltolarge.evaluation.expressions import Tree, Unreadable
from smalltolarge.evaluation.forms import BASED, Form, clean, read, words

Same = Callable[[Form, Form], bool]

LONGEST = 2000
"""Characters of an answer; longer ones are compared as text."""
_TOLERANCE = Fraction(1, 10**9)
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_DECIMAL = re.compile(r"[+-]?[0-9]*\.([0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_FLIPPED = {">": "<", ">=": "<="}
_TRAILING_WORDS = re.compile(
    r"(?<=[0-9})\]!])\s*(?:(?:\s|\b)[A-Za-z]{2,20}[.²³]?(?:\^[23])?){1,6}$"
)


def are_equal(found: str, reference: str, is_latex: bool = True, *, ordered: bool = False) -> bool:
    """Compare two answers; ``ordered``: also lists without parentheses are in order."""
    if _bare(found) == _bare(reference):
        return bool(_bare(found))
    if max(len(found), len(reference)) > LONGEST:
        return False
    try:
        one, other = read(found, is_latex), read(reference, is_latex)
    except Unreadable:
        return False
    if _same(one, other, is_latex, ordered):
        return True
    grouped = [clean(text) for text in (found, reference)]
    if any(_GROUPED.fullmatch(text) for text in grouped):
        # Digits in threes are one number, or several values: the other side shows which.
        forms = [
            Form("leaf", text=text.replace(",", "")) if _GROUPED.fullmatch(text) else form
            for text, form in zip(grouped, (one, other), strict=True)
        ]
        return _same(forms[0], forms[1], is_latex, ordered)
    return False


def _bare(text: str) -> str:
    return re.sub(r"[\s$]+", "", text).rstrip(".")


def _same(found: Form, reference: Form, is_latex: bool, ordered: bool) -> bool:
    def same(one: Form, other: Form) -> bool:
        return _same(one, other, is_latex, ordered)

    def all_same(one: Sequence[Form], other: Sequence[Form]) -> bool:
        return len(one) == len(other) and all(map(same, one, other))

    if found.kind == "relation" and reference.kind != "relation":
        if found.text == "=":
            return same(found.parts[1], reference)
        found = _interval(found)
    elif reference.kind == "relation" and found.kind != "relation":
        if reference.text == "=":
            is_name = re.fullmatch(r"\\?[A-Za-z]+(?:\([a-z]\)|_\w)?", reference.parts[0].text)
            return bool(is_name) and same(found, reference.parts[1])
        reference = _interval(reference)
    match reference.kind, found.kind:
        case ("relation", "relation"):
            return _same_relation(found, reference, is_latex, same)
        case ("list" | "set" | "union", "list" | "set" | "union" | "tuple"):
            if reference.kind == "list" and ordered:
                return all_same(found.parts, reference.parts)
            if "union" in (reference.kind, found.kind) and reference.kind != found.kind:
                return False
            return _same_in_any_order(found.parts, reference.parts, same)
        case ("list" | "set", "leaf" | "words") if len(reference.parts) == 1:
            return same(found, reference.parts[0])
        case ("leaf", "set" | "list" | "tuple") if len(found.parts) == 1:
            return same(found.parts[0], reference)
        case ("tuple", "tuple"):
            return found.text == reference.text and all_same(found.parts, reference.parts)
        case ("tuple", "list"):
            return reference.text == "()" and all_same(found.parts, reference.parts)
        case ("matrix", "matrix"):
            return found.text == reference.text and all_same(found.parts, reference.parts)
        case ("matrix", "tuple" | "list"):
            is_line = reference.text in ("1", str(len(reference.parts)))
            return is_line and all_same(found.parts, reference.parts)
        case ("tuple", "matrix"):
            return reference.text == "()" and all_same(found.parts, reference.parts)
        case ("list" | "set", "matrix"):
            rows = int(found.text)
            width = len(found.parts) // rows if rows else 0
            pairs = [
                Form("tuple", found.parts[row * width : (row + 1) * width], "()")
                for row in range(rows)
            ]
            return _same_in_any_order(pairs, reference.parts, same)
        case ("words" | "leaf", "words" | "leaf"):
            if "words" in (reference.kind, found.kind):
                return words(found.text) == words(reference.text) != ""
            return _same_leaf(found, reference, is_latex)
        case _:
            return False


def _same_in_any_order(found: Sequence[Form], reference: Sequence[Form], same: Same) -> bool:
    left = list(found)
    for part in reference:
        place = next((i for i, other in enumerate(left) if same(other, part)), None)
        if place is None:
            return False
        left.pop(place)
    return not left


def _interval(relation: Form) -> Form:
    """Write an inequality in one name as an interval."""
    signs = [*relation.text.split()]
    parts = list(relation.parts)
    if not all(sign in ("<", "<=", ">", ">=") for sign in signs):
        return relation
    if signs[0] in _FLIPPED:
        parts.reverse()
        signs = [_FLIPPED.get(sign, "") for sign in reversed(signs)]
    is_name = [bool(re.fullmatch(r"\\?[A-Za-z]+", part.text)) for part in parts]
    infinite = [Form("leaf", text=text) for text in (r"-\infty", r"\infty")]
    match is_name, signs:
        case [True, False], [sign]:
            ends, opening, closing = (infinite[0], parts[1]), "(", ")]"[sign == "<="]
        case [False, True], [sign]:
            ends, opening, closing = (parts[0], infinite[1]), "(["[sign == "<="], ")"
        case [False, True, False], [left, right]:
            ends = (parts[0], parts[2])
            opening, closing = "(["[left == "<="], ")]"[right == "<="]
        case _:
            return relation
    return Form("tuple", ends, opening + closing)


def _same_relation(found: Form, reference: Form, is_latex: bool, same: Same) -> bool:
    signs = [[*form.text.split()] for form in (found, reference)]
    sides = [list(form.parts) for form in (found, reference)]
    for i in range(2):
        if signs[i][0] in _FLIPPED:
            sides[i].reverse()
            signs[i] = [_FLIPPED.get(sign, "") for sign in reversed(signs[i])]
    if signs[0] != signs[1]:
        return False
    if all(map(same, sides[0], sides[1])):
        return True
    if len(signs[0]) > 1 or signs[0][0] not in ("=", "<", "<=", "!="):
        return False
    if any(side.kind != "leaf" for both in sides for side in both):
        return False
    trees = []
    try:
        for left, right in sides:
            trees.append(("-", *(expressions.read(one.text, is_latex) for one in (left, right))))
        factor = algebra.factor_between(trees[0], trees[1])
    except Unreadable:
        return False
    return factor is not None and (signs[0][0] in ("=", "!=") or factor > 0)


def _same_leaf(found: Form, reference: Form, is_latex: bool) -> bool:
    one, other = re.sub(r"\s", "", found.text), re.sub(r"\s", "", reference.text)
    if one == other:
        return bool(one)
    based = [BASED.fullmatch(re.sub(r"[{}]", "", text)) for text in (one, other)]
    if any(based):
        return _same_in_base(one, other, based)
    infinite = [text.replace(r"\infty", "oo").lstrip("+") for text in (one, other)]
    if any(text in ("oo", "-oo") for text in infinite):
        return infinite[0] == infinite[1]
    try:
        trees = [_tree(form.text, is_latex) for form in (found, reference)]
        if _are_near(trees[0], trees[1], one, other):
            return True
        if reference.is_percent and not found.is_percent:
            return _are_near(("*", trees[0], ("number", Fraction(100))), trees[1], one, other)
        if found.is_percent and not reference.is_percent and _is_part(trees[1]):
            return _are_near(("/", trees[0], ("number", Fraction(100))), trees[1], one, other)
    except Unreadable:
        if not any(re.search(r"[0-9\\]", text) for text in (one, other)):
            return words(found.text) == words(reference.text) != ""
    return False


def _is_part(tree: Tree) -> bool:
    [(value,)] = algebra.values(tree) if not algebra.names(tree) else [(Fraction(0),)]
    return isinstance(value, Fraction) and 0 < value < 1


def _same_in_base(one: str, other: str, based: Sequence[re.Match[str] | None]) -> bool:
    matches = [match for match in based if match]
    match = matches[0]
    if len(matches) == 2:
        return match.groups() == matches[1].groups()
    return match[1].replace(",", "") in (one.replace(",", ""), other.replace(",", ""))


def _tree(text: str, is_latex: bool) -> Tree:
    try:
        return expressions.read(text.replace("\\ ", " "), is_latex)
    except Unreadable:
        shorter = _TRAILING_WORDS.sub("", text)
        if shorter == text:
            raise
        return expressions.read(shorter, is_latex)


def _are_near(found: Tree, reference: Tree, one: str, other: str) -> bool:
    if algebra.are_equal(found, reference):
        return True
    if algebra.names(found) or algebra.names(reference):
        return False
    decimals = [match and len(match[1]) for match in map(_DECIMAL.fullmatch, (one, other))]
    [pair] = algebra.values(found, reference)
    values = [
        value if isinstance(value, Fraction) else Fraction(value.real)
        for value in pair
        if isinstance(value, Fraction) or abs(value.imag) < 1e-9
    ]
    if len(values) < 2:
        return False
    gap = abs(values[0] - values[1])
    if decimals[0] is None and decimals[1] is not None:
        return decimals[1] >= 2 and gap <= Fraction(1, 2 * 10 ** decimals[1])
    if decimals[0] is None or decimals[0] < 6:
        return False
    if decimals[1] is None and "e" not in one.lower():
        return gap <= Fraction(1, 2 * 10 ** decimals[0]) or gap <= _TOLERANCE * abs(values[1])
    return gap <= _TOLERANCE * abs(values[1])
