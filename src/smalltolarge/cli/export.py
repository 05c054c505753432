"""The command ``s2l export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from smalltolarge.cli.given import with_mappings
from smalltolarge.cli.options import Overwrite, with_settings
from smalltolarge.cli.session import watching
from smalltolarge.settings import OURS_ALONE, ReadingSettings, TargetSettings


@with_settings(target=TargetSettings, reading=ReadingSettings, without=OURS_ALONE)
def export(
    subset: Annotated[
        Path, typer.Argument(metavar="SUBSET", help="The subset that s2l select wrote.")
    ],
    to: Annotated[str, typer.Option(help="The trainer: trl, llamafactory or axolotl.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="The model that will be trained: a hub name, a folder, a GGUF file, or "
            "smollm2-135m. Default: the target of the run, or microsoft/phi-2."
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run that chose the subset, whose length, epochs, template and way "
            "of reading are taken. Default: runs/NAME, named after the subset."
        ),
    ] = None,
    overwrite: Overwrite = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Make a subset ready for TRL, LLaMA-Factory or Axolotl.

    Writes a copy of the subset that the trainer reads whole, and a configuration, beside the
    subset. What is learned of it is what s2l train would learn; what is cut or left out is said.

    Examples:

      s2l export subset.jsonl --to trl --model microsoft/phi-2

      s2l export subset.jsonl --to llamafactory --model models/base --lora-rank 16
    """
    from smalltolarge.verbs.export import export as write_export

    with watching(False, stops=False) as (console, _):
        written = write_export(
            subset, to, model=model, run=run, overwrite=overwrite, **with_mappings(settings)
        )
    for path in written.files:
        console.print(str(path), markup=False, highlight=False)
    for note in written.notes:
        console.print(note, markup=False, highlight=False)
