"""The figures of a selection. Every one aggregates: none draws a million rows one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smalltolarge.errors import printable
from smalltolarge.report.page.drawing import (
    Drawing,
    Scale,
    axis_below,
    axis_left,
    number,
    percent,
    through,
)
from smalltolarge.report.page.facts import Chosen
from smalltolarge.trajectories import Trajectories

WIDE, NARROW = 880, 350
"""Widths in which a figure is drawn: for a desk, and for a phone."""
STEPS = 7
"""Colours of the share that a cluster gave."""
HUES = 8
"""Colours of sources; the last is that of all further ones."""
MOST_PANELS = 120
MOST_SOURCES = 14
_MAP = 430


def step_of(cluster: Mapping[str, Any]) -> int:
    """Give the colour of a cluster: 0 where it gave nothing, the last where it gave all."""
    share = cluster["selected"] / cluster["size"]
    return 0 if share == 0 else min(STEPS - 1, 1 + int(share * (STEPS - 2) + 1e-9))


def curves(found: Mapping[str, Any], width: float = WIDE) -> Drawing:
    """Draw the median loss of every cluster; the more of it was taken, the darker."""
    clusters, steps = found["clusters"], found["checkpoints"]
    height = 400 if width > 500 else 320
    drawing = Drawing(
        width, height,
        f"Median loss of each of {len(clusters)} clusters at {len(steps)} checkpoints of the proxy",
    )  # fmt: skip
    medians = np.array([cluster["median"] for cluster in clusters])
    x = Scale(steps[0], max(steps[-1], steps[0] + 1), 42, width - 12)
    y = _loss_scale(medians, height - 46, 64 if width > 500 else 78)
    axis_left(drawing, y, 42, width - 12, "loss (nats a token)")
    axis_below(drawing, x, height - 46, "training steps of the proxy")
    places = x.of(np.array(steps))
    for cluster in sorted(clusters, key=step_of):
        told = (
            f"Cluster {cluster['cluster']}: {cluster['selected']:,} of {cluster['size']:,} rows "
            "taken"
        )
        drawing.path(
            places, y.of(np.array(cluster["median"])), f"thin step{step_of(cluster)}", told,
            data_cluster=str(cluster["cluster"]),
        )  # fmt: skip
    _steps_legend(drawing, 0, 14, width)
    return drawing


def _steps_legend(drawing: Drawing, x: float, y: float, width: float) -> None:
    """Say which colour is which share; ``y`` is the baseline of the words."""
    drawing.text(x, y, "share of the cluster that was taken", "label")
    begin = x if width < 500 else x + 224
    if width < 500:
        y += 18
    names = ["none", *(f"<{(n + 1) / (STEPS - 2) * 100:.0f}%" for n in range(STEPS - 2)), "all"]
    size = 46 if width < 500 else 56
    for step, name in enumerate(names):
        place = begin + size * step
        with drawing.group(stroke_width=5.0):
            drawing.line(place, y + 7, place + size - 8, y + 7, f"step{step}")
        drawing.text(place, y, name, "tick")


def panel(found: Mapping[str, Any], cluster: Mapping[str, Any], scale: tuple[float, float]
          ) -> Drawing:  # fmt: skip
    """Draw one cluster: its median loss, and the band in which 80% of its losses lie."""
    drawing = Drawing(
        104, 62,
        f"Losses of cluster {cluster['cluster']}: median from {cluster['median'][0]:.2f} to "
        f"{cluster['median'][-1]:.2f}",
    )  # fmt: skip
    _panel(drawing, found, cluster, scale)
    return drawing


def panel_scale(found: Mapping[str, Any]) -> tuple[tuple[float, float], bool]:
    """Give the losses between which all panels are drawn, and whether the start lies above them.

    An untouched model from scratch has the same loss everywhere, far above all that comes after.
    """
    lows, highs = (
        np.array([cluster[name] for cluster in found["clusters"]]) for name in ("low", "high")
    )
    cuts = highs.shape[1] > 2 and found["checkpoints"][0] == 0
    cuts = bool(cuts and lows[:, 0].min() > np.quantile(highs[:, 1:], 0.98))
    seen = highs[:, 1:] if cuts else highs
    return (float(lows.min()), float(np.quantile(seen, 0.995))), cuts


def _panel(
    drawing: Drawing, found: Mapping[str, Any], cluster: Mapping[str, Any],
    scale: tuple[float, float],
) -> None:  # fmt: skip
    steps = found["checkpoints"]
    x = Scale(steps[0], max(steps[-1], steps[0] + 1), 3, 101).of(np.array(steps))
    y = Scale(*scale, 59, 4)
    drawing.line(2, 60, 102, 60, "grid")
    if len(steps) == 1:
        drawing.line(52, y(cluster["low"][0]), 52, y(cluster["high"][0]), "whisker")
        drawing.dots([52], [y(cluster["median"][0])], "chosen")
        return
    low, high = (y.of(np.array(cluster[name])) for name in ("low", "high"))
    edge = through([*x, *x[::-1]], [*high, *low[::-1]])
    drawing.add("path", d=f"{edge}Z", class_="band")
    whole = found["learning"]["mean_losses"]
    drawing.path(x, y.of(np.array(whole)), "whole")
    drawing.path(x, y.of(np.array(cluster["median"])), "median")


def by_loss(clusters: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order clusters by their last median loss, the least first; of too many, the largest."""
    kept = sorted(clusters, key=lambda one: -one["size"])[:MOST_PANELS]
    return sorted(kept, key=lambda one: (one["median"][-1], one["cluster"]))


