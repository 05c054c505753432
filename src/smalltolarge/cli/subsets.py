"""Commands about data, losses and subsets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from smalltolarge.cli.given import read_recipe
from smalltolarge.cli.session import watching
from smalltolarge.errors import RecipeError, printable
from smalltolarge.options import (
    Assignments,
    Data,
    DryRun,
    NoProgress,
    Out,
    Overwrite,
    RecipeFile,
    RunDir,
    Seed,
    with_settings,
)
from smalltolarge.selection.s2l import S2L
from smalltolarge.settings import ProxySettings, ReadingSettings


@with_settings(method_s2l=S2L, proxy=ProxySettings, reading=ReadingSettings)
def select(
    data: Data = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="How much to choose: rows (30000, 30K), a share (11%) or completion "
            "tokens (2M-tokens)."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Where the subset is written, in the format of the data. "
            "Default: subset, with the suffix of the data.",
        ),
    ] = None,
    trajectories: Annotated[
        str | None,
        typer.Option(
            help="Recorded losses to use (a Parquet file, yours or of s2l record) "
            "instead of training a proxy."
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(
            help="Embeddings of your own (a Parquet file with id and embedding), for methods that "
            "need some."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="A name of s2l methods, or my_package.module:Class. Default: s2l. Settings of "
            "other methods than s2l are given by --set settings.NAME=VALUE."
        ),
    ] = None,
    seed: Seed = None,
    recipe: RecipeFile = None,
    assignments: Assignments = None,
    run: RunDir = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    no_progress: NoProgress = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Choose a subset of fine-tuning data for a large model.

    Trains a small proxy on the data, records the loss of every example at several checkpoints,
    clusters these trajectories and draws evenly over the clusters. The rows come out as they came
    in. The same command again goes on where it was stopped, and says so when it is done.

    Examples:

      s2l select data.jsonl --budget 11% --out subset.jsonl

      s2l select data.jsonl --trajectories trajectories.parquet --budget 20% --out subset.jsonl

      s2l select TIGER-Lab/MathInstruct --budget 30K --proxy EleutherAI/pythia-70m-deduped
    """
    from smalltolarge.outputs import default_folder
    from smalltolarge.recipe import SelectRecipe
    from smalltolarge.report import terminal
    from smalltolarge.results import Run
    from smalltolarge.verbs.select import plan, run_select

    given = {
        "budget": budget,
        "trajectories": trajectories,
        "embeddings": embeddings,
        "method": method,
        "seed": seed,
    }
    wanted = read_recipe(SelectRecipe, data, recipe, given, settings, assignments)
    with watching(no_progress, first_row=dry_run) as (console, watch):
        if dry_run:
            examples, prepared = plan(wanted, out, watch)
        else:
            folder = run or default_folder(out or Path("subset"))
            run_select(wanted, out, folder, watch, overwrite=overwrite)
    if dry_run:
        terminal.show_plan(examples, prepared.plan if prepared else None, console)
    else:
        terminal.show_selection(Run.open(folder), console)


