"""The order of the stages; the only file that knows all of them.

A run folder holds: ``recipe.yaml`` (every setting), ``environment.json``, ``manifest.json`` (the
stages done, with the digests of what they read and wrote), ``excluded.jsonl``,
``trajectories.parquet``, ``proxy.safetensors`` (the proxy after training), ``tokenizer.json`` of a
scratch proxy, ``embeddings.parquet`` and ``losses_alone.parquet`` where a method needs them,
``selection.parquet`` and ``clusters.parquet``; ``.working/`` only while something goes on.
"""

from __future__ import annotations

import importlib
import logging
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from smalltolarge import examples as reading
from smalltolarge import store
from smalltolarge.errors import BudgetError, DataError, IntegrityError, RecipeError, StaleArtifact
from smalltolarge.examples import Examples
from smalltolarge.examples.inputs import expanded
from smalltolarge.features import COLUMNS, EMBEDDING, read_features, write_features
from smalltolarge.progress import Watch
from smalltolarge.runs import estimate
from smalltolarge.runs import recipe as recipes
from smalltolarge.runs.folder import RunFolder, refuse_other_recipe
from smalltolarge.runs.manifest import ANOTHER, begin_again, kept_losses, recipe_of
from smalltolarge.runs.recipe import (
    THE_PROXY,
    CompareRecipe,
    DataRecipe,
    Proxy,
    Recipe,
    RecordRecipe,
    SelectRecipe,
    TrainRecipe,
)
from smalltolarge.runs.results import Run, cluster_table, reasons, selection_facts, selection_table
from smalltolarge.selection import Budget, Evidence, Pool, Selection
from smalltolarge.selection.columns import NAMES
from smalltolarge.settings import TrainingSettings, cores, versions
from smalltolarge.trajectories import Trajectories

if TYPE_CHECKING:
    from smalltolarge.lm import Prepared, World

R = TypeVar("R", bound=Recipe)

log = logging.getLogger("smalltolarge")

PROXY_WEIGHTS = "proxy.safetensors"
_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")


@contextmanager
def hold(recipe: R, folder: Path | None, *, shared: bool = False) -> Iterator[tuple[RunFolder, R]]:
    """Hold the run folder of a recipe, whose settings must be those found there.

    Gives the recipe, too, with what "auto" came to when the run began. Without a folder the run is
    in a temporary one, which goes with the block. Of a ``shared`` one another process may begin the
    run in the meantime: see ``joined``.
    """
    if folder is None:
        with (
            tempfile.TemporaryDirectory(prefix="s2l-") as made,
            hold(recipe, Path(made) / "run") as (run, recipe),
        ):
            run.is_temporary = True
            yield run, recipe
        return
    try:
        found = recipe_of(folder)
    except IntegrityError as error:
        with RunFolder.open(folder):
            begin_again(folder, error)
        found = None
    recipe = recipes.continued(recipe, found)
    with RunFolder.hold(folder, recipes.to_plain(recipe), found, shared=shared) as run:
        yield run, recipe


def joined(recipe: R, folder: Path) -> R:
    """Give a recipe with what "auto" came to where the run that is found in a folder began.

    Raises
    ------
    StaleArtifact
        It began with other settings.
    """
    found = recipe_of(folder)
    if found is not None:
        recipe = recipes.continued(recipe, found)
        refuse_other_recipe(folder, found, recipes.to_plain(recipe))
    return recipe


def _environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "versions": versions(),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def load(recipe: DataRecipe, watch: Watch, *, texts: bool = True) -> Examples:
    """Read and check the data of a recipe, and say what it was taken for.

    Without ``texts`` they are not kept where that can be helped.
    """
    source = recipe.data[0] if len(recipe.data) == 1 else list(recipe.data)
    examples = reading.load(
        source, settings=recipe.reading, progress=watch.progress, check=watch.check, texts=texts
    )
    log.info("%s", reading.describe(examples))
    return examples


def load_once(
    run: RunFolder,
    recipe: DataRecipe,
    watch: Watch,
    *,
    examples: Examples | None = None,
    besides: Sequence[Mapping[str, Any]] = (),
    texts: bool = True,
) -> tuple[Examples, dict[str, Any]]:
    """Read the data, unless they are read; give them, and what the manifest is to say of them.

    ``besides`` is what else is read, as ``input_of`` describes it; ``texts`` as for ``load``.
    """
    began = time.monotonic()
    examples = load(recipe, watch, texts=texts) if examples is None else examples
    facts: dict[str, Any] = {
        "inputs": [*inputs(recipe, examples), *besides],
        "format": examples.format,
        "columns": dict(examples.columns),
        "read": examples.n_read,
        "used": len(examples),
        "excluded": reasons(examples),
        "seconds": round(time.monotonic() - began, 3),
    }
    refuse_changed_inputs(run, facts["inputs"])
    return examples, facts


