"""The command ``s2l evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from smalltolarge.cli.given import read_recipe
from smalltolarge.cli.options import (
    Assignments,
    NoProgress,
    RecipeFile,
    Unconfined,
    with_settings,
)
from smalltolarge.cli.session import watching
from smalltolarge.settings import AskingSettings, ModelSettings, ScoringSettings, describe


@with_settings(
    without=("tasks",), asking=AskingSettings, scoring=ScoringSettings, model=ModelSettings
)
def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A causal language model: a folder with safetensors, of a model or of a LoRA "
            "adapter, a GGUF file, a hub name, or smollm2-135m (which is installed as a package).",
        ),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", "-t", help=describe(AskingSettings)["tasks"])
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    recipe: RecipeFile = None,
    assignments: Assignments = None,
    confirm_run_unsafe_code: Unconfined = False,
    no_progress: NoProgress = False,
    settings: dict[str, Any],
) -> None:
    """Ask a model the questions of tasks and score its answers.

    Programs that it writes run in a jail. Every question, completion and score is written to the
    folder of the run. The same command again goes on where it was stopped.

    Examples:

      s2l evaluate models/target --task gsm8k --task svamp --data eval --out results

      s2l evaluate models/target --task s2l_math --data eval --trained-on subset.jsonl --out results
    """
    from smalltolarge.report import terminal
    from smalltolarge.report.evaluation import show_scores
    from smalltolarge.runs.recipe import EvaluateRecipe
    from smalltolarge.verbs.evaluate import run_evaluate

    given = {"model": model, "tasks": task}
    wanted = read_recipe(EvaluateRecipe, None, recipe, given, settings, assignments)
    with watching(no_progress) as (console, watch):
        scores = run_evaluate(wanted, out, watch, unconfined=confirm_run_unsafe_code)
    show_scores(scores, out, console)
    terminal.offer_page(out, console)
