"""The command ``s2l run``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from smalltolarge.cli import streams
from smalltolarge.cli.options import Assignments, NoProgress, Unconfined
from smalltolarge.cli.session import watching
from smalltolarge.errors import RecipeError

_SEVERAL = "Several processes"


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
    list_arms: Annotated[
        bool,
        typer.Option("--list-arms", help="List the arms with their numbers; no data is read."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="List them as JSON.")] = False,
    table: Annotated[
        bool,
        typer.Option(
            "--table",
            help="Print the table of the arms that are done, and name the others. Where all are "
            "done, it is written.",
        ),
    ] = False,
    no_progress: NoProgress = False,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|NUMBER",
            help="Do this arm alone, and what all share, unless it is there; may be repeated. The "
            "last arm writes the table.",
            rich_help_panel=_SEVERAL,
        ),
    ] = None,
    shared: Annotated[
        bool,
        typer.Option(
            "--shared",
            help="Make what all arms share (losses, features, rankings), and stop.",
            rich_help_panel=_SEVERAL,
        ),
    ] = False,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            help="End with exit code 4 where another process makes what is needed.",
            rich_help_panel=_SEVERAL,
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            help="Do the arms by so many processes of this machine, each with a GPU of its own, or "
            "on a CPU with its part of the threads.",
            rich_help_panel=_SEVERAL,
        ),
    ] = None,
    on: Annotated[
        Literal["slurm", "ray"] | None,
        typer.Option(
            metavar="slurm|ray",
            help="Have a cluster do the arms that are not done. For Slurm the script that submits "
            "them is printed; on Ray they are tasks of the cluster that RAY_ADDRESS names, or of "
            "one on this machine.",
            rich_help_panel=_SEVERAL,
        ),
    ] = None,
    submit: Annotated[
        bool,
        typer.Option(
            "--submit",
            help="Run the script of Slurm instead of printing it.",
            rich_help_panel=_SEVERAL,
        ),
    ] = False,
) -> None:
    """Compare ways of choosing: train a target on what each chooses, and score it.

    Trains the proxy once, ranks the data by every method and seed, trains a target for every
    method, budget and seed (an arm), scores it, and puts all of it into one table. The same
    command again goes on with the arm where it was stopped; given twice at the same time, on one
    machine or several with one disk, both do arms that the other does not.

    Examples:

      s2l run smoke

      s2l run comparison.yaml --out runs/comparison --set seeds=[0] --set target.epochs=1

      s2l run comparison.yaml --out runs/comparison --jobs 2
    """
    from smalltolarge.report import comparison as shown
    from smalltolarge.report import terminal
    from smalltolarge.runs import recipe as recipes
    from smalltolarge.runs.arms import arms_there, read_table
    from smalltolarge.runs.outputs import default_folder
    from smalltolarge.runs.results import Run
    from smalltolarge.verbs import run as comparison
    from smalltolarge.verbs import slurm
    from smalltolarge.verbs.on_ray import run_on_ray
    from smalltolarge.verbs.workers import run_with_workers

    _refuse_what_does_not_go_together(
        {
            "--dry-run": dry_run,
            "--list-arms": list_arms,
            "--table": table,
            "--arm": bool(arm),
            "--shared": shared,
            "--jobs": jobs is not None,
            "--on slurm": on == "slurm",
            "--on ray": on == "ray",
        },
        {"--json": (as_json, "--list-arms"), "--submit": (submit, "--on slurm")},
    )
    if recipe is None:
        shown.show_recipes(streams.console())
        return
    file = recipes.find_recipe(recipe)
    values = recipes.assign(recipes.read_yaml(file), assignments or [])
    wanted = comparison.read_comparison(values, trust_code)
    folder = out or default_folder(file)
    if list_arms:
        shown.show_arms(arms_there(wanted, folder), streams.console(), as_json=as_json)
        return
    if on == "slurm":
        todo = [one.number for one in arms_there(wanted, folder) if not one.is_done]
        words = [recipe, "--out", str(folder)]
        words += [word for assignment in assignments or [] for word in ("--set", assignment)]
        words += ["--trust-code"] * trust_code
        words += ["--confirm-run-unsafe-code"] * confirm_run_unsafe_code
        if todo:
            script = slurm.to_script(words, todo, folder.name, os.getcwd())
            print(slurm.submit(script) if submit else script, end="")
        else:
            streams.console(stderr=True).print("all arms are done", markup=False)
        return
    with watching(no_progress) as (console, watch):
        unsafe = {"unconfined": confirm_run_unsafe_code}
        if dry_run:
            examples, arms = comparison.plan_comparison(wanted, watch)
        elif table:
            comparison.tabulate_comparison(wanted, folder, watch)
        elif jobs is not None:
            run_with_workers(wanted, folder, jobs, watch, **unsafe)
        elif on == "ray":
            run_on_ray(wanted, folder, watch, **unsafe)
        else:
            named = [] if shared else arm or None
            comparison.run_comparison(wanted, folder, watch, arms=named, wait=not no_wait, **unsafe)
    if dry_run:
        terminal.show_arms(examples, wanted, arms, console)
        return
    missing = [one.arm.name for one in arms_there(wanted, folder) if not one.is_done]
    if table or not missing:
        finished = Run.open(folder)
        shown.show_comparison(finished, read_table(finished), console, missing)
        terminal.offer_page(folder, console)
    else:
        shown.show_missing(missing, console)


def _refuse_what_does_not_go_together(
    alone: Mapping[str, bool], needs: Mapping[str, tuple[bool, str]]
) -> None:
    """Refuse two options that say what to do, and one without that which it ``needs``."""
    given = [name for name, is_given in alone.items() if is_given]
    if len(given) > 1:
        raise RecipeError(f"{' and '.join(given)}: give one of them")
    for name, (is_given, needed) in needs.items():
        if is_given and needed not in given:
            raise RecipeError(f"{name} goes with {needed}")
