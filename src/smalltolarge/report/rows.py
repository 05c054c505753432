"""Rows as a model sees them, on a terminal in colours, elsewhere between marks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from smalltolarge.examples.shown import CLOSE, OPEN, Shown

_LEARNED, _SPECIAL = "green", "magenta"


def show_rows(rows: Sequence[Shown], console: Console) -> None:
    """Print rows, an empty line between two, and how to read them."""
    for row in rows:
        show_row(row, console)
        console.print()
    console.print(
        Text.assemble("What is learned is ", (f"{OPEN}marked{CLOSE}", _LEARNED), ".")
        if not _has_colours(console)
        else Text.assemble(
            "What is learned is ", ("green", _LEARNED), "; special tokens are ",
            ("magenta", _SPECIAL), ", learned ones ", ("underlined", f"{_SPECIAL} underline"), ".",
        )
    )  # fmt: skip


def show_row(row: Shown, console: Console) -> None:
    """Print one row."""
    coloured = _has_colours(console)
    text = Text()
    for stretch in row.stretches if coloured else row.marked():
        text.append(stretch.text, style=_style(stretch.is_learned, stretch.is_special))
    lines = [Text(row.heading, style="bold")]
    lines += [Text("  ").append_text(line) for line in text.split("\n", allow_blank=True)]
    lines += [Text(note, style="yellow") for note in row.notes]
    console.print(Text("\n").join(lines), soft_wrap=True)


def _style(is_learned: bool, is_special: bool) -> str:
    if is_special:
        return f"{_SPECIAL} underline" if is_learned else _SPECIAL
    return _LEARNED if is_learned else ""


def _has_colours(console: Console) -> bool:
    return console.is_terminal and console.color_system is not None and not console.no_color
