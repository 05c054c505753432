"""What the options of a command ask for, as a recipe and the folder of its run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
    preset: str | None = None,
) -> Any:
    """Make a recipe of ``kind`` from options, over the file of ``--recipe`` where one is given,
    and that over the settings of a preset.

    Raises
    ------
    RecipeError
        Something is missing, unknown or not allowed.
    RefusedForSafety
        The file names code to run.
    """
    from smalltolarge.runs import recipe as recipes

    flat = {name: value for name, value in given.items() if value is not None}
    flat |= with_mappings(settings)
    if data:
        flat["data"] = data
    base = recipes.read_yaml(file) if file is not None else {}
    _refuse_code(file, "method", [base.get("method")], flat)
    asking = base.get("evaluation")
    tasks = asking.get("tasks") if isinstance(asking, dict) else None
    _refuse_code(file, "task", tasks if isinstance(tasks, list) else [tasks], flat)
    if "method" in base and "method" not in flat:
        flat["method"] = base["method"]
    values = recipes.over_preset(recipes.merge(base, recipes.place(flat, kind)), preset, kind)
    values = recipes.assign(values, assignments or [])
    for name, wanted in _NEEDED.items():
        if name in kind.__dataclass_fields__ and not values.get(name):
            raise RecipeError(wanted)
    return recipes.read(values, kind)


_NEEDED = {
    "data": "DATA: name at least one file, folder or data set",
    "budget": "--budget is needed: how much to choose, for example 11%, 30000 or 2M-tokens",
    "model": "MODEL: name a folder, a GGUF file or a hub model",
    "evaluation": "--task: name at least one; s2l tasks lists them",
}


def _refuse_code(
    file: Path | None, kind: str, names: Collection[object], given: Mapping[str, Any]
) -> None:
    """Refuse what a recipe names as my_package.module:Class, unless it is given beside it."""
    foreign = [str(name) for name in names if ":" in str(name)]
    if foreign and not {kind, f"{kind}s"} & given.keys():
        raise RefusedForSafety(
            f"{file} names code to run as its {kind}: {printable(foreign[0])}. Give --{kind} "
            "beside the recipe if you trust it."
        )


def with_mappings(settings: dict[str, Any]) -> dict[str, Any]:
    """Read the settings that are given as NAME=VALUE, once or more, or as a number or a word."""
    from smalltolarge.runs import recipe as recipes

    found = dict(settings)
    for name, value in settings.items():
        if name in ("columns", "template_arg"):
            found[name] = _pairs(name, value)
        elif name == "batch_size":
            found[name] = recipes.scalar(str(value))
    return found


def _pairs(name: str, given: list[str]) -> dict[str, Any]:
    """Columns are texts, other values as in a recipe."""
    from smalltolarge.runs import recipe as recipes

    flag, found = f"--{name.replace('_', '-')}", dict[str, Any]()
    for text in given:
        key, equals, value = text.partition("=")
        if not (key and equals and (value or name != "columns")):
            form = "ROLE=COLUMN is needed, for example output=answer"
            if name != "columns":
                form = "NAME=VALUE is needed, for example enable_thinking=false"
            raise RecipeError(f"{flag} {printable(text)}: {form}")
        if key in found:
            raise RecipeError(f"{flag} {printable(key)} is given twice")
        found[key] = value if name == "columns" else recipes.scalar(value)
    return found
