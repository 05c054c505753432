"""What the arms of a comparison are worth, and what a recording says of it beforehand.

    python benchmarks/what_matters.py RUN... [--budget 11%] [--equal epochs] [--to s2l]

RUN is the folder of an ``s2l run``; several are of one recipe but for their seeds. For every
method two tables have a row: its differences to random and to another method, paired over
questions and seeds, with 95% intervals; and what is known of its subsets and clusters before any
target is trained, means over the seeds. Below the second stands how well the methods' order by
each of these numbers follows that by their score (Spearman).
Beside the accuracy stands the loss of held-out data with every source counting the same; beside
that loss, the loss with every row counting the same.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from smalltolarge import examples, store
from smalltolarge.examples import Examples
from smalltolarge.runs.arms import read_results
from smalltolarge.runs.outcomes import ArmResult, Measure, Row, tabulate
from smalltolarge.runs.paired import Difference
from smalltolarge.runs.recipe import CompareRecipe
from smalltolarge.runs.results import Run
from smalltolarge.selection import Budget
from smalltolarge.selection.diagnostics import (
    adjusted_rand,
    cramers_v,
    effective,
    eta_squared,
    number,
    spearman,
)
from smalltolarge.wordproblems import FREQUENT, RARE

_KNOWN = (
    *("effective sources", "sources with 5 rows", "programs", "length"),
    *("V", "eta squared", "alike"),
)
_SKILLS = {"frequent-skills": FREQUENT, "rare-skills": RARE}
"""Of the tasks of ``s2l sample-data`` that ask for a part of its skills."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--budget", default="11%")
    parser.add_argument("--equal", default="epochs", choices=("epochs", "steps"))
    parser.add_argument("--to", default="s2l", help="the method that all are compared with")
    given = parser.parse_args()
    runs = [Run.open(run) for run in given.runs]
    recipe = _recipe_of(runs[0])
    results = [result for run in runs for result in read_results(run)]
    proxies = dict.fromkeys((choice.label for choice in recipe.choices), None)

    def rows(against: str) -> dict[str, Row]:
        table = tabulate(results, proxies, {}, random=against)
        kept = [row for row in table.of(given.equal) if row.budget in (given.budget, "100%")]
        return {row.method: row for row in kept}

    to_random, to_other = rows("random"), rows(given.to)
    is_accuracy = bool(next(iter(to_random.values())).accuracies)
    print(_worth(to_random, to_other, given.to, is_accuracy=is_accuracy))
    data = examples.load(list(recipe.data), settings=recipe.reading)
    print(_foreseen(runs, recipe, data, given.budget, to_random, is_accuracy=is_accuracy))
    gains = [gain for run in runs for gain in _gains(run, data, given.budget, given.equal)]
    if gains:
        print(_followed(gains))


def _recipe_of(run: Run) -> CompareRecipe:
    recipe = run.recipe
    assert isinstance(recipe, CompareRecipe)
    return recipe


def _weighted(recipe: CompareRecipe) -> set[str]:
    return {choice.label for choice in recipe.choices if choice.weighted}


def _worth(
    to_random: dict[str, Row], to_other: dict[str, Row], other: str, *, is_accuracy: bool
) -> str:
    scale, digits = (100, 1) if is_accuracy else (1, 4)
    headings = ["method", "accuracy" if is_accuracy else "loss", "to random", "p", f"to {other}"]
    beside: Measure = "loss" if is_accuracy else "all rows"
    kind = "(balanced)" if is_accuracy else "(all)"
    has_losses = any(row.losses for row in to_random.values())
    if has_losses:
        headings += [beside, f"{beside} to random", f"{beside} to {other}"]
    lines = []
    for row in sorted(to_random.values(), key=lambda row: row.main.mean, reverse=is_accuracy):
        against = to_other[row.method]
        p = "" if row.to_random is None else f"{row.to_random.corrected:.3f}"
        cells = [row.method, f"{row.main.mean * scale:.{digits}f}"]
        cells += [_told(row.to_random, scale, digits), p, _told(against.to_random, scale, digits)]
        if has_losses:
            means = [one.mean for name, one in row.losses.items() if kind in name]
            cells += [f"{np.mean(means):.3f}", _told(row.besides.get(beside), 1, 3)]
            cells.append(_told(against.besides.get(beside), 1, 3))
        lines.append(cells)
    return _table(headings, lines)


def _told(one: Difference | None, scale: float, digits: int) -> str:
    if one is None:
        return ""
    mean, low, high = (f"{x * scale:+.{digits}f}" for x in (one.mean, one.low, one.high))
    return f"{mean} [{low}, {high}]" if one.is_known else mean


