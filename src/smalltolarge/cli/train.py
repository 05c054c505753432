"""The command ``s2l train``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from smalltolarge.cli.given import read_recipe
from smalltolarge.cli.options import (
    Assignments,
    Data,
    NoProgress,
    Out,
    RecipeFile,
    RunDir,
    Seed,
    with_settings,
)
from smalltolarge.cli.processes import RankTimeout, Share
from smalltolarge.cli.session import watching
from smalltolarge.errors import RecipeError
from smalltolarge.settings import ReadingSettings, TargetSettings


@with_settings(target=TargetSettings, reading=ReadingSettings)
def train(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A causal language model: a hub name, a folder with safetensors, a GGUF file, "
            "smollm2-135m (which is installed as a package), or one built from scratch "
            "(scratch-0.5m, scratch-2m, scratch-9m, scratch-70m).",
        ),
    ],
    data: Data,
    out: Out,
    seed: Seed = None,
    recipe: RecipeFile = None,
    assignments: Assignments = None,
    run: RunDir = None,
    no_progress: NoProgress = False,
    rank_timeout: RankTimeout = 300,
    *,
    settings: dict[str, Any],
) -> None:
    """Train a target on a subset, with the token masks of the proxy.

    Writes a Hugging Face folder. The settings are those of the paper unless given. The same
    command again goes on where it was stopped.

    Examples:

      s2l train microsoft/phi-2 subset.jsonl --out models/target

      s2l train scratch-2m subset.jsonl --trainer own --out models/small

      torchrun --nproc-per-node 8 -m -- smalltolarge train microsoft/phi-2 subset.jsonl --out target
    """
    from smalltolarge.report import terminal
    from smalltolarge.runs.outputs import default_folder
    from smalltolarge.runs.recipe import TrainRecipe
    from smalltolarge.verbs.train import run_train

    given = {"seed": seed, "target": target}
    wanted = read_recipe(TrainRecipe, data, recipe, given, settings, assignments)
    mine = Share(wanted.target, rank_timeout)
    if mine.size > 1 and wanted.target.trainer == "own":
        raise RecipeError(
            f"--trainer own trains in one process, and {mine.size} were begun: give --trainer trl"
        )
    if mine.rank:
        mine.follow(wanted)
        return
    with watching(no_progress, first_row=True) as (console, watch), mine.world() as world:
        folder = run or default_folder(out)
        facts = run_train(wanted, out, folder, watch, world=world)
    terminal.show_training(facts, console)
