"""What a model reached at tasks: as Markdown, and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Column
from rich.table import Table as Grid

from smalltolarge.evaluation import Score
from smalltolarge.evaluation.tasks import GROUPS, LM_EVAL, TASKS
from smalltolarge.report import tables
from smalltolarge.report.tables import tell, tell_failures
from smalltolarge.runs.outcomes import Estimate, wilson


def to_markdown(scores: Sequence[Score]) -> str:
    """Write a table of scores, and the average of tasks that share a measure."""
    return tables.to_markdown(_rows(scores)) + "".join(f"\n{line}\n" for line in notes(scores))


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
        told = [
            f"{name} {scale * one.measures[key]:.1f}"
            for key, (name, scale) in _MEASURES.items()
            if isinstance(one.measures.get(key), float)
        ]
        if told:
            lines.append(f"{one.task}: {', '.join(told)}")
        if one.failed_programs:
            lines.append(f"{one.task}, failed programs: {tell_failures(one.failed_programs)}")
    return lines


_MEASURES = {
    "rouge1": ("ROUGE-1", 100), "rouge2": ("ROUGE-2", 100), "bleu": ("BLEU", 1),
    "bertscore": ("BERTScore", 100),
}  # fmt: skip


def _rows(scores: Sequence[Score]) -> list[list[tuple[str, str]]]:
    rows = []
    for one in scores:
        share = wilson(one.value, one.questions) if one.measure == "accuracy" else ()
        told = tell(Estimate(one.value, one.error, *share), 100, 1)
        counts = {
            "questions": one.questions,
            "unanswered": one.unanswered,
            "truncated": one.truncated,
            "failed programs": sum(one.failed_programs.values()),
        }
        row = [("task", one.task), ("score", told + " ROUGE-L" * (one.measure == "rougeL"))]
        row += [(heading, f"{count:,}") for heading, count in counts.items()]
        if any(score.overlap is not None for score in scores):
            row.append(("overlap", "" if one.overlap is None else f"{one.overlap:,}"))
        rows.append(row)
    return rows


def show_scores(scores: Sequence[Score], out: Path, console: Console) -> None:
    """Print the table, how to read it, and where the answers are."""
    console.print(tables.to_terminal(_rows(scores)))
    for line in [*notes(scores), f"every question and completion: {out}/answers-TASK.jsonl"]:
        console.print(line, markup=False)


def show_tasks(console: Console, *, only_path: bool) -> None:
    """Print the tasks and groups, or where their files for lm-eval are."""
    if only_path:
        print(LM_EVAL)
        return
    table = Grid(Column("task", no_wrap=True), "what it asks", "data without --data")
    for task in TASKS.values():
        table.add_row(task.name, task.about, task.hub[0] if task.hub else "none: give --data")
    console.print(table)
    console.print("Groups, here and in lm-eval:")
    for name, members in GROUPS.items():
        console.print(f"  {name}: {', '.join(members)}", markup=False, soft_wrap=True)
    others = ", ".join(f"{t.name} is {t.lm_eval_name}" for t in TASKS.values() if t.long_name)
    console.print(f"In lm-eval a task is s2l_NAME with _ for -, and {others}.", soft_wrap=True)
