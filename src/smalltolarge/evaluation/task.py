"""What a task is: its questions, how they are asked, and what answers to them are worth."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from smalltolarge.errors import MissingArtifact

Form = Literal["direct", "cot", "pot"]
FORMS: Mapping[str, tuple[Form, ...]] = {
    "direct": ("direct",),
    "cot": ("cot",),
    "pot": ("pot",),
    "combined": ("pot", "direct"),
}
"""What is asked for, one after the other until there is an answer. Combined is the paper's: a
program, and where it fails the question alone, which a model tuned for it answers by a chain of
thought."""


@dataclass(frozen=True)
class Question:
    """What a model is asked, and the answer that is right."""

    text: str
    """The question alone, whatever form its answer shall have."""
    reference: str
    solution: str | None = None
    """Words that lead to the answer and state it."""
    program: str | None = None
    """A program that prints the answer."""
    source: str | None = None
    """What it is about, where the data says so."""


class Task(ABC):
    """Questions, how they are asked, and what answers to them are worth.

    A class with a ``name``, ``questions``, ``read`` and ``score`` is a task; the rest may stay.
    """

    name: str
    measure: str = "accuracy"
    """The name of its score, 0 to 1."""
    request: str = "Let's write a program."
    """What asks for a program."""

    long_name: str = ""

    @property
    def lm_eval_name(self) -> str:
        """Its name in lm-eval, for a task of the table."""
        return f"s2l_{(self.long_name or self.name).replace('-', '_')}"

    @abstractmethod
    def questions(self, data: str | None = None) -> list[Question]:
        """Give all questions, always in the same order; ``data`` is the folder of its files."""

    def train(self, data: str | None = None) -> list[Question]:
        """Give the questions of its train split, which few-shot prompts show answered."""
        raise MissingArtifact(f"task {self.name} has no train split, whose questions are shown")

    def files(self, data: str | None = None) -> list[Path]:
        """List the files that the questions are read from; none where they come otherwise."""
        return []

    def forms(self, form: str) -> tuple[Form, ...]:
        """Give what is asked for, one after the other until there is an answer."""
        return FORMS[form]

    def ask(self, question: Question, form: Form) -> str:
        """Write what a model is asked."""
        requests = {"direct": "", "cot": " Let's think step by step.", "pot": f" {self.request}"}
        return question.text + requests[form]

    def show(self, question: Question, form: Form) -> str | None:
        """Write the answer to a question that is shown; None where it has none of this form."""
        if form == "pot":
            return question.program
        return question.solution or f"The answer is {question.reference}."

    @abstractmethod
    def read(self, completion: str, question: Question) -> str | None:
        """Give the answer that a completion states; None where it states none.

        ``completions.spoken`` gives what of a completion is no thought.
        """

    def read_printed(self, printed: str, question: Question) -> str | None:
        """Give the answer that a program printed; None where it printed none."""
        return self.read(printed, question)

    @abstractmethod
    def score(self, found: str, question: Question) -> float:
        """Say what an answer is worth, 0 to 1."""

    def measures(
        self, found: Sequence[str | None], questions: Sequence[Question]
    ) -> Mapping[str, Any]:
        """Give what else is measured of all answers together."""
        return {}


@dataclass(frozen=True)
class Answer:
    """What a model answered to a question, and what it is worth: a row of the answers kept."""

    task: str
    question: str
    reference: str
    form: str
    """The last that was asked for."""
    prompt: str
    """What was asked last."""
    completion: str
    """What was answered last."""
    found: str | None
    """The answer that it states; None: unanswered."""
    score: float
    """0 to 1."""
    truncated: bool
    """Whether a completion reached the length limit, or the question left no room for one."""
    failed_program: str | None
    """Why the program that was asked for gave no answer."""
    printed: str | None
    """What the program printed, of more than 2,000 characters the first; None: none was run."""
    stderr: str | None
    """What it wrote to its standard error, of more than 1,000 characters the last."""
    completions: tuple[str, ...]
    """All, in the order in which they were asked for."""


@dataclass(frozen=True)
class Score:
    """What a model reached at one task."""

    task: str
    measure: str
    """accuracy, or rougeL for summaries; both 0 to 1."""
    value: float
    error: float
    """Standard error over the questions; nan for one question."""
    questions: int
    unanswered: int
    """Questions in whose completions no answer was found."""
    truncated: int
    """Questions of which a completion reached the length limit."""
    failed_programs: Mapping[str, int]
    """Questions whose program gave no answer, by the kind of failure."""
    measures: Mapping[str, Any]
    """Other measures: rouge1, rouge2, bleu with its signature, bertscore."""
    overlap: int | None = None
    """Training rows that overlap with its questions; None where none were given."""

    @classmethod
    def of(cls, task: Task, answers: Sequence[Answer], **more: Any) -> Score:
        """Count the answers to a task."""
        scores = [answer.score for answer in answers]
        return cls(
            task=task.name,
            measure=task.measure,
            value=sum(scores) / len(scores),
            error=standard_error(scores),
            questions=len(answers),
            unanswered=sum(answer.found is None for answer in answers),
            truncated=sum(answer.truncated for answer in answers),
            failed_programs=count_failures(answers),
            **more,
        )

    def to_plain(self) -> dict[str, Any]:
        """Give JSON-like data."""
        return asdict(self) | {"error": None if math.isnan(self.error) else self.error}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Score:
        """Read what ``to_plain`` gave."""
        error = math.nan if plain["error"] is None else plain["error"]
        return cls(**{**plain, "error": error})


def count_failures(answers: Sequence[Answer]) -> dict[str, int]:
    """Count failed programs by kind, the most frequent first: an exception by its name alone."""
    kinds = Counter(one.failed_program.partition(":")[0] for one in answers if one.failed_program)
    return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))


def standard_error(scores: Sequence[float]) -> float:
    """Give the standard error of a mean of scores; nan for one score."""
    n = len(scores)
    if n < 2:
        return math.nan
    mean = sum(scores) / n
    return math.sqrt(sum((score - mean) ** 2 for score in scores) / (n - 1) / n)