def inputs(recipe: DataRecipe, examples: Examples) -> list[dict[str, Any]]:
    """Say what is read, with sizes and digests: the data, and the files and folders of a recipe."""
    given = [(kind, getattr(recipe, kind, None)) for kind in ("trajectories", "embeddings")]
    given += [("kept out", name) for name in recipe.reading.exclude_overlap]
    if isinstance(recipe, CompareRecipe | TrainRecipe):
        given.append(("target", recipe.target.target))
    return [asdict(entry) for entry in examples.inputs] + inputs_here(given)


def inputs_here(given: Iterable[tuple[str, str | None]]) -> list[dict[str, Any]]:
    """Say of the (kind, name) that are files or folders here how large they are, and their digest.

    The others come from a hub, or are none.
    """
    found = []
    for kind, name in given:
        if name and (path := expanded(name)).exists():
            size = 0 if path.is_dir() else path.stat().st_size
            found.append({"path": name, "kind": kind, "size": size, "sha256": store.digest(path)})
    return found


def begin(run: RunFolder, recipe: Recipe, examples: Examples, facts: Mapping[str, Any]) -> None:
    """Lay down what the run is, now that its data and its budget are known to be good; once."""
    # Of a shared run, others may be at work on all but this.
    if run.is_done("load") if run.is_shared else "load" in run.check_all():
        return
    excluded = store.json_lines(examples.excluded.to_pylist())
    lay_down(run, recipe, facts, {"excluded.jsonl": excluded})


def lay_down(
    run: RunFolder, recipe: Recipe, facts: Mapping[str, Any], files: Mapping[str, bytes]
) -> None:
    """Write the recipe and the machine of a run that begins, and ``files``."""
    own = {
        "recipe.yaml": recipes.to_yaml(recipe).encode(),
        "environment.json": store.as_json(_environment()),
    }
    run.commit("load", {**own, **files}, {"recipe": recipes.to_plain(recipe), **facts})


def refuse_changed_inputs(run: RunFolder, now: Sequence[Mapping[str, Any]]) -> None:
    """Raise ``StaleArtifact`` where what is read is not what was read when the run began."""
    facts = run.facts("load")
    if facts is None:
        return
    then = {entry["path"]: entry for entry in facts.get("inputs", [])}
    today = {entry["path"]: entry for entry in now}
    changes = [
        f"  {path}: {_content(then.get(path))} then, {_content(today.get(path))} now"
        for path in [*then, *(path for path in today if path not in then)]
        if then.get(path) != today.get(path)
    ]
    if changes:
        raise StaleArtifact(
            f"the input changed since the run in {run.path} began:\n" + "\n".join(changes) + "\n"
            f"Put the old input back, or begin again in {ANOTHER}."
        )


def _content(entry: Mapping[str, Any] | None) -> str:
    return "absent" if entry is None else f"{entry['size']:,} bytes (sha256 {entry['sha256'][:12]})"


def join(examples: Examples, trajectories: Trajectories) -> tuple[Examples, Trajectories]:
    """Bring examples and trajectories to the same rows, by id.

    Examples that were left out when the losses were recorded are excluded here with the reason
    given there; trajectories of no example are ignored, aloud.

    Raises
    ------
    DataError
        An example has no trajectory, and recording did not leave it out.
    """
    left_out = trajectories.origin.get("left_out", {})
    gone = np.isin(examples.ids, np.array([name.encode() for name in left_out], dtype="S"))
    examples = examples.without(
        {row: left_out[examples.ids[row].decode()] for row in np.flatnonzero(gone).tolist()}
    )
    if len(examples) == 0:
        raise DataError("no example has a trajectory")
    joined = trajectories.align(examples.ids)
    if len(trajectories) > len(joined):
        log.warning(
            "%s trajectories belong to no example and are ignored",
            f"{len(trajectories) - len(joined):,}",
        )
    return examples, joined


def join_all(
    examples: Examples, recorded: Mapping[Proxy, Trajectories]
) -> tuple[Examples, dict[Proxy, Trajectories | None]]:
    """Bring examples and the trajectories of several proxies to the same rows, by id.

    That without a name is always there, with no trajectories where none were recorded. Raises as
    ``join``.
    """
    for trajectories in recorded.values():
        examples, _ = join(examples, trajectories)
    aligned = {proxy: found.align(examples.ids) for proxy, found in recorded.items()}
    return examples, {THE_PROXY: None, **aligned}


