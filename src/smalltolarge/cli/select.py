"""The command ``s2l select``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from smalltolarge.cli.given import read_recipe
from smalltolarge.cli.options import (
    Assignments,
    Data,
    DryRun,
    NoProgress,
    Overwrite,
    Preset,
    RecipeFile,
    RunDir,
    Seed,
    with_settings,
)
from smalltolarge.cli.processes import Devices, Processes, RankTimeout, share
from smalltolarge.cli.session import watching
from smalltolarge.selection.s2l import S2L
from smalltolarge.settings import ProxySettings, ReadingSettings


@with_settings(method_s2l=S2L, proxy=ProxySettings, reading=ReadingSettings)
def select(
    data: Data = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="How much to choose: rows (30000, 30K), a share (11%) or completion "
            "tokens (2M-tokens)."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Where the subset is written, in the format of the data. "
            "Default: subset, with the suffix of the data.",
        ),
    ] = None,
    trajectories: Annotated[
        str | None,
        typer.Option(
            help="Recorded losses to use (a Parquet file, yours or of s2l record) "
            "instead of training a proxy."
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(
            help="Embeddings of your own (a Parquet file with id and embedding), for methods that "
            "need some."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="A name of s2l methods, or my_package.module:Class. Default: s2l. Settings of "
            "other methods than s2l are given by --set settings.NAME=VALUE."
        ),
    ] = None,
    add_column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="weight|order",
            help="Give the subset a column beside its own: s2l_weight, how many rows each one "
            "stands for, or s2l_order, its place from easy to hard by the last loss. May be "
            "repeated.",
        ),
    ] = None,
    seed: Seed = None,
    recipe: RecipeFile = None,
    preset: Preset = None,
    assignments: Assignments = None,
    run: RunDir = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    no_progress: NoProgress = False,
    processes: Processes = None,
    devices: Devices = None,
    rank_timeout: RankTimeout = 300,
    *,
    settings: dict[str, Any],
) -> None:
    """Choose a subset of fine-tuning data for a large model.

    Trains a small proxy on the data, records the loss of every example at several checkpoints,
    clusters these trajectories and draws evenly over the clusters. The rows come out as they came
    in. The same command again goes on where it was stopped, and says so when it is done.

    Examples:

      s2l select data.jsonl --budget 11% --out subset.jsonl

      s2l select data.jsonl --trajectories trajectories.parquet --budget 20% --out subset.jsonl

      s2l select TIGER-Lab/MathInstruct --budget 30K --proxy EleutherAI/pythia-70m-deduped
    """
    from smalltolarge.report import terminal
    from smalltolarge.runs.outputs import default_folder
    from smalltolarge.runs.recipe import SelectRecipe
    from smalltolarge.runs.results import Run
    from smalltolarge.verbs.select import plan, run_select

    given = {
        "budget": budget,
        "trajectories": trajectories,
        "embeddings": embeddings,
        "method": method,
        "add_columns": add_column,
        "seed": seed,
    }
    wanted = read_recipe(SelectRecipe, data, recipe, given, settings, assignments, preset)
    mine = share(wanted.proxy, processes, devices, rank_timeout, dry_run=dry_run)
    if mine.rank:
        mine.follow(wanted)
        return
    with watching(no_progress, first_row=dry_run) as (console, watch):
        if dry_run:
            examples, prepared = plan(wanted, out, watch)
        else:
            folder = run or default_folder(out or Path("subset"))
            with mine.world() as world:
                run_select(
                    wanted, out, folder, watch, overwrite=overwrite, world=world, texts=False
                )
    if dry_run:
        terminal.show_plan(examples, prepared.plan if prepared else None, console)
    else:
        terminal.show_selection(Run.open(folder), console)
        terminal.offer_page(folder, console)
