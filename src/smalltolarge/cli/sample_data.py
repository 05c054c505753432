"""The command ``s2l sample-data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smalltolarge.cli.options import Overwrite
from smalltolarge.cli.session import watching


def sample_data(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to.")],
    rows: Annotated[int, typer.Option(min=1, help="Training rows.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the generator.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write arithmetic word problems to try things on: train.jsonl and six test files."""
    from smalltolarge.verbs.sample_data import sample_data as verb

    with watching(False) as (console, _):
        written = verb(folder, rows=rows, seed=seed, overwrite=overwrite)
    for path, count in written.items():
        console.print(f"{count:>8,} rows  {path}", markup=False, highlight=False)
