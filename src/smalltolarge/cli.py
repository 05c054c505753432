"""One command per verb, each a single call into the library."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from smalltolarge.errors import (
    OutOfSpace,
    RecipeError,
    RefusedForSafety,
    S2LError,
    printable,
)
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
from smalltolarge.session import watching
from smalltolarge.settings import ProxySettings, ReadingSettings, TargetSettings

app = typer.Typer(
    name="s2l",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    help="Choose the part of your fine-tuning data that trains a large model as well as all of "
    "it: a small proxy model is fine-tuned on everything, examples whose losses move alike are "
    "one cluster, and the subset is drawn evenly over the clusters.",
    epilog="Begin with: s2l select data.jsonl --budget 11% --out subset.jsonl",
)

_debug = False


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    global _debug
    _debug = debug
    if version:
        from smalltolarge import __version__

        print(f"s2l {__version__}")
        raise typer.Exit


@app.command()
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
    from smalltolarge import experiment
    from smalltolarge.recipe import SelectRecipe
    from smalltolarge.report import terminal

    given = {
        "budget": budget,
        "trajectories": trajectories,
        "embeddings": embeddings,
        "method": method,
        "seed": seed,
    }
    wanted = _recipe(SelectRecipe, data, recipe, given, settings, assignments)
    with watching(no_progress) as (console, watch):
        if dry_run:
            examples, prepared = experiment.plan(wanted, out, watch)
        else:
            folder = run or _default_folder(out or Path("subset"))
            finished = experiment.run_select(wanted, out, folder, watch, overwrite=overwrite)
    if dry_run:
        terminal.show_plan(examples, prepared.plan if prepared else None, console)
    else:
        terminal.show_selection(finished, console)


@app.command()
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
    from smalltolarge import experiment
    from smalltolarge.recipe import RecordRecipe
    from smalltolarge.report import terminal

    wanted = _recipe(RecordRecipe, data, recipe, {"seed": seed}, settings)
    with watching(no_progress) as (console, watch):
        if dry_run:
            examples, prepared = experiment.plan(wanted, out, watch)
        else:
            folder = run or _default_folder(out)
            finished = experiment.run_record(wanted, out, folder, watch, overwrite=overwrite)
    if dry_run:
        terminal.show_plan(examples, prepared.plan if prepared else None, console)
    else:
        terminal.show_recording(finished, console)


@app.command()
def run(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="A YAML recipe of a comparison.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder of the run. Default: runs/NAME, named after the recipe."
        ),
    ] = None,
    assignments: Assignments = None,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="Let the recipe name methods that are code of yours (my_package.module:Class).",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, list the arms, and stop.")
    ] = False,
    no_progress: NoProgress = False,
) -> None:
    """Compare ways of choosing: train a target on what each chooses, and score it.

    Trains the proxy once, ranks the data by every method and seed, trains a target for every
    method, budget and seed (an arm), scores it, and puts all of it into one table. The same
    command again goes on with the arm where it was stopped.

    Examples:

      s2l run recipes/word-problems.yaml --out runs/word-problems

      s2l run recipes/word-problems.yaml --set seeds=[0] --set target.epochs=1
    """
    from smalltolarge import comparison
    from smalltolarge import recipe as recipes
    from smalltolarge.report import comparison as shown
    from smalltolarge.report import terminal

    values = recipes.assign(recipes.read_yaml(recipe), assignments or [])
    wanted: recipes.CompareRecipe = recipes.read(values, recipes.CompareRecipe)
    foreign = [choice.method for choice in wanted.choices if ":" in choice.method]
    if foreign and not trust_code:
        raise RefusedForSafety(
            f"{recipe} names code to run as a method: {printable(foreign[0])}. Give --trust-code "
            "if you trust it."
        )
    with watching(no_progress) as (console, watch):
        if dry_run:
            examples, arms = comparison.plan_comparison(wanted, watch)
        else:
            finished = comparison.run_comparison(wanted, out or _default_folder(recipe), watch)
    if dry_run:
        terminal.show_arms(examples, arms, console)
    else:
        shown.show_comparison(finished, comparison.read_table(finished), console)


@app.command()
@with_settings(target=TargetSettings, reading=ReadingSettings)
def train(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A causal language model: a hub name, a folder with safetensors, or one built "
            "from scratch (scratch-0.5m, scratch-2m, scratch-9m, scratch-70m).",
        ),
    ],
    data: Data,
    out: Out,
    seed: Seed = None,
    recipe: RecipeFile = None,
    run: RunDir = None,
    no_progress: NoProgress = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Train a target on a subset, with the token masks of the proxy.

    Writes a Hugging Face folder. The settings are those of the paper unless given. The same
    command again goes on where it was stopped.

    Examples:

      s2l train microsoft/phi-2 subset.jsonl --out models/target

      s2l train scratch-2m subset.jsonl --trainer own --out models/small
    """
    from smalltolarge import experiment
    from smalltolarge.recipe import TrainRecipe
    from smalltolarge.report import terminal

    given = {"seed": seed, "target": target}
    wanted = _recipe(TrainRecipe, data, recipe, given, settings)
    with watching(no_progress) as (console, watch):
        folder = run or _default_folder(out)
        finished = experiment.run_train(wanted, out, folder, watch)
    terminal.show_training(finished, console)


@app.command()
def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show this one with its settings.")
    ] = None,
) -> None:
    """List the selection methods, or show one with its settings.

    Example:

      s2l methods middle-perplexity
    """
    from rich.console import Console

    from smalltolarge.report import terminal

    terminal.show_methods(name, Console(highlight=False, soft_wrap=True))


