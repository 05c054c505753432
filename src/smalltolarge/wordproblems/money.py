"""Skills about money."""

from __future__ import annotations

from smalltolarge.wordproblems.language import (
    CLOTHES,
    CRAFTS,
    GOODS,
    SNACKS,
    STATIONERY,
    bullets,
    nouns,
)
from smalltolarge.wordproblems.skill import Skill, money, one_of, whole

SHOPPING_TOTAL = Skill(
    name="shopping-total",
    cast={"thing": STATIONERY, "other": SNACKS},
    numbers={
        "count": whole(2, 12, 90),
        "price": money(1, 9, 25),
        "more": whole(2, 9, 80),
        "other_price": money(1, 8, 20),
    },
    steps=("first = count * price", "second = more * other_price", "total = first + second"),
    places=2,
    reasoning="The {thing:s} cost {count} * {price:$} = {first:$}. "
    "The {other:s} cost {more} * {other_price:$} = {second:$}. "
    "Together that is {first:$} + {second:$} = {total:$}.",
    wordings=bullets("""
        - {name} buys {count:{thing}} at {price:$} each and {more:{other}} at {other_price:$} each.
          How much does {he} pay in total?
        - One {thing} costs {price:$} and one {other} costs {other_price:$}. What do {count:{thing}}
          and {more:{other}} cost together?
        - For a school trip, {name} orders {more:{other}} for {other_price:$} apiece and
          {count:{thing}} for {price:$} apiece. How many dollars does the order come to?
        - {name}'s shopping list says: {count:{thing}}, {more:{other}}. The shop asks {price:$} for
          each {thing} and {other_price:$} for each {other}. How much money does {he} need?
        - In a store, every {thing} is priced at {price:$} and every {other} at {other_price:$}.
          {name} takes {count:{thing}} and {more:{other}} to the till. What is the bill in dollars?
        - {name} and {friend} shop together. {name} puts {count:{thing}} at {price:$} each in the
          cart, and {friend} adds {more:{other}} at {other_price:$} each. What is the total price in
          dollars?
    """),
    held_out=bullets("""
        - The receipt in {name}'s pocket lists {more:{other}} (unit price {other_price:$}) and
          {count:{thing}} (unit price {price:$}). Which sum stands at the bottom of it?
        - {friend} sends {name} out for {count:{thing}} and {more:{other}}. If {thing:a} goes for
          {price:$} and {other:a} for {other_price:$}, how many dollars will {name} spend?
    """),
)

CHANGE = Skill(
    name="change",
    cast={"thing": SNACKS},
    numbers={
        "paid": one_of(20, 30, 40, 50, 60, 80, 100, larger=(400, 500, 600, 800, 1000)),
        "count": whole(2, 12, 60),
        "price": money(1, 9, 20),
    },
    steps=("cost = count * price", "change = paid - cost"),
    places=2,
    reasoning="The {thing:s} cost {count} * {price:$} = {cost:$}. "
    "The change is {paid:$} - {cost:$} = {change:$}.",
    wordings=bullets("""
        - {name} buys {count:{thing}} for {price:$} each and pays with {paid:$}. How much change
          does {he} get?
        - With {paid:$} in {his} wallet, {name} goes out and buys {count:{thing}} at {price:$} each.
          How many dollars are left?
        - At the bakery one {thing} costs {price:$}. {name} orders {count} and hands over {paid:$}.
          How much money comes back?
        - {friend} gives {name} {paid:$} to get {count:{thing}}. Each {thing} costs {price:$}. How
          many dollars should {name} bring back?
        - The price of {thing:a} is {price:$}. If {name} has {paid:$} and buys {count:{thing}}, how
          much money remains?
        - {name} treats the class to {count:{thing}}, which cost {price:$} apiece. {He} pays with
          {paid:$}. What is {his} change in dollars?
    """),
    held_out=bullets("""
        - A cashier takes {paid:$} from {name} for {count:{thing}} at {price:$} per piece. What
          amount must the cashier return?
        - After paying for {count:{thing}}, each {price:$}, how many of the {paid:$} that {name}
          started with are still in {his} purse?
    """),
)

