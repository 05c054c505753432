"""The words the problems are told with, and how numbers and nouns are written in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from smalltolarge.wordproblems.tables import read

Exact = int | Fraction
"""A number without rounding; a whole one may be of either type."""


def plural(noun: str) -> str:
    """Return the plural of an English noun; it knows no irregular ones, and the lists have none."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


class Noun(str):
    """A noun that a template can ask for with an article or in the plural.

    ``{thing}`` pen, ``{thing:a}`` a pen, ``{thing:A}`` A pen, ``{thing:s}`` pens.
    """

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        match spec:
            case "a":
                return ("an " if self[0] in "aeiou" else "a ") + str(self)
            case "A":
                return format(self, "a").capitalize()
            case "s":
                return plural(self)
        return str(self)


def number_text(value: Exact) -> str:
    """Write a number as a decimal of at most two places where that is exact, else as a fraction."""
    if value.denominator == 1:
        return str(int(value))
    hundredths = value * 100
    if hundredths.denominator != 1:
        return str(value)
    whole, rest = divmod(abs(hundredths.numerator), 100)
    return f"{'-' if value < 0 else ''}{whole}.{rest:02}".rstrip("0")


class Shown:
    """A number that a template can ask for in several forms.

    ``{x}`` 2.5, ``{x:$}`` $2.50, ``{x:02}`` 05, ``{x:th}`` 3rd, ``{x:/}`` 5/2,
    and with any other word after the colon that word counted: ``{x:hour}`` 1 hour, 2.5 hours.
    """

    __slots__ = ("value",)

    def __init__(self, value: Exact) -> None:
        self.value = value

    def __format__(self, spec: str) -> str:
        text = number_text(self.value)
        match spec:
            case "":
                return text
            case "$":
                return "$" + (f"{text}0" if text[-2:-1] == "." else text)
            case "/":
                return str(self.value)
            case "02":
                return text.zfill(2)
            case "th":
                ending = {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th")
                return text + ("th" if text[-2:-1] == "1" else ending)
        return f"{text} {spec if self.value == 1 else plural(spec)}"


def nouns(words: str) -> tuple[Noun, ...]:
    """Split a comma-separated list into nouns."""
    return tuple(Noun(word.strip()) for word in words.split(","))


WORDS: Mapping[str, tuple[Noun, ...]] = {
    name: nouns(words) for name, words in read("words").items()
}
PEOPLE = WORDS["women"] + WORDS["men"]


def person(who: Noun) -> Iterator[tuple[str, str]]:
    """Yield the fields of a template that speak of one person."""
    she = who in WORDS["women"]
    yield "name", str(who)
    yield "he", "she" if she else "he"
    yield "He", "She" if she else "He"
    yield "his", "her" if she else "his"
