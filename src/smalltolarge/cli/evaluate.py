"""The command ``s2l evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from smalltolarge.cli.given import with_mappings
from smalltolarge.cli.options import NoProgress, Unconfined, with_settings
from smalltolarge.cli.session import watching
from smalltolarge.settings import AskingSettings, ModelSettings


@with_settings(without=("tasks",), asking=AskingSettings, model=ModelSettings)
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A causal language model: a folder with safetensors, of a model or of a LoRA "
            "adapter, a GGUF file, a hub name, or smollm2-135m (which is installed as a package).",
        ),
    ],
    task: Annotated[
        list[str],
        typer.Option(
            "--task",
            "-t",
            help="A task or group of s2l tasks, a file of questions (FILE.jsonl), or a task of "
            "your own, my_package.module:Class; may be repeated.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    trained_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILES",
            help="Files of training rows: how many overlap with the questions is told and kept; "
            "may be repeated.",
        ),
    ] = None,
    overlap_words: Annotated[
        int, typer.Option(min=1, help="Words in a row that make an overlap.")
    ] = 13,
    bertscore: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODER",
            help="Score summaries by BERTScore, too, with this encoder: a folder or a hub name.",
        ),
    ] = None,
    confirm_run_unsafe_code: Unconfined = False,
    no_progress: NoProgress = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Ask a model the questions of tasks and score its answers.

    Programs that it writes run in a jail. Every question, completion and score is written to the
    folder of the run. The same command again goes on where it was stopped.

    Examples:

      s2l evaluate models/target --task gsm8k --task svamp --data eval --out results

      s2l evaluate models/target --task s2l_math --data eval --trained-on subset.jsonl --out results
    """
    from smalltolarge.report import terminal
    from smalltolarge.report.evaluation import show_scores
    from smalltolarge.verbs.evaluate import evaluate as verb

    with watching(no_progress) as (console, watch):
        scores = verb(
            model,
            task,
            out=out,
            trained_on=trained_on or (),
            overlap_words=overlap_words,
            bertscore=bertscore,
            confirm_run_unsafe_code=confirm_run_unsafe_code,
            progress=watch,
            **with_mappings(settings),
        )
    show_scores(scores, out, console)
    terminal.offer_page(out, console)
