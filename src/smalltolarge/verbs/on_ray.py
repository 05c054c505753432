"""A comparison as tasks of Ray: one for what all arms share, then one for each arm.

Ray decides when and where a task runs, and runs it again when its process or machine is lost. Tasks
work in one folder, as the processes of a comparison always do.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smalltolarge.errors import RecipeError, printable
from smalltolarge.progress import Watch
from smalltolarge.runs import recipe as recipes
from smalltolarge.runs import stages
from smalltolarge.runs.arms import find_arms, missing_arms
from smalltolarge.runs.folder import waiting
from smalltolarge.runs.recipe import CompareRecipe
from smalltolarge.runs.results import Run
from smalltolarge.verbs.run import require_locks, run_comparison

log = logging.getLogger("smalltolarge")

_EVERY = 0.5
"""Seconds between two looks at what is done."""


def run_on_ray(
    recipe: CompareRecipe, folder: Path, watch: Watch, *, unconfined: bool = False
) -> Run:
    """Do as ``run_comparison``, by tasks of the Ray cluster that ``RAY_ADDRESS`` names, or of one
    that is begun here. All its machines must find the data and ``folder`` where this one does.

    A task takes a GPU, where the cluster has some, or as many CPUs as the models have threads
    (one, unless the recipe says so).

    Raises
    ------
    RecipeError
        Ray is not installed, has no cluster, or there are no locks on the folder's file system.

    Otherwise as ``run_comparison``.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise RecipeError(
            "--on ray needs the package 'ray': pip install 'smalltolarge[ray]'"
        ) from error
    recipe = recipe.resolved()
    with waiting(lambda: stages.hold(recipe, folder, shared=True), watch) as (run, recipe):
        require_locks(run)
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray's own, and those of the network
            raise RecipeError(f"--on ray: no cluster: {printable(error, 300)}") from error
        try:
            recipe, resources = _resources(recipe, ray.cluster_resources())
            about = json.dumps(
                {
                    "here": os.getcwd(),
                    "recipe": recipes.to_plain(recipe),
                    "folder": str(folder),
                    "unconfined": unconfined,
                }
            )
            task = ray.remote(**resources)(_do)
            arms = [arm.name for arm in find_arms(recipe, None)]
            left = [arm.name for arm in missing_arms(Run(run.path), recipe)]
            done = len(arms) - len(left)
            with watch.progress.step("arms", len(arms), "arms", done=done) as bar:
                parts: list[list[list[str]]] = [[[]], [[name] for name in left]]
                for part in parts:  # what is shared comes first
                    tasks = [task.remote(about, names) for names in part]
                    while tasks:
                        watch.check()
                        ended, tasks = ray.wait(tasks, timeout=_EVERY)
                        now = len(arms) - len(missing_arms(Run(run.path), recipe))
                        bar.advance(now - bar.done)
                        _get(ray, ended)
        finally:
            ray.shutdown()
    return Run.open(folder)


def _resources(
    recipe: CompareRecipe, cluster: dict[str, float]
) -> tuple[CompareRecipe, dict[str, Any]]:
    """Say what a task takes; gives the recipe with as many threads."""
    if cluster.get("GPU") and any(model.device in ("auto", "cuda") for model in recipe.models):
        return recipe, {"num_gpus": 1}
    recipe = recipes.with_threads(recipe, 1)
    threads = max(model.threads or 1 for model in recipe.models)
    if threads > cluster.get("CPU", 0):
        raise RecipeError(f"--on ray: {threads} threads are asked for, and no machine has so many")
    return recipe, {"num_cpus": threads}


def _do(about: str, names: Sequence[str]) -> None:
    """Do some arms, or, of none, what all share; runs in a process of Ray."""
    told = json.loads(about)
    os.chdir(told["here"])
    recipe = recipes.read(told["recipe"], CompareRecipe)
    run_comparison(recipe, Path(told["folder"]), Watch(), arms=names, unconfined=told["unconfined"])


def _get(ray: Any, ended: Sequence[Any]) -> None:
    """Raise what a task that has ended raised."""
    try:
        ray.get(ended)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
