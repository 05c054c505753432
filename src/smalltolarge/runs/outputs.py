"""Where a run may write its result, and that it writes it once."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smalltolarge import examples as reading
from smalltolarge import store
from smalltolarge.errors import RecipeError, StaleArtifact
from smalltolarge.examples.sniff import stem_of
from smalltolarge.runs.folder import RunFolder
from smalltolarge.runs.recipe import RecordRecipe

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


def refuse_input(inputs: list[dict[str, Any]], recipe: RecordRecipe, out: Path) -> None:
    """Raise ``RecipeError`` when ``out`` is an input, or the next run would read it as one."""
    if out.resolve() in {Path(entry["path"]).resolve() for entry in inputs}:
        raise RecipeError(f"--out {out} is an input; the data is never written over")
    read = (*recipe.data, *recipe.reading.exclude_overlap)
    if reading.would_read(read, out, recipe.reading.split):
        raise RecipeError(
            f"--out {out} lies where the data is read from ({', '.join(read)}): the next run would "
            "read it as data. Write it elsewhere, or name the files."
        )


def check_output(
    run: RunFolder, recipe: RecordRecipe, facts: Mapping[str, Any], out: Path, overwrite: bool
) -> None:
    """Refuse, before any training, an ``out`` that must not or cannot be written."""
    refuse_input(facts["inputs"], recipe, out)
    if out.resolve().is_relative_to(run.path.resolve()):
        raise RecipeError(f"--out {out} lies in the folder of the run; write it elsewhere")
    if _is_written(run, out):
        return
    if out.exists() and not overwrite and not _was_writing(run, out) and not _is_empty(out):
        raise StaleArtifact(
            f"{out} exists and is not what this run wrote. Choose another --out, or pass "
            "--overwrite."
        )
    say_new_folder(out)
    store.check_writable(out)


def say_new_folder(out: Path) -> None:
    """Name the folder that is made for ``out``: its name may be a slip."""
    if not out.parent.exists():
        log.info("there is no folder %s: it is made for --out %s", out.parent, out.name)


def _is_empty(out: Path) -> bool:
    return out.is_dir() and not any(out.iterdir())


def _is_written(run: RunFolder, out: Path) -> bool:
    facts = run.facts("write")
    return (
        facts is not None
        and Path(facts["out"]).resolve() == out.resolve()
        and out.exists()
        and store.digest(out) == facts["sha256"]
    )


def _was_writing(run: RunFolder, out: Path) -> bool:
    """Say whether this run was stopped between writing ``out`` and saying so."""
    facts = run.facts("writing")
    return facts is not None and Path(facts["out"]).resolve() == out.resolve()


def write_once(run: RunFolder, out: Path, rows: int, make: Callable[[], object]) -> None:
    """Write ``out`` by ``make``, unless it is there as this run wrote it.

    What is about to be written is said first, so that a kill in between is not taken for a
    stranger's file.
    """
    if _is_written(run, out):
        log.info("%s is done: there is nothing to do", run.path)
        return
    began = time.monotonic()
    run.commit("writing", [], {"out": str(out)})
    make()
    facts = {"out": str(out), "rows": rows, "sha256": store.digest(out)}
    seconds = round(time.monotonic() - began, 3)
    run.commit("write", [], {**facts, "seconds": seconds}, replaces="writing")
