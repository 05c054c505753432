"""SVG by a few small parts: elements, scales, axes. Colours come from classes in figures.css."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from smalltolarge.errors import harmless

STYLE = Path(__file__).with_name("figures.css")
_PARTS = re.compile(r":root (\{.*?\})\s*(@media [^{]*) \{ :root (\{.*?\}) \}(.*)", re.DOTALL)
_SVG = "http://www.w3.org/2000/svg"
_MARGIN = 12
"""Around a drawing that is a file of its own."""
Value = str | float
ELSEWHERE = ("by-source", "by-cluster")
"""Classes of groups that a page shows in the place of others; a file has the first alone."""


class Drawing:
    """An SVG image, drawn element by element; texts are escaped when it is written."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.root = ElementTree.Element(
            "svg",
            {
                "viewBox": f"0 0 {_short(width)} {_short(height)}",
                "width": _short(width),
                "height": _short(height),
                "role": "img",
                "aria-label": harmless(title),
            },
        )
        self._open = [self.root]

    def add(self, name: str, words: str = "", **attributes: Value | None) -> ElementTree.Element:
        """Add an element; ``_`` in the name of an attribute stands for ``-``, ``class_`` is class.

        Attributes that are None are left out. A control character in ``words`` is shown escaped.
        """
        given = {
            key.rstrip("_").replace("_", "-"): value if isinstance(value, str) else _short(value)
            for key, value in attributes.items()
            if value is not None
        }
        made = ElementTree.SubElement(self._open[-1], name, given)
        if words:
            made.text = harmless(words)
        return made

    def group(self, **attributes: Value | None) -> _Group:
        """Open a group: what is drawn inside the ``with`` block belongs to it."""
        return _Group(self, self.add("g", "", **attributes))

    def text(self, x: float, y: float, words: str, class_: str = "", anchor: str = "") -> None:
        """Write words with their baseline at ``y``; anchor is start, middle or end."""
        self.add("text", words, x=x, y=y, class_=class_ or None, text_anchor=anchor or None)

    def line(self, x1: float, y1: float, x2: float, y2: float, class_: str) -> None:
        """Draw a straight line."""
        self.add("path", d=f"M{_short(x1)} {_short(y1)}L{_short(x2)} {_short(y2)}", class_=class_)

    def path(
        self, xs: Iterable[float], ys: Iterable[float], class_: str, title: str = "",
        **attributes: Value | None,
    ) -> None:  # fmt: skip
        """Draw a line through points; ``title`` is told where the pointer rests on it."""
        made = self.add("path", "", d=through(xs, ys), class_=class_, **attributes)
        if title:
            ElementTree.SubElement(made, "title").text = harmless(title)

    def dots(self, xs: Iterable[float], ys: Iterable[float], class_: str) -> None:
        """Draw many equal dots as one element; their size is the width of its line."""
        spots = "".join(f"M{_short(x)} {_short(y)}h0" for x, y in zip(xs, ys, strict=True))
        if spots:
            self.add("path", d=spots, class_=f"dots {class_}")

    def __html__(self) -> str:
        """Give it as markup for a page that has the style; ElementTree escaped every text."""
        return ElementTree.tostring(self.root, encoding="unicode", short_empty_elements=True)

    def to_svg(self) -> bytes:
        """Give it as a file of its own, with its style."""
        root = ElementTree.fromstring(self.__html__())
        for group in [one for one in root if one.get("class") in ELSEWHERE]:
            root.remove(group)
        root.set("xmlns", _SVG)
        width, height = (_short(side + 2 * _MARGIN) for side in (self.width, self.height))
        root.set("viewBox", f"-{_MARGIN} -{_MARGIN} {width} {height}")
        root.set("width", width)
        root.set("height", height)
        style = ElementTree.Element("style")
        style.text = _plain_style()
        root.insert(0, style)
        corner = f"-{_MARGIN}"
        paper = {"x": corner, "y": corner, "width": width, "height": height, "class": "paper"}
        root.insert(1, ElementTree.Element("rect", paper))
        written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
        return written


