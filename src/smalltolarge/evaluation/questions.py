"""Questions of files and of data sets on the hub, by the columns that the published ones have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smalltolarge.errors import DataError, MissingArtifact, printable
from smalltolarge.evaluation.answers import find_reference
from smalltolarge.evaluation.task import Question
from smalltolarge.examples.inputs import expanded, rows_of
from smalltolarge.examples.problems import Flaw, place, shown

SUFFIXES = (".jsonl", ".json", ".csv")
_MAX_BYTES = 10_000_000
DATA_OPTION = "--data FOLDER"
"""How the command line is given the folder of the tasks' files."""


def find_file(name: str, data: str | None, *, train: bool = False) -> Path:
    """Give the file of a task: ``data``, or in that folder NAME.jsonl or NAME.ANYTHING.jsonl.

    JSON and CSV files are found, too. The train split is NAME.train.jsonl, which is no file of
    questions to ask.

    Raises
    ------
    MissingArtifact
        There is none, or more than one.
    """
    file = f"{name}.train.jsonl" if train else f"{name}.jsonl"
    if data is None:
        raise MissingArtifact(
            f"task {name}: no copy on the hub is known. Give the folder of {file} (question and "
            f"answer in every line) with {DATA_OPTION}."
        )
    folder = expanded(data)
    if folder.is_file():
        return folder
    if not folder.is_dir():
        raise MissingArtifact(f"{DATA_OPTION}: there is no folder {printable(data, 200)}")
    found = sorted(
        path
        for path in folder.iterdir()
        if path.name.split(".")[0] == name
        and path.suffix in SUFFIXES
        and (path.name.split(".")[1] == "train") == train
        and path.is_file()
    )
    if len(found) != 1:
        what = "none" if not found else ", ".join(path.name for path in found)
        purpose = " to show questions from (few-shot)" if train else ""
        raise MissingArtifact(
            f"task {name}: one file {file}{purpose} is needed in {printable(folder, 200)}; "
            f"found {printable(what, 200)}"
        )
    return found[0]


def train_beside(file: Path) -> Path:
    """Give the file of the train split beside one of questions; raises as ``find_file``."""
    return find_file(file.name.split(".")[0], str(file.parent), train=True)


def columns_of(file: Path) -> frozenset[str]:
    """Give the columns of the first row."""
    for _, row in _rows(file):
        return frozenset(row) if isinstance(row, dict) else frozenset()
    return frozenset()


def read_file(file: Path) -> list[Question]:
    """Read the questions of a JSON Lines, JSON or CSV file.

    Raises
    ------
    DataError
        There are none, or a row has no question or no answer.
    """
    found = [_question(row, where) for where, row in _rows(file)]
    if not found:
        raise DataError(f"{printable(file, 200)} holds no questions")
    return found


def read_hub(name: str, configurations: str, splits: str) -> list[Question]:
    """Read the questions of a data set: its configurations ("a,b"), their splits ("a+b").

    Raises
    ------
    MissingArtifact
        The hub cannot be reached, or has no such data set.
    """
    from smalltolarge.examples.hub import load_dataset

    rows: list[Any] = []
    try:
        for configuration in configurations.split(","):
            for split in splits.split("+"):
                rows += load_dataset(name, configuration or None, split)
    except Exception as error:  # offline, moved, gated: any of many
        raise MissingArtifact(
            f"{name} could not be had from the hub ({printable(error, 200)}). Give a folder "
            f"of files with {DATA_OPTION}."
        ) from error
    return [_question(row, f"{name}, row {number}") for number, row in enumerate(rows, 1)]


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (where it stands, row) of a file."""
    if path.stat().st_size > 100 * _MAX_BYTES:
        raise DataError(f"{path}: test questions of more than {100 * _MAX_BYTES:,} bytes")
    kind, rows = rows_of(path, _MAX_BYTES)
    for line, _, _, row in rows:
        where = place(str(path), kind, line, -1)
        if isinstance(row, Flaw):
            raise DataError(row.told(where))
        yield where, row


def _question(row: Any, where: str) -> Question:
    if not isinstance(row, dict):
        raise DataError(f"{printable(where, 300)}: a JSON object is needed")
    text = row.get("question", row.get("problem", row.get("Question")))
    if "Body" in row and "Question" in row:
        body = str(row["Body"]).rstrip()
        text = f"{body}{'' if body.endswith(('.', '?', '!', ',')) else '.'} {row['Question']}"
    solution = _text(row, "output", "solution")
    answer = row.get("answer", row.get("Answer"))
    if answer is None and isinstance(row.get("solution"), str):
        answer = find_reference(row["solution"], str(text))
    if isinstance(answer, str) and "####" in answer:
        solution, answer = answer, answer.rpartition("####")[2].strip()
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{printable(where, 300)}: question: a text is needed")
    if (
        isinstance(answer, bool)
        or not isinstance(answer, str | int | float)
        or not str(answer).strip()
    ):
        raise DataError(
            f"{printable(where, 300)}: answer: a text or a number is needed, found "
            f"{shown(row.get('answer'))}"
        )
    program, source = _text(row, "program"), _text(row, "skill", "source")
    return Question(text, str(answer), solution, program, source)


def _text(row: Mapping[str, Any], *columns: str) -> str | None:
    """Give the first text that there is."""
    found = (row.get(column) for column in columns)
    return next((text for text in found if isinstance(text, str) and text.strip()), None)
