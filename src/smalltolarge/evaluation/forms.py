"""Take an answer apart: lists, sets, tuples, intervals, matrices, equations, values, words.

Relations between a name and a value are intervals; a unit is kept beside its value, a label that
only says what the value is of is dropped.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from smalltolarge.evaluation import algebra, expressions
from smalltolarge.evaluation.expressions import Unreadable
from smalltolarge.evaluation.notation import NAME, TEXT, clean
from smalltolarge.evaluation.numerals import leading_number, plain

_MOST_PARTS = 40
_DEEPEST = 8

_MATRIX = re.compile(
    r"\\begin\{([pbvVB]?(?:small)?matrix|array)\}(?:\{[lcr|]*\})?(.*?)\\end\{\1\}", re.DOTALL
)
_CALL = re.compile(r"(?:sympy\.|sp\.|np\.)?([A-Z][A-Za-z0-9.]{1,24}|array)\((.*)\)", re.DOTALL)
_BRACKETS = {
    "Interval": "[]", "Interval.open": "()", "Interval.Lopen": "(]", "Interval.Ropen": "[)",
    "Point2D": "()", "Tuple": "()",
}  # fmt: skip
_JOINED = {"Union": " or ", "Or": " or ", "FiniteSet": ",", "And": " and ", "Eq": "=", "Ne": "!="}
BASED = re.compile(
    r"\(?([+-]?(?=[0-9A-Z.,]*[0-9])[0-9A-Z.,]+|[A-F]{2,20})\)?_(?:\{?([0-9]{1,2})\}?|\{([a-z]{3,8})\})"
)
"""A number in a base: ``1011_2``."""
_COMMA = re.compile("[,;]")
_SEPARATORS = [re.compile(r"\bor\b"), re.compile(r"[,;∩]|\band\b")]
_RELATION = re.compile(r"\\in(?![A-Za-z])|[<>!]=|[<>=]")
_NUMBER = r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+][0-9]+)?"
_SIDE_BY_SIDE = re.compile(
    rf"(?!-?[0-9]+\s+[0-9]+/[0-9]+$){_NUMBER}(?:/[0-9]+)?(?:\s+{_NUMBER}(?:/[0-9]+)?)+"
)
_SAID = rf"(?!\S+\s*\{{(?:[^{{}}]*\b(?:not|no|non)\b|\w\}})){TEXT}"
_LABEL = re.compile(rf"{_SAID}\s*[:=]?\s*(?=[-(\[0-9.¤]|\\[bfs{{])")
_GROUPED = re.compile(r"[+-]?¤?[0-9]{1,3}(?:,\s?[0-9]{3})+(?:\.[0-9]+)?")

_UNITS = {
    name: names.split()[0]
    for names in (
        "mm millimeter millimetre", "cm centimeter centimetre", "m meter metre",
        "km kilometer kilometre", "in inch inche", "ft foot feet", "yd yard", "mi mile",
        "s sec second", "min minute", "h hr hour", "day", "week", "month", "year yr",
        "g gram gm", "kg kilogram", "lb pound", "oz ounce", "ton", "l liter litre", "rad radian",
        "% percent", "° degree", "¤ dollar usd", "€ euro", "cent ¢", "unit", "am", "pm",
    )
    for name in names.split()
}  # fmt: skip
_TRIGONOMETRY = re.compile("sin|cos|tan|cot|sec|csc|cis")
_TAIL = re.compile(
    rf"\s*(?:(?P<sign>[°%¤])|{TEXT}|(?<=[0-9}})\]!°])(?P<words>\s*(?:\b[A-Za-z]{{2,20}}\b[./]?\s?)"
    r"{1,6}))(?P<power>\s*\^\s*\{?[23]\}?)?\s*$"
)


@dataclass(frozen=True)
class Form:
    """An answer in parts. ``kind``: value, words, list, set, tuple, matrix (of rows), relation."""

    kind: str
    parts: tuple[Form, ...] = ()
    text: str = ""
    """Of a value or of words; brackets of a tuple; signs of a relation; of a list, the number that
    its digits are if commas group them."""
    unit: str = ""
    """Of a value, in one spelling: ``cm^2``, ``mi/h``, ``%``, ``°``; of an interval, the name that
    is in it; empty: none that is known."""


_LEAST, _MOST = Form("value", text="-oo"), Form("value", text="oo")


@functools.lru_cache(maxsize=4096)
def read(text: str) -> Form:
    """Take an answer apart; Unreadable: it has too many parts, or too deep ones."""
    return _form(clean(text), 0)


def _form(text: str, depth: int) -> Form:
    text = text.strip()
    if depth > _DEEPEST:
        raise Unreadable("too deep")

    def again(part: str) -> Form:
        return _form(part, depth + 1)

    if match := _MATRIX.fullmatch(text):
        lines = [line for line in re.split(r"\\\\(?:\[[^\]]*\])?", match[2]) if line.strip()]
        cells = [tuple(again(cell) for cell in line.split("&")) for line in lines[:_MOST_PARTS]]
        rows = tuple(Form("tuple", row, "()") for row in cells)
        return Form("matrix", rows, match[1][0] if match[1][0] in "vV" else "")
    if match := _LABEL.match(text):
        return again(text[match.end() :])
    if match := re.fullmatch(TEXT, text):
        inner = again(match[1])
        is_said = inner.kind == "value" and not re.search(r"[0-9=+*^(]", inner.text)
        return Form("words", text=match[1].strip(" ()")) if is_said else inner
    match = _CALL.fullmatch(text)
    is_call = match and _closing(text, match.start(2) - 1) == len(text) - 1
    if match and is_call and (form := _called(match[1], match[2], again)):
        return form
    if based := BASED.fullmatch(re.sub(r"\\(?:text|mathrm)\s*\{(\w+)\}", r"\1", text)):
        number = leading_number(based[2] or based[3])
        return Form("value", text=f"{based[1].replace(',', '')}_{number.value if number else ''}")
    if _SIDE_BY_SIDE.fullmatch(text):
        text = re.sub(r"\s+", ",", text)
    for separator in _SEPARATORS:
        parts, separators = _split(text, separator)
        if len(parts) == 1 and parts[0] != text:
            return again(parts[0])
        if len(parts) > 1:
            forms = [again(part) for part in parts]
            if set(separators) in ({"and"}, {"∩"}) and all(map(_intervals, forms)):
                left = functools.reduce(_intersection, map(_intervals, forms))
                return left[0] if len(left) == 1 else Form("list", tuple(left))
            if "∩" in separators:
                raise Unreadable("an intersection")
            grouped = re.sub(r"[, ¤]", "", text) if _GROUPED.fullmatch(text) else ""
            if re.fullmatch(r"-?[0-9]+ and [0-9]+/[0-9]+", text):
                grouped = text.replace(" and", "")
            return Form("list", tuple(part for form in forms for part in _each(form)), grouped)
    sides, signs = _split(text, _RELATION)
    if signs and len(sides) == len(signs) + 1:
        if signs[-1] == r"\in":
            return again(sides[-1])
        if set(signs) == {"="}:
            sides, signs = [sides[0], sides[-1]], ["="]
        return _relation([again(side) for side in sides], signs)
    if (inside := _bracketed(text)) is not None:
        return _inner(text, inside, again)
    if r"\pm" in text or r"\mp" in text:
        both = [text.replace(r"\pm", plus).replace(r"\mp", minus) for plus, minus in ("+-", "-+")]
        return Form("list", tuple(map(again, both)))
    return _value(text)


def _called(name: str, inside: str, again: Callable[[str], Form]) -> Form | None:
    """Read what sympy and numpy print: ``Interval(0, oo)``, ``Eq(y, 2*x)``, ``Matrix([...])``."""
    parts, _ = _split(inside, _COMMA)
    if name in _JOINED:
        return again(_JOINED[name].join(parts))
    if name in _BRACKETS:
        return _tuple([again(part) for part in parts], _BRACKETS[name])
    if name.endswith(("Matrix", "array")):
        return again(parts[0])
    return None


def _each(form: Form) -> tuple[Form, ...]:
    return form.parts if form.kind == "list" and not form.text else (form,)


def is_name(form: Form) -> bool:
    """Tell whether a relation may say the value of this: a name, or some in brackets."""
    if form.kind == "tuple":
        return all(map(is_name, form.parts))
    return form.kind == "value" and form.text != "oo" and NAME.fullmatch(form.text) is not None


def _relation(sides: Sequence[Form], signs: Sequence[str]) -> Form:
    """Write an inequality in one name as an interval; any from the smaller side to the larger."""
    if signs[0] in (">", ">="):
        sides = sides[::-1]
        signs = [sign.replace(">", "<") if ">" in sign else ">" for sign in reversed(signs)]
    names = list(map(is_name, sides))
    if names == [True, False] and signs[0] == "!=":
        around = (_tuple([_LEAST, sides[1]], "()"), _tuple([sides[1], _MOST], "()"))
        return Form("list", tuple(replace(part, unit=sides[0].text) for part in around))
    if names.count(True) == 1 and set(signs) <= {"<", "<="}:
        place = names.index(True)
        ends, signs = [_LEAST, *sides, _MOST], ["<", *signs, "<"]
        if 0 < place == len(sides) - 2 or len(sides) == 2:
            brackets = "(["[signs[place] == "<="] + ")]"[signs[place + 1] == "<="]
            between = _tuple([ends[place], ends[place + 2]], brackets)
            return replace(between, unit=sides[place].text)
    return Form("relation", tuple(sides), " ".join(signs))


def _tuple(parts: Sequence[Form], brackets: str) -> Form:
    """Write an interval that goes on for ever as open there."""
    infinite = [part.text.lstrip("-") == "oo" for part in parts]
    if len(parts) == 2 and any(infinite):
        brackets = "".join(("()"[i] if infinite[i] else brackets[i]) for i in (0, 1))
    return Form("tuple", tuple(parts), brackets)


def _intervals(form: Form) -> Sequence[Form]:
    """Give the intervals that conditions on a name leave; nothing, if these are no conditions."""
    parts = _each(form)
    return parts if all(part.kind == "tuple" and part.unit for part in parts) else ()


def _intersection(one: Sequence[Form], other: Sequence[Form]) -> list[Form]:
    found = []
    for first, second in itertools.product(one, other):
        lower = max(first, second, key=lambda form: (_size(form.parts[0]), form.text[0] == "("))
        upper = min(first, second, key=lambda form: (_size(form.parts[1]), form.text[1] == "]"))
        if _size(lower.parts[0]) < _size(upper.parts[1]):
            ends = (lower.parts[0], upper.parts[1])
            found.append(Form("tuple", ends, lower.text[0] + upper.text[1], lower.unit))
    return found[:_MOST_PARTS]


def _size(form: Form) -> Fraction | float:
    if form.text.lstrip("-") == "oo":
        return math.inf if form.text == "oo" else -math.inf
    return algebra.real(algebra.constant(expressions.read(form.text))) or Fraction(0)


def _inner(text: str, inside: str, again: Callable[[str], Form]) -> Form:
    """Read what stands in brackets."""
    kind = "set" if text[0] in "\\{" else "tuple"
    if kind == "set":
        condition = inside.replace("|", ":", 1).partition(":")[2]
        if _RELATION.search(condition):
            # {x : x > 2}
            return again(condition)
    parts, _ = _split(inside, _COMMA)
    pairs = [_split(part, re.compile(":"))[0] for part in parts]
    if kind == "set" and pairs and all(len(pair) == 2 for pair in pairs):
        # A solution as sympy prints it: {x: 3, y: 5}.
        solved = again(",".join(f"{name} = {one}".replace("'", "") for name, one in pairs))
        return assigned(solved.parts) or solved if solved.kind == "list" else solved
    forms = [form for part in parts for form in _each(again(part))]
    if len(forms) == 1 and text[0] + text[-1] in ("()", "[]", "{}"):
        return forms[0]
    is_table = text[0] == "[" and len({len(form.parts) for form in forms}) == 1
    if is_table and all(form.kind == "tuple" and form.text == "[]" for form in forms):
        return Form("matrix", tuple(replace(form, text="()") for form in forms))
    return Form("set", tuple(forms)) if kind == "set" else _tuple(forms, text[0] + text[-1])


def assigned(relations: Sequence[Form]) -> Form | None:
    """Write ``y = 5, x = 3`` as the point (3, 5): by name, if all are letters and differ."""
    names = [form.parts[0] for form in relations if form.kind == "relation" and form.text == "="]
    if len(set(names)) < len(relations) or not all(map(is_name, names)):
        return None
    if all(len(name.text) == 1 for name in names):
        relations = sorted(relations, key=lambda form: form.parts[0].text)
    return Form("tuple", tuple(form.parts[1] for form in relations), "()")


def _value(text: str) -> Form:
    """Part a value from its unit and its label."""
    number = leading_number(text) if re.fullmatch(r"[A-Za-z -]{3,80}", text) else None
    if number and number.end == len(text):
        return Form("value", text=str(number.value))
    tails: list[str] = []
    while match := _TAIL.search(text):
        said = match["sign"] or match["words"] or match[2] or ""
        is_unit = match["words"] is None or any(
            len(word) > 3 or word.lower() in _UNITS for word in re.findall(r"[A-Za-z]+", said)
        )
        is_name = match[2] and len(said.strip()) == 1 and said.strip() not in _UNITS
        is_angle = match["sign"] == "°" and _TRIGONOMETRY.search(text)
        if not is_unit or is_name or is_angle or not text[: match.start()].strip(" +-"):
            break
        tails.insert(0, f"{said} {match['power'] or ''}")
        text = text[: match.start()]
    tails += re.findall("¤", text)
    text = text.replace("¤", "")
    rest = re.sub(rf"^(?:{_SAID}\s*:?|[A-Za-z][A-Za-z ]{{2,40}}:(?=\s))", "", text).strip()
    text = re.sub(TEXT, lambda match: f" {match[1].strip()} ", rest or text).strip()
    if re.fullmatch(r"[0-9.]+(?:\s*(?::|to)\s*[0-9.]+)+", text):
        text = re.sub(r"\s*(?::|to)\s*", ":", text)
    return Form("value", text=text, unit=_unit(" ".join(tails)))


def _unit(text: str) -> str:
    """Write the units that are known in one spelling: ``square inches`` is ``in^2``."""
    found, power = "", ""
    text = re.sub(r"[\s{}.]+", " ", text.lower()).replace("mph", "mi/h")
    for token in re.findall(r"[a-z¢]+|/|\^ ?[23]|[°%¤]", text):
        known = _UNITS.get(token) or _UNITS.get(token.removesuffix("s"))
        if token in ("square", "sq", "cubic", "cu"):
            power = "^2" if token[0] == "s" else "^3"
        elif known:
            found, power = found + known + power, ""
        elif token in ("/", "per") and found:
            found += "/"
        elif token[0] == "^" and found:
            found += f"^{token[-1]}"
    return found


def _depths(text: str) -> list[int]:
    """Give the depth of brackets at every character; an interval closes with either bracket."""
    depths, depth = [], 0
    for character in text:
        depth += character in "([{"
        depths.append(depth)
        depth = max(0, depth - (character in ")]}"))
    return depths


def _closing(text: str, opening: int) -> int:
    depths = _depths(text)
    places = (i for i in range(opening + 1, len(text)) if text[i] in ")]}")
    return next((place for place in places if depths[place] == depths[opening]), -1)


def _split(text: str, separator: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """Split where no bracket is open; what is empty is left out."""
    if not separator.search(text):
        return [text], []
    depths = _depths(text)
    matches = [match for match in separator.finditer(text) if depths[match.start()] == 0]
    if len(matches) > _MOST_PARTS:
        raise Unreadable("too many parts")
    starts = [0, *(match.end() for match in matches)]
    ends = [*(match.start() for match in matches), len(text)]
    parts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    return [part for part in parts if part.strip()], [match[0] for match in matches]


def _bracketed(text: str) -> str | None:
    """Give what is inside, if one pair of brackets is around all of a text."""
    width = 2 if text.startswith("\\{") and text.endswith("\\}") else 1
    is_open = text[width - 1 : width] in ("(", "[", "{") and text[-1] in ")]}"
    is_whole = is_open and _closing(text, width - 1) == len(text) - 1
    return text[width:-width] if is_whole else None


def words(text: str) -> str:
    """Write words without case, articles, punctuation and brackets."""
    text = re.sub(r"\\[a-zA-Z]+|[^\w\s:/+.-]", " ", plain(text).casefold())
    found = [word.strip(".:/_") for word in text.split()]
    found = [word if re.match(r"-\.?[0-9]", word) else word.strip("-") for word in found]
    kept = [word for word in found if word and word not in ("the", "a", "an")]
    return " ".join(kept or [word for word in found if word])
