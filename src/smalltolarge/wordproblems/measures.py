"""Skills about length, area, weight, time and speed."""

from __future__ import annotations

from smalltolarge.wordproblems.language import CRAFTS, bullets, nouns
from smalltolarge.wordproblems.skill import Skill, one_of, whole

SPEED_DISTANCE = Skill(
    name="speed-distance",
    cast={"vehicle": nouns("car, bus, train, truck, motorbike, van")},
    numbers={
        "speed": whole(40, 120, step=2),
        "hours": whole(2, 9, 48),
        "more": whole(5, 95, 900),
    },
    steps=("driven = speed * hours", "distance = driven + more"),
    reasoning="In {hours} hours the {vehicle} covers {speed} * {hours} = {driven} kilometers. "
    "With the rest it is {driven} + {more} = {distance} kilometers.",
    wordings=bullets("""
        - A {vehicle} travels at {speed} kilometers per hour for {hours} hours and then another
          {more} kilometers. How many kilometers does it travel in total?
        - {name} drives a {vehicle} for {hours} hours at {speed} km per hour. After a break {he}
          drives {more} km more. What is the whole distance in kilometers?
        - After {hours} hours at a steady {speed} kilometers per hour, a {vehicle} is still {more}
          kilometers away from its goal. How long is the whole route in kilometers?
        - A {vehicle} covers {speed} km every hour. It has been on the road for {hours} hours, and
          {more} km are left. How many kilometers long is the trip?
        - {name} first goes {more} kilometers by bike and then {hours} hours by {vehicle} at {speed}
          kilometers per hour. How far does {he} travel in kilometers?
        - The speed of a {vehicle} is {speed} km per hour. How many kilometers has it done after
          {hours} hours if it had already done {more} kilometers before?
    """),
    held_out=bullets("""
        - The counter of {name}'s {vehicle} shows {more} km in the morning. Then {he} keeps to
          {speed} km per hour for {hours} hours. What does the counter show in the end?
        - {friend} lives {more} kilometers beyond the place that {name}'s {vehicle} reaches within
          {hours} hours when going {speed} kilometers per hour. How many kilometers away is that?
    """),
)

PRODUCTION_RATE = Skill(
    name="production-rate",
    cast={"thing": CRAFTS},
    numbers={
        "made": whole(6, 120, 900),
        "minutes": whole(2, 15),
        "longer": whole(16, 120, 1440),
    },
    steps=("per_minute = made / minutes", "amount = per_minute * longer"),
    where="per_minute > 1",
    reasoning="In one minute the number made is {made} / {minutes} = {per_minute}. "
    "In {longer} minutes it is {per_minute} * {longer} = {amount}.",
    wordings=bullets("""
        - A machine makes {made:{thing}} in {minutes} minutes. How many does it make in {longer}
          minutes?
        - In {minutes} minutes a factory turns out {made:{thing}}. At this rate, how many {thing:s}
          does it turn out in {longer} minutes?
        - {name} watches a machine that finishes {made:{thing}} every {minutes} minutes. How many
          {thing:s} will it finish in {longer} minutes?
        - If {made:{thing}} are produced in {minutes} minutes, how many are produced in {longer}
          minutes at the same speed?
        - A production line runs for {longer} minutes. It makes {made:{thing}} per {minutes}
          minutes. How many {thing:s} is that?
        - It takes a robot {minutes} minutes to paint {made:{thing}}. How many {thing:s} can it
          paint in {longer} minutes?
    """),
    held_out=bullets("""
        - {name} lets a machine run for {longer} minutes. From its manual {he} knows: {minutes}
          minutes, {made:{thing}}. How many will lie in the tray?
        - Every time {minutes} minutes have gone by, the pile has grown by {made:{thing}}, always
          evenly. By how many has it grown when {longer} minutes have gone by?
    """),
)

