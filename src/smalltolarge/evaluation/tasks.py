"""The tasks that models are evaluated on: where their questions come from, how answers count."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smalltolarge.errors import DataError, MissingArtifact, RecipeError, printable
from smalltolarge.evaluation.answers import Kind, find_answer, find_printed
from smalltolarge.evaluation.equivalence import is_equal
from smalltolarge.evaluation.jail import Ran
from smalltolarge.evaluation.summaries import load_pairs, rouge, rows_of
from smalltolarge.evaluation.task import Answer, Question, TaskResult
from smalltolarge.examples.problems import Flaw, place, shown
from smalltolarge.examples.table import Message
from smalltolarge.wordproblems import IN_DOMAIN, OUT_OF_DOMAIN, PROGRAM_REQUEST

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
_MAX_BYTES = 10_000_000
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Benchmark:
    """A task: its questions, and how an answer to one counts."""

    name: str
    about: str
    kind: Kind | Literal["summary"]
    hub: tuple[str, ...] = ()
    """Data set, configuration ("" for the only one) and splits on the hub."""
    request: str = "Let's write a program."
    """What asks for a program."""

    @property
    def measure(self) -> str:
        """The name of its score, 0 to 1, as the harness and the results have it."""
        return "rougeL" if self.kind == "summary" else "accuracy"

    def forms(self, form: str) -> tuple[Form, ...]:
        """What is asked for, in turn; a summary has one form only."""
        return ("direct",) if self.kind == "summary" else FORMS[form]

    def ask(self, question: str, form: Form) -> str:
        """Write what a model is asked."""
        requests = {"direct": "", "cot": " Let's think step by step.", "pot": f" {self.request}"}
        return question + requests[form]

    def find(self, completion: str, question: str) -> str | None:
        """Give the answer that a completion in words states."""
        if self.kind == "summary":
            return completion.strip() or None
        return find_answer(completion, self.kind, question)

    def find_printed(self, printed: str, question: str) -> str | None:
        """Give the answer that a program printed."""
        assert self.kind != "summary"
        return find_printed(printed, self.kind, question)

    def read(
        self, completion: str, question: str, ran: Ran | None
    ) -> tuple[str | None, str | None]:
        """Give the answer found, and why a program, where one was asked for, gave none."""
        if ran is None:
            return self.find(completion, question), None
        if ran.failure is not None:
            return None, ran.failure
        found = self.find_printed(ran.printed, question)
        return found, None if found is not None else "it printed no answer"

    def score(self, found: str | None, reference: str, question: str) -> float:
        """Say what an answer is worth, 0 to 1: whether it is right, or ROUGE-L of a summary."""
        if found is None:
            return 0.0
        if self.kind == "summary":
            return rouge(found, reference)["rougeL"]
        return float(is_equal(found, reference, self.kind, question))

    def questions(self, data: str | None) -> list[tuple[str, str]]:
        """Read (question, reference) pairs, from a folder of files or from the hub.

        Raises
        ------
        MissingArtifact
            There is no such file, or the hub cannot be reached.
        DataError
            A row has no question or no answer.
        """
        if data is not None or not self.hub:
            path = self.file(data)
            if self.kind == "summary":
                return load_pairs(path)
            pairs = [_pair(row, where) for where, row in _rows(path)]
        else:
            pairs = [
                _pair(row, f"{self.hub[0]}, row {number}")
                for number, row in enumerate(_from_hub(self.hub), 1)
            ]
        if not pairs:
            raise DataError(f"task {self.name}: there are no questions")
        return pairs

    def file(self, data: str | None) -> Path:
        """Give the file of this task in a folder: NAME.jsonl, NAME.json, NAME.csv, NAME.*.jsonl."""
        if data is None:
            raise MissingArtifact(
                f"task {self.name}: no copy on the hub is known. Give the folder of "
                f"{self.name}.jsonl (question and answer in every line) with --data."
            )
        folder = Path(data).expanduser()
        if folder.is_file():
            return folder
        if not folder.is_dir():
            raise MissingArtifact(f"--data {printable(data, 200)}: there is no such folder")
        found = sorted(
            path
            for path in folder.iterdir()
            if path.name.partition(".")[0] == self.name
            and path.suffix in {".jsonl", ".json", ".csv"}
            and path.is_file()
        )
        if len(found) != 1:
            what = "none" if not found else ", ".join(path.name for path in found)
            raise MissingArtifact(
                f"task {self.name}: one file {self.name}.jsonl is needed in "
                f"{printable(str(folder), 200)}; found {printable(what, 200)}"
            )
        return found[0]


_MATHS = (
    Benchmark("gsm8k", "grade-school word problems", "number", ("openai/gsm8k", "main", "test")),
    Benchmark(
        "math", "competition problems; LaTeX answers", "latex",
        ("EleutherAI/hendrycks_math",
         "algebra,counting_and_probability,geometry,intermediate_algebra,number_theory,prealgebra,"
         "precalculus", "test"),
    ),
    Benchmark("numglue", "numbers, words or a choice", "numglue"),
    Benchmark(
        "svamp", "varied one-step word problems", "number", ("ChilleD/SVAMP", "", "train+test")
    ),
    Benchmark("mathematics", "DeepMind's generated problems", "mixed"),
    Benchmark("simuleq", "systems of equations in words", "unknowns"),
)  # fmt: skip
_SAMPLES = tuple(
    Benchmark(name, "word problems of s2l sample-data", "number", request=PROGRAM_REQUEST)
    for name in IN_DOMAIN + OUT_OF_DOMAIN
)
_SUMMARIES = (
    Benchmark("radiology_impression", "findings to impression; ROUGE, BLEU", "summary"),
    Benchmark("mts_dialog", "dialogue to note section; ROUGE, BLEU", "summary"),
)
TASKS: Mapping[str, Benchmark] = {task.name: task for task in (*_MATHS, *_SAMPLES, *_SUMMARIES)}
GROUPS: Mapping[str, tuple[str, ...]] = {
    "s2l_math": tuple(task.name for task in _MATHS),
    "s2l_sample": tuple(task.name for task in _SAMPLES),
}


def find_tasks(names: Sequence[str]) -> list[Benchmark]:
    """Give the tasks of names and groups, each once.

    Raises
    ------
    RecipeError
        There is no such task.
    """
    found: dict[str, Benchmark] = {}
    for name in names:
        for one in GROUPS.get(name, (name,)):
            if one not in TASKS:
                near = difflib.get_close_matches(one, [*TASKS, *GROUPS], n=1)
                hint = f"did you mean {near[0]}?" if near else "s2l tasks lists them"
                raise RecipeError(f"there is no task {printable(one)!r}; {hint}")
            found[one] = TASKS[one]
    return list(found.values())


Ask = Callable[[list[tuple[Message, ...]]], list[tuple[str, bool]]]
"""From conversations to (completion, whether it is cut)."""


def examine(
    task: Benchmark,
    pairs: Sequence[tuple[str, str]],
    form: str,
    ask: Ask,
    run: Callable[[list[str]], Sequence[Ran]],
) -> TaskResult:
    """Ask for each form the questions that have no answer yet, and score what is found."""
    answers: list[Answer | None] = [None] * len(pairs)
    waiting = list(range(len(pairs)))
    for one in task.forms(form):
        prompts: list[tuple[Message, ...]] = [
            (Message("user", task.ask(pairs[row][0], one)),) for row in waiting
        ]
        completions = ask(prompts)
        texts = [text for text, _ in completions]
        ran = run([program_of(text) for text in texts]) if one == "pot" else [None] * len(texts)
        told = zip(waiting, prompts, completions, ran, strict=True)
        for row, prompt, (text, is_truncated), program in told:
            (question, reference), before = pairs[row], answers[row]
            found, failure = task.read(text, question, program)
            answers[row] = Answer(
                Question(prompt, reference),
                text,
                found,
                task.score(found, reference, question),
                is_truncated or (before is not None and before.is_truncated),
                failure or (before.failure if before is not None else None),
            )
        waiting = [row for row in waiting if (it := answers[row]) is not None and it.found is None]
    return TaskResult(task.name, tuple(answer for answer in answers if answer is not None))


def program_of(completion: str) -> str:
    """Take the program out of a completion: the fenced part, or all of it."""
    fenced = _FENCED.findall(completion)
    text: str = "\n".join(fenced) if fenced else completion
    return text.partition("### Instruction:")[0].strip("\n")


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (where it stands, row) of a file."""
    if path.stat().st_size > 100 * _MAX_BYTES:
        raise DataError(f"{path}: test questions of more than {100 * _MAX_BYTES:,} bytes")
    kind, rows = rows_of(path, _MAX_BYTES)
    for line, _, _, row in rows:
        where = place(str(path), kind, line, -1)
        if isinstance(row, Flaw):
            raise DataError(f"{where}: {row.reason}; found {row.found}; needed: {row.wanted}")
        yield where, row


