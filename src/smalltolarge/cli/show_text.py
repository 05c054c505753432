"""The command ``s2l show-text``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from smalltolarge.cli.given import read_recipe
from smalltolarge.cli.options import Data, NoProgress, RecipeFile, with_settings
from smalltolarge.cli.session import watching
from smalltolarge.settings import ProxySettings, ReadingSettings


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
    from smalltolarge.report import rows as report
    from smalltolarge.runs.recipe import RecordRecipe
    from smalltolarge.verbs.show_text import show_rows

    wanted = read_recipe(RecordRecipe, data, recipe, {}, settings)
    with watching(no_progress) as (console, watch):
        shown = show_rows(wanted, rows, ids or (), watch)
    report.show_rows(shown, console)
