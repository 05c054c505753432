"""Arithmetic word problems of our own: scratch data for the demo and the experiments.

    skills.toml, compositions.toml, words.toml   the problems: all that a question may be and say
    tables.py        reads them
    language.py      nouns, people, and numbers written in a sentence
    skill.py         what a skill is, how it is drawn, solved and told
    compositions.py  questions that take two skills
    rows.py          training rows and tasks
    files.py         the files of both

To add a skill, write an entry into `skills.toml` where its frequency belongs. All of it needs the
standard library alone.
"""

from smalltolarge.wordproblems.rows import (
    FREQUENT,
    IN_DOMAIN,
    NEAR_DUPLICATE_SHARE,
    OUT_OF_DOMAIN,
    RARE,
    task_rows,
    training_rows,
)
from smalltolarge.wordproblems.skill import PROGRAM_REQUEST, SKILLS, Skill

__all__ = [
    "FREQUENT",
    "IN_DOMAIN",
    "NEAR_DUPLICATE_SHARE",
    "OUT_OF_DOMAIN",
    "PROGRAM_REQUEST",
    "RARE",
    "SKILLS",
    "Skill",
    "task_rows",
    "training_rows",
]
