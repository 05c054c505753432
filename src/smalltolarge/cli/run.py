"""The command ``s2l run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smalltolarge.cli import streams
from smalltolarge.cli.options import Assignments, NoProgress, Unconfined
from smalltolarge.cli.session import watching


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
    from smalltolarge.report import comparison as shown
    from smalltolarge.report import terminal
    from smalltolarge.runs import recipe as recipes
    from smalltolarge.runs.arms import read_table
    from smalltolarge.runs.outputs import default_folder
    from smalltolarge.verbs.run import plan_comparison, read_comparison, run_comparison

    if recipe is None:
        shown.show_recipes(streams.console())
        return
    file = recipes.find_recipe(recipe)
    values = recipes.assign(recipes.read_yaml(file), assignments or [])
    wanted = read_comparison(values, trust_code)
    with watching(no_progress) as (console, watch):
        if dry_run:
            examples, arms = plan_comparison(wanted, watch)
        else:
            finished = run_comparison(
                wanted, out or default_folder(file), watch, unconfined=confirm_run_unsafe_code
            )
    if dry_run:
        terminal.show_arms(examples, arms, console)
    else:
        shown.show_comparison(finished, read_table(finished), console)
        terminal.offer_page(finished.path, console)
