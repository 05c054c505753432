"""The numbers of a selection: what was read, how it was learned, what was taken of it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from smalltolarge.errors import MissingArtifact, printable
from smalltolarge.progress import Watch
from smalltolarge.runs import stages
from smalltolarge.runs.recipe import RecordRecipe, SelectRecipe
from smalltolarge.runs.results import Run, selection_table
from smalltolarge.selection import S2L, Pool
from smalltolarge.selection.diagnostics import Learning, Shapes, cramers_v, eta_squared
from smalltolarge.selection.sampling import random_keys
from smalltolarge.trajectories import Trajectories

log = logging.getLogger("smalltolarge")

MUCH = 0.8
"""Of what clusters explain of lengths or sources, above which they are said to repeat them."""
_BUDGET = "11%"
"""Of the subset that is shown for a run that chose none."""
_BINS = 40


@dataclass(frozen=True, eq=False)
class Chosen:
    """A run that read n rows and chose some of them; arrays are in one order."""

    run: Run
    table: pa.Table
    """As in ``selection.parquet``, of the rows that could be chosen."""
    trajectories: Trajectories | None
    labels: np.ndarray | None
    """int32 (n,): the cluster of every row."""
    method: str
    is_given: bool
    """Whether the run chose; else S2L at 11% is shown."""
    has_clusters: bool
    """Whether the method made the clusters; else they are those of S2L."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def selected(self) -> np.ndarray:
        """Whether a row was chosen: bool (n,)."""
        return np.asarray(self.table["selected"].to_numpy(zero_copy_only=False), dtype=bool)

    @cached_property
    def sources(self) -> tuple[np.ndarray, list[str | None]]:
        """The number of each row's source, int64 (n,), and the names, the most frequent first."""
        column = self.table["source"].combine_chunks().dictionary_encode(null_encoding="encode")
        codes = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        names: list[str | None] = column.dictionary.to_pylist()
        counts = np.bincount(codes, minlength=len(names)).tolist()
        order = sorted(range(len(names)), key=lambda one: (-counts[one], str(names[one])))
        place = np.empty(len(names), dtype=np.int64)
        place[order] = np.arange(len(names))
        return place[codes], [names[one] for one in order]

    @cached_property
    def lengths(self) -> tuple[np.ndarray, str] | None:
        """The length of each completion, int64 (n,), and its unit; None where it is not known."""
        if self.trajectories is not None and self.trajectories.n_tokens is not None:
            return self.trajectories.n_tokens.astype(np.int64), "tokens"
        if "length" not in self.table.column_names:
            return None
        return self.table["length"].to_numpy(), "characters"


def read(run: Run, watch: Watch) -> Chosen:
    """Read what a ``select`` or ``record`` run found; of the latter, choose by S2L.

    Raises
    ------
    MissingArtifact
        The run chose nothing and recorded nothing, or its data are not here and needed.
    """
    recipe = run.recipe
    if isinstance(recipe, SelectRecipe) and "select" in run.stages:
        table, ids = run.ranked()
        trajectories = _trajectories(run, recipe, ids)
        labels = None if table["cluster"].null_count else table["cluster"].to_numpy()
        method, is_given = recipe.method, True
    elif isinstance(recipe, RecordRecipe) and "record" in run.stages:
        examples, trajectories = stages.join(stages.load(recipe, watch), run.trajectories())
        pool = Pool.of(examples, trajectories)
        selection = _s2l(len(pool)).select(pool, _BUDGET, recipe.seed)
        table, labels = selection_table(examples, selection), selection.labels
        table = table.filter(table["id"].is_valid())
        ids, method, is_given = examples.ids, "s2l", False
    else:
        raise MissingArtifact(
            f"{run.path} has nothing to show yet: give its command again, which goes on with it"
        )
    has_clusters = labels is not None
    if labels is None and trajectories is not None:
        pool = Pool(ids=ids, trajectories=trajectories)
        labels = _s2l(len(pool)).rank(pool, random_keys(ids, recipe.seed), recipe.seed).labels
    return Chosen(run, table, trajectories, labels, method, is_given, has_clusters)


def _s2l(n: int) -> S2L:
    return S2L(clusters=min(S2L.clusters, n))


def _trajectories(run: Run, recipe: SelectRecipe, ids: np.ndarray) -> Trajectories | None:
    if "record" in run.stages:
        return run.trajectories().align(ids)
    if recipe.trajectories is None:
        return None
    if not Path(recipe.trajectories).is_file():
        log.warning(
            "%s, the losses of this run, is not here: the page says nothing of them. Give the "
            "command in the folder where the run was started.",
            printable(recipe.trajectories, 200),
        )
        return None
    return Trajectories.from_parquet(recipe.trajectories).align(ids)


