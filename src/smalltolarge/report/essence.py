"""The essence of a run on the terminal: what its page says first; curves are a line high."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from smalltolarge.errors import MissingArtifact, printable
from smalltolarge.progress import Watch
from smalltolarge.report.comparison import show_comparison
from smalltolarge.report.evaluation import show_scores
from smalltolarge.report.page import facts, figures, scores, selection
from smalltolarge.runs.arms import read_table
from smalltolarge.runs.recipe import CompareRecipe, EvaluateRecipe, TrainRecipe
from smalltolarge.runs.results import Run

_LEVELS = "▁▂▃▄▅▆▇█"
_WIDTH = 79
_CLUSTERS, _SOURCES = 20, 15
"""As many are shown at most."""
_BAR = 24


def show_run(run: Run, console: Console, watch: Watch) -> None:
    """Print the essence of a run.

    Raises
    ------
    MissingArtifact
        It has nothing to show.
    IntegrityError
        A file of it is not what was written.
    """
    run.check_kept()
    recipe = run.recipe
    if isinstance(recipe, CompareRecipe):
        show_comparison(run, read_table(run), console)
    elif isinstance(recipe, EvaluateRecipe):
        show_scores(scores.read_scores(run), run.path, console)
    elif isinstance(recipe, TrainRecipe):
        raise MissingArtifact(f"{run.path} trained a target: there is nothing of it to show")
    else:
        _show_selection(facts.facts(facts.read(run, watch)), console)
    console.print(Text(f"\nMore: s2l report {run.path}"))


def _show_selection(found: Mapping[str, Any], console: Console) -> None:
    console.print(Text(selection.headline(found), style="bold"))
    for warning in found["warnings"]:
        console.print(
            Text(textwrap.fill(f"! {warning}", _WIDTH, subsequent_indent="  ")), style="yellow"
        )
    console.print(Text(textwrap.fill(selection.standfirst(found), _WIDTH)))
    if found["clusters"]:
        console.print()
        console.print(_clusters(found))
    if len(found["sources"]) > 1:
        console.print()
        console.print(_sources(found))
    if found["calls"]:
        told = ", ".join(f"{call['name']} {call['rows']:,}" for call in found["calls"])
        console.print()
        console.print(Text(textwrap.fill(f"Rows worth a look: {told}", _WIDTH)))


def _clusters(found: Mapping[str, Any]) -> Table:
    clusters = figures.by_loss(found["clusters"])
    every = max(1, -(-len(clusters) // _CLUSTERS))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("Cluster", "median loss", "from", "to", "rows", "chosen"):
        table.add_column(heading, justify="left" if heading == "median loss" else "right")
    (low, high), _ = figures.panel_scale(found)
    for one in clusters[::every]:
        losses = one["median"]
        table.add_row(
            str(one["cluster"]), sparkline(losses, low, high), f"{losses[0]:.2f}",
            f"{losses[-1]:.2f}", f"{one['size']:,}", f"{one['selected']:,}",
        )  # fmt: skip
    left = len(found["clusters"]) - len(clusters[::every])
    if left:
        table.add_row("", f"({left:,} more)")
    return table


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """Draw values as a line of blocks between two bounds."""
    span = (high - low) or 1.0
    places = [min(max((value - low) / span, 0.0), 1.0) for value in values]
    return "".join(_LEVELS[round(place * (len(_LEVELS) - 1))] for place in places)


def _sources(found: Mapping[str, Any]) -> Table:
    entries = found["sources"]
    shares = [
        (entry["rows"] / found["rows"], entry["selected"] / max(found["selected"], 1))
        for entry in entries
    ]
    most = max(share for pair in shares[:_SOURCES] for share in pair)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("Source")
    table.add_column("before ░  after █")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    for entry, (before, after) in zip(entries[:_SOURCES], shares, strict=False):
        name = "(none)" if entry["source"] is None else printable(entry["source"], 30)
        bars = [round(share / most * _BAR) for share in (before, after)]
        bar = "█" * bars[1] + "░" * max(bars[0] - bars[1], 0)
        table.add_row(Text(name), bar, f"{before:.1%}", f"{after:.1%}")
    if len(entries) > _SOURCES:
        table.add_row(f"({len(entries) - _SOURCES:,} more)")
    return table
