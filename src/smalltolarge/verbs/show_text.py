"""Show rows as the proxy would see them: their text, and what of it is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from smalltolarge.errors import DataError, printable
from smalltolarge.examples import Examples
from smalltolarge.examples.shown import Shown
from smalltolarge.progress import Progress, Watch
from smalltolarge.runs import stages
from smalltolarge.runs.recipe import RecordRecipe
from smalltolarge.verbs import given
from smalltolarge.verbs.given import Data
from smalltolarge.verbs.keywords import Recording


def show_text(
    data: Data,
    *,
    rows: int = 3,
    ids: Sequence[str] = (),
    progress: Progress | Watch | None = None,
    **settings: Unpack[Recording],
) -> list[Shown]:
    """Give rows as the proxy would see them: their text, and what of it is learned.

    Parameters
    ----------
    rows : how many, from the first
    ids : the rows whose id begins with one of these, instead
    settings : fields of ``ProxySettings`` (proxy, template, max_length, ...) and
        ``ReadingSettings``

    Raises
    ------
    DataError
        The data cannot be used, no row has such an id, or the template does not take a row.
    """
    recipe: RecordRecipe = given.to_recipe(RecordRecipe, data, settings)
    watch = Watch.of(progress)
    examples = given.read(data, settings, watch)
    return show_rows(recipe, rows, ids, watch, examples)


def show_rows(
    recipe: RecordRecipe,
    rows: int,
    ids: Sequence[str],
    watch: Watch,
    examples: Examples | None = None,
) -> list[Shown]:
    """Give rows of a recipe's data, or of ``examples``, as its proxy would see them.

    Raises as ``show_text``.
    """
    recipe = recipe.resolved()
    assert recipe.proxy is not None
    if examples is None:
        examples = stages.load(recipe, watch)
    stages.require_torch()
    from smalltolarge import lm

    wanted = list(range(min(rows, len(examples))))
    if ids:
        names = [name.decode() for name in examples.ids.tolist()]
        wanted = [row for row, name in enumerate(names) if name.startswith(tuple(ids))]
        lost = [one for one in ids if not any(names[row].startswith(one) for row in wanted)]
        if lost:
            raise DataError(f"no row has an id that begins with {printable(lost[0])}")
    return lm.show(examples, recipe.proxy, wanted, progress=watch.progress, check=watch.check)
