"""The pages of a comparison and of an evaluation, and their figures as files."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from smalltolarge.errors import IntegrityError, MissingArtifact, harmless, printable
from smalltolarge.evaluation import Score
from smalltolarge.evaluation.completions import program_of
from smalltolarge.report import comparison, evaluation
from smalltolarge.report.page import charts
from smalltolarge.report.page.build import Both, Share, Table, render
from smalltolarge.report.page.charts import Dot, Line
from smalltolarge.report.page.drawing import Drawing
from smalltolarge.runs import outcomes
from smalltolarge.runs.outcomes import Estimate, Row, wilson
from smalltolarge.runs.paired import Difference
from smalltolarge.runs.recipe import EvaluateRecipe
from smalltolarge.runs.results import Run
from smalltolarge.runs.shapes import ANSWER

_CHARACTERS = 4_000_000
"""Of all answers in a page."""
_LONGEST = 4000
"""Characters of one text of an answer."""


def comparison_page(run: Run, table: outcomes.Table) -> tuple[str, dict[str, Drawing]]:
    """Write the page of a comparison; give the figures that may be written as files, too."""
    parts, figures = [], {}
    for equal in dict.fromkeys(row.equal for row in table.rows):
        rows = table.of(equal)
        measures = ["main", *(table.tasks if len(table.tasks) > 1 else ())]
        drawn = []
        for measure in measures:
            pair = _score_figure(table, rows, measure)
            drawn.append((measure, pair))
            figures[f"{equal}-{_plain(measure)}"] = pair.wide
        differences = _difference_figure(table, rows)
        if differences is not None:
            figures[f"{equal}-to-random"] = differences.wide
        parts.append(
            {
                "equal": equal,
                "how": comparison._HOW[equal],
                "main": drawn[0][1],
                "tasks": [
                    {"name": printable(name, 60), "figure": pair} for name, pair in drawn[1:]
                ],
                "differences": differences,
                "scores": _scores_table(table, rows),
                "costs": _costs_table(rows),
            }
        )
    ways = len({row.method for row in table.rows})
    budgets = len({row.budget for row in table.rows if row.is_subset})
    text = render(
        "comparison.html",
        None,
        title="A comparison of ways of choosing",
        kicker=f"SmallToLarge · comparison · {run.path}",
        headline=_verdict(table),
        standfirst=(
            f"{_count(ways, 'way')} of choosing, {_count(budgets, 'budget')}, "
            f"{_count(max(row.seeds for row in table.rows), 'seed')}: a target was trained for "
            "each and scored on what it had not seen."
        ),
        warnings=_warnings(table),
        run=str(run.path),
        parts_of=parts,
        notes=comparison.notes(table),
        lower=table.measure == "loss",
    )
    return text, figures


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)[:60]


def _verdict(table: outcomes.Table) -> str:
    subsets = [row for row in table.rows if row.to_random is not None]
    better = [row for row in subsets if row.verdict == "beats random"]
    if better:
        best = max(better, key=lambda row: abs(row.to_random.mean) if row.to_random else 0)
        others = len({row.method for row in better} - {best.method})
        more = f", and {others} more" if others else ""
        return f"{best.method}{more} beat random sampling at {best.budget}" if others else (
            f"{best.method} beats random sampling at {best.budget}"
        )  # fmt: skip
    if subsets and all(row.seeds < 2 for row in subsets):
        return "One seed: whether anything beats random sampling is not known"
    return "Nothing here beats random sampling"


def _warnings(table: outcomes.Table) -> list[str]:
    told = []
    seeds = max(row.seeds for row in table.rows)
    if seeds < 3:
        told.append(
            f"{seeds} seed{'s' if seeds > 1 else ''}: intervals of a difference are very wide, "
            "and a verdict can hardly be had. Give three or more."
        )
    told += comparison.floors(table)
    if len({row.seeds for row in table.rows if row.budget != outcomes.NOTHING}) > 1:
        told.append("Not all targets are trained yet: some rows have fewer seeds than others.")
    if not table.tasks:
        told.append("Targets are compared by their loss alone: no answer was asked of them.")
    return told


def _estimate(table: outcomes.Table, row: Row, measure: str) -> Estimate:
    return row.main if measure == "main" else row.accuracies[measure]


def _bounds(one: Estimate) -> tuple[float, float]:
    if not math.isnan(one.low):
        return one.low, one.high
    error = 0.0 if math.isnan(one.error) else 1.96 * one.error
    return one.mean - error, one.mean + error


def _score_figure(table: outcomes.Table, rows: Sequence[Row], measure: str) -> Both:
    """Draw scores against budgets as lines; with one budget, methods below each other."""
    scale = 100.0 if table.measure == "accuracy" else 1.0
    words = "accuracy, %" if scale == 100 else "loss (nats a token)"
    if measure == "main" and len(table.tasks) > 1:
        words = f"mean {words} over {len(table.tasks)} tasks"
    levels = {
        "all rows" if row.is_full else printable(row.method, 28): scale
        * _estimate(table, row, measure).mean
        for row in rows
        if not row.is_subset
    }
    subsets = [row for row in rows if row.is_subset]
    budgets = list(dict.fromkeys(row.budget for row in subsets))
    if len(budgets) > 1:
        lines = []
        for method in dict.fromkeys(row.method for row in subsets):
            points = []
            for row in subsets:
                if row.method == method:
                    one = _estimate(table, row, measure)
                    low, high = (bound * scale for bound in _bounds(one))
                    points.append((row.rows, one.mean * scale, low, high))
            lines.append(Line(printable(method, 28), tuple(sorted(points))))
        return Both.of(charts.lines, f"Score against budget, {measure}", lines, levels, words)
    dots = _dots(table, [row for row in rows if not row.is_full], measure, scale)
    level = levels.get("all rows")
    return Both.of(charts.dots, f"Score of each method, {measure}", dots, level, words, "full")


def _dots(table: outcomes.Table, rows: Sequence[Row], measure: str, scale: float) -> list[Dot]:
    found = []
    for row in rows:
        one = _estimate(table, row, measure)
        low, high = (bound * scale for bound in _bounds(one))
        found.append(
            Dot(printable(row.method, 30), one.mean * scale, low, high, row.method == "s2l")
        )
    sign = 1 if table.measure == "loss" else -1
    return sorted(found, key=lambda dot: sign * dot.mean)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _difference_figure(table: outcomes.Table, rows: Sequence[Row]) -> Both | None:
    scale = 100.0 if table.measure == "accuracy" else 1.0
    found = []
    budgets = list(dict.fromkeys(row.budget for row in rows if row.is_subset))
    for budget in budgets:
        for row in rows:
            one = row.to_random
            if row.budget == budget and one is not None:
                name = f"{row.method}, {budget}" if len(budgets) > 1 else row.method
                low, high = one.low * scale, one.high * scale
                is_sure = row.verdict in ("beats random", "worse than random")
                found.append(Dot(printable(name, 34), one.mean * scale, low, high, is_sure))
    if not found:
        return None
    unit = "points" if scale == 100 else "nats; left is better"
    return Both.of(
        charts.dots, "Difference to random sampling", found, 0.0,
        f"difference to random ({unit})", "random",
    )  # fmt: skip


def _scores_table(table: outcomes.Table, rows: Sequence[Row]) -> Table:
    is_share = table.measure == "accuracy"
    kind: Any = Share if is_share else float
    names = [*table.tasks] if is_share else [*rows[0].losses]
    headings = ["method", "budget", "rows", "seeds", "accuracy" if is_share else "balanced loss",
                "low", "high", "to random", "low", "high", "p", "verdict",
                "to full", "low", "high", *names]  # fmt: skip
    found = []
    for row in rows:
        low, high = _bounds(row.main)
        each = row.accuracies if is_share else row.losses
        cells: list[Any] = [row.method, row.budget, round(row.rows), row.seeds, kind(row.main.mean)]
        cells += [kind(low), kind(high), *_compared(row.to_random, kind)]
        cells += [
            comparison._chance(row.to_random),
            comparison._MARKS.get(row.verdict, ""),
            *_compared(row.to_full, kind),
        ]
        found.append([*cells, *(kind(each[name].mean) for name in names)])
    return Table.of("Table of scores", headings, found)


def _compared(one: Difference | None, kind: type[float]) -> list[float | None]:
    """Give the cells of a difference and its interval."""
    if one is None:
        return [None, None, None]
    return [kind(one.mean), *(kind(end) if one.is_known else None for end in (one.low, one.high))]


def _costs_table(rows: Sequence[Row]) -> Table:
    headings = ["method", "budget", "rows", "compute multiplier", "steps", "tokens",
                "FLOPs of training", "seconds of training", "seconds of selecting",
                "break-even (FLOPs)", "break-even (seconds)"]  # fmt: skip
    found = [
        [row.method, row.budget, round(row.rows), comparison._times(row.multiplier),
         round(row.steps), round(row.tokens), f"{row.flops:.3g}", row.seconds,
         row.seconds_selecting, comparison._trainings(row.break_even),
         comparison._trainings(row.break_even_seconds)]
        for row in rows
    ]  # fmt: skip
    return Table.of("Table of costs", headings, found)


def read_scores(run: Run) -> list[Score]:
    """Read the scores of the tasks that an evaluation has finished, as it asked them.

    Raises
    ------
    MissingArtifact
        It has finished none.
    """
    tasks = [name for name in run.stages if name.startswith("task ")]
    try:
        plain = [run.facts(name)["score"] for name in tasks]
        if "table" in run.stages:
            plain = json.loads((run.path / "table.json").read_bytes())
        found = [Score.from_plain(one) for one in plain]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{run.path} holds no scores: {error}") from error
    if not found:
        raise MissingArtifact(f"{run.path}: no task is done yet")
    return found


def read_answers(run: Run, scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Read the answers to all tasks, as they were written."""
    found = []
    for score in scores:
        found += run.json_lines(f"answers-{score.task}.jsonl", ANSWER)
    return found


