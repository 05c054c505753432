"""Statistics of arms that answered the same questions with the same seeds: by pairs of answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

LEVEL = 0.05
"""Differences of a smaller p-value are taken for real; an interval holds 1 minus it, 95%."""
_ROUNDING = 1e-12
_MOST_FREEDOM = 1e4
"""Degrees of freedom beyond which Student's t is as good as normal."""
_DRAWN = ("proxies", "seeds", "questions")


@dataclass(frozen=True)
class Difference:
    """A mean difference of two arms, its 95% interval and its p-value."""

    mean: float
    low: float
    high: float
    p: float
    """Two-sided; nan where nothing tells how much is chance."""
    seeds: int
    covers: tuple[str, ...]
    """What is taken as drawn from more: of "proxies", "seeds" and "questions" those of which there
    are several."""
    corrected: float = math.nan
    """p, corrected by ``holm`` for the number of comparisons."""

    @property
    def is_known(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.p)

    @classmethod
    def of(cls, tasks: Sequence[np.ndarray]) -> Difference:
        """Compare by the differences of each task, float (proxies, seeds, questions).

        The mean is over questions, then tasks. Seeds are crossed with questions, as readers with
        cases in a study of diagnoses: the variance is that between seeds, and what questions add
        beyond the two together (Obuchowski and Rockette 1995, as Hillis 2007 has it); but never
        less than that between questions. Degrees of freedom are Satterthwaite's (1946). Of one
        seed it is the paired t-test over questions; of one number a seed, that over seeds. Proxies
        add their own variance, as seeds do.
        """
        every = np.mean([task.mean(-1) for task in tasks], 0)
        parts, questions, both = [], [], 0.0
        for axis in range(every.ndim):
            n = every.shape[axis]
            if n > 1:
                marginal = every.mean(1 - axis)
                parts.append((float(marginal.var(ddof=1)) / n, n - 1))
        for task in tasks:
            n, runs = task.shape[-1], task.reshape(-1, task.shape[-1])
            if n > 1:
                weight = 1 / len(tasks) ** 2
                of_question = runs.mean(0)
                questions.append((weight * float(of_question.var(ddof=1)) / n, n - 1))
                rest = runs - of_question - runs.mean(1, keepdims=True) + runs.mean()
                freedom = (len(runs) - 1) * (n - 1)
                both += weight * float((rest**2).mean()) / freedom if freedom else 0.0
        between, within = (sum(variance for variance, _ in some) for some in (parts, questions))
        variance = max(between + max(within - both, 0.0), within)
        several = (*(n > 1 for n in every.shape), bool(questions))
        drawn = tuple(name for name, is_drawn in zip(_DRAWN, several, strict=True) if is_drawn)
        mean, seeds = float(every.mean()), every.shape[1]
        error = math.sqrt(variance)
        if error <= _ROUNDING:
            if drawn and abs(mean) <= _ROUNDING:
                return cls(0.0, 0.0, 0.0, 1.0, seeds, drawn)
            return cls(mean, -math.inf, math.inf, math.nan, seeds, drawn)
        freedom = max(variance**2 / sum(one**2 / n for one, n in (*parts, *questions)), 1.0)
        half = quantile(freedom) * error
        low, high = rounded(mean - half), rounded(mean + half)
        return cls(mean, low, high, tail(abs(mean) / error, freedom), seeds, drawn)


def tail(t: float, freedom: float) -> float:
    """Give the probability that Student's t lies beyond ``t`` on either side."""
    freedom = min(freedom, _MOST_FREEDOM)
    angle = math.atan(t / math.sqrt(freedom))
    beyond = _area(angle, math.pi / 2, freedom)
    return rounded(beyond / (_area(0.0, angle, freedom) + beyond))


def quantile(freedom: float) -> float:
    """Give the t beyond which ``tail`` is ``LEVEL``."""
    low, high = 1.9, 13.0  # normal, and one degree of freedom
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle, freedom) > LEVEL else (low, middle)
    return (low + high) / 2


def rounded(value: float) -> float:
    """Give the digits of a number on which all machines agree."""
    return float(f"{value:.9g}")


def _area(low: float, high: float, freedom: float) -> float:
    """Integrate the density of Student's t, but for a factor, over the angle atan(t / √freedom)."""
    nodes, weights = _legendre()
    half = (high - low) / 2
    return half * float(weights @ np.cos(low + half * (nodes + 1)) ** (freedom - 1))


@cache
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(100)


def holm(ps: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979), so that one in twenty tables, not one in
    twenty comparisons, finds what is not there; those that are nan take no part.
    """
    order = sorted((p, place) for place, p in enumerate(ps) if not math.isnan(p))
    corrected, largest = [math.nan] * len(ps), 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        corrected[place] = largest
    return corrected