def panels(found: Mapping[str, Any], width: float = WIDE) -> Drawing:
    """Draw all clusters as small multiples of one scale, in one image."""
    clusters = by_loss(found["clusters"])
    across = int(width // 110)
    down = math.ceil(len(clusters) / across)
    drawing = Drawing(
        width, 24 + 90 * down,
        f"{len(clusters)} clusters: median loss and the band of 80% of its rows, by last loss",
    )  # fmt: skip
    drawing.text(0, 12, "cluster, rows → rows taken", "label")
    scale, _ = panel_scale(found)
    for place, cluster in enumerate(clusters):
        left, top = 110 * (place % across), 24 + 90 * (place // across)
        with drawing.group(transform=f"translate({left} {top})"):
            _panel(drawing, found, cluster, scale)
            drawing.text(3, 74, f"{cluster['cluster']}", "tick strong")
            told = f"{cluster['size']:,} → {cluster['selected']:,}"
            drawing.text(101, 74, told, "tick", "end")
    return drawing


def sizes(found: Mapping[str, Any], width: float = WIDE) -> Drawing:
    """Draw for every cluster, the smallest first, its rows and how many of them were taken."""
    clusters = sorted(found["clusters"], key=lambda one: (one["size"], one["cluster"]))
    height = 300
    drawing = Drawing(width, height, "Rows of each cluster, and rows taken of it")
    most = max(cluster["size"] for cluster in clusters)
    x = Scale(0, max(len(clusters) - 1, 1), 52, width - 14)
    y = Scale(0.8, max(most, 2) * 1.1, height - 40, 40, is_log=True)
    axis_left(drawing, y, 44, width - 8, "rows (logarithmic)")
    drawing.line(44, height - 40, width - 8, height - 40, "axis")
    drawing.text((44 + width) / 2, height - 14, "clusters, the smallest first", "label", "middle")
    places = x.of(np.arange(len(clusters)))
    held = y.of(np.array([cluster["size"] for cluster in clusters]))
    gave = y.of(np.array([max(cluster["selected"], 0.8) for cluster in clusters]))
    for place, top, bottom in zip(places, held, gave, strict=True):
        drawing.line(place, top, place, bottom, "stem")
    drawing.dots(places, held, "hollow")
    drawing.dots(places, gave, "chosen mid")
    left = width - 190
    drawing.dots([left], [12], "hollow")
    drawing.text(left + 9, 16, "in the cluster", "label")
    drawing.dots([left + 112], [12], "chosen mid")
    drawing.text(left + 121, 16, "taken", "mark label")
    return drawing


def sources(found: Mapping[str, Any], width: float = WIDE) -> Drawing:
    """Draw the share of each source among all rows and among those chosen."""
    entries = found["sources"][:MOST_SOURCES]
    all_rows, chosen = found["rows"], max(found["selected"], 1)
    wide = width > 500
    left = 230 if wide else 8
    each = 26 if wide else 42
    height = 44 + each * len(entries) + 42
    drawing = Drawing(width, height, "Share of each source, before and after")
    before = np.array([entry["rows"] / all_rows for entry in entries])
    after = np.array([entry["selected"] / chosen for entry in entries])
    x = Scale(0, float(max(before.max(), after.max())) * 1.04, left, width - 52)
    bottom = 36 + each * len(entries)
    for value in x.ticks(5):
        drawing.line(x(value), 34, x(value), bottom, "grid")
    for place, entry in enumerate(entries):
        with drawing.group(data_source=str(place)):
            top = 36 + each * place
            drawing.add("rect", x=0, y=top, width=width, height=each, class_="hit")
            y = 36 + each * (place + 0.5)
            name = "(none)" if entry["source"] is None else printable(entry["source"], 34)
            if wide:
                drawing.text(left - 12, y + 4, name, "", "end")
            else:
                drawing.text(left, y - 6, name)
                y += 7
            drawing.line(x(before[place]), y, x(after[place]), y, "stem")
            drawing.dots([x(before[place])], [y], "hollow large")
            drawing.dots([x(after[place])], [y], "chosen large")
            told = f"{after[place] * 100:.1f}%"
            drawing.text(max(x(before[place]), x(after[place])) + 10, y + 4, told, "mark")
    axis_below(drawing, x, bottom, "share of rows", percent)
    drawing.dots([left + 5], [12], "hollow large")
    drawing.text(left + 14, 16, f"all {all_rows:,} rows", "label")
    begin = left + 14 + 7.2 * len(f"all {all_rows:,} rows") + 16
    drawing.dots([begin], [12], "chosen large")
    drawing.text(begin + 9, 16, f"the {found['selected']:,} chosen", "mark label")
    return drawing


def lengths(found: Mapping[str, Any], width: float = WIDE) -> Drawing:
    """Draw how long completions are, among all rows and among those chosen."""
    told = found["lengths"]
    height = 270
    drawing = Drawing(width, height, "Lengths of completions, before and after")
    edges = np.array(told["edges"], dtype=np.float64)
    x = Scale(edges[0], edges[-1], 12, width - 12, is_log=True)
    widths = np.diff(np.log(edges))
    shares = [
        np.array(told[name]) / max(sum(told[name]), 1) / widths for name in ("rows", "selected")
    ]
    y = Scale(0, float(max(share.max() for share in shares)) or 1.0, height - 46, 40)
    steps_x = np.repeat(x.of(edges), 2)
    for share, kind in zip(shares, ("band", "after"), strict=True):
        tops = np.concatenate([[y(0)], np.repeat(y.of(share), 2), [y(0)]])
        drawing.path(steps_x, tops, kind)
    axis_below(drawing, x, height - 46, f"length of the completion ({told['unit']})")
    drawing.add("rect", x=0, y=4, width=16, height=9, class_="bar")
    drawing.text(22, 13, f"all rows, median {told['median']:,.0f}", "label")
    begin = 40 + 6.6 * len(f"all rows, median {told['median']:,.0f}")
    if width < 500:
        drawing.text(22, 30, f"chosen, median {told['median_selected']:,.0f}", "mark label")
        drawing.line(0, 26, 16, 26, "after")
    else:
        drawing.text(begin + 22, 13, f"chosen, median {told['median_selected']:,.0f}", "mark label")
        drawing.line(begin, 9, begin + 16, 9, "after")
    return drawing


def _loss_scale(values: np.ndarray, bottom: float, top: float) -> Scale:
    high = float(values.max())
    low = float(values.min())
    low = 0.0 if 0 <= low < 0.25 * high else low - 0.05 * (high - low)
    return Scale(low, high if high > low else low + 1, bottom, top)


@dataclass(frozen=True, eq=False)
class Plane:
    """Every row as a point of a plane: float64 (n,) each, and what the axes are."""

    title: str
    x: np.ndarray
    y: np.ndarray
    x_words: str
    y_words: str
    named: tuple[tuple[str, float, float, str], ...] = ()
    """Words at a place, as shares of the width and height, and how they are anchored."""
    has_values: bool = False
    """Whether the axes have values that mean something."""


def principal(trajectories: Trajectories) -> Plane | None:
    """Lay trajectories out by their two first principal components; None where t is 1."""
    losses = trajectories.losses
    if losses.shape[1] == 1:
        return None
    centred = losses - losses.mean(axis=0, dtype=np.float64).astype(np.float32)
    values, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    vectors = vectors[:, ::-1][:, :2]
    total = float(np.maximum(values, 0).sum()) or 1.0
    shares = [float(max(value, 0)) / total for value in values[::-1][:2]]
    # to the right: higher losses; upwards: those that fall late, or least
    signs = [1 if vectors[:, 0].sum() >= 0 else -1, 1 if vectors[-1, 1] >= vectors[0, 1] else -1]
    places = centred @ (vectors * signs).astype(np.float32)
    return Plane(
        title="Map of the rows by their losses",
        x=places[:, 0].astype(np.float64),
        y=places[:, 1].astype(np.float64),
        x_words=f"higher losses →  ({shares[0]:.0%} of the variance)",
        y_words=f"↑ falls less  ({shares[1]:.0%})",
    )


def cartography(trajectories: Trajectories) -> Plane | None:
    """Lay rows out by the mean and the variability of their losses; None where there is one each.

    The untouched model, at step 0, says nothing of learning and is left out where others remain.
    Source: Swayamdipta et al., "Dataset Cartography", EMNLP 2020, with losses for probabilities.
    """
    losses = trajectories.losses
    if losses.shape[1] > 2 and trajectories.steps[0] == 0:
        losses = losses[:, 1:]
    if losses.shape[1] == 1:
        return None
    return Plane(
        title="Easy, ambiguous and hard rows",
        x=losses.std(axis=1, dtype=np.float64),
        y=-losses.mean(axis=1, dtype=np.float64),
        x_words="variability (standard deviation of the loss)",
        y_words="mean loss, the least on top",
        named=(
            ("easy", 0.02, 0.06, "start"),
            ("ambiguous", 0.98, 0.5, "end"),
            ("hard", 0.02, 0.96, "start"),
        ),
        has_values=True,
    )


@dataclass(frozen=True, eq=False)
class Mapped:
    """A plane drawn, and where on it the sampled rows are: float64 (m,) each."""

    drawing: Drawing
    x: np.ndarray
    y: np.ndarray


def draw_plane(plane: Plane, chosen: Chosen, rows: np.ndarray, steps: np.ndarray) -> Mapped:
    """Draw a plane: all rows as a density, some as points, by what was taken, source, or cluster.

    ``rows`` int64 (m,) are those drawn as points; ``steps`` int64 (n,) the colour of their
    cluster.
    """
    size, left, bottom = _MAP, 40 if plane.has_values else 10, _MAP - 44
    drawing = Drawing(size, size, plane.title)
    low_x, high_x = _reach(plane.x)
    low_y, high_y = _reach(plane.y)
    x, y = Scale(low_x, high_x, left + 4, size - 8), Scale(low_y, high_y, bottom - 4, 28)
    if plane.has_values:
        for value in y.ticks():
            drawing.line(left, y(value), size - 4, y(value), "grid")
            drawing.text(left - 6, y(value) + 4, number(abs(value)), "tick", "end")
        axis_below(drawing, x, bottom, plane.x_words)
    else:
        drawing.line(left, bottom, size - 4, bottom, "axis")
        drawing.text((left + size) / 2, bottom + 22, plane.x_words, "label", "middle")
    drawing.text(0, 12, plane.y_words, "label")
    _density(drawing, x.of(plane.x), y.of(plane.y))
    spots_x, spots_y = x.of(plane.x[rows]), y.of(plane.y[rows])
    taken = chosen.selected[rows]
    sources = np.minimum(chosen.sources[0][rows], HUES - 1)
    with drawing.group(class_="by-choice"):
        drawing.dots(spots_x[~taken], spots_y[~taken], "left")
    for name, colours in (("source", sources), ("cluster", steps[rows])):
        kind = "hue" if name == "source" else "step"
        with drawing.group(class_=f"by-{name}"):
            for colour in range(HUES if name == "source" else STEPS):
                here = colours == colour
                drawing.dots(spots_x[here & ~taken], spots_y[here & ~taken], f"left {kind}{colour}")
            drawing.dots(spots_x[taken], spots_y[taken], "ring")
            for colour in range(HUES if name == "source" else STEPS):
                here = (colours == colour) & taken
                drawing.dots(spots_x[here], spots_y[here], f"chosen {kind}{colour}")
    with drawing.group(class_="by-choice"):
        drawing.dots(spots_x[taken], spots_y[taken], "chosen")
        for place, kind, words in ((158, "chosen", "chosen"), (84, "left", "not chosen")):
            drawing.dots([size - place], [8], f"{kind} mid")
            drawing.text(size - place + 9, 12, words, "label")
    for words, across, down, anchor in plane.named:
        drawing.text(
            left + 6 + across * (size - left - 12), 28 + down * (bottom - 32), words,
            "halo strong", anchor,
        )  # fmt: skip
    return Mapped(drawing, np.round(spots_x, 1), np.round(spots_y, 1))


def _reach(values: np.ndarray) -> tuple[float, float]:
    """Give the range that holds all values but the outermost, which are drawn at its border."""
    low, high = (float(found) for found in np.quantile(values, (0.002, 0.998)))
    return (low, high) if high > low else (low - 1, high + 1)


def _density(drawing: Drawing, xs: np.ndarray, ys: np.ndarray, radius: float = 6.0) -> None:
    """Shade hexagons by the logarithm of how many points lie in each."""
    wide, high = math.sqrt(3) * radius, 1.5 * radius
    row = np.round(ys / high).astype(np.int64)
    column = np.round(xs / wide - (row % 2) / 2).astype(np.int64)
    cells, counts = np.unique(row * 10_000 + column, return_counts=True)
    level = np.minimum(4, (5 * np.log1p(counts) / (math.log1p(counts.max()) + 1e-9)).astype(int))
    h, w = f"{radius / 2:g}", f"{wide / 2:.2f}"
    shape = f"l{w} {h}v{radius:g}l-{w} {h}l-{w} -{h}v-{radius:g}z"
    for shade in range(5):
        which = cells[level == shade]
        spots = zip(
            (which % 10_000 + (which // 10_000 % 2) / 2) * wide,
            which // 10_000 * high - radius,
            strict=True,
        )
        path = "".join(f"M{x:.1f} {y:.1f}{shape}" for x, y in spots)
        if path:
            drawing.add("path", d=path, class_=f"shade{shade}")
