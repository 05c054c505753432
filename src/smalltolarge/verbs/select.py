"""Choose the part of fine-tuning data that a budget buys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, Unpack, cast

import numpy as np

from smalltolarge import examples as reading
from smalltolarge.errors import RecipeError
from smalltolarge.examples import Examples
from smalltolarge.progress import Progress, Watch
from smalltolarge.runs import outputs, stages
from smalltolarge.runs.recipe import RecordRecipe, SelectRecipe
from smalltolarge.selection import SELECTORS, Budget, Evidence, Selection, Selector
from smalltolarge.selection.columns import NAMES, Column
from smalltolarge.trajectories import Trajectories
from smalltolarge.verbs import given
from smalltolarge.verbs.given import Data
from smalltolarge.verbs.keywords import Selecting

if TYPE_CHECKING:
    from smalltolarge.lm import Prepared, World


def select(
    data: Data,
    *,
    budget: str | SupportsIndex,
    trajectories: Trajectories | str | PathLike[str] | None = None,
    embeddings: np.ndarray | str | PathLike[str] | None = None,
    method: str | Selector = "s2l",
    add_columns: Collection[Column] = (),
    preset: str | None = None,
    seed: SupportsIndex = 0,
    out: str | PathLike[str] | None = None,
    run: str | PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress | Watch | None = None,
    **settings: Unpack[Selecting],
) -> Selection:
    """Choose the part of the data that ``budget`` buys.

    Parameters
    ----------
    budget : rows (30000, "30K"), a share ("11%") or completion tokens ("2M-tokens")
    trajectories : recorded losses or their file; None records them when the method needs them
    embeddings : float (n, d), a row for each of the n examples, or their file, for a method that
        needs some; None takes the hidden states of the proxy
    method : a name in ``smalltolarge.selection.SELECTORS``, my_package.module:Class, or an object
        of such a class, with its settings
    add_columns : what the subset gets beside its own columns: "weight", of how many rows each one
        stands for, and "order", its place from easy to hard
    preset : settings of others, over our defaults: "paper" or "authors-code"
    out : where the subset is written, in the format of the data; default: nowhere, or ``subset``
        with the suffix of the data where ``run`` is given
    run : the run folder, in which the same call goes on where it was stopped; None keeps nothing
    overwrite : replace what is at ``out``, even if something else wrote it
    settings : fields of the method (clusters, ...), ``ProxySettings`` and ``ReadingSettings``

    Raises
    ------
    BudgetError
        The budget does not fit the data.
    DataError
        The data or the trajectories cannot be used.
    StaleArtifact
        ``run`` or ``out`` belongs to something else.
    """
    Budget.parse(budget)
    name, chosen = given.method(method)
    recipe: SelectRecipe = given.to_recipe(
        SelectRecipe,
        data,
        {**chosen, **settings},
        preset=preset,
        seed=seed,
        budget=budget,
        method=name,
        add_columns=tuple(add_columns),
        trajectories=given.named(trajectories),
        embeddings=given.named(embeddings),
    )
    evidence = {
        kind: value
        for kind, value in (
            (Evidence.TRAJECTORIES, trajectories),
            (Evidence.EMBEDDINGS, embeddings),
        )
        if given.named(value) == given.MEMORY
    }
    if evidence and run is not None:
        raise RecipeError(
            f"{' and '.join(evidence)}: a run keeps where they came from, so give their file, or "
            "leave run away"
        )
    watch = Watch.of(progress)
    examples = given.read(data, settings, watch) if given.MEMORY in recipe.data else None
    return run_select(
        recipe,
        given.path(out),
        given.path(run),
        watch,
        overwrite=overwrite,
        examples=examples,
        evidence=evidence,
    )


def run_select(
    recipe: SelectRecipe,
    out: Path | None,
    folder: Path | None,
    watch: Watch,
    *,
    overwrite: bool = False,
    examples: Examples | None = None,
    evidence: Mapping[Evidence, Any] | None = None,
    world: World | None = None,
    texts: bool = True,
) -> Selection:
    """Read, record, select and write, each stage once; what is done is not done again.

    Parameters
    ----------
    out : None is ``subset`` with the suffix of the input, and nothing without a ``folder``
    folder : None keeps nothing
    examples : the data of a recipe that names none
    evidence : trajectories and embeddings of a recipe that names no files of them
    world : the processes that share a recording; this is rank 0, and the others ``record.follow``
    texts : whether the selection's examples must have their texts, or only what the method needs

    Raises
    ------
    RecipeError, DataError, BudgetError
        The settings or the data do not allow it; nothing has been trained then.
    StaleArtifact
        ``folder`` or ``out`` belongs to something else.
    """
    recipe = recipe.resolved()
    evidence = evidence or {}
    budget = Budget.parse(recipe.budget)
    output: outputs.Output | None = None
    with stages.hold(recipe, folder) as (run, recipe), ExitStack() as stack:
        stages.call(recipe.proxy, world, is_done=run.is_done("record"))
        own = recipe.method in SELECTORS and Evidence.EXAMPLES not in recipe.selector().needs
        texts = texts or recipe.proxy is not None or not own
        read, facts = stages.load_once(run, recipe, watch, examples=examples, texts=texts)
        budget.least_rows(len(read))
        reading.refuse_taken(read, [NAMES[name] for name in recipe.add_columns])
        if folder is not None or out is not None:
            out = out or Path(f"subset{reading.usual_suffix(read.inputs[0].kind)}")
            reading.check_output(read, out)
            claim = outputs.claim(run, recipe, facts, out, overwrite=overwrite)
            output = stack.enter_context(claim)
        used, trajectories = read, None
        if recipe.proxy is not None:
            recorded = stages.record_once(run, recipe, read, facts, watch, budget, world)
            used, trajectories = stages.join(read, recorded)
        else:
            if recipe.trajectories is not None:
                used, trajectories = stages.join(read, _trajectories(recipe, evidence))
            n_tokens = None if trajectories is None else trajectories.n_tokens
            stages.check_budget(budget, len(used), n_tokens)
            stages.begin(run, recipe, read, facts)
        needs = recipe.selector().needs
        embeddings = evidence.get(Evidence.EMBEDDINGS)
        features = stages.find_features(run, recipe, read, used, needs, watch, embeddings)
        selection = stages.select_once(run, recipe, used, trajectories, features, watch)
        if output is not None:
            output.write(selection.write, {"rows": len(selection)})
    return selection


def plan(recipe: RecordRecipe, out: Path | None, watch: Watch) -> tuple[Examples, Prepared | None]:
    """Read and tokenise, and say what a run would do; nothing is trained or written."""
    recipe = recipe.resolved()
    examples = stages.load(recipe, watch, texts=recipe.proxy is not None)
    if out is not None:
        outputs.refuse_input(stages.inputs(recipe, examples), recipe, out)
    prepared, n_tokens, rows = None, None, len(examples)
    if recipe.proxy is not None:
        prepared = stages.prepare(examples, recipe.proxy, recipe.seed, watch)
        n_tokens, rows = prepared.n_tokens, len(prepared)
    if isinstance(recipe, SelectRecipe):
        if out is not None:
            reading.check_output(examples, out)
        reading.refuse_taken(examples, [NAMES[name] for name in recipe.add_columns])
        if recipe.trajectories is not None:
            examples, joined = stages.join(examples, _trajectories(recipe, {}))
            n_tokens, rows = joined.n_tokens, len(joined)
        stages.check_budget(Budget.parse(recipe.budget), rows, n_tokens)
    return examples, prepared


def _trajectories(recipe: SelectRecipe, evidence: Mapping[Evidence, Any]) -> Trajectories:
    if Evidence.TRAJECTORIES in evidence:
        return cast(Trajectories, evidence[Evidence.TRAJECTORIES])
    return Trajectories.from_parquet(str(recipe.trajectories))