@cache
def _plain_style() -> str:
    """Give the style without variables, which many programs that show SVG do not know.

    The rules stand there with the colours of a light screen, and those that name one again with
    the colours of a dark screen, for the programs that can tell which it is.
    """
    parts = _PARTS.fullmatch(STYLE.read_text(encoding="utf-8"))
    assert parts is not None, "the palettes come first"
    light, condition, dark, rules = parts.groups()
    coloured = "".join(re.findall(r"[^{}]+\{[^{}]*var\([^{}]*\}", rules))
    return f"{_filled(rules, light)}{condition} {{{_filled(coloured, dark)}\n}}\n"


def _filled(rules: str, palette: str) -> str:
    colours = dict(re.findall(r"(--\w+): (#\w+)", palette))
    return re.sub(r"var\((--\w+)\)", lambda name: colours[name[1]], rules)


class _Group:
    def __init__(self, drawing: Drawing, element: ElementTree.Element) -> None:
        self._drawing, self._element = drawing, element

    def __enter__(self) -> None:
        self._drawing._open.append(self._element)

    def __exit__(self, *_: object) -> None:
        self._drawing._open.pop()


def through(xs: Iterable[float], ys: Iterable[float]) -> str:
    """Give the path of a line through points."""
    points = [f"{_short(x)} {_short(y)}" for x, y in zip(xs, ys, strict=True)]
    return f"M{'L'.join(points)}{'h0' if len(points) == 1 else ''}"


@dataclass(frozen=True)
class Scale:
    """From values in [low, high] to places in [start, end]; values beyond are clamped."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Give the place of a value."""
        return float(self.of(np.array([value]))[0])

    def of(self, values: np.ndarray) -> np.ndarray:
        """Give the places of values."""
        low, high = self._inner(np.array([self.low, self.high], dtype=np.float64))
        span = (high - low) or 1.0
        share = np.clip((self._inner(np.asarray(values, np.float64)) - low) / span, 0, 1)
        places: np.ndarray = self.start + share * (self.end - self.start)
        return places

    def _inner(self, values: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(values, 1e-12)) if self.is_log else values

    def ticks(self, count: int = 5) -> list[float]:
        """Give round values in its range, about ``count`` of them."""
        if self.is_log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1,) if len(powers) > 3 else (1, 3) if len(powers) > 2 else (1, 2, 5)
            found = [step * 10.0**power for power in powers for step in steps]
        else:
            rough = (self.high - self.low) / max(count, 1) or 1.0
            size = 10.0 ** math.floor(math.log10(rough))
            step = next(
                size * times for times in (1, 2, 2.5, 5, 10) if size * times >= rough * 0.99
            )
            first = math.ceil(self.low / step - 1e-9)
            found = [step * n for n in range(first, first + count * 3)]
        slack = 1e-9 * (abs(self.low) + abs(self.high))
        return [value for value in found if self.low - slack <= value <= self.high + slack]


def axis_below(
    drawing: Drawing, scale: Scale, y: float, words: str,
    tell: Callable[[float], str] | None = None, ticks: Sequence[float] | None = None,
) -> None:  # fmt: skip
    """Draw the axis of x at ``y``: ticks, their values, and what it is."""
    drawing.line(scale.start, y, scale.end, y, "axis")
    for value in scale.ticks() if ticks is None else ticks:
        x = scale(value)
        drawing.line(x, y, x, y + 4, "axis")
        drawing.text(x, y + 17, (tell or number)(value), "tick", "middle")
    drawing.text((scale.start + scale.end) / 2, y + 35, words, "label", "middle")


def axis_left(
    drawing: Drawing, scale: Scale, left: float, right: float, words: str,
    tell: Callable[[float], str] | None = None,
) -> None:  # fmt: skip
    """Draw the axis of y: a faint line across and a value for each tick; on top, words."""
    for value in scale.ticks():
        drawing.line(left, scale(value), right, scale(value), "grid")
        drawing.text(left - 6, scale(value) + 4, (tell or number)(value), "tick", "end")
    drawing.text(0, min(scale.start, scale.end) - 12, words, "label")


def number(value: float) -> str:
    """Write a number as an axis tells it."""
    if value and abs(value) < 1000 and abs(value - round(value)) > 1e-9:
        return f"{value:.3g}"
    return f"{round(value):,}"


def percent(value: float) -> str:
    """Write a share."""
    return f"{value * 100:.3g}%"


def _short(value: float) -> str:
    """Write a coordinate in few characters."""
    told = f"{value:.1f}"
    return told[:-2] if told.endswith(".0") else told
