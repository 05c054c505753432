"""Questions that offer options, ``(A) web (B) tree``, and which one an answer chooses."""

from __future__ import annotations

import re
from functools import lru_cache

from smalltolarge.evaluation.forms import words

_OPTION = re.compile(r"(?<![A-Za-z0-9*])\(\s*([A-Fa-f])\s*\)")
_LETTER = re.compile(
    r"(?:[*_ \t\"'`$]|\\[(\[]|\\(?:text|textbf|mathrm|mathbf|boxed)\s*\{)*(?:option|choice)?[\s:]*"
    r"(?:\(\s?([A-F])\s?(?:\)|$)|(?<=[ne][\s:])([A-F])(?![A-Za-z0-9])"
    r"|([A-F])(?:[*_}\"'`$\\]{0,4}\s*(?:$|[).:,;])|\s+[(\[–—]))",
    re.IGNORECASE,
)
_SEVERAL = re.compile(r"\W*[A-F]\b(?:.{0,40}\W)?(?:or\b|and\b|,)\W*[A-F](?!\w)")


@lru_cache(maxsize=1024)
def options(question: str) -> dict[str, str]:
    """Give the options that a question offers, by capital letter: ``(A) web (B) tree``."""
    marks = list(_OPTION.finditer(question[-4000:]))
    starts = [place for place, mark in enumerate(marks) if mark[1].upper() == "A"]
    found: dict[str, str] = {}
    if not starts:
        return found
    marks = marks[starts[-1] :]
    ends = [mark.start() for mark in marks[1:]] + [len(question[-4000:])]
    for mark, end, letter in zip(marks, ends, "ABCDEF", strict=False):
        if mark[1].upper() != letter:
            break
        found[letter] = question[-4000:][mark.end() : end].strip().split("\n")[0].strip(" ,;")
    return found if len(found) > 1 else {}


def lettered(text: str, offered: dict[str, str]) -> str | None:
    """Give the letter that a text starts with, if it is one of the options."""
    match = None if _SEVERAL.match(text) else _LETTER.match(text)
    letter = next(filter(None, match.groups()), "").upper() if match else ""
    return letter if letter in offered else None


def named(text: str, offered: dict[str, str]) -> str | None:
    """Give the letter of the only option whose text is in a text."""
    said = f" {words(text)} "
    found = {letter for letter, option in offered.items() if f" {words(option)} " in said}
    # "brick wall" names (A) wall too.
    for letter in set(found):
        if any(
            f" {words(offered[letter])} " in f" {words(offered[other])} "
            for other in found - {letter}
        ):
            found.discard(letter)
    return found.pop() if len(found) == 1 else None
