r"""Take an answer in LaTeX, or in the notation of programs, apart.

Lists, sets, tuples and intervals, unions, matrices, equations and inequalities become a ``Form``;
what dresses an answer (dollar signs, boxes, units, degrees, spaces) is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from smalltolarge.evaluation.expressions import Unreadable
from smalltolarge.evaluation.numerals import plain

_MOST_PARTS = 40
_DEEPEST = 6

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
BASED = re.compile(r"([+-]?[0-9A-Za-z.,]+)_\{?(?:\\text\{)?([0-9]{1,2}|[a-z]{3,8})\}*")
"""A number in a base: ``1011_2``."""
_RELATION = re.compile(r"\\(?:le|ge|ne|neq|in)(?![A-Za-z])|<=|>=|==|[<>=]")
_NAMES = {r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\neq": "!=", r"\in": "in", "==": "="}


@dataclass(frozen=True)
class Form:
    """An answer in parts. ``kind``: leaf, words, list, set, tuple, union, matrix or relation."""

    kind: str
    parts: tuple[Form, ...] = ()
    text: str = ""
    """Of a leaf or of words; the brackets of a tuple; the signs of a relation; rows of a matrix."""
    is_percent: bool = False


def clean(text: str) -> str:
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
    text = clean(text)
    if match := _TEXT.fullmatch(text):
        return Form("words", text=words(match[1]))
    if BASED.fullmatch(re.sub(r"\s|\\text|\\mathrm|(?<![_\w])[{}]", "", _unwrapped(text))):
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
        return _inner(text, inner, again)
    if r"\pm" in text:
        variants = [text.replace(r"\pm", sign) for sign in ("+", "-")]
        return Form("list", tuple(map(again, variants)))
    if re.fullmatch(r"[0-9.\s]+(?::[0-9.\s]+)+", text):
        return Form("words", text=re.sub(r"\s", "", text))
    is_percent = bool(re.search(r"\\?%\s*$", text))
    return Form("leaf", text=re.sub(r"\\?%", "", text).strip(), is_percent=is_percent)


def _inner(text: str, inner: str, again: Callable[[str], Form]) -> Form:
    """Read what stands in brackets."""
    if text.startswith(("\\{", "{")):
        parts = [part for part in _split(inner, ",") if part.strip()]
        if text.startswith("{") and all(len(_split(part, ":")) == 2 for part in parts) and parts:
            # A solution as sympy prints it, {x: 3, y: 5}.
            return Form("list", tuple(again(_split(part, ":")[1]) for part in parts))
        if text.startswith("{") and len(parts) == 1:
            return again(inner)
        return Form("set", tuple(map(again, parts)))
    parts = [part for part in _split(inner, ",") if part.strip()]
    if len(parts) == 1 and parts[0].strip() and text[0] + text[-1] in ("()", "[]"):
        return again(parts[0])
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
    for character in text:
        if character in "([{":
            depth += 1
        depths.append(depth)
        if character in ")]}":
            depth = max(0, depth - 1)
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


def words(text: str) -> str:
    """Write words without case, articles, punctuation and brackets."""
    text = re.sub(r"\\[a-zA-Z]+|[^\w\s:/+.-]", " ", plain(text).casefold())
    found = [word.strip(".:/_") for word in text.split()]
    found = [word if re.match(r"-\.?[0-9]", word) else word.strip("-") for word in found]
    kept = [word for word in found if word and word not in ("the", "a", "an")]
    return " ".join(kept or [word for word in found if word])
