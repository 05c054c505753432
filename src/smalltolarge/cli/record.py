"""The command ``s2l record``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smalltolarge.cli.given import read_recipe
from smalltolarge.cli.options import (
    Assignments,
    Data,
    DryRun,
    NoProgress,
    Out,
    Overwrite,
    Preset,
    RecipeFile,
    RunDir,
    Seed,
    with_settings,
)
from smalltolarge.cli.processes import Devices, Processes, RankTimeout, share
from smalltolarge.cli.session import watching
from smalltolarge.settings import ProxySettings, ReadingSettings


@with_settings(proxy=ProxySettings, reading=ReadingSettings)
def record(
    data: Data = None,
    out: Out = Path("trajectories.parquet"),
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
    """Record the loss of every example while a small proxy is fine-tuned.

    Writes one Parquet file: id, n_tokens, and a column loss_STEP for every checkpoint.

    Example:

      s2l record data.jsonl --proxy EleutherAI/pythia-70m-deduped --out trajectories.parquet
    """
    from smalltolarge.report import terminal
    from smalltolarge.runs.outputs import default_folder
    from smalltolarge.runs.recipe import RecordRecipe
    from smalltolarge.runs.results import Run
    from smalltolarge.verbs.record import run_record
    from smalltolarge.verbs.select import plan

    given = {"seed": seed}
    wanted = read_recipe(RecordRecipe, data, recipe, given, settings, assignments, preset)
    mine = share(wanted.proxy, processes, devices, rank_timeout, dry_run=dry_run)
    if mine.rank:
        mine.follow(wanted)
        return
    with watching(no_progress, first_row=True) as (console, watch):
        if dry_run:
            examples, prepared = plan(wanted, out, watch)
        else:
            folder = run or default_folder(out)
            with mine.world() as world:
                run_record(wanted, out, folder, watch, overwrite=overwrite, world=world)
    if dry_run:
        terminal.show_plan(examples, prepared.plan if prepared else None, console)
    else:
        terminal.show_recording(Run.open(folder), console)
