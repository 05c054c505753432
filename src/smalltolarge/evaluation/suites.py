"""Suites of questions with one number each as answer, as ``s2l sample-data`` writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal

from smalltolarge.errors import DataError, MissingArtifact, RecipeError, printable
from smalltolarge.evaluation.programs import NotArithmetic, run_program
from smalltolarge.evaluation.task import Question, Task
from smalltolarge.examples.table import Message
from smalltolarge.wordproblems import PROGRAM_REQUEST

_NUMBER = r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?"
_STATED = re.compile(rf"answer is\s*:?\s*\$?\s*({_NUMBER})", re.IGNORECASE)


@dataclass(frozen=True)
class Suite(Task):
    """A JSON Lines file with ``question`` and ``answer``; exact match of the number stated last.

    A completion states its answer as "the answer is 12", of several statements the last counts;
    or, where a program is asked for, prints it.
    """

    name: str
    path: Path
    answer_by: Literal["words", "program"] = "words"

    @cached_property
    def _columns(self) -> frozenset[str]:
        with self.path.open(encoding="utf-8") as lines:
            return frozenset(json.loads(next(lines, "{}")))

    @property
    def has_solutions(self) -> bool:
        """Whether there is a worked solution beside every question, in ``output``."""
        return "output" in self._columns

    @property
    def has_skills(self) -> bool:
        """Whether every question says in ``skill`` what it is about."""
        return "skill" in self._columns

    def questions(self) -> list[Question]:
        """Read the file.

        Raises
        ------
        DataError
            A line is not JSON, or lacks a question or an answer that is a number.
        """
        found = []
        with self.path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                    question, answer = row["question"], str(row["answer"])
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(
                        f"{printable(str(self.path), 200)}, line {number}: a JSON object with "
                        f"question and answer is needed ({error})"
                    ) from error
                if not isinstance(question, str) or _value(answer) is None:
                    raise DataError(
                        f"{printable(str(self.path), 200)}, line {number}: the question is a text "
                        f"and the answer a number, found {printable(answer)}"
                    )
                if self.answer_by == "program":
                    question = f"{question} {PROGRAM_REQUEST}"
                found.append(Question((Message("user", question),), answer))
        if not found:
            raise DataError(f"{printable(str(self.path), 200)} holds no questions")
        return found

    def score(self, completion: str, question: Question) -> tuple[str | None, float]:
        """Compare the number stated last, or printed, with the reference, exactly."""
        if self.answer_by == "program":
            try:
                found = run_program(completion)
            except NotArithmetic:
                return None, 0.0
        else:
            stated = _STATED.findall(completion)
            if not stated:
                return None, 0.0
            found = stated[-1]
        value = _value(found)
        return found, float(value is not None and value == _value(question.reference))


def _value(text: str) -> Fraction | None:
    """Read a whole number, a decimal or a fraction, exactly."""
    if re.fullmatch(_NUMBER, text.strip()) is None:
        return None
    try:
        return Fraction(re.sub(r"[,\s]", "", text))
    except ZeroDivisionError:
        return None


def find_suites(
    names: Iterable[str], answer_by: Literal["words", "program"] = "words"
) -> list[Suite]:
    """Give the suites of files and folders (every ``*.jsonl`` in it, by name).

    Raises
    ------
    MissingArtifact
        There is no such file, or a folder without one.
    RecipeError
        Two suites have one name.
    """
    found: list[Suite] = []
    for name in names:
        path = Path(name)
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not files or not all(file.is_file() for file in files):
            raise MissingArtifact(f"no suite of questions at {printable(name, 200)}")
        found += [Suite(file.stem, file, answer_by) for file in files]
    names_found = [suite.name for suite in found]
    twice = sorted({name for name in names_found if names_found.count(name) > 1})
    if twice:
        raise RecipeError(f"two suites are named {printable(twice[0])}: rename one file")
    return found
