"""Questions put to a model: the one place that asks a test question and judges the answer."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smalltolarge import store
from smalltolarge.errors import DataError, MissingArtifact
from smalltolarge.evaluation.completions import program_of
from smalltolarge.evaluation.task import Answer, Form, Question, Score, Task
from smalltolarge.evaluation.tasks import find_tasks
from smalltolarge.examples.overlap import Questions
from smalltolarge.examples.table import Message
from smalltolarge.jail import Jails, Ran, find_backend
from smalltolarge.progress import Progress
from smalltolarge.settings import AskingSettings

if TYPE_CHECKING:
    from smalltolarge.lm import Answerer

log = logging.getLogger("smalltolarge")

_PRINTED, _STDERR = 2000, 1000
"""Characters of a program's output that are kept: the first, and of its standard error the last."""


class Exam:
    """The tasks of a setting, and their questions, read once.

    Raises
    ------
    RecipeError, MissingArtifact, DataError
        A task is not known, or its questions cannot be read.
    """

    def __init__(self, settings: AskingSettings) -> None:
        self.settings = settings
        self.tasks = find_tasks(settings.tasks)
        self.questions = {task.name: self._questions(task) for task in self.tasks}
        self.shots = {task.name: self._shots(task) for task in self.tasks}
        self.backend: str | None = None
        """What programs run in, once ``confine`` has found it."""

    def _questions(self, task: Task) -> list[Question]:
        found = task.questions(self.settings.data)[: self.settings.questions]
        if not found:
            raise DataError(f"task {task.name}: there are no questions")
        return found

    def _shots(self, task: Task) -> list[Question]:
        wanted = self.settings.few_shot
        if not wanted:
            return []
        forms = task.forms(self.settings.form)
        found = showable(task, forms, self.settings.data, self.questions[task.name])
        if len(found) < wanted:
            raise MissingArtifact(
                f"task {task.name}: few_shot is {wanted}, and {len(found)} questions can be shown"
            )
        return found[:wanted]

    def confine(self, *, unconfined: bool = False) -> None:
        """Find what programs run in, if one will be asked for.

        Raises
        ------
        RefusedForSafety
            Nothing confines a program on this machine, and ``unconfined`` is not set.
        """
        if any("pot" in task.forms(self.settings.form) for task in self.tasks):
            self.backend = find_backend(unconfined=unconfined)
            log.info("programs run in: %s", self.backend)

    def inputs(self) -> list[dict[str, Any]]:
        """Say what was read, with digests: files, questions of no file, and those shown."""
        found: list[dict[str, Any]] = []

        def add(path: str, kind: str, size: int, sha256: str) -> None:
            found.append({"path": path, "kind": kind, "size": size, "sha256": sha256})

        for task in self.tasks:
            files = task.files(self.settings.data)
            for file in files:
                add(str(file), "task", file.stat().st_size, store.digest(file))
            told = [*([] if files else self.questions[task.name]), *self.shots[task.name]]
            if told:
                content = json.dumps([asdict(one) for one in told]).encode()
                add(task.name, "questions", len(content), hashlib.sha256(content).hexdigest())
        return found

    def texts(self) -> dict[str, list[Questions]]:
        """Give the questions of each task as they are looked for in training rows."""
        return {
            name: [[(name, [question.text]) for question in questions]]
            for name, questions in self.questions.items()
        }

    def check_room(self, model: Answerer) -> None:
        """See to it, before anything is asked, that prompts and answers fit a model together.

        Raises
        ------
        RecipeError
            Answers may be so long that no prompt of a task fits beside one.
        """
        for task in self.tasks:
            rows = range(len(self.questions[task.name]))
            asked = [
                turns
                for form in task.forms(self.settings.form)
                for turns in self._conversations(task, form, rows)
            ]
            model.check_room(model.prompts(asked), self.settings.max_new_tokens, task.name)

    def _conversations(self, task: Task, form: Form, rows: Iterable[int]) -> list[list[Message]]:
        shown = [turn for one in self.shots[task.name] for turn in _shown(task, one, form)]
        questions = self.questions[task.name]
        return [[*shown, Message("user", task.ask(questions[row], form))] for row in rows]

    def examine(
        self,
        task: Task,
        model: Answerer,
        *,
        progress: Progress,
        check: Callable[[], None] = lambda: None,
        folder: Path | None = None,
    ) -> tuple[Score, list[Answer]]:
        """Ask a model the questions of a task, and score what it answers.

        For each form, those questions are asked that have no answer yet. With a ``folder``, the
        completions are kept there while it goes on, and the same call goes on from them.
        """
        questions, settings = self.questions[task.name], self.settings
        answers: dict[int, Answer] = {}
        waiting = list(range(len(questions)))
        for form in task.forms(settings.form):
            asked = self._conversations(task, form, waiting)
            label = f"answering {task.name} ({form})"
            with progress.step(label, len(asked), "questions") as bar:
                completions = model.answers(
                    asked,
                    max_new_tokens=settings.max_new_tokens,
                    batch_size=settings.batch_size,
                    check=check,
                    bar=bar,
                    folder=None if folder is None else folder / f"{task.name}-{form}",
                )
            ran: Sequence[Ran | None] = [None] * len(asked)
            if form == "pot":
                programs = [program_of(one.text) for one in completions]
                ran = self._run(programs, task.name, progress, check)
            for row, turns, one, program in zip(waiting, asked, completions, ran, strict=True):
                question, before = questions[row], answers.get(row)
                found, failure = read_answer(task, one.text, question, program)
                answers[row] = Answer(
                    task=task.name,
                    question=question.text,
                    reference=question.reference,
                    form=form,
                    prompt=turns[-1].content,
                    completion=one.text,
                    found=found,
                    score=0.0 if found is None else task.score(found, question),
                    truncated=one.is_truncated or bool(before and before.truncated),
                    failed_program=failure or (before.failed_program if before else None),
                    **_output(program, before),
                    completions=(*(before.completions if before else ()), one.text),
                )
            waiting = [row for row in waiting if answers[row].found is None]
        kept = [answers[row] for row in range(len(questions))]
        measures = task.measures([one.found for one in kept], questions)
        return Score.of(task, kept, measures=measures), kept

    def _run(
        self, programs: list[str], name: str, progress: Progress, check: Callable[[], None]
    ) -> list[Ran]:
        assert self.backend is not None, "confine comes first"
        seconds, megabytes = self.settings.program_seconds, self.settings.program_megabytes
        with (
            progress.step(f"programs of {name}", len(programs), "programs") as bar,
            Jails(self.backend, seconds=seconds, megabytes=megabytes) as jails,
        ):
            return jails.run(programs, advance=bar.advance, check=check)


