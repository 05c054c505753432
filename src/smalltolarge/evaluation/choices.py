"""Questions that offer options, ``(A) web (B) tree``, and which one an answer chooses."""

from __future__ import annotations

import re
from functools import lru_cache

from smalltolarge.evaluation.forms import words

_OPTION = re.compile(r"(?<![A-Za-z0-9*])\(\s*([A-Fa-f])\s*\)")
_LETTER = re.compile(
    r"(?:option|choice|answer)?\s*\(?\s*([A-Za-z])\s*(?:[).:]\s*(.{0,200})|$)",
    re.IGNORECASE | re.DOTALL,
)


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


def chosen(text: str, offered: dict[str, str]) -> str | None:
    """Give the letter of the option that a text states by its letter: ``B``, ``(B) web``."""
    match = _LETTER.fullmatch(text.strip().strip("*$ ").rstrip("."))
    if match is None or match[1].upper() not in offered:
        return None
    return match[1].upper()


def lettered(text: str, offered: dict[str, str]) -> str | None:
    """Give the letter that a text starts with, if it is one of the options."""
    text = re.sub(r"^\\[(\[]", "", text.lstrip("*_ \t\"'`$")).lstrip()
    text = re.sub(r"^\\(?:text|textbf|mathrm|mathbf|boxed)\s*\{\s*", "", text)
    if re.match(r"\W*[A-F]\b(?:.{0,40}\W)?(?:or|and)\W+[A-F](?!\w)", text):
        return None
    match = re.match(r"(?:option|choice)?\s*\(\s?([A-Fa-f])\s?\)", text, re.IGNORECASE)
    if match is None:
        match = re.match(r"(?:option|choice)\s*:?\s*([A-Fa-f])(?![A-Za-z0-9])", text, re.IGNORECASE)
    if match is None:
        match = re.match(r"([A-Fa-f])(?:[*_}\"'`$\\]{0,4}\s*(?:$|[).:,;]))", text)
    if match is None and (worded := re.match(r"([A-F])\s+(.{1,80})", text)):
        stated = named(re.split(r"\.\s|\.$", worded[2])[0], offered)
        match = worded if stated == worded[1] or worded[2][:1] in "([–—-" else None
    if match is None:
        return None
    return match[1].upper() if match[1].upper() in offered else None


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
