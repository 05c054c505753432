"""What the tables of reports share: how they are written as Markdown, and what stands in a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from smalltolarge.errors import printable
from smalltolarge.runs.outcomes import Estimate

_MOST_KINDS = 4
"""Kinds of failed programs that are told apart; the rest are counted together."""


def to_markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table; all columns but the first stand to the right."""
    marks = ["---", *("---:" for _ in headings[1:])]
    lines = [headings, marks, *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


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
