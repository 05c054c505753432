"""Training rows in any number, and the six tasks."""

from __future__ import annotations

from bisect import bisect
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, cycle, islice
from random import Random

from smalltolarge.errors import DataError
from smalltolarge.wordproblems.compositions import COMPOSITIONS
from smalltolarge.wordproblems.skill import (
    PROGRAM_REQUEST,
    SKILLS,
    Problem,
    Skill,
    chain_of_thought,
    draw_cast,
    pick,
)

FREQUENT: tuple[Skill, ...] = SKILLS[:8]
"""The skills with near-duplicates among their training rows."""
RARE: tuple[Skill, ...] = SKILLS[-12:]

NEAR_DUPLICATE_SHARE = 0.4
"""Of the rows of a frequent skill, the share that repeats the numbers of an earlier row on purpose:
about half of them with other names and things, the others in another wording."""
REMEMBERED = 64
"""How many problems of a frequent skill are remembered, to be told again."""

IN_DOMAIN = ("frequent-skills", "rare-skills", "all-skills")
OUT_OF_DOMAIN = ("other-wordings", "larger-numbers", "composed-skills")

_ZIPF = list(accumulate(1 / rank for rank in range(1, len(SKILLS) + 1)))


def new_problem(
    skill: Skill,
    rng: Random,
    *,
    reserved: bool,
    larger: bool = False,
    wordings: tuple[str, ...] | None = None,
) -> Problem:
    """Draw numbers (kept for tests or for training), a cast and a wording."""
    values = skill.draw(rng, reserved=reserved, larger=larger)
    if values is None:
        raise RuntimeError(f"skill {skill.name}: no numbers make a clean problem")
    return Problem(skill, values, draw_cast(skill.cast, rng), pick(rng, wordings or skill.wordings))


def told_again(problem: Problem, rng: Random) -> Problem:
    """Return a near-duplicate: the same numbers with another cast, or in another wording."""
    question, other_cast = problem.question, rng.random() < 0.5
    while True:
        again = (
            replace(problem, cast=draw_cast(problem.skill.cast, rng))
            if other_cast
            else replace(problem, wording=pick(rng, problem.skill.wordings))
        )
        if again.question != question:
            return again
        other_cast = False  # A wording without names and things has only one telling.


def _training_problems(rng: Random) -> Iterator[Problem]:
    told: dict[str, deque[Problem]] = {skill.name: deque(maxlen=REMEMBERED) for skill in FREQUENT}
    while True:
        skill = SKILLS[bisect(_ZIPF, rng.random() * _ZIPF[-1])]
        earlier = told.get(skill.name)
        if earlier and rng.random() < NEAR_DUPLICATE_SHARE:
            yield told_again(pick(rng, earlier), rng)
            continue
        problem = new_problem(skill, rng, reserved=False)
        if earlier is not None:
            earlier.append(problem)
        yield problem


def _training_rows(seed: int) -> Iterator[dict[str, str]]:
    rng = Random(f"training rows {seed}")
    for problem in _training_problems(rng):
        if rng.random() < 0.5:
            yield {
                "instruction": problem.question,
                "output": problem.chain_of_thought(rng),
                "source": f"cot/{problem.skill.name}",
            }
        else:
            yield {
                "instruction": f"{problem.question} {PROGRAM_REQUEST}",
                "output": problem.program(),
                "source": f"pot/{problem.skill.name}",
            }


def training_rows(n: int, seed: int) -> Iterator[dict[str, str]]:
    """Yield n rows of ``instruction``, ``output`` and ``source``; fewer rows are the first of more.

    The source is the kind of the answer and the skill, such as ``cot/change`` (chain of thought)
    or ``pot/change`` (a program, which the instruction then asks for).
    """
    return islice(_training_rows(seed), n)


def _problems(name: str, rng: Random) -> Iterator[tuple[str, str, str, str]]:
    """Yield question, answer, steps and skill, without end; the skills take turns."""
    if name == "composed-skills":
        for composition in cycle(COMPOSITIONS):
            yield *composition.problem(rng), composition.name
    else:
        skills = {"frequent-skills": FREQUENT, "rare-skills": RARE}.get(name, SKILLS)
        for skill in cycle(skills):
            problem = new_problem(
                skill,
                rng,
                reserved=True,
                larger=name == "larger-numbers",
                wordings=skill.held_out if name == "other-wordings" else None,
            )
            yield problem.question, problem.answer, problem.steps, skill.name


def task_rows(seed: int, size: int = 200) -> dict[str, list[dict[str, str]]]:
    """Return the six tasks, each of ``size`` rows of question, answer, output and skill.

    The output is a worked solution that ends in the answer, as a training row has it.

    No question occurs twice, in one task or in two, nor in the training rows of any seed.
    """
    seen: set[str] = set()
    tasks: dict[str, list[dict[str, str]]] = {}
    for name in IN_DOMAIN + OUT_OF_DOMAIN:
        rows = tasks[name] = []
        found = _problems(name, Random(f"test suite {name} {seed}"))
        writing = Random(f"solutions {name} {seed}")
        for tries, (question, answer, steps, skill) in enumerate(found):
            if len(rows) == size:
                break
            if tries > 20 * size + 1000:
                raise DataError(
                    f"task {name}: found {len(rows)} different questions, {size} were asked for; "
                    "ask for a smaller size"
                )
            if question not in seen:
                seen.add(question)
                output = chain_of_thought(steps, answer, writing)
                row = {"question": question, "answer": answer, "output": output, "skill": skill}
                rows.append(row)
    return tasks
