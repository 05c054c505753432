"""The jail: how long it takes to start, and what it adds to each program.

    python benchmarks/bench_jail.py [--programs N] [--workers W] [--quick]

For every way to run programs that works here, in turn: seconds until the first program has run
(Python, numpy and sympy are imported and warm by then), and the time of one program, seen from the
caller: its spread over single programs in one worker, and the mean over many in W workers. Beside
it, a fresh Python process for each program, which confines nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time

from smalltolarge.errors import RefusedForSafety
from smalltolarge.jail import Jails
from smalltolarge.jail.backends import BACKENDS

PROGRAMS = {
    "plain": "eggs = 16 - 3 - 4\nprint(eggs * 2)",
    "numpy": "import numpy as np\nprint(np.linalg.solve([[3.0, 1], [1, 2]], [9, 8]))",
    "sympy": "from sympy import symbols, solve\nx = symbols('x')\nprint(solve(x**2 - 5*x + 6, x))",
    "fails": "print(1 / 0)",
}
LINE = "{:<13} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11}"


def timed(jails: Jails, program: str, times: int) -> list[float]:
    """Run a program alone, several times: milliseconds of each, seen from here."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        jails.run([program])
        found.append((time.perf_counter() - began) * 1e3)
    return sorted(found)


def measure(backend: str, programs: int, workers: int) -> None:
    """Print one line for a way to run programs."""
    began = time.perf_counter()
    with Jails(backend, workers=1) as jails:
        jails.run([PROGRAMS["plain"]])
        start = time.perf_counter() - began
        each = {name: timed(jails, program, programs) for name, program in PROGRAMS.items()}
    plain = each["plain"]
    with Jails(backend, workers=workers) as jails:
        jails.run([PROGRAMS["plain"]] * workers * 4)
        began = time.perf_counter()
        jails.run([PROGRAMS["plain"]] * programs * 5)
        together = (time.perf_counter() - began) / (programs * 5) * 1e3
    median = {name: f"{statistics.median(found):.1f} ms" for name, found in each.items()}
    nine_tenths = f"{plain[len(plain) * 9 // 10]:.1f} ms"
    shown = (median["plain"], nine_tenths, median["numpy"], median["sympy"], median["fails"])
    print(LINE.format(backend, f"{start:.2f} s", *shown, f"{together:.1f} ms"), flush=True)


def fresh(programs: int) -> None:
    """Print the same for a process of its own for each program."""
    found = {}
    for name, program in PROGRAMS.items():
        taken = []
        for _ in range(max(programs // 20, 3)):
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-I", "-c", program],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            taken.append((time.perf_counter() - began) * 1e3)
        found[name] = sorted(taken)
    plain = found["plain"]
    median = {name: f"{statistics.median(taken):.1f} ms" for name, taken in found.items()}
    nine_tenths = f"{plain[len(plain) * 9 // 10]:.1f} ms"
    shown = (median["plain"], nine_tenths, median["numpy"], median["sympy"], median["fails"])
    print(LINE.format("new process", "", *shown, ""))


def main() -> None:
    """Measure every backend that is here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="fewer programs")
    given = parser.parse_args()
    programs = 60 if given.quick else given.programs
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    names = ("plain", "9 in 10", "numpy", "sympy", "fails", f"{given.workers} workers")
    print(LINE.format("", "start", *names))
    for backend in BACKENDS:
        try:
            measure(backend, programs, given.workers)
        except RefusedForSafety as error:
            print(f"{backend:<13} {error}")
    fresh(programs)


if __name__ == "__main__":
    main()
