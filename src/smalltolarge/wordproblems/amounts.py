"""Skills about parts and amounts: percent, shares, averages, remainders."""

from __future__ import annotations

from smalltolarge.wordproblems.language import CONTAINERS, FLOWERS, GOODS, bullets, nouns
from smalltolarge.wordproblems.skill import Skill, one_of, whole

PERCENT_OF = Skill(
    name="percent-of",
    cast={"thing": GOODS},
    numbers={"whole": whole(20, 1200, 9000, step=4), "percent": whole(5, 95, step=5)},
    steps=("part = whole * percent / 100",),
    reasoning="{percent}% of {whole} is {whole} * {percent} / 100 = {part}.",
    wordings=bullets("""
        - A warehouse holds {whole:{thing}}. {percent}% of them are sold in a week. How many
          {thing:s} are sold?
        - {name} checks {whole:{thing}} and finds that {percent}% of them are damaged. How many are
          damaged?
        - Of {whole:{thing}} on a truck, {percent}% go to {friend}'s shop. How many {thing:s} does
          the shop receive?
        - {percent}% of the {whole:{thing}} in a store are from local makers. How many local
          {thing:s} are there?
        - {name} has already counted {percent}% of {whole:{thing}}. How many has {he} counted?
        - What is {percent}% of {whole:{thing}}?
    """),
    held_out=bullets("""
        - A delivery of {whole:{thing}} arrives, but just {percent} out of every hundred were paid
          for. How many {thing:s} were paid for?
        - {name} may keep {percent}% of whatever {he} packs. Today {he} packs {whole:{thing}}. How
          many may {he} keep?
    """),
)

AVERAGE = Skill(
    name="average",
    cast={"game": nouns("dart game, card game, bowling game, board game, word game, ball game")},
    numbers={
        "first": whole(40, 100, 900),
        "second": whole(40, 100, 900),
        "third": whole(40, 100, 900),
        "fourth": whole(40, 100, 900),
    },
    steps=("total = first + second + third + fourth", "average = total / 4"),
    reasoning="The sum is {first} + {second} + {third} + {fourth} = {total}. "
    "Divided by the 4 values, {total} / 4 = {average}.",
    wordings=bullets("""
        - In four rounds of a {game}, {name} scores {first}, {second}, {third} and {fourth} points.
          What is {his} average score?
        - {name}'s points in a {game} were {first}, {second}, {third} and {fourth}. Find the mean of
          the four numbers.
        - Four friends play a {game} and get {first}, {second}, {third} and {fourth} points. How
          many points is that on average?
        - What is the average of {first}, {second}, {third} and {fourth}?
        - A shop had {first} customers on Monday, {second} on Tuesday, {third} on Wednesday and
          {fourth} on Thursday. How many customers came per day on average?
        - {name} read {first} pages in the first week, {second} in the second, {third} in the third
          and {fourth} in the fourth. What was the average number of pages per week?
    """),
    held_out=bullets("""
        - Had {name} scored the same in each of four games, with the same sum as {first}, {second},
          {third} and {fourth}, what would each score have been?
        - Four boxes weigh {first}, {second}, {third} and {fourth} grams. {friend} notes down only
          their arithmetic mean. Which number is that?
    """),
)

RATIO_SHARING = Skill(
    name="ratio-sharing",
    cast={"thing": nouns("marble, sticker, stamp, shell, bead, coin, candy, trading card")},
    numbers={"total": whole(20, 300, 6000), "left": whole(2, 9), "right": whole(1, 8)},
    steps=("parts = left + right", "one_part = total / parts", "share = one_part * left"),
    where="left > right and gcd(left, right) == 1 and one_part > 1",
    reasoning="There are {left} + {right} = {parts} parts. "
    "One part is {total} / {parts} = {one_part}. "
    "The share of {left} parts is {one_part} * {left} = {share}.",
    wordings=bullets("""
        - {name} and {friend} share {total:{thing}} in the ratio {left}:{right}. How many does
          {name} get?
        - {total:{thing}} are divided between {name} and {friend} so that {name} gets {left} for
          every {right} that {friend} gets. How many {thing:s} does {name} get?
        - The {thing:s} of {name} and {friend} are in the ratio {left} to {right}. Together they
          have {total}. How many does {name} have?
        - Two friends split {total:{thing}} in the ratio {left}:{right}. How many {thing:s} are in
          the larger share?
        - {name} has {left:{thing}} for every {right} of {friend}'s. There are {total:{thing}} in
          all. How many belong to {name}?
        - A bag of {total:{thing}} is shared out, {left} parts to {name} and {right:part} to
          {friend}. How many {thing:s} does {name} receive?
    """),
    held_out=bullets("""
        - For each round, {name} takes {left} and {friend} takes {right} from a pile of
          {total:{thing}} until nothing remains. How many has {name} taken?
        - If {total:{thing}} are to be split {left}:{right}, how big is the bigger heap?
    """),
)