@with_settings(proxy=ProxySettings, reading=ReadingSettings)
def record(
    data: Data = None,
    out: Out = Path("trajectories.parquet"),
    seed: Seed = None,
    recipe: RecipeFile = None,
    run: RunDir = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    no_progress: NoProgress = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Record the loss of every example while a small proxy is fine-tuned.

    Writes one Parquet file: id, n_tokens, and a column loss_STEP for every checkpoint.

    Example:

      s2l record data.jsonl --proxy EleutherAI/pythia-70m-deduped --out trajectories.parquet
    """
    from smalltolarge.outputs import default_folder
    from smalltolarge.recipe import RecordRecipe
    from smalltolarge.report import terminal
    from smalltolarge.results import Run
    from smalltolarge.verbs.record import run_record
    from smalltolarge.verbs.select import plan

    wanted = read_recipe(RecordRecipe, data, recipe, {"seed": seed}, settings)
    with watching(no_progress, first_row=True) as (console, watch):
        if dry_run:
            examples, prepared = plan(wanted, out, watch)
        else:
            folder = run or default_folder(out)
            run_record(wanted, out, folder, watch, overwrite=overwrite)
    if dry_run:
        terminal.show_plan(examples, prepared.plan if prepared else None, console)
    else:
        terminal.show_recording(Run.open(folder), console)


@with_settings(proxy=ProxySettings, reading=ReadingSettings)
def show_text(
    data: Data = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows, from the first.")] = 3,
    ids: Annotated[
        list[str] | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="Show the row whose id begins with this instead; may be repeated.",
        ),
    ] = None,
    recipe: RecipeFile = None,
    no_progress: NoProgress = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Show rows as the model will see them, and what of them is learned.

    The text is that of the tokens, after the template and the length limit. What is learned has
    another colour on a terminal and stands between marks in a file. What the template leaves out,
    what is cut off and what is not learned is named. Options that do not change the text, such as
    --epochs, may be given and do nothing.

    Examples:

      s2l show-text data.jsonl --proxy EleutherAI/pythia-70m-deduped

      s2l show-text data.jsonl --proxy models/proxy --template alpaca --rows 10 > rows.txt
    """
    from smalltolarge.recipe import RecordRecipe
    from smalltolarge.report import rows as report
    from smalltolarge.verbs.show_text import show_rows

    wanted = read_recipe(RecordRecipe, data, recipe, {}, settings)
    with watching(no_progress) as (console, watch):
        shown = show_rows(wanted, rows, ids or (), watch)
    report.show_rows(shown, console)


@with_settings(reading=ReadingSettings)
def load(
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write the table of examples (id, messages, source, place) to this Parquet file.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Read and check fine-tuning data, and say what was found.

    With --out the table of examples is written, with the ids that trajectories of your own need.

    Example:

      s2l load data.jsonl --out examples.parquet
    """
    from smalltolarge import experiment
    from smalltolarge.recipe import RecordRecipe
    from smalltolarge.report import terminal
    from smalltolarge.verbs.load import write_examples

    wanted = read_recipe(RecordRecipe, data, None, {}, settings)
    with watching(no_progress) as (console, watch):
        examples = write_examples(experiment.load(wanted, watch), wanted, out, overwrite)
    terminal.show_examples(examples, console)


def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
) -> None:
    """Check a finished run: every digest, and the selection made again from its trajectories."""
    from smalltolarge.verbs.verify import verify as check_run

    with watching(False) as (console, watch):
        checked = check_run(run, progress=watch)
    for line in checked:
        console.print(line, markup=False)


def sample_data(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to.")],
    rows: Annotated[int, typer.Option(min=1, help="Training rows.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the generator.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write arithmetic word problems to try things on: train.jsonl and six test suites."""
    from smalltolarge.wordproblems.files import write_sample_data

    with watching(False) as (console, _):
        written = write_sample_data(folder, rows, seed, overwrite=overwrite)
    for path, count in written.items():
        console.print(f"{count:>8,} rows  {path}", markup=False, highlight=False)


def prepare(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What the file is: mimic.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="NOTEEVENTS.csv of MIMIC-III, or NOTEEVENTS.csv.gz (.zst too)."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for train.jsonl, validate.jsonl, test.jsonl and counts.json.",
        ),
    ],
    split: Annotated[
        str,
        typer.Option(
            metavar="patients|reports",
            help="All reports of a patient in one part, or every group of reports cut as the "
            "published recipe does, so that a patient may be in several parts.",
        ),
    ] = "patients",
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 42,
    tables: Annotated[
        Path | None,
        typer.Option(
            help="Lists of examinations, spellings and headers (JSON) to go by exactly, instead "
            "of the rules of this package."
        ),
    ] = None,
    keep_duplicates: Annotated[
        bool,
        typer.Option("--keep-duplicates", help="Keep pairs with the very words of an earlier one."),
    ] = False,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
) -> None:
    """Make fine-tuning data of MIMIC-III's radiology reports: findings in, impression out.

    Says what became of every row, and the published counts beside ours.

    Example:

      s2l prepare mimic NOTEEVENTS.csv.gz --out mimic
    """
    from smalltolarge.clinical import prepare_mimic, summary

    if kind != "mimic":
        raise RecipeError(f"KIND {printable(kind)}: the only kind is mimic")
    if split not in ("patients", "reports"):
        raise RecipeError(f"--split {printable(split)}: patients or reports is needed")
    with watching(no_progress) as (console, watch):
        prepared = prepare_mimic(
            file,
            out,
            split="patients" if split == "patients" else "reports",
            seed=seed,
            tables=tables,
            keep_duplicates=keep_duplicates,
            overwrite=overwrite,
            progress=watch.progress,
            check=watch.check,
        )
    for line in summary(prepared):
        console.print(line, markup=False, highlight=False)
