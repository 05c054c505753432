"""Word problems: what every row, every skill and every task must have."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import math
import re
import string
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from smalltolarge import wordproblems
from smalltolarge.errors import DataError, StaleArtifact
from smalltolarge.wordproblems import IN_DOMAIN, OUT_OF_DOMAIN, PROGRAM_REQUEST, SKILLS, Skill
from smalltolarge.wordproblems.compositions import COMPOSITIONS, Composition
from smalltolarge.wordproblems.files import write_sample_data
from smalltolarge.wordproblems.language import Exact, Noun
from smalltolarge.wordproblems.rows import new_problem, told_again
from smalltolarge.wordproblems.skill import Number, Problem
from smalltolarge.wordproblems.tables import read

NUMBER = r"\d+(?:\.\d+)?(?:/\d+)?"
Row = dict[str, str]
by_skill = pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
by_composition = pytest.mark.parametrize("composition", COMPOSITIONS, ids=lambda pair: pair.name)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(wordproblems.training_rows(12_000, seed=5))


@pytest.fixture(scope="module")
def tasks() -> dict[str, list[Row]]:
    return wordproblems.task_rows(seed=5)


def question_of(row: Row) -> str:
    return row["instruction"].removesuffix(f" {PROGRAM_REQUEST}")


def printed_by(program: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(program, {"__name__": "__main__"})  # noqa: S102
    return out.getvalue()


def problems_of(skill: Skill, *, larger: bool = False) -> Iterator[Problem]:
    """Some problems in every wording of a skill, held-out ones too."""
    rng = Random(f"problems of {skill.name}")
    for wording in 3 * (skill.wordings + skill.held_out):
        yield new_problem(skill, rng, reserved=larger, larger=larger, wordings=(wording,))


def fields_of(template: str) -> set[str]:
    found = set()
    for _, name, spec, _ in string.Formatter().parse(template):
        if name is not None:
            found |= {name, *fields_of(spec or "")}
    return found


def read_back(question: str, wordings: tuple[str, ...], numbers: set[str]) -> dict[str, Exact]:
    """The numbers of a question, read from its text; empty if it is in none of the wordings."""
    for wording in wordings:
        pattern = ""
        for text, name, spec, _ in string.Formatter().parse(wording):
            pattern += re.escape(text)
            if name in numbers:
                again = f"(?P<{name}>" in pattern
                pattern += f"(?P={name})" if again else rf"\$?(?P<{name}>\d+(?:\.\d+)?)"
                pattern += r"(?: [a-z ]+?)?" if spec and spec not in ("$", "02") else ""
            elif name is not None:
                pattern += ".+?"
        if found := re.fullmatch(pattern, question):
            return {name: exact(text) for name, text in found.groupdict().items()}
    return {}


def slips(text: str) -> list[str]:
    """Wrong articles, "1 days", stray braces and blanks, "$2.5", small letters at the start."""
    found = re.finditer(
        r"\b[Aa] (?:[aeiou]|8|11\b|18\b)|\b[Aa]n [^aeiou8]|(?<![\d./$:])\b1 [a-z]+s\b"
        r"|  |[{}]|\$\d+\.\d(?!\d)|(?:^|[.?] )[a-z]",
        text,
    )
    return [match[0] for match in found]


def exact(text: str) -> Exact:
    return int(text) if text.isdigit() else Fraction(text)


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


# Every answer


@by_skill
def test_answer_chain_of_thought_and_program_agree(skill: Skill) -> None:
    for problem in itertools.chain(problems_of(skill), problems_of(skill, larger=True)):
        assert printed_by(problem.program()) == f"{problem.answer}\n"
        assert problem.chain_of_thought(Random(0)).endswith(f" The answer is {problem.answer}.")


@by_skill
def test_every_equation_of_a_chain_of_thought_is_true(skill: Skill) -> None:
    for problem in problems_of(skill):
        text = problem.chain_of_thought(Random(0)).replace("$", "")
        equations = re.findall(r"((?:\(|\d)[\d.+\-*/() ]*) = (\d[\d./]*\d|\d)", text)
        for left, right in equations:
            on_fractions = re.sub(r"\d+(?:\.\d+)?", r"Fraction('\g<0>')", left)
            value = eval(on_fractions, {"Fraction": Fraction})  # noqa: S307
            assert value == Fraction(right), (left, right)
        assert len(equations) == text.count(" = ") > 0


def by_search(candidates: range, fits: Callable[[int], bool]) -> int:
    return next(candidate for candidate in candidates if fits(candidate))


# The same answers, found in another way than the skill's own steps.
OTHERWISE: dict[str, Callable[..., Fraction | int]] = {
    "area": lambda length, width, side: sum(
        not (x < side and y < side) for x in range(length) for y in range(width)
    ),
    "arithmetic-sequence": lambda first, step, rows: sum(first + step * r for r in range(rows)),
    "combinations": lambda girls, chosen_girls, boys, chosen_boys: (
        len(list(itertools.combinations(range(girls), chosen_girls)))
        * len(list(itertools.combinations(range(boys), chosen_boys)))
    ),
    "common-multiple": lambda first, second: by_search(
        range(1, first * second + 1), lambda n: n % first == 0 and n % second == 0
    ),
    "discount": lambda price, percent: price * (1 - Fraction(percent, 100)),
    "fraction-of": lambda total, part, parts: total * (1 - Fraction(part, parts)),
    "meeting": lambda distance, speed, other_speed: 1 / Fraction(speed + other_speed, distance),
    "mixture": lambda first, first_percent, second, second_percent: Fraction(
        sum([first_percent] * first + [second_percent] * second), first + second
    ),
    "percent-change": lambda old, new: (Fraction(new, old) - 1) * 100,
    "probability": lambda red, blue, green: Fraction(red, red + blue + green),
    "profit": lambda count, cost, price: count * (price - cost),
    "ratio-sharing": lambda total, left, right: total - total * Fraction(right, left + right),
    "remainder": lambda total, size: total % size,
    "time-interval": lambda start_hour, start_minute, end_hour, end_minute, days: (
        ((end_hour - start_hour) * 60 + end_minute - start_minute) * days
    ),
    "two-unknowns": lambda tickets, adult_price, child_price, income: by_search(
        range(tickets), lambda n: n * adult_price + (tickets - n) * child_price == income
    ),
    "unit-price": lambda pack, pack_price, wanted: Fraction(wanted, pack) * pack_price,
    "work-together": lambda first, second: 1 / (Fraction(1, first) + Fraction(1, second)),
    "workers-days": lambda workers, days, others: days * Fraction(workers, others),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_another_way_of_solving_gives_the_same_answer(name: str) -> None:
    skill = next(skill for skill in SKILLS if skill.name == name)
    for problem in problems_of(skill):
        given = {number: problem.values[number] for number in skill.numbers}
        assert Fraction(problem.answer) == OTHERWISE[name](**given)


def test_every_program_of_a_sample_prints_one_number_and_starts_from_its_question(
    rows: list[Row],
) -> None:
    programs = [row for row in rows if row["source"].startswith("pot/")]
    by_source = sorted(programs, key=lambda row: row["source"])[::12]
    assert len({row["source"] for row in by_source}) == len(SKILLS)
    for row in by_source:
        assert re.fullmatch(f"{NUMBER}\n", printed_by(row["output"]))
        given = re.findall(r"^\w+ = ([\d.]+)$", row["output"], flags=re.MULTILINE)
        stated = {Fraction(n) for n in re.findall(r"\d+(?:\.\d+)?", row["instruction"])}
        assert {Fraction(n) for n in given} <= stated


def test_every_stated_answer_of_a_sample_is_clean(rows: list[Row]) -> None:
    for row in rows:
        if row["source"].startswith("cot/"):
            (answer,) = re.findall(rf" The answer is ({NUMBER})\.$", row["output"])
            assert Fraction(answer) > 0
            assert "/" not in answer or row["source"] == "cot/probability"


# Every skill


def test_there_are_many_skills_with_many_wordings() -> None:
    assert len({skill.name for skill in SKILLS}) == len(SKILLS) >= 24
    for skill in SKILLS:
        wordings = skill.wordings + skill.held_out
        assert len(set(wordings)) == len(wordings)
        assert len(skill.wordings) >= 6
        assert len(skill.held_out) >= 2


@by_skill
def test_every_wording_states_every_number_and_nothing_else(skill: Skill) -> None:
    # This is what keeps test questions apart: other numbers make another question.
    allowed = {"name", "friend", "he", "He", "his", *skill.cast, *skill.numbers}
    for wording in skill.wordings + skill.held_out:
        assert set(skill.numbers) <= fields_of(wording) <= allowed, wording


@by_skill
def test_the_english_has_no_common_slips(skill: Skill) -> None:
    for problem in itertools.chain(problems_of(skill), problems_of(skill, larger=True)):
        for text in (problem.question, problem.chain_of_thought(Random(1))):
            assert not slips(text), text


@by_skill
def test_nouns_are_all_different_within_a_problem(skill: Skill) -> None:
    for problem in problems_of(skill):
        slots = ["name", "friend", *skill.cast]
        assert len({problem.cast[slot] for slot in slots}) == len(slots)


def test_a_number_is_read_as_a_list_or_a_range() -> None:
    assert list(Number.read("2, 3, 5", "9").larger) == [9]
    assert list(Number.read("2, 3, 5").usual) == [2, 3, 5]
    assert list(Number.read("2 to 12 by 5").usual) == [2, 7, 12]
    assert list(Number.read("1 to 2 by 0.25").usual) == [Fraction(n, 4) for n in range(4, 9)]


@pytest.mark.parametrize("step", ["x = a.real", "x = [a]", "x = 'a'.upper()", "import os", "del a"])
def test_a_step_that_is_more_than_arithmetic_is_refused(step: str) -> None:
    skill = replace(SKILLS[0], name="odd", steps=(step,))
    with pytest.raises(ValueError, match="a step of a skill holds more than arithmetic"):
        skill.solve({"a": 1})


def test_an_entry_with_a_key_that_is_none_is_refused() -> None:
    entry = read("skills")["skill"][0]
    with pytest.raises(TypeError, match="plces"):
        Skill.read({**entry, "plces": 2})


# Training rows


def test_a_row_has_an_instruction_an_output_and_a_source(rows: list[Row]) -> None:
    for row in rows:
        assert list(row) == ["instruction", "output", "source"]
        assert row["instruction"].endswith(PROGRAM_REQUEST) == row["source"].startswith("pot/")
    names = {f"{kind}/{skill.name}" for kind in ("cot", "pot") for skill in SKILLS}
    assert {row["source"] for row in rows} == names


def test_frequencies_fall_off_like_zipf(rows: list[Row]) -> None:
    counts = Counter(row["source"].partition("/")[2] for row in rows)
    harmonic = sum(1 / rank for rank in range(1, len(SKILLS) + 1))
    for rank, skill in enumerate(SKILLS, start=1):
        expected = len(rows) / (rank * harmonic)
        assert abs(counts[skill.name] - expected) < 4.5 * math.sqrt(expected)
    points = [(math.log(r), math.log(counts[s.name])) for r, s in enumerate(SKILLS, start=1)]
    mean_x, mean_y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum(
        (x - mean_x) ** 2 for x, _ in points
    )
    assert -1.1 < slope < -0.9


def repeated_share(rows: list[Row], skill: Skill) -> float:
    """The share of a skill's rows whose numbers an earlier row of it has."""
    mine = [row for row in rows if row["source"].endswith(f"/{skill.name}")]
    numbers = [tuple(sorted(re.findall(r"\d+(?:\.\d+)?", question_of(row)))) for row in mine]
    return 1 - len(set(numbers)) / len(numbers)


