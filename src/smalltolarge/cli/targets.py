"""Commands about targets: whether a subset trains one as well."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from smalltolarge.cli.given import read_recipe, with_mappings
from smalltolarge.cli.session import watching
from smalltolarge.options import (
    Assignments,
    Data,
    NoProgress,
    Out,
    Overwrite,
    RecipeFile,
    RunDir,
    Seed,
    Unconfined,
    with_settings,
)
from smalltolarge.settings import OURS_ALONE, ReadingSettings, TargetSettings


def run(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A YAML recipe of a comparison, or the name of one that comes with s2l. Without "
            "it, these are listed.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder of the run. Default: runs/NAME, named after the recipe."
        ),
    ] = None,
    assignments: Assignments = None,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="Let the recipe name methods and tasks that are code of yours "
            "(my_package.module:Class).",
        ),
    ] = False,
    confirm_run_unsafe_code: Unconfined = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, list the arms, and stop.")
    ] = False,
    no_progress: NoProgress = False,
) -> None:
    """Compare ways of choosing: train a target on what each chooses, and score it.

    Trains the proxy once, ranks the data by every method and seed, trains a target for every
    method, budget and seed (an arm), scores it, and puts all of it into one table. The same
    command again goes on with the arm where it was stopped.

    Examples:

      s2l run smoke

      s2l run comparison.yaml --out runs/comparison --set seeds=[0] --set target.epochs=1
    """
    from rich.console import Console

    from smalltolarge import comparison
    from smalltolarge import recipe as recipes
    from smalltolarge.outputs import default_folder
    from smalltolarge.report import comparison as shown
    from smalltolarge.report import terminal
    from smalltolarge.verbs.run import read_comparison

    if recipe is None:
        shown.show_recipes(Console(highlight=False, soft_wrap=True))
        return
    file = recipes.find_recipe(recipe)
    values = recipes.assign(recipes.read_yaml(file), assignments or [])
    wanted = read_comparison(values, trust_code)
    with watching(no_progress) as (console, watch):
        if dry_run:
            examples, arms = comparison.plan_comparison(wanted, watch)
        else:
            finished = comparison.run_comparison(
                wanted, out or default_folder(file), watch, unconfined=confirm_run_unsafe_code
            )
    if dry_run:
        terminal.show_arms(examples, arms, console)
    else:
        shown.show_comparison(finished, comparison.read_table(finished), console)


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
    run: RunDir = None,
    no_progress: NoProgress = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Train a target on a subset, with the token masks of the proxy.

    Writes a Hugging Face folder. The settings are those of the paper unless given. The same
    command again goes on where it was stopped.

    Examples:

      s2l train microsoft/phi-2 subset.jsonl --out models/target

      s2l train scratch-2m subset.jsonl --trainer own --out models/small
    """
    from smalltolarge.outputs import default_folder
    from smalltolarge.recipe import TrainRecipe
    from smalltolarge.report import terminal
    from smalltolarge.verbs.train import run_train

    given = {"seed": seed, "target": target}
    wanted = read_recipe(TrainRecipe, data, recipe, given, settings)
    with watching(no_progress, first_row=True) as (console, watch):
        folder = run or default_folder(out)
        facts = run_train(wanted, out, folder, watch)
    terminal.show_training(facts, console)


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show this one with its settings.")
    ] = None,
) -> None:
    """List the selection methods, or show one with its settings.

    Example:

      s2l methods middle-perplexity
    """
    from rich.console import Console

    from smalltolarge.report import terminal

    terminal.show_methods(name, Console(highlight=False, soft_wrap=True))


def inspect(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Folder of a run that trained a proxy."),
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

    with watching(False) as (console, _):
        written = write_export(
            subset, to, model=model, run=run, overwrite=overwrite, **with_mappings(settings)
        )
    for path in written.files:
        console.print(str(path), markup=False, highlight=False)
    for note in written.notes:
        console.print(note, markup=False, highlight=False)
