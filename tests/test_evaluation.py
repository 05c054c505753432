"""Questions and scores: the number stated last, exactly, or nothing."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalltolarge import wordproblems
from smalltolarge.errors import DataError, MissingArtifact, RecipeError
from smalltolarge.evaluation import Question, Suite, find_suites
from smalltolarge.evaluation.programs import NotArithmetic, run_program
from smalltolarge.examples import Message
from smalltolarge.wordproblems.rows import new_problem

SUITE = Suite("suite", Path("nowhere"))


def score(completion: str, reference: str) -> tuple[str | None, float]:
    return SUITE.score(completion, Question((Message("user", "?"),), reference))


@pytest.mark.parametrize(
    ("completion", "reference", "found", "worth"),
    [
        ("2 * 6 = 12. The answer is 12.", "12", "12", 1.0),
        ("The answer is 12", "12", "12", 1.0),
        ("the answer is: $1,200.50.", "1200.5", "1,200.50", 1.0),
        ("The answer is 13. No, wait: the answer is 12.", "12", "12", 1.0),
        ("The answer is 12. No, wait: the answer is 13.", "12", "13", 0.0),
        ("The answer is 2/4.", "1/2", "2/4", 1.0),
        ("The answer is 0.5.", "1/2", "0.5", 1.0),
        ("The answer is -3.", "-3", "-3", 1.0),
        ("The answer is 120.", "12", "120", 0.0),
        ("The answer is 12.5.", "12", "12.5", 0.0),
        ("The answer is 1/0.", "12", "1/0", 0.0),
        ("12", "12", None, 0.0),
        ("The answer is twelve.", "12", None, 0.0),
        ("", "12", None, 0.0),
    ],
)
def test_the_number_stated_last_counts(
    completion: str, reference: str, found: str | None, worth: float
) -> None:
    assert score(completion, reference) == (found, worth)


@given(st.integers(-(10**9), 10**9), st.integers(1, 999))
def test_equal_fractions_are_equal_and_others_are_not(numerator: int, denominator: int) -> None:
    reference = f"{numerator}/{denominator}"
    assert score(f"The answer is {3 * numerator}/{3 * denominator}.", reference)[1] == 1.0
    assert score(f"The answer is {numerator + 1}/{denominator}.", reference)[1] == 0.0


def test_every_worked_solution_of_the_sample_data_scores_1() -> None:
    for rows in wordproblems.test_suites(seed=3, size=40).values():
        for row in rows:
            assert score(row["output"], row["answer"])[1] == 1.0
            assert score(row["output"] + " The answer is 123456789.", row["answer"])[1] == 0.0


def test_the_result_of_a_task_counts_answers_and_cuts(tmp_path: Path) -> None:
    file = tmp_path / "suite.jsonl"
    file.write_text("".join(json.dumps({"question": "?", "answer": n}) + "\n" for n in range(4)))
    (suite,) = find_suites([str(tmp_path)])
    assert not suite.has_solutions
    completions = [
        ("The answer is 0.", False),
        ("The answer is 9.", False),
        ("so", True),
        ("", False),
    ]
    found = suite.judge(completions, suite.questions())
    assert (found.accuracy, found.unanswered, found.cut) == (0.25, 2, 1)
    assert found.standard_error == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: a JSON object"),
        ('{"question": "?"}', "line 2: a JSON object"),
        ('{"question": "?", "answer": "many"}', "the answer a number, found many"),
        ('{"question": 3, "answer": "3"}', "the question is a text"),
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "suite.jsonl"
    file.write_text('{"question": "?", "answer": "1"}\n' + line + "\n")
    with pytest.raises(DataError, match=words):
        find_suites([str(file)])[0].questions()


def test_suites_that_are_not_there_or_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="no suite of questions"):
        find_suites([str(tmp_path)])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jsonl").write_text("")
    with pytest.raises(RecipeError, match="two suites are named x"):
        find_suites([str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(DataError, match="holds no questions"):
        find_suites([str(tmp_path / "a")])[0].questions()


def test_every_program_of_the_sample_data_gives_its_answer() -> None:
    rng = Random(1)
    for skill in wordproblems.SKILLS:
        for _ in range(20):
            problem = new_problem(skill, rng, reserved=True)
            assert Fraction(run_program(problem.program())) == Fraction(problem.answer)


@pytest.mark.parametrize(
    "program",
    [
        "import os", "from os import system", "import math as m\nprint(m)", "print(open('x'))",
        "print(().__class__)", "print('a')", "while True: pass", "def f(): return 1\nprint(f())",
        "x = 10**9\nprint(x)", "x = 9\n" + "x = x * x\n" * 300 + "print(x)", "x = 1 / 0\nprint(x)",
        "print(comb(1000000000, 5))", "print(f'{3:999999999d}')", "print(1, 2)", "print(y)",
        "x = 1e308 * 10\nprint(x)", "x = 5", "", "print(" * 300 + "1" + ")" * 300,
        "x = 1\n" * 3000 + "print(x)", "print(1", "[1, 2]", "x = y = 1\nprint(x)", "print(max())",
        "print(int('7'))", "print(f'{1}{2}')", "print(True)", "print(1j)", "print(gcd(0.5, 1))",
        "print(eval)", "print(round(1.5, ndigits=1))", "x: int = 1\nprint(x)",
        "from math import factorial\nprint(factorial(9))", "print(sum([1, 2]))", "print(-'1')",
    ],
)  # fmt: skip
def test_a_program_that_is_not_arithmetic_is_not_run(program: str) -> None:
    with pytest.raises(NotArithmetic):
        run_program(program)


@given(
    st.lists(st.integers(-50, 50), min_size=2, max_size=6),
    st.lists(st.sampled_from("+-*/"), min_size=5, max_size=5),
)
def test_a_calculation_gives_what_python_gives(numbers: list[int], signs: list[str]) -> None:
    line = "".join(f"{sign} ({n}) " for sign, n in zip(signs, numbers[1:], strict=False))
    expression = f"({numbers[0]}) {line}"
    program = f"x = {expression}\nprint(x)"
    try:
        wanted = str(eval(expression, {"__builtins__": {}}))  # noqa: S307  made here
    except ZeroDivisionError:
        with pytest.raises(NotArithmetic):
            run_program(program)
    else:
        assert run_program(program) == wanted


def test_a_suite_of_programs_asks_for_one_and_runs_it(tmp_path: Path) -> None:
    file = tmp_path / "suite.jsonl"
    file.write_text(json.dumps({"question": "2 of 3?", "answer": "2/3"}) + "\n")
    (suite,) = find_suites([str(file)], "program")
    (question,) = suite.questions()
    assert question.prompt[-1][1] == f"2 of 3? {wordproblems.PROGRAM_REQUEST}"
    right = "from fractions import Fraction\npart = Fraction(2, 3)\nprint(part)"
    assert suite.score(right, question) == ("2/3", 1.0)
    assert suite.score("print(2 / 3)", question)[1] == 0.0
    assert suite.score("The answer is 2/3.", question) == (None, 0.0)
