"""The command ``s2l report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smalltolarge.cli.options import NoProgress
from smalltolarge.cli.session import watching


def report(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Folder of an s2l select, record, run or evaluate."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The HTML file. Default: report.html in the folder."),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write every figure as SVG and PNG files, too."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the numbers as JSON. The page is then written only where --out is given.",
        ),
    ] = False,
    no_progress: NoProgress = False,
) -> None:
    """Write what a run found as one HTML file, which needs no network and no server.

    A selection: how its clusters were learned, what each gave, maps of the rows, sources and
    lengths before and after, and some rows of every cluster to read and search. A comparison:
    scores against budgets, differences to random sampling, costs. An evaluation: scores, and the
    answers to read. Data in it are shown as text, whatever they are.

    Examples:

      s2l report runs/subset

      s2l report runs/subset --out subset.html --figures figures
    """
    from smalltolarge.verbs.report import report_page

    page = out or (None if as_json else run / "report.html")
    with watching(no_progress) as (console, watch):
        found = report_page(run, out=page, figures=figures, progress=watch)
    if as_json:
        import json

        print(json.dumps(found, indent=2, ensure_ascii=True))
        return
    if page is not None:
        console.print(f"Page     {page}  ({page.stat().st_size / 1e6:.2f} MB)", markup=False)
    if figures is not None:
        console.print(f"Figures  {figures}", markup=False)
