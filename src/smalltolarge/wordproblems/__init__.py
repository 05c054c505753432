"""Arithmetic word problems of our own: scratch data for the demo and the experiments.

    skill.py         what a skill is, how it is drawn, solved and told
    language.py      nouns, people, and numbers written in a sentence
    money.py, amounts.py, measures.py, counting.py   the skills, one table entry each
    compositions.py  questions that take two skills
    rows.py          training rows and test suites

To add a skill, write one entry in a table and put it into `SKILLS` where its frequency belongs.
Standard library only; nothing here writes a file.
"""

from smalltolarge.wordproblems.rows import (
    FREQUENT,
    IN_DOMAIN,
    NEAR_DUPLICATE_SHARE,
    OUT_OF_DOMAIN,
    RARE,
    SKILLS,
    test_suites,
    training_rows,
)
from smalltolarge.wordproblems.skill import PROGRAM_REQUEST, Skill

__all__ = [
    "FREQUENT",
    "IN_DOMAIN",
    "NEAR_DUPLICATE_SHARE",
    "OUT_OF_DOMAIN",
    "PROGRAM_REQUEST",
    "RARE",
    "SKILLS",
    "Skill",
    "test_suites",
    "training_rows",
]
