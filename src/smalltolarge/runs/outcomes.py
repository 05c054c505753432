"""What came of a comparison: the result of every arm, and the table over all of them."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from smalltolarge.errors import IntegrityError
from smalltolarge.runs.multiplier import Multiplier, Trained, multipliers
from smalltolarge.runs.paired import LEVEL, Difference, holm
from smalltolarge.runs.recipe import Proxy
from smalltolarge.selection.diagnostics import finite

_NORMAL = 1.960
NOTHING = "0%"
"""The budget of the untuned model."""
Measure = Literal["accuracy", "loss", "all rows"]
"""What is compared: the mean accuracy of the tasks; the loss of held-out data with every source
counting the same, or every row."""


@dataclass(frozen=True)
class Arm:
    """One target of a comparison: how its data was chosen, and how it was trained."""

    method: str
    """Label of the method."""
    budget: str
    seed: int
    equal: str
    """"epochs" or "steps": what it has in common with the others."""
    proxy_seed: int | None = None
    """Seed of the proxy it uses; None: that of the recipe, or it uses none."""

    @property
    def name(self) -> str:
        """A name for its files."""
        budget = re.sub(r"[^A-Za-z0-9.]", "", self.budget.replace("%", "pct"))
        seeds = Proxy(seed=self.proxy_seed).own(str(self.seed))
        return f"{self.method}-{budget}-{self.equal}-{seeds}"

    @property
    def ranking(self) -> str:
        """A name for the ranking that it begins, which its budgets share."""
        return f"{self.method}-{Proxy(seed=self.proxy_seed).own(str(self.seed))}"

    @property
    def stage(self) -> str:
        """The stage of a run in which it is done."""
        return f"arm {self.name}"


@dataclass(frozen=True)
class ArmResult:
    """What an arm cost, and what its target is worth."""

    arm: Arm
    rows: int
    """Examples chosen."""
    steps: int
    tokens: int
    """Tokens seen in training."""
    flops: float
    """Of the training."""
    seconds: float
    """Of the training."""
    seconds_selecting: float
    """Of ranking all rows with this method and seed; all budgets share it."""
    seconds_evaluating: float
    train_loss: float | None
    scores: Mapping[str, Sequence[float]]
    """By task: the score of every question, 0 to 1."""
    unanswered: Mapping[str, int]
    """By task: questions in whose completions no answer was found."""
    truncated: Mapping[str, int]
    """By task: questions of which a completion reached the length limit."""
    losses: Mapping[str, Mapping[str, Sequence[float]]]
    """By held-out data and source: the mean loss of every row, nats a token."""
    failed_programs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By task: questions whose program gave no answer, by the kind of failure."""
    measures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By task: other measures."""

    def to_plain(self) -> dict[str, Any]:
        """Give JSON-like data."""
        plain = asdict(self)
        if self.arm.proxy_seed is None:
            del plain["arm"]["proxy_seed"]
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ArmResult:
        """Read what ``to_plain`` gave.

        Raises
        ------
        IntegrityError
            It is something else.
        """
        try:
            return cls(**{**plain, "arm": Arm(**plain["arm"])})
        except (KeyError, TypeError) as error:
            raise IntegrityError(f"not the result of an arm: {error}") from error


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error; nan where one value alone says nothing of it."""

    mean: float
    error: float
    low: float = math.nan
    high: float = math.nan
    """95% interval of a share, which does not collapse where all or none are right; else nan."""


def wilson(share: float, n: float) -> tuple[float, float]:
    """Give the 95% interval of a share found among n (Wilson 1927); it is never a point."""
    z2 = _NORMAL**2
    centre = share + z2 / (2 * n)
    half = _NORMAL * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
    return min(max(low, 0.0), share), max(min(high, 1.0), share)  # rounding, at 0 and 1


@dataclass(frozen=True)
class Row:
    """A method at one budget, over its seeds."""

    method: str
    budget: str
    equal: str
    seeds: int
    rows: float
    steps: float
    tokens: float
    flops: float
    seconds: float
    seconds_selecting: float
    accuracies: Mapping[str, Estimate]
    """By task; standard errors over the questions, each averaged over the seeds."""
    losses: Mapping[str, Estimate]
    """By held-out data, "(all)" and "(balanced)" over sources; standard errors over the seeds."""
    main: Estimate
    """What methods are compared by: the mean accuracy of the tasks, or the balanced loss."""
    to_random: Difference | None
    to_full: Difference | None
    besides: Mapping[Measure, Difference]
    """Differences to random by what methods are not compared by: the loss beside the accuracy, and
    that of all rows beside the loss."""
    verdict: str
    """Against random of the same budget; with the p-value corrected for all of the table."""
    failed_programs: Mapping[str, int]
    """Programs that gave no answer, of all tasks and seeds, by the kind of failure."""
    multiplier: Multiplier | None
    """Of the training of random rows for its score; None at equal steps, or with one budget."""
    break_even: float | None
    """Target trainings after which the FLOPs saved have paid for the proxy; None: never."""
    break_even_seconds: float | None
    """The same in seconds."""

    @property
    def is_full(self) -> bool:
        """Whether it is training on everything."""
        return self.budget == "100%" and self.to_full is None

    @property
    def is_subset(self) -> bool:
        """Whether it chose rows: it is neither full nor untuned."""
        return not self.is_full and self.budget != NOTHING


