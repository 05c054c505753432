"""Write arithmetic word problems to try things on."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from smalltolarge.wordproblems.files import write_sample_data


def sample_data(
    folder: str | PathLike[str], *, rows: int = 2000, seed: int = 0, overwrite: bool = False
) -> dict[Path, int]:
    """Write ``train.jsonl`` and the six test files ``test/NAME.jsonl`` to ``folder``.

    Returns the rows of every file written.

    Raises
    ------
    StaleArtifact
        A file of such a name is there with other content, and ``overwrite`` is not set; nothing is
        written then.
    """
    return write_sample_data(Path(folder), rows, seed, overwrite=overwrite)
