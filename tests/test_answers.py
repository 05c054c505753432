"""The answer stated last is found, and equal answers are equal, however they are written."""

from __future__ import annotations

import json
import re
import threading
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalltolarge.evaluation.answers import find_answer, find_printed, find_reference
from smalltolarge.evaluation.equivalence import Kind, is_equal

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


@pytest.mark.parametrize(
    ("completion", "reference", "kind"),
    [
        # A number in words after formulas.
        (r"The roots are $t=4$ and $t=-1$. So there are 2 roots.", "2", "latex"),
        (r"As $n=3$, the value of $n^2$ is 9.", "9", "latex"),
        (r"We get $k = 7$, which means $3k = 21$.", "21", "latex"),
        (r"The answer is $n$ = 6.", "6", "latex"),
        (r"There are $5$ primes where the sum of the digits is 7.", "5", "latex"),
        ("\\begin{align*}\na &= 3 + 4 \\\\\n&= 7.\n\\end{align*}", "7", "latex"),
        # Headings of its own.
        ("Question 1: is it odd?\nYes.\nThe answer is $8$.", "8", "latex"),
        ("#### Step 1: multiply by 3\n4 * 3 = 12", "12", "number"),
        # Word problems.
        ("It will take her 6 hours to paint 14 doors.", "6", "number"),
        ("42 coins / 6 coins per box = 7 boxes", "7", "number"),
        ("The answer is 13. But wait, I forgot one, so it is 12.", "12", "number"),
        # Unknowns on lines of their own.
        ("Hens: 15\nCows: 9", "15", "unknowns"),
        ("| hens | 15 |\n| cows | 9 |", "15", "unknowns"),
        # Backslashes out of a JSON text.
        (r"It is $\\frac{1}{2}$.", r"\frac12", "latex"),
        (r"So $x=\boxed{3}$ or $x=\boxed{5}$.", "3,5", "latex"),
        (r"It is $\\boxed{5 \\, \\text{km}}$.", "5", "latex"),
        # A heading ends nothing before an answer was stated.
        ("So $x=2$.\n## Task 1\nThe answer is $8$.", "8", "latex"),
        # Powers and units.
        ("The answer is 9^2.", "81", "number"),
        ("The answer is $7 square inches$.", "7", "latex"),
        ("The answer is\n\n(B)", "B", "numglue"),
    ],
)
def test_what_a_careful_reader_takes_for_the_answer(
    completion: str, reference: str, kind: Kind
) -> None:
    assert right(completion, reference, kind, CHOICE if kind == "numglue" else "?")


@pytest.mark.parametrize(("unit", "reference"), [("minutes", "200"), ("hours", "10/3")])
def test_hours_and_minutes_are_said_in_the_unit_asked_for(unit: str, reference: str) -> None:
    question = f"How many {unit} does it take?"
    assert right("The answer is 3 hours and 20 minutes.", reference, "number", question)
    assert not right("The answer is 3 hours and 20 minutes.", "3", "number", question)


@pytest.mark.parametrize(
    ("completion", "reference", "kind"),
    [
        ("The answer is 12 or 13.", "12", "number"),
        ("The answer is 12 or -12.", "12", "number"),
        ("The answer is 12^2.", "12", "number"),
        ("So 5 + 7 = 12. I cannot solve this.", "12", "number"),
        ("It could be (A) or (B).", "A", "numglue"),
        ("The answer is between 12 and 13.", "13", "number"),
        ("The answer is not 12.", "12", "number"),
        ("One of them is left.", "1", "number"),
        ("The answer is 15 or 16.", "15", "unknowns"),
        (r"The answer is $12$. So there are 13 of them.", "12", "latex"),
        (r"\boxed{13}, and not \boxed{12}", "12", "latex"),
    ],
)
def test_a_hedge_or_a_denial_is_no_answer(completion: str, reference: str, kind: Kind) -> None:
    assert not right(completion, reference, kind, CHOICE if kind == "numglue" else "?")


def test_a_reference_is_the_last_box_or_all_boxes_where_several_are_asked_for() -> None:
    solution = r"First \boxed{4}. Then \boxed{6} follows. This answer is the largest."
    assert find_reference(solution, "Find it.") == "6"
    assert find_reference(solution, "Find all values, separated by commas.") == "4, 6"


@pytest.mark.parametrize(
    "printed",
    [
        "Sum: 12",
        "She has $12 left today.",
        "12\nNone",
        "12\nDone!",
        "{'sum': 12}",
        "apples 3\nsum 12",
    ],
)
def test_a_number_is_found_in_printed_words(printed: str) -> None:
    found = find_printed(printed, "number", "?")
    assert found is not None
    assert is_equal(found, "12", "number", "?")


def test_a_printed_arrow_is_no_answer() -> None:
    assert find_printed("=>", "unknowns", "?") is None


def test_two_printed_values_are_no_single_one() -> None:
    found = find_printed("3 hens and 4 eggs", "number", "?")
    assert found is not None
    assert not is_equal(found, "4", "number", "?")


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
        is_number = re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", answer)
        value = float(answer) if is_number else 0.0
        printed = [answer]
        misses = ["A" if answer == "B" else "B", "nonsense"]
        if is_number:
            printed += [] if kind == "latex" else [repr(value), f"[{value}]", f"{{x: {value}}}"]
            misses = [repr(value + 1), repr(value - 1), repr(10 * value or 5), repr(-value or 5)]
            misses += [repr(value + 0.01)]
        for text in printed:
            found = find_printed(f"{text}\n", kind, question)
            assert found is not None
            assert is_equal(found, answer, kind, question), text
        for miss in misses:
            assert not right(f"The answer is {miss}", answer, kind, question), (miss, answer)


@pytest.mark.real_data
def test_published_solutions_are_judged_as_published() -> None:
    for line in real("eval/gsm8k_model_solutions.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        reference = row["ground_truth"].rpartition("A:")[2].strip()
        for model in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
            found = row[model]
            judged = right(found["solution"], reference, "number", row["question"])
            assert judged == found["is_correct"], found["solution"]
