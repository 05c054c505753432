"""What the losses of a proxy, its clusters and its gradients say before a target is paid for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

FLAT = 0.1
"""A trajectory is flat when its range is below this share of the spread of losses."""
LAST_PART = 0.75
"""The last part of a training begins at the last checkpoint up to this share of its steps."""
SHIFTS = 4
"""Sources told of, at most, that a subset has more of than their share, and that it has less of."""


@dataclass(frozen=True)
class Learning:
    """Whether the mean loss still moves at the end of the proxy's training."""

    steps: tuple[int, ...]
    mean_losses: tuple[float, ...]
    """Over all examples, one for each of ``steps``."""
    since: int
    """Step at which the last part begins."""
    change: float
    """Of the mean loss over the last part, in nats; negative where it falls."""
    of_whole: float | None
    """The fall over the last part as a share of the whole fall; None where there was none."""
    falling: float
    """Share of examples whose loss fell over the last part."""

    @classmethod
    def of(cls, losses: np.ndarray, steps: np.ndarray) -> Learning | None:
        """Look at losses (n, t) recorded at ``steps`` (t,); None where t is 1."""
        if len(steps) == 1:
            return None
        means = losses.mean(axis=0, dtype=np.float64)
        begin = int(np.searchsorted(steps, LAST_PART * steps[-1], side="right")) - 1
        begin = max(0, min(begin, len(steps) - 2))
        change, whole = float(means[-1] - means[begin]), float(means[-1] - means[0])
        return cls(
            steps=tuple(steps.tolist()),
            mean_losses=tuple(means.tolist()),
            since=int(steps[begin]),
            change=change,
            of_whole=change / whole if whole < 0 else None,
            falling=float(np.mean(losses[:, -1] < losses[:, begin])),
        )


@dataclass(frozen=True)
class Shapes:
    """How many trajectories move, and which way."""

    spread: float
    """Standard deviation of the losses over the examples, a mean over the checkpoints, in nats."""
    threshold: float
    """``FLAT`` times the spread: a trajectory with a smaller range (largest loss less smallest)
    is flat."""
    flat: float
    """Share of flat trajectories."""
    rising: float
    """Share of trajectories that end above where they began."""

    @classmethod
    def of(cls, losses: np.ndarray) -> Shapes | None:
        """Look at losses (n, t); None where t is 1."""
        if losses.shape[1] == 1:
            return None
        spread = float(losses.std(axis=0, dtype=np.float64).mean())
        ranges = losses.max(axis=1) - losses.min(axis=1)
        return cls(
            spread=spread,
            threshold=FLAT * spread,
            flat=float(np.mean(ranges < FLAT * spread)),
            rising=float(np.mean(losses[:, -1] > losses[:, 0])),
        )


@dataclass(frozen=True)
class Clusters:
    """Sizes of the clusters, and how alike they come out again."""

    clusters: int
    """Found; in all sources together where they are stratified."""
    smallest: int
    median: float
    largest: int
    below_three: int
    """Clusters of one or two examples."""
    seeds: tuple[int, ...]
    over_seeds: float | None
    """Adjusted Rand index between clusterings with different seeds, a mean over all pairs; None
    where there is one seed."""
    over_seeds_least: float | None
    """The least of them."""
    over_clusters: Mapping[str, float]
    """By number of clusters asked for: adjusted Rand index with the clusters looked at here."""


@dataclass(frozen=True)
class SourceShare:
    """How many rows of a source were chosen, and how many its share of all rows would come to."""

    source: str | None
    chosen: int
    by_share: float

    @classmethod
    def largest_shifts(
        cls, sources: Sequence[str | None], chosen: np.ndarray
    ) -> tuple[SourceShare, ...]:
        """Look for the sources, of n rows, that rows ``chosen`` have most above and below share.

        At most ``SHIFTS`` of either kind, by the difference in rows, which is one at least; the
        most above first, the most below last.
        """
        before, after = Counter(sources), Counter(sources[row] for row in chosen.tolist())
        n, b = len(sources), len(chosen)
        every = [cls(source, after[source], rows * b / n) for source, rows in before.items()]
        every.sort(key=lambda share: share.by_share - share.chosen)
        over = [share for share in every if share.chosen - share.by_share >= 1]
        under = [share for share in every if share.by_share - share.chosen >= 1]
        return (*over[:SHIFTS], *under[-SHIFTS:])


