"""The answer stated last is found, and equal answers are equal, however they are written."""

from __future__ import annotations

import json
import threading
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalltolarge.evaluation.answers import Kind, find_answer, find_printed
from smalltolarge.evaluation.equivalence import is_equal

from .conftest import real

CHOICE = "Which offers more resistance?\nAnswer Choices: (A) web (B) tree"
WORDINGS = [
    "So it goes.\nThe answer is {}",
    "The answer is: {}.",
    "#### {}",
    "Final answer: {}",
    "**Answer:** {}",
    "The answer is {}.\n\n### Instruction:\nWhat is 1 + 1? The answer is 999983",
]


def right(completion: str, reference: str, kind: Kind, question: str = "?") -> bool:
    found = find_answer(completion, kind, question)
    return found is not None and is_equal(found, reference, kind, question)


@pytest.mark.parametrize(
    ("completion", "reference", "kind"),
    [
        ("the answer is 13, no wait 12", "12", "number"),
        ("The answer is 12, not 13", "12", "number"),
        ("First 5. The answer is 7. The answer is 8.", "8", "number"),
        ("The answer is $1,234.50.", "1234.5", "number"),
        ("The answer is 18 dollars", "18", "number"),
        ("The answer is −3", "-3", "number"),
        ("The answer is 2/4", "1/2", "number"),
        ("that makes 3 + 4 = 7 apples", "7", "number"),
        ("The answer is 25.9259", "25.93", "number"),
        (r"Thus \boxed{\frac{3}{6}}", r"\frac12", "latex"),
        (r"The answer is $[-2,7]$", r"x \in [-2,7]", "latex"),
        (r"The answer is $6,4,15,14$", "4,6,14,15", "latex"),
        (r"The answer is $\frac{2+x}{7}$", r"\dfrac{x+2}{7}", "latex"),
        ("The answer is -57 - 2*x - x**2", "-x**2 - 2*x - 57", "mixed"),
        ("The answer is True", "True", "mixed"),
        ("The answer is 1363", "1363.0", "mixed"),
        ("The answer is 15 novelists and 9 poets", "15", "unknowns"),
        ("The answer is x = 9, y = 15", "15", "unknowns"),
        ("The answer is friday.", "Friday", "numglue"),
    ],
)
def test_the_answer_stated_last_is_found(completion: str, reference: str, kind: Kind) -> None:
    assert right(completion, reference, kind)


@pytest.mark.parametrize(
    ("completion", "reference", "kind"),
    [
        ("The answer is 12, no wait 13", "12", "number"),
        ("The answer is 120", "12", "number"),
        ("The answer is -12", "12", "number"),
        ("The answer is 25.94", "25.93", "number"),
        ("The answer is $(3, 5)$", "(5, 3)", "latex"),
        (r"The answer is $\frac{x+3}{7}$", r"\frac{x+2}{7}", "latex"),
        ("The answer is x**2 + 2*x", "x**2 - 2*x", "mixed"),
        ("The answer is False", "True", "mixed"),
        ("The answer is 14 and 10", "15", "unknowns"),
        ("The answer is Monday", "Friday", "numglue"),
        ("I do not know.", "12", "number"),
        ("", "12", "number"),
    ],
)
def test_another_answer_is_not_equal(completion: str, reference: str, kind: Kind) -> None:
    assert not right(completion, reference, kind)


@pytest.mark.parametrize("stated", ["B", "(B)", "(B) tree", "b.", "tree"])
def test_a_choice_is_its_letter_or_its_text(stated: str) -> None:
    assert right(f"The answer is {stated}", "B", "numglue", CHOICE)
    assert not right(f"The answer is {stated}", "A", "numglue", CHOICE)


