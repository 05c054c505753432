"""An inspection on the terminal: seven parts, each with how to read it, within 80 columns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from smalltolarge.errors import printable
from smalltolarge.selection.diagnostics import (
    FLAT,
    Agreement,
    Clusters,
    GradientFacts,
    Inspection,
    Learning,
    Origins,
    PairMean,
    Shapes,
)

_WIDTH = 79
_AS_EVEN = 0.9
"""Of the effective number of sources of a draw by source, from which a subset is as even."""


class Saying(Protocol):
    """Where an inspection is told: headings, tables and sentences."""

    def heading(self, text: str) -> None:
        """Begin a part."""

    def line(self, text: str, *, wrap: bool = True) -> None:
        """Say a sentence."""

    def table(self, rows: Sequence[Sequence[str]], headings: Sequence[str] = ()) -> None:
        """Show a table; the first column is words."""

    def gap(self) -> None:
        """Set two pieces of a part apart."""


def show_inspection(found: Inspection, console: Console) -> None:
    """Print all parts."""
    say = _Saying(console)
    tell_inspection(found, say)
    say.line("")
    say.line(f"Numbers  {found.run}/inspection.json", wrap=False)


def tell_inspection(found: Inspection, say: Saying) -> None:
    """Tell all parts."""
    say.line(
        f"{found.examples:,} examples, {found.checkpoints} checkpoints, proxy "
        f"{printable(found.proxy)}"
    )
    if not found.given:
        say.line("The run selected nothing: S2L at 11% is looked at in its place.")
    if found.learning is None or found.shapes is None:
        say.heading("1, 2. Learning and trajectories")
        if found.checkpoints == 1:
            say.line("There is one checkpoint: whether losses move is not known.")
        else:
            say.line("Nothing was trained: the losses are of perturbed copies of one model.")
    else:
        _show_learning(found.learning, say)
        _show_shapes(found.shapes, say)
    _show_clusters(found.clusters, found, say)
    _show_origins(found.origins, say)
    if found.gradients is not None:
        _show_gradients(found.gradients, found, say)
    else:
        say.heading("5. Do the gradients bear it out?")
        say.line("Not looked at (--no-gradients).")
    if found.agreement is not None:
        _show_agreement(found.agreement, say)
    else:
        say.heading("6. Does a larger model see the same?")
        say.line(
            "Not known: record the same data with a larger model, and give --target with that run."
        )
    _show_advice(found, say)


class _Saying:
    """Headings, tables and sentences, on one console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def heading(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(text, style="bold"))

    def line(self, text: str, *, wrap: bool = True) -> None:
        self.console.print(Text(textwrap.fill(text, _WIDTH) if wrap else text))

    def table(self, rows: Sequence[Sequence[str]], headings: Sequence[str] = ()) -> None:
        grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(headings))
        for place in range(len(rows[0])):
            heading = headings[place] if headings else ""
            grid.add_column(heading, justify="right" if place else "left", no_wrap=True)
        for row in rows:
            grid.add_row(*(Text(printable(cell)) for cell in row))
        self.console.print(grid)

    def gap(self) -> None:
        self.console.print()


def _show_learning(found: Learning, say: Saying) -> None:
    say.heading("1. Is the proxy still learning?")
    rows = []
    before: float | None = None
    for step, mean in zip(found.steps, found.mean_losses, strict=True):
        rows.append([f"{step:,}", f"{mean:.3f}", "" if before is None else f"{mean - before:+.3f}"])
        before = mean
    say.table(rows, ["step", "mean loss", "change"])
    way = "fell" if found.change < 0 else "rose"
    part = ""
    if found.change < 0 and found.of_whole is not None:
        part = f", {found.of_whole:.1%} of its whole fall"
    say.line(
        f"From step {found.since:,} to the end the mean loss {way} by {abs(found.change):.3f} nats"
        f"{part}; that of {found.falling:.1%} of the examples fell."
    )
    say.line(
        "Read: where most examples still fall by much, more epochs would move the trajectories "
        "on; the learning rate ends at 0, so that a small last change alone does not say that "
        "all is learned."
    )


