"""Libraries that programs use: imported once, before the process is copied for each of them."""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib.util
import os
import sys
import types
from typing import Any, NoReturn

_PRELOADED = (
    "abc bisect calendar cmath collections contextlib copy dataclasses datetime decimal enum "
    "fractions functools hashlib heapq inspect itertools linecache math numbers operator pprint "
    "queue random re statistics string tempfile textwrap threading traceback typing warnings"
)


def warm(folders: list[str]) -> None:
    """Import what programs use, and pay here for what sympy does only once."""
    sys.path += folders
    for name in _PRELOADED.split():
        __import__(name)
    _hide_name()
    for name in ("exit", "quit"):
        setattr(builtins, name, sys.exit)
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


class _Absent(types.ModuleType):
    """A module that is not there: what uses it fails, but not a program that only names it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        return _Absent(self.__name__)

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise ModuleNotFoundError(f"No module named {self.__name__!r}")


def stand_in(tree: ast.Module) -> None:
    """Let a program import, at its top and without precaution, what is not there."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        else:
            continue
        for name in names:
            top, *below = name.split(".")
            if top in sys.modules or importlib.util.find_spec(top) is not None:
                continue
            for count in range(len(below) + 1):
                full = ".".join([top, *below[:count]])
                sys.modules.setdefault(full, _Absent(full))


def settle(scratch: str) -> None:
    """Make a program's own folder the place where it is, and where libraries keep files."""
    os.chdir(scratch)
    os.environ["HOME"] = os.environ["TMPDIR"] = scratch
    threading = sys.modules["threading"]
    threading.stack_size(1 << 20)  # of address space, which is limited