def test_frequent_skills_have_the_documented_share_of_near_duplicates(rows: list[Row]) -> None:
    share = wordproblems.NEAR_DUPLICATE_SHARE
    shares = {skill.name: repeated_share(rows, skill) for skill in SKILLS}
    for skill in wordproblems.FREQUENT:
        assert shares[skill.name] > share - 0.06
    # Where there are too many numbers for chance repeats, the share is exact, or none.
    assert abs(shares["shopping-total"] - share) < 0.05
    assert abs(shares["average"] - share) < 0.06
    assert shares["profit"] < 0.03
    assert shares["two-unknowns"] < 0.03


def test_a_near_duplicate_keeps_the_numbers_and_changes_the_cast_or_the_wording() -> None:
    rng = Random(2)
    for skill in wordproblems.FREQUENT:
        changed = set()
        for problem in problems_of(skill):
            again = told_again(problem, rng)
            assert again.values == problem.values
            assert again.question != problem.question
            changed.add((again.cast != problem.cast, again.wording != problem.wording))
        assert changed == {(True, False), (False, True)}


def test_training_rows_are_in_training_wordings_and_numbers(rows: list[Row]) -> None:
    # So held-out wordings, and numbers kept for tests, are never trained on.
    skills = {skill.name: skill for skill in SKILLS}
    for row in rows[::3]:
        skill = skills[row["source"].partition("/")[2]]
        read = read_back(question_of(row), skill.wordings, set(skill.numbers))
        assert read.keys() == skill.numbers.keys()
        assert not skill.is_reserved(read)
        assert not read_back(question_of(row), skill.held_out, set(skill.numbers))


