"""Whether a finished run still is what it says: digests, and what follows from it made again."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from smalltolarge import store
from smalltolarge.errors import IntegrityError, StaleArtifact, printable
from smalltolarge.evaluation import Answer, Question, Score, find_tasks
from smalltolarge.examples.inputs import expanded
from smalltolarge.progress import Progress, Watch
from smalltolarge.runs import stages
from smalltolarge.runs.arms import list_arms, make_table, proxy_of, ranking_table, read_results
from smalltolarge.runs.recipe import (
    CompareRecipe,
    EvaluateRecipe,
    Recipe,
    SelectRecipe,
    TrainRecipe,
)
from smalltolarge.runs.results import Run
from smalltolarge.runs.shapes import ANSWER, SCORE
from smalltolarge.selection import Evidence, Pool
from smalltolarge.trajectories import Trajectories
from smalltolarge.verbs import evaluate as evaluation
from smalltolarge.verbs import run as comparison

_CHANGED = " is not what the run read"
_MOST_FILES = 10_000
"""A folder with more is not gone through: a stranger's run may name any."""


def verify(run: str | PathLike[str], *, progress: Progress | Watch | None = None) -> list[str]:
    """Check every file a run read or wrote, and choose the subset again from its trajectories.

    Needs neither the proxy nor the network. Returns a line for each thing checked.

    Raises
    ------
    IntegrityError
        Something is not as it was written; names all of it.
    StaleArtifact
        The run is not finished.
    """
    watch = Watch.of(progress)
    check = watch.check
    made = Run.open(Path(run))
    last: dict[type[Recipe], str] = {
        SelectRecipe: "write",
        CompareRecipe: "table",
        EvaluateRecipe: "table",
        TrainRecipe: "train",
    }
    if last.get(type(made.recipe), "write") not in made.stages:
        raise StaleArtifact(f"{made.path} is not finished: give its command again first")
    good: list[str] = []
    bad: list[str] = []
    for entry in made.stages.values():
        changed = store.changed_outputs(made.path, entry)
        intact = [name for name in entry["outputs"] if name not in changed]
        good += [f"{made.path / name}: as written" for name in intact]
        bad += [f"{made.path / name} is missing or not what was written" for name in changed]
        check()
    for entry in made.facts("load")["inputs"]:
        said = _compared(entry)
        (bad if said == _CHANGED else good).append(f"{entry['path']}{said}")
        check()
    for stage in ("write", "train"):
        if stage in made.stages:
            out, sha256 = made.facts(stage)["out"], made.facts(stage)["sha256"]
            if store.is_as_written(Path(os.path.realpath(out)), sha256):
                good.append(f"{out}: as written")
            else:
                bad.append(
                    f"{out} is missing (is this the folder the run was started in?) or changed"
                )
            check()
    if not bad:
        for what, things, same in _made_again(made, watch):
            told = {True: f"the same {things}", False: f"other {things}", None: "not done here"}
            (bad if same is False else good).append(f"{what} again: {told[same]}")
    if bad:
        problems = "\n".join(f"  {printable(line, 300)}" for line in bad)
        raise IntegrityError(f"{made.path} does not verify:\n{problems}")
    return [printable(line, 300) for line in good]


def _compared(entry: Mapping[str, Any]) -> str:
    """Compare what a run read with what is there now; nothing but plain files is opened."""
    there = expanded(entry["path"])
    if entry["kind"] in ("dataset", "questions") or not os.path.lexists(there):
        return ": not here, not checked"
    try:
        if there.is_dir():
            files = itertools.islice(there.rglob("*"), _MOST_FILES + 1)
            if sum(1 for _ in files) > _MOST_FILES:
                return f": a folder of more than {_MOST_FILES:,} files, not checked"
        elif there.stat().st_size != entry["size"]:
            return _CHANGED
        return ": as read" if store.digest(there) == entry["sha256"] else _CHANGED
    except (IntegrityError, OSError):
        return _CHANGED


