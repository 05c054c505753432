"""Tell whether two expressions are equal, by their values.

Nothing is simplified: trees are compared by their values at fixed points, exactly where all is
rational, else in floating point. Two different rational functions agree at all points only by an
accident that these points make improbable (Schwartz 1980, Zippel 1979). The size of every number is
limited before it is calculated, so ``9**9**9**9`` costs nothing; what is too large is
``Unreadable``.
"""

from __future__ import annotations

import cmath
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from smalltolarge.evaluation.expressions import FUNCTIONS, Tree, Unreadable

_MOST_BITS = 30_000
"""Of a numerator or a denominator; 2^4950 is an answer that is asked for."""
_MOST_WORK = 4_000
"""Of one evaluation, in operations on small numbers; large ones count for more."""
_LARGEST_FACTORIAL = 300
_CLOSE = 1e-9
"""Relative: what is left of double precision after a page of arithmetic."""
_LOST = 1e-12
"""Of the largest number on the way, which a difference of two large ones may have lost."""
_SIZES = [
    Fraction(*size) for size in ((7, 11), (20, 13), (41, 13), (176, 15), (2311, 13), (90023, 9))
]
_AROUND = (Fraction(17, 15), Fraction(14, 15))
_MOST_NUMBERS = 6
_ENOUGH = 3

Value = Fraction | complex
_CONSTANTS = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}
_SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


def _leaves(tree: Tree, kind: str) -> Iterator[Any]:
    if tree[0] == kind:
        yield tree[1]
    for part in tree[1:]:
        if isinstance(part, tuple):
            yield from _leaves(part, kind)


def names(tree: Tree) -> set[str]:
    """Give the names in an expression."""
    return set(_leaves(tree, "name"))


class _Evaluation:
    """Values of trees at one point; refuses what would cost too much."""

    def __init__(self, point: Mapping[str, Fraction]) -> None:
        self.point = point
        self.work = self.largest = 0.0

    def value(self, tree: Tree) -> Value:
        """Evaluate a tree; what has no value here raises ArithmeticError or ValueError."""
        operation = tree[0]
        if operation == "number":
            return tree[1]  # type: ignore[no-any-return]
        if operation in ("name", "constant"):
            return (self.point if operation == "name" else _CONSTANTS)[tree[1]]
        if operation == "infinity":
            raise Unreadable("infinite")
        found = _applied(operation, *map(self.value, tree[1:]))
        bits = 1
        if isinstance(found, Fraction):
            bits = found.numerator.bit_length() + found.denominator.bit_length()
        elif cmath.isfinite(found):
            self.largest = max(self.largest, abs(found))
        else:
            raise OverflowError
        self.work += 1 + (bits / 1000) ** 2
        if bits > 2 * _MOST_BITS or self.work > _MOST_WORK:
            raise Unreadable("too large")
        return found


def _applied(operation: str, *values: Value) -> Value:
    first, last = values[0], values[-1]
    match operation:
        case "+" | "-" | "*" | "/":
            return _SIGNS[operation](first, last)  # type: ignore[no-any-return]
        case "^":
            return _power(first, last)
        case "sqrt":
            return _power(first, Fraction(1, 2))
        case "cbrt":
            sign = -1 if isinstance(first, Fraction) and first < 0 else 1
            return sign * _power(sign * first, Fraction(1, 3))
        case "abs":
            return abs(first) if isinstance(first, Fraction) else complex(abs(first))
        case "floor" | "ceil" | "ceiling":
            whole = real(first)
            if whole is None:
                raise ValueError("not real")
            rounded = math.floor(whole) if operation == "floor" else math.ceil(whole)
            # A root may miss a whole number by what floating point loses.
            return Fraction(round(whole) if abs(whole - round(whole)) <= _CLOSE else rounded)
        case "factorial":
            return Fraction(math.factorial(_small(first)))
        case "binomial":
            return Fraction(math.comb(_small(first), _small(last)))
        case _ if operation.endswith("()"):
            # A function that nothing is known of: some value for each argument.
            seed = sum(map(ord, operation))
            return (first * first * seed + 1) / (first * first + first + seed)
    return FUNCTIONS[operation](_complex(first))


