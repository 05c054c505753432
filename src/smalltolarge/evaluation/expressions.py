r"""Read a mathematical expression, LaTeX or Python's notation, into a small tree.

Nothing is executed. Lengths and depths are limited before anything is read; what is longer, or not
understood, is ``Unreadable``.
"""

from __future__ import annotations

import cmath
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

_LONGEST = 1000
_MOST_TOKENS = 300
_DEEPEST = 40

Tree = tuple[Any, ...]
"""("number", Fraction), ("name", text), (operation, tree, ...)."""


class Unreadable(Exception):
    """No expression, or too large a one."""


FUNCTIONS: Mapping[str, Callable[[complex], complex]] = {
    **{name: getattr(cmath, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp")},
    **{prefix + name: getattr(cmath, f"a{name}")
       for name in ("sin", "cos", "tan") for prefix in ("a", "arc")},
    "csc": lambda value: 1 / cmath.sin(value),
    "sec": lambda value: 1 / cmath.cos(value),
    "cot": lambda value: 1 / cmath.tan(value),
    "ln": cmath.log,
    "log": cmath.log,
}  # fmt: skip
_NUMBERS = {"Rational", "Fraction", "Integer", "Float"}
_EXACT = {"floor", "ceil", "ceiling", "abs", "Abs", "factorial", "sqrt", "cbrt", "binomial"}
_PAIRS = {"frac": "/", "binom": "binomial"}
_DECORATED = {"overline", "bar", "vec", "hat", "overrightarrow"}
_GREEK = re.compile(
    "alpha|beta|gamma|delta|(?:var)?epsilon|zeta|eta|(?:var)?theta|iota|kappa|lambda|mu|nu|xi|rho"
    "|sigma|tau|upsilon|(?:var)?phi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Sigma|Phi|Psi|Omega"
)
_TIMES = {"*": "*", "\\cdot": "*", "\\times": "*", "/": "/", "\\div": "/"}
_CLOSING = {"(": ")", "[": "]", "{": "}", "|": "|", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
_ROUNDED = {"|": "abs", "\\lfloor": "floor", "\\lceil": "ceil"}

_TOKEN = re.compile(
    r"(?P<number>[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,3}(?![0-9A-Za-z]))?|\.[0-9]+)"
    r"|(?P<command>\\[A-Za-z]+)|(?P<word>[A-Za-z]+)|(?P<sign>\*\*|\S)"
)
_ZERO, _ONE = ("number", Fraction(0)), ("number", Fraction(1))


@lru_cache(maxsize=4096)
def read(text: str, is_latex: bool = True) -> Tree:
    """Read an expression; ``is_latex``: ``e`` and ``i`` are constants, else names like any other.

    Unreadable: it is none, or larger than is allowed.
    """
    tokens = [(str(match.lastgroup), match[0]) for match in _TOKEN.finditer(text[:_LONGEST])]
    if len(text) > _LONGEST or len(tokens) > _MOST_TOKENS:
        raise Unreadable("too long")
    reader = _Reader(tokens, is_latex)
    tree = reader.sum()
    if reader.kind() != "end":
        raise Unreadable(f"{reader.peek()} is not expected")
    return tree


class _Reader:
    """Recursive descent: sums of products of powers of factors."""

    def __init__(self, tokens: list[tuple[str, str]], is_latex: bool) -> None:
        self.tokens = [*tokens, ("end", "")]
        self.is_latex = is_latex
        self.place = self.depth = self.bars = self.in_function = 0

    def kind(self) -> str:
        return self.tokens[self.place][0]

    def peek(self) -> str:
        return self.tokens[self.place][1]

    def next(self) -> str:
        found = self.peek()
        self.place += self.kind() != "end"
        return found

    def take(self, text: str) -> bool:
        self.place += (is_here := self.peek() == text)
        return is_here

    def need(self, text: str) -> None:
        if not self.take(text):
            raise Unreadable(f"{text} is missing")

    def sum(self) -> Tree:
        found = _ZERO if self.peek() in ("+", "-") else self.product()
        while self.peek() in ("+", "-"):
            found = (self.next(), found, self.product())
        return found

    def product(self) -> Tree:
        found = self.signed()
        while True:
            if self.peek() in _TIMES:
                found = (_TIMES[self.next()], found, self.signed())
            elif self.starts_factor():
                found = self.next_to(found)
            else:
                return found

    def next_to(self, found: Tree) -> Tree:
        r"""Two factors side by side: a product, but ``2\frac{1}{2}`` and ``2 1/2`` are mixed."""
        place = self.place
        before = self.tokens[place - 1][0]
        after_digits = before == "number" and found[0] == "number"
        is_number, is_fraction = self.kind() == "number", self.peek() == "\\frac"
        second = self.power()
        if is_number and after_digits and self.take("/"):
            second, is_fraction = ("/", second, self.power()), True
        if is_fraction and after_digits and found[1].denominator == 1 and second[0] == "/":
            up, down = second[1], second[2]
            if up[0] == down[0] == "number" and 0 < up[1] < down[1]:
                return ("+", found, second)
        if is_number and (after_digits or before == "word" or self.tokens[place - 1][1] == ")"):
            # "3 4" is no product, and "a0" a numeral or a name.
            raise Unreadable("a number after another, or after a letter or a bracket")
        return ("*", found, second)

    def starts_factor(self) -> bool:
        text = self.peek()
        if text == "|":
            return not self.bars
        is_open = text in ("(", "[", "{") or self.kind() in ("number", "word", "command")
        return is_open and text not in _TIMES and text not in _CLOSING.values()

    def signed(self) -> Tree:
        if self.peek() in ("+", "-"):
            return (self.next(), _ZERO, self.signed())
        return self.power()

    def deeper(self, read: Callable[[], Tree]) -> Tree:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unreadable("too deep")
        found = read()
        self.depth -= 1
        return found

    def power(self) -> Tree:
        found = self.deeper(self.factor)
        while self.peek() in ("!", "°"):
            if self.next() == "!":
                found = ("factorial", found)
            elif self.in_function:
                found = ("/", ("*", found, ("constant", "pi")), ("number", Fraction(180)))
        if self.take("^") or self.take("**"):
            found = ("^", found, self.deeper(self.exponent))
        return found

    def exponent(self) -> Tree:
        return self.group() if self.peek() == "{" else self.signed()

    def group(self) -> Tree:
        r"""``{...}``, or the one character that stands for it: ``\frac12``, ``\sqrt2``."""
        kind, text = self.kind(), self.peek()
        if len(text) > 1 and (kind == "word" or text.isdigit()):
            self.tokens[self.place] = (kind, text[1:])
            return ("number", Fraction(text[0])) if kind == "number" else self.named(text[0])
        return self.deeper(self.factor)

    def factor(self) -> Tree:
        kind, text = self.kind(), self.next()
        if kind == "number":
            return ("number", Fraction(text))
        if text in _CLOSING:
            bars, self.bars = self.bars, self.bars + 1 if text == "|" else 0
            found = self.sum()
            self.need(_CLOSING[text])
            self.bars = bars
            return (_ROUNDED[text], found) if text in _ROUNDED else found
        if kind == "word":
            return self.word(text)
        if kind == "command":
            return self.command(text[1:])
        raise Unreadable(f"{text or 'the end'} is not expected")

    def word(self, text: str) -> Tree:
        is_function = text in {*FUNCTIONS, *_EXACT, *_NUMBERS} or (self.is_latex and text in "fg")
        if is_function and self.peek() == "(":
            return self.call(text)
        if len(text) > 1 and text not in ("pi", "oo"):
            if len(text) > 3:
                raise Unreadable(f"{text} is a word")
            self.place -= 1
            self.tokens[self.place] = ("word", text[1:])
            text = text[0]
        return self.named(text)

    def call(self, name: str) -> Tree:
        self.need("(")
        self.in_function += 1
        values = [self.sum()]
        while self.take(","):
            values.append(self.sum())
        self.in_function -= 1
        self.need(")")
        if len(values) != (2 if name == "binomial" else 1):
            if len(values) != 2 or name not in ("Rational", "Fraction", "log"):
                raise Unreadable(f"{name} of {len(values)}")
            return ("/", *(("log", value) if name == "log" else value for value in values))
        if name in _NUMBERS:
            return values[0]
        return (f"{name}()" if name in ("f", "g") else name.lower(), *values)

    def command(self, name: str) -> Tree:
        if name in _PAIRS:
            up = self.group()
            return (_PAIRS[name], up, self.group())
        if name == "sqrt":
            if not self.take("["):
                return ("sqrt", self.group())
            root = self.sum()
            self.need("]")
            kind = "cbrt" if root == ("number", Fraction(3)) else "^"
            return (kind, self.group(), ("/", _ONE, root))
        if name in FUNCTIONS:
            return self.applied(name)
        if name in _DECORATED:
            return (f"{name}()", self.group())
        if name == "pi" or _GREEK.fullmatch(name):
            return self.named(name.removeprefix("var"))
        raise Unreadable(f"\\{name} is not understood")

    def applied(self, name: str) -> Tree:
        r"""``\sin x``, ``\sin^2 x``, ``\log_2 x``, ``\sin(x)``, ``\cos 2x``."""
        base = self.group() if self.take("_") else None
        exponent = self.exponent() if self.take("^") else None
        self.in_function += 1
        is_closed = self.peek() == "("
        value = self.power()
        ends = ("(", "[", *(f"\\{function}" for function in FUNCTIONS))
        while not is_closed and self.starts_factor() and self.peek() not in ends:
            value = ("*", value, self.power())
        self.in_function -= 1
        found: Tree = (name, value)
        if base is not None:
            found = ("/", ("ln", value), ("ln", base))
        if exponent == ("-", _ZERO, _ONE) and f"a{name}" in FUNCTIONS:
            return (f"a{name}", value)
        return found if exponent is None else ("^", found, exponent)

    def named(self, name: str) -> Tree:
        if self.take("_"):
            place = self.place
            self.group()
            name += "_" + "".join(text for _, text in self.tokens[place : self.place]).strip("{}")
        if name == "oo":
            return ("infinity",)
        if name in ("pi", "I") or (self.is_latex and name in ("e", "i")):
            return ("constant", name.lower())
        return ("name", name)
