"""SmallToLarge: the part of your fine-tuning data that trains a large model as well as all of it.

    import smalltolarge

    selection = smalltolarge.select("data.jsonl", budget="11%")
    selection.to_dataset()

Importing this package imports none of its rooms; a name below is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smalltolarge.errors import S2LError as S2LError
    from smalltolarge.evaluation import Answer as Answer
    from smalltolarge.evaluation import Question as Question
    from smalltolarge.evaluation import Score as Score
    from smalltolarge.evaluation import Task as Task
    from smalltolarge.examples import Examples as Examples
    from smalltolarge.examples.shown import Shown as Shown
    from smalltolarge.runs.results import Run as Run
    from smalltolarge.selection import Evidence as Evidence
    from smalltolarge.selection import Pool as Pool
    from smalltolarge.selection import Ranking as Ranking
    from smalltolarge.selection import Selection as Selection
    from smalltolarge.selection import Selector as Selector
    from smalltolarge.trajectories import Trajectories as Trajectories
    from smalltolarge.verbs.evaluate import evaluate as evaluate
    from smalltolarge.verbs.export import export as export
    from smalltolarge.verbs.inspect import inspect as inspect
    from smalltolarge.verbs.load import load as load
    from smalltolarge.verbs.prepare import prepare as prepare
    from smalltolarge.verbs.record import record as record
    from smalltolarge.verbs.report import report_page as report_page
    from smalltolarge.verbs.run import run as run
    from smalltolarge.verbs.sample_data import sample_data as sample_data
    from smalltolarge.verbs.select import select as select
    from smalltolarge.verbs.show_text import show_text as show_text
    from smalltolarge.verbs.train import train as train
    from smalltolarge.verbs.verify import verify as verify

_HOME = {
    "Answer": "evaluation",
    "Evidence": "selection",
    "Examples": "examples",
    "Pool": "selection",
    "Question": "evaluation",
    "Ranking": "selection",
    "Run": "runs.results",
    "S2LError": "errors",
    "Score": "evaluation",
    "Selection": "selection",
    "Selector": "selection",
    "Shown": "examples.shown",
    "Task": "evaluation",
    "Trajectories": "trajectories",
    "evaluate": "verbs.evaluate",
    "export": "verbs.export",
    "inspect": "verbs.inspect",
    "load": "verbs.load",
    "prepare": "verbs.prepare",
    "record": "verbs.record",
    "report_page": "verbs.report",
    "run": "verbs.run",
    "sample_data": "verbs.sample_data",
    "select": "verbs.select",
    "show_text": "verbs.show_text",
    "train": "verbs.train",
    "verify": "verbs.verify",
}

__all__ = [*_HOME, "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"smalltolarge.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