def _show_shapes(found: Shapes, say: Saying) -> None:
    say.heading("2. Do the trajectories move?")
    say.table(
        [
            [f"flat (range below {found.threshold:.3f} nats)", f"{found.flat:.1%}"],
            ["rising (end above where they began)", f"{found.rising:.1%}"],
        ]
    )
    say.line(
        f"Read: a flat trajectory moves by less than {FLAT:.0%} of the spread of the losses over "
        f"the examples ({found.spread:.3f} nats), so that its level alone decides its cluster; "
        "where most are flat, the proxy learned too little to tell examples apart by how they are "
        "learned."
    )


def _show_clusters(found: Clusters, whole: Inspection, say: Saying) -> None:
    say.heading("3. Are the clusters stable?")
    asked = f"{whole.settings['clusters']:,}"
    each = " in each source" if whole.settings.get("stratify") else ""
    rows = [
        ["clusters", f"{found.clusters:,}"],
        ["examples in the smallest", f"{found.smallest:,}"],
        ["  in the median one", f"{found.median:,.1f}".removesuffix(".0")],
        ["  in the largest", f"{found.largest:,}"],
        ["clusters of one or two", f"{found.below_three:,}"],
    ]
    if found.over_seeds is not None and found.over_seeds_least is not None:
        least = f" (least {found.over_seeds_least:.2f})" if len(found.seeds) > 2 else ""
        rows.append([f"alike over {len(found.seeds)} seeds{least}", f"{found.over_seeds:.2f}"])
    rows += [
        [f"alike with {int(k):,} instead of {asked}{each}", f"{value:.2f}"]
        for k, value in found.over_clusters.items()
    ]
    say.table(rows)
    if whole.settings.get("prune_slope") is not None:
        say.line("The rows that prune_slope leaves out count as one of the clusters.")
    say.line(
        'Read: "alike" is the adjusted Rand index: 1 where the same examples are together, 0 '
        "where no more than by chance; low over seeds means that many borders between clusters "
        "are arbitrary, and with another number of clusters it is below 1 even where they nest."
    )


def _show_origins(found: Origins, say: Saying) -> None:
    say.heading("4. Do the clusters only repeat length or source?")
    length = "not known" if found.length is None else f"{found.length:.2f}"
    chance = f"by chance {found.length_by_chance:.2f}"
    source = "there are no two sources" if found.source is None else f"{found.source:.2f}"
    count = f"{found.sources:,} sources" if found.source is not None else ""
    rows = [
        ["variance of the log completion length (eta squared)", length, chance],
        ["source (Cramer's V, corrected for bias)", source, count],
    ]
    if found.source is not None:
        by_source = f"drawn by source {found.even_by_source:.1f}"
        rows.append(["effective number of sources in the subset", f"{found.even:.1f}", by_source])
    say.table(rows)
    say.line(
        "Read: 0 where clusters have nothing to do with it, 1 where it follows from the cluster; "
        "near 1, drawing evenly over lengths or sources needs no proxy and does the same. Sources "
        "of very unequal shares count for fewer."
    )


