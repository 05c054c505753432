"""What a trainer is to be told: settings of the run that chose the subset, and those given here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from smalltolarge import store
from smalltolarge.errors import IntegrityError, RecipeError, StaleArtifact, printable
from smalltolarge.runs import recipe
from smalltolarge.runs.outputs import default_folder
from smalltolarge.runs.results import Run
from smalltolarge.settings import OURS_ALONE, ReadingSettings, TargetSettings

log = logging.getLogger("smalltolarge")

MODEL = "microsoft/phi-2"
"""The paper's target."""
_OF_ANY_MODEL = (
    "template", "template_arg", "fold_system", "on_template_loss", "preamble", "epochs",
    "max_length",
)  # fmt: skip
"""What of the proxy's settings holds for a target too."""
_OF_A_MODEL = {"revision", "tokenizer", "lora_modules"}
"""What of a target's settings holds for that model alone."""
_WHICH_ROWS = {"on_bad_row", "split", "exclude_overlap", "overlap_words"}
"""What of a run's way of reading says nothing of its subset: which rows are read."""
_READING = {field.name: field.default for field in fields(ReadingSettings)}
_TARGET = {field.name for field in fields(TargetSettings)}


def settings_of(
    subset: Path, model: str | None, run: Path | None, given: Mapping[str, Any]
) -> tuple[TargetSettings, ReadingSettings, list[str]]:
    """Give the settings for a trainer and for reading, and what to say of where they come from.

    Raises
    ------
    RecipeError
        A setting is unknown or not allowed.
    MissingArtifact
        ``run`` is no run folder.
    """
    names = (_TARGET - OURS_ALONE) | _READING.keys()
    if unknown := sorted(given.keys() - names):
        raise RecipeError(
            f"{printable(unknown[0])} is no setting of an export: {', '.join(sorted(names))}"
        )
    folder = run if run is not None else _run_of(subset)
    taken: dict[str, Any] = {}
    notes = []
    if folder is not None:
        taken = {name: value for name, value in _settings_in(folder).items() if name not in given}
        if model is not None and model != taken.pop("target", model):
            taken = {name: value for name, value in taken.items() if name not in _OF_A_MODEL}
        said = ", ".join(
            f"{name} {value}"
            for name, value in taken.items()
            if value not in (None, "", False, _READING.get(name))
        )
        if said:
            notes.append(f"of {printable(folder, 200)}: {said}")
    values = {"target": model or MODEL, **taken, **given}
    how = {name: values.pop(name) for name in _READING if name in values}
    settings: TargetSettings = recipe.read(values, TargetSettings)
    return settings.resolved(), recipe.read(how, ReadingSettings), notes


def _settings_in(folder: Path) -> dict[str, Any]:
    """Take of a run what holds for another trainer: how its rows are read, and its target's
    settings, or some of its proxy's.

    A model from scratch says nothing of how fast a pretrained one learns.
    """
    made = Run.open(folder).recipe
    if not isinstance(made, recipe.DataRecipe):
        raise RecipeError(f"{printable(folder, 200)} is a run without training data")
    how = {name: getattr(made.reading, name) for name in _READING if name not in _WHICH_ROWS}
    target = getattr(made, "target", None)
    if target is not None and not target.is_scratch:
        settings = asdict(target)
        return how | {
            name: value for name, value in settings.items() if name not in OURS_ALONE - {"target"}
        }
    source = target or getattr(made, "proxy", None)
    return how | ({} if source is None else {name: getattr(source, name) for name in _OF_ANY_MODEL})


def _run_of(subset: Path) -> Path | None:
    """Find the run folder that wrote this very file, where s2l select puts it."""
    for base in dict.fromkeys((Path(), subset.parent)):
        folder = base / default_folder(subset)
        if (folder / "manifest.json").is_file():
            try:
                run = Run.open(folder)
                if "write" not in run.stages:
                    continue
                if run.facts("write")["sha256"] == store.digest(subset):
                    return folder
                log.warning(
                    "%s is not the file that %s wrote: no settings are taken from the run",
                    printable(subset, 200), printable(folder, 200),
                )  # fmt: skip
            except (IntegrityError, StaleArtifact) as error:
                log.warning("no settings are taken from the run: %s", error)
    return None