REMAINDER = Skill(
    name="remainder",
    cast={"thing": GOODS, "box": CONTAINERS},
    numbers={"total": whole(30, 400, 9000), "size": whole(4, 24, 60)},
    steps=("full = total // size", "packed = full * size", "over = total - packed"),
    reasoning="{total} divided by {size} gives {full} full {box:s}. "
    "They hold {full} * {size} = {packed}. "
    "That leaves {total} - {packed} = {over}.",
    wordings=bullets("""
        - {name} packs {total:{thing}} into {box:s} of {size}. How many {thing:s} are left over when
          no more {box} can be filled?
        - A {box} holds {size:{thing}}. {name} fills as many {box:s} as possible from
          {total:{thing}}. How many {thing:s} remain?
        - {total:{thing}} are put into {box:s}, {size} in each, until fewer than {size} are left.
          How many are left?
        - A factory makes {total:{thing}} a day and ships only full {box:s} of {size}. How many
          {thing:s} stay behind?
        - When {total:{thing}} are packed {size} to a {box}, how many {thing:s} do not fit into a
          full {box}?
        - {name} and {friend} have {total:{thing}} and want to make {box:s} of exactly {size}. How
          many {thing:s} will not be used?
    """),
    held_out=bullets("""
        - The last {box} was not full: all others took {size:{thing}} each, and there were {total}
          to pack. How many {thing:s} were in the last one?
        - {name} removes {size:{thing}} at a time from a heap of {total}, for as long as {he} can.
          What does the heap count in the end?
    """),
)

FRACTION_OF = Skill(
    name="fraction-of",
    cast={"thing": FLOWERS},
    numbers={"total": whole(12, 300, 6000), "part": whole(1, 7), "parts": whole(2, 9)},
    steps=("used = total * part / parts", "left = total - used"),
    where="part < parts and gcd(part, parts) == 1",
    reasoning="{part}/{parts} of {total} is {total} * {part} / {parts} = {used}. "
    "That leaves {total} - {used} = {left}.",
    wordings=bullets("""
        - {name} has {total:{thing}} and sells {part}/{parts} of them. How many are left?
        - Of {total:{thing}} in a garden, {part}/{parts} have been cut. How many {thing:s} are still
          standing?
        - {part}/{parts} of {name}'s {total:{thing}} are red and the rest are yellow. How many are
          yellow?
        - {name} gives {part}/{parts} of {his} {total:{thing}} to {friend}. How many does {name}
          keep?
        - A florist orders {total:{thing}} and uses {part}/{parts} of them for a wedding. How many
          {thing:s} remain?
        - After {part}/{parts} of the {total:{thing}} in a field were picked, how many were not
          picked?
    """),
    held_out=bullets("""
        - Frost spoils {part}/{parts} of a bed of {total:{thing}}. How many came through unharmed?
        - {friend} may take {part}/{parts} of the {total:{thing}} that {name} grew. With how many
          does {name} end up?
    """),
)

PERCENT_CHANGE = Skill(
    name="percent-change",
    cast={"group": nouns("library, chess club, swimming club, gym, sports club, computer club")},
    numbers={
        "old": one_of(*range(20, 401, 20), larger=range(500, 8001, 500)),
        "new": one_of(*range(22, 801, 2), larger=range(1000, 16001, 50)),
    },
    steps=("rise = new - old", "percent = rise * 100 / old"),
    where="percent <= 150",
    reasoning="The rise is {new} - {old} = {rise}. "
    "As a percentage of the old number it is {rise} * 100 / {old} = {percent}.",
    wordings=bullets("""
        - A {group} had {old} members last year and has {new} now. By what percent did the number
          rise?
        - The number of people in a {group} grew from {old} to {new}. What is the percent increase?
        - Membership of a {group} went up from {old} to {new}. By how many percent of the old number
          did it rise?
        - When {name} joined, a {group} counted {old} people. Today it counts {new}. By how many
          percent has it grown?
        - A {group} sold {old} tickets in May and {new} in June. Find the percent increase from May
          to June.
        - Last month {name} walked {old} kilometers, this month {new}. By what percent did {he} walk
          more?
    """),
    held_out=bullets("""
        - Take the {old} members of a {group} as one hundred percent. By how many percent do its
          {new} members of today exceed that?
        - {name} reports: visits to the {group}, before {old}, after {new}. Which growth rate, in
          percent, belongs in the report?
    """),
)

