"""Score examples: ours against one at a time, on the same rows, in turn.

    python benchmarks/bench_score.py [--models 70m 1m] [--rows N] [--threads 1 2] [--repeats R]
                                     [--units 512 1024 4096]

One at a time is the way of the method's first implementation: transformers' own loss of a single
example, float32, with logits at every position. Ours is timed in float32 and in bfloat16, with
units of so many tokens (by default the usual ones). FLOPs are those that the losses need
(``Shape.forward_flops``), the same for all; the limits are the fastest matrix products measured
here in each precision. A name such as smollm2-135m stands for a real model with its own tokens.
"""

from __future__ import annotations

import statistics
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import workload

from smalltolarge.lm import models
from smalltolarge.lm.device import find_device, fixed
from smalltolarge.lm.fast.units import Unit
from smalltolarge.lm.losses import Losses
from smalltolarge.lm.recording import find_losses
from smalltolarge.lm.scoring import Collected
from smalltolarge.lm.tokens import Prepared


def score(prepared: Prepared, losses: Losses, device: torch.device) -> np.ndarray:
    """Score all rows once, as a recording does."""
    collected = Collected(prepared.n_tokens)
    with losses.scoring():
        for rows in prepared.order.scoring_units():
            unit = Unit.of(prepared, rows, device)
            collected.add([(rows, losses(unit).each)])
    return collected.fetched()


def compare(model: str, n: int, threads: int, device: torch.device, given: Namespace) -> None:
    """Print one line a way, and the ratio."""
    prepared = workload.rows(n, model, device=str(device))
    plain = models.load(prepared.model, 0).to(device)
    ways: dict[str, Callable[[], np.ndarray]] = {
        "one at a time": partial(workload.one_at_a_time, plain, prepared)
    }
    limits = {"one at a time": workload.peak_flops(device, torch.float32)}
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        fast = models.load(prepared.model, 0).to(device)
        losses = find_losses(prepared, fast, device, dtype == torch.bfloat16)
        limit = workload.peak_flops(device, dtype)
        for unit in [unit for unit in given.units if unit] or [prepared.order.unit_tokens]:
            name = f"ours, {precision}, units of {unit:,}"
            cut = replace(prepared, order=replace(prepared.order, unit_tokens=unit))
            ways[name], limits[name] = partial(score, cut, losses, device), limit
    found = {name: work() for name, work in ways.items()}
    seconds = workload.alternating(ways, 1 if given.quick else given.repeats, device)
    flops = prepared.plan.scoring_flops / len(prepared.plan.checkpoints)
    print(
        f"\n{model}: {prepared.plan.parameters:,} weights; {n:,} rows, {prepared.plan.tokens:,} "
        f"tokens; {workload.machine(device, threads)}"
    )
    slowest = statistics.median(seconds["one at a time"])
    for name, spent in seconds.items():
        median = statistics.median(spent)
        moved = np.abs(found[name] - found["one at a time"])
        print(
            f"  {name:<30} {workload.spread(spent)}  {prepared.plan.tokens / median:7,.0f} tokens/s"
            f"  {flops / median / limits[name]:6.1%} of {limits[name] / 1e9:,.0f} GFLOP/s  ratio "
            f"{slowest / median:5.2f}  losses differ by {moved.mean():.1e}, at most "
            f"{moved.max():.1e}",
            flush=True,
        )


def main() -> None:
    """Compare for every model and number of threads."""
    given = workload.arguments(__doc__, models=["70m", "1m"], rows=0, units=[0])
    device = find_device(given.device)
    for model in given.models:
        n = given.rows or (128 if workload.is_large(model) else 2000) // (4 if given.quick else 1)
        for threads in given.threads[-1 if given.quick else 0 :] if device.type == "cpu" else [1]:
            with fixed(threads, device):
                compare(model, n, threads, device, given)


if __name__ == "__main__":
    main()
