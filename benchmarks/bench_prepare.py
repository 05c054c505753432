"""Read and tokenise: rows a second of each part, beside what the training of a proxy takes.

    python benchmarks/bench_prepare.py [--rows 262144] [--data FILE] [--tokenizer FOLDER]

Without a tokenizer a vocabulary is trained on the rows first, as for a scratch proxy.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import workload

from smalltolarge import load, wordproblems
from smalltolarge.lm import prepare
from smalltolarge.progress import Progress, Step
from smalltolarge.settings import ProxySettings


class Parts(Progress):
    """Keeps the parts of a preparation."""

    def parts(self) -> list[Step]:
        """Give those that are counted in rows, in order."""
        return [step for step in self._steps.values() if step.unit]


def main() -> None:
    """Print one line a part."""
    given = workload.arguments(__doc__, rows=262_144, data="", tokenizer="")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(given.data or Path(folder) / "data.jsonl")
        if not given.data:
            rows = wordproblems.training_rows(given.rows // (16 if given.quick else 1), seed=0)
            with file.open("w") as out:
                out.writelines(json.dumps(row) + "\n" for row in rows)
        size, progress = file.stat().st_size, Parts()
        began = time.perf_counter()
        examples = load(file)
        reading = time.perf_counter() - began
        settings = ProxySettings(proxy="scratch", tokenizer=given.tokenizer or None)
        began = time.perf_counter()
        prepared = prepare(examples, settings, 0, progress=progress)
        preparing = time.perf_counter() - began
    n = len(examples)
    print(f"{file.name}: {n:,} rows, {size / 1e6:.0f} MB, {prepared.plan.tokens:,} tokens")
    print(f"  {'reading':<12} {reading:7.1f} s  {n / reading:10,.0f} rows/s")
    for part in progress.parts():
        print(f"  {part.label:<12} {part.seconds:7.1f} s  {n / part.seconds:10,.0f} rows/s")
    rest = preparing - sum(part.seconds for part in progress.parts())
    print(f"  {'planning':<12} {rest:7.1f} s  {n / rest:10,.0f} rows/s")
    print(f"  {'all':<12} {reading + preparing:7.1f} s  {n / (reading + preparing):10,.0f} rows/s")


if __name__ == "__main__":
    main()