def _complex(value: Value) -> complex:
    return complex(float(value)) if isinstance(value, Fraction) else value


def _small(value: Value) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1:
        raise ValueError("not whole")
    if not 0 <= value <= _LARGEST_FACTORIAL:
        raise Unreadable("too large a factorial")
    return int(value)


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if exponent.denominator == 1:
            if bits > 1 and abs(exponent) * bits > _MOST_BITS:
                raise Unreadable("too large a power")
            return base ** int(exponent)
    if base == 0:
        return Fraction(0)
    return _complex(base) ** _complex(exponent)


def _points(trees: Sequence[Tree]) -> Iterator[dict[str, Fraction]]:
    """Give points small and large, of both signs, and around the numbers of the expressions.

    Where |x - 10| changes its formula is such a number, so that it is tried on both sides.
    """
    variables = sorted(set().union(*map(names, trees)))
    found = {number for tree in trees for number in _leaves(tree, "number") if 1 < number < 10**6}
    sizes = [*_SIZES, *(size * n for n in sorted(found)[:_MOST_NUMBERS] for size in _AROUND)]
    for place in range(2 * len(sizes) if variables else 1):
        yield {
            name: (-1) ** (place * (number + 1) + number)
            * sizes[(place // 2 * (number + 1) + 2 * number) % len(sizes)]
            * Fraction(31 + number, 31)
            for number, name in enumerate(variables)
        }


def _evaluated(*trees: Tree) -> Iterator[tuple[tuple[Value, ...], float]]:
    """Evaluate trees at the same points, with what floating point may have lost on the way.

    Points at which one has no value are left out.
    """
    work, count = 0.0, 0
    for point in _points(trees):
        evaluation = _Evaluation(point)
        try:
            found = tuple(map(evaluation.value, trees))
        except (ArithmeticError, ValueError):
            continue
        yield found, _LOST * evaluation.largest
        work, count = work + evaluation.work, count + 1
        if work > _MOST_WORK and count >= _ENOUGH:
            return
    if not count or (point and count < _ENOUGH):
        raise Unreadable("no values")


def constant(tree: Tree) -> Value:
    """Give the value of an expression without names; Unreadable: too large, or without a value."""
    return next(_evaluated(tree))[0][0]


def real(value: Value) -> Fraction | None:
    """Give a value as a fraction; None: it is not real."""
    if isinstance(value, Fraction):
        return value
    return Fraction(value.real) if _is_real(value) else None


def are_close(one: Value, other: Value, lost: float = 0.0) -> bool:
    """Compare exactly where both are rational, else to what floating point can tell."""
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other
    try:
        one, other = _complex(one), _complex(other)
    except OverflowError:
        return False
    return abs(one - other) <= max(_CLOSE * max(abs(one), abs(other), 1e-4), lost)


def are_equal(one: Tree, other: Tree) -> bool:
    """Tell whether two expressions have the same values.

    Where both are real at some points, only these count: roots and logarithms are of numbers that
    have them. What is too large is Unreadable.
    """
    in_reals, same_elsewhere = 0, True
    for (first, second), lost in _evaluated(one, other) if one != other else ():
        is_same = are_close(first, second, lost)
        if _is_real(first) and _is_real(second):
            if not is_same:
                return False
            in_reals += 1
        same_elsewhere = same_elsewhere and is_same
    return same_elsewhere or in_reals >= _ENOUGH


def factor_between(one: Tree, other: Tree) -> Fraction | None:
    """Give the real number, not zero, that one expression is the other times; None: none is."""
    (first, second), _ = next(_evaluated(one, other))
    factor = real(first / second) if first and second else None
    same = factor and are_equal(one, ("*", ("number", factor), other))
    return factor if same else None


def _is_real(value: Value) -> bool:
    return isinstance(value, Fraction) or abs(value.imag) <= _CLOSE * max(1.0, abs(value))
