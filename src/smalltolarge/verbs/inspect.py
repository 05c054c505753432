"""What a recording says before a target is paid for: ``inspection.json`` in its run folder.

A stage of its own: nothing follows from it, and it may be made again at any time.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from smalltolarge import store
from smalltolarge.errors import (
    DataError,
    MissingArtifact,
    RecipeError,
    StaleArtifact,
    printable,
)
from smalltolarge.examples import Examples
from smalltolarge.progress import Progress, Watch
from smalltolarge.runs import stages
from smalltolarge.runs.folder import RunFolder
from smalltolarge.runs.recipe import RecordRecipe, SelectRecipe
from smalltolarge.runs.results import Run
from smalltolarge.runs.stages import PROXY_WEIGHTS
from smalltolarge.selection import S2L, Pool, Random, Selector
from smalltolarge.selection.diagnostics import (
    Agreement,
    Clusters,
    GradientFacts,
    Inspection,
    Learning,
    Origins,
    PairMean,
    Shapes,
    SourceShare,
    adjusted_rand,
    cosines,
    cramers_v,
    effective,
    eta_squared,
    number,
    relative_error,
    spearman,
)
from smalltolarge.selection.sampling import (
    even_order,
    order_by_key,
    random_keys,
    smallest_first,
)
from smalltolarge.settings import ProxySettings
from smalltolarge.trajectories import Trajectories

__all__ = ["Inspection", "inspect"]

log = logging.getLogger("smalltolarge")

FILE = "inspection.json"
_BUDGET = "11%"
"""Of the subset looked at where the run chose none."""
_DRAWS = 5
"""Random subsets that the subset is compared with."""


@dataclass(frozen=True, eq=False)
class _Looked:
    """A recording as it is looked at: n examples in one order."""

    run: Run
    proxy: ProxySettings
    seed: int
    pool: Pool
    trajectories: Trajectories
    selector: S2L
    labels: np.ndarray
    """int32 (n,): the clusters of S2L."""
    chosen: np.ndarray
    """int64 (b,): rows of the subset."""
    method: str
    given: bool
    examples: Examples | None
    """The data, where they were read."""


def inspect(
    run: str | PathLike[str],
    *,
    target: str | PathLike[str] | None = None,
    sample: int = 1000,
    seeds: int = 3,
    gradients: bool = True,
    threads: int | None = None,
    device: str | None = None,
    progress: Progress | Watch | None = None,
) -> Inspection:
    """Look at the losses, clusters and gradients of a run that recorded; write what was found.

    Parameters
    ----------
    run : the run folder of ``select``, ``record`` or ``run``
    target : a run folder or a file of losses of the same examples under a larger model
    sample : examples whose own gradients are compared
    seeds : clusterings with different seeds that are compared
    gradients : False loads no model
    threads, device : of the proxy, instead of those it was recorded with

    Raises
    ------
    MissingArtifact
        The folder holds no recording, or what is asked for needs a file that is not there.
    StaleArtifact, IntegrityError
        The data or the recording are not those of the run any more.
    DataError
        The target has losses of other examples.
    """
    if seeds < 1 or sample < 2:
        raise RecipeError(f"seeds is {seeds} and sample is {sample}: at least 1 and 2 are needed")
    watch = Watch.of(progress)
    made = Run.open(Path(run))
    with RunFolder.open(made.path) as folder:
        found = _inspect(made, target, sample, seeds, gradients, threads, device, watch)
        folder.commit("inspection", {FILE: store.as_json(found.to_plain())}, {})
    return found


def _inspect(
    run: Run,
    target: str | PathLike[str] | None,
    sample: int,
    seeds: int,
    gradients: bool,
    threads: int | None,
    device: str | None,
    watch: Watch,
) -> Inspection:
    looked = _look(run, gradients, watch)
    losses, steps = looked.trajectories.losses, looked.trajectories.steps
    moves = looked.trajectories.is_of_training
    larger = None if target is None else _read_target(Path(target))
    return Inspection(
        run=str(looked.run.path),
        proxy=looked.proxy.model,
        examples=len(looked.pool),
        checkpoints=looked.trajectories.losses.shape[1],
        method=looked.method,
        given=looked.given,
        settings=asdict(looked.selector),
        learning=Learning.of(losses, steps) if moves else None,
        shapes=Shapes.of(losses) if moves else None,
        clusters=_clusters(looked, seeds, watch),
        origins=_origins(looked),
        agreement=None if larger is None else _agreement(looked, str(target), larger),
        gradients=_gradients(looked, sample, threads, device, watch) if gradients else None,
    )


def _look(run: Run, gradients: bool, watch: Watch) -> _Looked:
    """Read a recording, and the examples it is of; S2L clusters them, and chooses if need be."""
    recipe = _recorded(run, gradients)
    selected = "select" in run.stages
    examples = None if selected and not gradients else _read(run, recipe, watch)
    trajectories = run.trajectories()
    if selected:
        table, ids = run.ranked()
        sources = table["source"].to_pylist()
        if examples is not None and not np.isin(ids, examples.ids).all():
            raise StaleArtifact(_other_data(run))
    else:
        assert examples is not None
        if not np.isin(trajectories.ids, examples.ids).all():
            raise StaleArtifact(_other_data(run))
        used, trajectories = stages.join(examples, trajectories)
        ids, sources = used.ids, used.sources()
    trajectories = trajectories.align(ids)
    pool = Pool(ids=ids, trajectories=trajectories, sources=sources, check=watch.check)
    made = recipe if selected and isinstance(recipe, SelectRecipe) else None
    found = made.selector() if made is not None and made.method == "s2l" else S2L()
    assert isinstance(found, S2L)
    selector = _for_rows(found, len(pool))
    if selected:
        labels = _labels(selector, pool, recipe.seed)
        chosen = np.flatnonzero(table["selected"].to_numpy(zero_copy_only=False))
    else:
        selection = selector.select(pool, _BUDGET, recipe.seed)
        assert selection.labels is not None
        labels, chosen = selection.labels, selection.indices
    assert recipe.proxy is not None
    return _Looked(
        run=run,
        proxy=recipe.proxy,
        seed=recipe.seed,
        pool=pool,
        trajectories=trajectories,
        selector=selector,
        labels=labels,
        chosen=chosen,
        method="s2l" if made is None else made.method,
        given=selected,
        examples=examples,
    )


def _recorded(run: Run, gradients: bool) -> RecordRecipe:
    """Give the recipe of a run whose recording, and proxy if asked for, are as written."""
    recipe, stages = run.recipe, run.stages
    if "record" not in stages or not isinstance(recipe, RecordRecipe):
        given = getattr(recipe, "trajectories", None)
        raise MissingArtifact(
            f"{run.path} recorded no losses: there is nothing to inspect. Give the run folder of "
            "an s2l select, record or run that trained a proxy"
            + (f", such as the one that recorded {printable(given, 200)}." if given else ".")
        )
    if gradients and PROXY_WEIGHTS not in stages["record"]["outputs"]:
        raise MissingArtifact(
            f"{run.path} has no {PROXY_WEIGHTS}: an earlier version recorded it. Give "
            "--no-gradients, or record again."
        )
    for name in stages["record"]["outputs"]:
        if gradients or name != PROXY_WEIGHTS:
            run.kept(name)
    return recipe


def _read(run: Run, recipe: RecordRecipe, watch: Watch) -> Examples:
    """Read the data of a run, which must be where they were."""
    for entry in run.facts("load")["inputs"]:
        if entry["kind"] != "dataset" and not Path(entry["path"]).exists():
            raise MissingArtifact(
                f"{printable(entry['path'], 200)}, which the run in {run.path} read, is not here. "
                "Give the command in the folder where the run was started, or, for a run that "
                "selected, --no-gradients."
            )
    return stages.load(recipe, watch)


def _other_data(run: Run) -> str:
    return (
        f"the data are not those that the run in {run.path} recorded: some of its examples are "
        "gone. Put the old data back, or give --no-gradients."
    )


def _for_rows(selector: S2L, n: int) -> S2L:
    """Give a selector that makes no more clusters than there are rows."""
    if selector.stratify:
        return selector
    return replace(selector, clusters=min(selector.clusters, n))


def _labels(selector: Selector, pool: Pool, seed: int) -> np.ndarray:
    """Cluster a pool as a selection with this seed does."""
    found = selector.rank(pool, random_keys(pool.ids, seed), seed).labels
    assert found is not None
    return found


def _other_seeds(seed: int, count: int) -> list[int]:
    return [(seed + place) % 2**64 for place in range(1, count + 1)]


def _clusters(looked: _Looked, seeds: int, watch: Watch) -> Clusters:
    """Cluster again, with other seeds and other numbers of clusters."""
    selector, n, seed = looked.selector, len(looked.pool), looked.seed
    k = selector.clusters
    numbers = [other for other in (k // 2, 2 * k) if 2 <= other <= n]
    others = _other_seeds(seed, seeds - 1)
    with watch.progress.step("clustering", len(others) + len(numbers), "times") as step:
        by_seed = [looked.labels]
        for other in others:
            by_seed.append(_labels(selector, looked.pool, other))
            step.advance(1)
        over_clusters = {}
        for other in numbers:
            labels = _labels(replace(selector, clusters=other), looked.pool, seed)
            over_clusters[str(other)] = adjusted_rand(looked.labels, labels)
            step.advance(1)
    over = [adjusted_rand(a, b) for a, b in itertools.combinations(by_seed, 2)]
    sizes = np.bincount(looked.labels)
    return Clusters(
        clusters=len(sizes),
        smallest=int(sizes.min()),
        median=float(np.median(sizes)),
        largest=int(sizes.max()),
        below_three=int((sizes < 3).sum()),
        seeds=(seed, *others),
        over_seeds=float(np.mean(over)) if over else None,
        over_seeds_least=min(over) if over else None,
        over_clusters=over_clusters,
    )


def _origins(looked: _Looked) -> Origins:
    """Compare clusters with lengths and sources."""
    n, k = len(looked.pool), int(looked.labels.max()) + 1
    sources = looked.pool.sources or ()
    names, length = number(sources), None
    if looked.trajectories.n_tokens is not None:
        length = eta_squared(looked.labels, np.log(looked.trajectories.n_tokens))
    keys = random_keys(looked.pool.ids, looked.seed)
    order = order_by_key(keys, looked.pool.ids)
    drawn = even_order(smallest_first(names, order), order)[: len(looked.chosen)]
    return Origins(
        length=length,
        length_by_chance=(k - 1) / (n - 1) if n > 1 else 1.0,
        source=cramers_v(looked.labels, names),
        sources=int(names.max()) + 1,
        even=effective(names[looked.chosen]),
        even_by_source=effective(names[drawn]),
        shifts=SourceShare.largest_shifts(sources, looked.chosen),
    )


def _gradients(
    looked: _Looked, sample: int, threads: int | None, device: str | None, watch: Watch
) -> GradientFacts:
    """Compare gradients of the proxy: of examples with each other, of subsets with all."""
    assert looked.examples is not None
    changes: dict[str, Any] = {"threads": threads, "device": device}
    proxy = replace(
        looked.proxy, **{name: value for name, value in changes.items() if value is not None}
    )
    prepared = stages.prepare(looked.examples, proxy, looked.seed, watch)
    from smalltolarge import lm
    from smalltolarge.lm.gradients import proxy_gradients

    place = {name: row for row, name in enumerate(prepared.ids.tolist())}
    missing = [name for name in looked.pool.ids.tolist() if name not in place]
    if missing:
        raise StaleArtifact(
            f"{len(missing):,} examples that {looked.run.path} recorded have no token to learn "
            f"any more (first id {printable(missing[0].decode())}): the tokenizer has changed"
        )
    rows = np.array([place[name] for name in looked.pool.ids.tolist()], dtype=np.int64)
    pool, chosen, seed = looked.pool, looked.chosen, looked.seed
    some = np.sort(order_by_key(random_keys(pool.ids, seed), pool.ids)[:sample])
    draws = [Random().select(pool, len(chosen), other) for other in _other_seeds(seed, _DRAWS)]
    weights = lm.read_weights(looked.run.kept(PROXY_WEIGHTS))
    passed = len(rows) + (2 + _DRAWS) * len(chosen)
    with proxy_gradients(prepared, weights, watch.progress, watch.check) as found:
        with watch.progress.step("gradients of single rows", len(some)) as step:
            vectors = found.each(rows[some], step)
        with watch.progress.step("mean gradients", passed) as step:
            whole = found.mean(rows, step)
            plain = relative_error(found.mean(rows[chosen], step), whole)
            shares = _cluster_shares(looked.labels, chosen)
            weighted = relative_error(found.mean(rows[chosen], step, shares), whole)
            random = [relative_error(found.mean(rows[draw.indices], step), whole) for draw in draws]
        parameters = found.parameters
    labels, sources = looked.labels[some], number(list(pool.sources or ()))[some]
    alike = cosines(vectors)
    same = labels[:, None] == labels
    of_source = sources[:, None] == sources
    return GradientFacts(
        parameters=parameters,
        sample=len(some),
        sketch=vectors.shape[1] if vectors.shape[1] < parameters else None,
        inside=PairMean.of(alike, same),
        between=PairMean.of(alike, ~same),
        same_source=PairMean.of(alike, of_source),
        rows=len(chosen),
        error=plain,
        weighted_error=weighted,
        random_errors=tuple(random),
    )


def _cluster_shares(labels: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Weigh chosen rows (b,) so that each cluster counts for its size; they add up to 1.

    Clusters of which nothing was chosen are left out.
    """
    sizes, taken = np.bincount(labels), np.bincount(labels[chosen], minlength=labels.max() + 1)
    shares: np.ndarray = (sizes / np.maximum(taken, 1))[labels[chosen]]
    shares /= shares.sum()
    return shares