AREA = Skill(
    name="area",
    cast={"place": nouns("garden, park, yard, schoolyard, field, courtyard")},
    numbers={"length": whole(10, 60, 400), "width": whole(6, 40, 300), "side": whole(2, 5, 60)},
    steps=("ground = length * width", "pond = side * side", "area = ground - pond"),
    where="length > width and width > side",
    reasoning="The {place} measures {length} * {width} = {ground} square meters. "
    "The pond measures {side} * {side} = {pond} square meters. "
    "What remains is {ground} - {pond} = {area} square meters.",
    wordings=bullets("""
        - A rectangular {place} is {length} meters long and {width} meters wide. In it lies a square
          pond with sides of {side} meters. How many square meters are not pond?
        - {name} wants to sow grass in {place:a} of {length} m by {width} m, except on a square pond
          with a side of {side} m. How many square meters are to be sown?
        - {place:A} measures {length} meters by {width} meters. A square of {side} meters by {side}
          meters is taken up by a pond. What area in square meters is left?
        - A pond {side} meters long and {side} meters wide was dug in {place:a} of {length} meters
          by {width} meters. How many square meters of the {place} remain dry?
        - Find the area, in square meters, of a rectangular {place} of {length} m by {width} m
          without its square pond, whose side is {side} m.
        - {name}'s {place} has a length of {length} m and a width of {width} m. The square pond in
          the middle has a side of {side} m. How many square meters does the rest have?
    """),
    held_out=bullets("""
        - What surface, in square meters, does {name} mow in {place:a} {width} meters across and
          {length} meters long, going around a square pond with edges of {side} meters?
        - On the plan, the {place} is a rectangle with sides of {length} m and {width} m, and the
          pond a square with sides of {side} m within it. How many square meters lie outside the
          pond?
    """),
)

PERIMETER = Skill(
    name="perimeter",
    cast={"place": nouns("meadow, orchard, paddock, vineyard, playground, field")},
    numbers={"length": whole(20, 120, 900), "width": whole(8, 90, 700), "gate": whole(2, 6)},
    steps=("around = 2 * (length + width)", "fence = around - gate"),
    where="length > width",
    reasoning="All around it is 2 * ({length} + {width}) = {around} meters. "
    "Without the gate that is {around} - {gate} = {fence} meters.",
    wordings=bullets("""
        - A rectangular {place} is {length} meters long and {width} meters wide. A fence goes all
          around it, except for a gate of {gate} meters. How many meters of fence are needed?
        - {name} puts a fence around {place:a} of {length} m by {width} m and leaves {gate} m open
          for a gate. How long is the fence in meters?
        - How many meters of fence enclose {place:a} of {length} meters by {width} meters if {gate}
          meters are left free for the gate?
        - The sides of a rectangular {place} are {length} m and {width} m. {name} fences it in; only
          the {gate} m of the gate need no fence. How many meters of fence does {he} buy?
        - {place:A} has a length of {length} meters and a width of {width} meters. Its gate is
          {gate} meters wide, and the rest of its border is fenced. How long is the fence?
        - To keep deer out of {place:a} {length} meters long and {width} meters wide, {name} fences
          every side but leaves a {gate}-meter gate. How many meters of fence is that?
    """),
    held_out=bullets("""
        - {name} walks once along the whole fence of a rectangular {place}, {width} m by {length} m,
          which is broken only by a gate {gate} m wide. How many meters of fence does {he} pass?
        - Wire is to be stretched along the border of {place:a} with {length} m and {width} m as its
          sides; a gap of {gate} m stays as an entrance. How much wire, in meters, is it?
    """),
)

