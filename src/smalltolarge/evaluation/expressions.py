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

_MOST_CHARACTERS = 1000
_MOST_TOKENS = 300
_DEEPEST = 40

Tree = tuple[Any, ...]
"""("number", Fraction), ("name", text), (operation, tree, ...)."""


class Unreadable(Exception):
    """No expression, or too large a one."""


FUNCTIONS: Mapping[str, Callable[[complex], complex]] = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "csc": lambda value: 1 / cmath.sin(value),
    "sec": lambda value: 1 / cmath.cos(value),
    "cot": lambda value: 1 / cmath.tan(value),
    "sinh": cmath.sinh,
    "cosh": cmath.cosh,
    "tanh": cmath.tanh,
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
    "asin": cmath.asin,
    "acos": cmath.acos,
    "atan": cmath.atan,
    "exp": cmath.exp,
    "ln": cmath.log,
    "log": cmath.log,
}
_EXACT = {"floor", "ceil", "ceiling", "abs", "Abs", "factorial", "sqrt", "cbrt", "binomial"}
_EXACT |= {"Rational", "Fraction", "Integer", "Float"}
_GREEK = re.compile(
    "alpha|beta|gamma|delta|(?:var)?epsilon|zeta|eta|(?:var)?theta|iota|kappa|lambda|mu|nu|xi|rho"
    "|sigma|tau|upsilon|(?:var)?phi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Sigma|Phi|Psi|Omega"
)
_RENAMED = {"varepsilon": "epsilon", "vartheta": "theta", "varphi": "phi"}

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]*\.[0-9]*\\(?:overline|bar)\s*\{[0-9]{1,40}\}|[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,3}(?![0-9A-Za-z]))?|\.[0-9]+)"
    r"|(?P<command>\\[A-Za-z]+)|(?P<word>[A-Za-z]+)|(?P<sign>\*\*|[-+*/^!|(){}\[\],_°]))\s*"
)
_SKIPPED = re.compile(r"\\(?:left|right|displaystyle|big|Big|bigl|bigr|[,;:! ])(?![A-Za-z])")


@lru_cache(maxsize=4096)
def read(text: str, is_latex: bool = True) -> Tree:
    """Read an expression; in Python's notation ``e`` and ``i`` are names like any other.

    Raises
    ------
    Unreadable
        It is none, or larger than is allowed.
    """
    if len(text) > _MOST_CHARACTERS:
        raise Unreadable("too long")
    reader = _Reader(_tokens(_SKIPPED.sub(" ", text)), is_latex)
    try:
        tree = reader.sum(0)
    except RecursionError as error:
        raise Unreadable("too deep") from error
    if reader.place < len(reader.tokens):
        raise Unreadable(f"{reader.tokens[reader.place][1]} is not expected")
    return tree


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or len(found) >= _MOST_TOKENS:
            raise Unreadable(f"no expression: {text[place : place + 20]!r}")
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        place = match.end()
    if not found:
        raise Unreadable("empty")
    return found


def _number(text: str) -> Fraction:
    """Read digits, also with a period: ``0.1\\overline{6}``."""
    plain, _, again = text.partition("\\")
    if not again:
        return Fraction(text)
    digits = re.sub("[^0-9]", "", again)
    places = len(plain.partition(".")[2])
    return Fraction(f"0{plain}0") + Fraction(int(digits), (10 ** len(digits) - 1) * 10**places)


