r"""Tell whether an answer found in a completion is the reference: by meaning, not by its letters.

Both are taken apart (``forms``), and the form of the reference says what counts. What a question
asks for (``Kind``) sets the rest:

* ``number``: a reference with two decimals or more is taken as rounded.
* ``latex``: ``e`` and ``i`` are constants; a formula copied out of the question is no answer.
* ``mixed``: ``e`` and ``i`` are names, square brackets make a list, decimals are exact.
* ``numglue``: as ``number``, or a letter among the question's options, or words.
* ``unknowns``: the reference is one of at most two numbers stated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from smalltolarge.evaluation import algebra, expressions, forms
from smalltolarge.evaluation.choices import lettered, options
from smalltolarge.evaluation.expressions import Tree, Unreadable
from smalltolarge.evaluation.forms import Form, words
from smalltolarge.evaluation.numerals import (
    SCALES,
    UNITS,
    Number,
    find_numbers,
    find_worded,
    read_number,
    without_latex,
)

Kind = Literal["number", "latex", "mixed", "numglue", "unknowns"]

LONGEST = 2000
"""Characters of an answer that is read; a longer one only equals the same text."""
_NOISE, _MOST_NOISE, _DOUBLE, _CLOSE = (Fraction(1, 10**places) for places in (9, 6, 15, 11))
"""What a printed float may be off: relative; absolute, so that a large whole number never equals
its neighbour; relative, what double precision cannot hold at all."""

_SIZES = r"(?:least|smallest|lowest|shortest|greatest|largest|highest|biggest|longest)"
_ORDERED = re.compile(
    r"\b(?:sort|rank|arrange|(?:ascending|descending|(?:in|de)creasing|alphabetical) order"
    rf"|put\b.{{1,300}}\border|order (?:from|of)|{_SIZES} to (?:the )?{_SIZES})\b",
    re.IGNORECASE | re.DOTALL,
)
_INTERVALS = re.compile(
    r"\b(?:intervals?|inequalit(?:y|ies)|domain|range|(?:what|which|all) (?:\w+ )?values)\b",
    re.IGNORECASE,
)
_CONVERTED = re.compile(
    r"\b(?:convert|express|write|simplif|fraction|decimal|mixed number|terms)", re.IGNORECASE
)
_DECIMAL = re.compile(r"[+-]?[0-9]*\.([0-9]+)([eE][-+]?[0-9]{1,3})?")
_NOTHING = re.compile(r"^(?:none|no (?:real )?solutions?|empty set)$")
_NOUN = re.compile(
    r"^(?:.* is|point|option|choice|graph|figure|statement|line|segment) (?=\S)| function$"
)


def is_equal(found: str, reference: str, kind: Kind, question: str) -> bool:
    """Tell whether the answer found is the reference; any text gives a verdict."""
    found, reference = (" ".join(text.split()) for text in (found, reference))
    if not found or not reference:
        return False
    if _bare(found) == _bare(reference):
        return True
    if max(len(found), len(reference)) > LONGEST:
        return False
    if kind == "unknowns":
        return _one_of_two(found, reference, question)
    same = _Comparison(kind, question).is_same
    offered = options(question) if kind in ("mixed", "numglue") else {}
    if offered or kind in ("latex", "numglue"):
        wanted, stated = (_letter(text, offered) for text in (reference, found))
        if wanted and (offered or kind == "numglue" or wanted in reference):
            if stated:
                return stated == wanted
            if offered:
                return [letter for letter in offered if same(found, offered[letter])] == [wanted]
        elif stated and offered:
            found = offered[stated]
    return same(found, reference)


def _bare(text: str) -> str:
    # A space between two digits parts two numbers.
    return re.sub(r"(?<![0-9])\s+|\s+(?![0-9])|\$", "", text).rstrip(".")


def _letter(text: str, offered: dict[str, str]) -> str | None:
    """Give the one option that a text states by its letter: ``B``, ``(B) web``."""
    offered, text = offered or dict.fromkeys("ABCDEF", ""), without_latex(text).strip(" {}")
    if len(re.findall(r"\(\s*[A-Fa-f]\s*\)", text)) > 1:
        return None
    return lettered(text, offered)


def _one_of_two(found: str, reference: str, question: str) -> bool:
    wanted = read_number(reference)
    if wanted is None:
        return words(found) == words(reference) != ""
    text = without_latex(found)
    if re.search(r"\bor\b|\^|\*\*|!|sqrt", text):
        # One or the other, or something that is still to be calculated.
        return False
    single = None if "=" in found else read_number(found)
    stated = [single] if single else list(find_numbers(text)) or find_worded(text)
    if len(stated) > 2:
        given = {number.value for number in find_numbers(without_latex(question))}
        left = [number for number in stated if number.value not in given]
        stated = left if 0 < len(left) <= 2 else stated[-1:]
    return any(_is_near(number, wanted, "unknowns", question) for number in stated)


def _is_near(found: Number, reference: Number, kind: Kind, question: str = "") -> bool:
    """Compare two numbers by how they are written: as floats, rounded, percent, in millions."""
    candidates = [found.value]
    if reference.is_percent and not found.is_percent:
        candidates.append(found.value * 100)
    if found.is_percent and not reference.is_percent:
        is_part = 0 < reference.value < 1
        is_asked = re.search("%|per ?cent", question or "%", re.IGNORECASE)
        candidates = [found.value / 100] if is_part else candidates if is_asked else []
    if found.scale and re.search(rf"\b{found.scale}s?\b", question, re.IGNORECASE):
        times = SCALES.get(found.scale) or UNITS[found.scale][0]
        candidates.append(found.value / times)
    return any(_rounds_to(value, found, reference, kind) for value in candidates)


def _rounds_to(value: Fraction, found: Number, reference: Number, kind: Kind) -> bool:
    wanted, gap = reference.value, abs(value - reference.value)
    if not gap:
        return True
    noise = min(_NOISE * max(abs(wanted), Fraction(1)), _MOST_NOISE)
    is_longer = found.decimals is None or found.decimals > (reference.decimals or 0)
    if found.is_float and is_longer and gap <= max(_DOUBLE * abs(wanted), noise):
        return True
    if found.decimals and found.decimals > 5 and reference.decimals is None:
        return gap <= _half_unit(found)
    # "51.0" is a whole number that went through a float, and no rounded one.
    if kind == "mixed" or (reference.decimals or 0) < 2 or wanted.denominator == 1:
        return False
    if kind == "latex":
        return found.decimals is None and gap <= _half_unit(reference)
    if gap <= _half_unit(reference):
        return True
    is_shorter = 2 <= (found.decimals or 0) < (reference.decimals or 0)
    return is_shorter and value == found.value and gap <= _half_unit(found)


def _half_unit(number: Number) -> Fraction:
    return Fraction(1, 2 * 10 ** (number.decimals or 0))


@dataclass(frozen=True)
class _Comparison:
    """Compares two answers to one question."""

    kind: Kind
    question: str

    def is_same(self, found: str, reference: str) -> bool:
        if self.kind in ("number", "numglue"):
            number, goal = read_number(found), read_number(reference)
            if number and goal:
                return _is_near(number, goal, self.kind, self.question)
        if (wanted := _meant(reference)) in ("yes", "no"):
            return wanted in (_meant(found), _meant(found.split()[0]))
        if self.kind == "mixed":
            # No intervals are asked for: square brackets are a list.
            found, reference = (re.sub(r"^\[(.*)\]$", r"\1", one) for one in (found, reference))
        try:
            one, other = forms.read(found), forms.read(reference)
            return self._same(one, other) and not self._is_copied(found, one, other)
        except Unreadable:
            return False

    def _is_copied(self, text: str, found: Form, reference: Form) -> bool:
        """Tell whether an answer is a formula of the question that is still to be worked out."""
        if self.kind not in ("latex", "mixed") or found.kind not in ("value", "relation"):
            return False
        if found.text == "=" and forms.is_name(found.parts[0]):
            text, found = text.rpartition("=")[2], found.parts[-1]
        if found.kind == "value" and self._is_worked_out(found, reference):
            return False
        copy = r"\s*".join(map(re.escape, re.sub(r"\s", "", _loose(text))))
        place = rf"(?:^|[^\w.^*/(+\s-]\s*|\w\s+){copy}(?!\w|\s*[\^(*/+-])"
        return re.search(place, _loose(self.question)) is not None

    def _is_worked_out(self, found: Form, reference: Form) -> bool:
        """Tell whether a value is a number where no other form of it is asked for."""
        goal = _stated(reference) if reference.text == "=" else reference
        try:
            tree = self._tree(found.text)
            if tree == self._tree(goal.text):
                return True
        except Unreadable:
            return True
        return _is_number(tree) and not _CONVERTED.search(self.question)

    def _same(self, found: Form, reference: Form) -> bool:
        if "relation" in (found.kind, reference.kind):
            return self._same_relation(found, reference)
        found = _whole(found, reference)
        # "2, 269" are two numbers where digits are not grouped.
        reference = reference if self.kind == "mixed" else _whole(reference, found)
        match reference.kind, found.kind:
            case ("list" | "set", "list" | "set" | "matrix" | "tuple") if found.kind != "tuple" or (
                found.text in ("()", "[]") and not found.unit
            ):
                return self._same_list(found.parts, reference.parts)
            case ("tuple", "tuple") | ("matrix", "matrix"):
                same_brackets = self._same_brackets(found, reference)
                return same_brackets and self._all_same(found.parts, reference.parts)
            case ("tuple", "list"):
                point = forms.assigned(found.parts) or found
                return reference.text == "()" and self._all_same(point.parts, reference.parts)
            case ("matrix", "tuple" | "list"):
                cells = [cell for row in reference.parts for cell in row.parts]
                is_line = len(reference.parts) in (1, len(cells))
                return is_line and self._all_same(found.parts, cells)
            case ("tuple", "matrix"):
                column = [row.parts[0] for row in found.parts if len(row.parts) == 1]
                return self._all_same(column, reference.parts)
            case (_, "list" | "set" | "tuple") if len(found.parts) == 1:
                return self._same(found.parts[0], reference)
            case ("list" | "set" | "tuple", _) if len(reference.parts) == 1:
                return self._same(found, reference.parts[0])
            case ("value", "value"):
                return self._same_value(found, reference)
            case ("words" | "value", "words" | "value"):
                return _same_words(found.text, reference.text)
            case _:
                return False

    def _same_brackets(self, found: Form, reference: Form) -> bool:
        # Python writes points as lists.
        is_list = found.text == "[]" and not _INTERVALS.search(self.question)
        is_named = not found.unit or not reference.unit or found.unit == reference.unit
        return is_named and reference.text in (found.text, "()" if is_list else found.text)

    def _all_same(self, found: Sequence[Form], reference: Sequence[Form]) -> bool:
        return len(found) == len(reference) and all(map(self._same, found, reference))

    def _same_list(self, found: Sequence[Form], reference: Sequence[Form]) -> bool:
        if _ORDERED.search(self.question):
            return self._all_same(found, reference)
        left = list(found)
        for part in reference:
            place = next((i for i, other in enumerate(left) if self._same(other, part)), None)
            if place is None:
                return False
            left.pop(place)
        return not left

    def _same_relation(self, found: Form, reference: Form) -> bool:
        if found.kind == reference.kind:
            if found.text != reference.text:
                return False
            names = [form.parts[0] for form in (found, reference)]
            if all(map(forms.is_name, names)) and any("(" in name.text for name in names):
                # f(x) = 2x is y = 2x.
                return self._same(found.parts[1], reference.parts[1])
            same_sides = self._all_same(found.parts, reference.parts)
            return same_sides or self._same_up_to_factor(found, reference)
        if found.kind == "relation" and reference.kind == "list" and set(found.text) <= set("< ="):
            # "1 < 5 < 8" and "8 > 5 > 1" are in order.
            one, other = reference.parts, reference.parts[::-1]
            return any(self._all_same(found.parts, order) for order in (one, other))
        if found.kind == "relation":
            return found.text == "=" and self._same(_stated(found), reference)
        is_named = reference.text == "=" and forms.is_name(reference.parts[0])
        return is_named and self._same(found, reference.parts[1])

    def _same_up_to_factor(self, found: Form, reference: Form) -> bool:
        sides = [*found.parts, *reference.parts]
        if len(sides) > 4 or any(side.kind != "value" for side in sides):
            return False
        try:
            trees = [self._tree(side.text) for side in sides]
            factor = algebra.factor_between(("-", *trees[:2]), ("-", *trees[2:]))
        except (Unreadable, ArithmeticError):
            return False
        return factor is not None and (found.text in ("=", "!=") or factor > 0)

    def _same_value(self, found: Form, reference: Form) -> bool:
        if _clash(found.unit, reference.unit):
            return False
        one, other = (re.sub(r"\s", "", form.text) for form in (found, reference))
        if one == other and "%" not in (found.unit, reference.unit):
            return bool(one)
        if "oo" in (one.strip("+-"), other.strip("+-")) or (":" in one and ":" in other):
            return False
        based = [forms.BASED.fullmatch(text) for text in (one, other)]
        if any(based):
            digits = {text.partition("_")[0] for text in (one, other)}
            is_base = based[1] or one.endswith("_10") or re.search(r"\bbases?\b", self.question)
            return len(digits) == 1 and not all(based) and bool(is_base)
        try:
            trees = [self._tree(form.text.replace(":", "/")) for form in (found, reference)]
            if algebra.names(trees[0]) or algebra.names(trees[1]):
                return algebra.are_equal(trees[0], trees[1])
            value, wanted = map(algebra.constant, trees)
        except Unreadable:
            return _same_words(found.text, reference.text)
        real, wanted_real = algebra.real(value), algebra.real(wanted)
        is_close = algebra.are_close(value, wanted)
        if real is None or wanted_real is None:
            return is_close
        if is_close:
            if isinstance(wanted, complex) and abs(real - wanted_real) > _CLOSE * abs(wanted_real):
                return False
            real = wanted_real
        number, goal = _number(found, real), _number(reference, wanted_real)
        if goal.decimals and real != wanted_real and not isinstance(value, Fraction):
            # A root or a constant is no rounded decimal.
            return False
        return _is_near(number, goal, self.kind, self.question)

    def _tree(self, text: str) -> Tree:
        return expressions.read(text, self.kind != "mixed")


def _number(form: Form, value: Fraction) -> Number:
    decimal = _DECIMAL.fullmatch(form.text)
    decimals = len(decimal[1]) if decimal and not decimal[2] else None
    return Number(value, decimals, is_float=bool(decimal), is_percent=form.unit == "%")


def _stated(equation: Form) -> Form:
    """Give what an equation says of its name: ``5`` for ``x = 5``, and for ``5 = x``."""
    is_first = list(map(forms.is_name, equation.parts)) == [False, True]
    return equation.parts[0 if is_first else 1]


def _whole(form: Form, other: Form) -> Form:
    """Take digits in threes as one number where the other answer is one."""
    is_grouped = form.kind == "list" and form.text and other.kind == "value"
    return Form("value", text=form.text) if is_grouped else form


def _is_number(tree: Tree) -> bool:
    """Tell whether nothing is left to do: a number, a name, a fraction in lowest terms."""
    if tree[0] == "-" and tree[1] == ("number", 0):
        tree = tree[2]
    if tree[0] == "/" and tree[1][0] == tree[2][0] == "number":
        up, down = tree[1][1], tree[2][1]
        return bool(down) and (up / down).denominator == down
    return tree[0] in ("number", "name", "constant", "infinity")


def _loose(text: str) -> str:
    text = re.sub(r"\\(?:left|right|displaystyle|[,;:! ])", "", text).strip(" $.")
    return re.sub(r"\\[dt]frac", r"\\frac", text)


def _clash(one: str, other: str) -> bool:
    """Tell whether two units differ; a unit that is missing on one side is taken as meant."""
    for left, right in zip(one.split("/"), other.split("/"), strict=False):
        powers = [unit.partition("^")[2] for unit in (left, right)]
        is_any = "unit" in left + right and powers[0] == powers[1]
        if left and right and left != right and not is_any:
            return True
    return False


def _same_words(found: str, reference: str) -> bool:
    if any(re.search(r"[\\^_*=<>|{}()!%]", text) for text in (found, reference)):
        return False
    said, wanted = _meant(found), _meant(reference)
    return bool(wanted) and wanted == _NOUN.sub("", said)


def _meant(text: str) -> str:
    said = _NOTHING.sub("no solution", words(text))
    return {"true": "yes", "false": "no"}.get(said, said)
