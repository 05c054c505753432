"""Record in two processes against one: the speed-up, and what the same bits cost.

    python benchmarks/bench_processes.py [--models 0.5m 9m] [--rows N] [--repeats R]
                                         [--units 512] [--batch B] [--quick]

Every process has one thread. Two processes do, in turn: train in one alone, gradients added in
order and by the tree that gives 1, 2, 4 and 8 processes the same bits; train in both, by that tree
and by an all-reduce; score in one, and in both. Medians over the repeats; tokens are real ones,
without padding.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from argparse import Namespace
from collections.abc import Callable
from copy import copy

import torch
import torch.multiprocessing
import workload
from torch.distributed import TCPStore

from smalltolarge.lm import World, joined, models
from smalltolarge.lm.device import fixed
from smalltolarge.lm.recording import find_losses
from smalltolarge.lm.scoring import score
from smalltolarge.lm.tokens import Prepared
from smalltolarge.lm.training import Training

CPU = torch.device("cpu")


def trained(prepared: Prepared, steps: int, world: World) -> float:
    """Train so many steps, after one that is not timed; give tokens a second."""
    losses = find_losses(prepared, models.load(prepared.model, 0), CPU, False)
    training = Training(prepared, losses, CPU, world)
    training.advance()
    began, tokens = time.perf_counter(), 0
    for _ in range(steps):
        tokens += int(prepared.order.lengths[training.batch(training.step)].sum())
        training.advance()
    return tokens / (time.perf_counter() - began)


def scored(prepared: Prepared, world: World) -> float:
    """Score all rows; give tokens a second."""
    losses = find_losses(prepared, models.load(prepared.model, 0), CPU, False)
    began = time.perf_counter()
    score(prepared, losses, CPU, world=world)
    return float(prepared.order.lengths.sum()) / (time.perf_counter() - began)


def inexact(world: World) -> World:
    """Give the world in which gradients are added in order, and over processes by an all-reduce."""
    world = copy(world)
    world.is_exact = False
    return world


def compare(world: World, given: Namespace, model: str) -> None:
    """Print one line a way; the ways of one process are those of rank 0."""
    prepared = workload.rows(
        given.rows, model, batch_size=given.batch, learning_rate=2e-5, unit_tokens=given.units
    )
    alone, both = inexact(World()), inexact(world)
    steps = prepared.order.steps_per_epoch - 1
    ways: dict[str, tuple[bool, Callable[[], float]]] = {
        "training, 1 process, in order": (True, lambda: trained(prepared, steps, alone)),
        "training, 1 process, by the tree": (True, lambda: trained(prepared, steps, World())),
        "training, 2 processes, by the tree": (False, lambda: trained(prepared, steps, world)),
        "training, 2 processes, all-reduce": (False, lambda: trained(prepared, steps, both)),
        "scoring, 1 process": (True, lambda: scored(prepared, World())),
        "scoring, 2 processes": (False, lambda: scored(prepared, world)),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[str, int] = {}
    for _ in range(given.repeats):
        for name, (is_alone, run) in ways.items():
            world.gather(None)
            if world.rank == 0 or not is_alone:
                rates[name].append(run())
            peaks.setdefault(name, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    if world.rank:
        return
    units = prepared.order.units_of_a_batch()
    print(
        f"\n{model}: {prepared.plan.parameters:,} weights; {given.rows:,} rows, batches of "
        f"{given.batch} in {units:.1f} units; {workload.machine(CPU, 1)}"
    )
    for name, found in rates.items():
        first = next(other for other in rates if other.split(",")[0] == name.split(",")[0])
        print(
            f"  {name:<36} {statistics.median(found):9,.0f} tokens/s ({min(found):,.0f} to "
            f"{max(found):,.0f})  {statistics.median(found) / statistics.median(rates[first]):5.2f}"
            f" times the first  peak memory until then {peaks[name]:,} MB",
            flush=True,
        )


def work(rank: int, port: int, given: Namespace) -> None:
    """Be one of the two processes."""
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port), TORCHELASTIC_USE_AGENT_STORE="True",
    )  # fmt: skip
    with joined(World(rank, 2, 3600.0), "cpu") as world, fixed(1, CPU):
        for model in given.models:
            compare(world, given, model)


def main() -> None:
    """Compare for every model."""
    given = workload.arguments(__doc__, models=["0.5m", "9m"], rows=512, units=512, batch=32)
    if given.quick:
        given.models, given.rows, given.repeats = given.models[:1], 96, 1
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    torch.multiprocessing.spawn(work, (store.port, given), nprocs=2)


if __name__ == "__main__":
    main()
