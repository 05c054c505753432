"""The verbs of the command line as Python functions, each usable alone, nothing written.

Settings are given by the names of the fields of ``ReadingSettings``, ``ProxySettings`` and the
method's class; they are read as strictly as a recipe.
"""

from __future__ import annotations

from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from smalltolarge import examples as reading
from smalltolarge import experiment
from smalltolarge import recipe as recipes
from smalltolarge.errors import RecipeError
from smalltolarge.examples import Examples
from smalltolarge.experiment import Watch, join, prepare
from smalltolarge.progress import Progress
from smalltolarge.recipe import RecordRecipe, SelectRecipe
from smalltolarge.selection import Evidence, Pool, Selection
from smalltolarge.settings import ReadingSettings
from smalltolarge.trajectories import Trajectories

if TYPE_CHECKING:
    from datasets import Dataset

    Data: TypeAlias = str | PathLike[str] | list[str] | list[PathLike[str]] | Dataset | Examples


def load(data: Data, *, progress: Progress | None = None, **settings: Any) -> Examples:
    """Read fine-tuning data into one table of examples.

    Parameters
    ----------
    data : a file, a folder, several of them, a hub name, or a ``datasets.Dataset``
    settings : fields of ``ReadingSettings``

    Raises
    ------
    DataError
        The data cannot be used; says where and why.
    """
    if isinstance(data, Examples):
        return data
    source: Any = [str(part) for part in data] if isinstance(data, list) else data
    if isinstance(source, PathLike):
        source = str(source)
    return reading.load(
        source, settings=recipes.read(settings, ReadingSettings), progress=progress or Progress()
    )


def record(
    data: Data,
    *,
    seed: int = 0,
    folder: str | PathLike[str] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Trajectories:
    """Fine-tune a proxy on the data and record the loss of every example at every checkpoint.

    Parameters
    ----------
    folder : where an interrupted recording is kept and continued from; None keeps nothing
    settings : fields of ``ProxySettings`` (proxy, epochs, checkpoints, ...) and ``ReadingSettings``

    Raises
    ------
    DataError
        The data cannot be used, or the proxy diverged.
    """
    recipe = _recipe(RecordRecipe, seed=seed, **settings)
    progress = progress or Progress()
    examples = _examples(data, recipe, progress)
    assert recipe.proxy is not None
    watch = Watch(progress)
    prepared = prepare(examples, recipe.proxy.resolved(), seed, watch)
    return experiment.record(examples, prepared, Path(folder) if folder else None, watch)[0]


def select(
    data: Data,
    *,
    budget: str | int,
    trajectories: Trajectories | str | PathLike[str] | None = None,
    method: str = "s2l",
    seed: int = 0,
    progress: Progress | None = None,
    **settings: Any,
) -> Selection:
    """Choose the part of the data that ``budget`` buys.

    Parameters
    ----------
    budget : rows (30000, "30K"), a share ("11%") or completion tokens ("2M-tokens")
    trajectories : recorded losses or their file; None records them when the method needs them
    settings : fields of the method (clusters, ...), ``ProxySettings`` and ``ReadingSettings``

    Raises
    ------
    BudgetError
        The budget does not fit the data.
    DataError
        The data or the trajectories cannot be used.
    """
    recipe: SelectRecipe = _recipe(
        SelectRecipe, seed=seed, budget=str(budget), method=method, **settings
    )
    selector = recipe.selector()
    examples = _examples(data, recipe, progress or Progress())
    if trajectories is None and Evidence.TRAJECTORIES in selector.needs:
        proxy = {f.name for f in fields(type(recipe.proxy))} if recipe.proxy else set()
        chosen = {name: value for name, value in settings.items() if name in proxy}
        trajectories = record(examples, seed=seed, progress=progress, **chosen)
    if trajectories is not None:
        if not isinstance(trajectories, Trajectories):
            trajectories = Trajectories.from_parquet(Path(trajectories))
        examples, trajectories = join(examples, trajectories)
    return selector.select(Pool.of(examples, trajectories), budget, seed)


def _recipe(kind: type[Any], **flat: Any) -> Any:
    for name in ("data", "trajectories"):
        if name in flat:
            raise RecipeError(f"{name} is not a setting")
    return recipes.read(recipes.place({"data": ["memory"], **flat}, kind), kind)


def _examples(data: Data, recipe: RecordRecipe, progress: Progress) -> Examples:
    if isinstance(data, Examples):
        return data
    settings = {f.name: getattr(recipe.reading, f.name) for f in fields(ReadingSettings)}
    return load(data, progress=progress, **settings)