def test_fewer_rows_are_the_first_of_more(rows: list[Row]) -> None:
    assert list(wordproblems.training_rows(300, seed=5)) == rows[:300]


def test_another_seed_gives_other_rows(rows: list[Row], tasks: dict[str, list[Row]]) -> None:
    other = list(wordproblems.training_rows(300, seed=6))
    assert len({question_of(row) for row in other} - {question_of(row) for row in rows}) > 270
    other_tasks = wordproblems.task_rows(seed=6, size=50)
    for name, task in other_tasks.items():
        mine = {row["question"] for row in tasks[name]}
        assert len({row["question"] for row in task} - mine) > 40


def test_a_seed_gives_the_same_rows_on_every_machine(rows: list[Row]) -> None:
    # Strings hash differently in every process, so an order taken from a set would show here.
    # A change to any wording changes these two on purpose: then write down the new ones.
    assert digest(rows[:500]) == "59290f24bb27dbf7"
    assert digest(wordproblems.task_rows(seed=5, size=60)) == "10a52f1eb6559554"


def test_a_worked_solution_ends_in_the_answer(tasks: dict[str, list[Row]]) -> None:
    for row in (row for task in tasks.values() for row in task):
        assert row["output"].endswith(f" The answer is {row['answer']}.")


def test_sample_data_is_the_same_bytes_on_every_machine(tmp_path: Path) -> None:
    files = write_sample_data(tmp_path, 50, seed=3)
    whole = b"".join(path.read_bytes() for path in files)
    assert hashlib.sha256(whole).hexdigest()[:16] == "78079ca7bdf6263f"


