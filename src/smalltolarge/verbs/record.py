"""Fine-tune a proxy on data and record the loss of every example at every checkpoint."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex, Unpack

from smalltolarge.examples import Examples
from smalltolarge.progress import Progress, Watch
from smalltolarge.runs import outputs, stages
from smalltolarge.runs.recipe import RecordRecipe
from smalltolarge.selection import Budget
from smalltolarge.trajectories import Trajectories
from smalltolarge.verbs import given
from smalltolarge.verbs.given import Data
from smalltolarge.verbs.keywords import Recording

if TYPE_CHECKING:
    from smalltolarge.lm import World


def record(
    data: Data,
    *,
    preset: str | None = None,
    seed: SupportsIndex = 0,
    out: str | PathLike[str] | None = None,
    run: str | PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress | Watch | None = None,
    **settings: Unpack[Recording],
) -> Trajectories:
    """Fine-tune a proxy on the data and record the loss of every example at every checkpoint.

    Parameters
    ----------
    preset : settings of others, over our defaults: "paper" or "authors-code"
    out : where the trajectories are written, as Parquet; None writes them nowhere
    run : the run folder, in which the same call goes on where it was stopped; None keeps nothing
    overwrite : replace what is at ``out``, even if something else wrote it
    settings : fields of ``ProxySettings`` (proxy, epochs, checkpoints, ...) and ``ReadingSettings``

    Raises
    ------
    DataError
        The data cannot be used, or the proxy diverged.
    StaleArtifact
        ``run`` or ``out`` belongs to something else.
    """
    recipe: RecordRecipe = given.to_recipe(RecordRecipe, data, settings, preset=preset, seed=seed)
    watch = Watch.of(progress)
    examples = given.read(data, settings, watch) if given.MEMORY in recipe.data else None
    return run_record(
        recipe, given.path(out), given.path(run), watch, overwrite=overwrite, examples=examples
    )


def run_record(
    recipe: RecordRecipe,
    out: Path | None,
    folder: Path | None,
    watch: Watch,
    *,
    overwrite: bool = False,
    examples: Examples | None = None,
    world: World | None = None,
) -> Trajectories:
    """Read and record, each once, and write the trajectories to ``out``.

    ``examples`` are the data of a recipe that names none. Without ``folder`` nothing is kept.
    This is rank 0 of ``world``; the others ``stages.follow``.
    """
    recipe = recipe.resolved()
    if out is not None:
        outputs.require_parquet(out)
    with stages.hold(recipe, folder) as (run, recipe), ExitStack() as stack:
        stages.call(recipe.proxy, world, is_done=run.is_done("record"))
        read, facts = stages.load_once(run, recipe, watch, examples=examples)
        recorded = run.path / "trajectories.parquet"
        in_place = out is not None and out.resolve() == recorded.resolve()
        output = None if out is None else outputs.Output(run, out)
        if out is not None and not in_place:
            claim = outputs.claim(run, recipe, facts, out, overwrite=overwrite)
            output = stack.enter_context(claim)
        budget = Budget.parse("100%")
        found = stages.record_once(run, recipe, read, facts, watch, budget, world)
        if output is not None:
            output.write(partial(shutil.copyfile, recorded), {"rows": len(found)})
    return found