def evaluation_page(
    run: Run, scores: Sequence[Score], answers: Sequence[Mapping[str, Any]]
) -> tuple[str, dict[str, Drawing]]:
    """Write the page of an evaluation; give the figures that may be written as files, too."""
    recipe = run.recipe
    assert isinstance(recipe, EvaluateRecipe)
    dots = []
    for score in scores:
        low, high = (
            wilson(score.value, score.questions) if score.measure == "accuracy"
            else (score.value - 1.96 * score.error, score.value + 1.96 * score.error)
        )  # fmt: skip
        if math.isnan(low):
            low = high = score.value
        name = printable(score.task, 34)
        dots.append(Dot(name, 100 * score.value, 100 * low, 100 * high, True))
    figure = Both.of(charts.dots, "Score of each task", dots, None, "score, %", "")
    kinds = _outcomes(scores, answers)
    makeup = Both.of(charts.parts, "What became of the questions", kinds)
    shown = _shown(answers)
    names = [printable(score.task, 60) for score in scores]
    text = render(
        "evaluation.html",
        {
            "kind": "answers",
            "columns": _ANSWER,
            "items": [_answer(one) for one in shown],
            "tasks": names,
            "planes": [],
        },
        title=f"An evaluation of {len(scores)} tasks",
        kicker=f"SmallToLarge · evaluation · {run.path}",
        headline=_reached(scores),
        standfirst=f"The model {printable(recipe.model, 120)} answered "
        f"{sum(score.questions for score in scores):,} questions of {len(scores)} "
        f"task{'s' if len(scores) > 1 else ''} (form: {recipe.evaluation.form}).",
        warnings=_doubts(scores),
        run=str(run.path),
        figure=figure,
        makeup=makeup,
        table=_task_table(scores),
        kinds=Table.of(
            "Table of what became of them",
            ["task", *charts.OUTCOMES],
            [[name, *(counts.get(kind, 0) for kind in charts.OUTCOMES)] for name, counts in kinds],
        ),
        failures=_failures(scores),
        notes=evaluation.notes(scores),
        shown=f"{len(shown):,}",
        answers=f"{len(answers):,}",
        filters=[
            {
                "key": "task",
                "name": "Task",
                "options": [(str(n), name) for n, name in enumerate(names)],
            },
            {
                "key": "verdict",
                "name": "Answers",
                "options": [
                    (word, word) for word in ("right", "partly right", "wrong", "unanswered")
                ]
                + [("failed", "with a failed program"), ("truncated", "cut at the length limit")],
            },
        ],
    )
    return text, {"scores": figure.wide, "outcomes": makeup.wide}


