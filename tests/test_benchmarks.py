"""What is prepared for a machine with a GPU runs here, on small shapes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import transformers

from .lm_samples import SMALL, model_folder

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
PARTS = ("machine", "correct", "ceiling", "score", "train", "record", "generate", "select")


def measured(folder: Path, *options: str) -> list[dict[str, Any]]:
    """Run the script; give its findings, which are in the table too."""
    command = [sys.executable, str(SCRIPT), "--tiny", "--out", str(folder), *options]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=240)
    lines = (folder / "results.jsonl").read_text().splitlines()
    table = (folder / "table.md").read_text().splitlines()
    assert len(table) == len(lines) + 2
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return found


def test_every_part_runs_and_gives_numbers(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(**SMALL | {"max_position_embeddings": 1024})
    model = model_folder(tmp_path / "model", config)
    found = measured(tmp_path / "out", "--model", str(model))
    assert [row["part"] for row in found if row["what"] == "whole part"] == list(PARTS)
    assert not [row for row in found if "FAILED" in row["what"] + row["note"]]
    assert not [row for row in found if row["reached"] is False]
    assert {row["part"] for row in found if row["unit"]} == set(PARTS)
    assert all(str(model) in row["note"] for row in found if row["unit"] == "answers/s")


def test_a_part_that_fails_is_told_and_the_next_goes_on(tmp_path: Path) -> None:
    found = measured(tmp_path, "--parts", "ceiling", "--device", "nowhere")
    assert [(row["part"], row["what"]) for row in found] == [
        ("machine", "FAILED"),
        ("ceiling", "FAILED"),
    ]
    assert "'nowhere' is not to be had here" in found[0]["note"]


def test_the_time_is_a_limit(tmp_path: Path) -> None:
    found = measured(tmp_path, "--parts", "score", "--minutes", "0.1")
    assert [row["what"] for row in found if row["part"] == "score"] == ["NOT DONE"]