@pytest.mark.parametrize(
    ("printed", "reference", "kind"),
    [
        ("5\n12.0\n", "12", "number"),
        ("17.999999999999996", "18", "number"),
        ("1/2", "0.5", "number"),
        ("{x: 15, y: 9}", "9", "unknowns"),
        ("[15, 9]", "15", "unknowns"),
        ("The answer is 12", "12", "number"),
        ("sqrt(2)/2", r"\frac{\sqrt{2}}{2}", "latex"),
    ],
)
def test_what_a_program_prints_last_counts(printed: str, reference: str, kind: Kind) -> None:
    found = find_printed(printed, kind, "?")
    assert found is not None
    assert is_equal(found, reference, kind, "?")


@given(st.integers(-(10**6), 10**6), st.integers(1, 99), st.integers(1, 9))
def test_equal_fractions_are_equal_in_latex_and_in_words(up: int, down: int, by: int) -> None:
    value = Fraction(up, down)
    latex = rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    assert is_equal(f"{up * by}/{down * by}", str(value), "number", "?")
    assert is_equal(rf"\frac{{{up * by}}}{{{down * by}}}", latex, "latex", "?")
    assert not is_equal(f"{up + 1}/{down}", str(value), "number", "?")


@given(st.lists(st.integers(-99, 99), min_size=2, max_size=4, unique=True))
def test_a_set_has_no_order_and_a_tuple_has_one(members: list[int]) -> None:
    orders = list(permutations(members))
    for other in orders[:6]:
        one, two = (", ".join(map(str, each)) for each in (members, other))
        assert is_equal(rf"\{{{one}\}}", rf"\{{{two}\}}", "latex", "?")
        assert is_equal(f"({one})", f"({two})", "latex", "?") == (list(other) == members)


@settings(deadline=None)
@given(st.text(max_size=300), st.sampled_from(["number", "latex", "mixed", "numglue", "unknowns"]))
def test_no_text_raises(text: str, kind: Kind) -> None:
    found = find_answer(text, kind, CHOICE)
    find_printed(text, kind, text)
    is_equal(found or text, "12", kind, text)


def test_a_power_tower_is_not_computed_and_any_thread_will_do() -> None:
    seen: list[bool] = []
    hostile = "9^{9^{9^{9^{9}}}}"
    thread = threading.Thread(target=lambda: seen.append(is_equal(hostile, "1", "latex", "?")))
    thread.start()
    thread.join(timeout=20)
    assert seen == [False]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("eval/gsm8k.jsonl", "number"),
        ("eval/svamp.jsonl", "number"),
        ("eval/numglue.jsonl", "numglue"),
        ("eval_samples/math.20.jsonl", "latex"),
        ("eval_samples/mathematics.20.jsonl", "mixed"),
        ("eval_samples/simuleq.20.jsonl", "unknowns"),
    ],
)
def test_every_gold_answer_is_right_in_any_wording_and_near_misses_are_not(
    file: str, kind: Kind
) -> None:
    for line in real(file).open(encoding="utf-8"):
        row = json.loads(line)
        question, answer = row["question"], str(row["answer"])
        written = f"${answer}$" if kind == "latex" else answer
        for wording in WORDINGS:
            assert right(wording.format(written), answer, kind, question), (wording, answer)
        printed = find_printed(f"{answer}\n", kind, question)
        assert printed is not None
        assert is_equal(printed, answer, kind, question), answer
        try:
            value = float(answer)
        except ValueError:
            misses = ["A" if answer == "B" else "B", "nonsense"]
        else:
            misses = [repr(value + 1), repr(value - 1), repr(10 * value or 5), repr(-value or 5)]
        for miss in misses:
            assert not is_equal(miss, answer, kind, question), (miss, answer)


@pytest.mark.real_data
def test_published_solutions_are_judged_as_published() -> None:
    for line in real("eval/gsm8k_model_solutions.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        reference = row["ground_truth"].rpartition("A:")[2].strip()
        for model in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
            found = row[model]
            judged = right(found["solution"], reference, "number", row["question"])
            assert judged == found["is_correct"], found["solution"]
