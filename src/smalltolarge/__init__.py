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
    from smalltolarge.evaluation import Answer as Answer
    from smalltolarge.evaluation import Question as Question
    from smalltolarge.evaluation import Score as Score
    from smalltolarge.evaluation import Task as Task
    from smalltolarge.examples import Examples as Examples
    from smalltolarge.results import Run as Run
    from smalltolarge.selection import Pool as Pool
    from smalltolarge.selection import Selection as Selection
    from smalltolarge.shown import Shown as Shown
    from smalltolarge.trajectories import Trajectories as Trajectories
    from smalltolarge.verbs import load as load
    from smalltolarge.verbs import record as record
    from smalltolarge.verbs import run as run
    from smalltolarge.verbs import select as select
    from smalltolarge.verbs import show_text as show_text
    from smalltolarge.verbs import train as train
    from smalltolarge.verbs.evaluate import evaluate as evaluate

_HOME = {
    "Answer": "evaluation",
    "Examples": "examples",
    "Pool": "selection",
    "Question": "evaluation",
    "Run": "results",
    "Score": "evaluation",
    "Selection": "selection",
    "Shown": "shown",
    "Task": "evaluation",
    "Trajectories": "trajectories",
    "evaluate": "verbs.evaluate",
    "load": "verbs",
    "record": "verbs",
    "run": "verbs",
    "select": "verbs",
    "show_text": "verbs",
    "train": "verbs",
}

__all__ = [*_HOME, "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"smalltolarge.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
