"""The tasks that models are evaluated on, by name, and those that are named by file or class."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smalltolarge.errors import MissingArtifact, RecipeError, printable
from smalltolarge.evaluation.answers import find_answer, find_printed
from smalltolarge.evaluation.completions import spoken
from smalltolarge.evaluation.equivalence import Kind, is_equal
from smalltolarge.evaluation.questions import (
    DATA_OPTION,
    SUFFIXES,
    columns_of,
    find_file,
    read_file,
    read_hub,
    train_beside,
)
from smalltolarge.evaluation.summaries import bleu, load_pairs, rouge
from smalltolarge.evaluation.task import Form, Question, Task
from smalltolarge.examples.inputs import expanded
from smalltolarge.settings import find_class
from smalltolarge.wordproblems import IN_DOMAIN, OUT_OF_DOMAIN, PROGRAM_REQUEST

LM_EVAL = Path(__file__).parent / "lm_eval_tasks"
"""The folder for the ``--include_path`` of lm-eval."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_NUMBER = re.compile(r"\s*-?[\d,]*\.?\d+(\s*/\s*\d+)?\s*")
_COLUMNS = frozenset({"question", "problem", "Question"})


@dataclass(frozen=True)
class Problems(Task):
    """Questions with one right answer each, of one kind."""

    name: str
    about: str
    kind: Kind | None
    """None: that of its reference, for each question."""
    hub: tuple[str, str, str] | None = None
    """Data set, configurations ("" for the only one) and splits on the hub."""
    request: str = Task.request
    file: Path | None = None
    """The file, whatever the folder of data; None: it is found there by the name."""
    long_name: str = ""
    """Its name beside other tasks, where ``name`` alone could be taken for something else."""

    def files(self, data: str | None = None) -> list[Path]:
        """Give the file of the questions; none where they come from the hub."""
        if self.file is not None:
            return [self.file]
        return [] if data is None and self.hub is not None else [find_file(self.name, data)]

    def questions(self, data: str | None = None) -> list[Question]:
        """Read the questions, from a file or from the hub.

        Raises
        ------
        MissingArtifact
            There is no such file, or the hub cannot be reached.
        DataError
            A row has no question or no answer.
        """
        files = self.files(data)
        if not files and self.hub is not None:
            return read_hub(*self.hub)
        return read_file(files[0])

    def train(self, data: str | None = None) -> list[Question]:
        """Read NAME.train.jsonl beside the file of the questions, or the hub's train split.

        Raises as ``questions``.
        """
        files = self.files(data)
        if files:
            return read_file(train_beside(files[0]))
        assert self.hub is not None
        name, configurations, splits = self.hub
        if "train" in splits.split("+"):
            raise MissingArtifact(
                f"task {self.name}: the train split of {name} is among the questions asked, so no "
                f"other rows are known. Give the folder of {self.name}.jsonl and "
                f"{self.name}.train.jsonl with {DATA_OPTION}."
            )
        return read_hub(name, configurations, "train")

    def read(self, completion: str, question: Question) -> str | None:
        """Give the answer that a completion in words states."""
        return find_answer(spoken(completion), self._kind(question), question.text)

    def read_printed(self, printed: str, question: Question) -> str | None:
        """Give the answer that a program printed."""
        return find_printed(printed, self._kind(question), question.text)

    def score(self, found: str, question: Question) -> float:
        """Say whether an answer is the right one."""
        return float(is_equal(found, question.reference, self._kind(question), question.text))

    def _kind(self, question: Question) -> Kind:
        if self.kind is not None:
            return self.kind
        if _NUMBER.fullmatch(question.reference):
            return "number"
        return "latex" if "\\" in question.reference else "mixed"


@dataclass(frozen=True)
class Summaries(Task):
    """Texts to summarise, scored by what they share with a reference."""

    name: str
    about: str
    measure: str = "rougeL"
    file: Path | None = None
    hub: None = None

    def files(self, data: str | None = None) -> list[Path]:
        """Give the file of the pairs."""
        return [self.file or find_file(self.name, data)]

    def questions(self, data: str | None = None) -> list[Question]:
        """Read the pairs; raises as ``load_pairs``."""
        return [Question(*pair) for pair in load_pairs(self.files(data)[0])]

    def train(self, data: str | None = None) -> list[Question]:
        """Read NAME.train.jsonl beside the file of the pairs."""
        return [Question(*pair) for pair in load_pairs(train_beside(self.files(data)[0]))]

    def forms(self, form: str) -> tuple[Form, ...]:
        """A summary has one form only."""
        return ("direct",)

    def show(self, question: Question, form: Form) -> str:
        """Give the reference."""
        return question.reference

    def read(self, completion: str, question: Question) -> str | None:
        """Give the completion, if there is one."""
        return spoken(completion).strip() or None

    def score(self, found: str, question: Question) -> float:
        """Give ROUGE-L."""
        return rouge(found, question.reference)["rougeL"]

    def measures(
        self, found: Sequence[str | None], questions: Sequence[Question]
    ) -> Mapping[str, Any]:
        """Give ROUGE-1 and ROUGE-2, 0 to 1, and BLEU, 0 to 100, with its signature."""
        texts, references = [text or "" for text in found], [one.reference for one in questions]
        each = [rouge(*pair) for pair in zip(texts, references, strict=True)]
        means = {name: sum(one[name] for one in each) / len(each) for name in ("rouge1", "rouge2")}
        score, signature = bleu(texts, references)
        return {**means, "bleu": score, "bleu_signature": signature}


