"""A corpus of word problems, retellings and number facts, to pretrain small models on.

Every skill has an equal share, in all of its wordings. Solutions are lines of "name = expression =
value", never the sentences of the training rows, and no document ends in an answer sentence. The
numbers that are kept for tests are never drawn, and compositions of skills are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import cycle
from random import Random

from smalltolarge.wordproblems import SKILLS, Skill, task_rows
from smalltolarge.wordproblems.language import Exact, Shown, number_text
from smalltolarge.wordproblems.rows import new_problem
from smalltolarge.wordproblems.skill import Problem, draw_cast, pick

FACTS_SHARE = 0.5
"""Of the documents, the share that holds number facts alone."""
LARGER_SHARE = 0.25
"""Of the problems and facts, the share with larger numbers."""
FACTS = 12
"""Number facts of a document, about."""
FORBIDDEN = ("The answer is", "###")
SUITE_SEEDS = range(10)
"""Seeds of the tasks whose questions are looked for in the corpus."""

_NAME = re.compile(r"[a-z_]+")
_DOLLARS = re.compile(r"\{(\w+):\$\}")
_FRACTION = re.compile(r"Fraction\((.*?), (.*?)\)")
_AGAIN = ("In other words:", "The same question again:", "This can also be asked so:")


def documents(seed: int) -> Iterator[str]:
    """Yield documents without end, the skills in turn."""
    rng = Random(f"corpus {seed}")
    for skill in cycle(SKILLS):
        if rng.random() < FACTS_SHARE:
            yield _fact_list(rng)
        else:
            yield _worked(skill, rng)


def refuse_leaks(texts: Iterable[str]) -> None:
    """Stop where a document holds a question of a task, or a text kept for fine-tuning."""
    questions = {
        row["question"] for seed in SUITE_SEEDS for task in task_rows(seed).values() for row in task
    }
    for text in texts:
        for line in text.split("\n"):
            if line in questions:
                raise ValueError(f"a question of a task is in the corpus: {line!r}")
        for wrong in FORBIDDEN:
            if wrong in text:
                raise ValueError(f"{wrong!r} is in the corpus: {text!r}")


def _fact_list(rng: Random) -> str:
    """Write number facts, from the steps of problems of any skill."""
    facts: list[str] = []
    while len(facts) < FACTS:
        skill = pick(rng, SKILLS)
        values = skill.draw(rng, reserved=False, larger=rng.random() < LARGER_SHARE)
        if values is None:
            raise RuntimeError(f"skill {skill.name}: no numbers make a clean problem")
        facts += [fact for _, fact in _calculations(skill, values, rng)]
    return "\n".join(facts)


def _worked(skill: Skill, rng: Random) -> str:
    """Write a problem, perhaps twice in different wordings, and the lines that solve it."""
    wordings = skill.wordings + skill.held_out
    larger = rng.random() < LARGER_SHARE
    problem = new_problem(skill, rng, reserved=False, larger=larger, wordings=wordings)
    lines = [problem.question]
    if rng.random() < 0.25:
        cast = problem.cast if rng.random() < 0.5 else draw_cast(skill.cast, rng)
        again = Problem(skill, problem.values, cast, pick(rng, wordings))
        lines += [pick(rng, _AGAIN), again.question]
    style = rng.random()
    if style < 0.3:
        lines += [f"{name} = {_plain(skill)(problem.values[name])}" for name in skill.numbers]
        lines += [
            f"{step} = {fact}"
            for step, (_, fact) in zip(
                skill.steps, _calculations(skill, problem.values, rng), strict=True
            )
        ]
    elif style < 0.6:
        lines += [f"{name} = {fact}" for name, fact in _calculations(skill, problem.values, rng)]
    else:
        lines += [fact for _, fact in _calculations(skill, problem.values, rng)]
    return "\n".join(lines)


def _plain(skill: Skill) -> Callable[[Exact], str]:
    """Give how numbers of a skill are written."""
    return str if skill.places is None else number_text


def _calculations(skill: Skill, values: Mapping[str, Exact], rng: Random) -> list[tuple[str, str]]:
    """Give the name of each step and "expression = value", in dollars half of the time."""
    plain = _plain(skill)
    dollars = set(_DOLLARS.findall(skill.reasoning)) if rng.random() < 0.5 else set()

    def shown(name: str) -> str:
        value = values[name]
        return f"{Shown(Fraction(value)):$}" if name in dollars else plain(value)

    found = []
    for step in skill.steps:
        name, _, expression = step.partition(" = ")
        expression = _FRACTION.sub(r"\1 / \2", expression)
        filled = _NAME.sub(
            lambda word: shown(word[0]) if word[0] in values else word[0], expression
        )
        found.append((name, f"{filled} = {shown(name)}"))
    return found