@dataclass(frozen=True)
class Origins:
    """What the clusters have in common with what is known of examples without a proxy."""

    length: float | None
    """Share of the variance of the logarithm of completion lengths that the clusters explain (eta
    squared); None where lengths are not known, or all the same."""
    length_by_chance: float
    """What as many clusters of the same examples would explain by chance: (k - 1) / (n - 1)."""
    source: float | None
    """Cramer's V of clusters and sources, corrected for bias (Bergsma 2013); None where there are
    no two sources."""
    sources: int
    even: float
    """Effective number of sources of the subset: how many of one size are as diverse as its are."""
    even_by_source: float
    """That of as many rows drawn evenly over the sources."""
    shifts: tuple[SourceShare, ...]
    """The sources of which the subset has most rows above their share, the most above first, and
    those of which it has most below it, the most below last."""


@dataclass(frozen=True)
class PairMean:
    """A mean over pairs of examples, and its standard error (jackknife over the examples)."""

    mean: float | None
    error: float | None
    pairs: int

    @classmethod
    def of(cls, values: np.ndarray, mask: np.ndarray) -> PairMean:
        """Average ``values`` (m, m) where ``mask`` (m, m) holds, both symmetric; not the diagonal.

        An example is in many pairs, so that pairs are not independent: each example is left out
        once instead.
        """
        mask = mask & ~np.eye(len(mask), dtype=bool)
        counts = mask.sum(axis=1)
        sums = np.where(mask, values, 0).sum(axis=1, dtype=np.float64)
        pairs, total = int(counts.sum()) // 2, float(sums.sum()) / 2
        if pairs == 0:
            return cls(None, None, 0)
        left = pairs - counts
        error = None
        if (left > 0).all():
            without = (total - sums) / left
            m = len(mask)
            error = math.sqrt((m - 1) / m * float(np.square(without - without.mean()).sum()))
        return cls(total / pairs, error, pairs)


@dataclass(frozen=True)
class GradientFacts:
    """Whether examples of one cluster have like gradients, and the subset that of all."""

    parameters: int
    sample: int
    """Examples whose own gradients were taken."""
    sketch: int | None
    """Numbers that each gradient was brought down to; None: none was."""
    inside: PairMean
    """Cosine of the gradients of two examples of one cluster."""
    between: PairMean
    """Of two examples of different clusters."""
    same_source: PairMean
    """Of two examples of one source."""
    rows: int
    """Rows of the subset."""
    error: float
    """Of the mean gradient of the subset, relative to that of all examples."""
    weighted_error: float
    """The same, every cluster counting for as many rows as it has in all."""
    random_errors: tuple[float, ...]
    """The same of random subsets of that many rows."""


@dataclass(frozen=True)
class Agreement:
    """Whether a larger model sees the same examples alike."""

    name: str
    examples: int
    """In both."""
    first: float | None
    """Spearman's rank correlation of the first losses."""
    last: float | None
    """Of the last losses."""
    clusters: float
    """Adjusted Rand index of the clusters of both, found with the same settings and seed."""


