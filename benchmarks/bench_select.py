"""Cluster and select from given trajectories: seconds, memory, quality and sameness.

    pip install -e ".[bench]"
    python benchmarks/bench_select.py            to 10 million rows: half an hour on two cores
    python benchmarks/bench_select.py --quick    262,144 rows: a minute
    python benchmarks/bench_select.py ROWS ...   these sizes alone; also --methods S2L ...
    python benchmarks/bench_select.py --long     100 million rows alone, under a limit of 8 GiB

Losses and ids are made up and written to a temporary folder (8 GB for the long one). Every
measurement maps them into memory in a process of its own, so that its peak memory is its own.
"S2L" is all of ``S2L().select``, with the checks of the arrays, the keys and the orders; of
scikit-learn only the fit is timed, and KMeans is left out above a million rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from smalltolarge.selection import S2L, Pool, Selection, kmeans
from smalltolarge.trajectories import Trajectories

K = 100
BLOCK = 1_000_000
METHODS = {"S2L": 100_000_000, "MiniBatchKMeans": 10_000_000, "KMeans": 1_000_000}  # rows, at most
LIMIT_GIB = 8
TABLE = "{:>11} {:>3} {:<15} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>11}"


def decays(rng: np.random.Generator, rows: int, t: int) -> np.ndarray:
    """Make losses that fall at different speeds to different floors, with noise."""
    start, floor = rng.gamma(8, 0.5, (rows, 1)), rng.beta(2, 3, (rows, 1))
    fall = np.exp(-rng.gamma(2, 1, (rows, 1)) * np.linspace(0, 1, t))
    return np.asarray(start * (floor + (1 - floor) * fall) + rng.normal(0, 0.05, (rows, t)))


def heaps(rng: np.random.Generator, rows: int, t: int) -> np.ndarray:
    """Make 300 Gaussian heaps of very different sizes and widths."""
    fixed = np.random.default_rng(7)
    centres, widths = fixed.normal(2, 1, (300, t)), fixed.gamma(2, 0.1, 300)
    sizes = fixed.random(300) ** 4
    heap = rng.choice(300, rows, p=sizes / sizes.sum())
    return np.asarray(centres[heap] + rng.normal(0, 1, (rows, t)) * widths[heap, None])


SHAPES = {"decays": decays, "heaps": heaps}


def blocks(rows: int) -> Iterator[slice]:
    return (slice(begin, min(begin + BLOCK, rows)) for begin in range(0, rows, BLOCK))


def write(folder: Path, shape: str, rows: int, t: int) -> None:
    """Write losses (float32) and ids (32 hexadecimal digits), block by block."""
    rng = np.random.default_rng(0)
    losses = np.lib.format.open_memmap(folder / "losses", "w+", np.float32, (rows, t))
    ids = np.lib.format.open_memmap(folder / "ids", "w+", "S32", (rows,))
    for block in blocks(rows):
        size = block.stop - block.start
        losses[block] = SHAPES[shape](rng, size, t)
        ids[block] = np.frombuffer(rng.bytes(16 * size).hex().encode(), "S32")


def mapped(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Map the losses and ids into memory."""
    losses, ids = (np.lib.format.open_memmap(folder / name, "r") for name in ("losses", "ids"))
    return losses, ids


def select(losses: np.ndarray, ids: np.ndarray, seed: int) -> Selection:
    """Select 11% from trajectories in memory."""
    trajectories = Trajectories(losses, np.arange(losses.shape[1]), ids)
    return S2L(clusters=K).select(Pool(ids=ids, trajectories=trajectories), "11%", seed)


def labels_of(method: str, losses: np.ndarray, ids: np.ndarray, seed: int) -> np.ndarray:
    """Cluster by one of ``METHODS``: int (n,)."""
    if method == "S2L":
        labels = select(losses, ids, seed).labels
        assert labels is not None
        return labels
    import sklearn.cluster

    fit = getattr(sklearn.cluster, method)(K, n_init=1, random_state=seed).fit(losses)
    return np.asarray(fit.labels_)


def inertia(losses: np.ndarray, labels: np.ndarray) -> float:
    """Sum the squared distances to the means of the clusters."""
    squares, sums = 0.0, np.zeros((losses.shape[1], K))
    for block in blocks(len(losses)):
        columns = losses[block].T.astype(np.float64)
        squares += float(np.square(columns).sum())
        sums += [np.bincount(labels[block], column, K) for column in columns]
    return squares - float((sums**2 / np.maximum(np.bincount(labels, minlength=K), 1)).sum())