def _reached(scores: Sequence[Score]) -> str:
    accuracies = [one for one in scores if one.measure == "accuracy"]
    if not accuracies:
        mean = sum(one.value for one in scores) / len(scores)
        return f"{100 * mean:.1f} of 100 in {scores[0].measure}, the mean of {len(scores)} tasks"
    mean = sum(one.value for one in accuracies) / len(accuracies)
    of = "" if len(accuracies) == 1 else f", the mean of {len(accuracies)} tasks"
    return f"{100 * mean:.1f}% of the answers are right{of}"


def _doubts(scores: Sequence[Score]) -> list[str]:
    told = []
    for one in scores:
        name = printable(one.task, 60)
        if one.truncated > 0.1 * one.questions:
            told.append(
                f"{name}: {one.truncated:,} of {one.questions:,} questions have a completion that "
                "reached the length limit. Give a larger --max-new-tokens."
            )
        if one.unanswered > 0.2 * one.questions:
            told.append(
                f"{name}: in {one.unanswered:,} of {one.questions:,} completions no answer was "
                "found. Read some below before the score is believed."
            )
        if one.overlap:
            told.append(f"{name}: {one.overlap:,} training rows overlap with its questions.")
    return told


def _verdict_of(answer: Mapping[str, Any]) -> str:
    if answer["found"] is None:
        return "unanswered"
    if answer["score"] >= 1:
        return "right"
    return "wrong" if answer["score"] <= 0 else "partly right"


