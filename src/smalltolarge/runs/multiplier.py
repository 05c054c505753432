"""How much more training random rows would need for the score of an arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from smalltolarge.runs.paired import LEVEL, rounded

_DRAWS = 1000


@dataclass(frozen=True)
class Multiplier:
    """Training of random rows for the score of an arm, over the training of that arm."""

    value: float
    low: float
    """Of its 95% interval; 0: below the least that random was trained on; nan: none."""
    high: float
    """inf: above the most that random was trained on; nan: there is no interval."""
    bound: Literal["", ">=", "<="]
    """What ``value`` is where the score lies outside of random's."""


class Trained(NamedTuple):
    """What targets of one kind took, and what they scored."""

    tokens: float
    """Seen in training."""
    scores: Sequence[np.ndarray]
    """For each task float (proxies, seeds, questions), more is better; all have the same seeds."""


def multipliers(curve: Sequence[Trained], arms: Sequence[Trained]) -> list[Multiplier]:
    """Compare arms with random rows, which were trained at the points of a ``curve``.

    Scores of random lie on straight lines between its points, over the logarithm of the training;
    what is needed is the least training at which they reach the score of an arm. The intervals are
    percentiles of a bootstrap that draws questions and, one fewer than there are, seeds, the same
    for all arms, and so proxies (Owen 2007; Rao and Wu 1988).
    """
    curve = sorted(curve, key=lambda point: point.tokens)
    drawn = _drawn([point.scores for point in (*curve, *arms)])
    logs = np.log([point.tokens for point in curve])
    found = drawn[:, len(curve) :]
    needed = np.full(found.shape, math.inf)
    for point in reversed(range(len(curve) - 1)):
        here, there = drawn[:, [point]], drawn[:, [point + 1]]
        is_between = (here < found) & (found <= there)
        share = (found - here) / np.where(here < there, there - here, 1.0)
        tokens = np.exp(logs[point] + share * (logs[point + 1] - logs[point]))
        needed = np.where(is_between, tokens, needed)
    needed[found <= drawn[:, [0]]] = 0.0
    ends = np.quantile(needed, [LEVEL / 2, 1 - LEVEL / 2], axis=0, method="inverted_cdf")
    if (drawn == drawn[0]).all():
        ends[:] = math.nan
    least, most = curve[0].tokens, curve[-1].tokens
    made = []
    for arm, value, low, high in zip(arms, needed[0].tolist(), *ends.tolist(), strict=True):
        bound: Literal["", ">=", "<="] = ""
        if value == math.inf:
            value, bound = most, ">="
        elif value == 0:
            value, bound = least, "<="
        value, low, high = (
            rounded(one / arm.tokens) for one in (value, min(low, most), max(high, least))
        )
        made.append(Multiplier(value, low, high, bound))
    return made


def _drawn(given: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Give mean scores, float (1 + draws, arms): as they are, then with what was drawn."""
    random = np.random.RandomState(0)  # its numbers are the same with every version of NumPy

    def weights(n: int, draws: int) -> np.ndarray:
        even = np.full((1, n), 1 / n)
        if draws == 0:
            return np.repeat(even, _DRAWS + 1, 0)
        return np.concatenate([even, random.multinomial(draws, even[0], _DRAWS) / draws])

    of_seeds = weights(n_seeds := given[0][0].shape[1], n_seeds - 1)
    proxies = {len(each[0]) for each in given}
    of_proxies = {n: weights(n, n - 1) for n in sorted(proxies)}
    total = np.zeros((_DRAWS + 1, len(given)))
    for task in range(n_tasks := len(given[0])):
        n = given[0][task].shape[-1]
        of_questions = weights(n, n if n > 1 else 0)
        for place, each in enumerate(given):
            runs = (of_questions @ each[task].reshape(-1, n).T).reshape(-1, *each[task].shape[:2])
            by_seed = (runs * of_proxies[len(each[task])][:, :, None]).sum(1)
            total[:, place] += (by_seed * of_seeds).sum(-1) / n_tasks
    return total.round(12)  # on what machines agree