TIME_INTERVAL = Skill(
    name="time-interval",
    cast={"event": nouns("swimming class, chess course, dance class, pottery course, art class")},
    numbers={
        "start_hour": whole(7, 14),
        "start_minute": whole(0, 55, step=5),
        "end_hour": whole(9, 18),
        "end_minute": whole(0, 55, step=5),
        "days": whole(2, 9, 60),
    },
    steps=(
        "start = 60 * start_hour + start_minute",
        "end = 60 * end_hour + end_minute",
        "daily = end - start",
        "total = daily * days",
    ),
    where="30 <= daily <= 240 and daily != 60",
    reasoning="The start is 60 * {start_hour} + {start_minute} = {start} minutes after midnight. "
    "The end is 60 * {end_hour} + {end_minute} = {end} minutes after midnight. "
    "One day takes {end} - {start} = {daily} minutes. "
    "In {days} days that is {daily} * {days} = {total} minutes.",
    wordings=bullets("""
        - {event:A} runs from {start_hour}:{start_minute:02} to {end_hour}:{end_minute:02} on each
          of {days} days. How many minutes is that in total?
        - {name} goes to {event:a} that starts at {start_hour}:{start_minute:02} and ends at
          {end_hour}:{end_minute:02}. How many minutes does {he} spend there in {days} days?
        - On {days} days, {name} works from {start_hour}:{start_minute:02} until
          {end_hour}:{end_minute:02} without a break. For how many minutes does {he} work?
        - A film plays from {start_hour}:{start_minute:02} to {end_hour}:{end_minute:02} every day.
          For how many minutes does it play in {days} days?
        - Each of the {days} days of {event:a} begins at {start_hour}:{start_minute:02} and is over
          at {end_hour}:{end_minute:02}. How many minutes does it take altogether?
        - A market stall is open daily from {start_hour}:{start_minute:02} to
          {end_hour}:{end_minute:02}. How many minutes is it open during {days} days?
    """),
    held_out=bullets("""
        - {name} switches a lamp on at {start_hour}:{start_minute:02} and off at
          {end_hour}:{end_minute:02}, {days} days in a row. For how many minutes did it burn?
        - Between the bell at {start_hour}:{start_minute:02} and the bell at
          {end_hour}:{end_minute:02}, {friend} is busy. Count the busy minutes of {days} such days.
    """),
)

UNIT_CONVERSION = Skill(
    name="unit-conversion",
    cast={"thing": nouns("parcel, suitcase, sack, pumpkin, toolbox, watermelon")},
    numbers={
        "count": whole(2, 12, 90),
        "kilograms": whole(1, 9, 40),
        "grams": whole(50, 950, step=50),
    },
    steps=("each = 1000 * kilograms + grams", "total = count * each"),
    reasoning="One {thing} weighs 1000 * {kilograms} + {grams} = {each} grams. "
    "All of them weigh {count} * {each} = {total} grams.",
    wordings=bullets("""
        - A {thing} weighs {kilograms} kg {grams} g. How many grams do {count} such {thing:s} weigh?
        - {name} lifts {count:{thing}} of {kilograms} kg and {grams} g each onto a scale. How many
          grams does the scale show?
        - Each of {count:{thing}} weighs {kilograms} kg {grams} g. What is their total weight in
          grams?
        - What do {count:{thing}} weigh together, in grams, if every {thing} weighs {kilograms} kg
          {grams} g?
        - On a cart there are {count:{thing}}, all with a weight of {kilograms} kg and {grams} g.
          How many grams is the load?
        - {name} carries {count:{thing}} to the car. One weighs {kilograms} kg {grams} g, and all
          weigh the same. Find the weight of all of them in grams.
    """),
    held_out=bullets("""
        - A form asks {name} for grams. {He} sends {count:{thing}}, and each brings {kilograms} kg
          {grams} g to the scale. Which number belongs in the form?
        - {kilograms} kg and {grams} g: that is the weight of a single {thing}. Express the weight
          of {count} of them in grams.
    """),
)

WORKERS_DAYS = Skill(
    name="workers-days",
    cast={"thing": nouns("wall, barn, bridge, road, playground, garage")},
    numbers={"workers": whole(2, 24, 120), "days": whole(3, 30, 180), "others": whole(2, 24, 120)},
    steps=("work = workers * days", "needed = work / others"),
    where="workers != others",
    reasoning="The job takes {workers} * {days} = {work} days of work by one person. "
    "Shared among {others} people it takes {work} / {others} = {needed:day}.",
    wordings=bullets("""
        - {workers} workers build a {thing} in {days} days. How many days would {others} workers
          need at the same pace?
        - It takes {workers} people {days} days to build a {thing}. How many days does it take
          {others} people who work equally fast?
        - A {thing} can be finished by {workers} workers in {days} days. In how many days can
          {others} workers finish it?
        - {name} plans a {thing}: with {workers} workers it takes {days} days. How many days does it
          take with {others} workers?
        - If {workers} painters need {days} days to paint a {thing}, how many days do {others}
          painters need?
        - A team of {workers} repairs a {thing} in {days} days. How long, in days, would a team of
          {others} take?
    """),
    held_out=bullets("""
        - {name} can send {others} helpers instead of the {workers} who were planned for a {thing}
          to be built in {days} days. How many days must {he} allow for now?
        - {friend} knows that {days} days pass until {workers} workers are done with a {thing}. How
          many days pass if {others} do it?
    """),
)

