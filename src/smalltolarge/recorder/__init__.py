"""Record the losses of a training that you run yourself.

    from smalltolarge.recorder import LossRecorder

    trainer = SFTTrainer(..., callbacks=[LossRecorder("data.jsonl")])
    trainer.train()

``smalltolarge.recorder.axolotl`` and ``smalltolarge.recorder.llamafactory`` do the same by the keys
of a configuration.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from smalltolarge.errors import RecipeError, printable
from smalltolarge.lm.recorder import LossRecorder

__all__ = ["LossRecorder", "of_keys"]

PREFIX = "s2l_"
_DATA = "data"


def of_keys(values: Mapping[str, Any], longest: int | None) -> LossRecorder:
    """Make the recorder of a configuration: ``s2l_data``, and ``s2l_`` with other parameters.

    Others' keys, and those that are null, are passed over. ``longest`` is where the trainer cuts an
    example, in tokens.

    Raises
    ------
    RecipeError
        A key is unknown, or there is no ``s2l_data``.
    Others as ``LossRecorder``.
    """
    given = {
        name.removeprefix(PREFIX): value
        for name, value in values.items()
        if name.startswith(PREFIX) and value is not None
    }
    names = list(inspect.signature(LossRecorder).parameters)[1:]  # the first is the data
    known = [_DATA, *(name for name in names if name != "tokens")]
    for name in given:
        if name not in known:
            raise RecipeError(
                f"{PREFIX}{printable(name)} is not a key of the recorder; known: "
                + ", ".join(PREFIX + one for one in known)
            )
    if _DATA not in given:
        raise RecipeError(f"{PREFIX}{_DATA} is needed: the data that is trained on")
    return LossRecorder(given.pop(_DATA), **{"max_length": longest, **given})
