"""What came of a comparison: the result of every arm, and the table over all of them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from smalltolarge.errors import IntegrityError
from smalltolarge.selection.diagnostics import finite

_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Quantile 0.975 of Student's t for 1 to 30 degrees of freedom; beyond, the normal one is taken."""
_NORMAL = 1.960
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Arm:
    """One target of a comparison: how its data was chosen, and how it was trained."""

    method: str
    """Label of the method."""
    budget: str
    seed: int
    equal: str
    """"epochs" or "steps": what it has in common with the others."""

    @property
    def name(self) -> str:
        """A name for its files."""
        budget = re.sub(r"[^A-Za-z0-9.]", "", self.budget.replace("%", "pct"))
        return f"{self.method}-{budget}-{self.equal}-{self.seed}"

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
    losses: Mapping[str, Mapping[str, float]]
    """By held-out data: mean loss of each source, and "(all)" and "(balanced)" over them."""
    failed_programs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By task: questions whose program gave no answer, by the kind of failure."""
    measures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By task: other measures."""

    def to_plain(self) -> dict[str, Any]:
        """Give JSON-like data."""
        return asdict(self)

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
class Difference:
    """A mean difference over seeds, and its 95% interval (Student's t, pairs of one seed)."""

    mean: float
    low: float
    high: float
    seeds: int

    @classmethod
    def of(cls, differences: Sequence[float]) -> Difference:
        """Take one difference for each seed."""
        n = len(differences)
        mean = float(np.mean(differences))
        if n < 2:
            return cls(mean, -math.inf, math.inf, n)
        half = _t(n - 1) * float(np.std(differences, ddof=1)) / math.sqrt(n)
        return cls(mean, mean - half, mean + half, n)

    def over_questions(self, error: float) -> Difference:
        """Give it the interval over the questions, for seeds that differ alike: they say nothing.

        ``error`` is the standard error over the questions. A point at 0: no question differs.
        """
        if abs(self.mean) <= _ROUNDING and not error > 0:  # nan for one question
            return replace(self, mean=0.0, low=0.0, high=0.0)
        half = _NORMAL * error if error > 0 else math.inf
        return replace(self, low=self.mean - half, high=self.mean + half)


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
    """By held-out data, "(all)" and "(balanced)"; standard errors over the seeds."""
    main: Estimate
    """What methods are compared by: the mean accuracy of the tasks, or the balanced loss."""
    to_random: Difference | None
    to_full: Difference | None
    verdict: str
    """Against random of the same budget."""
    failed_programs: Mapping[str, int]
    """Programs that gave no answer, of all tasks and seeds, by the kind of failure."""
    break_even: float | None
    """Target trainings after which the FLOPs saved have paid for the proxy; None: never."""
    break_even_seconds: float | None
    """The same in seconds."""


