"""What a run folder holds: its tables, and all of it read back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from smalltolarge import store
from smalltolarge.errors import IntegrityError, MissingArtifact
from smalltolarge.features import COLUMNS, EMBEDDING, read_features
from smalltolarge.runs import recipe as recipes
from smalltolarge.runs.manifest import Facts, read_manifest
from smalltolarge.runs.recipe import THE_PROXY, Proxy
from smalltolarge.runs.shapes import Shape, check_shape
from smalltolarge.selection.columns import NAMES
from smalltolarge.trajectories import Trajectories

if TYPE_CHECKING:
    from smalltolarge.examples import Examples
    from smalltolarge.selection import Selection

_SELECTION = {
    "id": "string", "source": "string", "key": "uint64", "rank": "int64", "selected": "bool",
}  # fmt: skip
"""Columns of ``selection.parquet`` that are read back, and their types."""
_WHOLE = ("cluster", "length", "sequence")
"""Those that may be there, of whole numbers."""


@dataclass(frozen=True)
class Run:
    """A run folder; nothing is read before it is asked for."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open the run folder at ``path``.

        Raises
        ------
        MissingArtifact
            There is no run there.
        """
        path = Path(path)
        if not path.exists():
            raise MissingArtifact(f"there is no run folder {path}: check the spelling")
        if not path.is_dir() or not (path / "manifest.json").exists():
            raise MissingArtifact(f"{path} is not a run folder: it has no manifest.json")
        return cls(path)

    @property
    def recipe(self) -> recipes.Recipe:
        """The recipe, of the kind that made this folder."""
        values = self.facts("load")["recipe"]
        kinds: dict[str, type[recipes.Recipe]] = {
            "model": recipes.EvaluateRecipe,
            "budget": recipes.SelectRecipe,
            "budgets": recipes.CompareRecipe,
            "proxy": recipes.RecordRecipe,
        }
        kind = next((kinds[name] for name in kinds if name in values), recipes.TrainRecipe)
        return recipes.read(values, kind)

    @cached_property
    def stages(self) -> Mapping[str, Any]:
        """What each finished stage had committed when this was first asked: its ``facts`` and its
        ``outputs``.
        """
        stages: Mapping[str, Any] = read_manifest(self.path)["stages"]
        return stages

    def facts(self, stage: str) -> Mapping[str, Any]:
        """Give the facts of a finished stage, and what was measured.

        Raises
        ------
        MissingArtifact
            The stage is not done.
        """
        if stage not in self.stages:
            raise MissingArtifact(f"{self.path}: stage {stage!r} is not done")
        return Facts(self.path, self.stages[stage])

    def kept(self, name: str) -> Path:
        """Give the path of a file or folder that a stage wrote, which still is what was written.

        All that is read of a run is read through here.

        Raises
        ------
        MissingArtifact
            No stage that is done wrote it.
        IntegrityError
            It is missing or changed.
        """
        path = self.path / name
        for entry in self.stages.values():
            if name in entry["outputs"]:
                if not store.is_as_written(path, entry["outputs"][name]["sha256"]):
                    raise IntegrityError(
                        f"{path} is missing or not what was written. Give the command of the run "
                        "again, which makes it anew."
                    )
                return path
        raise MissingArtifact(f"{self.path} has no {name}: what writes it is not done")

    def check_kept(self) -> None:
        """Raise as ``kept`` where anything that a finished stage wrote is missing or changed."""
        for entry in self.stages.values():
            for name in entry["outputs"]:
                self.kept(name)

    def json(self, name: str, shape: Shape) -> Any:
        """Read a file of JSON that a stage wrote; raises as ``kept``."""
        file = self.kept(name)
        return _parsed(file, file.read_bytes(), shape)

    def json_lines(self, name: str, shape: Shape) -> list[Any]:
        """Read a file of JSON Lines that a stage wrote; raises as ``kept``."""
        file = self.kept(name)
        return [_parsed(file, line, shape) for line in file.read_bytes().splitlines()]

    def trajectories(self, proxy: Proxy = THE_PROXY) -> Trajectories:
        """Read the trajectories this run recorded."""
        return Trajectories.from_parquet(self.kept(proxy.own("trajectories.parquet")))

    def features(self, ids: np.ndarray, proxy: Proxy = THE_PROXY) -> dict[str, Any]:
        """Read what a pool of the examples ``ids`` held beside trajectories, by its field."""
        given = getattr(self.recipe, "embeddings", None)
        if given is not None:
            return {"embeddings": read_features(Path(given), EMBEDDING, ids)}
        return {
            field: read_features(self.kept(proxy.own(f"{field}.parquet")), name, ids)
            for field, name in COLUMNS.items()
            if proxy.own(field) in self.stages
        }

    def selection(self) -> pa.Table:
        """Read ``selection.parquet``: every row read, and what became of it."""
        file = self.kept("selection.parquet")
        table = store.read_parquet(file)
        found = {field.name: str(field.type) for field in table.schema}
        whole = all(found.get(name, "int64") in ("int32", "int64") for name in _WHOLE)
        if not whole or not _SELECTION.items() <= found.items():
            raise IntegrityError(f"{file} has other columns than a selection")
        return table

    def ranked(self) -> tuple[pa.Table, np.ndarray]:
        """Read the rows of ``selection.parquet`` that the method put in order; and their ids."""
        table = self.selection()
        table = table.filter(table["id"].is_valid())
        if not table["selected"].to_numpy(zero_copy_only=False).any():
            raise IntegrityError(f"{self.path}/selection.parquet selects no row")
        return table, np.array(table["id"].cast(pa.binary()).to_pylist(), dtype="S32")

    def selected(self, examples: Examples) -> Selection:
        """Give the selection that this run made of ``examples``.

        Raises
        ------
        IntegrityError
            It was made of others.
        """
        from smalltolarge.selection import Selection

        table, ids = self.ranked()
        if not np.array_equal(ids, examples.ids):
            raise IntegrityError(f"{self.path}/selection.parquet is of other rows than the data")
        recipe = self.recipe
        assert isinstance(recipe, recipes.SelectRecipe)
        columns = {name: table[name].to_numpy() for name in ("rank", "key")}
        optional = {
            name: None if table[name].null_count else table[name].to_numpy()
            for name in ("cluster", "sequence")
            if name in table.column_names
        }
        selected = table["selected"].to_numpy(zero_copy_only=False)
        return Selection(
            indices=np.flatnonzero(selected),
            order=np.argsort(columns["rank"]),
            keys=columns["key"],
            labels=optional["cluster"],
            method=recipe.method,
            settings=recipe.settings,
            seed=recipe.seed,
            sequence=optional.get("sequence"),
            pruned=self.facts("select").get("pruned", 0),
            columns={
                name: table[name].drop_null().to_numpy()
                for name in NAMES.values()
                if name in table.column_names
            },
            examples=examples,
        )


def _parsed(file: Path, content: bytes, shape: Shape) -> Any:
    try:
        found = json.loads(content)
        check_shape(found, shape, "it")
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{file} is no file of ours: {error}") from error
    return found


def selection_table(examples: Examples, selection: Selection) -> pa.Table:
    """Every row read: what it is, where it stands, and what became of it."""
    rank = np.empty(len(examples), dtype=np.int64)
    rank[selection.order] = np.arange(len(examples))
    selected = rank < len(selection)
    pruned = rank >= len(rank) - selection.pruned
    paths = pa.array([entry.path for entry in examples.inputs], pa.string())
    labels = selection.labels
    used: dict[str, Any] = {
        "id": examples.table["id"],
        "file": paths.take(examples.table["file"].combine_chunks()),
        "row": examples.table["row"],
        "source": examples.table["source"],
        "length": examples.lengths(),
        "cluster": pa.nulls(len(rank), pa.int32()) if labels is None else labels,
        "key": selection.keys,
        "rank": rank,
        "selected": selected,
        "reason": np.where(selected, "selected", np.where(pruned, "pruned", "not selected")),
    }
    if selection.sequence is not None:
        used["sequence"] = selection.sequence
    for name, values in selection.columns.items():
        spread = np.zeros(len(rank), dtype=values.dtype)
        spread[selection.indices] = values
        used[name] = pa.array(spread, mask=~selected)
    excluded: dict[str, Any] = {
        "file": paths.take(examples.excluded["file"].combine_chunks()),
        "row": examples.excluded["row"],
        "selected": np.zeros(examples.excluded.num_rows, dtype=bool),
        "reason": examples.excluded["reason"],
    }
    return pa.concat_tables([pa.table(used), pa.table(excluded)], promote_options="default")


def cluster_table(
    selection: Selection, trajectories: Trajectories, sources: list[str | None]
) -> pa.Table:
    """One row a cluster: its size, how many were chosen, its most frequent source, mean losses."""
    assert selection.labels is not None
    labels = selection.labels
    sizes = np.bincount(labels)
    common: list[Counter[str | None]] = [Counter() for _ in sizes]
    for label, source in zip(labels.tolist(), sources, strict=True):
        common[label][source] += 1
    columns: dict[str, Any] = {
        "cluster": np.arange(len(sizes), dtype=np.int32),
        "size": sizes,
        "selected": np.bincount(labels[selection.indices], minlength=len(sizes)),
        "main_source": pa.array([_most_common(counter) for counter in common], pa.string()),
    }
    for column, step in enumerate(trajectories.steps.tolist()):
        total = np.bincount(labels, weights=trajectories.losses[:, column].astype(np.float64))
        columns[f"loss_{step}"] = total / sizes
    return pa.table(columns)


def _most_common(counter: Counter[str | None]) -> str | None:
    return min(counter, key=lambda name: (-counter[name], str(name)))


def selection_facts(
    examples: Examples, selection: Selection, trajectories: Trajectories | None
) -> dict[str, Any]:
    """Say in numbers what was chosen, over all and by source."""
    sources = examples.sources()
    before = Counter(sources)
    after = Counter(sources[row] for row in selection.indices.tolist())
    facts: dict[str, Any] = {
        "method": selection.method,
        "rows": len(examples),
        "selected": len(selection),
        "excluded": reasons(examples),
        "sources": [
            {"source": source, "rows": rows, "selected": after[source]}
            for source, rows in sorted(before.items(), key=lambda item: (-item[1], str(item[0])))
        ],
    }
    if selection.labels is not None:
        facts["clusters"] = selection.clusters
    if selection.pruned:
        facts["pruned"] = selection.pruned
    if trajectories is not None and trajectories.n_tokens is not None:
        facts["tokens"] = int(trajectories.n_tokens.sum(dtype=np.int64))
        facts["tokens_selected"] = int(trajectories.n_tokens[selection.indices].sum(dtype=np.int64))
    return facts


def reasons(examples: Examples) -> dict[str, int]:
    """Count the excluded rows by reason."""
    counts: Counter[str | None] = Counter(examples.excluded["reason"].to_pylist())
    return {str(reason): count for reason, count in sorted(counts.items(), key=str)}
