"""The command ``s2l verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smalltolarge.cli.session import watching


def verify(run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]) -> None:
    """Check a finished run: every digest, and the selection made again from its trajectories."""
    from smalltolarge.verbs.verify import verify as check_run

    with watching(False) as (console, watch):
        checked = check_run(run, progress=watch)
    for line in checked:
        console.print(line, markup=False)
    console.print(f"{run} is sound: {len(checked)} checks", markup=False)
