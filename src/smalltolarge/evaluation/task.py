"""The contract of a task, and what comes out of one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from smalltolarge.examples.table import Message


@dataclass(frozen=True)
class Question:
    """What a model is asked, and the answer that is right."""

    prompt: tuple[Message, ...]
    """A conversation that ends before the answer."""
    reference: str


@dataclass(frozen=True)
class Answer:
    """A completion and what it is worth."""

    question: Question
    completion: str
    found: str | None
    """The answer found in the completion; None: it states none."""
    score: float
    """0 to 1."""
    is_truncated: bool
    """Whether the completion reached the length limit."""
    failure: str | None = None
    """Why the program that was asked for gave no answer."""


class Task(ABC):
    """Questions, and how answers to them are scored."""

    name: str

    @abstractmethod
    def questions(self) -> list[Question]:
        """Give all questions, always in the same order."""

    @abstractmethod
    def score(self, completion: str, question: Question) -> tuple[str | None, float]:
        """Give the answer that a completion states, None where it states none, and its score."""

    def judge(
        self, completions: Sequence[tuple[str, bool]], questions: Sequence[Question]
    ) -> TaskResult:
        """Score (completion, whether it is cut) for each question."""
        answers = []
        for (text, is_truncated), question in zip(completions, questions, strict=True):
            found, worth = self.score(text, question)
            answers.append(Answer(question, text, found, worth, is_truncated))
        return TaskResult(self.name, tuple(answers))


def standard_error(scores: Sequence[float]) -> float:
    """Give the standard error of a mean of scores; nan for one score."""
    n = len(scores)
    if n < 2:
        return math.nan
    mean = sum(scores) / n
    return math.sqrt(sum((score - mean) ** 2 for score in scores) / (n - 1) / n)


@dataclass(frozen=True)
class TaskResult:
    """All answers to a task."""

    task: str
    answers: tuple[Answer, ...]

    @property
    def scores(self) -> list[float]:
        """The score of every answer, in the order of the questions."""
        return [answer.score for answer in self.answers]

    @property
    def accuracy(self) -> float:
        """The mean score."""
        return sum(self.scores) / len(self.answers)

    @property
    def standard_error(self) -> float:
        """Of the accuracy, over the questions."""
        return standard_error(self.scores)

    @property
    def unanswered(self) -> int:
        """Completions in which no answer was found."""
        return sum(answer.found is None for answer in self.answers)

    @property
    def cut(self) -> int:
        """Completions that reached the length limit."""
        return sum(answer.is_truncated for answer in self.answers)

    @property
    def failed_programs(self) -> int:
        """Questions whose program gave no answer."""
        return sum(answer.failure is not None for answer in self.answers)
