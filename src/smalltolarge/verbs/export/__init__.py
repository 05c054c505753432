"""A subset made ready for the trainers people use: TRL, LLaMA-Factory, Axolotl.

A trainer gets a copy of the subset that it reads whole, and a configuration. What it learns of the
copy is what our own training of a target learns. There are three kinds of copy:

turns
    The conversations, and our headings as a chat template (``jinja.HEADINGS``). For TRL and
    Axolotl, with the template "alpaca". No tokenizer is needed.
tokens
    ``input_ids`` and ``labels``. For TRL and Axolotl, with the template "chat": what a trainer
    finds learned by rendering a chat template is not always the answers.
segments
    The text in parts, learned or not by turns, under LLaMA-Factory's template "empty". It drops
    conversations whose roles do not alternate and has no marks for single turns; these parts
    alternate always.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Literal, Unpack, get_args

from smalltolarge import examples, store
from smalltolarge.errors import MissingArtifact, RecipeError, printable
from smalltolarge.runs.results import reasons
from smalltolarge.verbs.export import axolotl, llamafactory, trl
from smalltolarge.verbs.export.copies import Files, Work
from smalltolarge.verbs.export.wanted import settings_of
from smalltolarge.verbs.keywords import Exporting

Trainer = Literal["trl", "llamafactory", "axolotl"]
_TRAINERS: dict[str, Callable[[Work], Files]] = {
    "trl": trl.files,
    "llamafactory": llamafactory.files,
    "axolotl": axolotl.files,
}


@dataclass(frozen=True)
class Exported:
    """What was written for a trainer."""

    files: list[Path]
    notes: list[str]
    """What to know of them: where settings come from, what is cut, which rows are not in the copy.
    The head of the configuration says it too."""


def export(
    subset: str | PathLike[str],
    to: str,
    *,
    model: str | None = None,
    run: str | PathLike[str] | None = None,
    overwrite: bool = False,
    **settings: Unpack[Exporting],
) -> Exported:
    """Write what a trainer needs to train ``model`` on ``subset``.

    Parameters
    ----------
    model : default: the target of the run, or the paper's
    run : folder of the run that chose the subset; default: ``runs/NAME`` as s2l select names it
    settings : fields of ``TargetSettings`` and ``ReadingSettings``; they win over those of the run

    Raises
    ------
    DataError
        The subset cannot be read, or the chat template does not take a row.
    RecipeError
        There is no such trainer or setting.
    MissingArtifact
        The text is needed, and the tokenizer is not at hand.
    StaleArtifact
        A file of such a name is there with other content, and ``overwrite`` is not set; nothing is
        written then.
    """
    subset, run = Path(subset), None if run is None else Path(run)
    if to not in _TRAINERS:
        known = ", ".join(get_args(Trainer))
        raise RecipeError(f"to is {printable(to)}: one of {known} is needed")
    wanted, how, notes = settings_of(subset, model, run, settings)
    found = examples.load(subset, settings=how)
    notes += [
        f"{count} of {found.n_read} rows left out: {reason}"
        for reason, count in reasons(found).items()
    ]
    work = _prepared(Work(subset, found, wanted, wanted.target, None, notes), to)
    files = _TRAINERS[to](work)
    free = [path for path in files if path.name == "dataset_info.json"]
    store.write_new(files, overwrite=overwrite, free=free)
    return Exported(list(files), work.notes)


def _prepared(work: Work, to: str) -> Work:
    """Find the model's folder and its tokenizer, where they are needed or at hand.

    Nothing is loaded for a hub name under our headings, but by LLaMA-Factory, whose copy is text.
    """
    settings = work.settings
    needed = to == "llamafactory" or settings.template not in ("auto", "alpaca")
    if settings.is_scratch:
        raise RecipeError(
            f"model {printable(settings.target)} is built here from scratch; other trainers need a "
            "folder or a hub name"
        )
    from smalltolarge.lm import texts

    name = settings.tokenizer or settings.target
    try:
        tokenizer = texts.tokenizer_at_hand(settings, fetch=needed)
    except MissingArtifact as error:
        cause = printable(str(error).rstrip("."), 200)
        raise MissingArtifact(
            f"the copy for {to} is made with the tokenizer of {printable(name)}, which could not "
            f"be had: {cause}. Give the model's folder with --model, or one with its tokenizer "
            "with --tokenizer."
        ) from error
    writer = None if tokenizer is None else texts.cut_writer(settings, tokenizer)
    if writer is None:
        missing = f"the tokenizer of {name} is not here, so"
        if settings.template == "auto":
            work.notes.append(
                f"{missing} prompts stand under headings; --template chat fetches it and takes its "
                "chat template"
            )
        work.notes.append(
            f"{missing} rows that {to} cuts at {settings.max_length} tokens, or drops because "
            "nothing to learn is left of them, are not counted"
        )
    return replace(work, model=texts.folder_of(settings.target), writer=writer)
