"""What a run needs on its disks, at least, before anything is trained."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smalltolarge.errors import OutOfSpace

log = logging.getLogger("smalltolarge")

_STATE, _WEIGHTS, _SAVED = 12, 4, 2
"""Bytes a parameter: weights and both moments of a training that goes on; weights in float32; a
model that is saved in the smallest type."""
_LOSS, _TOKEN = 4, 2
_WORTH_SAYING = 4
"""A run that needs less than this part of what is free says nothing."""


def of_recording(plan: Any) -> int:
    """Give the bytes of a recording (its ``Plan``) and what it keeps while it goes on."""
    losses = plan.rows * len(plan.checkpoints) * _LOSS
    return int(plan.parameters * (_STATE + _WEIGHTS) + losses + plan.tokens * _TOKEN)


def of_training(plan: Any, trainer: str) -> int:
    """Give the bytes that the training of a target (its ``Plan``) keeps while it goes on."""
    return int(plan.parameters * _STATE) if trainer == "own" else 0


def of_model(plan: Any) -> int:
    """Give the bytes of a target that is saved."""
    return int(plan.parameters * _SAVED)


def require_room(needs: Mapping[Path, int]) -> None:
    """Say how many bytes are needed at each path where that is much of what is free there.

    What lies at a path already counts as there.

    Raises
    ------
    OutOfSpace
        A disk certainly has too little.
    """
    together: dict[int, int] = defaultdict(int)
    for path, amount in needs.items():
        place = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
        here = _bytes_in(path)
        disk = os.stat(place).st_dev
        together[disk] += max(amount - here, 0)
        free = shutil.disk_usage(place).free
        said = (
            f"at least {together[disk] / 1e6:,.1f} MB are needed on the disk of {path}, which has "
            f"{free / 1e6:,.1f} MB free"
        )
        if together[disk] > free:
            raise OutOfSpace(f"{said}. Free some space, or choose another disk.")
        if together[disk] * _WORTH_SAYING > free:
            log.info("%s", said)


def _bytes_in(path: Path) -> int:
    """Add up a folder in which other processes may be at work."""
    total = 0
    for place, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(place, name)).st_size
    return total