def _made_again(run: Run, watch: Watch) -> Iterator[tuple[str, str, bool | None]]:
    """Make again what follows from the files of a run; None where it cannot be made here."""
    recipe = run.recipe
    if isinstance(recipe, SelectRecipe):
        outside = ":" in recipe.method  # code
        yield "the subset chosen", "rows", None if outside else _same_selection(run, recipe, watch)
    elif isinstance(recipe, EvaluateRecipe):
        yield "the answers scored", "scores", _same_scores(run, recipe, watch)
        yield "the tables made", "numbers", _same_files(run, evaluation.tables(_scores(run)))
    elif isinstance(recipe, CompareRecipe) and not any(":" in one.method for one in recipe.choices):
        table = make_table(run, recipe, read_results(run))
        yield "the tables made", "numbers", _same_files(run, comparison.tables(table))
        yield from _same_rankings(run, recipe, watch)
    elif isinstance(recipe, CompareRecipe):
        yield "the tables made", "numbers", None


def _same_files(run: Run, made: Mapping[str, bytes]) -> bool:
    return all(run.kept(name).read_bytes() == content for name, content in made.items())


def _scores(run: Run) -> list[Score]:
    """Give the scores of an evaluation in the order of its table."""
    order = [row["task"] for row in run.json("table.json", [SCORE])]
    return [Score.from_plain(run.facts(f"task {name}")["score"]) for name in order]


def _same_scores(run: Run, recipe: EvaluateRecipe, watch: Watch) -> bool:
    """Score again what was found in the answers; tasks that are code from outside are not."""
    tasks = find_tasks([name for name in recipe.evaluation.tasks if ":" not in name])
    for task in tasks:
        answers = [Answer(**row) for row in run.json_lines(f"answers-{task.name}.jsonl", ANSWER)]
        for one in answers:
            watch.check()
            question = Question(one.question, one.reference)
            if one.score != (0.0 if one.found is None else task.score(one.found, question)):
                return False
        said = Score.from_plain(run.facts(f"task {task.name}")["score"])
        again = Score.of(task, answers, measures=said.measures, overlap=said.overlap)
        if again.to_plain() != said.to_plain():
            return False
    return True


def _same_rankings(
    run: Run, recipe: CompareRecipe, watch: Watch
) -> Iterator[tuple[str, str, bool | None]]:
    """Rank all rows again, where the data is here and it takes no long time."""
    if not all(Path(name).exists() for name in recipe.data):
        yield "the rankings made", "places", None
        return
    recorded = {proxy: run.trajectories(proxy) for proxy in recipe.trained}
    used, trajectories = stages.join_all(stages.load(recipe, watch, texts=False), recorded)
    pools = {
        proxy: Pool.of(used, found, check=watch.check, **run.features(used.ids, proxy))
        for proxy, found in trajectories.items()
    }
    methods = {choice.label: choice for choice in recipe.choices}
    for arm in {arm.ranking: arm for arm in list_arms(recipe)}.values():
        selector = methods[arm.method].selector()
        if selector is None:
            continue
        name = f"ranking-{arm.ranking}.parquet"
        if Evidence.EMBEDDINGS in selector.needs:
            yield f"{name} made", "places", None
            continue
        pool = pools[proxy_of(methods[arm.method], arm)]
        again = ranking_table(pool, selector.select(pool, len(pool), arm.seed))
        same = again.equals(store.read_parquet(run.kept(name)))
        yield f"{name} made", "places", bool(same)
        watch.check()


def _same_selection(run: Run, recipe: SelectRecipe, watch: Watch) -> bool:
    table, ids = run.ranked()
    trajectories: Trajectories | None = None
    if recipe.trajectories is not None:
        trajectories = Trajectories.from_parquet(recipe.trajectories).align(ids)
    elif recipe.proxy is not None:
        trajectories = run.trajectories().align(ids)
    pool = Pool(
        ids=ids,
        trajectories=trajectories,
        sources=table["source"].to_pylist(),
        lengths=table["length"].to_numpy() if "length" in table.column_names else None,
        **run.features(ids),
        check=watch.check,
    )
    selection = recipe.selector().select(pool, recipe.budget, recipe.seed)
    selected = np.flatnonzero(table["selected"].to_numpy(zero_copy_only=False))
    return bool(np.array_equal(selection.indices, selected))
