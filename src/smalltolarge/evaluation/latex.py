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
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from smalltolarge.evaluation import expressions
from smalltolarge.evaluation.expressions import Tree, Unreadable
from smalltolarge.evaluation.numerals import plain

LONGEST = 2000
"""Characters of an answer; longer ones are compared as text."""
_MOST_PARTS = 40
_DEEPEST = 6
_TOLERANCE = Fraction(1, 10**9)

_UNICODE = str.maketrans(
    {
        "×": r"\times ",
        "÷": "/",
        "·": r"\cdot ",
        "π": r"\pi ",
        "∞": r"\infty ",
        "√": r"\sqrt ",
        "∪": r"\cup ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "≠": r"\ne ",
        "∈": r"\in ",
        "±": r"\pm ",
        "θ": r"\theta ",
        "²": "^2",
        "³": "^3",
        "≈": r"\approx ",
        "–": "-",
    }
)
_CLEANED = [
    (re.compile(r"\\(?:left|right|displaystyle|textstyle|[bB]igg?[lr]?)(?![A-Za-z])\.?"), ""),
    (re.compile(r"\{,\}|,\\!\s*"), ","),
    (re.compile(r"\\\$"), ""),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])|°|\\deg(?![A-Za-z])"), ""),
    (re.compile(r"\\text(?:bf|rm|it|sf|tt|normal)?\s*\{\s*(?:,\s*)?(?:and|or)\s*\}"), ","),
    (re.compile(r"\\(?:quad|qquad)(?![A-Za-z])|(?<!\\)\\[,;:! ]|~"), " "),
    (re.compile(r"\\[dt]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\leqs?(?:lant)?(?![A-Za-z])"), r"\\le "),
    (re.compile(r"\\geqs?(?:lant)?(?![A-Za-z])"), r"\\ge "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\l?brack(?![A-Za-z])"), "["),
    (re.compile(r"\\rbrack(?![A-Za-z])"), "]"),
    (re.compile(r"\\lbrace(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])"), r"\\}"),
]  # fmt: skip
_WRAPPED = [
    re.compile(r"\$\$(.*)\$\$", re.DOTALL),
    re.compile(r"\$([^$]*)\$", re.DOTALL),
    re.compile(r"\\\((.*)\\\)", re.DOTALL),
    re.compile(r"\\\[(.*)\\\]", re.DOTALL),
    re.compile(r"\*\*(.*)\*\*", re.DOTALL),
    re.compile(r"`(.*)`", re.DOTALL),
]
_TEXT = re.compile(
    r"\\(?:text(?:bf|rm|it|sf|tt|normal)?|mbox|mathrm|mathbf|mathit)\s*\{([^{}]{0,200})\}"
)
_POWERED = re.compile(_TEXT.pattern + r"(?:\s*\^\s*\{?\s*[23]\s*\}?)?")
_MATRIX = re.compile(
    r"\\begin\{([pbvVB]?matrix|array)\}(?:\{[lcr|]*\})?(.*?)\\end\{\1\}", re.DOTALL
)
_BASED = re.compile(r"([+-]?[0-9A-Za-z.,]+)_\{?(?:\\text\{)?([0-9]{1,2}|[a-z]{3,8})\}*")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_DECIMAL = re.compile(r"[+-]?[0-9]*\.([0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_RELATION = re.compile(r"\\(?:le|ge|ne|neq|in)(?![A-Za-z])|<=|>=|==|[<>=]")
_FLIPPED = {">": "<", ">=": "<="}
_NAMES = {r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\neq": "!=", r"\in": "in", "==": "="}
_TRAILING_WORDS = re.compile(
    r"(?<=[0-9})\]!])\s*(?:(?:\s|\b)[A-Za-z]{2,20}[.²³]?(?:\^[23])?){1,6}$"
)


@dataclass(frozen=True)
class Form:
    """An answer in parts. ``kind``: leaf, words, list, set, tuple, union, matrix or relation."""

    kind: str
    parts: tuple[Form, ...] = ()
    text: str = ""
    """Of a leaf or of words; the brackets of a tuple; the signs of a relation; rows of a matrix."""
    is_percent: bool = False


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
    grouped = [_clean(text) for text in (found, reference)]
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


def _clean(text: str) -> str:
    """Drop what only dresses an answer."""
    text = plain(text).translate(_UNICODE).strip()
    for pattern, instead in _CLEANED:
        text = pattern.sub(instead, text)
    for _ in range(4):
        before = text
        text = text.strip().strip("$").rstrip(".,;:").strip()
        for wrapped in _WRAPPED:
            if match := wrapped.fullmatch(text):
                text = match[1].strip()
        if text.startswith((r"\boxed{", r"\fbox{")) and _closing(text, text.index("{")) == (
            len(text) - 1
        ):
            text = text[text.index("{") + 1 : -1]
        if text == before:
            break
    return re.sub(r"^(?:\\approx|=|≈)\s*", "", text).strip()


@lru_cache(maxsize=4096)
def read(text: str, is_latex: bool = True) -> Form:
    """Take an answer apart.

    Raises
    ------
    Unreadable
        It has too many parts.
    """
    text = _clean(text)
    if match := _TEXT.fullmatch(text):
        return Form("words", text=words(match[1]))
    if _BASED.fullmatch(re.sub(r"\s|\\text|\\mathrm|(?<![_\w])[{}]", "", _unwrapped(text))):
        return Form("leaf", text=_unwrapped(text))
    if "\\begin" not in text:
        text = _without_units(text)
    return _form(text, is_latex, 0)


def _unwrapped(text: str) -> str:
    return _TEXT.sub(lambda match: match[1].strip(), text)


def _without_units(text: str) -> str:
    def drop(match: re.Match[str]) -> str:
        inner = match[1].strip()
        if len(inner) == 1 or re.fullmatch(r"[IiVXx]+|[A-Za-z][0-9]", inner):
            return f" {inner} "
        return " "

    dropped = _POWERED.sub(drop, text) if "{" in text else text
    return dropped.strip().rstrip(".,;") or text


def _form(text: str, is_latex: bool, depth: int) -> Form:
    text = text.strip().strip("$").strip()
    if depth > _DEEPEST:
        raise Unreadable("too deep")

    def again(part: str) -> Form:
        return _form(part, is_latex, depth + 1)

    if match := _MATRIX.fullmatch(text):
        rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", match[2]) if row.strip()]
        cells = [row.split("&") for row in rows]
        return _matrix([[again(cell) for cell in row] for row in cells])
    if match := re.fullmatch(r"(?:Immutable)?(?:Dense)?Matrix\((\[.*\])\)", text, re.DOTALL):
        text = match[1]
    for separator in (r"\cup", " U ", "Union("):
        if separator == "Union(" and text.startswith(separator) and text.endswith(")"):
            return Form("union", tuple(map(again, _split(text[6:-1], ","))))
        parts = _split(text, separator)
        if len(parts) > 1:
            return Form("union", tuple(map(again, parts)))
    parts = [part for part in _split(_with_commas(text), ",") if part.strip()]
    if len(parts) > 1:
        return Form("list", tuple(map(again, parts)))
    if len(parts) == 1 and parts[0] != text:
        return again(parts[0])
    sides, signs = _relation(text)
    if signs:
        if signs == ["in"]:
            return again(sides[1])
        return Form("relation", tuple(map(again, sides)), " ".join(signs))
    if (inner := _bracketed(text)) is not None:
        return inner_form(text, inner, again)
    if r"\pm" in text:
        variants = [text.replace(r"\pm", sign) for sign in ("+", "-")]
        return Form("list", tuple(map(again, variants)))
    if re.fullmatch(r"[0-9.\s]+(?::[0-9.\s]+)+", text):
        return Form("words", text=re.sub(r"\s", "", text))
    is_percent = bool(re.search(r"\\?%\s*$", text))
    return Form("leaf", text=re.sub(r"\\?%", "", text).strip(), is_percent=is_percent)


def inner_form(text: str, inner: str, again: object) -> Form:
    """Read what stands in brackets."""
    assert callable(again)
    if text.startswith(("\\{", "{")):
        parts = [part for part in _split(inner, ",") if part.strip()]
        if text.startswith("{") and all(len(_split(part, ":")) == 2 for part in parts) and parts:
            # A solution as sympy prints it, {x: 3, y: 5}.
            return Form("list", tuple(again(_split(part, ":")[1]) for part in parts))
        if text.startswith("{") and len(parts) == 1:
            return again(inner)  # type: ignore[no-any-return]
        return Form("set", tuple(map(again, parts)))
    parts = [part for part in _split(inner, ",") if part.strip()]
    if len(parts) == 1 and parts[0].strip() and text[0] + text[-1] in ("()", "[]"):
        return again(parts[0])  # type: ignore[no-any-return]
    forms = tuple(map(again, parts))
    is_square = text[0] + text[-1] == "[]"
    if is_square and forms and all(form.kind in ("tuple", "leaf") for form in forms):
        rows = [form.parts for form in forms if form.kind == "tuple" and form.text == "[]"]
        if len(rows) == len(forms) and len({len(row) for row in rows}) == 1:
            return _matrix([list(row) for row in rows])
    return Form("tuple", forms, text[0] + text[-1])


def _matrix(rows: Sequence[Sequence[Form]]) -> Form:
    cells = tuple(cell for row in rows for cell in row)
    if len(cells) > _MOST_PARTS:
        raise Unreadable("too large a matrix")
    return Form("matrix", cells, str(len(rows)))


def _with_commas(text: str) -> str:
    text = re.sub(r",?\s+(?:and|or)\s+|;", ",", text)
    return re.sub(r"^(?:either|both)\s+", "", text)


def _pairs(text: str) -> list[int]:
    """Give the depth of brackets at every character; an interval closes with either bracket."""
    depths, depth = [], 0
    for place, character in enumerate(text):
        if character in "([{":
            depth += 1
        depths.append(depth)
        if character in ")]}":
            depth = max(0, depth - 1)
        del place
    return depths


def _closing(text: str, opening: int) -> int:
    depths = _pairs(text)
    inside = depths[opening]
    for place in range(opening + 1, len(text)):
        if text[place] in ")]}" and depths[place] == inside:
            return place
    return -1


def _split(text: str, separator: str) -> list[str]:
    """Split where no bracket is open."""
    if separator not in text:
        return [text]
    depths, parts, start, place = _pairs(text), [], 0, 0
    while (place := text.find(separator, place)) >= 0:
        if depths[place] == 0:
            parts.append(text[start:place])
            start = place + len(separator)
            if len(parts) > _MOST_PARTS:
                raise Unreadable("too many parts")
        place += len(separator)
    return [*parts, text[start:]]


def _relation(text: str) -> tuple[list[str], list[str]]:
    depths, sides, signs, start = _pairs(text), [], [], 0
    for match in _RELATION.finditer(text):
        if depths[match.start()] == 0:
            sides.append(text[start : match.start()])
            signs.append(_NAMES.get(match[0], match[0]))
            start = match.end()
    sides.append(text[start:])
    if len(signs) > 1 and set(signs) == {"="}:
        return [sides[0], sides[-1]], ["="]
    if len(signs) > 2 or not all(side.strip() for side in sides):
        return [text], []
    return sides, signs


def _bracketed(text: str) -> str | None:
    """Give what is inside, if one pair of brackets is around all of a text."""
    if text.startswith("\\{") and text.endswith("\\}"):
        return text[2:-2] if _closing(text, 1) == len(text) - 1 else None
    if len(text) > 1 and text[0] in "([{" and text[-1] in ")]}":
        return text[1:-1] if _closing(text, 0) == len(text) - 1 else None
    return None


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


def _same_in_any_order(found: Sequence[Form], reference: Sequence[Form], same: object) -> bool:
    assert callable(same)
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


def _same_relation(found: Form, reference: Form, is_latex: bool, same: object) -> bool:
    assert callable(same)
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
        factor = expressions.factor_between(trees[0], trees[1])
    except Unreadable:
        return False
    return factor is not None and (signs[0][0] in ("=", "!=") or factor > 0)


def _same_leaf(found: Form, reference: Form, is_latex: bool) -> bool:
    one, other = re.sub(r"\s", "", found.text), re.sub(r"\s", "", reference.text)
    if one == other:
        return bool(one)
    based = [_BASED.fullmatch(re.sub(r"[{}]", "", text)) for text in (one, other)]
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
    [(value,)] = expressions.values(tree) if not expressions.names(tree) else [(Fraction(0),)]
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
    if expressions.are_equal(found, reference):
        return True
    if expressions.names(found) or expressions.names(reference):
        return False
    decimals = [match and len(match[1]) for match in map(_DECIMAL.fullmatch, (one, other))]
    [pair] = expressions.values(found, reference)
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


def words(text: str) -> str:
    """Write words without case, articles, punctuation and brackets."""
    text = re.sub(r"\\[a-zA-Z]+|[^\w\s:/+.-]", " ", plain(text).casefold())
    found = [word.strip(".-:/_") for word in text.split()]
    kept = [word for word in found if word and word not in ("the", "a", "an")]
    return " ".join(kept or [word for word in found if word])
