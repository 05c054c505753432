"""Training rows and tasks as JSON Lines."""

from __future__ import annotations

from pathlib import Path

from smalltolarge import store
from smalltolarge.wordproblems.rows import task_rows, training_rows


def write_sample_data(
    folder: Path, n: int, seed: int, *, overwrite: bool = False
) -> dict[Path, int]:
    """Write ``train.jsonl`` of n rows and the six tasks ``test/NAME.jsonl``.

    Gives the rows of every file, and raises as ``sample_data``.
    """
    files = {folder / "train.jsonl": list(training_rows(n, seed))}
    for name, rows in task_rows(seed).items():
        files[folder / "test" / f"{name}.jsonl"] = rows
    contents = {path: store.json_lines(rows) for path, rows in files.items()}
    store.write_new(contents, overwrite=overwrite)
    return {path: len(rows) for path, rows in files.items()}