DISCOUNT = Skill(
    name="discount",
    cast={"thing": CLOTHES},
    numbers={"price": whole(10, 240, 3000, step=2), "percent": whole(5, 75, step=5)},
    steps=("saving = price * percent / 100", "sale_price = price - saving"),
    places=2,
    reasoning="The discount is {price:$} * {percent} / 100 = {saving:$}. "
    "The sale price is {price:$} - {saving:$} = {sale_price:$}.",
    wordings=bullets("""
        - A {thing} that normally costs {price:$} is sold at {percent}% off. What is the sale price
          in dollars?
        - {name} finds {thing:a} marked {price:$}. At the till {percent}% is taken off. How much
          does {he} pay?
        - During a sale every price is cut by {percent}%. What does {thing:a} with an old price of
          {price:$} cost now?
        - {name} has a coupon for {percent}% off and uses it on {thing:a} priced at {price:$}. How
          many dollars does {he} spend?
        - The regular price of {thing:a} is {price:$}. Members of the club get a discount of
          {percent}%. How much does a member pay?
        - A shop lowers the price of {thing:a} from {price:$} by {percent}%. What is the new price
          in dollars?
    """),
    held_out=bullets("""
        - On the last day of the season, {name} gets {thing:a} reduced by {percent}%; the tag still
          says {price:$}. What does {he} have to pay?
        - {friend} sells {name} {thing:a} worth {price:$} but lets {percent}% of it go as a favor.
          How many dollars change hands?
    """),
)

UNIT_PRICE = Skill(
    name="unit-price",
    cast={"thing": GOODS},
    numbers={
        "pack": whole(2, 12),
        "pack_price": money(2, 30, 75),
        "wanted": whole(3, 25, 150),
    },
    steps=("each = pack_price / pack", "cost = each * wanted"),
    where="wanted != pack",
    places=2,
    reasoning="One {thing} costs {pack_price:$} / {pack} = {each:$}. "
    "So {wanted:{thing}} cost {each:$} * {wanted} = {cost:$}.",
    wordings=bullets("""
        - {pack:{thing}} cost {pack_price:$}. At the same rate, how much do {wanted:{thing}} cost?
        - {name} pays {pack_price:$} for {pack:{thing}}. How many dollars would {he} pay for
          {wanted:{thing}} at this price?
        - A set of {pack:{thing}} is sold for {pack_price:$}. If each {thing} is worth the same,
          what are {wanted:{thing}} worth in dollars?
        - At the market, {pack:{thing}} go for {pack_price:$}. {name} needs {wanted}. How much money
          must {he} bring?
        - {friend} bought {pack:{thing}} for {pack_price:$}. {name} buys {wanted:{thing}} at the
          same unit price. How much does {name} spend?
        - If a shop charges {pack_price:$} for {pack:{thing}}, what does it charge for
          {wanted:{thing}} at the same rate?
    """),
    held_out=bullets("""
        - For {wanted:{thing}}, what should {name} expect to pay, seeing that {pack_price:$} was the
          price of {pack}?
        - A price list shows only one line: {pack:{thing}}, {pack_price:$}. Work out the line for
          {wanted:{thing}}, in dollars, with no discount for quantity.
    """),
)

PROFIT = Skill(
    name="profit",
    cast={"thing": CRAFTS},
    numbers={
        "count": whole(5, 60, 900),
        "cost": money(1, 12, 25),
        "price": money(3, 25, 60),
    },
    steps=("spent = count * cost", "earned = count * price", "profit = earned - spent"),
    places=2,
    reasoning="Making them costs {count} * {cost:$} = {spent:$}. "
    "Selling them brings {count} * {price:$} = {earned:$}. "
    "The profit is {earned:$} - {spent:$} = {profit:$}.",
    wordings=bullets("""
        - {name} makes {count:{thing}} at a cost of {cost:$} each and sells them all for {price:$}
          each. What is {his} profit in dollars?
        - It costs {cost:$} to make {thing:a}, which then sells for {price:$}. How much profit do
          {count:{thing}} bring?
        - At a craft fair, {name} sells {count:{thing}} at {price:$} apiece. The material for each
          one cost {cost:$}. How many dollars does {he} gain?
        - A workshop buys {count:{thing}} for {cost:$} each and resells every one for {price:$}. How
          much money does it make?
        - {name} spends {cost:$} on each {thing} that {he} makes. {He} sells {count} of them for
          {price:$} each. How much does {he} earn after costs?
        - {count:{thing}} were made for {cost:$} each and sold for {price:$} each. Find the total
          profit in dollars.
    """),
    held_out=bullets("""
        - Every {thing} leaves {name}'s shop for {price:$}, though it took {cost:$} to produce. By
          how much is {he} richer after selling {count} of them?
        - {friend} lends {name} just enough to make {count:{thing}} at {cost:$} apiece. All are sold
          at {price:$}. What is left for {name} once the loan is paid back without interest?
    """),
)

