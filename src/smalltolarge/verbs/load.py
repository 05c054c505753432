"""Read fine-tuning data into one table of examples."""

from __future__ import annotations

from functools import partial
from os import PathLike
from pathlib import Path
from typing import Unpack

from smalltolarge import store
from smalltolarge.examples import Examples
from smalltolarge.progress import Progress, Watch
from smalltolarge.runs import outputs, stages
from smalltolarge.runs.recipe import RecordRecipe
from smalltolarge.verbs import given
from smalltolarge.verbs.given import Data
from smalltolarge.verbs.keywords import Reading


def load(
    data: Data,
    *,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress | Watch | None = None,
    **settings: Unpack[Reading],
) -> Examples:
    """Read fine-tuning data into one table of examples.

    Parameters
    ----------
    data : a file, several of them, a folder, a hub name; or rows: a list of dicts, a pandas or
        polars data frame, an Arrow table, or a data set of Hugging Face ``datasets`` (one that is
        iterated is read once and kept in memory)
    out : where the table of examples is written, as Parquet; None writes it nowhere
    overwrite : replace what is at ``out``
    settings : fields of ``ReadingSettings``

    Raises
    ------
    DataError
        The data cannot be used; says where and why.
    RecipeError
        A setting is wrong, or is given beside examples, which are read already.
    StaleArtifact
        ``out`` exists.
    """
    recipe: RecordRecipe = given.to_recipe(RecordRecipe, data, settings)
    examples = given.read(data, settings, Watch.of(progress))
    return write_examples(examples, recipe, given.path(out), overwrite)


def write_examples(
    examples: Examples, recipe: RecordRecipe, out: Path | None, overwrite: bool
) -> Examples:
    """Write the table of examples that a recipe's data are as Parquet, where ``out`` is given."""
    if out is not None:
        outputs.require_parquet(out)
        outputs.refuse_input(stages.inputs(recipe, examples), recipe, out)
        outputs.say_new_folder(out)
        store.write_new(
            {out: partial(store.write_parquet, table=examples.table)}, overwrite=overwrite
        )
    return examples
