"""Training rows and test suites as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from smalltolarge import store
from smalltolarge.wordproblems.rows import test_suites, training_rows


def write_sample_data(folder: Path, n: int, seed: int) -> dict[Path, int]:
    """Write ``train.jsonl`` of n rows and the six suites ``test/NAME.jsonl``.

    Returns the rows of every file written.
    """
    files = {folder / "train.jsonl": list(training_rows(n, seed))}
    for name, rows in test_suites(seed).items():
        files[folder / "test" / f"{name}.jsonl"] = rows
    for path, rows in files.items():
        store.write_bytes(path, _lines(rows))
    return {path: len(rows) for path, rows in files.items()}


def _lines(rows: Iterable[Mapping[str, str]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
