"""Write what a run found as one HTML file, and its figures as files of their own."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from smalltolarge import store
from smalltolarge.errors import MissingArtifact, RecipeError, StaleArtifact
from smalltolarge.progress import Progress, Watch
from smalltolarge.report.page import facts, inspected, scores, selection
from smalltolarge.report.page.drawing import Drawing
from smalltolarge.report.page.images import images
from smalltolarge.runs.arms import read_table
from smalltolarge.runs.recipe import CompareRecipe, EvaluateRecipe, TrainRecipe
from smalltolarge.runs.results import Run

_OURS = b'<meta name="generator" content="SmallToLarge">'


def report_page(
    run: str | PathLike[str],
    *,
    out: str | PathLike[str] | None = None,
    figures: str | PathLike[str] | None = None,
    progress: Progress | Watch | None = None,
) -> dict[str, Any]:
    """Write a run as one HTML file at ``out``, its figures as SVG and PNG files in ``figures``.

    Gives the numbers of the page as JSON-like data; without ``out`` and ``figures`` nothing is
    written. PNG needs the extra ``figures``; a line says so where it is not installed.

    Parameters
    ----------
    run : the run folder of ``select``, ``record``, ``run`` or ``evaluate``

    Raises
    ------
    MissingArtifact
        The folder is no run, or has nothing to show yet.
    StaleArtifact, RefusedForSafety
        ``out`` is a file that is no page of ours, or a link.
    IntegrityError
        A file of the run is not what was written.
    """
    watch = Watch.of(progress)
    page = None if out is None else _check_page(Path(out))
    found, text, drawn = _make(Run.open(Path(run)), watch, wants_page=bool(page or figures))
    contents: dict[Path, store.Content] = {}
    if page is not None:
        contents[page] = text.encode("utf-8", "backslashreplace")
    if figures is not None:
        contents |= {Path(figures) / f"{name}.svg": one.to_svg() for name, one in drawn.items()}
        contents |= {Path(figures) / f"{name}.png": one for name, one in images(drawn).items()}
    store.write_new(contents, overwrite=True)
    return found


def _make(
    run: Run, watch: Watch, *, wants_page: bool
) -> tuple[dict[str, Any], str, dict[str, Drawing]]:
    """Give the numbers of a run, its page, and its figures by name."""
    run.check_kept()
    recipe = run.recipe
    if isinstance(recipe, CompareRecipe):
        table = read_table(run)
        return table.to_plain(), *scores.comparison_page(run, table)
    if isinstance(recipe, EvaluateRecipe):
        reached = scores.read_scores(run)
        answers = scores.read_answers(run, reached)
        plain = {"scores": [score.to_plain() for score in reached]}
        return plain, *scores.evaluation_page(run, reached, answers)
    if isinstance(recipe, TrainRecipe):
        raise MissingArtifact(
            f"{run.path} trained a target: there is no page of that. Give the folder of an s2l "
            "select, record, run or evaluate."
        )
    chosen = facts.read(run, watch)
    numbers = facts.facts(chosen)
    if not wants_page:
        return numbers, "", {}
    return numbers, *selection.page(numbers, chosen, inspected.read(run), watch)


def _check_page(out: Path) -> Path:
    """Refuse, before anything is read, an ``out`` that must not be written."""
    if out.suffix != ".html":
        raise RecipeError(f"--out {out}: it is written as HTML, name it {out.stem}.html")
    if out.is_file() and not out.is_symlink():
        with out.open("rb") as file:
            if _OURS not in file.read(2000):
                raise StaleArtifact(f"{out} exists and is no page of ours. Choose another --out.")
    with store.naming_space(out, at_start=True), store.holding(out):
        return out
