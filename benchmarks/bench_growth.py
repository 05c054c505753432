"""What a recording costs: rates by model size and length, and what follows for data of one's own.

    python benchmarks/bench_growth.py [--models 0.5m 9m 70m] [--lengths 64 128 256 512]

Scoring and training are timed on rows of one length; seconds are fitted as a power of the length
and of the weights. The cost is linear in the number of rows and, for scoring, of checkpoints,
since both only repeat units; two sizes of data show it.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch
import workload
from bench_score import score

from smalltolarge.lm import models
from smalltolarge.lm.device import find_device, fixed, uses_bfloat16
from smalltolarge.lm.recording import find_losses
from smalltolarge.lm.training import Training


def measure(
    model: str, n: int, length: float | None, repeats: int, device: torch.device
) -> tuple[float, float, float, float]:
    """Give FLOPs and seconds of one scoring and of the training on the same rows, per token."""
    prepared = workload.rows(n, model, length, batch_size=32, device=str(device))
    built = models.load(prepared.model, 0).to(device)
    losses = find_losses(prepared, built, device, uses_bfloat16("auto", device))
    built.eval()
    scoring = workload.timed(lambda: score(prepared, losses, device), repeats, device)
    training = Training(prepared, losses, device)
    steps = min(prepared.order.steps_per_epoch, 2 + repeats * 2)
    training.advance()
    began, tokens = time.perf_counter(), 0
    while training.step < steps:
        tokens += int(prepared.order.lengths[training.batch(training.step)].sum())
        training.advance()
    if device.type == "cuda":
        torch.cuda.synchronize()
    spent = (time.perf_counter() - began) / tokens
    flops = prepared.plan.scoring_flops / prepared.plan.scoring_tokens
    return flops, statistics.median(scoring) / prepared.plan.tokens, spent, prepared.plan.parameters


def main() -> None:
    """Print the table and the fits."""
    given = workload.arguments(
        __doc__, models=["0.1m", "0.5m", "2m", "9m", "70m"], lengths=[64, 128, 256, 512]
    )
    device = find_device(given.device)
    threads = given.threads[-1]
    found = []
    with fixed(threads, device):
        limit = workload.peak_flops(device)
        print(f"{workload.machine(device, threads)}; limit {limit / 1e9:.0f} GFLOP/s")
        print(f"{'model':>6} {'length':>6} {'rows':>6} {'scoring':>18} {'training':>18}")
        for model in given.models:
            tokens = {"70m": 16_000, "9m": 64_000, "410m": 4_000}.get(model, 250_000)
            for length in [None, *given.lengths]:
                for n in (1, 2) if length is None else (1,):
                    rows = max(int(n * tokens / (length or 150)), 64)
                    flops, scoring, training, weights = measure(
                        model, rows, length, 1 if given.quick else 3, device
                    )
                    if length is not None:
                        found.append((weights, length, scoring, training))
                    print(
                        f"{model:>6} {length or 'mixed':>6} {rows:>6,} "
                        f"{1 / scoring:>9,.0f}/s {flops / scoring / limit:>6.1%} "
                        f"{1 / training:>9,.0f}/s {3 * flops / training / limit:>6.1%}",
                        flush=True,
                    )
    logs = np.log(np.array(found))
    terms = np.column_stack([np.ones(len(logs)), logs[:, :2]])
    print("tokens/s and share of the limit; seconds a token grow as weights^a x length^b:")
    for name, seconds in (("scoring", logs[:, 2]), ("training", logs[:, 3])):
        (_, a, b), *_ = np.linalg.lstsq(terms, seconds, rcond=None)
        print(f"  {name:<8} a = {a:.2f}, b = {b:.2f}")


if __name__ == "__main__":
    main()
