"""What is given to a verb in Python, as a recipe and as examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias, overload

from smalltolarge import examples as reading
from smalltolarge.errors import RecipeError, printable
from smalltolarge.examples import Examples
from smalltolarge.examples.sources import Source
from smalltolarge.progress import Watch
from smalltolarge.runs import recipe as recipes
from smalltolarge.selection import SELECTORS, Selector
from smalltolarge.settings import ReadingSettings

Data: TypeAlias = Source | Examples

MEMORY = "(memory)"
"""Stands in a recipe for what has no name."""


def to_recipe(
    kind: type[Any],
    data: Any,
    settings: Mapping[str, Any],
    *,
    preset: str | None = None,
    **own: Any,
) -> Any:
    """Make a recipe of ``kind`` of settings given by the names of their fields, over a preset.

    Raises
    ------
    RecipeError
        One is unknown or not allowed.
    """
    for name in ("data", "trajectories"):
        if name in settings:
            raise RecipeError(f"{name} is not a setting")
    names = [named(part) for part in (data if isinstance(data, list) and data else [data])]
    if MEMORY in names:
        names = [MEMORY]
    own = {name: value for name, value in own.items() if value is not None}
    values = recipes.place({"data": names, **own, **settings}, kind)
    return recipes.read(recipes.over_preset(values, preset, kind), kind)


def read(data: Data, settings: Mapping[str, Any], watch: Watch) -> Examples:
    """Read what may be examples already.

    Raises
    ------
    DataError
        The data cannot be used; says where and why.
    RecipeError
        How to read is said of examples, which are read already.
    """
    names = {f.name for f in fields(ReadingSettings)}
    how = {name: value for name, value in settings.items() if name in names}
    wanted = recipes.read(how, ReadingSettings)
    if isinstance(data, Examples):
        if how:
            raise RecipeError(
                f"{', '.join(how)}: these examples are read already, so how to read them has no "
                "effect. Give it to load, or give the files here."
            )
        return data
    parts: Any = [plain(part) for part in data] if isinstance(data, list) else plain(data)
    return reading.load(parts, settings=wanted, progress=watch.progress, check=watch.check)


@overload
def path(place: str | PathLike[str]) -> Path: ...


@overload
def path(place: str | PathLike[str] | None) -> Path | None: ...


def path(place: str | PathLike[str] | None) -> Path | None:
    """Give a place as a path; None stays None. ``RecipeError`` where its name is no UTF-8."""
    if place is None:
        return None
    name = fspath(place)
    try:
        named = bool(name.encode()) and "\0" not in name
    except UnicodeEncodeError:
        named = False
    if not named:
        raise RecipeError(f"{printable(name, 200)!r} is no file name in valid UTF-8")
    return Path(name)


def plain(part: Any) -> Any:
    """Give a path as a text; anything else as it is."""
    return fspath(part) if isinstance(part, PathLike) else part


def named(part: Any) -> str | None:
    """Give the name of a file in a recipe; ``MEMORY`` for what is an object."""
    if part is None:
        return None
    return part if isinstance(part := plain(part), str) else MEMORY


def method(chosen: str | Selector) -> tuple[str, dict[str, Any]]:
    """Give the name of a method and the settings that it brings with it."""
    if isinstance(chosen, str):
        return chosen, {}
    kind = type(chosen)
    name = kind.name if kind.name in SELECTORS else f"{kind.__module__}:{kind.__qualname__}"
    return name, asdict(chosen)
