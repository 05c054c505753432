"""What a model reached at tasks: as Markdown, and on the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid

from smalltolarge.errors import printable
from smalltolarge.outcomes import Score, wilson


def to_markdown(scores: Sequence[Score]) -> str:
    """Write a table of scores, and the average of tasks that share a measure."""
    head = ["task", "score", "questions", "unanswered", "truncated", "failed programs", "overlap"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for one in scores:
        lines.append("| " + " | ".join(cells(one)) + " |")
    lines += [f"\n{line}" for line in notes(scores)]
    return "\n".join(lines) + "\n"


def notes(scores: Sequence[Score]) -> list[str]:
    """Say how to read the table, and the mean of the tasks that have an accuracy."""
    lines = [
        "Scores in percent: shares with their 95% interval over the questions (Wilson's), others ± "
        "their standard error."
    ]
    accuracies = [one.value for one in scores if one.measure == "accuracy"]
    if len(accuracies) > 1:
        mean = 100 * sum(accuracies) / len(accuracies)
        lines.append(f"Mean accuracy of {len(accuracies)} tasks: {mean:.1f}")
    for one in scores:
        if one.measure == "rougeL":
            found = {"ROUGE-1": 100 * one.more["rouge1"], "ROUGE-2": 100 * one.more["rouge2"]}
            found["BLEU"] = one.more["bleu"]
            if "bertscore" in one.more:
                found["BERTScore"] = 100 * one.more["bertscore"]
            told = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
            lines.append(f"{one.task}: {told}")
    return lines


def cells(score: Score) -> list[str]:
    """Write a score as the cells of a row."""
    told = f"{100 * score.value:.1f}"
    if score.measure == "accuracy":
        low, high = wilson(score.value, score.questions)
        told += f" [{100 * low:.1f}, {100 * high:.1f}]"
    elif not math.isnan(score.error):
        told += f" ± {100 * score.error:.1f}"
    if score.measure == "rougeL":
        told += " ROUGE-L"
    overlap = "" if score.overlap is None else f"{score.overlap:,}"
    counts = (score.questions, score.unanswered, score.truncated, score.failed_programs)
    return [printable(score.task), told, *(f"{count:,}" for count in counts), overlap]


def show_scores(scores: Sequence[Score], out: Path, console: Console) -> None:
    """Print the table, how to read it, and where the answers are."""
    table = Grid("task", "score", "asked", "no answer", "cut", "failed programs", "overlap")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for score in scores:
        table.add_row(*cells(score))
    console.print(table)
    for line in notes(scores):
        console.print(line, markup=False)
    console.print(f"every question and completion: {out}", markup=False)