_MATHS = (
    Problems(
        "gsm8k", "grade-school word problems", "number", ("openai/gsm8k", "main", "test")
    ),
    Problems(
        "math", "competition problems; LaTeX answers", "latex",
        ("EleutherAI/hendrycks_math",
         "algebra,counting_and_probability,geometry,intermediate_algebra,number_theory,prealgebra,"
         "precalculus", "test"), long_name="hendrycks_math",
    ),
    Problems("numglue", "numbers, words or a choice", "numglue"),
    Problems(
        "svamp", "varied one-step word problems", "number", ("ChilleD/SVAMP", "", "train+test")
    ),
    Problems("mathematics", "DeepMind's generated problems", "mixed"),
    Problems("simuleq", "systems of equations in words", "unknowns"),
)  # fmt: skip
_SAMPLES = tuple(
    Problems(name, "word problems of s2l sample-data", "number", request=PROGRAM_REQUEST)
    for name in IN_DOMAIN + OUT_OF_DOMAIN
)
_SUMMARIES = (
    Summaries("radiology_impression", "findings to impression; ROUGE, BLEU"),
    Summaries("mts_dialog", "dialogue to note section; ROUGE, BLEU"),
)
_ALL: tuple[Problems | Summaries, ...] = (*_MATHS, *_SAMPLES, *_SUMMARIES)
TASKS: Mapping[str, Problems | Summaries] = {task.name: task for task in _ALL}
_KNOWN = {**TASKS, **{task.lm_eval_name: task for task in _ALL}}
GROUPS: Mapping[str, tuple[str, ...]] = {
    "s2l_math": tuple(task.name for task in _MATHS),
    "s2l_sample": tuple(task.name for task in _SAMPLES),
    "s2l_summaries": tuple(task.name for task in _SUMMARIES),
}


def find_tasks(names: Sequence[str]) -> list[Task]:
    """Give tasks, each once, by their names, here or in lm-eval, or by those of groups, and
    FILE.jsonl and my_package.module:Class.

    Raises
    ------
    RecipeError
        There is no such task, or two have one name.
    MissingArtifact, DataError
        There is no such file, or it cannot be read.
    """
    found: dict[str, Task] = {}
    for named in names:
        for one in GROUPS.get(named, (named,)):
            task = _KNOWN[one] if one in _KNOWN else _from_outside(one)
            if found.setdefault(task.name, task) != task:
                raise RecipeError(f"two tasks are named {printable(task.name)}: rename one")
    return list(found.values())


def _from_outside(name: str) -> Task:
    if ":" in name and not Path(name).exists():
        task: Task = find_class(name, Task, "task")()  # type: ignore[type-abstract]
        if not _NAME.fullmatch(task.name):
            raise RecipeError(
                f"task {printable(name)} is named {printable(task.name)!r}: up to 40 letters, "
                "digits, '.', '_' and '-' are needed"
            )
        return task
    path = expanded(name)
    if path.suffix in SUFFIXES:
        return _of_file(path)
    near = difflib.get_close_matches(name, [*_KNOWN, *GROUPS], n=1)
    hint = f"did you mean {near[0]}?" if near else "s2l tasks lists them."
    raise RecipeError(
        f"there is no task {printable(name)!r}; {hint} A file of questions (FILE.jsonl) or "
        "my_package.module:Class is a task, too."
    )


def _of_file(path: Path) -> Task:
    """Make the task of a file: problems, or what is summarised where there are no questions."""
    if not path.is_file():
        raise MissingArtifact(f"task {printable(path, 200)}: there is no such file")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name.split(".")[0]).strip(".-_")[:40] or "file"
    if _COLUMNS & columns_of(path):
        return Problems(name, "", None, file=path)
    return Summaries(name, "", file=path)
