"""Compare ways of choosing: a target trained for each, and one table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smalltolarge import store
from smalltolarge.errors import RecipeError, RefusedForSafety, printable
from smalltolarge.evaluation import Exam
from smalltolarge.examples import Examples
from smalltolarge.examples.overlap import overlaps_by_name
from smalltolarge.progress import Progress, Watch
from smalltolarge.report.comparison import to_csv, to_markdown
from smalltolarge.runs import estimate, stages
from smalltolarge.runs import recipe as recipes
from smalltolarge.runs.arms import (
    Arms,
    Scorer,
    find_arms,
    make_table,
    missing_arms,
    read_results,
    read_table,
)
from smalltolarge.runs.folder import RunFolder, waiting
from smalltolarge.runs.outcomes import Arm, Table
from smalltolarge.runs.recipe import CompareRecipe
from smalltolarge.runs.results import Run
from smalltolarge.selection import Budget, Pool
from smalltolarge.settings import TrainingSettings
from smalltolarge.wordproblems.files import write_sample_data

if TYPE_CHECKING:
    from smalltolarge.lm import Prepared

log = logging.getLogger("smalltolarge")

SHARED = "shared stages"
"""What all arms need, made once: the recording and what else the proxy gives."""


def run(
    recipe: Mapping[str, Any] | str | PathLike[str],
    *,
    out: str | PathLike[str],
    arms: Sequence[str | int] | None = None,
    jobs: int | None = None,
    wait: bool = True,
    trust_code: bool = False,
    confirm_run_unsafe_code: bool = False,
    progress: Progress | Watch | None = None,
) -> Table:
    """Compare ways of choosing in the run folder ``out``; the same call goes on where it stopped.

    Any number of processes may do so in one folder, each of them what no other does.

    Parameters
    ----------
    recipe : a YAML recipe, the name of one that comes with the package, or a mapping of settings
    arms : those to do, by name or by number from 1. Default: all
    jobs : do all arms by so many processes of this machine, with a GPU or a part of the threads
        each
    wait : for what other processes make; else that ends with ``InUse``
    trust_code : let the recipe name methods and tasks that are code
        (my_package.module:Class)
    confirm_run_unsafe_code : run programs that a model wrote with limits of time and memory only,
        where this machine has no jail for them

    Raises
    ------
    RecipeError, DataError
        A setting, the data or a task does not allow it.
    InUse
        Another process makes what is needed, and ``wait`` is not set.
    RefusedForSafety
        The recipe names code, or a task asks for programs and there is no jail for them.
    """
    values = (
        recipe if isinstance(recipe, Mapping) else recipes.read_yaml(recipes.find_recipe(recipe))
    )
    wanted, folder, watch = read_comparison(values, trust_code), Path(out), Watch.of(progress)
    unsafe = {"unconfined": confirm_run_unsafe_code}
    if jobs is None:
        return read_table(run_comparison(wanted, folder, watch, arms=arms, wait=wait, **unsafe))
    from smalltolarge.verbs.workers import run_with_workers

    if arms is not None:
        raise RecipeError("jobs and arms: give one of the two")
    return read_table(run_with_workers(wanted, folder, jobs, watch, **unsafe))


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


def run_comparison(
    recipe: CompareRecipe,
    folder: Path,
    watch: Watch,
    *,
    arms: Sequence[str | int] | None = None,
    wait: bool = True,
    unconfined: bool = False,
) -> Run:
    """Record once, then rank, train and score arm by arm; what is done is not done again.

    Any number of processes may do so in one folder, each of them what no other does. Who finds all
    arms done writes the table.

    Parameters
    ----------
    arms : those to do, by name or by number from 1; none: make what all of them share. Default: all
    wait : for what other processes make; else that ends with ``InUse``

    Raises
    ------
    RecipeError, DataError, BudgetError
        The settings, the data or a task do not allow it; nothing has been trained then.
    StaleArtifact
        ``folder`` belongs to something else.
    InUse
        Another process makes what is needed, and ``wait`` is not set.
    RefusedForSafety
        A task asks for programs, this machine has no jail for them, and ``unconfined`` is not set.
    Interrupted
        Raised by ``watch.check``; the same call goes on.
    """
    recipe = recipe.resolved()
    wanted = find_arms(recipe, arms)
    with waiting(lambda: stages.hold(recipe, folder, shared=True), watch, wait=wait) as held:
        run, recipe = held
        if arms is not None:
            require_locks(run)
        with waiting(lambda: run.claim("sample data"), watch, wait=wait):
            _make_sample_data(recipe)
        exam = Exam(recipe.evaluation)
        held_out = [("held out", name) for name in recipe.evaluation.held_out]
        besides = [*exam.inputs(), *stages.inputs_here(held_out)]
        read, facts = stages.load_once(run, recipe, watch, besides=besides)
        for budget in recipe.budgets:
            Budget.parse(budget).least_rows(len(read))
        if _is_done(run, recipe, wanted, arms):
            what = run.path if arms is None else f"{run.path}: {', '.join(a.name for a in wanted)}"
            log.info("%s is done: there is nothing to do", what)
            if arms is None:
                _close(run, recipe, watch)
            else:
                run.is_left_open = bool(missing_arms(Run(run.path), recipe))
            return Run.open(folder)
        exam.confine(unconfined=unconfined)
        _require_models(run, recipe)
        scorer = Scorer(recipe.evaluation, exam, watch)
        overlaps = _find_overlaps(read, scorer, recipe.reading.overlap_words, watch)
        facts["overlaps"] = {name: len(ids) for name, ids in overlaps.items()}
        prepared: Prepared | None = None
        with waiting(lambda: run.claim(SHARED), watch, wait=wait):
            recipe = stages.joined(recipe, folder)
            if not run.is_done("load"):
                prepared = stages.prepare(read, recipe.target, recipe.seed, watch)
                scorer.check_room(prepared)
                if recipe.keep_targets:
                    kept = estimate.of_model(prepared.plan) * len(find_arms(recipe, None))
                    estimate.require_room({run.path / "targets": kept})
                recipe = recipes.settled(recipe, prepared.settings)
            recorded = {}
            for proxy in recipe.trained:
                recorded[proxy] = stages.record_once(
                    run, recipe, read, facts, watch, Budget.parse("100%"), proxy=proxy
                )
                recipe = stages.joined(recipe, folder)
            stages.begin(run, recipe, read, facts)
            used, trajectories = stages.join_all(read, recorded)
            features = {
                proxy: stages.find_features(run, recipe, read, used, needs, watch, proxy=proxy)
                for proxy, needs in recipe.trained.items()
            }
        recipe = stages.joined(recipe, folder)
        if prepared is None:  # after the claim, so that processes do it at the same time
            prepared = stages.prepare(read, recipe.target, recipe.seed, watch)
        pools = {
            proxy: Pool.of(used, found, **features.get(proxy, {}), check=watch.check)
            for proxy, found in trajectories.items()
        }
        todo = Arms(run, recipe, pools, prepared, scorer, overlaps, watch, wait=wait)
        if arms is None or not wanted:
            todo.keep_rankings(lost=arms is None)
        if wanted:
            todo.do(wanted)
        _close(run, recipe, watch)
    return Run.open(folder)


def tabulate_comparison(recipe: CompareRecipe, folder: Path, watch: Watch) -> None:
    """Write the table of a comparison, if all of its arms are done.

    Raises
    ------
    MissingArtifact
        There is no run.
    StaleArtifact
        It has other settings.
    """
    Run.open(folder)
    recipe = recipe.resolved()
    with waiting(lambda: stages.hold(recipe, folder, shared=True), watch) as (run, recipe):
        _close(run, recipe, watch)


def require_locks(run: RunFolder) -> None:
    """Raise ``RecipeError`` where several processes would not notice each other."""
    if not run.is_shared:
        raise RecipeError(
            f"{run.path}: its file system has no locks, so that two processes might do one arm, "
            "and one the other's work away. Take a folder on another disk, or do all arms in one "
            "process, without --arm and --jobs."
        )


def _is_done(
    run: RunFolder, recipe: CompareRecipe, wanted: Sequence[Arm], arms: Sequence[str | int] | None
) -> bool:
    """Look at the stages that are asked for; those whose files are damaged are not done."""
    if arms is None:
        names = {"table", *(arm.stage for arm in wanted), *Run(run.path).stages}
        return names == run.check_all()
    done = [run.is_done(arm.stage) for arm in wanted]
    is_last = run.facts("table") is None and not missing_arms(Run(run.path), recipe)
    return bool(done) and all(done) and not is_last


def plan_comparison(recipe: CompareRecipe, watch: Watch) -> tuple[Examples, list[Arm]]:
    """Read and check everything, and list the arms; nothing is trained.

    Nothing is written but the sample data that the recipe asks for.
    """
    recipe = recipe.resolved()
    _make_sample_data(recipe)
    examples = stages.load(recipe, watch)
    scorer = Scorer(recipe.evaluation, Exam(recipe.evaluation), watch)
    _find_overlaps(examples, scorer, recipe.reading.overlap_words, watch)
    for budget in recipe.budgets:
        Budget.parse(budget).least_rows(len(examples))
    return examples, find_arms(recipe, None)


def _make_sample_data(recipe: CompareRecipe) -> None:
    wanted = recipe.sample_data
    if wanted is not None:
        files = write_sample_data(Path(wanted.folder), wanted.rows, wanted.seed)
        log.info("sample data: %s rows in %s", f"{sum(files.values()):,}", wanted.folder)


def _require_models(run: RunFolder, recipe: CompareRecipe) -> None:
    """See to it that the models are to be had, before anything takes time."""
    stages.require_torch()
    from smalltolarge.lm.models import locate

    models: list[TrainingSettings] = [recipe.target]
    for proxy in recipe.trained:
        if not run.is_done(proxy.own("record")):
            models.append(recipe.settings_of(proxy))
    for settings in models:
        if not settings.is_scratch:
            locate(settings.model, settings.revision)


def _find_overlaps(
    examples: Examples, scorer: Scorer, n_words: int, watch: Watch
) -> dict[str, np.ndarray]:
    """Give the ids of the examples that overlap with each task or held-out set, and say so."""
    with watch.progress.step("looking for test questions", len(examples)) as step:
        found = overlaps_by_name(examples, scorer.asked(), n_words, watch.check, step.advance)
    for name, rows in found.items():
        if rows:
            log.warning(
                "%s of the %s training rows overlap with %s; reading.exclude_overlap in the recipe "
                "leaves such rows out",
                f"{len(rows):,}", f"{len(examples):,}", printable(name),
            )  # fmt: skip
    if not any(found.values()):
        log.info("no training row overlaps with what the targets are scored on")
    return {name: examples.ids[rows] for name, rows in found.items()}


def _close(run: RunFolder, recipe: CompareRecipe, watch: Watch) -> None:
    """Write the table, unless it is there with these numbers, where no arm is left to be done."""
    run.is_left_open = bool(missing_arms(Run(run.path), recipe))
    if run.is_left_open:
        return
    with waiting(lambda: run.claim("table"), watch):
        done = Run(run.path)
        made = tables(make_table(done, recipe, read_results(done)))
        if not run.is_done("table") or any(
            (run.path / name).read_bytes() != content for name, content in made.items()
        ):
            run.commit("table", made, {})


def tables(table: Table) -> dict[str, bytes]:
    """Give the files that show the table of a comparison, by name."""
    return {
        "table.json": store.as_json(table.to_plain()),
        "table.md": to_markdown(table).encode(),
        "table.csv": to_csv(table).encode(),
    }