def spent(run: Run, stage: str) -> Mapping[str, Any]:
    """Give all that a finished stage says of itself, measured numbers among it; else nothing."""
    entry = run.stages.get(stage, {})
    return {**entry.get("facts", {}), **entry.get("measured", {})}


def facts(chosen: Chosen) -> dict[str, Any]:
    """Say in numbers, as JSON-like data, what a run found; losses are told by clusters."""
    run, trajectories = chosen.run, chosen.trajectories
    recipe = run.recipe
    assert isinstance(recipe, RecordRecipe)
    loaded, recorded = spent(run, "load"), spent(run, "record")
    excluded = Counter(loaded["excluded"]) + Counter(recorded.get("left_out", {}))
    found: dict[str, Any] = {
        "run": str(run.path),
        "method": chosen.method,
        "is_given": chosen.is_given,
        "has_clusters": chosen.has_clusters,
        "seed": recipe.seed,
        "budget": recipe.budget if isinstance(recipe, SelectRecipe) else _BUDGET,
        "proxy": None if recipe.proxy is None else recipe.proxy.model,
        "out": spent(run, "write").get("out"),
        "read": loaded["read"],
        "excluded": dict(excluded),
        "rows": len(chosen),
        "selected": int(chosen.selected.sum()),
        "pruned": spent(run, "select").get("pruned", 0),
        "seconds": recorded.get("seconds"),
        "truncated": recorded.get("truncated"),
        "sources": _sources(chosen),
        "lengths": _lengths(chosen),
        "tokens": None,
        "tokens_selected": None,
        "checkpoints": [],
        "is_of_training": trajectories is None or trajectories.is_of_training,
        "clusters": [],
        "learning": None,
        "shapes": None,
        "origins": {"length": None, "source": None},
        "calls": [],
    }
    if trajectories is not None:
        losses, labels = trajectories.losses, chosen.labels
        assert labels is not None
        learning, shapes = None, None
        if trajectories.is_of_training:
            learning, shapes = Learning.of(losses, trajectories.steps), Shapes.of(losses)
        lengths, (sources, _) = chosen.lengths, chosen.sources
        found |= {
            "checkpoints": trajectories.steps.tolist(),
            "clusters": _clusters(chosen, labels, losses),
            "learning": None if learning is None else asdict(learning),
            "shapes": None if shapes is None else asdict(shapes),
            "origins": {
                "length": None if lengths is None else eta_squared(labels, np.log1p(lengths[0])),
                "source": cramers_v(labels, sources),
            },
            "calls": [] if shapes is None else _calls(chosen, losses, shapes),
        }
        if trajectories.n_tokens is not None:
            n_tokens = trajectories.n_tokens.astype(np.int64)
            found["tokens"] = int(n_tokens.sum())
            found["tokens_selected"] = int(n_tokens[chosen.selected].sum())
    found["warnings"] = warnings(found)
    return found


def _sources(chosen: Chosen) -> list[dict[str, Any]]:
    numbers, names = chosen.sources
    rows = np.bincount(numbers, minlength=len(names)).tolist()
    taken = np.bincount(numbers[chosen.selected], minlength=len(names)).tolist()
    return [
        {"source": name, "rows": before, "selected": after}
        for name, before, after in zip(names, rows, taken, strict=True)
    ]


def _lengths(chosen: Chosen) -> dict[str, Any] | None:
    """Count rows and chosen rows in bins of the logarithm of the length."""
    if chosen.lengths is None:
        return None
    values, unit = chosen.lengths
    logs = np.log10(np.maximum(values, 1))
    low, high = float(np.quantile(logs, 0.001)), float(np.quantile(logs, 0.999))
    rounded = np.unique(np.round(np.logspace(low, max(high, low + 0.3), _BINS + 1)))
    edges = np.append(rounded, rounded[-1] + 1) if len(rounded) < 2 else rounded
    inside = np.clip(values, edges[0], edges[-1])
    return {
        "unit": unit,
        "edges": edges.astype(int).tolist(),
        "rows": np.histogram(inside, edges)[0].tolist(),
        "selected": np.histogram(inside[chosen.selected], edges)[0].tolist(),
        "median": float(np.median(values)),
        "median_selected": float(np.median(values[chosen.selected])),
    }


def _clusters(chosen: Chosen, labels: np.ndarray, losses: np.ndarray) -> list[dict[str, Any]]:
    """Tell each cluster: its size, what it gave, and its losses by their 10, 50 and 90% points."""
    sources, names = chosen.sources
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    taken = np.bincount(labels[chosen.selected], minlength=len(sizes))
    found, begin = [], 0
    for number, size in enumerate(sizes.tolist()):
        rows = order[begin : begin + size]
        begin += size
        low, middle, high = np.quantile(losses[rows], (0.1, 0.5, 0.9), axis=0)
        found.append(
            {
                "cluster": number,
                "size": size,
                "selected": int(taken[number]),
                "main_source": names[int(np.bincount(sources[rows]).argmax())],
                "low": np.round(low, 4).tolist(),
                "median": np.round(middle, 4).tolist(),
                "high": np.round(high, 4).tolist(),
            }
        )
    return found