SIMPLE_INTEREST = Skill(
    name="simple-interest",
    cast={"place": nouns("bank, credit union, savings club, building society")},
    numbers={
        "principal": whole(100, 3000, 60000, step=50),
        "percent": whole(2, 9),
        "years": whole(2, 8, 20),
    },
    steps=("yearly = principal * percent / 100", "interest = yearly * years"),
    places=2,
    reasoning="One year brings {principal:$} * {percent} / 100 = {yearly:$}. "
    "In {years} years that is {yearly:$} * {years} = {interest:$}.",
    wordings=bullets("""
        - {name} puts {principal:$} into a {place} that pays {percent}% simple interest a year. How
          much interest does {he} earn in {years} years?
        - A loan of {principal:$} carries simple interest of {percent}% per year. How many dollars
          of interest are due after {years} years?
        - {name} lends {friend} {principal:$} for {years} years at {percent}% simple interest per
          year. How much interest does {friend} pay?
        - What is the simple interest, in dollars, on {principal:$} at {percent}% a year for {years}
          years?
        - For {years} years {name} leaves {principal:$} at a {place}. The yearly simple interest is
          {percent}%. How much interest has been paid by then?
        - At a yearly rate of {percent}% simple interest, how much does {principal:$} earn over
          {years} years?
    """),
    held_out=bullets("""
        - {name} takes the interest out every year, so that {principal:$} stays in the account. The
          rate is {percent}%. What has {he} taken out in all after {years} years?
        - A {place} advertises {percent}% per year, without compounding. Over {years} years, how
          many dollars does a deposit of {principal:$} bring on top?
    """),
)

TWO_UNKNOWNS = Skill(
    name="two-unknowns",
    cast={"show": nouns("concert, play, film, circus show, puppet show, football match")},
    numbers={
        "tickets": whole(20, 120, 900),
        "adult_price": whole(8, 15),
        "child_price": whole(3, 7),
        "income": whole(150, 1200, 9000),
    },
    steps=(
        "all_children = tickets * child_price",
        "missing = income - all_children",
        "gap = adult_price - child_price",
        "adults = missing / gap",
    ),
    where="adults < tickets",
    reasoning="If all tickets were for children, the income would be {tickets} * {child_price:$} = "
    "{all_children:$}. That is {income:$} - {all_children:$} = {missing:$} too little. "
    "Each adult ticket adds {adult_price:$} - {child_price:$} = {gap:$}. "
    "So the number of adult tickets is {missing} / {gap} = {adults}.",
    wordings=bullets("""
        - For a {show}, {tickets} tickets were sold for {income:$} in total. An adult ticket costs
          {adult_price:$} and a child ticket {child_price:$}. How many adult tickets were sold?
        - Adults pay {adult_price:$} and children pay {child_price:$} to see a {show}. {tickets}
          people paid {income:$} altogether. How many of them were adults?
        - {name} sold {tickets} tickets to a {show} and took in {income:$}. Tickets were
          {child_price:$} for children and {adult_price:$} for adults. How many adult tickets did
          {he} sell?
        - A {show} brought in {income:$} from {tickets} visitors. Each adult paid {adult_price:$}
          and each child {child_price:$}. Find the number of adults.
        - The {tickets} seats at a {show} were all taken, and the income was {income:$}. If adults
          paid {adult_price:$} and children {child_price:$}, how many adults came?
        - Tickets to a {show} cost {child_price:$} for a child and {adult_price:$} for an adult.
          With {tickets} tickets sold and {income:$} earned, how many were adult tickets?
    """),
    held_out=bullets("""
        - {name} counts {income:$} in the cash box and {tickets} ticket stubs after the {show}.
          Grown-ups were charged {adult_price:$}, children {child_price:$}. How many grown-ups were
          there?
        - Some of the {tickets} guests at a {show} paid {adult_price:$} as adults, all others
          {child_price:$} as children, {income:$} in sum. How large was the group of adults?
    """),
)