def _pair(row: Any, where: str) -> tuple[str, str]:
    """Read a question and its answer, by the columns that the published files have."""
    if not isinstance(row, dict):
        raise DataError(f"{printable(where, 300)}: a JSON object is needed")
    question = row.get("question", row.get("problem", row.get("Question")))
    if "Body" in row and "Question" in row:
        body = str(row["Body"]).rstrip()
        question = f"{body}{'' if body.endswith(('.', '?', '!', ',')) else '.'} {row['Question']}"
    answer = row.get("answer", row.get("Answer"))
    if answer is None and isinstance(row.get("solution"), str):
        answer = find_answer(row["solution"], "latex", "")
    if isinstance(answer, str) and "####" in answer:
        answer = answer.rpartition("####")[2].strip()
    if not isinstance(question, str) or not question.strip():
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
    return question, str(answer)


def _from_hub(hub: tuple[str, ...]) -> Iterator[Any]:
    from datasets import load_dataset

    name, configurations, splits = hub
    try:
        for configuration in configurations.split(","):
            for split in splits.split("+"):
                yield from load_dataset(name, configuration or None, split=split)
    except Exception as error:  # offline, moved, gated: any of many
        raise MissingArtifact(
            f"{name} could not be had from the hub ({printable(str(error), 200)}). Give a folder "
            "of files with --data."
        ) from error