@dataclass(frozen=True)
class Table:
    """All rows, and what the proxy cost."""

    rows: tuple[Row, ...]
    measure: Measure
    tasks: tuple[str, ...]
    held_out: tuple[str, ...]
    recording: Mapping[str, Mapping[str, float]]
    """By the name of a proxy, "" for that without one: flops and seconds of recording, the mean
    over its seeds; empty where none was trained."""
    proxies: int
    """Seeds of the proxy that any method has results with."""
    floors: Mapping[str, Sequence[str]]
    """By kind of equality: the tasks, or held-out data, on which full is within the error of the
    untuned model, and "mean" where it is on the mean of several."""

    def of(self, equal: str) -> list[Row]:
        """Give the rows of a kind of equality, and the untuned model."""
        return [row for row in self.rows if row.equal == equal or row.budget == NOTHING]

    @property
    def comparisons(self) -> int:
        """The number of p-values, of differences to random, that each of them is corrected for."""
        return sum(row.to_random is not None and row.to_random.is_known for row in self.rows)

    @property
    def has_multipliers(self) -> bool:
        """Whether random has budgets enough to compare training with."""
        return any(row.multiplier is not None for row in self.rows)

    @property
    def has_failed_programs(self) -> bool:
        """Whether any program failed."""
        return any(row.failed_programs for row in self.rows)

    def to_plain(self) -> dict[str, Any]:
        """Give JSON-like data; numbers that are none become null."""
        plain: dict[str, Any] = finite(asdict(self))
        return plain


def tabulate(
    results: Sequence[ArmResult],
    proxy_of: Mapping[str, str | None],
    recording: Mapping[str, Mapping[str, float]],
    random: str = "random",
    full: str = "full",
) -> Table:
    """Put the results of arms together: one row for each method, budget and kind of equality.

    Parameters
    ----------
    proxy_of : by label, the name of the proxy that the method needs; None: it needs none
    recording : by the name of a proxy, its flops and seconds
    random, full : the labels of drawing at random and of training on everything
    """
    tasks = tuple(results[0].scores)
    held_out = tuple(results[0].losses)
    measure: Measure = "accuracy" if tasks else "loss"
    groups: dict[tuple[str, str, str], list[ArmResult]] = {}
    for result in results:
        arm = result.arm
        groups.setdefault((arm.equal, arm.budget, arm.method), []).append(result)
    untuned = [
        r for result in results if result.arm.budget == NOTHING for r in _every(result, results)
    ]
    wholes = {equal: group for (equal, _, method), group in groups.items() if method == full}
    multiplied = _multipliers(groups, wholes.get("epochs", []), random, measure)
    rows = []
    for (equal, budget, method), group in groups.items():
        drawn = groups.get((equal, budget, random), [])
        whole = wholes.get(equal, [])
        compared = untuned if budget == NOTHING else group
        saved = {
            kind: _mean(whole, kind) - _mean(group, kind) for kind in ("flops", "seconds") if whole
        }
        costs = recording.get(proxy, {}) if (proxy := proxy_of.get(method)) is not None else {}
        rows.append(
            Row(
                method=method,
                budget=budget,
                equal=equal,
                seeds=len({result.arm.seed for result in group}),
                **{name: _mean(group, name) for name in _MEANS},
                accuracies={task: _accuracy(group, task) for task in tasks},
                losses={
                    f"{name} ({kind})": _estimate([mean_of(r.losses[name]) for r in group])
                    for name in held_out
                    for kind, mean_of in _MEANS_OF.items()
                },
                main=_main(group, tasks, measure),
                to_random=_difference(group, drawn, measure) if method != random else None,
                to_full=_difference(compared, whole, measure) if method != full else None,
                besides={
                    other: found
                    for other in _BESIDES[measure]
                    if method != random
                    and held_out
                    and (found := _difference(group, drawn, other)) is not None
                },
                verdict="",
                failed_programs=_failed_programs(group),
                multiplier=multiplied.get((equal, budget, method)),
                break_even=_break_even(costs.get("flops", 0.0), saved.get("flops", 0.0)),
                break_even_seconds=_break_even(
                    costs.get("seconds", 0.0), saved.get("seconds", 0.0)
                ),
            )
        )
    floors = {equal: _floors(whole, untuned, measure) for equal, whole in wholes.items()}
    judged = tuple(_judged(rows, measure))
    proxies = max(len({one.arm.proxy_seed for one in group}) for group in groups.values())
    return Table(judged, measure, tasks, held_out, dict(recording), proxies, floors)


