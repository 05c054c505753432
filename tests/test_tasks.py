"""Every task keeps the contract; questions are read from files and asked in the right form."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
import yaml

from smalltolarge import wordproblems
from smalltolarge.errors import DataError, MissingArtifact, RecipeError
from smalltolarge.evaluation import GROUPS, TASKS, Answer, Exam, Question, Score, find_tasks
from smalltolarge.evaluation.tasks import LM_EVAL, Problems
from smalltolarge.examples.table import Message
from smalltolarge.progress import Progress
from smalltolarge.settings import AskingSettings
from smalltolarge.wordproblems.rows import new_problem

SUMS = [
    {"question": f"Ann has {n} pens and buys {n + 2} more. How many has she?", "answer": 2 * n + 2}
    for n in range(1, 6)
]
ROWS: dict[str | None, list[dict[str, Any]]] = {
    "number": SUMS,
    "latex": [
        {"problem": "Half of a half?", "solution": "It is $\\boxed{\\frac14}$."},
        {"problem": "Factor x^2-1.", "solution": "So $\\boxed{(x-1)(x+1)}$."},
        {"problem": "Where is it defined?", "solution": "On $\\boxed{(2,\\infty)}$."},
    ],
    "numglue": [*SUMS, {"question": "Is ice cold or warm?", "answer": "cold"}],
    "mixed": [*SUMS, {"question": "Is 7 prime?", "answer": "True"}],
    "unknowns": SUMS,
    None: [
        {"findings": "Lungs are clear. No effusion.", "impression": "No acute disease of the lung"},
        {"findings": "Left lower lobe opacity.", "impression": "Pneumonia in the left lower lobe"},
    ],
}
"""A few questions of every kind of task; None: summaries."""
NOTES = [
    {"section_header": "ALLERGY", "dialogue": "Doctor: any?", "section_text": "No known ones here"},
    {"section_header": "PLAN", "dialogue": "Doctor: rest.", "section_text": "Bed rest for a week"},
]
HOSTILE = [
    "", " \n", "\x00\ud800", "9" * 50_000, "(" * 20_000, "$" * 20_001, "\\frac" * 20_000,
    "```" * 20_000, "The answer is " * 10_000, "1/" * 30_000, "{" * 30_000 + "}" * 30_000,
    "### Instruction:\n" * 5_000, "\\boxed{" * 10_000, "a" * 100_000, "1,000," * 20_000,
]  # fmt: skip


class Completed(NamedTuple):
    text: str
    is_truncated: bool = False


class Scripted:
    """Answers what is written for a question, and remembers what it was asked."""

    def __init__(self, answer: Callable[[str], str | Completed]) -> None:
        self.answer, self.asked = answer, list[Sequence[Message]]()

    def answers(
        self, conversations: Sequence[Sequence[Message]], **how: Any
    ) -> Sequence[Completed]:
        self.asked += conversations
        found = [self.answer(turns[-1].content) for turns in conversations]
        return [one if isinstance(one, Completed) else Completed(one) for one in found]


@pytest.fixture(params=TASKS)
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A task of the table, whose file is in ``tmp_path``."""
    rows = (
        NOTES
        if request.param == "mts_dialog"
        else ROWS[getattr(TASKS[request.param], "kind", None)]
    )
    write(tmp_path / f"{request.param}.jsonl", rows)
    return str(request.param)


