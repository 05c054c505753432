"""What a run folder holds, read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smalltolarge import recipe as recipes
from smalltolarge import store
from smalltolarge.errors import MissingArtifact
from smalltolarge.trajectories import Trajectories

if TYPE_CHECKING:
    import pyarrow as pa


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
        if not (path / "recipe.yaml").is_file():
            raise MissingArtifact(f"{path} is not a run folder: it has no recipe.yaml")
        return cls(path)

    @property
    def recipe(self) -> recipes.RecordRecipe:
        """The recipe: a ``SelectRecipe`` where something is selected."""
        values = recipes.read_yaml(self.path / "recipe.yaml")
        kind = recipes.SelectRecipe if "budget" in values else recipes.RecordRecipe
        return recipes.read(values, kind)

    @property
    def stages(self) -> Mapping[str, Any]:
        """What each finished stage committed: its ``facts`` and its ``outputs``."""
        stages: Mapping[str, Any] = store.read_manifest(self.path)["stages"]
        return stages

    def facts(self, stage: str) -> Mapping[str, Any]:
        """Give the facts of a finished stage.

        Raises
        ------
        MissingArtifact
            The stage is not done.
        """
        if stage not in self.stages:
            raise MissingArtifact(f"{self.path}: stage {stage!r} is not done")
        facts: Mapping[str, Any] = self.stages[stage]["facts"]
        return facts

    def trajectories(self) -> Trajectories:
        """Read the trajectories this run recorded."""
        return Trajectories.from_parquet(self.path / "trajectories.parquet")

    def selection(self) -> pa.Table:
        """Read ``selection.parquet``: every row read, and what became of it."""
        import pyarrow.parquet as pq

        if not (self.path / "selection.parquet").is_file():
            raise MissingArtifact(f"{self.path}: nothing is selected yet")
        return pq.ParquetFile(self.path / "selection.parquet").read()
