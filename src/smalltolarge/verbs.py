"""The verbs of the command line as Python functions, each usable alone, nothing written.

Settings are given by the names of the fields of ``ReadingSettings``, ``ProxySettings`` and the
method's class; they are read as strictly as a recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias

from smalltolarge import examples as reading
from smalltolarge import experiment
from smalltolarge import recipe as recipes
from smalltolarge.errors import RecipeError
from smalltolarge.examples import Examples
from smalltolarge.experiment import Watch, check_budget, join, prepare
from smalltolarge.progress import Progress
from smalltolarge.recipe import RecordRecipe, SelectRecipe
from smalltolarge.selection import Budget, Evidence, Pool, Selection
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
    RecipeError
        A setting is wrong, or is given beside examples, which are read already.
    """
    if isinstance(data, Examples):
        _refuse_reading_again(settings)
        return data
    parts: Any = [_named(part) for part in data] if isinstance(data, list) else _named(data)
    return reading.load(
        parts, settings=recipes.read(settings, ReadingSettings), progress=progress or Progress()
    )


def record(
    data: Data,
    *,
    seed: SupportsIndex = 0,
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
    recipe: RecordRecipe = _recipe(RecordRecipe, seed=seed, **settings)
    progress = progress or Progress()
    examples = _examples(data, settings, progress)
    kept = Path(folder) if folder else None
    return _recorded(examples, recipe, Budget.parse("100%"), kept, progress)


def select(
    data: Data,
    *,
    budget: str | SupportsIndex,
    trajectories: Trajectories | str | PathLike[str] | None = None,
    method: str = "s2l",
    seed: SupportsIndex = 0,
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
    amount = Budget.parse(budget)
    recipe: SelectRecipe = _recipe(
        SelectRecipe, seed=seed, budget=budget, method=method, **settings
    )
    selector = recipe.selector()
    progress = progress or Progress()
    examples = _examples(data, settings, progress)
    if trajectories is None and Evidence.TRAJECTORIES in selector.needs:
        amount.least_rows(len(examples))
        trajectories = _recorded(examples, recipe, amount, None, progress)
    if trajectories is not None:
        if not isinstance(trajectories, Trajectories):
            trajectories = Trajectories.from_parquet(Path(trajectories))
        examples, trajectories = join(examples, trajectories)
    return selector.select(Pool.of(examples, trajectories), amount, recipe.seed)


def _recipe(kind: type[Any], **flat: Any) -> Any:
    for name in ("data", "trajectories"):
        if name in flat:
            raise RecipeError(f"{name} is not a setting")
    return recipes.read(recipes.place({"data": ["memory"], **flat}, kind), kind)


def _named(part: Any) -> Any:
    return fspath(part) if isinstance(part, PathLike) else part


def _recorded(
    examples: Examples,
    recipe: RecordRecipe,
    budget: Budget,
    folder: Path | None,
    progress: Progress,
) -> Trajectories:
    """Record with the proxy of a recipe; a budget that cannot be met is refused before training."""
    assert recipe.proxy is not None
    watch = Watch(progress)
    prepared = prepare(examples, recipe.proxy.resolved(), recipe.seed, watch)
    check_budget(budget, len(prepared), prepared.n_tokens)
    return experiment.record(examples, prepared, folder, watch)[0]


def _examples(data: Data, settings: Mapping[str, Any], progress: Progress) -> Examples:
    names = {f.name for f in fields(ReadingSettings)}
    how = {name: value for name, value in settings.items() if name in names}
    return load(data, progress=progress, **how)


def _refuse_reading_again(settings: Mapping[str, Any]) -> None:
    recipes.read(settings, ReadingSettings)
    if settings:
        raise RecipeError(
            f"{', '.join(settings)}: these examples are read already, so how to read them has no "
            "effect. Give it to load, or give the files here."
        )
