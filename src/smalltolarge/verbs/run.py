"""Compare ways of choosing: a target trained for each, and one table."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from smalltolarge import comparison
from smalltolarge import recipe as recipes
from smalltolarge.errors import RefusedForSafety, printable
from smalltolarge.outcomes import Table
from smalltolarge.progress import Progress, Watch
from smalltolarge.recipe import CompareRecipe


def run(
    recipe: Mapping[str, Any] | str | PathLike[str],
    *,
    out: str | PathLike[str],
    trust_code: bool = False,
    confirm_run_unsafe_code: bool = False,
    progress: Progress | Watch | None = None,
) -> Table:
    """Compare ways of choosing in the run folder ``out``; the same call goes on where it stopped.

    Parameters
    ----------
    recipe : a YAML recipe, the name of one that comes with the package, or a mapping of settings
    trust_code : let the recipe name methods and tasks that are code
        (my_package.module:Class)
    confirm_run_unsafe_code : run programs that a model wrote with limits of time and memory only,
        where this machine has no jail for them

    Raises
    ------
    RecipeError, DataError
        A setting, the data or a suite does not allow it.
    RefusedForSafety
        The recipe names code, or a task asks for programs and there is no jail for them.
    """
    values = (
        recipe if isinstance(recipe, Mapping) else recipes.read_yaml(recipes.find_recipe(recipe))
    )
    wanted = read_comparison(values, trust_code)
    finished = comparison.run_comparison(
        wanted, Path(out), Watch.of(progress), unconfined=confirm_run_unsafe_code
    )
    return comparison.read_table(finished)


def read_comparison(values: Mapping[str, Any], trust_code: bool) -> CompareRecipe:
    """Read the recipe of a comparison; one that names code is refused unless it is trusted."""
    wanted = recipes.read(values, CompareRecipe)
    foreign = [choice.method for choice in wanted.choices if ":" in choice.method]
    foreign += [task for task in wanted.evaluation.tasks if ":" in task]
    if foreign and not trust_code:
        raise RefusedForSafety(
            f"the recipe names code to run: {printable(foreign[0])}. Give --trust-code if you "
            "trust it."
        )
    return wanted
