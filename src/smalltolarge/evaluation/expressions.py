r"""Read a mathematical expression, LaTeX or Python's notation, and tell whether two are equal.

Nothing is executed or simplified: an expression is read into a small tree, and trees are compared
by their values at fixed points, exactly where all is rational, else in floating point. Two
different rational functions agree at all points only by an accident that these points make
improbable (Schwartz 1980, Zippel 1979). Every size is limited before anything is calculated, so
``9**9**9**9`` costs nothing; what is too large, or not understood, is ``Unreadable``.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

_MOST_CHARACTERS = 1000
_MOST_TOKENS = 300
_DEEPEST = 40
_MOST_BITS = 30_000
"""Of a numerator or a denominator; 2^4950 is an answer that is asked for."""
_MOST_WORK = 4_000
"""Of one evaluation, in operations on small numbers; large ones count for more."""
_LARGEST_FACTORIAL = 300
_CLOSE = 1e-9
"""Relative: what is left of double precision after a page of arithmetic."""
_POINTS = 8
_ENOUGH = 3

Value = Fraction | complex
Tree = tuple[Any, ...]
"""("number", Fraction), ("name", text), (operation, tree, ...)."""


class Unreadable(Exception):
    """No expression, or too large a one."""


_FUNCTIONS: Mapping[str, Callable[[complex], complex]] = {
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
_CONSTANTS = {"pi": math.pi, "e": math.e, "i": 1j}
_GREEK = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "varepsilon",
    "zeta",
    "eta",
    "theta",
    "vartheta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "varphi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Sigma",
    "Phi",
    "Psi",
    "Omega",
]
_RENAMED = {"varepsilon": "epsilon", "vartheta": "theta", "varphi": "phi"}

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3}(?![0-9A-Za-z]))?|\.[0-9]+)"
    r"|(?P<command>\\[A-Za-z]+)|(?P<word>[A-Za-z]+)|(?P<sign>\*\*|[-+*/^!|(){}\[\],_]))\s*"
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


class _Reader:
    """Recursive descent: sums of products of powers of factors."""

    def __init__(self, tokens: list[tuple[str, str]], is_latex: bool) -> None:
        self.tokens = tokens
        self.is_latex = is_latex
        self.place = 0
        self.bars = 0

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
        if self.kind() == "number" and self.tokens[self.place - 1][0] == "number":
            raise Unreadable("two numbers side by side")
        is_frac = self.peek() in ("\\frac", "\\dfrac", "\\tfrac")
        second = self.power(depth)
        if after_digits and is_frac and second[0] == "/":
            up, down = second[1], second[2]
            if up[0] == down[0] == "number" and 0 < up[1] < down[1]:
                return ("+", found, second)
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
        while self.take("!"):
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
            return ("number", Fraction(text))
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
        if self.peek() == "(" and (text in _FUNCTIONS or text in _EXACT):
            return self.call(text, depth)
        if text == "pi" or (text == "oo" and not self.is_latex):
            return self.named(text)
        if len(text) > 1:
            if len(text) > 3:
                raise Unreadable(f"{text} is a word")
            self.place -= 1
            self.tokens[self.place] = ("word", text[1:])
        return self.named(text[0])

    def call(self, name: str, depth: int) -> Tree:
        self.need("(")
        values = [self.sum(depth + 1)]
        while self.take(","):
            values.append(self.sum(depth + 1))
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
        if name in ("frac", "dfrac", "tfrac", "cfrac"):
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
            if kind == "word" and inner in _FUNCTIONS:
                return self.applied(inner, depth)
            if kind == "word" and len(inner) == 1:
                return self.named(inner)
            raise Unreadable(f"{inner} is a word")
        if name in _FUNCTIONS:
            return self.applied(name, depth)
        if name == "pi" or name == "infty" or name in _GREEK:
            return self.named(_RENAMED.get(name, "oo" if name == "infty" else name))
        raise Unreadable(f"\\{name} is not understood")

    def applied(self, name: str, depth: int) -> Tree:
        r"""``\sin x``, ``\sin^2 x``, ``\log_2 x``, ``\sin(x)``, ``\cos 2x``."""
        base = exponent = None
        if self.take("_"):
            base = self.group(depth)
        if self.take("^"):
            exponent = self.exponent(depth + 1)
        if self.peek() == "(":
            value = self.power(depth + 1)
        else:
            value = self.power(depth + 1)
            while self.starts_factor() and self.peek()[1:] not in _FUNCTIONS:
                if self.peek() in ("(", "["):
                    break
                value = ("*", value, self.power(depth + 1))
        found: Tree = (name, value)
        if base is not None:
            found = ("/", ("ln", value), ("ln", base))
        if exponent is None:
            return found
        if exponent == ("-", ("number", Fraction(0)), ("number", Fraction(1))):
            return (f"a{name}", value) if f"a{name}" in _FUNCTIONS else found
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


def names(tree: Tree) -> set[str]:
    """Give the names in an expression."""
    if tree[0] == "name":
        return {tree[1]}
    return set().union(*(names(part) for part in tree[1:] if isinstance(part, tuple)))


class Evaluation:
    """Values of trees at one point; refuses what would cost too much."""

    def __init__(self, point: Mapping[str, Fraction]) -> None:
        self.point = point
        self.work = 0.0

    def value(self, tree: Tree) -> Value:
        """Evaluate a tree.

        Raises
        ------
        Unreadable
            Too large.
        ArithmeticError, ValueError
            It has no value here.
        """
        operation = tree[0]
        if operation == "number":
            return tree[1]  # type: ignore[no-any-return]
        if operation == "name":
            return self.point[tree[1]]
        if operation == "constant":
            return complex(_CONSTANTS[tree[1]])
        if operation == "infinity":
            raise Unreadable("infinite")
        found = self.apply(operation, [self.value(part) for part in tree[1:]])
        bits = 1
        if isinstance(found, Fraction):
            bits = found.numerator.bit_length() + found.denominator.bit_length()
        elif not cmath.isfinite(found):
            raise OverflowError
        self.work += 1 + (bits / 1000) ** 2
        if bits > 2 * _MOST_BITS or self.work > _MOST_WORK:
            raise Unreadable("too large")
        return found

    def apply(self, operation: str, values: list[Value]) -> Value:
        first, last = values[0], values[-1]
        match operation:
            case "+":
                return first + last
            case "-":
                return first - last
            case "*":
                return first * last
            case "/":
                return first / last
            case "^":
                return _power(first, last)
            case "sqrt":
                return _power(first, Fraction(1, 2))
            case "cbrt":
                if isinstance(first, Fraction) and first < 0:
                    return -_power(-first, Fraction(1, 3))
                return _power(first, Fraction(1, 3))
            case "abs":
                return abs(first) if isinstance(first, Fraction) else complex(abs(first))
            case "floor" | "ceil" | "ceiling":
                rounded = math.floor if operation == "floor" else math.ceil
                real = first if isinstance(first, Fraction) else _real(first)
                return Fraction(rounded(real))
            case "factorial":
                return Fraction(math.factorial(_small(first)))
            case "binomial":
                return Fraction(math.comb(_small(first), _small(last)))
            case _:
                if isinstance(first, Fraction) and first == 0 and operation in ("exp", "cos"):
                    return Fraction(1)
                return _FUNCTIONS[operation](_complex(first))


def _complex(value: Value) -> complex:
    return complex(float(value)) if isinstance(value, Fraction) else value


def _real(value: complex) -> float:
    if abs(value.imag) > _CLOSE:
        raise ValueError("not real")
    return value.real


def _small(value: Value) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1:
        raise ValueError("not whole")
    if not 0 <= value <= _LARGEST_FACTORIAL:
        raise Unreadable("too large a factorial")
    return int(value)


def _root(value: int, degree: int) -> int | None:
    if value.bit_length() > 1000:
        return None
    near = math.isqrt(value) if degree == 2 else round(value ** (1 / degree))
    return next((root for root in (near - 1, near, near + 1) if root**degree == value), None)


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if exponent.denominator == 1:
            if bits > 1 and abs(exponent) * bits > _MOST_BITS:
                raise Unreadable("too large a power")
            return base ** int(exponent)
        if base > 0 and exponent.denominator in (2, 3) and abs(exponent) * bits < _MOST_BITS:
            degree = exponent.denominator
            up, down = _root(base.numerator, degree), _root(base.denominator, degree)
            if up is not None and down is not None:
                return Fraction(up, down) ** exponent.numerator
    if base == 0:
        return Fraction(0)
    return _complex(base) ** _complex(exponent)


def _points(variables: set[str]) -> list[dict[str, Fraction]]:
    """Small fractions on both sides of zero, no two alike and in no simple relation."""
    found = []
    for point in range(_POINTS):
        values = {}
        for place, name in enumerate(sorted(variables)):
            size = Fraction(7 + 13 * point + 29 * place + (point * place) % 5, 11 + 2 * point)
            values[name] = -size if (point + place) % 3 == 2 else size
        found.append(values)
    return found


def values(*trees: Tree) -> list[tuple[Value, ...]]:
    """Evaluate trees at the same points; points at which one has no value are left out.

    Raises
    ------
    Unreadable
        One is too large.
    """
    variables = set().union(*map(names, trees))
    found = []
    for point in _points(variables) if variables else [{}]:
        try:
            found.append(tuple(Evaluation(point).value(tree) for tree in trees))
        except (ArithmeticError, ValueError):
            continue
        except RecursionError as error:
            raise Unreadable("too deep") from error
    if not found or (variables and len(found) < _ENOUGH):
        raise Unreadable("no values")
    return found


def are_close(one: Value, other: Value) -> bool:
    """Compare exactly where both are rational, else to what floating point can tell."""
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other
    try:
        one, other = _complex(one), _complex(other)
    except OverflowError:
        return False
    return abs(one - other) <= _CLOSE * max(abs(one), abs(other), 1e-4)


def are_equal(one: Tree, other: Tree) -> bool:
    """Tell whether two expressions have the same values.

    Where both are real at some points, only these count: roots and logarithms are of numbers that
    have them.

    Raises
    ------
    Unreadable
        One is too large.
    """
    if one == other:
        return True
    pairs = values(one, other)
    real = [pair for pair in pairs if all(_is_real(value) for value in pair)]
    if len(real) >= _ENOUGH:
        pairs = real
    return all(are_close(*pair) for pair in pairs)


def factor_between(one: Tree, other: Tree) -> float | None:
    """Give the real number, not zero, that one expression is the other times; None: there is none.

    Raises
    ------
    Unreadable
        One is too large.
    """
    pairs = [(_complex(first), _complex(second)) for first, second in values(one, other)]
    first, second = max(pairs, key=lambda pair: abs(pair[1]))
    if not second or not first:
        return None
    factor = first / second
    if abs(factor.imag) > _CLOSE * abs(factor):
        return None
    same = all(are_close(left, right * factor) for left, right in pairs)
    return factor.real if same else None


def _is_real(value: Value) -> bool:
    return isinstance(value, Fraction) or abs(value.imag) <= _CLOSE * max(1.0, abs(value))
