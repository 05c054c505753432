"""The command ``s2l tasks``."""

from __future__ import annotations

from typing import Annotated

import typer

from smalltolarge.cli import streams


def tasks(
    path: Annotated[
        bool,
        typer.Option("--path", help="Print the folder for the --include_path of lm-eval only."),
    ] = False,
) -> None:
    """List the evaluation tasks and groups.

    Example:

      lm-eval run --model hf --model_args pretrained=MODEL --tasks s2l_gsm8k --include_path
      "$(s2l tasks --path)"
    """
    from smalltolarge.report.evaluation import show_tasks

    show_tasks(streams.console(soft_wrap=False), only_path=path)
