"""What the options of a command ask for, as a recipe and the folder of its run."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from smalltolarge.errors import RecipeError, RefusedForSafety, printable


def read_recipe(
    kind: type[Any],
    data: list[str] | None,
    file: Path | None,
    given: dict[str, Any],
    settings: dict[str, Any],
    assignments: list[str] | None = None,
) -> Any:
    """Make a recipe of ``kind`` from options, over the file of ``--recipe`` where one is given.

    Raises
    ------
    RecipeError
        Something is missing, unknown or not allowed.
    RefusedForSafety
        The file names code to run.
    """
    from smalltolarge import recipe as recipes

    flat = {name: value for name, value in given.items() if value is not None} | settings
    if data:
        flat["data"] = data
    base = recipes.read_yaml(file) if file is not None else {}
    if ":" in str(base.get("method", "")) and "method" not in flat:
        raise RefusedForSafety(
            f"{file} names code to run as its method: {printable(str(base['method']))}. Give "
            "--method beside the recipe if you trust it."
        )
    if "method" in base and "method" not in flat:
        flat["method"] = base["method"]
    values = recipes.merge(base, recipes.place(flat, kind))
    values = recipes.assign(values, assignments or [])
    if not values.get("data"):
        raise RecipeError("DATA: name at least one file, folder or data set")
    if "budget" not in values and "method" in kind.__dataclass_fields__:
        raise RecipeError("--budget: how much to choose, for example 11%, 30000 or 2M-tokens")
    return recipes.read(values, kind)


def default_folder(out: Path) -> Path:
    """Name a run after its output, so that different outputs have different runs."""
    packed = out.with_suffix("") if out.suffix in {".gz", ".zst"} else out
    stem = packed.stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-")[:80]
    if name != stem:
        name = f"{name or 'run'}-{hashlib.sha256(os.fsencode(out.name)).hexdigest()[:6]}"
    return Path("runs") / name
