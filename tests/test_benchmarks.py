"""What is prepared for a machine with a GPU runs here, on small shapes."""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path
from typing import Any

import pytest
import transformers

from .lm_samples import SMALL, model_folder
from .processes import fresh_python, python

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu.py"
PARTS = tuple(runpy.run_path(str(SCRIPT))["SHARES"])
ENVIRONMENT = os.environ | {"CUDA_VISIBLE_DEVICES": ""}


def findings(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "results.jsonl").read_text().splitlines()
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return found


def measured(folder: Path, *options: str) -> list[dict[str, Any]]:
    """Run the script; give its findings, which are in the table too."""
    done = fresh_python(
        [str(SCRIPT), "--tiny", "--out", str(folder), *options], folder, ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    table = (folder / "table.md").read_text().splitlines()
    assert len(table) == len(findings(folder)) + 2
    return findings(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = transformers.LlamaConfig(**SMALL | {"max_position_embeddings": 1024})
    return str(model_folder(tmp_path_factory.mktemp("model"), config))


@pytest.mark.parametrize("part", PARTS)
def test_every_part_runs_and_gives_numbers(part: str, model: str, tmp_path: Path) -> None:
    command = [str(SCRIPT.with_name("gpu_parts.py")), part, "--tiny", "--device=cpu"]
    command += [f"--model={model}", f"--out={tmp_path}", "--seconds=240"]
    done = python(command, ROOT, ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    found = findings(tmp_path)
    assert {row["part"] for row in found} == {part}
    assert not [row for row in found if "FAILED" in row["what"] + row["note"]]
    assert not [row for row in found if row["reached"] is False]
    assert [row for row in found if row["value"] is not None]
    assert all(model in row["note"] for row in found if row["unit"] == "answers/s")


def test_parts_run_in_their_order_and_say_what_they_took(tmp_path: Path) -> None:
    found = measured(tmp_path, "--parts", "ceiling")
    assert [row["part"] for row in found if row["what"] == "whole part"] == ["machine", "ceiling"]
    assert not [row for row in found if "FAILED" in row["what"]]


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
