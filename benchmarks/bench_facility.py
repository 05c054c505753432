"""Facility location: seconds, memory, and how well few neighbours cover.

    python benchmarks/bench_facility.py            16,384 to 262,144 rows: a quarter of an hour
    python benchmarks/bench_facility.py --quick    to 32,768 rows: half a minute
    python benchmarks/bench_facility.py ROWS ...   these sizes alone

Embeddings are made up: 512 numbers a row, in heaps of different sizes and widths that share a
direction, as the hidden states of language models do. Every size is measured in a process of its
own, so that its peak memory is its own. Threads are those of numpy's matrix product; set
OMP_NUM_THREADS=1 for one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time

import numpy as np

from smalltolarge.selection.facility import greedy, nearest, on_grid

D = 512
NEIGHBOURS = 64
TABLE = "{:>9} {:>9} {:>10} {:>9} {:>9} {:>9} {:>9} {:>13}"


def made_up(rows: int, seed: int = 0) -> np.ndarray:
    """Make embeddings of 500 heaps: float32 (rows, D)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (500, D)).astype(np.float32) + 1
    widths, sizes = rng.gamma(4, 0.25, 500), rng.random(500) ** 3
    heap = rng.choice(500, rows, p=sizes / sizes.sum())
    embeddings = np.empty((rows, D), dtype=np.float32)
    for begin in range(0, rows, 2**14):
        block = heap[begin : begin + 2**14]
        noise = rng.standard_normal((len(block), D), dtype=np.float32)
        embeddings[begin : begin + 2**14] = centres[block] + noise * widths[block, None]
    return embeddings


def measure(rows: int) -> None:
    """Order made-up rows; print the seconds of every part and the peak memory."""
    embeddings = made_up(rows)
    made = peak_gib()
    order = np.random.default_rng(1).permutation(rows)
    times = [time.perf_counter()]
    points = on_grid(embeddings, order)
    times.append(time.perf_counter())
    neighbours = nearest(points, NEIGHBOURS)
    times.append(time.perf_counter())
    found = greedy(*neighbours)
    times.append(time.perf_counter())
    seconds = np.diff(times).tolist()
    digest = hashlib.sha256(order[found].tobytes()).hexdigest()[:12]
    print(json.dumps({"seconds": seconds, "made": made, "peak": peak_gib(), "digest": digest}))


def peak_gib() -> float:
    """Read the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def print_sizes(sizes: list[int]) -> None:
    """Measure by the number of rows."""
    print(f"\nd = {D}, {NEIGHBOURS} neighbours; seconds, peak GiB (of it the embeddings given)")
    heading = ["rows", "grid", "neighbours", "GFLOP/s", "greedy", "peak", "given", "digest"]
    print(TABLE.format(*heading))
    for rows in sizes:
        command = [sys.executable, __file__, "--one", str(rows)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        grid, search, order = found["seconds"]
        rate = rows * rows * D / search / 1e9  # half of all pairs, two operations each
        shown = [grid, search, rate, order, found["peak"], rows * D * 4 / 2**30]
        numbers = [f"{number:.2f}" for number in shown]
        print(TABLE.format(f"{rows:,}", *numbers, found["digest"]), flush=True)


def print_objective(rows: int) -> None:
    """Compare what few neighbours cover with exact greedy on all similarities."""
    points = on_grid(made_up(rows), np.arange(rows))
    similarities = np.maximum(points @ points.T, 0).astype(np.float64)
    print(f"\n{rows:,} rows: covered over all similarities, to greedy with all as neighbours")
    budgets = [max(1, rows * share // 100) for share in (1, 5, 11, 50)]
    print(f"{'neighbours':>10}", *(f"{budget:>8,}" for budget in budgets))
    orders = {k: greedy(*nearest(points, k)) for k in (8, 16, 32, 64, 128, 256, rows)}
    orders[0] = np.random.default_rng(2).permutation(rows)
    for k, order in orders.items():
        shares = [
            similarities[:, order[:budget]].max(axis=1).sum()
            / similarities[:, orders[rows][:budget]].max(axis=1).sum()
            for budget in budgets
        ]
        name = {0: "random", rows: "all"}.get(k, str(k))
        print(f"{name:>10}", *(f"{share:8.4f}" for share in shares))


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("rows", nargs="*", type=int)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        measure(given.one)
        return
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, threads {threads}, numpy {np.__version__}"
    )
    print("load before:", *(f"{load:.1f}" for load in os.getloadavg()))
    if not given.rows:
        print_objective(1000 if given.quick else 2000)
    sizes = [8_192, 32_768] if given.quick else [16_384, 65_536, 262_144]
    print_sizes(given.rows or sizes)


if __name__ == "__main__":
    main()
