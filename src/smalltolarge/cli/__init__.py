"""One command per verb, each a single call into the library."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from smalltolarge.cli import evaluation, subsets, targets
from smalltolarge.errors import OutOfSpace, RecipeError, S2LError, printable


class _Command(TyperCommand):
    """A command whose flags are shown without a value, for they take none."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        _hide_values_of_flags(params)
        return params


class _Group(TyperGroup):
    """The same for the options before a command."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        _hide_values_of_flags(params)
        return params


def _hide_values_of_flags(params: list[Any]) -> None:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""


app = typer.Typer(
    name="s2l",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    help="Choose the part of your fine-tuning data that trains a large model as well as all of "
    "it: a small proxy model is fine-tuned on everything, examples whose losses move alike are "
    "one cluster, and the subset is drawn evenly over the clusters.",
    epilog="Begin with: s2l select data.jsonl --budget 11% --out subset.jsonl",
)
for _command in (
    subsets.select,
    subsets.record,
    targets.run,
    targets.train,
    targets.methods,
    targets.inspect,
    targets.export,
    evaluation.evaluate,
    evaluation.tasks,
    subsets.load,
    subsets.prepare,
    subsets.verify,
):
    app.command(cls=_Command)(_command)
app.command("show-text", cls=_Command)(subsets.show_text)
app.command("sample-data", cls=_Command)(subsets.sample_data)

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
