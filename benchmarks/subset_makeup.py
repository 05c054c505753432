"""What the methods of a comparison on word problems chose: form, rare skills, sources covered.

    python benchmarks/subset_makeup.py RUN --budget 11%

RUN is the folder of an ``s2l run`` on the training rows of ``s2l sample-data``; numbers are means
over its seeds.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from smalltolarge import examples
from smalltolarge.recipe import CompareRecipe
from smalltolarge.results import Run
from smalltolarge.selection import Budget
from smalltolarge.wordproblems import RARE


def main() -> None:
    """Print a line for every method."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--budget", default="11%")
    options = parser.parse_args()
    run = Run.open(options.run)
    recipe = run.recipe
    assert isinstance(recipe, CompareRecipe)
    data = examples.load(list(recipe.data), settings=recipe.reading)
    names = data.ids.astype(str).tolist()
    source = dict(zip(names, map(str, data.sources()), strict=True))
    lengths = dict(zip(names, data.lengths().tolist(), strict=True))
    rare = {skill.name for skill in RARE}
    n_sources = len(set(source.values()))
    print(
        f"| method | programs | rare skills | of {n_sources} sources with a row | with 5 rows |"
        " fewest to most of a skill as programs | characters a completion |"
    )
    print("|---|---|---|---|---|---|---|")
    for choice in recipe.choices:
        lines = []
        for seed in recipe.seeds:
            file = run.path / f"ranking-{choice.label}-{seed}.parquet"
            if not file.exists():
                continue
            table = pq.ParquetFile(file).read(columns=["id", "rank"]).to_pydict()
            rows = Budget.parse(options.budget).least_rows(len(table["id"]))
            chosen = [name for name, rank in zip(*table.values(), strict=True) if rank < rows]
            found = Counter(source[name] for name in chosen)
            programs = [found[f"pot/{name}"] for name in {s.partition("/")[2] for s in found}]
            lines.append(
                [
                    sum(count for name, count in found.items() if name.startswith("pot/")) / rows,
                    sum(c for name, c in found.items() if name.partition("/")[2] in rare) / rows,
                    len(found),
                    sum(count >= 5 for count in found.values()),
                    min(programs),
                    max(programs),
                    float(np.mean([lengths[name] for name in chosen])),
                ]
            )
        if lines:
            form, few, covered, five, least, most, long = np.mean(lines, axis=0)
            print(
                f"| {choice.label} | {form:.0%} | {few:.0%} | {covered:.0f} | {five:.0f} | "
                f"{least:.0f} to {most:.0f} | {long:.0f} |"
            )


if __name__ == "__main__":
    main()
