"""Score examples: ours against one at a time, on the same rows, in turn.

    python benchmarks/bench_score.py [--models 70m 1m] [--rows N] [--threads 1 2] [--repeats R]

One at a time is the way of the method's first implementation: transformers' own loss of a single
example, float32, with logits at every position. FLOPs are those that the losses need
(``Shape.forward_flops``), the same for both; the limit is the fastest matrix product measured here.
"""

from __future__ import annotations

import statistics

import numpy as np
import torch
import workload

from smalltolarge.lm import models
from smalltolarge.lm.device import find_device, fixed, uses_bfloat16
from smalltolarge.lm.recording import find_losses
from smalltolarge.lm.scoring import Collected
from smalltolarge.lm.tokens import Prepared
from smalltolarge.lm.units import Unit


def score(prepared: Prepared, losses: object, device: torch.device) -> np.ndarray:
    """Score all rows once, as a recording does."""
    collected = Collected(prepared.n_tokens)
    with torch.inference_mode():
        for rows in prepared.order.scoring_units():
            unit = Unit.of(prepared, rows, device)
            collected.add([(rows, losses(unit).each)])  # type: ignore[operator]
    return collected.fetched()


def compare(model: str, n: int, threads: int, repeats: int, device: torch.device) -> None:
    """Print one line a way, and the ratio."""
    bfloat16 = uses_bfloat16("auto", device)
    prepared = workload.rows(n, model, device=str(device))
    plain = models.load(prepared.model, 0).to(device)
    fast = models.load(prepared.model, 0).to(device)
    losses = find_losses(prepared, fast, device, bfloat16)
    flops = prepared.plan.scoring_flops / len(prepared.plan.checkpoints)
    limit = workload.peak_flops(device)
    fast.eval()
    theirs, ours = workload.one_at_a_time(plain, prepared), score(prepared, losses, device)
    seconds = workload.alternating(
        {
            "one at a time": lambda: workload.one_at_a_time(plain, prepared),
            "ours": lambda: score(prepared, losses, device),
        },
        repeats,
        device,
    )
    print(
        f"\n{model}: {prepared.plan.parameters:,} weights; {n:,} rows, {prepared.plan.tokens:,} "
        f"tokens; {workload.machine(device, threads)}"
    )
    print(f"  limit          {limit / 1e9:8.0f} GFLOP/s (fastest matrix product)")
    for name, found in seconds.items():
        rate = flops / statistics.median(found)
        print(
            f"  {name:<14} {workload.spread(found)}  {rate / 1e9:6.0f} GFLOP/s  "
            f"{rate / limit:6.1%} of the limit"
        )
    ratio = statistics.median(seconds["one at a time"]) / statistics.median(seconds["ours"])
    print(
        f"  ratio          {ratio:8.2f}   largest difference of a loss "
        f"{np.abs(theirs - ours).max():.1e}",
        flush=True,
    )


def main() -> None:
    """Compare for every model and number of threads."""
    given = workload.arguments(__doc__, models=["70m", "1m"], rows=0)
    device = find_device(given.device)
    for model in given.models:
        n = given.rows or (128 if model in ("70m", "410m") else 2000) // (4 if given.quick else 1)
        for threads in given.threads[-1 if given.quick else 0 :] if device.type == "cpu" else [1]:
            with fixed(threads, device):
                compare(model, n, threads, 1 if given.quick else given.repeats, device)


if __name__ == "__main__":
    main()
