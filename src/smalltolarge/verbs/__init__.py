"""The verbs of the command line as Python functions, each usable alone, nothing written.

Settings are given by the names of the fields of ``ReadingSettings``, ``ProxySettings`` and the
method's class; they are read as strictly as a recipe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias

import numpy as np

from smalltolarge import examples as reading
from smalltolarge import experiment
from smalltolarge import recipe as recipes
from smalltolarge.errors import RecipeError, StaleArtifact
from smalltolarge.examples import Examples
from smalltolarge.experiment import Watch, check_budget, join, prepare
from smalltolarge.progress import Progress
from smalltolarge.recipe import CompareRecipe, RecordRecipe, SelectRecipe, TrainRecipe
from smalltolarge.selection import Budget, Evidence, Pool, Selection
from smalltolarge.settings import ReadingSettings
from smalltolarge.shown import Shown
from smalltolarge.trajectories import Trajectories

if TYPE_CHECKING:
    from smalltolarge.examples.sources import Source
    from smalltolarge.lm import Prepared
    from smalltolarge.outcomes import Table

    Data: TypeAlias = Source | PathLike[str] | list[PathLike[str]] | Examples


def load(data: Data, *, progress: Progress | None = None, **settings: Any) -> Examples:
    """Read fine-tuning data into one table of examples.

    Parameters
    ----------
    data : a file, several of them, a folder, a hub name; or rows: a list of dicts, a pandas or
        polars data frame, an Arrow table, or a data set of Hugging Face ``datasets`` (one that is
        iterated is read once and kept in memory)
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
    return _recorded(examples, recipe, Budget.parse("100%"), kept, progress)[1]


def select(
    data: Data,
    *,
    budget: str | SupportsIndex,
    trajectories: Trajectories | str | PathLike[str] | None = None,
    embeddings: np.ndarray | None = None,
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
    embeddings : float (n, d), a row for each of the n examples, for a method that needs some;
        None takes the hidden states of the proxy
    method : a name in ``smalltolarge.selection.SELECTORS``, or my_package.module:Class
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
    features: dict[str, np.ndarray] = {}
    if embeddings is not None:
        features["embeddings"] = np.asarray(embeddings, dtype=np.float32)
    if trajectories is not None and not isinstance(trajectories, Trajectories):
        trajectories = Trajectories.from_parquet(Path(trajectories))
    given = {Evidence(name) for name in features}
    given |= {Evidence.TRAJECTORIES} if trajectories is not None else set()
    if missing := (selector.needs & recipes.OF_A_PROXY) - given:
        if trajectories is not None:
            raise RecipeError(
                f"method {method} needs {' and '.join(sorted(missing))} of a proxy, which recorded "
                "losses do not have: leave trajectories out"
            )
        amount.least_rows(len(examples))
        prepared, trajectories, weights = _recorded(examples, recipe, amount, None, progress)
        made = experiment.make_features(prepared, weights, missing, Watch(progress))
        # what is joined is what was prepared, in its order: both leave the same examples out
        used, trajectories = join(examples, trajectories)
        features |= {kind.value: values for kind, values in made.items()}
        if embeddings is not None:
            features["embeddings"] = features["embeddings"][np.isin(examples.ids, used.ids)]
        examples = used
    elif trajectories is not None:
        examples, trajectories = join(examples, trajectories)
    return selector.select(Pool.of(examples, trajectories, **features), amount, recipe.seed)


def show_text(
    data: Data,
    *,
    rows: int = 3,
    ids: Sequence[str] = (),
    progress: Progress | None = None,
    **settings: Any,
) -> list[Shown]:
    """Give rows as the proxy would see them: their text, and what of it is learned.

    Parameters
    ----------
    rows : how many, from the first
    ids : the rows whose id begins with one of these, instead
    settings : fields of ``ProxySettings`` (proxy, template, max_length, ...) and
        ``ReadingSettings``

    Raises
    ------
    DataError
        The data cannot be used, no row has such an id, or the template does not take a row.
    """
    recipe: RecordRecipe = _recipe(RecordRecipe, **settings)
    assert recipe.proxy is not None
    watch = Watch(progress or Progress())
    examples = _examples(data, settings, watch.progress)
    return experiment.show_rows(examples, recipe.proxy.resolved(), rows, ids, watch)


def run(
    recipe: Mapping[str, Any] | str | PathLike[str],
    *,
    out: str | PathLike[str],
    progress: Progress | None = None,
) -> Table:
    """Compare ways of choosing in the run folder ``out``; the same call goes on where it stopped.

    Parameters
    ----------
    recipe : a YAML recipe, or its content as a mapping

    Raises
    ------
    RecipeError, DataError
        A setting, the data or a task does not allow it.
    """
    from smalltolarge import comparison

    values = recipe if isinstance(recipe, Mapping) else recipes.read_yaml(Path(recipe))
    wanted = recipes.read(values, CompareRecipe)
    finished = comparison.run_comparison(wanted, Path(out), Watch(progress or Progress()))
    return comparison.read_table(finished)


def train(
    target: str,
    data: Data | Selection,
    *,
    out: str | PathLike[str],
    seed: SupportsIndex = 0,
    folder: str | PathLike[str] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Mapping[str, Any]:
    """Fine-tune ``target`` on data, a ``Selection`` or a subset, and write the model to ``out``.

    Parameters
    ----------
    folder : where an interrupted training is kept and continued from; None keeps nothing
    settings : fields of ``TargetSettings`` (epochs, trainer, ...) and ``ReadingSettings``

    Returns the facts of the training: steps, tokens, flops, seconds, parameters, train_loss.

    Raises
    ------
    StaleArtifact
        ``out`` exists.
    DataError
        The data cannot be used, or the training diverged.
    """
    from smalltolarge import lm

    recipe: TrainRecipe = _recipe(TrainRecipe, seed=seed, target=target, **settings)
    progress = progress or Progress()
    out = Path(out)
    if out.exists():
        raise StaleArtifact(f"{out} exists. Choose another out, or take it away.")
    if isinstance(data, Selection):
        data = data.to_dataset()
    examples = _examples(data, settings, progress)
    prepared = prepare(examples, recipe.resolved().target, recipe.seed, Watch(progress))
    kept = Path(folder) if folder else None
    trained = lm.train(prepared, folder=kept, progress=progress)
    trained.save(out)
    return trained.facts


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
) -> tuple[Prepared, Trajectories, Mapping[str, Any]]:
    """Record with the proxy of a recipe; a budget that cannot be met is refused before training.

    Gives what was recorded on, the losses, and the weights of the proxy.
    """
    assert recipe.proxy is not None
    watch = Watch(progress)
    prepared = prepare(examples, recipe.proxy.resolved(), recipe.seed, watch)
    check_budget(budget, len(prepared), prepared.n_tokens)
    trajectories, weights, _ = experiment.record(examples, prepared, folder, watch)
    return prepared, trajectories, weights


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