def prepare(
    examples: Examples, model: TrainingSettings, seed: int, watch: Watch, folder: Path | None = None
) -> Prepared:
    """Tokenise and plan for a proxy or target, and show the first row as it will see it."""
    require_torch()
    from smalltolarge import lm

    prepared = lm.prepare(
        examples, model, seed, folder=folder, progress=watch.progress, check=watch.check
    )
    if watch.show is not None:
        watch.show(lm.show_first(examples, prepared))
    return prepared


def require_torch() -> None:
    """Import the room that imports torch.

    Raises
    ------
    RecipeError
        It needs a package that is not installed, or docstrings.
    """
    if sys.flags.optimize > 1:
        raise RecipeError(
            "transformers builds no model without docstrings, which PYTHONOPTIMIZE=2 and python "
            "-OO take away: give 1, or nothing"
        )
    try:
        importlib.import_module("smalltolarge.lm")
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"training a model needs the package {error.name!r}: pip install 'smalltolarge[proxy]'"
        ) from error


def check_budget(budget: Budget, rows: int, n_tokens: np.ndarray | None) -> None:
    """Refuse, before any training, a budget that no order of the rows could meet."""
    budget.least_rows(rows)
    if budget.unit == "tokens":
        shortest_first = np.arange(rows) if n_tokens is None else np.argsort(n_tokens)
        budget.rows(shortest_first, n_tokens)


def record_once(
    run: RunFolder,
    recipe: RecordRecipe,
    examples: Examples,
    read_facts: Mapping[str, Any],
    watch: Watch,
    budget: Budget,
    world: World | None = None,
    proxy: Proxy = THE_PROXY,
) -> Trajectories:
    """Train a proxy of a recipe and keep its losses, or read those kept earlier.

    The trajectories remember which examples were left out, and why. The other processes of
    ``world`` were called by ``call``.
    """
    stage = proxy.own("record")
    file = run.path / proxy.own("trajectories.parquet")
    working = run.working / proxy.own("proxy")
    if run.is_done(stage):
        begin(run, recipe, examples, read_facts)
    else:
        began = time.monotonic()
        kept = None if run.is_temporary else working
        settings = recipe.settings_of(proxy)
        prepared = prepare(examples, settings, recipe.seed_of(proxy), watch, kept)
        check_budget(budget, len(prepared), prepared.n_tokens)
        if kept is not None:
            estimate.require_room({run.path: estimate.of_recording(prepared.plan)})
        recipe = recipes.settled(recipe, prepared.settings, proxy.name)
        begin(run, recipe, examples, read_facts)
        preparing = time.monotonic() - began
        from smalltolarge import lm

        watched: Any = {"folder": kept, "progress": watch.progress, "check": watch.check}
        if settings.from_checkpoints is None:
            found = lm.record(prepared, **watched, world=world)
        else:
            found = lm.record_saved(prepared, **watched)
        left_out = {examples.ids[row].decode(): reason for row, reason in prepared.left_out}
        origin = {**found.trajectories.origin, "left_out": left_out}
        files: dict[str, store.Content] = {
            file.name: replace(found.trajectories, origin=origin).to_parquet,
            proxy.own(PROXY_WEIGHTS): lambda path: lm.write_weights(path, found.weights),
        }
        if settings.is_scratch:
            files[proxy.own("tokenizer.json")] = prepared.tokenizer.text.encode()
        facts = {
            **found.facts,
            "left_out": dict(sorted(Counter(left_out.values()).items())),
            "truncated": prepared.tokenized.n_truncated,
            "seconds": round(time.monotonic() - began, 3),
            "seconds_preparing": round(preparing, 3),
        }
        run.commit(stage, files, facts)
    store.remove(working)
    return Trajectories.from_parquet(file)


def call(model: TrainingSettings | None, world: World | None, *, is_done: bool) -> None:
    """Call the other processes of ``world`` to the training of a model, unless it is done."""
    if world is not None and model is not None:
        world.tell(None if is_done else recipes.by_machine(model))


def follow(recipe: RecordRecipe | TrainRecipe, watch: Watch, world: World) -> None:
    """Take part in the recording or training that rank 0 of ``world`` keeps, when it calls."""
    called = world.tell(None)
    if called is None:
        return
    from smalltolarge import lm

    model: TrainingSettings | None = (
        recipe.proxy if isinstance(recipe, RecordRecipe) else recipe.target
    )
    work: Callable[..., object] = lm.record if isinstance(recipe, RecordRecipe) else lm.train
    assert model is not None
    examples = load(recipe, watch)
    prepared = prepare(examples, replace(model, **called), recipe.seed, watch)
    del examples
    work(prepared, check=watch.check, world=world)


