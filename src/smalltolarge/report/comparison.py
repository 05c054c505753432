"""The table of a comparison: as Markdown, as CSV, and on the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from smalltolarge.errors import printable
from smalltolarge.report.tables import tell, tell_failures
from smalltolarge.report.tables import to_markdown as grid
from smalltolarge.runs.outcomes import Difference, Row, Table
from smalltolarge.runs.recipe import about, ready_made

if TYPE_CHECKING:
    from smalltolarge.runs.results import Run

_HOW = {
    "epochs": "Equal epochs: a subset takes fewer steps than full.",
    "steps": "Equal steps: a subset is gone through more often than full.",
}


def to_markdown(table: Table) -> str:
    """Write the table as Markdown, one part for each kind of equality and budget."""
    parts = []
    for equal, budget, rows in _parts(table):
        parts.append(f"### {_title(budget, rows)}\n\n{_HOW[equal]}\n")
        parts.append(grid(_scores(table), [_score_cells(table, row) for row in rows]))
        parts.append(grid(_COSTS, [_cost_cells(row) for row in rows]))
    return "\n".join([*parts, *(f"{line}\n" for line in notes(table))])


def notes(table: Table) -> list[str]:
    """Say how to read the table."""
    what = (
        "Accuracy in percent [its 95% interval over the questions, Wilson's]; other scores in "
        "percent ± their standard error."
        if table.measure == "accuracy"
        else "Loss in nats a token ± its standard error over the seeds; lower is better. The mean "
        "is that of the sources, each counting the same."
    )
    lines = [
        what,
        "Differences are means over the seeds with 95% intervals (Student's t, pairs of a seed). "
        "A method beats random where its interval lies beyond 0; with few seeds, intervals are "
        "wide, and among many methods one in twenty does so by chance. Where the seeds all differ "
        "alike, the interval is over the questions.",
    ]
    if table.has_failed_programs:
        lines.append("Failed programs are those of all tasks and seeds, by kind.")
    if table.recording:
        flops, seconds = table.recording["flops"], table.recording["seconds"]
        lines.append(
            f"The proxy took {flops:.3g} FLOPs and {seconds:,.0f} s, once for all arms. "
            "Break-even: target trainings after which what the subset saves has paid for it."
        )
    return lines


def to_csv(table: Table) -> str:
    """Write the table as CSV: a line for each row, numbers in full."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    header = ["equal", "budget", "method", "seeds", "rows", "steps", "tokens", "flops", "seconds"]
    header += ["seconds_selecting", "break_even", "break_even_seconds", table.measure, "error"]
    for other in ("random", "full"):
        header += [f"to_{other}", f"to_{other}_low", f"to_{other}_high"]
    header += ["verdict", "failed_programs"]
    header += [f"{name} {kind}" for name in table.tasks for kind in ("accuracy", "error")]
    losses = list(table.rows[0].losses)
    header += [f"{name} {kind}" for name in losses for kind in ("loss", "error")]
    writer.writerow(header)
    for row in table.rows:
        cells: list[object] = [row.equal, row.budget, row.method, row.seeds, row.rows, row.steps]
        cells += [row.tokens, row.flops, row.seconds, row.seconds_selecting]
        cells += [row.break_even, row.break_even_seconds, row.main.mean, row.main.error]
        for difference in (row.to_random, row.to_full):
            if difference is None:
                cells += ["", "", ""]
            else:
                cells += [difference.mean, difference.low, difference.high]
        cells += [row.verdict, sum(row.failed_programs.values())]
        for estimate in (*row.accuracies.values(), *row.losses.values()):
            cells += [estimate.mean, estimate.error]
        writer.writerow(["" if cell is None else cell for cell in cells])
    return content.getvalue()


def show_comparison(run: Run, table: Table, console: Console) -> None:
    """Print the table, and where the rest is."""
    percent = table.measure == "accuracy"
    scale, digits = (100.0, 1) if percent else (1.0, 3)
    headings = ["method", "accuracy" if percent else "loss", "to random", "", "to full"]
    headings += ["failed programs"] if table.has_failed_programs else []
    for equal, budget, rows in _parts(table):
        console.print(Text(f"{_title(budget, rows)}. {_HOW[equal]}", style="bold"))
        columns = Grid(box=None, pad_edge=False)
        for place, heading in enumerate([*headings, "break-even"]):
            columns.add_column(heading, justify="right" if place else "left", no_wrap=True)
        for row in rows:
            failed = sum(row.failed_programs.values())
            cells = [
                row.method,
                tell(row.main, scale, digits),
                _differs(row.to_random, scale, digits, briefly=True),
                _MARKS.get(row.verdict, ""),
                "" if row.to_full is None else f"{row.to_full.mean * scale:+.{digits}f}",
                *([f"{failed:,}"] if table.has_failed_programs else []),
                _trainings(row.break_even),
            ]
            style = {"beats random": "green", "worse than random": "red"}.get(row.verdict, "")
            columns.add_row(*(Text(printable(cell)) for cell in cells), style=style)
        console.print(columns, Text())
    for line in notes(table):
        console.print(Text(line))
    console.print()
    console.print(Text(f"Table  {run.path}/table.md (with every task), table.csv, table.json"))
    console.print(Text(f"Arms   {run.path}/arm-NAME.json, and all answers in answers-NAME.jsonl"))


