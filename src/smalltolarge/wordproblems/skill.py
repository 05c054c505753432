"""A skill, stated once: its numbers, its solution as Python lines, and the texts around them.

The solution of a skill is written in its table as assignments (``total = count * price``). The same
lines are run on exact numbers to get the answer, and are printed as the program-of-thought answer;
the chain of thought shows the values they produced. So the three cannot disagree.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from random import Random
from types import CodeType
from typing import Any, TypeVar
from zlib import crc32

from smalltolarge.wordproblems.language import (
    PEOPLE,
    WORDS,
    Exact,
    Noun,
    Shown,
    nouns,
    number_text,
    person,
)
from smalltolarge.wordproblems.tables import bullets, read

T = TypeVar("T")

PROGRAM_REQUEST = "Write a Python program that prints the answer."
ANSWER_SENTENCE = "The answer is {answer}."
OPENINGS = ("", "", "Let us go step by step. ", "We work this out in steps. ")


def pick(rng: Random, options: Sequence[T]) -> T:
    """Choose one of ``options``, by ``random()`` alone: Python promises only that for all time."""
    return options[int(rng.random() * len(options))]


@dataclass(frozen=True)
class Number:
    """What a number of a problem may be, and what it may be where larger numbers are asked for."""

    usual: Sequence[Exact]
    larger: Sequence[Exact]

    @classmethod
    def read(cls, usual: str, larger: str = "") -> Number:
        """Read either as ``2, 3, 5``, ``2 to 12`` or ``1 to 9 by 0.25``."""
        return cls(_values(usual), _values(larger) if larger else ())

    def draw(self, rng: Random, *, larger: bool) -> Exact:
        """Draw one value; a number that never grows is drawn as usual."""
        return pick(rng, self.larger if larger and self.larger else self.usual)


def _values(text: str) -> Sequence[Exact]:
    bounds, _, step = text.partition(" by ")
    low, _, high = bounds.partition(" to ")
    if not high:
        return [_exact(value) for value in text.split(",")]
    first, last, by = _exact(low), _exact(high), _exact(step or "1")
    if isinstance(first, int) and isinstance(last, int) and isinstance(by, int):
        return range(first, last + 1, by)
    return [first + by * place for place in range((last - first) // by + 1)]


def _exact(text: str) -> Exact:
    value = Fraction(text)
    return int(value) if value.denominator == 1 else value


def _divide(dividend: Exact, divisor: Exact) -> Exact:
    quotient, rest = divmod(dividend, divisor)
    return Fraction(dividend) / divisor if rest else quotient


class _Arithmetic(ast.NodeTransformer):
    """Lets arithmetic pass and nothing else; makes ``a / b`` exact, where Python gives a float."""

    allowed = (
        *(ast.Module, ast.Assign, ast.Name, ast.Constant, ast.BinOp, ast.Compare, ast.BoolOp),
        *(ast.Call, ast.expr_context, ast.operator, ast.cmpop, ast.boolop),
    )

    def visit(self, node: ast.AST) -> Any:
        if not isinstance(node, self.allowed):
            raise ValueError(f"a step of a skill holds more than arithmetic: {ast.unparse(node)}")
        return super().visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Div):
            return node
        call = ast.Call(ast.Name("_divide", ast.Load()), [node.left, node.right], [])
        return ast.copy_location(call, node)


FUNCTIONS: Mapping[str, Callable[..., Exact]] = {
    "_divide": _divide,
    "Fraction": Fraction,
    "comb": math.comb,
    "gcd": math.gcd,
}
IMPORTS = {
    "Fraction(": "from fractions import Fraction",
    "comb(": "from math import comb",
    "gcd(": "from math import gcd",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Skill:
    """One kind of arithmetic problem."""

    name: str
    numbers: Mapping[str, Number]
    """The numbers that every wording states; in this order they open the program."""
    steps: tuple[str, ...]
    """Assignments in Python; the last one is the answer. ``/`` is exact division."""
    reasoning: str
    """The chain of thought, up to the answer sentence."""
    wordings: tuple[str, ...]
    held_out: tuple[str, ...]
    """Wordings that no training row uses."""
    where: str = "True"
    """What must hold, besides every step being positive and clean, for the numbers to be used."""
    places: int | None = 0
    """Decimal places that a step may have; None where the answer is a fraction."""
    cast: Mapping[str, tuple[Noun, ...]] = field(default_factory=dict)
    """The nouns of the wordings, and what each may be; people are there always."""

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Skill:
        """Read an entry of the table of skills."""
        texts = {
            "numbers": {name: Number.read(**told) for name, told in entry["numbers"].items()},
            "steps": tuple(entry["steps"].strip().split("\n")),
            "reasoning": " ".join(entry["reasoning"].split()),
            "wordings": bullets(entry["wordings"]),
            "held_out": bullets(entry["held_out"]),
            "places": None if entry.get("places") == "any" else entry.get("places", 0),
            "cast": {
                slot: WORDS.get(text) or nouns(text) for slot, text in entry.get("cast", {}).items()
            },
        }
        return cls(**{**entry, **texts})

    @cached_property
    def _code(self) -> CodeType:
        lines = "\n".join((*self.steps, f"sensible = {self.where}"))
        tree = ast.fix_missing_locations(_Arithmetic().visit(ast.parse(lines)))
        return compile(tree, f"<skill {self.name}>", "exec")

    @cached_property
    def step_names(self) -> tuple[str, ...]:
        """The names the steps assign to, in order."""
        return tuple(step.partition(" = ")[0] for step in self.steps)

    def solve(self, given: Mapping[str, Exact]) -> dict[str, Exact] | None:
        """Return the numbers and all steps, exactly; None if they make no clean problem."""
        scope: dict[str, object] = {"__builtins__": {}, **FUNCTIONS, **given}
        exec(self._code, scope)  # noqa: S102 the lines are arithmetic alone
        values: dict[str, Exact] = dict(given)
        for name in self.step_names:
            value = scope[name]
            if not isinstance(value, int | Fraction):
                raise TypeError(f"skill {self.name}: step {name} is inexact: {value!r}")
            values[name] = value
            if value <= 0 or (self.places is not None and 10**self.places % value.denominator):
                return None
        return values if scope["sensible"] else None

    def draw(
        self,
        rng: Random,
        *,
        reserved: bool | None,
        larger: bool = False,
        fixed: Mapping[str, Exact] | None = None,
        tries: int = 10_000,
    ) -> dict[str, Exact] | None:
        """Draw numbers and solve them; None if no draw fits.

        ``reserved`` asks for numbers kept for tests (True), for training (False) or either (None).
        """
        for _ in range(tries):
            given = {name: n.draw(rng, larger=larger) for name, n in self.numbers.items()}
            given.update(fixed or {})
            if reserved is not None and self.is_reserved(given) is not reserved:
                continue
            values = self.solve(given)
            if values is not None:
                return values
        return None

    def is_reserved(self, given: Mapping[str, Exact]) -> bool:
        """Say whether these numbers are kept for tests: one combination in four is, whatever the
        seed, so no test question can occur in training rows."""
        key = ",".join(str(given[name]) for name in self.numbers)
        return crc32(f"{self.name}:{key}".encode()) % 4 == 0


SKILLS: tuple[Skill, ...] = tuple(Skill.read(entry) for entry in read("skills")["skill"])
"""All skills, the most frequent first: skill number r has a share proportional to 1/r (Zipf's law
with exponent 1, so that no power of a float, which could differ between machines, is taken)."""


def draw_cast(cast: Mapping[str, tuple[Noun, ...]], rng: Random) -> dict[str, str]:
    """Draw the people and the nouns of a problem, all different."""
    who = pick(rng, PEOPLE)
    drawn: dict[str, str] = dict(person(who))
    for slot, options in {"friend": PEOPLE, **cast}.items():
        choice = pick(rng, options)
        while choice in drawn.values():
            choice = pick(rng, options)
        drawn[slot] = choice
    return drawn


def chain_of_thought(steps: str, answer: str, rng: Random) -> str:
    """Put an opening before the steps and the uniform answer sentence after them."""
    return f"{pick(rng, OPENINGS)}{steps} {ANSWER_SENTENCE.format(answer=answer)}"


@dataclass(frozen=True)
class Problem:
    """One problem: a skill, its solved numbers, its cast and one wording."""

    skill: Skill
    values: Mapping[str, Exact]
    cast: Mapping[str, str]
    wording: str

    def _fill(self, template: str) -> str:
        shown = {name: Shown(value) for name, value in self.values.items()}
        return template.format_map({**self.cast, **shown})

    @property
    def question(self) -> str:
        """The question text."""
        return self._fill(self.wording)

    @property
    def answer(self) -> str:
        """The exact answer as text: a whole number, a decimal, or a fraction in lowest terms."""
        value = self.values[self.skill.step_names[-1]]
        return str(value) if self.skill.places is None else number_text(value)

    @property
    def steps(self) -> str:
        """The steps in words, up to the answer sentence."""
        return self._fill(self.skill.reasoning)

    def chain_of_thought(self, rng: Random) -> str:
        """Return the steps in words, ending with the uniform answer sentence."""
        return chain_of_thought(self.steps, self.answer, rng)

    def program(self) -> str:
        """Return a Python program that prints the answer, exactly as `answer` has it."""
        solution, answer = "\n".join(self.skill.steps), self.skill.step_names[-1]
        given = {name: self.values[name] for name in self.skill.numbers}
        # Ten digits hide the rounding of binary floating point and drop a trailing ".0".
        in_floats = " / " in solution or any(value.denominator > 1 for value in given.values())
        lines = [line for call, line in IMPORTS.items() if call in solution]
        lines += [f"{name} = {number_text(value)}" for name, value in given.items()]
        shown = f'f"{{{answer}:.10g}}"' if in_floats else answer
        return "\n".join([*lines, solution, f"print({shown})"])