MIXTURE = Skill(
    name="mixture",
    cast={"liquid": nouns("salt water, sugar syrup, orange drink, vinegar mix, cleaning fluid")},
    numbers={
        "first": whole(2, 20, 90),
        "first_percent": whole(5, 60, step=5),
        "second": whole(2, 20, 90),
        "second_percent": whole(5, 60, step=5),
    },
    steps=(
        "first_points = first * first_percent",
        "second_points = second * second_percent",
        "points = first_points + second_points",
        "liters = first + second",
        "percent = points / liters",
    ),
    where="first_percent != second_percent",
    reasoning="Count liters times percent: {first} * {first_percent} = {first_points} and "
    "{second} * {second_percent} = {second_points}, "
    "together {first_points} + {second_points} = {points}. "
    "The mix has {first} + {second} = {liters} liters. "
    "So its strength is {points} / {liters} = {percent} percent.",
    wordings=bullets("""
        - {name} mixes {first} liters of {first_percent}% {liquid} with {second} liters of
          {second_percent}% {liquid}. What is the strength of the mix in percent?
        - {first} liters of {liquid} at {first_percent}% are poured into {second} liters at
          {second_percent}%. How many percent strong is the mix?
        - A tank holds {second} liters of {second_percent}% {liquid}. {name} adds {first} liters of
          {first_percent}% {liquid}. What percentage does the tank have now?
        - Two buckets of {liquid}, {first} liters at {first_percent}% and {second} liters at
          {second_percent}%, are combined. Find the percentage of the mix.
        - What percent strength results from mixing {first} liters of {liquid} at {first_percent}%
          with {second} liters at {second_percent}%?
        - {name} has {first} liters of {liquid} of {first_percent}% strength, {friend} has {second}
          liters of {second_percent}% strength. They pour both together. How strong, in percent, is
          the result?
    """),
    held_out=bullets("""
        - In a lab, {liquid} of two strengths goes into one jar: {second} liters ({second_percent}%)
          and {first} liters ({first_percent}%). Which percentage should the label show?
        - {friend} tops up {first} liters of {first_percent}% {liquid} with {second} liters from a
          can marked {second_percent}%. Which strength in percent does a meter read after stirring?
    """),
)

AGE = Skill(
    name="age",
    cast={
        "old": nouns("oak, castle, church, tower, bridge, windmill, town hall"),
        "young": nouns("library, school, station, theater, birch, museum"),
    },
    numbers={"age": whole(6, 60, 300), "times": whole(2, 6), "years": whole(3, 40, 95)},
    steps=("now = age * times", "then = now + years"),
    reasoning="Now the {old} is {age} * {times} = {now} years old. "
    "In {years} years it will be {now} + {years} = {then} years old.",
    wordings=bullets("""
        - The {young} is {age} years old, and the {old} is {times} times as old. How old will the
          {old} be in {years} years?
        - In {name}'s town the {old} is {times} times as old as the {young}. If the {young} is {age}
          years old, what will be the age of the {old} in {years} years?
        - {name} learns that the {old} has {times} times the age of the {young}, which is {age}
          years old. How old is the {old} going to be {years} years from now?
        - The {young} has stood for {age} years, the {old} for {times} times as long. For how many
          years will the {old} have stood in {years} years?
        - The age of the {young} is {age} years. Multiply it by {times} to get the age of the {old}.
          How old will the {old} be after {years} more years?
        - A guide tells {name} that the {young} is {age} years old and the {old} {times} times as
          old. How many years old will the {old} be in {years} years?
    """),
    held_out=bullets("""
        - {name} plans a birthday party for the {old}, {years} years ahead. At present the {old} is
          {times} times as old as the {young}, whose age is {age}. Which birthday will it be?
        - Wait {years} years and ask for the age of the {old}. Today it is {times} times that of the
          {age}-year-old {young}. What will the answer be?
    """),
)

ARITHMETIC_SEQUENCE = Skill(
    name="arithmetic-sequence",
    cast={"place": nouns("theater, stadium, concert hall, circus tent, lecture hall")},
    numbers={
        "first": whole(5, 30, 90),
        "step": whole(2, 6, 12),
        "rows": one_of(*range(5, 21), larger=range(21, 81)),
    },
    steps=("last = first + (rows - 1) * step", "total = (first + last) * rows / 2"),
    reasoning="The last number is {first} + ({rows} - 1) * {step} = {last}. "
    "The sum is (first + last) * count / 2, so ({first} + {last}) * {rows} / 2 = {total}.",
    wordings=bullets("""
        - A {place} has {rows} rows of seats. The first row has {first} seats, and every row has
          {step} more than the one before. How many seats are there in all?
        - {name} saves {first} dollars in the first week and {step} dollars more each week than in
          the week before. How many dollars has {he} saved after {rows} weeks?
        - On the first day {name} does {first} push-ups, and each day {he} does {step} more than the
          day before. How many push-ups does {he} do in {rows} days?
        - The first number of a list is {first}, and each one is {step} more than the one before.
          What is the sum of the first {rows} numbers?
        - There are {first} chairs in the front row of a {place}. Each further row has {step} chairs
          more. How many chairs do the {rows} rows have together?
        - {name} reads {first} pages on day one and {step} more each day than on the day before. How
          many pages has {he} read in {rows} days?
    """),
    held_out=bullets("""
        - Add up {rows} terms, starting from {first} and going up by {step} each time. What is the
          sum?
        - A wall of {rows} layers has {first} bricks on top and, going down, {step} more in each
          layer than in the layer above. How many bricks does {name} need to build it?
    """),
)
