"""Training rows and test suites as JSON Lines."""

from __future__ import annotations

from pathlib import Path

from smalltolarge import store
from smalltolarge.wordproblems.rows import test_suites, training_rows


def write_sample_data(
    folder: Path, n: int, seed: int, *, overwrite: bool = False
) -> dict[Path, int]:
    """Write ``train.jsonl`` of n rows and the six suites ``test/NAME.jsonl``.

    Returns the rows of every file written.

    Raises
    ------
    StaleArtifact
        A file of such a name is there with other content, and ``overwrite`` is not set; nothing is
        written then.
    """
    files = {folder / "train.jsonl": list(training_rows(n, seed))}
    for name, rows in test_suites(seed).items():
        files[folder / "test" / f"{name}.jsonl"] = rows
    contents = {path: store.json_lines(rows) for path, rows in files.items()}
    store.write_new(contents, overwrite=overwrite)
    return {path: len(rows) for path, rows in files.items()}