class _Reader:
    """Recursive descent: sums of products of powers of factors."""

    def __init__(self, tokens: list[tuple[str, str]], is_latex: bool) -> None:
        self.tokens = tokens
        self.is_latex = is_latex
        self.place = 0
        self.bars = 0
        self.in_function = 0

    def peek(self) -> str:
        return self.tokens[self.place][1] if self.place < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.place][0] if self.place < len(self.tokens) else ""

    def take(self, text: str) -> bool:
        if self.peek() == text:
            self.place += 1
            return True
        return False

    def need(self, text: str) -> None:
        if not self.take(text):
            raise Unreadable(f"{text} is missing")

    def sum(self, depth: int) -> Tree:
        if depth > _DEEPEST:
            raise Unreadable("too deep")
        if self.take("-"):
            found: Tree = ("-", ("number", Fraction(0)), self.product(depth))
        else:
            self.take("+")
            found = self.product(depth)
        while True:
            if self.take("+"):
                found = ("+", found, self.product(depth))
            elif self.take("-"):
                found = ("-", found, self.product(depth))
            else:
                return found

    def product(self, depth: int) -> Tree:
        found = self.signed(depth)
        while True:
            if self.take("*") or self.take("\\cdot") or self.take("\\times"):
                found = ("*", found, self.signed(depth))
            elif self.take("/") or self.take("\\div"):
                found = ("/", found, self.signed(depth))
            elif self.starts_factor():
                found = self.next_to(found, depth)
            else:
                return found

    def next_to(self, found: Tree, depth: int) -> Tree:
        r"""Two factors side by side: a product, but ``2\frac{1}{2}`` is a mixed number."""
        is_whole = found[0] == "number" and found[1].denominator == 1 and self.place > 0
        after_digits = is_whole and self.tokens[self.place - 1][0] == "number"
        is_number, is_frac = self.kind() == "number", self.peek() == "\\frac"
        second = self.power(depth)
        if is_number and after_digits and self.take("/"):
            # "5 1/2"
            second, is_frac = ("/", second, self.power(depth)), True
        if after_digits and is_frac and second[0] == "/":
            up, down = second[1], second[2]
            if up[0] == down[0] == "number" and 0 < up[1] < down[1]:
                return ("+", found, second)
        if is_number and found[0] == "number":
            raise Unreadable("two numbers side by side")
        return ("*", found, second)

    def starts_factor(self) -> bool:
        text = self.peek()
        if text == "|":
            return not self.bars
        return self.kind() in ("number", "word") or ((
            text in ("(", "[", "{")
            or (self.kind() == "command" and text not in ("\\cdot", "\\times", "\\div"))
        ) and text not in ("\\rfloor", "\\rceil", "\\rvert"))  # fmt: skip

    def signed(self, depth: int) -> Tree:
        if depth > _DEEPEST:
            raise Unreadable("too deep")
        if self.take("-"):
            return ("-", ("number", Fraction(0)), self.signed(depth + 1))
        if self.take("+"):
            return self.signed(depth + 1)
        return self.power(depth)

    def power(self, depth: int) -> Tree:
        found = self.factor(depth + 1)
        while self.peek() in ("!", "°"):
            is_angle = self.take("°")
            if is_angle and self.in_function:
                found = ("/", ("*", found, ("constant", "pi")), ("number", Fraction(180)))
            elif not is_angle and self.take("!"):
                found = ("factorial", found)
        if self.take("^") or self.take("**"):
            found = ("^", found, self.exponent(depth + 1))
        return found

    def exponent(self, depth: int) -> Tree:
        if depth > _DEEPEST:
            raise Unreadable("too deep")
        if self.peek() == "{":
            group = self.group(depth)
            return ("^", group, self.exponent(depth + 1)) if self.take("^") else group
        return self.signed(depth + 1)

    def group(self, depth: int) -> Tree:
        """``{...}``, or the one token that stands for it: ``\\frac12``, ``\\sqrt2``."""
        if self.take("{"):
            found = self.sum(depth + 1)
            self.need("}")
            return found
        kind, text = self.kind(), self.peek()
        if kind == "number" and len(text) > 1 and text.isdigit():
            self.tokens[self.place] = (kind, text[1:])
            return ("number", Fraction(text[0]))
        if kind == "word" and len(text) > 1:
            self.tokens[self.place] = (kind, text[1:])
            return self.named(text[0])
        return self.factor(depth + 1)

    def factor(self, depth: int) -> Tree:
        if depth > _DEEPEST:
            raise Unreadable("too deep")
        kind, text = self.kind(), self.peek()
        self.place += 1
        if kind == "number":
            return ("number", _number(text))
        for opening, closing in (("(", ")"), ("[", "]"), ("{", "}")):
            if text == opening:
                bars, self.bars = self.bars, 0
                found = self.sum(depth + 1)
                self.need(closing)
                self.bars = bars
                return found
        if text in ("|", "\\lvert"):
            self.bars += 1
            found = self.sum(depth + 1)
            self.bars -= 1
            self.need("|" if text == "|" else "\\rvert")
            return ("abs", found)
        if kind == "word":
            return self.word(text, depth)
        if kind == "command":
            return self.command(text[1:], depth)
        raise Unreadable(f"{text or 'the end'} is not expected")

    def word(self, text: str, depth: int) -> Tree:
        if self.peek() == "(" and (text in FUNCTIONS or text in _EXACT):
            return self.call(text, depth)
        if text in ("pi", "oo"):
            return self.named(text)
        if text in ("f", "g") and self.take("("):
            found = self.sum(depth + 1)
            self.need(")")
            return (f"{text}()", found)
        if len(text) > 1:
            if len(text) > 3:
                raise Unreadable(f"{text} is a word")
            self.place -= 1
            self.tokens[self.place] = ("word", text[1:])
        return self.named(text[0])

    def call(self, name: str, depth: int) -> Tree:
        self.need("(")
        self.in_function += 1
        values = [self.sum(depth + 1)]
        while self.take(","):
            values.append(self.sum(depth + 1))
        self.in_function -= 1
        self.need(")")
        if name in ("Rational", "Fraction") and len(values) == 2:
            return ("/", *values)
        if name in ("Rational", "Fraction", "Integer", "Float") and len(values) == 1:
            return values[0]
        if name == "log" and len(values) == 2:
            return ("/", ("log", values[0]), ("log", values[1]))
        if name == "binomial" and len(values) == 2:
            return ("binomial", *values)
        if len(values) != 1 or name == "binomial":
            raise Unreadable(f"{name} of {len(values)}")
        return (name.lower(), values[0])

    def command(self, name: str, depth: int) -> Tree:
        if name in ("frac", "cfrac"):
            up = self.group(depth)
            return ("/", up, self.group(depth))
        if name in ("binom", "dbinom", "tbinom"):
            up = self.group(depth)
            return ("binomial", up, self.group(depth))
        if name == "sqrt":
            if self.take("["):
                root = self.sum(depth + 1)
                self.need("]")
                if root == ("number", Fraction(3)):
                    return ("cbrt", self.group(depth))
                return ("^", self.group(depth), ("/", ("number", Fraction(1)), root))
            return ("sqrt", self.group(depth))
        if name in ("lfloor", "lceil"):
            found = self.sum(depth + 1)
            self.need(f"\\r{name[1:]}")
            return (name[1:], found)
        if name in ("mathrm", "text", "operatorname", "mathbf") and self.take("{"):
            kind, inner = self.kind(), self.peek()
            self.place += 1
            self.need("}")
            if kind == "word" and inner in FUNCTIONS:
                return self.applied(inner, depth)
            if kind == "word" and len(inner) == 1:
                return self.named(inner)
            raise Unreadable(f"{inner} is a word")
        if name in FUNCTIONS:
            return self.applied(name, depth)
        if name == "pi" or _GREEK.fullmatch(name):
            return self.named(_RENAMED.get(name, name))
        if name in ("overline", "bar", "vec", "hat", "overrightarrow"):
            return (f"{name}()", self.group(depth))
        raise Unreadable(f"\\{name} is not understood")

    def applied(self, name: str, depth: int) -> Tree:
        r"""``\sin x``, ``\sin^2 x``, ``\log_2 x``, ``\sin(x)``, ``\cos 2x``."""
        base = exponent = None
        if self.take("_"):
            base = self.group(depth)
        if self.take("^"):
            exponent = self.exponent(depth + 1)
        self.in_function += 1
        is_closed = self.peek() == "("
        value = self.power(depth + 1)
        while not is_closed and self.starts_factor() and self.peek()[1:] not in FUNCTIONS:
            if self.peek() in ("(", "["):
                break
            value = ("*", value, self.power(depth + 1))
        self.in_function -= 1
        found: Tree = (name, value)
        if base is not None:
            found = ("/", ("ln", value), ("ln", base))
        if exponent is None:
            return found
        if exponent == ("-", ("number", Fraction(0)), ("number", Fraction(1))):
            return (f"a{name}", value) if f"a{name}" in FUNCTIONS else found
        return ("^", found, exponent)

    def named(self, name: str) -> Tree:
        if name == "I" or (name == "E" and not self.is_latex):
            return ("constant", name.lower())
        if self.take("_"):
            place = self.place
            self.group(0)
            name += "_" + "".join(text for _, text in self.tokens[place : self.place]).strip("{}")
        if name == "pi" or (self.is_latex and name in ("e", "i")):
            return ("constant", name)
        if name == "oo":
            return ("infinity",)
        return ("name", name)
