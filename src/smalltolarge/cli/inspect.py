"""The command ``s2l inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smalltolarge.cli.options import NoProgress
from smalltolarge.cli.session import watching


def inspect(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run that trained a proxy.")
    ],
    target: Annotated[
        Path | None,
        typer.Option(
            help="Losses of the same examples under a larger model, to compare with: a run folder, "
            "or a file of trajectories."
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=2, help="Examples whose own gradients are compared.")
    ] = 1000,
    seeds: Annotated[
        int, typer.Option(min=1, help="Clusterings with different seeds that are compared.")
    ] = 3,
    no_gradients: Annotated[
        bool, typer.Option("--no-gradients", help="Leave the gradients out; no model is loaded.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads of the proxy. Default: as it was recorded."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Where the proxy runs: auto, cpu, cuda. Default: as it was recorded."),
    ] = None,
    no_progress: NoProgress = False,
) -> None:
    """Look at a recording before a target is trained on what it chose.

    Says whether the proxy is still learning, whether trajectories move, whether the clusters are
    stable and more than lengths or sources, whether gradients inside a cluster are alike and those
    of the subset like those of all rows, and, with --target, whether a larger model agrees. Writes
    the numbers to inspection.json in the run folder.

    Examples:

      s2l inspect runs/subset

      s2l inspect runs/subset --target runs/larger --no-gradients
    """
    from smalltolarge.report.inspection import show_inspection
    from smalltolarge.verbs import inspect as verb

    with watching(no_progress) as (console, watch):
        found = verb.inspect(
            run,
            target=target,
            sample=sample,
            seeds=seeds,
            gradients=not no_gradients,
            threads=threads,
            device=device,
            progress=watch,
        )
    show_inspection(found, console)
