"""Where a run may write its result, and that it writes it once."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smalltolarge import examples as reading
from smalltolarge import store
from smalltolarge.errors import RecipeError, StaleArtifact
from smalltolarge.examples.sniff import stem_of
from smalltolarge.runs.folder import RunFolder
from smalltolarge.runs.recipe import DataRecipe

log = logging.getLogger("smalltolarge")


def default_folder(out: Path) -> Path:
    """Name a run after its output, so that different outputs have different runs."""
    stem = stem_of(out)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-")[:80]
    if name != stem:
        name = f"{name or 'run'}-{hashlib.sha256(os.fsencode(out.name)).hexdigest()[:6]}"
    return Path("runs") / name


def require_parquet(out: Path) -> None:
    """Raise ``RecipeError`` unless ``out`` is named as Parquet."""
    if out.suffix != ".parquet":
        raise RecipeError(f"--out {out}: it is written as Parquet, name it {out.stem}.parquet")


def refuse_input(inputs: list[dict[str, Any]], recipe: DataRecipe, out: Path) -> None:
    """Raise ``RecipeError`` when ``out`` is an input, or the next run would read it as one."""
    if out.resolve() in {Path(entry["path"]).resolve() for entry in inputs}:
        raise RecipeError(f"--out {out} is an input; the data is never written over")
    read = (*recipe.data, *recipe.reading.exclude_overlap)
    if reading.would_read(read, out, recipe.reading.split):
        raise RecipeError(
            f"--out {out} lies where the data is read from ({', '.join(read)}): the next run would "
            "read it as data. Write it elsewhere, or name the files."
        )


@contextmanager
def claim(
    run: RunFolder,
    recipe: DataRecipe,
    facts: Mapping[str, Any],
    out: Path,
    *,
    stage: str = "write",
    overwrite: bool = False,
) -> Iterator[Output]:
    """Hold ``out``, in which ``stage`` ends, until the block ends; a link there is followed.

    Raises
    ------
    RecipeError
        It must not or cannot be written.
    StaleArtifact
        Something is there that this run did not write, or another run is writing it.
    """
    refuse_input(facts["inputs"], recipe, out)
    if out.resolve().is_relative_to(run.path.resolve()):
        raise RecipeError(f"--out {out} lies in the folder of the run; write it elsewhere")
    real = Path(os.path.realpath(out))
    output = Output(run, out, stage, overwrite)
    if output.is_written() and not store.is_left(real):
        yield output
        return
    say_new_folder(out)
    with ExitStack() as stack:
        with store.naming_space(out, at_start=True):
            output.place = stack.enter_context(store.holding(real))
        output.refuse_strangers()
        yield output


def say_new_folder(out: Path) -> None:
    """Name the folder that is made for ``out``: its name may be a slip."""
    if not out.parent.exists():
        log.info("there is no folder %s: it is made for --out %s", out.parent, out.name)


@dataclass
class Output:
    """The result that a run writes for its user, once."""

    run: RunFolder
    out: Path
    stage: str = "write"
    overwrite: bool = False
    place: store.Place | None = None
    """None where there is nothing to write: it is there, or it is a file of the run itself."""

    def is_written(self) -> bool:
        """Say whether the stage is done and ``out`` is what it wrote."""
        return self._wrote(self.stage)

    def refuse_strangers(self) -> None:
        """Raise ``StaleArtifact`` where something is at ``out`` that must not be replaced."""
        out = self.out
        if (
            not out.exists()
            or (out.is_dir() and not any(out.iterdir()))
            or self._wrote(self.stage)
            or self._wrote("writing")
        ):
            return
        if not self.overwrite:
            raise StaleArtifact(
                f"{out} exists and is not what this run wrote. Choose another --out, or pass "
                "--overwrite."
            )
        if out.is_dir() and not (out / "dataset_info.json").is_file():
            raise StaleArtifact(
                f"{out} is a folder, and no saved data set: --overwrite does not replace it. "
                "Choose another --out."
            )

    def _wrote(self, stage: str) -> bool:
        facts = self.run.facts(stage)
        return (
            facts is not None
            and Path(facts["out"]).resolve() == self.out.resolve()
            and self.out.exists()
            and store.digest(self.out) == facts.get("sha256")
        )

    def write(self, make: Callable[[Path], object], facts: Mapping[str, Any]) -> None:
        """Write ``out`` by ``make``, unless it is there as this run wrote it, and commit the stage.

        What is about to appear is said first, so that a kill in between is not taken for a
        stranger's file.
        """
        if self.is_written():
            log.info("%s is done: there is nothing to do", self.run.path)
            return
        began = time.monotonic()
        if self.place is not None and not self._wrote("writing"):
            with store.naming_space(self.out):
                make(self.place.made)
                said = {"out": str(self.out), "sha256": store.digest(self.place.made)}
            self.run.commit("writing", {}, said)
            self.place.put(overwrite=self.overwrite)
        said_before = self.run.facts("writing")
        sha256 = said_before["sha256"] if said_before else store.digest(self.out)
        written = {"out": str(self.out), "sha256": sha256}
        seconds = {"seconds": round(time.monotonic() - began, 3)}
        self.run.commit(self.stage, {}, {**seconds, **facts, **written}, replaces="writing")
