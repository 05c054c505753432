"""The command ``s2l load``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from smalltolarge.cli.given import read_recipe
from smalltolarge.cli.options import Data, NoProgress, Overwrite, with_settings
from smalltolarge.cli.session import watching
from smalltolarge.settings import ReadingSettings


@with_settings(reading=ReadingSettings)
def load(
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write the table of examples (id, messages, source, place) to this Parquet file.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Read and check fine-tuning data, and say what was found.

    With --out the table of examples is written, with the ids that trajectories of your own need.

    Example:

      s2l load data.jsonl --out examples.parquet
    """
    from smalltolarge.report import terminal
    from smalltolarge.runs import stages
    from smalltolarge.runs.recipe import RecordRecipe
    from smalltolarge.verbs.load import write_examples

    wanted = read_recipe(RecordRecipe, data, None, {}, settings)
    with watching(no_progress) as (console, watch):
        examples = stages.load(wanted, watch, texts=out is not None)
        write_examples(examples, wanted, out, overwrite)
    terminal.show_examples(examples, console)