@app.command()
def inspect(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Folder of a run that trained a proxy."),
    ],
    target: Annotated[
        Path | None,
        typer.Option(
            help="Losses of the same examples under a larger model, to compare with: a run folder, "
            "or a file of trajectories."
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=2, help="Examples whose own gradients are compared.")
    ] = 1000,
    seeds: Annotated[
        int, typer.Option(min=1, help="Clusterings with different seeds that are compared.")
    ] = 3,
    no_gradients: Annotated[
        bool, typer.Option("--no-gradients", help="Leave the gradients out; no model is loaded.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads of the proxy. Default: as it was recorded."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Where the proxy runs: auto, cpu, cuda. Default: as it was recorded."),
    ] = None,
    no_progress: NoProgress = False,
) -> None:
    """Look at a recording before a target is trained on what it chose.

    Says whether the proxy is still learning, whether trajectories move, whether the clusters are
    stable and more than lengths or sources, whether gradients inside a cluster are alike and those
    of the subset like those of all rows, and, with --target, whether a larger model agrees. Writes
    the numbers to inspection.json in the run folder.

    Examples:

      s2l inspect runs/subset

      s2l inspect runs/subset --target runs/larger --no-gradients
    """
    from smalltolarge.inspection import inspect_run
    from smalltolarge.report.inspection import show_inspection

    with watching(no_progress) as (console, watch):
        found = inspect_run(
            run,
            target=target,
            sample=sample,
            seeds=seeds,
            gradients=not no_gradients,
            threads=threads,
            device=device,
            watch=watch,
        )
    show_inspection(found, console)


@app.command()
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

    wanted = _recipe(RecordRecipe, data, None, {}, settings)
    with watching(no_progress) as (console, watch):
        examples = experiment.write_examples(wanted, out, watch, overwrite=overwrite)
    terminal.show_examples(examples, console)


@app.command()
def export(
    subset: Annotated[
        Path, typer.Argument(metavar="SUBSET", help="The subset that s2l select wrote.")
    ],
    to: Annotated[str, typer.Option(help="The trainer: trl, llamafactory or axolotl.")],
    model: Annotated[
        str, typer.Option(help="The model that will be trained, by folder or hub name.")
    ] = "microsoft/phi-2",
    template: Annotated[
        str,
        typer.Option(
            help='How prompts are written: alpaca, under "### Instruction:" headings, for a base '
            "model; or chat, by the template of the model's tokenizer."
        ),
    ] = "alpaca",
    overwrite: Overwrite = False,
) -> None:
    """Make a subset ready for TRL, LLaMA-Factory or Axolotl.

    Writes a configuration with the paper's hyper-parameters beside the subset, and a copy of the
    subset where the trainer does not read its layout.

    Example:

      s2l export subset.jsonl --to trl --model microsoft/phi-2
    """
    from smalltolarge.export import export as write_export

    with watching(False) as (console, _):
        written = write_export(subset, to, model=model, template=template, overwrite=overwrite)
    for path in written:
        console.print(str(path), markup=False, highlight=False)


@app.command()
def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
) -> None:
    """Check a finished run: every digest, and the selection made again from its trajectories."""
    from smalltolarge.verification import verify as check_run

    with watching(False) as (console, watch):
        checked = check_run(run, watch.check)
    for line in checked:
        console.print(line, markup=False)


@app.command("sample-data")
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


def _recipe(
    kind: type[Any],
    data: list[str] | None,
    file: Path | None,
    given: dict[str, Any],
    settings: dict[str, Any],
    assignments: list[str] | None = None,
) -> Any:
    from smalltolarge import recipe as recipes

    if "columns" in settings:
        settings = {**settings, "columns": _columns(settings["columns"])}
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


def _columns(given: list[str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for text in given:
        role, equals, column = text.partition("=")
        if not (role and equals and column):
            raise RecipeError(
                f"--columns {printable(text)}: ROLE=COLUMN is needed, for example output=answer"
            )
        if role in columns:
            raise RecipeError(f"--columns {printable(role)} is given twice")
        columns[role] = column
    return columns


def _default_folder(out: Path) -> Path:
    """Name a run after its output, so that different outputs have different runs."""
    packed = out.with_suffix("") if out.suffix in {".gz", ".zst"} else out
    stem = packed.stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-")[:80]
    if name != stem:
        name = f"{name or 'run'}-{hashlib.sha256(os.fsencode(out.name)).hexdigest()[:6]}"
    return Path("runs") / name


def main() -> None:
    """Run the command line; errors of ours are one message and an exit code, no traceback."""
    try:
        for argument in sys.argv[1:]:
            if any("\udc80" <= character <= "\udcff" for character in argument):
                raise RecipeError(f"{printable(argument)}: names must be valid UTF-8")
        app()
    except S2LError as error:
        _fail(error, error.exit_code)
    except MemoryError as error:
        _fail(OutOfSpace("out of memory; lower --unit-tokens, or choose a smaller proxy"), 6, error)
    except OSError as error:
        name = "" if error.filename is None else f"{printable(str(error.filename), 200)}: "
        _fail(OutOfSpace(f"{name}{error.strerror or error}"), 6, error)


def _fail(error: S2LError, code: int, cause: BaseException | None = None) -> None:
    if _debug:
        traceback.print_exception(cause or error)
    print(f"error: {error}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
