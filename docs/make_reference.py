"""Rewrite the tables of ``command-line.md`` and ``formats.md`` from the code itself.

The words of a setting stand under its field in the code; the commands read them from there, and
``command-line.md`` reads them from the commands. The keys that change what a row means are those of
``examples.keys``. Run ``python docs/make_reference.py`` after changing one.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from typer.models import ArgumentInfo

from smalltolarge.cli.commands import app
from smalltolarge.examples.keys import TABLE

PAGE = Path(__file__).parent / "command-line.md"
FORMATS = Path(__file__).parent / "formats.md"
_KEYS = re.compile(r"(<!-- keys -->\n).*?(<!-- end -->)", re.DOTALL)
_BLOCK = re.compile(r"(<!-- options of ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_WORDS = {"str": "text", "int": "whole number", "float": "number", "Path": "path"}


def commands() -> dict[str, Callable[..., Any]]:
    """Give the functions behind the commands by name; that of ``s2l`` itself under "s2l"."""
    assert app.registered_callback is not None
    assert app.registered_callback.callback is not None
    found: dict[str, Callable[..., Any]] = {"s2l": app.registered_callback.callback}
    for command in app.registered_commands:
        assert command.callback is not None
        name: str = command.name or command.callback.__name__
        found[name] = command.callback
    return found


def option_names(command: Callable[..., Any]) -> list[str]:
    """Give the flags and arguments of one command, each by its longest name."""
    return [_names(parameter)[0] for parameter in _parameters(command)]


def tables(command: Callable[..., Any]) -> str:
    """Write the arguments and options of one command, a table for each of its panels."""
    panels: dict[str, list[str]] = {}
    for parameter in _parameters(command):
        panels.setdefault(_info(parameter).rich_help_panel or "", []).append(_row(parameter))
    heading = "| Option | Value | Meaning |\n|---|---|---|\n"
    return "\n\n".join(
        (f"{panel}:\n\n" if panel else "") + heading + "\n".join(rows)
        for panel, rows in panels.items()
    )


def refreshed(page: str) -> str:
    """Give ``page`` with every table as the commands have it now."""
    known = commands()
    return _BLOCK.sub(lambda found: f"{found[1]}\n{tables(known[found[2]])}\n\n{found[3]}", page)


def with_keys(page: str) -> str:
    """Give ``page`` with the table of keys as the code has it now."""
    table = [
        "| Key | Stands in | Meaning | What is done | Carries nothing |",
        "|---|---|---|---|---|",
    ]
    for key in TABLE:
        names = ", ".join(f"`{name}`" for name in key.names)
        places = ", ".join(key.places)
        table.append(f"| {names} | {places} | {key.means} | {key.done} | {key.nothing} |")
    rows = "\n".join(table)
    return _KEYS.sub(lambda found: f"{found[1]}\n{rows}\n\n{found[2]}", page)


def _parameters(command: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(command, eval_str=True).parameters.values())


def _info(parameter: inspect.Parameter) -> Any:
    return get_args(parameter.annotation)[1]


def _names(parameter: inspect.Parameter) -> list[str]:
    info = _info(parameter)
    if isinstance(info, ArgumentInfo):
        return [str(info.metavar)]
    # typer takes the first name for a default, and puts that right later
    given = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
    return given or [f"--{parameter.name.replace('_', '-')}"]


def _row(parameter: inspect.Parameter) -> str:
    info, default = _info(parameter), parameter.default
    words = " ".join(str(info.help).split())
    if default not in (None, False, inspect.Parameter.empty):
        words += f" Default: {default}."
    names = ", ".join(f"`{name}`" for name in _names(parameter))
    return f"| {names} | {_value(parameter)} | {_escaped(words)} |"


def _value(parameter: inspect.Parameter) -> str:
    info = _info(parameter)
    if isinstance(info, ArgumentInfo):
        return ""
    if info.metavar:
        return " or ".join(f"`{word}`" for word in str(info.metavar).split("|"))
    hint = get_args(parameter.annotation)[0]
    kind = next((part for part in get_args(hint) if part is not NoneType), hint)
    return "" if kind is bool else _WORDS.get(kind.__name__, kind.__name__)


def _escaped(text: str) -> str:
    for character in "\\|<*_":
        text = text.replace(character, f"\\{character}")
    return text


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    FORMATS.write_text(with_keys(FORMATS.read_text(encoding="utf-8")), encoding="utf-8")
