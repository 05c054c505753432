"""One command per verb, each a single call into the library."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from smalltolarge.cli.evaluate import evaluate
from smalltolarge.cli.export import export
from smalltolarge.cli.inspect import inspect
from smalltolarge.cli.load import load
from smalltolarge.cli.methods import methods
from smalltolarge.cli.prepare import prepare
from smalltolarge.cli.record import record
from smalltolarge.cli.report import report
from smalltolarge.cli.run import run
from smalltolarge.cli.sample_data import sample_data
from smalltolarge.cli.select import select
from smalltolarge.cli.show import show
from smalltolarge.cli.show_text import show_text
from smalltolarge.cli.tasks import tasks
from smalltolarge.cli.train import train
from smalltolarge.cli.verify import verify
from smalltolarge.errors import OutOfSpace, RecipeError, S2LError, printable


class _PlainFlags:
    """Flags are shown without a value, for they take none."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class _Command(_PlainFlags, TyperCommand):
    """A command of ours."""


class _Group(_PlainFlags, TyperGroup):
    """All commands, and the options before one."""


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
_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Choose a subset": (select, record, show_text, load, methods, export),
    "Train and compare": (train, run, evaluate, tasks),
    "Look at a run": (report, show, inspect, verify),
    "Data to begin with": (sample_data, prepare),
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        _name = _command.__name__.replace("_", "-")
        app.command(_name, cls=_Command, rich_help_panel=_panel)(_command)

_debug = False


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from smalltolarge import __version__

        print(f"s2l {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    global _debug
    _debug = debug


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