def _foreseen(
    runs: Sequence[Run],
    recipe: CompareRecipe,
    data: Examples,
    budget: str,
    scored: dict[str, Row],
    *,
    is_accuracy: bool,
) -> str:
    n = Budget.parse(budget).least_rows(len(data))
    known: dict[str, list[float]] = {}
    for choice in recipe.choices:
        files = [
            run.path / f"ranking-{choice.label}-{seed}.parquet"
            for run in runs
            for seed in _recipe_of(run).seeds
        ]
        rankings = [store.read_parquet(file) for file in files if file.exists()]
        if rankings and choice.label in scored:
            known[choice.label] = _known(data, rankings, n)
    lines = [
        [name, *("" if np.isnan(value) else f"{value:.2f}" for value in values)]
        for name, values in known.items()
    ]
    sign = 1 if is_accuracy else -1
    weighted = _weighted(recipe)
    order = []
    for column in range(len(_KNOWN)):
        pairs = [
            (values[column], sign * scored[name].main.mean)
            for name, values in known.items()
            if not np.isnan(values[column]) and name not in weighted
        ]
        found = spearman(*np.array(pairs).T) if len(pairs) > 2 else None
        order.append("" if found is None else f"{found:+.2f} of {len(pairs)}")
    return _table(["method", *_KNOWN], [*lines, ["order by score", *order]])


def _known(data: Examples, rankings: Sequence[pa.Table], n: int) -> list[float]:
    """Give the numbers of ``_KNOWN``: of the first n rows of each ranking, and of its clusters."""
    sources, lengths = [str(source) for source in data.sources()], data.lengths()
    numbered, log_lengths = number(sources), np.log(np.maximum(lengths, 1))
    is_program = np.array([source.casefold().startswith("pot/") for source in sources])
    every = []
    for table in rankings:
        chosen = np.flatnonzero(table["rank"].to_numpy() < n)
        found = [
            effective(numbered[chosen]),
            float((np.bincount(numbered[chosen]) >= 5).sum()),
            float(is_program[chosen].sum()),
            float(lengths[chosen].mean()),
            *[np.nan] * 2,
        ]
        if "cluster" in table.column_names:
            labels = table["cluster"].to_numpy()
            found[4:] = [_or_nan(cramers_v(labels, numbered))]
            found.append(_or_nan(eta_squared(labels, log_lengths)))
        every.append(found)
    clustered = [one["cluster"].to_numpy() for one in rankings if "cluster" in one.column_names]
    alike = [adjusted_rand(a, b) for a, b in combinations(clustered, 2)]
    return [*np.mean(every, axis=0).tolist(), float(np.mean(alike)) if alike else np.nan]


class _Gain(NamedTuple):
    """What a subset has more of a part of the data than random's, and scores better there."""

    method: str
    measure: str
    more: float
    """Logarithm of the ratio of rows."""
    better: float


def _gains(run: Run, data: Examples, budget: str, equal: str) -> list[_Gain]:
    """Set every method beside random of its seed, part by part.

    Parts are sources, by the loss of held-out data or of worked solutions of their skill, and the
    programs of frequent and of rare skills, by the share of right answers.
    """
    weighted = _weighted(_recipe_of(run))
    sources = [str(source) for source in data.sources()]
    n = Budget.parse(budget).least_rows(len(data))
    found: dict[tuple[str, int], dict[tuple[str, str], tuple[float, float]]] = {}
    for result in read_results(run):
        arm = result.arm
        if (arm.budget, arm.equal) != (budget, equal) or arm.method in weighted:
            continue
        ranks = store.read_parquet(run.path / f"ranking-{arm.method}-{arm.seed}.parquet")["rank"]
        rows = Counter(sources[row] for row in np.flatnonzero(ranks.to_numpy() < n).tolist())
        here = found.setdefault((arm.method, arm.seed), {})
        for source, losses in _by_source(result, set(sources)).items():
            here["loss", source] = float(rows[source]), -float(np.mean(losses))
        for task in _SKILLS.keys() & result.scores.keys():
            of_task = sum(rows[f"pot/{skill.name}"] for skill in _SKILLS[task])
            here["accuracy", task] = float(of_task), float(np.mean(result.scores[task]))
    return [
        _Gain(method, measure, np.log((rows + 0.5) / (of_random + 0.5)), score - by_random)
        for (method, seed), here in found.items()
        if method != "random" and (there := found.get(("random", seed)))
        for (measure, part), (rows, score) in here.items()
        for of_random, by_random in [there[measure, part]]
    ]


def _by_source(result: ArmResult, sources: Set[str]) -> dict[str, list[float]]:
    """Gather losses by the source of the data that they belong to.

    The worked solutions of ``s2l sample-data`` go by their skill alone, and are in words.
    """
    found: dict[str, list[float]] = {}
    for by_name in result.losses.values():
        for name, losses in by_name.items():
            for source in {name, f"cot/{name}"} & sources:
                found.setdefault(source, []).extend(losses)
    return found


def _followed(gains: Sequence[_Gain]) -> str:
    measures = list(dict.fromkeys(gain.measure for gain in gains))
    lines = []
    for method in (*dict.fromkeys(gain.method for gain in gains), "all"):
        cells = [method]
        for measure in measures:
            some = [
                (gain.more, gain.better)
                for gain in gains
                if gain.measure == measure and method in (gain.method, "all")
            ]
            found = spearman(*np.array(some).T)
            cells += [str(len(some)), "" if found is None else f"{found:+.2f}"]
        lines.append(cells)
    headings = [words for name in measures for words in ("parts x seeds", f"{name} follows rows")]
    return _table(["method", *headings], lines)


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(headings) - 1)]
    lines = (f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
