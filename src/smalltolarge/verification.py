"""Whether a finished run still is what it says: digests, and the selection made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from smalltolarge import store
from smalltolarge.errors import IntegrityError, StaleArtifact
from smalltolarge.recipe import SelectRecipe
from smalltolarge.results import Run
from smalltolarge.selection import Pool
from smalltolarge.trajectories import Trajectories


def verify(path: str | Path, check: Callable[[], None] = lambda: None) -> list[str]:
    """Check every file a run read or wrote, and choose the subset again from its trajectories.

    Needs neither the proxy nor the network. Returns a line for each thing checked.

    Raises
    ------
    IntegrityError
        Something is not as it was written; names all of it.
    StaleArtifact
        The run is not finished.
    """
    run = Run.open(path)
    if "write" not in run.stages:
        raise StaleArtifact(f"{run.path} is not finished: give its command again first")
    good: list[str] = []
    bad: list[str] = []
    for entry in run.stages.values():
        changed = store.changed_outputs(run.path, entry)
        intact = [name for name in entry["outputs"] if name not in changed]
        good += [f"{run.path / name}: as written" for name in intact]
        bad += [f"{run.path / name} is missing or not what was written" for name in changed]
        check()
    elsewhere = [(entry["path"], entry["sha256"]) for entry in run.facts("load")["inputs"]]
    elsewhere.append((run.facts("write")["out"], run.facts("write")["sha256"]))
    recipe = run.recipe
    if isinstance(recipe, SelectRecipe) and recipe.trajectories is not None:
        entry = run.facts("select")["trajectories"]
        elsewhere.append((entry["path"], entry["sha256"]))
    for name, sha256 in elsewhere:
        if not Path(name).is_file():
            good.append(f"{name}: not a file here, not checked")
        elif store.digest(Path(name)) == sha256:
            good.append(f"{name}: as recorded")
        else:
            bad.append(f"{name} is not the file that the run read or wrote")
        check()
    if isinstance(recipe, SelectRecipe) and ":" in recipe.method:
        good.append(f"the subset was not chosen again: {recipe.method} is code from outside")
    elif isinstance(recipe, SelectRecipe) and not bad:
        same = _same_selection(run, recipe)
        (good if same else bad).append(
            f"the subset chosen again: {'the same' if same else 'other'} rows"
        )
    if bad:
        raise IntegrityError(f"{run.path} does not verify:\n" + "\n".join(f"  {b}" for b in bad))
    return good


def _same_selection(run: Run, recipe: SelectRecipe) -> bool:
    table = run.selection()
    table = table.filter(table["id"].is_valid())
    ids = np.array(table["id"].to_pylist(), dtype="S32")
    trajectories: Trajectories | None = None
    if recipe.trajectories is not None:
        trajectories = Trajectories.from_parquet(recipe.trajectories).align(ids)
    elif recipe.proxy is not None:
        trajectories = run.trajectories().align(ids)
    pool = Pool(ids=ids, trajectories=trajectories, sources=table["source"].to_pylist())
    selection = recipe.selector().select(pool, recipe.budget, recipe.seed)
    selected = np.flatnonzero(table["selected"].to_numpy(zero_copy_only=False))
    return bool(np.array_equal(selection.indices, selected))
