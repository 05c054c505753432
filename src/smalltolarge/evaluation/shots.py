"""Questions of a task's train split, with their answers, to be shown before the one asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smalltolarge.errors import MissingArtifact
from smalltolarge.evaluation.summaries import load_pairs
from smalltolarge.evaluation.tasks import DATA_OPTION, Benchmark, Form, pair_of

Shot = Mapping[Form, tuple[str, str]]
"""For every form what is asked and what is answered."""


def load_shots(
    task: Benchmark,
    forms: Sequence[Form],
    data: str | None,
    asked: Iterable[str],
    option: str = DATA_OPTION,
) -> list[Shot]:
    """Read the shots of a task: every row of its train split that has an answer for every form.

    The answer to a request for a program is the row's ``program``; else it is the row's worked
    answer (``output``, ``solution``, or ``answer`` with its reasoning before ####), and "The answer
    is ..." where it has none. A question of ``asked``, the ones that models are scored on, is never
    shown.

    Raises
    ------
    MissingArtifact
        There is no train split, or none of its rows will do.
    DataError
        A row has no question or no answer.
    """
    known = {_words(question) for question in asked}
    if task.kind == "summary":
        pairs = load_pairs(task.file(data, option, train=True))
        return [{"direct": pair} for pair in pairs if _words(pair[0]) not in known]
    shots: list[Shot] = []
    lacks_program = 0
    for where, row in task.rows(data, option, train=True):
        question, answer = pair_of(row, where)
        if _words(question) in known:
            continue
        program = row.get("program")
        if "pot" in forms and not isinstance(program, str):
            lacks_program += 1
            continue
        worked = _worked(row, answer)
        answers: Mapping[Form, Any] = {"direct": worked, "cot": worked, "pot": program}
        shots.append({form: (task.ask(question, form), answers[form]) for form in forms})
    if not shots and lacks_program:
        raise MissingArtifact(
            f"task {task.name}: {lacks_program:,} rows of the train split have no text in "
            '"program", which is shown where a program is asked for. Add it, or ask by the form '
            "direct or cot."
        )
    return shots


def _worked(row: Mapping[str, Any], answer: str) -> str:
    texts = [row.get(column) for column in ("output", "solution", "answer")]
    worked = next((text for text in texts if isinstance(text, str) and text.strip() != answer), "")
    return worked.strip() or f"The answer is {answer}."


def _words(question: str) -> tuple[str, ...]:
    return tuple(question.split())
