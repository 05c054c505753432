"""The checkpoints that a training saved: which there are, and of which step each is."""

from __future__ import annotations

import re
from pathlib import Path

from smalltolarge.errors import DataError, MissingArtifact, printable
from smalltolarge.lm.folders import path_of, read_json
from smalltolarge.settings import ProxySettings

_NAME = re.compile(r"checkpoint-(\d{1,18})")
_STATE = "trainer_state.json"


def saved_steps(folder: str) -> dict[int, Path]:
    """Find the checkpoints of a training, by their steps.

    The step is the ``global_step`` of trainer_state.json, or else the number in the folder's name.

    Raises
    ------
    MissingArtifact
        There are none.
    DataError
        Two are of one step, or a trainer_state.json says no step.
    """
    root, found = path_of(folder), dict[int, Path]()
    if not root.is_dir():
        raise MissingArtifact(f"from_checkpoints: there is no folder {printable(folder, 200)}")
    for one in sorted(root.iterdir()):
        named = _NAME.fullmatch(one.name)
        if named is None or not one.is_dir():
            continue
        step = _step(one / _STATE) if (one / _STATE).is_file() else int(named[1])
        if step in found:
            raise DataError(
                f"{printable(one, 200)} and {printable(found[step].name)} are both of step "
                f"{step:,}, by their {_STATE}. Take one of them away."
            )
        found[step] = one
    if not found:
        raise MissingArtifact(
            f"{printable(root, 200)} has no folder checkpoint-STEP. Give the output folder of a "
            "training that saved some (save_steps, save_total_limit)."
        )
    return dict(sorted(found.items()))


def _step(file: Path) -> int:
    state = read_json(file)
    step = state.get("global_step") if isinstance(state, dict) else None
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < 10**18:
        raise DataError(
            f"{printable(file, 200)}: global_step is {printable(step)}; needed: how many optimiser "
            "steps were done when this checkpoint was saved"
        )
    return step


def steps_of(settings: ProxySettings) -> tuple[int, ...]:
    """Give the steps whose models are scored; raises as ``saved_steps``."""
    assert settings.from_checkpoints is not None
    steps = saved_steps(settings.from_checkpoints)
    return tuple(sorted({0, *steps} if settings.begins_from else steps))
