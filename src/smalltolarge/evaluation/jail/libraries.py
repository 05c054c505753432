"""Libraries that programs use: imported once, before the process is copied for each of them."""

from __future__ import annotations

import contextlib
import sys

_PRELOADED = (
    "abc bisect calendar cmath collections contextlib copy dataclasses datetime decimal enum "
    "fractions functools hashlib heapq inspect itertools linecache math numbers operator pprint "
    "queue random re statistics string textwrap traceback typing warnings"
)


def warm(folders: list[str]) -> None:
    """Import what programs use, and pay here for what sympy does only once."""
    sys.path += folders
    for name in _PRELOADED.split():
        __import__(name)
    _hide_name()
    if not folders:
        return
    try:
        import numpy

        numpy.linalg.solve(numpy.eye(2), numpy.ones(2))
        _ = numpy.random.seed
    except ImportError:
        pass
    try:
        import sympy

        x, y = sympy.symbols("x y")
        sympy.solve([x + y - 3, x - y - 1], [x, y])
        sympy.solve(x**2 - 5 * x + 6, x)
        sympy.solveset(sympy.sin(x), x)
        sympy.simplify(sympy.sin(x) ** 2 + sympy.cos(x) ** 2)
        sympy.integrate(x * sympy.exp(x), x)
        sympy.limit(sympy.sin(x) / x, x, 0)
        sympy.Matrix([[1, 2], [3, 4]]).inv()
        sympy.sympify("x**2 + 1").diff("x")
        sympy.N(sympy.pi, 20)
    except ImportError:
        pass


def _hide_name() -> None:
    """Answer what libraries ask about the system when they are imported, without its name."""
    import platform

    found = platform.uname()
    with contextlib.suppress(AttributeError):  # it is kept under a private name
        platform._uname_cache = found._replace(node="jail")  # type: ignore[attr-defined]


def seed() -> None:
    """Let programs that draw without a seed draw the same every time."""
    for name in ("random", "numpy.random", "sympy.core.random"):
        if name in sys.modules:
            sys.modules[name].seed(0)
