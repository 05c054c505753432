"""The command ``s2l show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smalltolarge.cli.session import watching


def show(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Folder of an s2l select, record, run or evaluate."),
    ],
) -> None:
    """Print the essence of what s2l report writes: curves of clusters, sources, warnings, scores.

    Examples:

      s2l show runs/subset
    """
    from smalltolarge.report.essence import show_run
    from smalltolarge.runs.results import Run

    with watching(False) as (console, watch):
        show_run(Run.open(run), console, watch)
