"""Arrays in, row numbers out: which rows of a pool to train on. No model is loaded here.

A new method is one class with one method (``rank``) and one row in ``SELECTORS``; from outside,
``my_package.module:Class`` is accepted wherever a name is.
"""

from __future__ import annotations

import difflib

from smalltolarge.errors import RecipeError, printable
from smalltolarge.selection.baselines import Longest, RandomByLength, RandomBySource
from smalltolarge.selection.budget import Budget
from smalltolarge.selection.by_loss import (
    IFD,
    ConfidenceCurriculum,
    HighLearnability,
    LeastConfidence,
    MiddlePerplexity,
    Variability,
)
from smalltolarge.selection.facility import FacilityLocation
from smalltolarge.selection.pool import Evidence, Pool, Selection
from smalltolarge.selection.s2l import S2L
from smalltolarge.selection.selector import Random, Ranking, Selector
from smalltolarge.settings import find_class

__all__ = [
    "IFD",
    "S2L",
    "SELECTORS",
    "Budget",
    "ConfidenceCurriculum",
    "Evidence",
    "FacilityLocation",
    "HighLearnability",
    "LeastConfidence",
    "Longest",
    "MiddlePerplexity",
    "Pool",
    "Random",
    "RandomByLength",
    "RandomBySource",
    "Ranking",
    "Selection",
    "Selector",
    "Variability",
    "find_selector",
]

SELECTORS: dict[str, type[Selector]] = {
    kind.name: kind
    for kind in (
        S2L,
        Random,
        RandomBySource,
        RandomByLength,
        Longest,
        LeastConfidence,
        MiddlePerplexity,
        HighLearnability,
        Variability,
        IFD,
        FacilityLocation,
        ConfidenceCurriculum,
    )
}


def find_selector(name: str) -> type[Selector]:
    """Give the class of a method: a name in ``SELECTORS`` or ``my_package.module:Class``.

    Raises
    ------
    RecipeError
        There is no such method.
    """
    if name in SELECTORS:
        return SELECTORS[name]
    if ":" not in name:
        near = difflib.get_close_matches(name, SELECTORS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise RecipeError(
            f"method {printable(name)!r}: {', '.join(SELECTORS)} or my_package.module:Class is "
            f"needed.{hint}"
        )
    return find_class(name, Selector, "method")  # type: ignore[type-abstract]
