"""Problems that take two skills: the answer of the first is a number of the second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from smalltolarge.wordproblems.language import Shown, number_text
from smalltolarge.wordproblems.skill import SKILLS, Skill, draw_cast, pick
from smalltolarge.wordproblems.tables import bullets, read


@dataclass(frozen=True)
class Composition:
    """Two skills in one question; ``link`` is the number of the second that the first yields.

    In the wordings the numbers of the second skill are called ``then_...``.
    """

    first: Skill
    second: Skill
    link: str
    wordings: tuple[str, ...]

    @property
    def name(self) -> str:
        """The names of both skills."""
        return f"{self.first.name}+{self.second.name}"

    def problem(self, rng: Random) -> tuple[str, str, str]:
        """Draw one question, its answer, and the steps in words up to the answer sentence."""
        while True:
            first = self.first.draw(rng, reserved=None)
            if first is None:
                continue
            link = {self.link: first[self.first.step_names[-1]]}
            second = self.second.draw(rng, reserved=None, fixed=link, tries=50)
            if second is not None:
                break
        cast = draw_cast({**self.second.cast, **self.first.cast}, rng)
        shown = {name: Shown(first[name]) for name in self.first.numbers}
        shown |= {
            f"then_{name}": Shown(second[name]) for name in self.second.numbers if name != self.link
        }
        question = pick(rng, self.wordings).format_map({**cast, **shown})
        steps = [
            skill.reasoning.format_map({**cast, **{n: Shown(v) for n, v in values.items()}})
            for skill, values in ((self.first, first), (self.second, second))
        ]
        return question, number_text(second[self.second.step_names[-1]]), " ".join(steps)


def _compositions() -> Iterator[Composition]:
    skills = {skill.name: skill for skill in SKILLS}
    for entry in read("compositions")["composition"]:
        first, second = (skills[entry[place]] for place in ("first", "second"))
        yield Composition(first, second, entry["link"], bullets(entry["wordings"]))


COMPOSITIONS = tuple(_compositions())
