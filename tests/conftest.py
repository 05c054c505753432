"""Small data and the command line, for every test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from smalltolarge import wordproblems

QUICK = ["--epochs", "1", "--checkpoints", "3", "--threads", "1"]
"""Settings of a recording of a few seconds."""

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """120 word problems as JSON Lines, in ``tmp_path``."""
    file = tmp_path / "data.jsonl"
    rows = wordproblems.training_rows(120, seed=1)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def s2l(tmp_path: Path) -> Cli:
    """Run the command line in ``tmp_path``, as a user does."""

    def run(
        *arguments: str | Path, expect: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "smalltolarge.cli", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; skips where there is none."""
    named = os.environ.get("S2L_REAL_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set S2L_REAL_DATA)")
    return folder
