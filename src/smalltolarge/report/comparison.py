"""The table of a comparison: as Markdown, as CSV, and on the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from smalltolarge.errors import printable
from smalltolarge.report import tables
from smalltolarge.report.tables import tell, tell_failures
from smalltolarge.runs.multiplier import Multiplier
from smalltolarge.runs.outcomes import Measure, Row, Table
from smalltolarge.runs.paired import LEVEL, Difference
from smalltolarge.runs.recipe import about, ready_made

if TYPE_CHECKING:
    from smalltolarge.runs.arms import ArmThere
    from smalltolarge.runs.results import Run

_MOST_NAMED = 8
"""Arms that are not done and are named; of more, the number is told."""
_HOW = {
    "epochs": "Equal epochs: a subset takes fewer steps than full.",
    "steps": "Equal steps: a subset is gone through more often than full.",
}


def to_markdown(table: Table) -> str:
    """Write the table as Markdown, one part for each kind of equality and budget."""
    parts = []
    for equal, budget, rows in _parts(table):
        parts.append(f"### {_title(budget, rows)}\n\n{_HOW[equal]}\n")
        parts.append(tables.to_markdown([_scores(table, row) for row in rows]))
        parts.append(tables.to_markdown([_costs(table, row) for row in rows]))
    return "\n".join([*parts, *(f"{line}\n" for line in notes(table))])


def notes(table: Table, *, briefly: bool = False) -> list[str]:
    """Say how to read the table, or that on the terminal, in which means have no interval."""
    what = (
        "Accuracy in percent" + " [its 95% interval over the questions, Wilson's]; other scores in "
        "percent ± their standard error" * (not briefly)
        if table.measure == "accuracy"
        else "Loss in nats a token"
        + " ± its standard error over the seeds" * (not briefly)
        + "; lower is better. The mean is that of the sources, each counting the same"
    )
    of = "question" if table.measure == "accuracy" else "held-out row"
    drawn = _drawn(table)
    lines = [
        f"{what}.",
        f"Differences are paired by seed and {of}"
        + (
            f"; their 95% intervals are over {drawn}." if drawn else "; one seed gives no interval."
        ),
    ]
    if table.comparisons:
        lines.append(
            "p is how often chance alone would make a difference as large, corrected for the "
            f"{table.comparisons:,} comparisons with random in this table (Holm). Below {LEVEL:g} "
            "a method beats random, or is worse; an interval beside 0 is not enough."
        )
    if table.has_multipliers:
        lines.append(
            "Compute multiplier: how many times the training tokens of this arm random rows would "
            "need for its score, by what random scores at its budgets and full; >= and <= where "
            "that is beyond them, and an interval (bootstrap) is open there. The proxy's cost is "
            "not in it."
        )
    lines += floors(table)
    if table.has_failed_programs:
        lines.append("Failed programs are those of all tasks and seeds, by kind.")
    for name, cost in table.recording.items():
        whose = f"The proxy {name} took" if name else "The proxy took"
        whose += f", as the mean of {table.proxies} seeds," * (table.proxies > 1)
        lines.append(f"{whose} {cost['flops']:.3g} FLOPs and {cost['seconds']:,.0f} s.")
    if table.recording:
        lines[-1] += (
            " Break-even: target trainings after which what the subset saves has paid for its "
            "proxy, which serves all arms."
        )
    return lines


def floors(table: Table) -> list[str]:
    """Say where the targets are scored on what cannot tell methods apart."""
    return [
        f"Floor: full is within the error of the untuned model on "
        f"{', '.join(printable(name, 60) for name in names)} (equal {equal}), which cannot tell "
        "methods apart."
        for equal, names in table.floors.items()
        if names
    ]


def _drawn(table: Table) -> str:
    """Say what the intervals of the differences take as drawn from more; "" if there are none."""
    differences = [one for row in table.rows for one in (row.to_random, row.to_full) if one]
    kinds = dict.fromkeys(
        ", ".join(one.covers[:-1]) + " and " * (len(one.covers) > 1) + one.covers[-1]
        for one in differences
        if one.is_known
    )
    words = {"questions": "the questions, with one seed"}
    found = ", some over ".join(words.get(kind, f"the {kind}") for kind in kinds)
    return found if table.measure == "accuracy" else found.replace("questions", "held-out rows")


def to_csv(table: Table) -> str:
    """Write the table as CSV: a line for each row, numbers in full."""
    content = io.StringIO()
    rows = [_in_full(table, row) for row in table.rows]
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(name for name, _ in rows[0])
    writer.writerows([cell for _, cell in row] for row in rows)
    return content.getvalue()


def _in_full(table: Table, row: Row) -> list[tuple[str, object]]:
    plain = (
        "equal", "budget", "method", "seeds", "rows", "steps", "tokens", "flops", "seconds",
        "seconds_selecting", "break_even", "break_even_seconds",
    )  # fmt: skip
    cells: list[tuple[str, object]] = [(name, getattr(row, name)) for name in plain]
    cells += [(table.measure, row.main.mean), ("error", row.main.error)]
    for name, difference in (("to_random", row.to_random), ("to_full", row.to_full)):
        for end in ("", "_low", "_high", "_p", "_corrected"):
            cells.append((name + end, getattr(difference, end.removeprefix("_") or "mean", None)))
    other: Measure = "loss" if table.measure == "accuracy" else "all rows"
    for end in ("", "_low", "_high"):
        value = getattr(row.besides.get(other), end.removeprefix("_") or "mean", None)
        cells.append((f"{other.replace(' ', '_')}_to_random{end}", value))
    for end in ("", "_low", "_high", "_bound"):
        name = end.removeprefix("_") or "value"
        cells.append((f"compute_multiplier{end}", getattr(row.multiplier, name, None)))
    cells += [("verdict", row.verdict), ("failed_programs", sum(row.failed_programs.values()))]
    for kind, estimates in (("accuracy", row.accuracies), ("loss", row.losses)):
        for name, one in estimates.items():
            cells += [(f"{name} {kind}", one.mean), (f"{name} error", one.error)]
    return cells


def show_arms(arms: Sequence[ArmThere], console: Console, *, as_json: bool = False) -> None:
    """Print the arms, a line each, or as JSON."""
    if as_json:
        plain = [
            {"number": one.number, "name": one.arm.name, **asdict(one.arm), "done": one.is_done}
            for one in arms
        ]
        print(json.dumps(plain, indent=2))
        return
    for one in arms:
        console.print(Text(f"{one.number:>4}  {one.arm.name}{'  done' * one.is_done}"))


def show_missing(names: Sequence[str], console: Console) -> None:
    """Name the arms that are not done, a few of many."""
    shown = ", ".join(map(printable, names[:_MOST_NAMED]))
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    count = "1 arm is" if len(names) == 1 else f"{len(names):,} arms are"
    console.print(Text(f"{count} not done: {shown}{more}"))


def show_comparison(run: Run, table: Table, console: Console, missing: Sequence[str] = ()) -> None:
    """Print the table, the names of the arms ``missing`` from it, and where the rest is."""
    for equal, budget, rows in _parts(table):
        console.print(Text(f"{_title(budget, rows)}. {_HOW[equal]}", style="bold"))
        styles = [_STYLES.get(row.verdict, "") for row in rows]
        console.print(tables.to_terminal([_in_brief(table, row) for row in rows], styles), Text())
    for line in notes(table, briefly=True):
        console.print(Text(line))
    console.print()
    if missing:
        show_missing(missing, console)
    else:
        console.print(Text(f"Table  {run.path}/table.md (with every task), table.csv, table.json"))
    console.print(Text(f"Arms   {run.path}/arm-NAME.json, and all answers in answers-NAME.jsonl"))


def _in_brief(table: Table, row: Row) -> list[tuple[str, str]]:
    scale, digits = _SCALES[table.measure]
    cells = [
        ("method", row.method),
        (table.measure, f"{row.main.mean * scale:.{digits}f}"),
        ("to random", _differs(row.to_random, scale, digits, briefly=True)),
        ("p", f"{_chance(row.to_random)} {_MARKS.get(row.verdict, '')}".strip()),
        ("to full", f"{row.to_full.mean * scale:+.{digits}f}" if row.to_full else ""),
    ]
    if table.has_failed_programs:
        cells.append(("failed programs", f"{sum(row.failed_programs.values()):,}"))
    if table.has_multipliers:
        cells.append(("compute", _times(row.multiplier, briefly=True)))
    return [*cells, ("break even", _trainings(row.break_even).removeprefix("no proxy"))]


def show_recipes(console: Console) -> None:
    """Print the recipes that come with the package, a line each, and where they are."""
    files = ready_made()
    for name, file in files.items():
        console.print(Text(f"{name:<16}{about(file)}"))
    folder = next(iter(files.values())).parent
    console.print(Text(f"\nTo run one: s2l run NAME. To change one, copy its file: {folder}"))


_SCALES = {"accuracy": (100.0, 1), "loss": (1.0, 3)}
_STYLES = {"beats random": "green", "worse than random": "red"}
_MARKS = {"beats random": "beats", "worse than random": "worse"}


def _differs(difference: Difference | None, scale: float, digits: int, *, briefly: bool) -> str:
    """Write a difference and its interval, briefly as half of its width."""
    if difference is None:
        return ""
    values = difference.mean, difference.low, difference.high
    mean, low, high = (f"{value * scale:+.{digits}f}" for value in values)
    if math.isinf(difference.low):
        return mean
    if difference.low == difference.high:
        return "no difference"
    half = (difference.high - difference.mean) * scale
    return f"{mean} ± {half:.{digits}f}" if briefly else f"{mean} [{low}, {high}]"


def _beside(row: Row, measure: Measure) -> str:
    return _differs(row.besides.get(measure), *_SCALES["loss"], briefly=False)


def _chance(difference: Difference | None) -> str:
    """Write a corrected p-value."""
    if difference is None or not difference.is_known:
        return ""
    return "<0.001" if difference.corrected < 0.001 else f"{difference.corrected:.3f}"


def _parts(table: Table) -> list[tuple[str, str, list[Row]]]:
    """Give the rows of each kind of equality and budget, the best first, after full and untuned."""
    found = []
    for equal in dict.fromkeys(row.equal for row in table.rows):
        of_kind = table.of(equal)
        whole = [row for row in of_kind if not row.is_subset]
        others = [row for row in of_kind if row.is_subset]
        for budget in dict.fromkeys(row.budget for row in others or whole):
            rows = [row for row in others if row.budget == budget]
            sign = -1 if table.measure == "accuracy" else 1
            rows.sort(key=lambda row: sign * row.main.mean)
            found.append((equal, budget, [*whole, *rows]))
    return found


def _title(budget: str, rows: Sequence[Row]) -> str:
    count = next(row.rows for row in rows if row.budget == budget)
    return f"Budget {printable(budget)} ({count:,.0f} rows)"


def _scores(table: Table, row: Row) -> list[tuple[str, str]]:
    scale, digits = _SCALES[table.measure]
    main = tell(row.main, scale, digits)
    cells = [("method", row.method)]
    if table.measure == "loss":
        for name in table.held_out:
            cells.append((f"{name} (all)", tell(row.losses[f"{name} (all)"], scale, digits)))
        cells.append(("all to random", _beside(row, "all rows")))
        cells.append(("balanced loss", main))
    else:
        cells += [(task, tell(one, scale, digits)) for task, one in row.accuracies.items()]
        cells.append(("accuracy", main))
        if table.held_out:
            means = [row.losses[f"{name} (balanced)"].mean for name in table.held_out]
            cells.append(("loss", f"{sum(means) / len(means):.3f}"))
            cells.append(("loss to random", _beside(row, "loss")))
    cells.append(("to random", _differs(row.to_random, scale, digits, briefly=False)))
    cells.append(("p", _chance(row.to_random)))
    cells.append(("to full", _differs(row.to_full, scale, digits, briefly=False)))
    if table.has_failed_programs:
        cells.append(("failed programs", tell_failures(row.failed_programs)))
    return [*cells, ("", row.verdict)]


def _costs(table: Table, row: Row) -> list[tuple[str, str]]:
    multiplier = [("compute multiplier", _times(row.multiplier))] * table.has_multipliers
    return [
        ("method", row.method),
        ("rows", f"{row.rows:,.0f}"),
        ("steps", f"{row.steps:,.0f}"),
        ("tokens", f"{row.tokens:,.0f}"),
        ("FLOPs of training", f"{row.flops:.3g}"),
        ("seconds of training", f"{row.seconds:,.1f}"),
        ("seconds of selecting", f"{row.seconds_selecting:,.2f}"),
        *multiplier,
        ("break-even (FLOPs)", _trainings(row.break_even)),
        ("break-even (seconds)", _trainings(row.break_even_seconds)),
    ]


def _trainings(count: float | None) -> str:
    if count is None:
        return "never"
    return "no proxy" if count == 0 else f"{count:,.2f}"


def _times(one: Multiplier | None, *, briefly: bool = False) -> str:
    """Write a compute multiplier and its interval, which is open where random's training ends."""
    if one is None:
        return ""
    value = f"{one.bound}{one.value:.2f}x"
    if briefly or math.isnan(one.low):
        return value
    low = f"[{one.low:.2f}" if one.low > 0 else "[..."
    return f"{value} {low}, {one.high:.2f}]" if one.high < math.inf else f"{value} {low}, ...]"
