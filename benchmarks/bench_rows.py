"""What many rows cost: seconds and memory of reading, choosing and verifying, by their number.

    python benchmarks/bench_rows.py [--rows 100000 1000000] [--folder DIR] [--only load random]

Rows are JSONL in the Alpaca layout, 513 bytes each, no two alike, some with escapes and letters
beyond ASCII. Every command runs in a process of its own; seconds are those of all its processes, by
the processor and by the clock, and memory is the peak of the largest of them. The folder needs room
for twice the rows.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from smalltolarge import store
from smalltolarge.settings import cores
from smalltolarge.trajectories import Trajectories

_BLOCK = 10_000
_CHECKPOINTS = 12


def write_rows(path: Path, rows: int) -> None:
    """Write that many rows."""
    draw = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(3000)]
    words += ["naïve", "größer", "数学"]
    ends = (".", ".\\n", ".\\n\\n", ' \\"x\\".', ": $\\\\frac{1}{2}$.")
    parts = [
        " ".join(draw.choices(words, k=draw.randint(8, 24))) + draw.choice(ends)
        for _ in range(4096)
    ]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for begin in range(0, rows, _BLOCK):
            file.writelines(
                f'{{"id": {row}, "source": "set/{row % 23}", "instruction": '
                f'"{parts[row * 2654435761 % 4096]} {row}?", "output": '
                f'"{parts[(row * 40503 + 7) % 4093]} {parts[(row * 9973 + 1) % 4091]} '
                f'{parts[(row * 31 + 5) % 4079]}"}}\n'
                for row in range(begin, min(begin + _BLOCK, rows))
            )


def write_trajectories(run: Path, path: Path) -> None:
    """Write losses drawn at random for the rows of a run."""
    table = store.read_parquet(run / "selection.parquet")
    ids = np.array(table["id"].cast(pa.binary()).to_pylist(), "S32")
    draw = np.random.default_rng(0)
    losses = (
        draw.random((len(ids), _CHECKPOINTS), np.float32)
        + draw.random(len(ids), np.float32)[:, None]
    )
    steps = np.arange(1, _CHECKPOINTS + 1, dtype=np.int64)
    Trajectories(ids=ids, losses=losses, steps=steps).to_parquet(path)


def measure(*words: str | Path) -> tuple[float, float, float]:
    """Run a command; give its seconds of processor time and by the clock, and its peak in MB."""
    command = [sys.executable, "-m", "smalltolarge", *map(str, words)]
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{said.read()}")
    return used.ru_utime + used.ru_stime, time.perf_counter() - began, used.ru_maxrss / 1000


def main() -> None:
    """Print a line for each number of rows and each command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="a folder for the files; they are deleted")
    parser.add_argument("--only", nargs="+", default=["load", "random", "given", "verify"])
    given = parser.parse_args()
    print(f"{cores()} cores; processor seconds, seconds by the clock, MB of the largest process")
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
    for rows in given.rows:
        folder = Path(tempfile.mkdtemp(dir=given.folder))
        try:
            data, run, losses = (folder / name for name in ("data.jsonl", "run", "losses.parquet"))
            write_rows(data, rows)
            choose = ("select", data, "--budget", "10%")
            random_one = (*choose, "--method", "random", "--out", folder / "a.jsonl", "--run", run)
            commands: dict[str, tuple[str | Path, ...]] = {
                "load": ("load", data),
                "random": random_one,
                "given": (
                    *choose,
                    "--trajectories",
                    losses,
                    "--out",
                    folder / "b.jsonl",
                    "--run",
                    folder / "b",
                ),
                "verify": ("verify", run),
            }
            for name, words in commands.items():
                if name not in given.only:
                    continue
                if name == "given":
                    write_trajectories(run, losses)
                seconds, clock, peak = measure(*words)
                print(
                    f"{rows:>11,} rows {data.stat().st_size / 1e6:>8,.0f} MB  {name:<8} "
                    f"{seconds:8.1f} s {clock:8.1f} s {peak:8,.0f} MB",
                    flush=True,
                )
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
