"""One command per verb, each a single call into the library."""

from __future__ import annotations

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
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show tracebacks of errors. It may stand anywhere."),
    ] = False,
) -> None:
    """Take the options that are no command's; ``--debug`` was seen before."""
