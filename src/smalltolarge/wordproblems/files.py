"""Training rows and tasks as JSON Lines."""

from __future__ import annotations

from pathlib import Path

from smalltolarge import store
from smalltolarge.errors import StaleArtifact, printable
from smalltolarge.wordproblems.rows import task_rows, training_rows


def write_sample_data(
    folder: Path, n: int, seed: int, *, overwrite: bool = False
) -> dict[Path, int]:
    """Write ``train.jsonl`` of n rows and the six tasks ``test/NAME.jsonl``.

    Returns the rows of every file written.

    Raises
    ------
    StaleArtifact
        A file of such a name is there with other content, and ``overwrite`` is not set; nothing is
        written then.
    """
    files = {folder / "train.jsonl": list(training_rows(n, seed))}
    for name, rows in task_rows(seed).items():
        files[folder / "test" / f"{name}.jsonl"] = rows
    contents = {path: store.json_lines(rows) for path, rows in files.items()}
    taken = [path for path, content in contents.items() if _is_other(path, content)]
    if taken and not overwrite:
        raise StaleArtifact(
            f"{', '.join(printable(str(path), 200) for path in taken)}: there already, with other "
            "content. Choose another folder, or pass --overwrite."
        )
    for path, content in contents.items():
        store.write_bytes(path, content)
    return {path: len(rows) for path, rows in files.items()}


def _is_other(path: Path, content: bytes) -> bool:
    if not path.is_file():
        return path.exists()
    return path.stat().st_size != len(content) or path.read_bytes() != content
