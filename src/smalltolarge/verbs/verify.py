"""Whether a finished run still is what it says: digests, and what follows from it made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import numpy as np

from smalltolarge import store
from smalltolarge.errors import IntegrityError, StaleArtifact, printable
from smalltolarge.progress import Progress, Watch
from smalltolarge.runs.recipe import (
    CompareRecipe,
    EvaluateRecipe,
    Recipe,
    SelectRecipe,
    TrainRecipe,
)
from smalltolarge.runs.results import Run
from smalltolarge.selection import Pool
from smalltolarge.trajectories import Trajectories


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
    check = Watch.of(progress).check
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
    try:
        inputs = [
            (entry["path"], entry["kind"], entry["sha256"])
            for entry in made.facts("load")["inputs"]
        ]
        written_out = [
            (made.facts(stage)["out"], made.facts(stage)["sha256"])
            for stage in ("write", "train")
            if stage in made.stages
        ]
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{made.path}/manifest.json lacks {error}") from error
    for name, kind, written in inputs:
        there = Path(name).expanduser()
        if not there.exists() or kind in ("dataset", "questions"):
            good.append(f"{name}: not here, not checked")
        elif store.digest(there) == written:
            good.append(f"{name}: as read")
        else:
            bad.append(f"{name} is not what the run read")
        check()
    for out, sha256 in written_out:
        if Path(out).exists() and store.digest(Path(out)) == sha256:
            good.append(f"{out}: as written")
        else:
            bad.append(f"{out} is missing (is this the folder the run was started in?) or changed")
    recipe = made.recipe
    if isinstance(recipe, SelectRecipe) and ":" in recipe.method:
        good.append(f"the subset was not chosen again: {recipe.method} is code from outside")
    elif isinstance(recipe, SelectRecipe) and not bad:
        same = _same_selection(made, recipe, check)
        (good if same else bad).append(
            f"the subset chosen again: {'the same' if same else 'other'} rows"
        )
    elif isinstance(recipe, EvaluateRecipe) and not bad:
        same = _same_scores(made, recipe, check)
        (good if same else bad).append(
            f"the answers scored again: {'the same' if same else 'other'} scores"
        )
    if bad:
        problems = "\n".join(f"  {printable(line, 300)}" for line in bad)
        raise IntegrityError(f"{made.path} does not verify:\n{problems}")
    return [printable(line, 300) for line in good]


def _same_scores(run: Run, recipe: EvaluateRecipe, check: Callable[[], None]) -> bool:
    """Score again what was found in the answers; tasks that are code from outside are not."""
    from smalltolarge.evaluation import Question, find_tasks

    named = [name for name in recipe.evaluation.tasks if ":" not in name]
    for task in find_tasks(named):
        for line in (run.path / f"answers-{task.name}.jsonl").read_bytes().splitlines():
            check()
            row = json.loads(line)
            question = Question(row["question"], row["reference"])
            found = row["found"]
            if row["score"] != (0.0 if found is None else task.score(found, question)):
                return False
    return True


def _same_selection(run: Run, recipe: SelectRecipe, check: Callable[[], None]) -> bool:
    table = run.ranked()
    ids = np.array(table["id"].to_pylist(), dtype="S32")
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
        check=check,
    )
    selection = recipe.selector().select(pool, recipe.budget, recipe.seed)
    selected = np.flatnonzero(table["selected"].to_numpy(zero_copy_only=False))
    return bool(np.array_equal(selection.indices, selected))