@dataclass(frozen=True)
class Table:
    """All rows, and what the proxy cost."""

    rows: tuple[Row, ...]
    measure: Literal["accuracy", "loss"]
    tasks: tuple[str, ...]
    held_out: tuple[str, ...]
    recording: Mapping[str, float]
    """flops and seconds of recording; empty where no proxy was trained."""

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
    needs_proxy: Mapping[str, bool],
    recording: Mapping[str, float],
    full: str = "full",
) -> Table:
    """Put the results of arms together: one row for each method, budget and kind of equality.

    Parameters
    ----------
    needs_proxy : by label, whether the method needs a trained proxy
    recording : flops and seconds of the proxy
    full : the label of training on everything
    """
    tasks = tuple(results[0].scores)
    held_out = tuple(results[0].losses)
    measure: Literal["accuracy", "loss"] = "accuracy" if tasks else "loss"
    groups: dict[tuple[str, str, str], list[ArmResult]] = {}
    for result in results:
        arm = result.arm
        groups.setdefault((arm.equal, arm.budget, arm.method), []).append(result)
    rows = []
    for (equal, budget, method), group in groups.items():
        random = groups.get((equal, budget, "random"), [])
        whole = next((g for (e, _, m), g in groups.items() if (e, m) == (equal, full)), [])
        to_random = _difference(group, random, measure) if method != "random" else None
        saved = {
            kind: float(np.mean([getattr(r, kind) for r in whole]))
            - float(np.mean([getattr(r, kind) for r in group]))
            for kind in ("flops", "seconds")
            if whole
        }
        costs = recording if needs_proxy.get(method) else {}
        rows.append(
            Row(
                method=method,
                budget=budget,
                equal=equal,
                seeds=len(group),
                **{name: _mean(group, name) for name in _MEANS},
                accuracies={task: _accuracy(group, task) for task in tasks},
                losses={
                    f"{name} {kind}": _estimate([r.losses[name][kind] for r in group])
                    for name in held_out
                    for kind in ("(all)", "(balanced)")
                },
                main=_main(group, tasks, measure),
                to_random=to_random,
                to_full=_difference(group, whole, measure) if method != full else None,
                verdict=_verdict(to_random, measure),
                failed_programs=_failed_programs(group),
                break_even=_break_even(costs.get("flops", 0.0), saved.get("flops", 0.0)),
                break_even_seconds=_break_even(
                    costs.get("seconds", 0.0), saved.get("seconds", 0.0)
                ),
            )
        )
    return Table(tuple(rows), measure, tasks, held_out, dict(recording))


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


def _main(
    group: Sequence[ArmResult], tasks: Sequence[str], measure: Literal["accuracy", "loss"]
) -> Estimate:
    if measure == "loss":
        return _estimate([_measured(result, measure) for result in group])
    found = [_accuracy(group, task) for task in tasks]
    error = math.sqrt(sum(one.error**2 for one in found)) / len(found)
    mean = float(np.mean([one.mean for one in found]))
    if not all(_is_share(group, task) for task in tasks):
        return Estimate(mean, error)
    # as many questions as a mean over tasks of one size has; fewer where sizes differ
    n = len(tasks) ** 2 / sum(1 / len(group[0].scores[task]) for task in tasks)
    return Estimate(mean, error, *wilson(mean, n))


def _measured(result: ArmResult, measure: Literal["accuracy", "loss"]) -> float:
    if measure == "accuracy":
        return float(np.mean([np.mean(scores) for scores in result.scores.values()]))
    return float(np.mean([losses["(balanced)"] for losses in result.losses.values()]))


def _difference(
    group: Sequence[ArmResult], others: Sequence[ArmResult], measure: Literal["accuracy", "loss"]
) -> Difference | None:
    """Compare by pairs of one seed; None where there are none."""
    there = {result.arm.seed: result for result in others}
    pairs = [(one, there[one.arm.seed]) for one in group if one.arm.seed in there]
    if not pairs:
        return None
    found = Difference.of([_measured(a, measure) - _measured(b, measure) for a, b in pairs])
    if found.high - found.low > _ROUNDING or measure == "loss":
        return found
    errors = [
        _estimate(np.mean([np.subtract(a.scores[task], b.scores[task]) for a, b in pairs], 0)).error
        for task in group[0].scores
    ]
    return found.over_questions(math.sqrt(sum(one**2 for one in errors)) / len(errors))


def _failed_programs(group: Sequence[ArmResult]) -> dict[str, int]:
    """Count failed programs by kind, the most frequent first."""
    counts: Counter[str] = Counter()
    for result in group:
        for kinds in result.failed_programs.values():
            counts.update(kinds)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _verdict(difference: Difference | None, measure: Literal["accuracy", "loss"]) -> str:
    if difference is None:
        return ""
    low, high = difference.low, difference.high
    if measure == "loss":
        low, high = -high, -low
    if low > 0:
        return "beats random"
    if high < 0:
        return "worse than random"
    return "does not beat random" if difference.seeds > 1 else "one seed: not known"


def _break_even(cost: float, saved: float) -> float | None:
    if cost == 0:
        return 0.0
    return cost / saved if saved > 0 else None


def _t(freedom: int) -> float:
    return _T[freedom - 1] if freedom <= len(_T) else _NORMAL
