"""Record from files to trajectories: ours against the recipe of the method's first implementation.

    python benchmarks/bench_record.py [--models 0.5m] [--rows N] [--threads 2]

That recipe, as described by its authors and rebuilt here: transformers' Trainer with batches
grouped by length keeps a checkpoint at each of 12 steps; then, for each of them, a new process
loads it, tokenises all rows again, and scores them one at a time in float32. Both train 3 epochs
on the same word problems, with the same tokenizer, in batches of 32.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import workload

from smalltolarge import load, wordproblems
from smalltolarge.lm import prepare, record
from smalltolarge.lm.device import fixed
from smalltolarge.lm.tokens import Prepared
from smalltolarge.settings import ProxySettings


def prepared_from(file: Path, model: str, epochs: float, threads: int) -> Prepared:
    """Read and tokenise; the vocabulary is trained on the rows."""
    name = f"scratch-{model}"
    settings = ProxySettings(proxy=name, epochs=epochs, batch_size=32, threads=threads)
    return prepare(load(file), settings, 0)


def theirs(file: Path, model: str, threads: int, folder: Path, epochs: float) -> dict[str, float]:
    """Do all of the recipe in processes of its own; give the seconds of its parts."""
    command = [sys.executable, __file__, "--part", str(file), model, str(threads), str(folder)]
    found = {}
    began = time.perf_counter()
    subprocess.run([*command, "train", str(epochs)], check=True, stdout=subprocess.DEVNULL)
    found["training"] = time.perf_counter() - began
    began = time.perf_counter()
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    for checkpoint in checkpoints[-12:]:
        subprocess.run([*command, checkpoint.name, str(epochs)], check=True)
    found["scoring"] = time.perf_counter() - began
    return found


def part(file: Path, model: str, threads: int, folder: Path, name: str, epochs: float) -> None:
    """Train, or score one checkpoint, as one of the recipe's processes."""
    import bench_train
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    prepared = prepared_from(file, model, epochs, threads)
    if name == "train":
        steps = prepared.order.steps
        run = bench_train.theirs(
            prepared,
            torch.device("cpu"),
            "grouped",
            bfloat16=False,
            output_dir=str(folder),
            per_device_train_batch_size=32,
            max_steps=steps,
            save_strategy="steps",
            save_steps=max(1, steps // 12),
            save_only_model=True,
        )
        run()
    else:
        scored = AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32)
        np.savetxt(folder / f"{name}.losses", workload.one_at_a_time(scored, prepared))


def ours(file: Path, model: str, epochs: float, threads: int) -> dict[str, float]:
    """Record as the command does; give the seconds of its parts."""
    began = time.perf_counter()
    prepared = prepared_from(file, model, epochs, threads)
    preparing = time.perf_counter() - began
    recording = record(prepared)
    facts = recording.facts
    return {
        "preparing": preparing,
        "training": facts["seconds_training"],
        "scoring": facts["seconds_scoring"],
        "FLOPs": prepared.plan.training_flops + prepared.plan.scoring_flops,
    }


def compare(model: str, n: int, threads: int, epochs: float) -> None:
    """Print both, part by part."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "data.jsonl"
        rows = wordproblems.training_rows(n, seed=0)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with fixed(threads, torch.device("cpu")):
            began = time.perf_counter()
            mine = ours(file, model, epochs, threads)
            total = time.perf_counter() - began
            limit = workload.peak_flops(torch.device("cpu"))
        other = theirs(file, model, threads, folder, epochs)
    flops = mine.pop("FLOPs")
    print(
        f"\n{model}: {n:,} rows, {epochs:g} epochs, 12 checkpoints, {flops:.3g} FLOPs; "
        f"{workload.machine(torch.device('cpu'), threads)}"
    )
    _show("ours", mine, total)
    _show("first recipe", other, sum(other.values()))
    print(
        f"  ratio {sum(other.values()) / total:.2f}; ours at {flops / total / limit:.1%} of the "
        f"fastest matrix product ({limit / 1e9:.0f} GFLOP/s)",
        flush=True,
    )


def _show(name: str, parts: dict[str, float], total: float) -> None:
    shares = ", ".join(f"{key} {value:.1f} ({value / total:.0%})" for key, value in parts.items())
    print(f"  {name:<13} {total:8.1f} s: {shares}")


def main() -> None:
    """Compare for every model and number of threads."""
    given = workload.arguments(__doc__, models=["0.5m"], rows=0, epochs=3.0)
    for model in given.models:
        n = given.rows or (256 if model == "70m" else 3000) // (4 if given.quick else 1)
        for threads in given.threads[-1:]:
            compare(model, n, threads, given.epochs)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        file, model, threads, folder, name, epochs = sys.argv[2:]
        part(Path(file), model, int(threads), Path(folder), name, float(epochs))
    else:
        main()
