"""Skills about counting, multiples and chance."""

from __future__ import annotations

from smalltolarge.wordproblems.language import FLOWERS, bullets, nouns
from smalltolarge.wordproblems.skill import Skill, one_of, whole

COMBINATIONS = Skill(
    name="combinations",
    cast={"team": nouns("team, committee, band, crew, jury")},
    numbers={
        "girls": whole(4, 10, 30),
        "chosen_girls": whole(2, 3),
        "boys": whole(4, 10, 30),
        "chosen_boys": whole(2, 3),
    },
    steps=(
        "girl_choices = comb(girls, chosen_girls)",
        "boy_choices = comb(boys, chosen_boys)",
        "ways = girl_choices * boy_choices",
    ),
    reasoning="There are {girl_choices} ways to choose {chosen_girls} of {girls} girls "
    "and {boy_choices} ways to choose {chosen_boys} of {boys} boys. "
    "Every choice of girls goes with every choice of boys: "
    "{girl_choices} * {boy_choices} = {ways}.",
    wordings=bullets("""
        - From {girls} girls and {boys} boys, a {team} of {chosen_girls} girls and {chosen_boys}
          boys is chosen. How many ways are there to choose it?
        - {name} picks {chosen_girls} of {girls} girls and {chosen_boys} of {boys} boys for a
          {team}. How many different picks are possible?
        - A class has {girls} girls and {boys} boys. In how many ways can it form a {team} with
          {chosen_girls} girls and {chosen_boys} boys?
        - A {team} needs {chosen_boys} boys and {chosen_girls} girls. There are {boys} boys and
          {girls} girls to choose from. How many different ones can be formed?
        - How many ways are there to choose {chosen_girls} girls out of {girls} together with
          {chosen_boys} boys out of {boys} for a {team}?
        - {girls} girls and {boys} boys want to join a {team} that has room for {chosen_girls} girls
          and {chosen_boys} boys. How many different line-ups are there?
    """),
    held_out=bullets("""
        - {name} writes down every possible {team}: {chosen_girls} names from a list of {girls}
          girls, {chosen_boys} names from a list of {boys} boys. How many does {he} write down?
        - The order does not matter: {chosen_boys} of the {boys} boys and {chosen_girls} of the
          {girls} girls are to make up a {team}. Count the possibilities.
    """),
)

PROBABILITY = Skill(
    name="probability",
    cast={"thing": nouns("ball, marble, bead, button, ticket, pencil"), "bag": nouns("bag, box")},
    numbers={"red": whole(2, 14, 90), "blue": whole(2, 14, 90), "green": whole(2, 14, 90)},
    steps=("total = red + blue + green", "chance = Fraction(red, total)"),
    places=None,
    reasoning="In all there are {red} + {blue} + {green} = {total} {thing:s}, and {red} of them "
    "are red. The probability is {red} / {total} = {chance:/}.",
    wordings=bullets("""
        - A {bag} holds {red} red, {blue} blue and {green} green {thing:s}. {name} takes one without
          looking. What is the probability that it is red, as a fraction?
        - There are {red} red {thing:s}, {blue} blue ones and {green} green ones in a {bag}. One is
          drawn at random. What is the probability of red, as a fraction in lowest terms?
        - {name} draws one {thing} at random from {green} green, {blue} blue and {red} red ones. As
          a fraction, what is the chance that it is red?
        - In a {bag} are {blue} blue, {red} red and {green} green {thing:s}. Give the probability of
          drawing a red one as a fraction in lowest terms.
        - What is the probability, as a fraction, of picking a red {thing} from a {bag} with {red}
          red, {green} green and {blue} blue {thing:s}?
        - {name} put {red} red, {blue} blue and {green} green {thing:s} into a {bag}, and {friend}
          picks one blindly. Find the probability, as a fraction, that it is red.
    """),
    held_out=bullets("""
        - {name} wins if the {thing} {he} pulls from the {bag} is red. Inside are {blue} blue,
          {green} green and {red} red ones. Which fraction gives {his} chance to win?
        - All {thing:s} in a {bag} are equally likely to come out: {red} red, {green} green, {blue}
          blue. What fraction is the probability of a red one coming out first?
    """),
)

COMMON_MULTIPLE = Skill(
    name="common-multiple",
    cast={"light": nouns("lamp, beacon, buoy, signal, warning light"), "flower": FLOWERS},
    numbers={
        "first": one_of(*range(4, 41), larger=range(41, 241)),
        "second": one_of(*range(4, 41), larger=range(41, 241)),
    },
    steps=("shared = gcd(first, second)", "together = first * second // shared"),
    where="together > first and together > second",
    reasoning="The largest number that divides both {first} and {second} is {shared}. "
    "So the smallest number that both divide is {first} * {second} / {shared} = {together}.",
    wordings=bullets("""
        - One {light} flashes every {first} seconds and another every {second} seconds. They have
          just flashed together. After how many seconds do they next flash together?
        - {name} waters the {flower:s} every {first} days and the fern every {second} days. Today
          both get water. In how many days will both get water on the same day again?
        - Two buses leave the station at the same time. One leaves every {first} minutes, the other
          every {second} minutes. After how many minutes do both leave together again?
        - {name} visits the library every {first} days and {friend} every {second} days. Today they
          meet there. After how many days do they meet there next?
        - What is the smallest number of {flower:s} that can be tied in bunches of {first} as well
          as in bunches of {second} with none left over?
        - A {light} blinks every {first} seconds and a bell rings every {second} seconds. Both
          happen now. How many seconds pass until both happen at once again?
    """),
    held_out=bullets("""
        - Two gears turn together, with {first} and {second} teeth. After how many teeth do both
          stand exactly as at the start for the first time?
        - {name} lays strips of {first} cm in one line and strips of {second} cm in another beside
          it. At what length, in centimeters, do the two lines first end evenly?
    """),
)