def _every(result: ArmResult, results: Sequence[ArmResult]) -> list[ArmResult]:
    """Give a result that no seed changes with every seed there is."""
    seeds = dict.fromkeys(other.arm.seed for other in results)
    return [replace(result, arm=replace(result.arm, seed=seed)) for seed in seeds]


def _floors(
    whole: Sequence[ArmResult], untuned: Sequence[ArmResult], measure: Measure
) -> tuple[str, ...]:
    """Name that by which full and untuned cannot be told apart."""
    if not whole or not untuned:
        return ()
    names = [*(whole[0].scores if measure == "accuracy" else whole[0].losses)]
    differences = {name: _difference(whole, untuned, measure, name) for name in names}
    if len(names) > 1:
        differences["mean"] = _difference(whole, untuned, measure)
    return tuple(
        name
        for name, one in differences.items()
        if one is not None and one.is_known and one.low <= 0 <= one.high
    )


def _of_all(rows: Mapping[str, Sequence[float]]) -> float:
    return float(np.mean([loss for losses in rows.values() for loss in losses]))


def _balanced(rows: Mapping[str, Sequence[float]]) -> float:
    return float(np.mean([np.mean(losses) for losses in rows.values()]))


_BESIDES: Mapping[Measure, Sequence[Measure]] = {"accuracy": ["loss"], "loss": ["all rows"]}
_MEANS_OF = {"all": _of_all, "balanced": _balanced}
"""Means of the losses of held-out rows, by source."""
_MEANS = ("rows", "steps", "tokens", "flops", "seconds", "seconds_selecting")


def _mean(group: Sequence[ArmResult], name: str) -> float:
    return float(np.mean([getattr(result, name) for result in group]))


def _accuracy(group: Sequence[ArmResult], task: str) -> Estimate:
    questions = np.mean([result.scores[task] for result in group], axis=0)
    found = _estimate(questions)
    if not _is_share(group, task):
        return found
    return Estimate(found.mean, found.error, *wilson(found.mean, len(questions)))


def _is_share(group: Sequence[ArmResult], task: str) -> bool:
    """Whether every answer is right or wrong; a summary is neither."""
    return all(score in (0, 1) for result in group for score in result.scores[task])


def _estimate(values: Sequence[float] | np.ndarray) -> Estimate:
    n = len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return Estimate(float(np.mean(values)), error)


def _main(group: Sequence[ArmResult], tasks: Sequence[str], measure: Measure) -> Estimate:
    if measure == "loss":
        return _estimate(
            [float(np.mean([*map(_balanced, result.losses.values())])) for result in group]
        )
    found = [_accuracy(group, task) for task in tasks]
    error = math.sqrt(sum(one.error**2 for one in found)) / len(found)
    mean = float(np.mean([one.mean for one in found]))
    if not all(_is_share(group, task) for task in tasks):
        return Estimate(mean, error)
    # as many questions as a mean over tasks of one size has; fewer where sizes differ
    n = len(tasks) ** 2 / sum(1 / len(group[0].scores[task]) for task in tasks)
    return Estimate(mean, error, *wilson(mean, n))


def _values(result: ArmResult, measure: Measure, only: str | None = None) -> list[np.ndarray]:
    """Give what is compared, of which the mean over rows and then over arrays counts: by task the
    scores (questions,), or by source the losses of held-out data (rows,).
    """
    if measure == "accuracy":
        scores = result.scores
        return [np.array(scores[task], np.float64) for task in scores if only in (task, None)]
    held_out = [rows for name, rows in result.losses.items() if only in (name, None)]
    if measure == "all rows":
        held_out = [{"": [*itertools.chain(*rows.values())]} for rows in held_out]
    strata = [(array, share / len(held_out)) for rows in held_out for array, share in _strata(rows)]
    return [array * (share * len(strata)) for array, share in strata]


