"""What the methods of a comparison on word problems chose: form, rare skills, sources covered.

    python benchmarks/subset_makeup.py RUN --budget 11%

RUN is the folder of an ``s2l run`` on the rows of ``s2l sample-data``. After the methods of
the run come S2L with other settings, on the same losses. Numbers are means over the run's seeds.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from smalltolarge import examples
from smalltolarge.examples import Examples
from smalltolarge.runs.recipe import CompareRecipe
from smalltolarge.runs.results import Run
from smalltolarge.selection import S2L, Budget, Pool
from smalltolarge.wordproblems import RARE

_VARIANTS: tuple[dict[str, Any], ...] = (
    *({"clusters": k} for k in (10, 25, 50, 200)),
    {"standardise": True},
    {"part": "first"},
    {"part": "last"},
    {"every": 4},
    {"inside": "stable"},
)


def main() -> None:
    """Print a line for every method and variant."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--budget", default="11%")
    options = parser.parse_args()
    run = Run.open(options.run)
    recipe = run.recipe
    assert isinstance(recipe, CompareRecipe)
    data = examples.load(list(recipe.data), settings=recipe.reading)
    rows = Budget.parse(options.budget).least_rows(len(data))
    n_sources = len(set(data.sources()))
    print(
        f"| method | programs | rare skills | of {n_sources} sources with a row | with 5 rows |"
        " characters a completion |"
    )
    print("|---|---|---|---|---|---|")
    for name, subsets in _subsets(run, recipe, data, rows):
        found = np.mean([_makeup(data, subset) for subset in subsets], axis=0)
        form, rare, covered, five, long = found.tolist()
        print(f"| {name} | {form:.0%} | {rare:.0%} | {covered:.0f} | {five:.0f} | {long:.0f} |")


def _subsets(
    run: Run, recipe: CompareRecipe, data: Examples, rows: int
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield a name and the rows chosen with every seed."""
    for choice in recipe.choices:
        files = [run.path / f"ranking-{choice.label}-{seed}.parquet" for seed in recipe.seeds]
        ranks = [pq.ParquetFile(file).read(columns=["rank"]) for file in files if file.exists()]
        if ranks:
            yield choice.label, [np.flatnonzero(one["rank"].to_numpy() < rows) for one in ranks]
    pool = Pool.of(data, run.trajectories())
    for settings in _VARIANTS:
        words = ", ".join(f"{name} {value}" for name, value in settings.items())
        chosen = [S2L(**settings).select(pool, rows, seed).indices for seed in recipe.seeds]
        yield f"s2l, {words}", chosen


def _makeup(data: Examples, subset: Sequence[int] | np.ndarray) -> list[float]:
    """Shares of programs and of rare skills, sources with 1 and with 5 rows, mean length."""
    sources = [str(source) for source in data.sources()]
    found = Counter(sources[row] for row in np.asarray(subset).tolist())
    rare = {skill.name for skill in RARE}
    n = len(subset)
    return [
        sum(count for name, count in found.items() if name.startswith("pot/")) / n,
        sum(count for name, count in found.items() if name.partition("/")[2] in rare) / n,
        len(found),
        sum(count >= 5 for count in found.values()),
        float(data.lengths()[subset].mean()),
    ]


if __name__ == "__main__":
    main()