def memory(kind: str) -> float:
    """Read a line of this process's memory status, in GiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{kind}:")[1].split()[0]) / 2**20


def measure(method: str, folder: Path, seeds: Iterable[int]) -> dict[str, Any]:
    """Run a method on the trajectories of a folder; its memory is looked at 50 times a second."""
    losses, ids = mapped(folder)
    labels_of(method, losses[: 10 * K], ids[: 10 * K], 0)  # imports
    done, anonymous = threading.Event(), [0.0]

    def watch() -> None:
        while not done.wait(0.02):
            anonymous.append(memory("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    seconds, inertias = [], []
    for seed in seeds:
        began = time.perf_counter()
        labels = labels_of(method, losses, ids, seed)
        seconds.append(time.perf_counter() - began)
        inertias.append(inertia(losses, labels))
    done.set()
    watcher.join()
    peaks = {"anonymous": max(anonymous), "peak": memory("VmHWM")}
    return {"seconds": seconds, "inertias": inertias, **peaks}


def measured(method: str, folder: Path, seeds: int, limit_gib: int = 0) -> dict[str, Any]:
    """Do so in a process of its own."""
    command = [sys.executable, __file__, "--one", method, str(folder), str(seeds), str(limit_gib)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    found: dict[str, Any] = json.loads(answer)
    return found


def print_sizes(
    methods: list[str], sizes: list[int], checkpoints: list[int], seeds: int, limit_gib: int = 0
) -> None:
    """Compare methods by the number of rows: seconds, memory, inertia; the first is the measure."""
    print(f"\nSeconds of {seeds} runs, peak memory in GiB (anonymous; with mapped files), inertia")
    heading = ["rows", "t", "method", "median", "least", "most", "ratio", "anon", "all", "inertia"]
    print(TABLE.format(*heading))
    for rows in sizes:
        for t in checkpoints:
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder), "decays", rows, t)
                first = 0.0
                for method in (name for name in methods if rows <= METHODS[name]):
                    found = measured(method, Path(folder), seeds, limit_gib)
                    median = statistics.median(found["seconds"])
                    first = first or median
                    numbers = [median, min(found["seconds"]), max(found["seconds"]), median / first]
                    numbers += [found["anonymous"], found["peak"]]
                    shown = [f"{number:.2f}" for number in numbers]
                    last = f"{statistics.median(found['inertias']):.5g}"
                    print(TABLE.format(f"{rows:,}", t, method, *shown, last), flush=True)


def print_inertias(rows: int, seeds: int) -> None:
    """Compare the inertia the methods reach on data of two shapes."""
    print(f"\nInertia, {rows:,} rows, t = 12, {seeds} seeds: median, least, most, mean to KMeans'")
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), shape, rows, 12)
            found = {name: measured(name, Path(folder), seeds)["inertias"] for name in METHODS}
        for name, values in found.items():
            ratio = statistics.mean(values) / statistics.mean(found["KMeans"])
            numbers = (statistics.median(values), min(values), max(values))
            print(f"{shape:<7} {name:<15}", *(f"{number:>9.6g}" for number in numbers), end="")
            print(f" {ratio:>7.4f}", flush=True)


def print_digests(rows: int) -> None:
    """Select on 1 to 4 threads; the digests of the labels and the order are one."""
    print(f"\nDigest of labels and order, {rows:,} rows, on 1, 2, 3 and 4 threads")
    for t in (12, 36):
        found = []
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), "decays", rows, t)
            for threads in (1, 2, 3, 4):
                with mock.patch.object(kmeans, "cores", return_value=threads):
                    selection = select(*mapped(Path(folder)), seed=0)
                assert selection.labels is not None
                content = selection.labels.tobytes() + selection.order.tobytes()
                found.append(hashlib.sha256(content).hexdigest()[:12])
        print(f"t = {t}:", *found, "the same" if len(set(found)) == 1 else "NOT THE SAME")


def print_limit() -> None:
    """Compare the search for the two nearest centroids with the matrix product inside it."""
    import faiss
    import threadpoolctl

    def median_ms(call: Any, *arguments: Any) -> float:
        times = []
        for _ in range(15):
            began = time.perf_counter()
            call(*arguments)
            times.append(time.perf_counter() - began)
        return statistics.median(times) * 1000

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    print(f"\nTwo nearest of {K} centroids for 65,536 rows on one thread, median of 15")
    with threadpoolctl.threadpool_limits(1):
        square = rng.random((2048, 2048), np.float32)
        fastest = 2 * 2048**3 / median_ms(np.matmul, square, square) / 1e6
        for t in (12, 36):
            points, centroids = rng.random((2**16, t), np.float32), rng.random((K, t), np.float32)
            search = median_ms(kmeans._nearest, points, centroids)
            product = median_ms(np.matmul, points, centroids.T)
            rates = [2 * 2**16 * K * t / ms / 1e6 for ms in (search, product)]
            print(f"t = {t}: {search:.1f} ms, the product alone {product:.1f} ms; GFLOP/s:", end="")
            print(f" {rates[0]:.0f}, {rates[1]:.0f}, of large matrices {fastest:.0f}")


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("rows", nargs="*", type=int)
    arguments.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--long", action="store_true")
    arguments.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        method, folder, seeds, limit_gib = given.one
        if int(limit_gib):
            resource.setrlimit(resource.RLIMIT_DATA, (int(limit_gib) * 2**30,) * 2)
        print(json.dumps(measure(method, Path(folder), range(int(seeds)))))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("load before:", *(f"{load:.1f}" for load in os.getloadavg()))
    if given.long:
        print_sizes(["S2L"], [100_000_000], [12], 1, LIMIT_GIB)
        return
    if not given.rows:
        print_limit()
        print_digests(100_000 if given.quick else 262_144)
        print_inertias(65_536 if given.quick else 262_144, 2 if given.quick else 5)
    sizes = [262_144] if given.quick else [262_144, 1_000_000, 10_000_000]
    print_sizes(given.methods, given.rows or sizes, [12, 36], 3)


if __name__ == "__main__":
    main()
