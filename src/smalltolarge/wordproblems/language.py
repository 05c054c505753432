"""The words the problems are told with, and how numbers and nouns are written in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

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


def bullets(text: str) -> tuple[str, ...]:
    """Split a text into its items, each begun by a dash at the start of a line."""
    items = re.split(r"^ *- ", text, flags=re.MULTILINE)[1:]
    return tuple(" ".join(item.split()) for item in items)


WOMEN = nouns(
    "Amara, Beatriz, Chloe, Divya, Elif, Freya, Grace, Hana, Ines, Jolanda, Keiko, Leila, Maria,"
    "Nadia, Olga, Priya, Rosa, Sofia, Tamar, Zoe"
)
MEN = nouns(
    "Ahmed, Boris, Carlos, Dmitri, Emeka, Felix, Goran, Hugo, Ivan, Jamal, Kofi, Liam, Mateo,"
    "Noah, Omar, Pavel, Rafael, Samir, Tom, Viktor"
)
PEOPLE = WOMEN + MEN

STATIONERY = nouns(
    "pen, notebook, eraser, ruler, folder, marker, pencil case, glue stick, sketch pad, stapler"
)
SNACKS = nouns(
    "sandwich, muffin, apple pie, juice box, salad, pretzel, yogurt, smoothie, cookie, bagel"
)
CLOTHES = nouns("jacket, sweater, shirt, scarf, coat, dress, hat, backpack, raincoat, belt")
GOODS = nouns(
    "apple, orange, brick, candle, egg, lemon, melon, tile, book, bottle, card, light bulb"
)
CRAFTS = nouns("mug, bracelet, basket, lamp, umbrella, toy car, vase, puzzle, cushion, clock")
CONTAINERS = nouns("box, bag, crate, basket, carton, tray, case")
FLOWERS = nouns("rose, tulip, daisy, lily, sunflower, iris, orchid, poppy")


def person(who: Noun) -> Iterator[tuple[str, str]]:
    """Yield the fields of a template that speak of one person."""
    she = who in WOMEN
    yield "name", str(who)
    yield "he", "she" if she else "he"
    yield "He", "She" if she else "He"
    yield "his", "her" if she else "his"
