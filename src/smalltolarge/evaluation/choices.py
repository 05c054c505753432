"""Questions that offer options, ``(A) web (B) tree``, and which one an answer chooses."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import takewhile

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
    text = question[-4000:]
    starts = [mark.start() for mark in _OPTION.finditer(text) if mark[1] in "Aa"]
    parts = _OPTION.split(text[starts[-1] :] if starts else "")
    marked = zip(parts[1::2], parts[2::2], "ABCDEF", strict=False)
    in_order = takewhile(lambda part: part[0].upper() == part[2], marked)
    found = {letter: said.strip().split("\n")[0].strip(" ,;") for _, said, letter in in_order}
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
    texts = {letter: f" {words(offered[letter])} " for letter in found}
    found = {one for one in found if sum(texts[one] in text for text in texts.values()) == 1}
    return found.pop() if len(found) == 1 else None
