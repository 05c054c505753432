"""Cluster and select from given trajectories: seconds and peak memory by the number of rows.

    python benchmarks/bench_select.py [ROWS ...] [--checkpoints T] [--repeats R]

Every size runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time

import numpy as np


def synthetic(rows: int, checkpoints: int) -> tuple[np.ndarray, np.ndarray]:
    """Make losses that fall at different speeds to different floors, with noise, and ids."""
    rng = np.random.default_rng(0)
    start = rng.gamma(8, 0.5, (rows, 1)).astype(np.float32)
    floor = rng.beta(2, 3, (rows, 1)).astype(np.float32)
    speed = rng.gamma(2, 1, (rows, 1)).astype(np.float32)
    time_axis = np.linspace(0, 1, checkpoints, dtype=np.float32)
    losses = start * (floor + (1 - floor) * np.exp(-speed * time_axis))
    losses += rng.normal(0, 0.05, losses.shape).astype(np.float32)
    ids = np.array([b"%032x" % number for number in rng.permutation(rows)])
    return losses, ids


def measure(rows: int, checkpoints: int, repeats: int) -> dict[str, float]:
    """Time ``S2L().select`` on synthetic trajectories."""
    from smalltolarge.selection import S2L, Pool
    from smalltolarge.trajectories import Trajectories

    losses, ids = synthetic(rows, checkpoints)
    pool = Pool(ids=ids, trajectories=Trajectories(losses, np.arange(checkpoints), ids))
    seconds = []
    for seed in range(repeats):
        began = time.perf_counter()
        selection = S2L().select(pool, "11%", seed)
        seconds.append(time.perf_counter() - began)
        assert len(selection) == rows * 11 // 100
    return {
        "rows": rows,
        "median": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def main() -> None:
    """Print one line per size."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("rows", nargs="*", type=int, default=[262_144, 1_000_000])
    arguments.add_argument("--checkpoints", type=int, default=12)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        print(json.dumps(measure(given.rows[0], given.checkpoints, given.repeats)))
        return
    print(
        f"{platform.machine()}, Python {platform.python_version()}, t = {given.checkpoints}, "
        f"K = 100, 20 iterations, all points, {given.repeats} runs"
    )
    print(f"{'rows':>12} {'median s':>9} {'least s':>9} {'most s':>9} {'peak GB':>8}")
    for rows in given.rows:
        command = [sys.executable, __file__, str(rows), "--one"]
        command += ["--checkpoints", str(given.checkpoints), "--repeats", str(given.repeats)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        print(
            f"{rows:>12,} {found['median']:>9.2f} {found['least']:>9.2f} {found['most']:>9.2f} "
            f"{found['peak']:>8.2f}"
        )


if __name__ == "__main__":
    main()