# Tasks


def test_there_are_three_suites_in_domain_and_three_out_of_it(
    tasks: dict[str, list[Row]],
) -> None:
    assert tuple(tasks) == IN_DOMAIN + OUT_OF_DOMAIN
    assert len(IN_DOMAIN) == len(OUT_OF_DOMAIN) == 3
    for task in tasks.values():
        assert len(task) == 200
        assert all(list(row) == ["question", "answer", "output", "skill"] for row in task)


def test_no_question_occurs_twice_in_the_tasks(tasks: dict[str, list[Row]]) -> None:
    questions = [row["question"] for task in tasks.values() for row in task]
    assert len(set(questions)) == len(questions)


def test_no_test_question_is_in_the_training_rows(
    rows: list[Row], tasks: dict[str, list[Row]]
) -> None:
    trained = {question_of(row) for row in rows}
    trained |= {question_of(row) for row in wordproblems.training_rows(3000, seed=7)}
    for task in tasks.values():
        assert not trained & {row["question"] for row in task}


def test_tasks_hold_the_skills_they_are_named_for(tasks: dict[str, list[Row]]) -> None:
    def names(skills: tuple[Skill, ...]) -> set[str]:
        return {skill.name for skill in skills}

    held = {name: {row["skill"] for row in task} for name, task in tasks.items()}
    assert held["frequent-skills"] == names(wordproblems.FREQUENT)
    assert held["rare-skills"] == names(wordproblems.RARE)
    for name in ("all-skills", "other-wordings", "larger-numbers"):
        assert held[name] == names(SKILLS)
    assert held["composed-skills"] == {composition.name for composition in COMPOSITIONS}


