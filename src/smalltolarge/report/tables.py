"""What the tables of reports share: how they are written, and what stands in a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.table import Table as Grid
from rich.text import Text

from smalltolarge.errors import printable
from smalltolarge.runs.outcomes import Estimate

Cells = Sequence[tuple[str, str]]
"""The cells of a row, each with the heading of its column; all rows have the same."""
_MOST_KINDS = 4
"""Kinds of failed programs that are told apart; the rest are counted together."""


def to_markdown(rows: Sequence[Cells]) -> str:
    """Write rows as Markdown; all columns but the first stand to the right."""
    headings = [heading for heading, _ in rows[0]]
    lines = [headings, ["---", *("---:" for _ in headings[1:])]]
    lines += [[cell.replace("|", r"\|") for _, cell in row] for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def to_terminal(rows: Sequence[Cells], styles: Sequence[str] | None = None) -> Grid:
    """Make rows a table for the terminal; in a narrow one headings are broken, and no cell."""
    table = Grid(box=None, pad_edge=False)
    for place, (heading, _) in enumerate(rows[0]):
        whole = place == 0 or any(" " in row[place][1] for row in rows)
        table.add_column(heading, justify="right" if place else "left", no_wrap=whole)
    for row, style in zip(rows, styles or [""] * len(rows), strict=True):
        table.add_row(*(Text(printable(cell)) for _, cell in row), style=style)
    return table


def tell(estimate: Estimate, scale: float, digits: int) -> str:
    """Write a mean with its interval, or else with its standard error, where there is one."""
    mean = f"{estimate.mean * scale:.{digits}f}"
    if not math.isnan(estimate.low):
        low, high = estimate.low * scale, estimate.high * scale
        return f"{mean} [{low:.{digits}f}, {high:.{digits}f}]"
    return mean if math.isnan(estimate.error) else f"{mean} ± {estimate.error * scale:.{digits}f}"


def tell_failures(failures: Mapping[str, int]) -> str:
    """Write how many programs failed, by kind."""
    shown = [f"{n:,} {printable(kind)}" for kind, n in list(failures.items())[:_MOST_KINDS]]
    rest = sum(list(failures.values())[_MOST_KINDS:])
    return ", ".join([*shown, f"{rest:,} others"] if rest else shown)
