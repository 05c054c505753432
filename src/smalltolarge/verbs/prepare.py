"""Make fine-tuning data of what is none yet."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Literal

from smalltolarge.clinical import Prepared, prepare_mimic
from smalltolarge.errors import RecipeError, printable
from smalltolarge.progress import Progress, Watch
from smalltolarge.verbs import given


def prepare(
    kind: str,
    file: str | PathLike[str],
    *,
    out: str | PathLike[str],
    split: Literal["patients", "reports"] = "patients",
    seed: int = 42,
    tables: str | PathLike[str] | None = None,
    keep_duplicates: bool = False,
    overwrite: bool = False,
    progress: Progress | Watch | None = None,
) -> Prepared:
    """Make pairs of findings and impression of MIMIC-III's radiology reports.

    Writes ``train.jsonl``, ``validate.jsonl``, ``test.jsonl`` and ``counts.json`` to ``out``, and
    gives the counts.

    Parameters
    ----------
    kind : what the file is: mimic
    file : NOTEEVENTS.csv, packed or not
    split : all reports of a patient in one part, or every group of reports cut as the published
        recipe does
    tables : lists of examinations, spellings and headers (JSON) to go by exactly
    keep_duplicates : keep pairs with the very words of an earlier one

    Raises
    ------
    RecipeError, MissingArtifact
        The settings are wrong, or there is no such file.
    DataError
        A row cannot be told apart, no row gives a pair, or the tables cannot be used.
    StaleArtifact
        Files of these names are there, and ``overwrite`` is not set.
    """
    if kind != "mimic":
        raise RecipeError(f"KIND {printable(kind)}: the only kind is mimic")
    watch = Watch.of(progress)
    return prepare_mimic(
        Path(file),
        given.path(out),
        split=split,
        seed=seed,
        tables=None if tables is None else Path(tables),
        keep_duplicates=keep_duplicates,
        overwrite=overwrite,
        progress=watch.progress,
        check=watch.check,
    )
