"""Figures of scores: with intervals, against budgets, and what questions came to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smalltolarge.report.page.drawing import Drawing, Scale, axis_below, axis_left

OUTCOMES = ("right", "partly right", "wrong", "unanswered")
_LEVEL = {"right": "mark", "partly right": "partly", "wrong": "shade3", "unanswered": "shade1"}
_KNOWN = {"s2l": "mark", "random": "ink"}
_HUES = ("hue0", "hue2", "hue3", "hue4", "hue5", "hue6")
"""Colours of the first other lines; further ones are grey. All have their name at their end."""


@dataclass(frozen=True)
class Dot:
    """A value with its interval, which may be infinite."""

    name: str
    mean: float
    low: float
    high: float
    stands_out: bool


@dataclass(frozen=True)
class Line:
    """A method over its budgets: (rows, mean, low, high) each, by rows."""

    name: str
    points: tuple[tuple[float, float, float, float], ...]


def dots(
    title: str, given: Sequence[Dot], level: float | None, words: str, of_level: str, width: float
) -> Drawing:
    """Draw values below each other, each with its interval, and a line at ``level``."""
    wide = width > 500
    each = 26 if wide else 40
    left, top = (230 if wide else 10), 26
    bottom = top + each * len(given)
    drawing = Drawing(width, bottom + 44, title)
    ends = [end for dot in given for end in (dot.low, dot.high, dot.mean) if math.isfinite(end)]
    ends += [] if level is None else [level]
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low) or 1.0
    x = Scale(low - pad, high + pad, left, width - 16)
    for value in x.ticks(6):
        drawing.line(x(value), top - 4, x(value), bottom, "grid")
    if level is not None:
        drawing.line(x(level), top - 8, x(level), bottom, "rule")
        drawing.text(x(level), 12, of_level, "soft", "middle")
    for place, dot in enumerate(given):
        y = top + each * (place + 0.5)
        if wide:
            drawing.text(left - 12, y + 4, dot.name, "strong" if dot.stands_out else "", "end")
        else:
            drawing.text(left, y - 6, dot.name, "strong" if dot.stands_out else "")
            y += 6
        kind = " mark" if dot.stands_out else ""
        begin, end = (x(min(max(side, x.low), x.high)) for side in (dot.low, dot.high))
        told = f"{dot.name}: {dot.mean:.2f} [{dot.low:.2f}, {dot.high:.2f}]"
        if math.isfinite(dot.low):
            drawing.path([begin, end], [y, y], f"whisker{kind}", told)
        drawing.dots([x(dot.mean)], [y], "chosen large" if dot.stands_out else "hollow large")
    axis_below(drawing, x, bottom, words)
    return drawing


def lines(
    title: str, given: Sequence[Line], levels: Mapping[str, float], words: str, width: float
) -> Drawing:
    """Draw values against numbers of rows, with intervals, and a line at each named level."""
    wide = width > 500
    height = 400 if wide else 330
    right = 190 if wide else 136
    drawing = Drawing(width, height, title)
    points = [point for line in given for point in line.points]
    ends = [end for point in points for end in point[1:] if math.isfinite(end)]
    ends += levels.values()
    pad = 0.05 * (max(ends) - min(ends)) or 1.0
    y = Scale(min(ends) - pad, max(ends) + pad, height - 46, 40)
    rows = sorted({point[0] for point in points})
    x = Scale(rows[0], rows[-1], 60, width - right - 16, is_log=True)
    axis_left(drawing, y, 44, width - right, words)
    axis_below(drawing, x, height - 46, "rows chosen (logarithmic)", ticks=_apart(rows, x))
    for level in levels.values():
        drawing.line(44, y(level), width - right, y(level), "rule")
    n = len(given)
    others = [line.name for line in given if line.name not in _KNOWN]
    kinds = dict(zip(others, [*_HUES, *["grey"] * n], strict=False)) | _KNOWN
    for place, line in enumerate(sorted(given, key=lambda one: one.name in _KNOWN)):
        kind = kinds[line.name]
        shift = (place - (n - 1) / 2) * min(5.0, 40 / n)
        xs = [x(point[0]) + shift for point in line.points]
        ys = [y(point[1]) for point in line.points]
        for at, (_, _, low, high) in zip(xs, line.points, strict=True):
            if math.isfinite(low):
                drawing.line(at, y(low), at, y(high), f"whisker thin {kind}")
        told = ", ".join(f"{row:,.0f} rows: {mean:.2f}" for row, mean, _, _ in line.points)
        drawing.path(xs, ys, f"series {kind}", f"{line.name}: {told}")
        drawing.dots(xs, ys, f"spot {kind}")
    _names(drawing, given, kinds, levels, y, width - right + 8)
    return drawing


def _apart(rows: Sequence[float], x: Scale) -> list[float]:
    """Give the numbers of rows whose places are far enough apart to be written."""
    kept: list[float] = []
    for row in rows:
        if not kept or x(row) - x(kept[-1]) > 42:
            kept.append(row)
    return kept


def _names(
    drawing: Drawing,
    given: Sequence[Line],
    kinds: Mapping[str, str],
    levels: Mapping[str, float],
    y: Scale,
    left: float,
) -> None:
    """Write the name of each line and level at its end, apart where they would overlap."""
    ends = [(y(line.points[-1][1]), line.name, kinds[line.name]) for line in given]
    ends += [(y(level), name, "") for name, level in levels.items()]
    ends.sort()
    places = np.array([end for end, _, _ in ends])
    for _ in range(200):
        gaps = np.diff(places)
        if (gaps >= 14).all():
            break
        for place in np.flatnonzero(gaps < 14):
            push = (14 - gaps[place]) / 2
            places[place] -= push
            places[place + 1] += push
    for place, (end, name, kind) in zip(places, ends, strict=True):
        drawing.line(left - 6, end, left, place, "stem")
        if kind:
            drawing.dots([left + 5], [place], f"spot {kind}")
        classes = {"mark": "mark label", "ink": "strong", "": "soft"}.get(kind, "")
        drawing.text(left + 13, place + 4, name, classes)


def parts(title: str, given: Sequence[tuple[str, Mapping[str, int]]], width: float) -> Drawing:
    """Draw what the questions of each task came to, as parts of a bar."""
    wide = width > 500
    each, left = (28, 230) if wide else (44, 0)
    drawing = Drawing(width, 34 + each * len(given), title)
    present = [kind for kind in OUTCOMES if any(counts.get(kind) for _, counts in given)]
    begin = float(left)
    for kind in present:
        drawing.add("rect", x=begin, y=3, width=11, height=11, class_=f"bar {_LEVEL[kind]}")
        drawing.text(begin + 16, 13, kind, "label")
        begin += 32 + 6.8 * len(kind)
    for place, (name, counts) in enumerate(given):
        y = 28 + each * place
        total = sum(counts.values()) or 1
        if wide:
            drawing.text(left - 12, y + 15, name, "", "end")
        else:
            drawing.text(left, y + 9, name)
            y += 15
        begin = float(left)
        for kind in present:
            size = counts.get(kind, 0) / total * (width - left)
            if not size:
                continue
            drawing.add(
                "rect", x=begin, y=y, width=max(size - 1.5, 0.5), height=20,
                class_=f"bar {_LEVEL[kind]}",
            )  # fmt: skip
            if size > 34:
                inside = "inside" if kind in ("right", "partly right") else ""
                drawing.text(begin + 6, y + 14, f"{counts[kind]:,}", inside)
            begin += size
    return drawing