def write(file: Path, rows: Sequence[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def examined(
    answer: Callable[[str], str | Completed], *tasks: str, **settings: Any
) -> tuple[Score, list[Answer], Scripted]:
    exam, model = Exam(AskingSettings(tasks=tasks, **settings)), Scripted(answer)
    asked: Any = model
    exam.confine()
    return *exam.examine(exam.tasks[0], asked, progress=Progress()), model


def stated(question: Question, name: str) -> str:
    """A completion that gives the reference of a question, as the task wants it."""
    return TASKS[name].show(question, "direct") or ""


# Every task


def test_a_right_answer_scores_1_in_words_and_printed(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    for question in task.questions(str(tmp_path)):
        found = task.read(stated(question, name), question)
        assert found is not None
        assert task.score(found, question) == 1
        if "pot" in task.forms("pot"):
            printed = task.read_printed(question.reference, question)
            assert printed is not None
            assert task.score(printed, question) == 1


def test_a_near_miss_scores_0_and_less_than_1_where_a_part_counts(
    name: str, tmp_path: Path
) -> None:
    task = TASKS[name]
    questions = task.questions(str(tmp_path))
    for question in questions:
        for other in questions:
            if other.reference == question.reference:
                continue
            found = task.read(stated(other, name), question)
            worth = 0.0 if found is None else task.score(found, question)
            assert worth == 0 if task.measure == "accuracy" else worth < 1


def test_silence_scores_0_and_is_counted(name: str, tmp_path: Path) -> None:
    score, answers, _ = examined(lambda asked: "", name, data=str(tmp_path), form="direct")
    assert (score.value, score.unanswered, score.truncated) == (0, len(answers), 0)
    assert all(one.found is None for one in answers)


def test_questions_come_in_one_order_and_none_is_lost(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    questions = task.questions(str(tmp_path))
    assert questions == task.questions(str(tmp_path))
    assert len(questions) == len((tmp_path / f"{name}.jsonl").read_text().splitlines())


def test_hostile_completions_cost_little(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    question = task.questions(str(tmp_path))[0]
    began = time.process_time()
    for text in HOSTILE:
        found = task.read(text, question)
        assert found is None or 0 <= task.score(found, question) <= 1
    assert time.process_time() - began < 0.3 * len(HOSTILE)


def test_every_task_and_group_has_its_yaml(name: str) -> None:
    named = TASKS[name].lm_eval_name
    found = yaml.safe_load((LM_EVAL / f"{named.removeprefix('s2l_')}.yaml").read_text())
    assert found["task"] == named
    assert found["dataset_kwargs"]["benchmark"] == name


# Questions


def test_the_columns_of_published_files_are_read(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"question": "q", "answer": "so it is\n#### 1,200"},
        {"Body": "Ann has 3", "Question": "How many?", "Answer": 3.0},
        {"problem": "p", "solution": "thus $\\boxed{\\frac12}$"},
        {
            "question": "r",
            "answer": "1",
            "output": "It is 1.",
            "skill": "one",
            "program": "print(1)",
        },
    ]
    write(tmp_path / "math.jsonl", rows)
    assert TASKS["math"].questions(str(tmp_path)) == [
        Question("q", "1,200", "so it is\n#### 1,200"),
        Question("Ann has 3. How many?", "3.0"),
        Question("p", "\\frac12", "thus $\\boxed{\\frac12}$"),
        Question("r", "1", "It is 1.", "print(1)", "one"),
    ]


def test_a_file_is_a_task_whose_answers_are_of_the_kind_of_each_reference(tmp_path: Path) -> None:
    rows = [
        {"question": "How many?", "answer": "1,200"},
        {"question": "What part?", "answer": "\\frac{1}{2}"},
        {"question": "Is it?", "answer": "True"},
    ]
    (task,) = find_tasks([write(tmp_path / "my questions.test.jsonl", rows)])
    assert task.name == "my-questions"
    questions = task.questions()
    said = ["The answer is 1200.", "So $\\boxed{0.5}$.", "The answer is True."]
    found = [task.read(text, one) for text, one in zip(said, questions, strict=True)]
    assert [task.score(one or "", q) for one, q in zip(found, questions, strict=True)] == [1, 1, 1]
    (summaries,) = find_tasks([write(tmp_path / "notes.jsonl", NOTES)])
    assert summaries.measure == "rougeL"
    assert [one.reference for one in summaries.questions()] == [
        row["section_text"] for row in NOTES
    ]


def test_what_is_wrong_with_a_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean gsm8k"):
        find_tasks(["gsm8"])
    with pytest.raises(RecipeError, match="cannot be imported"):
        find_tasks(["no_such_module:Task"])
    with pytest.raises(RecipeError, match="is not a Task class"):
        find_tasks(["pathlib:Path"])
    with pytest.raises(MissingArtifact, match="there is no such file"):
        find_tasks([str(tmp_path / "nowhere.jsonl")])
    with pytest.raises(RecipeError, match="two tasks are named svamp"):
        find_tasks(["svamp", write(tmp_path / "svamp.jsonl", SUMS)])
    with pytest.raises(MissingArtifact, match=r"numglue\.jsonl"):
        TASKS["numglue"].questions(None)
    with pytest.raises(MissingArtifact, match="found none"):
        TASKS["gsm8k"].questions(str(tmp_path))
    for text, words in [
        ('{"question": "q"}\n', "line 1: answer"),
        ("nonsense\n", "not JSON"),
        ('{"question": 3, "answer": 3}\n', "line 1: question"),
        ('{"question": "q", "answer": true}\n', "line 1: answer"),
        ("\n", "nothing but white space"),
    ]:
        (tmp_path / "svamp.jsonl").write_text(text)
        with pytest.raises(DataError, match=words):
            TASKS["svamp"].questions(str(tmp_path))


def test_groups_are_tasks_each_once() -> None:
    assert [task.name for task in find_tasks(["s2l_math", "gsm8k"])] == list(GROUPS["s2l_math"])


# What is asked, and what is made of the answers


def test_the_question_alone_follows_where_a_program_fails(tmp_path: Path) -> None:
    said = {
        "Good?": "print('so ' * 1000)\nprint(3 * 4)",
        "Bad?": "print('half')\nprint(1 / 0)",
        "Silent?": "import sys\nprint('y' * 1500 + 'end', end='', file=sys.stderr)",
        "Lost?": "print(1 / 0)",
    }

    def answer(asked: str) -> str | Completed:
        question, _, request = asked.partition(" Let's")
        if request:
            return Completed(said[question], question == "Bad?")
        return "no idea" if question == "Lost?" else "The answer is 12."

    file = write(tmp_path / "mine.jsonl", [{"question": one, "answer": 12} for one in said])
    score, answers, model = examined(answer, file)
    assert [one.score for one in answers] == [1, 1, 1, 0]
    assert [one.form for one in answers] == ["pot", "direct", "direct", "direct"]
    assert [len(one.completions) for one in answers] == [1, 2, 2, 2]
    assert len(model.asked) == 7
    assert (score.value, score.unanswered, score.truncated) == (0.75, 1, 1)
    assert score.failed_programs == {"ZeroDivisionError": 2, "it printed no answer": 1}
    assert answers[1].failed_program == "ZeroDivisionError: division by zero"
    assert answers[1].completions == (said["Bad?"], "The answer is 12.")
    assert [one.printed for one in answers] == [("so " * 667)[:2000] + "…", "half\n", "", ""]
    assert [one.stderr for one in answers] == ["", "", "…" + "y" * 997 + "end", ""]
    assert score == Score.from_plain(json.loads(json.dumps(score.to_plain())))


def test_shots_are_shown_in_the_form_that_is_asked_for_and_none_is_asked(tmp_path: Path) -> None:
    train = [
        SUMS[0] | {"program": "print(4)"},
        {"question": "1+1?", "answer": 2, "program": "print(1 + 1)"},
        {"question": "2+2?", "answer": 4, "solution": "Two and two. The answer is 4."},
    ]
    write(tmp_path / "svamp.jsonl", SUMS)
    with pytest.raises(MissingArtifact, match=r"svamp\.train\.jsonl"):
        examined(lambda asked: "", "svamp", data=str(tmp_path), few_shot=1)
    write(tmp_path / "svamp.train.jsonl", train)
    _, _, model = examined(lambda asked: "", "svamp", data=str(tmp_path), few_shot=1)
    first, last = model.asked[0], model.asked[-1]
    assert [tuple(turn[:2]) for turn in first[:2]] == [
        ("user", "1+1? Let's write a program."), ("assistant", "print(1 + 1)"),
    ]  # fmt: skip
    assert [turn.content for turn in last[:2]] == ["1+1?", "The answer is 2."]
    inputs = Exam(AskingSettings(tasks=("svamp",), data=str(tmp_path), few_shot=1)).inputs()
    assert [one["kind"] for one in inputs] == ["task", "questions"]
    _, _, model = examined(lambda asked: "", "svamp", data=str(tmp_path), few_shot=2, form="cot")
    assert [turn.content for turn in model.asked[0][2:4]] == [
        "2+2? Let's think step by step.", "Two and two. The answer is 4.",
    ]  # fmt: skip
    with pytest.raises(MissingArtifact, match="few_shot is 2, and 1 questions can be shown"):
        examined(lambda asked: "", "svamp", data=str(tmp_path), few_shot=2)
    write(tmp_path / "svamp.train.jsonl", train[2:])
    with pytest.raises(MissingArtifact, match='no text in "program"'):
        examined(lambda asked: "", "svamp", data=str(tmp_path), few_shot=1)


def test_the_sample_data_is_answered_by_its_solutions_and_its_programs(tmp_path: Path) -> None:
    rows = [row for rows in wordproblems.task_rows(seed=3, size=20).values() for row in rows]
    file = write(tmp_path / "sample.jsonl", rows)
    solutions = {row["question"]: row["output"] for row in rows}
    assert examined(solutions.__getitem__, file, form="direct")[0].value == 1
    wrong = {question: f"{text} The answer is 123456789." for question, text in solutions.items()}
    assert examined(wrong.__getitem__, file, form="direct")[0].value == 0
    rng = Random(1)
    problems = [new_problem(skill, rng, reserved=True) for skill in wordproblems.SKILLS]
    programs = {f"{one.question} {wordproblems.PROGRAM_REQUEST}": one.program() for one in problems}
    told = [{"question": one.question, "answer": str(one.answer)} for one in problems]
    write(tmp_path / "all-skills.jsonl", told)
    score, answers, _ = examined(programs.__getitem__, "all-skills", data=str(tmp_path), form="pot")
    assert score.value == 1
    assert all(Fraction(one.reference) == Fraction(one.found or "") for one in answers)


def test_a_task_of_the_table_is_made_of_what_it_is_given() -> None:
    one = Problems("a", "", "number")
    assert one.ask(Question("How many?", "1"), "pot") == "How many? Let's write a program."
    assert one.forms("combined") == ("pot", "direct")
    assert TASKS["mts_dialog"].forms("combined") == ("direct",)