@dataclass(frozen=True)
class Inspection:
    """All that is known of a recording before a target is trained."""

    run: str
    proxy: str
    examples: int
    checkpoints: int
    method: str
    """The method that chose the subset looked at."""
    given: bool
    """Whether the run chose it; else it was chosen for the inspection."""
    settings: Mapping[str, Any]
    """Of S2L, as the clusters were made."""
    learning: Learning | None
    """None where there is one checkpoint."""
    shapes: Shapes | None
    clusters: Clusters
    origins: Origins
    gradients: GradientFacts | None
    """None where they were not asked for."""
    agreement: Agreement | None
    """None where no target was given."""

    def to_plain(self) -> dict[str, Any]:
        """Give JSON-like data; numbers that are none become null."""
        plain: dict[str, Any] = finite(asdict(self))
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Inspection:
        """Read what ``to_plain`` gave; raises KeyError or TypeError where it is something else."""
        kinds = {"learning": Learning, "shapes": Shapes, "clusters": Clusters,
                 "gradients": GradientFacts, "agreement": Agreement}  # fmt: skip
        parts = {name: plain[name] and kind(**plain[name]) for name, kind in kinds.items()}
        found = parts["gradients"]
        if isinstance(found, GradientFacts):
            pairs: dict[str, Any] = {
                name: PairMean(**getattr(found, name))
                for name in ("inside", "between", "same_source")
            }
            parts["gradients"] = replace(found, **pairs)
        shifts = tuple(SourceShare(**shift) for shift in plain["origins"]["shifts"])
        parts["origins"] = Origins(**{**plain["origins"], "shifts": shifts})
        return cls(**{**plain, **parts})


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Adjusted Rand index of two clusterings, int (n,) each: 1 the same, 0 as alike as by chance.

    Source: Hubert & Arabie, "Comparing partitions", Journal of Classification 1985.
    """
    table, of_a, of_b = _contingency(a, b)
    together = _pairs(table)
    in_a, in_b, every = _pairs(of_a), _pairs(of_b), len(a) * (len(a) - 1) / 2
    expected = in_a * in_b / every if every else 0.0
    most = (in_a + in_b) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Rank values (n,) from 1; equal ones share the mean of their ranks. float64 (n,)."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's rank correlation of values (n,) and (n,); None where all of one are equal."""
    ranks = [average_ranks(values) for values in (a, b)]
    x, y = (of - of.mean() for of in ranks)
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale else None


def eta_squared(groups: np.ndarray, values: np.ndarray) -> float | None:
    """Share of the variance of values (n,) between groups, int (n,); None where there is none."""
    values = values - values.mean(dtype=np.float64)
    whole = float(values @ values)
    if whole == 0:
        return None
    _, groups = np.unique(groups, return_inverse=True)
    sums = np.bincount(groups, weights=values)
    return float((np.square(sums) / np.bincount(groups)).sum()) / whole


def cramers_v(a: np.ndarray, b: np.ndarray) -> float | None:
    """Cramer's V of two groupings, int (n,) each, corrected for bias; None where one has one group.

    0: they have nothing to do with each other; 1: one follows from the other. Source: Bergsma, "A
    bias-correction for Cramer's V and Tschuprow's T", 2013.
    """
    table, of_a, of_b = _contingency(a, b)
    n, r, c = len(a), len(of_a), len(of_b)
    if min(r, c) < 2:
        return None
    rows, columns = np.nonzero(table)
    counts = table[rows, columns].astype(np.float64)
    phi = float((counts**2 / (of_a[rows].astype(np.float64) * of_b[columns])).sum()) - 1
    phi = max(0.0, phi - (r - 1) * (c - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return min(1.0, math.sqrt(phi / least)) if least > 0 else None


def effective(groups: np.ndarray) -> float:
    """Effective number of groups, int (n,): e to the entropy of their shares (Hill 1973)."""
    shares = np.bincount(groups) / len(groups)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def cosines(vectors: np.ndarray) -> np.ndarray:
    """Cosine of every pair of rows of (m, d): float64 (m, m); 0 with a row of zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    products: np.ndarray = (unit @ unit.T).astype(np.float64)
    return products


def relative_error(found: np.ndarray, true: np.ndarray) -> float:
    """Length of the difference of two vectors over that of ``true``; nan where that is 0."""
    whole = float(np.linalg.norm(true))
    return float(np.linalg.norm(found - true)) / whole if whole else math.nan


def number(names: Sequence[Hashable]) -> np.ndarray:
    """Number different names in the order in which they come: int64 (n,)."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _contingency(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count in how many places two groupings have each pair of groups; and each group alone."""
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    columns = int(b.max()) + 1
    table = np.bincount(a * columns + b, minlength=(int(a.max()) + 1) * columns)
    table = table.reshape(-1, columns)
    return table, table.sum(axis=1), table.sum(axis=0)


def _pairs(counts: np.ndarray) -> float:
    counts = counts.astype(np.float64)
    return float((counts * (counts - 1)).sum()) / 2


def finite(plain: Any) -> Any:
    """Put null, in JSON-like data, in the place of numbers that are none."""
    if isinstance(plain, Mapping):
        return {str(name): finite(inner) for name, inner in plain.items()}
    if isinstance(plain, list | tuple):
        return [finite(inner) for inner in plain]
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
