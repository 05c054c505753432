"""Fine-tune a target on a subset."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, Unpack

from smalltolarge.examples import Examples
from smalltolarge.progress import Progress, Watch
from smalltolarge.runs import estimate, outputs, stages
from smalltolarge.runs import recipe as recipes
from smalltolarge.runs.recipe import TrainRecipe
from smalltolarge.selection import Selection
from smalltolarge.verbs import given
from smalltolarge.verbs.given import Data
from smalltolarge.verbs.keywords import Training

if TYPE_CHECKING:
    from smalltolarge.lm import World

log = logging.getLogger("smalltolarge")


def train(
    target: str,
    data: Data | Selection,
    *,
    out: str | PathLike[str],
    seed: SupportsIndex = 0,
    run: str | PathLike[str] | None = None,
    progress: Progress | Watch | None = None,
    **settings: Unpack[Training],
) -> Mapping[str, Any]:
    """Fine-tune ``target`` on data, a ``Selection`` or a subset, and write the model to ``out``.

    Parameters
    ----------
    run : the run folder, in which the same call goes on where it was stopped; None keeps nothing
    settings : fields of ``TargetSettings`` (epochs, trainer, ...) and ``ReadingSettings``

    Returns the facts of the training: steps, tokens, flops, seconds, parameters, train_loss.

    Raises
    ------
    StaleArtifact
        ``out`` exists and is not what this run wrote.
    DataError
        The data cannot be used, or the training diverged.
    """
    rows: Any = data.to_dataset() if isinstance(data, Selection) else data
    recipe: TrainRecipe = given.to_recipe(TrainRecipe, rows, settings, target=target, seed=seed)
    watch = Watch.of(progress)
    examples = given.read(rows, settings, watch) if given.MEMORY in recipe.data else None
    return run_train(recipe, given.path(out), given.path(run), watch, examples)


def run_train(
    recipe: TrainRecipe,
    out: Path,
    folder: Path | None,
    watch: Watch,
    examples: Examples | None = None,
    world: World | None = None,
) -> Mapping[str, Any]:
    """Read, train a target on all of it, and write the model's folder to ``out``.

    ``examples`` are the data of a recipe that names none. Gives the facts; raises as ``train``.
    This is rank 0 of ``world``; the others ``stages.follow``.
    """
    recipe = recipe.resolved()
    with stages.hold(recipe, folder) as (run, recipe), ExitStack() as stack:
        read, facts = stages.load_once(run, recipe, watch, examples=examples)
        output = stack.enter_context(outputs.claim(run, recipe, facts, out, stage="train"))
        done = run.facts("train")
        if done is not None and not output.is_written():
            done = None
        stages.call(recipe.target, world, is_done=done is not None)
        if done is not None:
            stages.begin(run, recipe, read, facts)
            log.info("%s is done: there is nothing to do", run.path)
            return done
        prepared = stages.prepare(read, recipe.target, recipe.seed, watch)
        kept = None if run.is_temporary else run.working / "target"
        needs = {out: estimate.of_model(prepared.plan)}
        if kept is not None:
            needs[kept] = estimate.of_training(prepared.plan, recipe.target.trainer)
        estimate.require_room(needs)
        stages.begin(run, recipes.settled(recipe, prepared.settings), read, facts)
        from smalltolarge import lm

        target = lm.train(
            prepared, folder=kept, progress=watch.progress, check=watch.check, world=world
        )
        left_out = Counter(reason for _, reason in prepared.left_out)
        trained = {**target.facts, "left_out": dict(left_out), "rows": len(prepared)}
        output.write(target.save, trained)
        return run.facts("train") or {}