def test_questions_of_a_task_are_what_it_is_named_for(tasks: dict[str, list[Row]]) -> None:
    skills = {skill.name: skill for skill in SKILLS}
    for name in (*IN_DOMAIN, "other-wordings", "larger-numbers"):
        for row in tasks[name]:
            skill = skills[row["skill"]]
            wordings = skill.held_out if name == "other-wordings" else skill.wordings
            read = read_back(row["question"], wordings, set(skill.numbers))
            assert skill.is_reserved(read)
            solved = skill.solve(read)
            assert solved is not None
            assert Fraction(row["answer"]) == list(solved.values())[-1]
            larger = [
                read[key] > max(number.usual)
                if name == "larger-numbers"
                else read[key] in number.usual
                for key, number in skill.numbers.items()
                if number.larger
            ]
            assert larger
            assert all(larger)


@by_composition
def test_a_composition_states_the_numbers_of_both_skills_but_the_one_passed_on(
    composition: Composition,
) -> None:
    assert len(composition.wordings) >= 2
    second = {f"then_{name}" for name in composition.second.numbers if name != composition.link}
    for wording in composition.wordings:
        assert {*composition.first.numbers, *second} <= fields_of(wording)


@by_composition
def test_the_answer_of_a_composition_is_the_second_skill_on_the_answer_of_the_first(
    composition: Composition,
) -> None:
    rng = Random(3)
    for _ in range(5):
        question, answer, _ = composition.problem(rng)
        assert Fraction(answer) > 0
        assert not slips(question)
        # What the question states, read back from its text, gives the answer again.
        later = {f"then_{name}" for name in composition.second.numbers}
        read = read_back(question, composition.wordings, later | set(composition.first.numbers))
        first = {name: read[name] for name in composition.first.numbers}
        link = composition.first.solve(first)
        assert link is not None
        second = {k.removeprefix("then_"): v for k, v in read.items() if k.startswith("then_")}
        second[composition.link] = list(link.values())[-1]
        solved = composition.second.solve(second)
        assert solved is not None
        assert list(solved.values())[-1] == Fraction(answer)


# The package


def test_a_size_that_cannot_be_had_is_refused_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    skill = next(skill for skill in SKILLS if skill.name == "combinations")
    one_telling = replace(skill, wordings=skill.wordings[:1], cast={"team": (Noun("team"),)})
    monkeypatch.setattr("smalltolarge.wordproblems.rows.FREQUENT", (one_telling,))
    with pytest.raises(DataError, match="ask for a smaller size"):
        wordproblems.task_rows(seed=1, size=60)


def test_it_needs_the_standard_library_alone() -> None:
    code = (
        "import sys, smalltolarge.wordproblems as w; list(w.training_rows(5, seed=1)); "
        "print([m for m in ('numpy', 'torch', 'pyarrow', 'pydantic') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_sample_data_never_replaces_other_files_unasked(tmp_path: Path) -> None:
    first = write_sample_data(tmp_path, 5, seed=1)
    assert write_sample_data(tmp_path, 5, seed=1) == first
    (tmp_path / "train.jsonl").write_text("mine")
    task = next(path for path in first if path.parent.name == "test")
    task.write_text("mine")
    with pytest.raises(StaleArtifact, match="train.jsonl, .*--overwrite") as caught:
        write_sample_data(tmp_path, 5, seed=1)
    assert str(task) in str(caught.value)
    assert task.read_text() == "mine"
    assert write_sample_data(tmp_path, 5, seed=1, overwrite=True) == first
    assert task.read_text() != "mine"