def _show_gradients(found: GradientFacts, whole: Inspection, say: Saying) -> None:
    say.heading("5. Do the gradients bear it out?")
    pairs = [
        ("two examples of one cluster", found.inside),
        ("of different clusters", found.between),
        ("of one source, whatever cluster", found.same_source),
    ]
    rows = [[name, *_pair_cells(mean)] for name, mean in pairs]
    say.table(rows, ["cosine of the gradients of", "mean", "error", "pairs"])
    say.line(
        "Read: the method rests on examples of one cluster having like gradients, so the first "
        "number should be well above the second, by more than their standard errors; above the "
        "third, clusters say more than the source does."
    )
    say.gap()
    random = found.random_errors
    mean = sum(random) / len(random)
    spread = math.sqrt(sum((one - mean) ** 2 for one in random) / (len(random) - 1))
    subset = whole.method if whole.given else "s2l at 11%"
    say.table(
        [
            [f"{subset}, {found.rows:,} rows", f"{found.error:.3f}"],
            ["the same, clusters weighted by their size", f"{found.weighted_error:.3f}"],
            [f"as many at random ({len(random)} draws, ± one draw)", f"{mean:.3f} ± {spread:.3f}"],
        ],
        ["error of the mean gradient against all rows", ""],
    )
    say.line(
        "Read: 0 where the subset pulls the weights as all rows do, 1 where it is off by as much "
        "as that pull; an even draw counts small clusters for more than their size, which is meant "
        "and makes the first line large, so that it is the weighted line that should be below "
        "random."
    )
    sketch = f", each sketched to {found.sketch:,} numbers" if found.sketch else ""
    say.line(
        f"Gradients by all {found.parameters:,} weights of the trained proxy; cosines of "
        f"{found.sample:,} examples{sketch}."
    )


def _pair_cells(mean: PairMean) -> list[str]:
    if mean.mean is None:
        return ["no pairs", "", "0"]
    error = "" if mean.error is None else f"{mean.error:.3f}"
    return [f"{round(mean.mean, 3) + 0.0:.3f}", error, f"{mean.pairs:,}"]


def _show_agreement(found: Agreement, say: Saying) -> None:
    say.heading("6. Does a larger model see the same?")
    say.line(f"{printable(found.name, 200)}, {found.examples:,} examples in both", wrap=False)
    say.table(
        [
            ["rank correlation of the first losses (Spearman)", _or_none(found.first)],
            ["of the last losses", _or_none(found.last)],
            ["clusters alike (adjusted Rand index)", f"{found.clusters:.2f}"],
        ]
    )
    say.line(
        "Read: a high rank correlation means that what is hard for the proxy is hard for the "
        "larger model; of clusters, more than part 3 has over seeds cannot be expected."
    )


def _show_advice(found: Inspection, say: Saying) -> None:
    """Say what follows; each rule is one that our comparisons bore out (docs/comparing.md)."""
    say.heading("7. What does it come to?")
    origins = found.origins
    if origins.source is None:
        say.line(
            "No source is known of the rows. Whether S2L chooses better than a random draw is "
            "then known only from training on both: s2l run."
        )
        return
    cells = []
    for shift in origins.shifts:
        name = "(none)" if shift.source is None else printable(shift.source, 40)
        times = f"{shift.chosen / shift.by_share:.1f}"
        cells.append([name, f"{shift.chosen:,}", f"{shift.by_share:,.1f}", times])
    if cells:
        say.table(cells, ["source", "in the subset", "by share", "times"])
    say.line(
        "Read: next to a random draw, which has every source by its share, a target learns more of "
        "what the subset has more rows of, and less of what it has fewer of. In our comparisons "
        "this said more than any other number here, whatever method drew the rows: look whether "
        "what you will test gains or loses."
    )
    say.line("")
    spread = f"{origins.even:.1f} sources in effect, a draw by source over"
    if origins.even < _AS_EVEN * origins.even_by_source:
        say.line(
            f"The subset is spread over {spread} {origins.even_by_source:.1f}. Where all sources "
            "matter alike, draw by source: --method random-by-source, which needs no proxy, or S2L "
            "inside the sources, --stratify source. Where the sources matter by their shares in "
            "these data, draw at random. In our comparisons both came out so."
        )
    else:
        say.line(
            f"The subset is spread over {spread} {origins.even_by_source:.1f}: about as even. A "
            "draw by source, --method random-by-source, needs no proxy and is what this subset has "
            "to beat; in our comparisons the two were hardly apart."
        )


def _or_none(value: float | None) -> str:
    return "none: all are equal" if value is None else f"{value:.2f}"