def _strata(rows: Mapping[str, Sequence[float]]) -> list[tuple[np.ndarray, float]]:
    """Give the losses of each source and its share of the balanced mean; sources of one row,
    which say nothing of chance alone, are taken together.
    """
    single = [losses[0] for losses in rows.values() if len(losses) == 1]
    strata = [(losses, 1) for losses in rows.values() if len(losses) > 1]
    strata += [(single, len(single))] * bool(single)
    return [(np.array(losses, np.float64), count / len(rows)) for losses, count in strata]


def _difference(
    group: Sequence[ArmResult],
    others: Sequence[ArmResult],
    measure: Measure,
    only: str | None = None,
) -> Difference | None:
    """Compare by pairs of one seed, on all or ``only`` one task; None where there are none."""
    seeds = _seeds(group, others)
    if not seeds:
        return None
    first, second = (_stacked(some, seeds, measure, only) for some in (group, others))
    return Difference.of([a - b for a, b in zip(first, second, strict=True)])


def _seeds(*groups: Sequence[ArmResult]) -> list[int]:
    """Give the seeds with which all groups are there, with all of their proxies."""
    of_all = []
    for group in groups:
        counts = Counter(result.arm.seed for result in group)
        proxies = len({result.arm.proxy_seed for result in group})
        of_all.append([seed for seed, count in counts.items() if count == proxies])
    return [seed for seed in of_all[0] if all(seed in seeds for seeds in of_all)]


def _stacked(
    group: Sequence[ArmResult], seeds: Sequence[int], measure: Measure, only: str | None = None
) -> list[np.ndarray]:
    """Give what is compared of a group, for each task float (proxies, seeds, questions)."""
    of = {(result.arm.proxy_seed, result.arm.seed): result for result in group}
    proxies = dict.fromkeys(proxy for proxy, _ in of)
    runs = [[_values(of[proxy, seed], measure, only) for seed in seeds] for proxy in proxies]
    return [
        np.array([[run[task] for run in row] for row in runs]) for task in range(len(runs[0][0]))
    ]


Groups = Mapping[tuple[str, str, str], Sequence[ArmResult]]


def _multipliers(
    groups: Groups, whole: Sequence[ArmResult], random: str, measure: Measure
) -> dict[tuple[str, str, str], Multiplier]:
    """Compare the subsets of equal epochs with the budgets of random, by seeds that all have."""
    subsets = {
        key: group for key, group in groups.items() if key[0] == "epochs" and key[1] != NOTHING
    }
    curve = [group for (_, _, method), group in subsets.items() if method == random]
    if len(curve) < 2:
        return {}
    curve += [whole] * bool(whole)
    seeds = _seeds(*curve)
    sign = 1 if measure == "accuracy" else -1

    def trained(group: Sequence[ArmResult]) -> Trained:
        scores = [sign * task for task in _stacked(group, seeds, measure)]
        return Trained(_mean(group, "tokens"), scores)

    arms = {
        key: group
        for key, group in subsets.items()
        if key[2] != random and group is not whole
        and set(_seeds(group)).issuperset(seeds)
    }  # fmt: skip
    if not seeds or not arms:
        return {}
    found = multipliers([*map(trained, curve)], [*map(trained, arms.values())])
    return dict(zip(arms, found, strict=True))


def _failed_programs(group: Sequence[ArmResult]) -> dict[str, int]:
    """Count failed programs by kind, the most frequent first."""
    counts: Counter[str] = Counter()
    for result in group:
        for kinds in result.failed_programs.values():
            counts.update(kinds)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _judged(rows: Sequence[Row], measure: Measure) -> Iterator[Row]:
    """Correct the p-values of the differences to random, and to full, and draw the verdicts."""
    corrected = {
        kind: holm([one.p if one else math.nan for one in (getattr(row, kind) for row in rows)])
        for kind in ("to_random", "to_full")
    }
    for place, row in enumerate(rows):
        changes: dict[str, Any] = {
            kind: replace(getattr(row, kind), corrected=ps[place])
            for kind, ps in corrected.items()
            if getattr(row, kind) is not None
        }
        yield replace(row, **changes, verdict=_verdict(changes.get("to_random"), measure))


def _verdict(difference: Difference | None, measure: Measure) -> str:
    if difference is None:
        return ""
    if difference.seeds == 1:
        return "one seed: not known"
    if not difference.corrected < LEVEL:
        return "does not beat random"
    is_better = (difference.mean > 0) == (measure == "accuracy")
    return "beats random" if is_better else "worse than random"


def _break_even(cost: float, saved: float) -> float | None:
    if cost == 0:
        return 0.0
    return cost / saved if saved > 0 else None
