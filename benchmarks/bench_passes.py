"""Recordings that cost less: how much of the subset stays the same?

    python benchmarks/bench_passes.py [--rows N] [--data FILE] [--budget 11%] [--proxy scratch-0.5m]
                                      [--epochs 3] [--checkpoints 12] [--ways "1 epoch" ...]

Every way is compared with the full recording (12 even checkpoints, float32): the share of the
subset's rows that are chosen too, the adjusted Rand index of the clusters, the seconds, and how far
losses at the same steps are from each other. The first lines say what chance leaves: the same
losses clustered and drawn with another seed, and the losses of a proxy trained from another seed;
the last line, what random rows have in common.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import workload
from sklearn.metrics import adjusted_rand_score

from smalltolarge import load, wordproblems
from smalltolarge.examples import Examples
from smalltolarge.lm import prepare, record
from smalltolarge.selection import S2L, Pool, Selection
from smalltolarge.settings import ProxySettings
from smalltolarge.trajectories import Trajectories

CHEAPER: dict[str, dict[str, Any]] = {
    "another proxy seed": {},
    "bfloat16": {"precision": "bfloat16"},
    "6 checkpoints": {"checkpoints": 6},
    "4 checkpoints": {"checkpoints": 4},
    "6 early checkpoints": {"checkpoints": 6, "schedule": "early"},
    "12 early checkpoints": {"schedule": "early"},
    "free": {"losses": "free"},
    "1 epoch": {"epochs": 1.0},
    "scratch-0.1m": {"proxy": "scratch-0.1m"},
    "scratch-0.1m, free": {"proxy": "scratch-0.1m", "losses": "free"},
}


def recorded(examples: Examples, seed: int, settings: dict[str, Any]) -> tuple[Any, float]:
    """Record; give the trajectories and the seconds of training and scoring."""
    prepared = prepare(examples, ProxySettings(**settings), seed)
    found = record(prepared)
    spent = found.facts["seconds_training"] + found.facts["seconds_scoring"]
    return found.trajectories, spent


def chosen(trajectories: Trajectories, budget: str, seed: int = 0) -> Selection:
    """Select by the method's defaults."""
    pool = Pool(ids=trajectories.ids, trajectories=trajectories)
    return S2L().select(pool, budget, seed)


def main() -> None:
    """Print one line a setting."""
    given = workload.arguments(
        __doc__,
        rows=4000,
        data="",
        budget="11%",
        proxy="scratch-0.5m",
        epochs=3.0,
        checkpoints=12,
        ways=list(CHEAPER),
    )
    usual = {
        "threads": given.threads[-1],
        "precision": "float32",
        "proxy": given.proxy,
        "epochs": given.epochs,
        "checkpoints": given.checkpoints,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(given.data or Path(folder) / "data.jsonl")
        if not given.data:
            rows = wordproblems.training_rows(given.rows // (4 if given.quick else 1), seed=0)
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        examples = load(file)
    full, seconds = recorded(examples, 0, usual)
    reference = chosen(full, given.budget)
    print(
        f"{len(full):,} rows of {file.name}, budget {given.budget}: {len(reference):,}; "
        f"{workload.machine(torch.device('cpu'), given.threads[-1])}"
    )
    print(f"{'':<26} {'t':>3} {'seconds':>8} {'ratio':>6} {'overlap':>8} {'ARI':>6}  losses")

    def show(name: str, other: Trajectories, spent: float, selection: Selection) -> None:
        common = np.isin(other.ids[selection.indices], full.ids[reference.indices]).mean()
        aligned = np.argsort(np.argsort(full.ids)), np.argsort(other.ids)
        labels = np.zeros(len(other)) if selection.labels is None else selection.labels
        same = adjusted_rand_score(reference.labels, labels[aligned[1]][aligned[0]])
        _, ours, theirs = np.intersect1d(full.steps, other.steps, return_indices=True)
        moved = np.abs(
            full.losses[np.argsort(full.ids)][:, ours] - other.losses[aligned[1]][:, theirs]
        )
        print(
            f"{name:<26} {len(other.steps):>3} {spent:>8.1f} {seconds / max(spent, 1e-9):>6.2f} "
            f"{common:>8.1%} {same:>6.2f}  {moved.mean():.1e}, at most {moved.max():.1e}",
            flush=True,
        )

    show("full", full, seconds, reference)
    clusters = chosen(replace(full), given.budget, 1)
    show("another selection seed", full, seconds, clusters)
    for name in given.ways:
        settings = CHEAPER[name]
        seed = 1 if name == "another proxy seed" else 0
        other, spent = recorded(examples, seed, usual | settings)
        show(name, other, spent, chosen(other, given.budget))
    print(f"{'random rows':<26} {'':>3} {'':>8} {'':>6} {len(reference) / len(full):>8.1%}")


if __name__ == "__main__":
    main()
