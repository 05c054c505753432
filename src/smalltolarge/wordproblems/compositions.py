"""Problems that take two skills: the answer of the first is a number of the second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from smalltolarge.wordproblems.amounts import (
    ARITHMETIC_SEQUENCE,
    FRACTION_OF,
    PERCENT_OF,
    RATIO_SHARING,
    REMAINDER,
)
from smalltolarge.wordproblems.language import Exact, Shown, bullets, number_text
from smalltolarge.wordproblems.measures import (
    AREA,
    PERIMETER,
    PRODUCTION_RATE,
    SPEED_DISTANCE,
    TIME_INTERVAL,
)
from smalltolarge.wordproblems.money import (
    CHANGE,
    DISCOUNT,
    PROFIT,
    SHOPPING_TOTAL,
    SIMPLE_INTEREST,
    UNIT_PRICE,
)
from smalltolarge.wordproblems.skill import Skill, draw_cast, pick


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

    def solve(
        self, first: Mapping[str, Exact], second: Mapping[str, Exact]
    ) -> dict[str, Exact] | None:
        """Solve the first skill, feed its answer into the second, and solve that."""
        values = self.first.solve(first)
        if values is None:
            return None
        return self.second.solve({**second, self.link: values[self.first.step_names[-1]]})

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


COMPOSITIONS = (
    Composition(
        SHOPPING_TOTAL,
        DISCOUNT,
        "price",
        bullets("""
            - {name} takes {count:{thing}} at {price:$} each and {more:{other}} at {other_price:$}
              each to the till. A coupon lowers the whole bill by {then_percent}%. How much does
              {he} pay?
            - A shop gives {then_percent}% off any order. {name} orders {count:{thing}} priced at
              {price:$} each and {more:{other}} priced at {other_price:$} each. How many dollars
              does the order cost?
        """),
    ),
    Composition(
        DISCOUNT,
        CHANGE,
        "price",
        bullets("""
            - The price of {thing:a} is cut from {price:$} by {percent}%. {name} buys {then_count}
              of them at the new price and pays with {then_paid:$}. How much change does {he} get?
            - {name} has {then_paid:$} and buys {then_count:{thing}}. Each one used to cost
              {price:$} but is now sold at {percent}% off. How many dollars does {he} have left?
        """),
    ),
    Composition(
        AREA,
        UNIT_PRICE,
        "wanted",
        bullets("""
            - A rectangular {place} is {length} m long and {width} m wide and has a square pond with
              sides of {side} m in it. Turf for {then_pack} square meters costs {then_pack_price:$}.
              At this rate, what does turf for the whole {place}, without the pond, cost in dollars?
            - {name} sows grass in {place:a} of {length} m by {width} m, except on a square pond
              {side} m wide. The seed costs {then_pack_price:$} for every {then_pack} square meters.
              How many dollars does {name} spend on seed?
        """),
    ),
    Composition(
        PERIMETER,
        UNIT_PRICE,
        "wanted",
        bullets("""
            - {place:A} of {length} m by {width} m gets a fence all around, with a gap of {gate} m
              for the gate. Fencing costs {then_pack_price:$} per {then_pack} meters. What does the
              fence cost in dollars?
            - {name} fences a rectangular {place} {length} meters long and {width} meters wide and
              leaves {gate} meters open as a gate. If {then_pack} meters of fence cost
              {then_pack_price:$}, how much does {name} pay for the fence?
        """),
    ),
    Composition(
        RATIO_SHARING,
        SIMPLE_INTEREST,
        "principal",
        bullets("""
            - {name} and {friend} share {total:$} in the ratio {left}:{right}. {name} puts {his}
              share into {place:a} at {then_percent}% simple interest a year. How much interest does
              it earn in {then_years} years?
            - A prize of {total:$} is split between {name} and {friend}, {left} parts to {name} and
              {right:part} to {friend}. {name} lends {his} part out for {then_years} years at
              {then_percent}% simple interest per year. How many dollars of interest does {he} get?
        """),
    ),
    Composition(
        PROFIT,
        FRACTION_OF,
        "total",
        bullets("""
            - {name} makes {count:{thing}} for {cost:$} each, sells all of them for {price:$} each,
              and spends {then_part}/{then_parts} of the profit on tools. How many dollars of the
              profit are left?
            - After selling {count:{thing}} at {price:$} each, which had cost {cost:$} each to make,
              {name} gives {then_part}/{then_parts} of the profit to {friend}. How much of the
              profit does {name} keep?
        """),
    ),
    Composition(
        FRACTION_OF,
        REMAINDER,
        "total",
        bullets("""
            - {name} sells {part}/{parts} of {his} {total:{thing}} and ties the rest into bunches of
              {then_size}. How many {thing:s} are left over?
            - Of {total:{thing}}, {part}/{parts} are used up. The others are packed into {box:s} of
              {then_size} until no more {box} can be filled. How many {thing:s} do not fit?
        """),
    ),
    Composition(
        ARITHMETIC_SEQUENCE,
        REMAINDER,
        "total",
        bullets("""
            - {place:A} has {rows} rows; the first has {first} seats and each further row has {step}
              more. All seats are taken, and the visitors are led out in groups of {then_size}. How
              many visitors remain when no more full group can be made?
            - {name} collects {first} cans on the first day and {step} more each day than on the day
              before, for {rows} days. {He} packs them all into {box:s} of {then_size}. How many
              cans do not fit into a full {box}?
        """),
    ),
    Composition(
        TIME_INTERVAL,
        PRODUCTION_RATE,
        "longer",
        bullets("""
            - A machine makes {then_made:{thing}} in {then_minutes} minutes. It runs from
              {start_hour}:{start_minute:02} to {end_hour}:{end_minute:02} on each of {days} days.
              How many {thing:s} does it make?
            - On {days} days, a factory works from {start_hour}:{start_minute:02} until
              {end_hour}:{end_minute:02} and turns out {then_made:{thing}} every {then_minutes}
              minutes. How many {thing:s} is that in total?
        """),
    ),
    Composition(
        SPEED_DISTANCE,
        PERCENT_OF,
        "whole",
        bullets("""
            - A {vehicle} travels {hours} hours at {speed} kilometers per hour and then another
              {more} kilometers. {then_percent}% of the way is motorway. How many kilometers of
              motorway is that?
            - {name} drives {hours} hours at {speed} km per hour and {more} km after that. It rains
              on {then_percent}% of the route. For how many kilometers does it rain?
        """),
    ),
)
