"""The command ``s2l prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smalltolarge.cli.options import NoProgress, Overwrite
from smalltolarge.cli.session import watching
from smalltolarge.errors import RecipeError, printable


def prepare(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What the file is: mimic.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="NOTEEVENTS.csv of MIMIC-III, or NOTEEVENTS.csv.gz (.zst too)."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for train.jsonl, validate.jsonl, test.jsonl and counts.json.",
        ),
    ],
    split: Annotated[
        str,
        typer.Option(
            metavar="patients|reports",
            help="All reports of a patient in one part, or every group of reports cut as the "
            "published recipe does, so that a patient may be in several parts.",
        ),
    ] = "patients",
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 42,
    tables: Annotated[
        Path | None,
        typer.Option(
            help="Lists of examinations, spellings and headers (JSON) to go by exactly, instead "
            "of the rules of this package."
        ),
    ] = None,
    keep_duplicates: Annotated[
        bool,
        typer.Option("--keep-duplicates", help="Keep pairs with the very words of an earlier one."),
    ] = False,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
) -> None:
    """Make fine-tuning data of MIMIC-III's radiology reports: findings in, impression out.

    Says what became of every row, and the published counts beside ours.

    Example:

      s2l prepare mimic NOTEEVENTS.csv.gz --out mimic
    """
    from smalltolarge.verbs.prepare import prepare as verb

    if split not in ("patients", "reports"):
        raise RecipeError(f"--split {printable(split)}: patients or reports is needed")
    with watching(no_progress) as (console, watch):
        prepared = verb(
            kind,
            file,
            out=out,
            split="patients" if split == "patients" else "reports",
            seed=seed,
            tables=tables,
            keep_duplicates=keep_duplicates,
            overwrite=overwrite,
            progress=watch,
        )
    for line in prepared.summary():
        console.print(line, markup=False, highlight=False)
