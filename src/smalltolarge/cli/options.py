"""The options that commands share: one for every setting, and those of every run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from smalltolarge.settings import describe


def with_settings(
    *, without: Collection[str] = (), **groups: type[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option per field of each settings class, documented by that class.

    A field that is a parameter of the command already gets none, nor one of ``without``.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        taken = {parameter.name for parameter in own}
        options = [
            _option(panel.replace("_", " ").capitalize(), kind, name, words)
            for panel, kind in groups.items()
            for name, words in describe(kind).items()
            if name not in taken and name not in without
        ]
        names = [option.name for option in options]

        @functools.wraps(command)
        def call(**given: Any) -> None:
            settings = {name: given.pop(name) for name in names}
            command(**given, settings={k: v for k, v in settings.items() if v is not None})

        kept = [parameter for parameter in own if parameter.name != "settings"]
        call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in kept] + options
        )
        # Help keeps line breaks inside a paragraph; ours are there for the width of this file.
        paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
        call.__doc__ = "\n\n".join(" ".join(text.split()) for text in paragraphs)
        call.__annotations__ = {p.name: p.annotation for p in [*kept, *options]}
        return call

    return decorate


def _option(panel: str, kind: type[Any], name: str, words: str) -> inspect.Parameter:
    hint = get_type_hints(kind)[name]
    default = next(f.default for f in fields(kind) if f.name == name)
    inner = [part for part in get_args(hint) if part is not type(None)]
    if default not in (None, MISSING, "", False, ()) and "Default" not in words:
        words += f" Default: {default}."
    metavar, parse, flag = None, hint, f"--{name.replace('_', '-')}"
    if hint is bool:
        metavar = None
    elif inner and get_origin(inner[0]) is dict:
        parse, metavar = list[str], "ROLE=COLUMN" if name == "columns" else "NAME=VALUE"
    elif get_origin(hint) is tuple:
        parse, metavar = list[str], "COLUMN" if name == "ignore" else "FILES"
    elif len(inner) > 1 and get_origin(inner[-1]) is Literal:
        parse, metavar = str, "|".join(("INTEGER", *get_args(inner[-1])))
    elif inner and all(isinstance(part, str) for part in get_args(inner[0]) or inner):
        parse, metavar = str, "|".join(get_args(inner[0]) or inner)
    elif inner:
        parse = inner[0]
    option = typer.Option(flag, help=words, metavar=metavar, rich_help_panel=panel)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[parse | None, option],
    )


Data = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATA",
        help="Fine-tuning data: JSON, JSONL, CSV or Parquet files (.gz and .zst too), a folder, a "
        "saved data set, or the name of a Hugging Face data set.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the result is written.")]
RunDir = Annotated[
    Path | None,
    typer.Option("--run", help="Folder of the run. Default: runs/NAME, named after --out."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        help="Seed of the weights, the order of training, the clusters and the draw. Default: 0."
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        help="A YAML recipe, such as the recipe.yaml of a run; options given beside it win.",
    ),
]
Preset = Annotated[
    Literal["paper", "authors-code"] | None,
    typer.Option(
        help="Settings of others, over our defaults: paper has those of the S2L paper, proxy "
        "included; authors-code splits the budget over the sources first, as their code does. A "
        "recipe and options win over it."
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set a value of the recipe by its path, such as proxy.epochs=1; may be repeated.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace what is there, even if something else wrote it."),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Read, check and tokenise the data and print the plan (rows, "
        "tokens, steps, FLOPs); train and write nothing.",
    ),
]
NoProgress = Annotated[
    bool, typer.Option("--no-progress", help="Plain log lines instead of progress bars.")
]
Unconfined = Annotated[
    bool,
    typer.Option(
        "--confirm-run-unsafe-code",
        help="Run programs that a model wrote with limits of time and memory only, where this "
        "machine has no jail for them. They can then read and change what you can.",
    ),
]