def _read_target(path: Path) -> Trajectories:
    """Read the losses of a larger model: those that a run recorded, or a file of them."""
    if not path.is_dir():
        return Trajectories.from_parquet(path)
    other = Run.open(path)
    if "record" not in other.stages:
        raise MissingArtifact(f"{path} recorded no losses to compare with")
    return other.trajectories()


def _agreement(looked: _Looked, name: str, larger: Trajectories) -> Agreement:
    """Compare the losses and clusters of two models on the examples that both have."""
    pool = looked.pool
    both = np.isin(pool.ids, larger.ids)
    if both.sum() < 2:
        raise DataError(
            f"{printable(name, 200)} has losses of {int(both.sum())} of the examples of "
            f"{looked.run.path}: record the larger model on the same data"
        )
    if not both.all():
        log.warning("%s of %s examples are in both", f"{int(both.sum()):,}", f"{len(pool):,}")
    ids = pool.ids[both]
    sources = [of for of, there in zip(pool.sources or (), both, strict=True) if there]
    selector = _for_rows(looked.selector, len(ids))
    pools = [
        Pool(ids=ids, trajectories=one.align(ids), sources=sources, check=pool.check)
        for one in (looked.trajectories, larger)
    ]
    labels = [_labels(selector, one, looked.seed) for one in pools]
    ours, theirs = (one.trajectories.losses for one in pools if one.trajectories is not None)
    return Agreement(
        name=name,
        examples=len(ids),
        first=spearman(ours[:, 0], theirs[:, 0]),
        last=spearman(ours[:, -1], theirs[:, -1]),
        clusters=adjusted_rand(*labels),
    )