WORK_TOGETHER = Skill(
    name="work-together",
    cast={"job": nouns("mow a lawn, clean a barn, paint a fence, wash a bus, fill a pool")},
    numbers={
        "first": one_of(*range(4, 121), larger=range(150, 901, 10)),
        "second": one_of(*range(4, 121), larger=range(150, 901, 10)),
    },
    steps=(
        "pieces = first * second",
        "per_minute = first + second",
        "together = pieces / per_minute",
    ),
    where="first != second",
    places=1,
    reasoning="Cut the job into {first} * {second} = {pieces} equal pieces. Whoever needs "
    "{first} minutes does {second} pieces a minute, and the other does {first}. "
    "Together that is {first} + {second} = {per_minute}. "
    "So both need {pieces} / {per_minute} = {together:minute}.",
    wordings=bullets("""
        - {name} can {job} in {first} minutes, {friend} in {second} minutes. How many minutes do
          they need together?
        - To {job}, {name} needs {first} minutes and {friend} needs {second} minutes. How long, in
          minutes, does it take if they do it together?
        - Alone, {name} takes {first} minutes to {job} and {friend} takes {second}. Working
          together, how many minutes do they take?
        - One machine can {job} in {first} minutes, another in {second} minutes. In how many minutes
          can they do it side by side?
        - {name} and {friend} {job} together. {name} alone would need {first} minutes and {friend}
          alone {second} minutes. After how many minutes are they done?
        - If {name} needs {first} minutes to {job} and {friend} needs {second} minutes, how many
          minutes do both need at once?
    """),
    held_out=bullets("""
        - {friend} comes to help {name} {job} right from the start. {name} by {his} own effort would
          be busy for {first} minutes, {friend} for {second}. For how many minutes are the two busy?
        - Two robots {job} as a pair. The slow and the fast one, on their own, were timed at {first}
          and {second} minutes, in no special order. What is the time of the pair in minutes?
    """),
)

MEETING = Skill(
    name="meeting",
    cast={"vehicle": nouns("train, bus, truck, car, van")},
    numbers={
        "distance": whole(60, 900, 6000, step=10),
        "speed": whole(30, 120, step=5),
        "other_speed": whole(30, 120, step=5),
    },
    steps=("closing = speed + other_speed", "hours = distance / closing"),
    where="speed != other_speed",
    places=1,
    reasoning="Each hour they come {speed} + {other_speed} = {closing} kilometers closer. "
    "So they meet after {distance} / {closing} = {hours:hour}.",
    wordings=bullets("""
        - Two towns are {distance} km apart. A {vehicle} leaves each town at the same time towards
          the other, one at {speed} km per hour, one at {other_speed} km per hour. After how many
          hours do they meet?
        - {name} and {friend} are {distance} kilometers apart and start driving towards each other.
          {name} drives {speed} kilometers per hour and {friend} {other_speed}. How many hours pass
          until they meet?
        - A {vehicle} going {speed} km per hour and a second one going {other_speed} km per hour
          start {distance} km apart and head for each other. In how many hours do they meet?
        - From two ends of a road of {distance} kilometers, {name} and {friend} set out at once, at
          {speed} and {other_speed} kilometers per hour. After how many hours do they meet?
        - The distance between {name} and {friend} is {distance} km. They drive towards each other
          at {speed} km per hour and {other_speed} km per hour. How many hours does it take them to
          meet?
        - At noon, one {vehicle} leaves the coast at {speed} km per hour and another leaves the
          capital, {distance} km away, at {other_speed} km per hour in the opposite direction on the
          same road. How many hours later do they pass each other?
    """),
    held_out=bullets("""
        - {name} sets off to meet {friend}, who lives {distance} km down the road and leaves at the
          same moment. With {speed} km per hour for {name} and {other_speed} km per hour for
          {friend}, how many hours is each of them on the way?
        - The gap between one {vehicle} and the next, {distance} km at first, closes from both
          sides: by {speed} km per hour from the left and {other_speed} km per hour from the right.
          For how many hours is there a gap?
    """),
)