CALLS = {
    "flat": "Their loss hardly moved: its range is below {threshold:.2f} nats, a tenth of how far "
    "the losses of different rows lie apart.",
    "noisy": "Their loss went up and down: its rises, and its falls, add up to more than half of "
    "how far the losses of different rows lie apart.",
    "never learned": "They end above the median loss, and fell by less than half of what the mean "
    "loss fell by.",
    "forgotten": "They had been learned better: their loss rose again by more than a quarter of "
    "how far the losses of different rows lie apart.",
}
_SHOWN = 6


def _calls(chosen: Chosen, losses: np.ndarray, shapes: Shapes) -> list[dict[str, Any]]:
    """Count the rows whose losses move in a way worth a look, and name the plainest of each."""
    first, last, least = losses[:, 0], losses[:, -1], losses.min(axis=1)
    change = np.diff(losses, axis=1)
    both_ways = np.minimum(
        np.where(change > 0, change, 0).sum(axis=1), np.where(change < 0, -change, 0).sum(axis=1)
    )
    extent = losses.max(axis=1) - least
    mean_fall = float(first.mean(dtype=np.float64) - last.mean(dtype=np.float64))
    which = {
        "flat": (extent < shapes.threshold, -extent),
        "noisy": (both_ways > shapes.spread / 2, both_ways),
        "never learned": ((last > np.median(last)) & (first - last < mean_fall / 2), last),
        "forgotten": ((least < first) & (last - least > shapes.spread / 4), last - least),
    }
    found = []
    for name, (holds, how_much) in which.items():
        rows = np.flatnonzero(holds)
        plainest = rows[np.argsort(-how_much[rows], kind="stable")[:_SHOWN]]
        found.append(
            {
                "name": name,
                "words": CALLS[name].format(threshold=shapes.threshold),
                "rows": len(rows),
                "selected": int(chosen.selected[rows].sum()),
                "examples": plainest.tolist(),
            }
        )
    return found


def warnings(found: Mapping[str, Any]) -> list[str]:
    """Say in words what of a selection should be looked at before a target is paid for."""
    told = []
    learning, shapes, origins = found["learning"], found["shapes"], found["origins"]
    if len(found["checkpoints"]) == 1:
        told.append("Losses were recorded once: whether rows are learned alike is not known.")
    if learning is not None and learning["mean_losses"][-1] > 0.95 * learning["mean_losses"][0]:
        told.append(
            "The proxy hardly learned: its mean loss went from "
            f"{learning['mean_losses'][0]:.2f} to {learning['mean_losses'][-1]:.2f}. Clusters of "
            "such losses say little; give it a higher --learning-rate, more --epochs, or take "
            "another proxy."
        )
    elif shapes is not None and shapes["flat"] > 0.5:
        told.append(
            f"The losses of {shapes['flat']:.0%} of the rows hardly move: their level alone "
            "decides their cluster. Give the proxy a higher --learning-rate or more --epochs."
        )
    is_told = len(found["checkpoints"]) > 4  # with fewer the last quarter is much of the whole
    if learning is not None and is_told and (learning["of_whole"] or 0) > 0.3:
        told.append(
            f"The proxy was still learning when it stopped: {learning['of_whole']:.0%} of its "
            "whole progress came in the last quarter. More --epochs would move the losses on."
        )
    if found["has_clusters"]:
        if origins["length"] is not None and origins["length"] > MUCH:
            told.append(
                "The clusters repeat little more than how long the completions are (eta squared "
                f"{origins['length']:.2f}): --method random-by-length does nearly the same "
                "without a proxy."
            )
        if origins["source"] is not None and origins["source"] > MUCH:
            told.append(
                "The clusters repeat little more than the sources (Cramer's V "
                f"{origins['source']:.2f}): --method random-by-source needs no proxy and does as "
                "well."
            )
        if found["selected"] < len(found["clusters"]):
            told.append(
                f"The budget of {found['selected']:,} rows is below the number of clusters, "
                f"{len(found['clusters']):,}: some give nothing. Give a larger budget, or fewer "
                "--clusters."
            )
    if found["truncated"] and found["truncated"] > 0.05 * found["rows"]:
        told.append(
            f"{found['truncated']:,} rows ({found['truncated'] / found['rows']:.0%}) were cut at "
            "the length limit of the proxy, which saw only their beginning: see --max-length."
        )
    left = sum(found["excluded"].values())
    if left > 0.05 * found["read"]:
        told.append(
            f"{left:,} of {found['read']:,} rows read ({left / found['read']:.0%}) could not be "
            "used: excluded.jsonl in the run folder has each with its reason."
        )
    return told