def _outcomes(
    scores: Sequence[Score], answers: Sequence[Mapping[str, Any]]
) -> list[tuple[str, Counter[str]]]:
    counts: dict[str, Counter[str]] = {score.task: Counter() for score in scores}
    for answer in answers:
        counts.setdefault(answer["task"], Counter())[_verdict_of(answer)] += 1
    return [(printable(name, 34), found) for name, found in counts.items()]


def _task_table(scores: Sequence[Score]) -> Table:
    found = []
    for one in scores:
        low, high = wilson(one.value, one.questions) if one.measure == "accuracy" else (None, None)
        found.append(
            [printable(one.task, 60), one.measure, Share(one.value),
             None if low is None else Share(low), None if high is None else Share(high),
             one.questions, one.unanswered, one.truncated, sum(one.failed_programs.values()),
             one.overlap]
        )  # fmt: skip
    headings = ["task", "measure", "score", "low", "high", "questions", "unanswered", "truncated",
                "failed programs", "overlap"]  # fmt: skip
    return Table.of("Table of scores", headings, found)


def _failures(scores: Sequence[Score]) -> Table | None:
    rows = [
        [printable(one.task, 60), printable(kind, 120), count]
        for one in scores
        for kind, count in one.failed_programs.items()
    ]
    return Table.of("Why programs gave no answer", ["task", "kind", "questions"], rows) if rows \
        else None  # fmt: skip


def _shown(answers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Give the answers that a page holds: all, or of too many every so many-th."""
    total = sum(
        min(len(text), _LONGEST)
        for answer in answers
        for text in (answer["question"], *answer["completions"], answer["printed"] or "")
    )
    every = max(1, math.ceil(total / _CHARACTERS))
    return list(answers[::every])


_ANSWER = ("task", "question", "reference", "completions", "program", "printed", "stderr", "failed",
           "found", "score", "truncated", "verdict")  # fmt: skip


def _answer(answer: Mapping[str, Any]) -> list[Any]:
    """Tell an answer in the order of ``_ANSWER``; the first completion is the program's, if any."""
    completions = answer["completions"]
    ran = answer["printed"] is not None
    return [
        printable(answer["task"], 60),
        _text(answer["question"]),
        _text(answer["reference"]),
        [_text(text) for text in completions],
        _text(program_of(completions[0])) if ran and completions else None,
        *(
            None if answer[name] is None else _text(answer[name])
            for name in ("printed", "stderr", "failed_program", "found")
        ),
        answer["score"],
        int(answer["truncated"]),
        _verdict_of(answer),
    ]


def _text(text: str) -> str:
    cut = harmless(text[:_LONGEST])
    missing = len(text) - _LONGEST
    return cut if missing <= 0 else f"{cut}\n… {missing:,} more characters"
