"""Numbers that a subset may carry beside its rows: how much each stands for, and how hard it is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np

from smalltolarge.errors import RecipeError

Column = Literal["weight", "order"]
NAMES: dict[Column, str] = {"weight": "s2l_weight", "order": "s2l_order"}
"""What each is called in the subset, where it stands among the user's own."""


def refuse_impossible(
    wanted: Collection[Column], method: str, *, is_random: bool, has_losses: bool
) -> None:
    """Raise ``RecipeError`` where a method cannot give a column that is wanted."""
    if "weight" in wanted and not is_random:
        raise RecipeError(
            f"add_columns: method {method} draws nothing at random, so that its rows stand for no "
            "others: they have no weight. Leave weight out, or choose by another method."
        )
    if "order" in wanted and not has_losses:
        raise RecipeError(
            f"add_columns: order is by recorded losses, and method {method} needs none. Give "
            "--trajectories, or leave order out."
        )


def weights(groups: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Say how many rows each chosen one stands for: those of its group over those chosen of it.

    A sum over the chosen rows, each times its weight, then estimates that over all rows without
    bias, as long as every group gave one: rows of a group that gave none are not stood for.

    Parameters
    ----------
    groups : int (n,), not negative
    indices : int64 (b,), the rows chosen

    Returns
    -------
    float64 (b,)
    """
    sizes, taken = np.bincount(groups), np.bincount(groups[indices])
    found: np.ndarray = sizes[groups[indices]] / taken[groups[indices]]
    return found


def places(order: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Number the chosen rows (b,) as they come in ``order``, int64 (n,), from 0: int64 (b,)."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    found = np.empty(len(indices), dtype=np.int64)
    found[np.argsort(place[indices])] = np.arange(len(indices))
    return found