def show_recipes(console: Console) -> None:
    """Print the recipes that come with the package, a line each, and where they are."""
    files = ready_made()
    for name, file in files.items():
        console.print(Text(f"{name:<16}{about(file)}"))
    folder = next(iter(files.values())).parent
    console.print(Text(f"\nTo run one: s2l run NAME. To change one, copy its file: {folder}"))


_MARKS = {
    "beats random": "beats it",
    "worse than random": "worse",
    "does not beat random": "no better",
}


def _differs(difference: Difference | None, scale: float, digits: int, *, briefly: bool) -> str:
    """Write a difference and its interval, briefly as half of its width."""
    if difference is None:
        return ""
    mean, low, high = (
        f"{value * scale:+.{digits}f}"
        for value in (difference.mean, difference.low, difference.high)
    )
    if math.isinf(difference.low):
        return mean
    if difference.low == difference.high:
        return "no difference"
    half = (difference.high - difference.mean) * scale
    return f"{mean} ± {half:.{digits}f}" if briefly else f"{mean} [{low}, {high}]"


def _parts(table: Table) -> list[tuple[str, str, list[Row]]]:
    """Give the rows of each kind of equality and budget, the best first; full is in every part."""
    found = []
    for equal in dict.fromkeys(row.equal for row in table.rows):
        of_kind = [row for row in table.rows if row.equal == equal]
        whole = [row for row in of_kind if row.to_full is None]
        for budget in dict.fromkeys(row.budget for row in of_kind if row.to_full is not None):
            rows = [row for row in of_kind if row.budget == budget and row.to_full is not None]
            sign = -1 if table.measure == "accuracy" else 1
            rows.sort(key=lambda row: sign * row.main.mean)
            found.append((equal, budget, [*whole, *rows]))
    return found


def _title(budget: str, rows: Sequence[Row]) -> str:
    count = next(row.rows for row in rows if row.to_full is not None)
    return f"Budget {printable(budget)} ({count:,.0f} rows)"


def _scores(table: Table) -> list[str]:
    headings = ["method"]
    if table.measure == "accuracy":
        headings += [*table.tasks, "accuracy"]
    else:
        headings += [*(f"{name} (all)" for name in table.held_out), "balanced loss"]
    if table.measure == "accuracy" and table.held_out:
        headings.append("loss")
    headings += ["to random", "to full"]
    if table.has_failed_programs:
        headings.append("failed programs")
    return [*headings, ""]


def _score_cells(table: Table, row: Row) -> list[str]:
    cells = [row.method]
    percent = table.measure == "accuracy"
    scale, digits = (100.0, 1) if percent else (1.0, 3)
    if percent:
        cells += [tell(one, scale, digits) for one in row.accuracies.values()]
    else:
        cells += [tell(row.losses[f"{name} (all)"], 1.0, 3) for name in table.held_out]
    cells.append(tell(row.main, scale, digits))
    if percent and table.held_out:
        means = [row.losses[f"{name} (balanced)"].mean for name in table.held_out]
        cells.append(f"{sum(means) / len(means):.3f}")
    for difference in (row.to_random, row.to_full):
        cells.append(_differs(difference, scale, digits, briefly=False))
    if table.has_failed_programs:
        cells.append(tell_failures(row.failed_programs))
    return [*cells, row.verdict]


_COSTS = [
    "method", "rows", "steps", "tokens", "FLOPs of training", "seconds of training",
    "seconds of selecting", "break-even (FLOPs)", "break-even (seconds)",
]  # fmt: skip


def _cost_cells(row: Row) -> list[str]:
    return [
        row.method,
        f"{row.rows:,.0f}",
        f"{row.steps:,.0f}",
        f"{row.tokens:,.0f}",
        f"{row.flops:.3g}",
        f"{row.seconds:,.1f}",
        f"{row.seconds_selecting:,.2f}",
        _trainings(row.break_even),
        _trainings(row.break_even_seconds),
    ]


def _trainings(count: float | None) -> str:
    if count is None:
        return "never"
    return "no proxy" if count == 0 else f"{count:,.2f}"