def showable(
    task: Task, forms: Sequence[Form], data: str | None, asked: Sequence[Question]
) -> list[Question]:
    """Give the questions of the train split that may be shown: not asked, answered in every form.

    Raises
    ------
    MissingArtifact
        There is no train split, or no program in it where one is asked for.
    """
    known = {" ".join(question.text.split()) for question in asked}
    others = [one for one in task.train(data) if " ".join(one.text.split()) not in known]
    found = [one for one in others if all(task.show(one, form) is not None for form in forms)]
    if others and not found:
        raise MissingArtifact(
            f"task {task.name}: {len(others):,} rows of the train split have no text in "
            '"program", which is shown where a program is asked for. Add it, or ask by the form '
            "direct or cot."
        )
    return found


def _shown(task: Task, question: Question, form: Form) -> list[Message]:
    answer = task.show(question, form)
    assert answer is not None, "showable left others out"
    return [Message("user", task.ask(question, form)), Message("assistant", answer)]


def _output(ran: Ran | None, before: Answer | None) -> dict[str, str | None]:
    """Give what is kept of the output of a program, be it that of an earlier form."""
    if ran is not None:
        printed, stderr = ran.printed, ran.stderr
        return {
            "printed": printed[:_PRINTED] + "…" * (len(printed) > _PRINTED),
            "stderr": "…" * (len(stderr) > _STDERR) + stderr[-_STDERR:],
        }
    if before is not None:
        return {"printed": before.printed, "stderr": before.stderr}
    return {"printed": None, "stderr": None}


def read_answer(
    task: Task, completion: str, question: Question, ran: Ran | None
) -> tuple[str | None, str | None]:
    """Give the answer found, and why a program, where one was asked for, gave none."""
    if ran is None:
        return task.read(completion, question), None
    if ran.failure is not None:
        return None, ran.failure
    found = task.read_printed(ran.printed, question)
    return found, None if found is not None else "it printed no answer"
