"""The command ``s2l methods``."""

from __future__ import annotations

from typing import Annotated

import typer

from smalltolarge.cli import streams


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show this one with its settings.")
    ] = None,
) -> None:
    """List the selection methods, or show one with its settings.

    Example:

      s2l methods middle-perplexity
    """
    from smalltolarge.report import terminal

    terminal.show_methods(name, streams.console())