def find_features(
    run: RunFolder,
    recipe: RecordRecipe,
    read: Examples,
    used: Examples,
    needs: frozenset[Evidence],
    watch: Watch,
    embeddings: np.ndarray | None = None,
    proxy: Proxy = THE_PROXY,
) -> dict[str, np.ndarray]:
    """Give what a pool needs beside trajectories, in the order of ``used``: given, kept, or made
    with the proxy that was recorded on ``read``.

    ``embeddings``, float (n, d) in the order of ``read``, are those of a recipe that names none of
    its files.
    """
    found: dict[str, np.ndarray] = {}
    given = getattr(recipe, "embeddings", None)
    if embeddings is not None:
        found["embeddings"] = np.asarray(embeddings, np.float32)[np.isin(read.ids, used.ids)]
    elif Evidence.EMBEDDINGS in needs and given is not None:
        found["embeddings"] = read_features(Path(given), EMBEDDING, used.ids)
    makers = {Evidence.EMBEDDINGS: "embed", Evidence.LOSSES_ALONE: "score_alone"}
    prepared: Prepared | None = None
    for kind, maker in makers.items():
        if not recipe.has_proxy or kind not in needs or kind in found:
            continue
        stage = proxy.own(kind)
        file = run.path / f"{stage}.parquet"
        if not run.is_done(stage):
            from smalltolarge import lm

            began = time.monotonic()
            settings = recipe.settings_of(proxy)
            prepared = prepared or prepare(read, settings, recipe.seed_of(proxy), watch)
            weights = lm.read_weights(run.path / proxy.own(PROXY_WEIGHTS))
            make = getattr(lm, maker)
            values = make(prepared, weights, progress=watch.progress, check=watch.check)
            seconds = round(time.monotonic() - began, 3)
            costs = {"seconds": seconds, "flops": prepared.forward_flops}
            write = partial(write_features, name=COLUMNS[kind], ids=prepared.ids, values=values)
            run.commit(stage, {file.name: write}, costs)
        found[kind.value] = read_features(file, COLUMNS[kind], used.ids)
    return found


def warn_of_pruned(pruned: int, rows: int, budget: int, label: str = "") -> None:
    """Warn of a budget, in rows, that is more than a method left after pruning."""
    kept = rows - pruned
    if budget > kept:
        log.warning(
            "%sa budget of %d rows, and %d are left after pruning: it takes %d pruned rows, those "
            "whose loss falls most",
            f"{label}: " if label else "", budget, kept, budget - kept,
        )  # fmt: skip


def select_once(
    run: RunFolder,
    recipe: SelectRecipe,
    examples: Examples,
    trajectories: Trajectories | None,
    features: Mapping[str, np.ndarray],
    watch: Watch,
) -> Selection:
    """Choose among ``examples``, or read back the choice made earlier."""
    if run.is_done("select"):
        return Run(run.path).selected(examples)
    began = time.monotonic()
    pool = Pool.of(examples, trajectories, **features, check=watch.check)
    with watch.progress.step("selecting", len(examples)) as step:
        try:
            selection = recipe.selector().select(
                pool, recipe.budget, recipe.seed, add_columns=recipe.add_columns
            )
        except BudgetError as error:
            raise BudgetError(f"{error}.{kept_losses(run.path)}") from error
        step.advance(len(examples))
    clusters = selection.clusters
    warn_of_pruned(selection.pruned, len(examples), len(selection))
    if len(selection) < clusters:
        log.warning(
            "a budget of %d rows over %d clusters: the smallest clusters give none; lower the "
            "number of clusters to draw from all",
            len(selection), clusters,
        )  # fmt: skip
    if "weight" in recipe.add_columns:
        stood_for = round(selection.columns[NAMES["weight"]].sum())
        if stood_for < len(examples):
            log.warning(
                "the weights add up to %d of %d rows: the others are of clusters or sources that "
                "gave none",
                stood_for, len(examples),
            )  # fmt: skip
    tables = {"selection.parquet": selection_table(examples, selection)}
    if selection.labels is not None and trajectories is not None:
        tables["clusters.parquet"] = cluster_table(selection, trajectories, examples.sources())
    files = {name: partial(store.write_parquet, table=table) for name, table in tables.items()}
    facts = selection_facts(examples, selection, trajectories)
    run.commit("select", files, facts | {"seconds": round(time.monotonic() - began, 3)})
    return selection
