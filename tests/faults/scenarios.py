"""Every command that writes, on data so small that a run of it takes a moment."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from tests import noteevents
from tests.faults import process

ROWS = 36
TINY = [
    "--epochs", "1", "--threads", "1", "--batch-size", "16", "--template", "alpaca",
    "--max-length", "48",
]  # fmt: skip
PROXY = ["--proxy", "scratch-0.1m", "--checkpoints", "3", *TINY]
SUBSET = ["select", "data.jsonl", "--budget", "9", "--out", "subset.jsonl"]
CLUSTERED = [*SUBSET, "--clusters", "4"]
TRAIN = [
    "train", "scratch-0.1m", "data.jsonl", "--out", "model", "--trainer", "own", "--save-every",
    "1", *TINY,
]  # fmt: skip
RECORD = ["record", "data.jsonl", "--out", "losses.parquet", *PROXY]
_TINY_MODEL = {
    "epochs": 1, "threads": 1, "batch_size": 16, "template": "alpaca", "max_length": 48,
}  # fmt: skip
_COMPARISON = {
    "data": ["data.jsonl"],
    "methods": ["s2l"],
    "budgets": ["25%"],
    "seeds": [0],
    "proxy": {"proxy": "scratch-0.1m", "checkpoints": 3, **_TINY_MODEL},
    "target": {"target": "scratch-0.1m", "trainer": "own", "save_every": 1, **_TINY_MODEL},
    "evaluation": {"held_out": ["held-out.jsonl"]},
}


@dataclass(frozen=True)
class Scenario:
    """A command, what it finds in its folder, and where its results are."""

    name: str
    words: Sequence[str]
    """The command, as it is given."""
    needs: Sequence[str] = ("data.jsonl",)
    """Files and folders that are there: of ``MATERIALS``."""
    run: str | None = None
    """The run folder, where there is one."""
    out: Sequence[str] = ()
    """What is written beside it: a file or a folder appears whole or not at all."""


def _select(name: str, data: str, out: str, *words: str) -> Scenario:
    select = ["select", data, "--budget", "9", "--method", "random", "--out", out]
    return Scenario(
        f"select-{name}", [*select, *words], (data,), f"runs/{out.split('.')[0]}", [out]
    )


def _export(trainer: str) -> Scenario:
    words = ["export", "subset.jsonl", "--to", trainer, "--model", "model"]
    return Scenario(f"export-{trainer}", words, ("subset.jsonl", "model"))


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        _select("random", "data.jsonl", "subset.jsonl"),
        _select("json", "data.json", "subset.json"),
        _select("csv", "data.csv", "subset.csv"),
        _select("gz", "data.jsonl.gz", "subset.jsonl.gz"),
        _select("parquet", "data.parquet", "subset.parquet"),
        _select("folder", "saved", "subset"),
        Scenario(
            "select-given",
            [*CLUSTERED, "--trajectories", "losses.parquet"],
            ("data.jsonl", "losses.parquet"),
            "runs/subset",
            ["subset.jsonl"],
        ),
        Scenario("select-proxy", [*CLUSTERED, *PROXY], run="runs/subset", out=["subset.jsonl"]),
        Scenario(
            "select-facility",
            [*SUBSET, "--method", "facility-location", *PROXY],
            run="runs/subset",
            out=["subset.jsonl"],
        ),
        Scenario("record", RECORD, run="runs/losses", out=["losses.parquet"]),
        Scenario(
            "record-long",
            [*RECORD, "--checkpoints", "8", "--batch-size", "4"],
            run="runs/losses",
            out=["losses.parquet"],
        ),
        Scenario("load", ["load", "data.jsonl", "--out", "table.parquet"], out=["table.parquet"]),
        *map(_export, ("trl", "llamafactory", "axolotl")),
        Scenario("inspect", ["inspect", "runs/subset"], ("data.jsonl", "runs"), "runs/subset"),
        Scenario("train", TRAIN, run="runs/model", out=["model"]),
        Scenario(
            "run",
            ["run", "compare.yaml", "--out", "runs/compare"],
            ("data.jsonl", "held-out.jsonl", "compare.yaml"),
            "runs/compare",
        ),
        Scenario(
            "run-keep",
            ["run", "compare.yaml", "--out", "runs/compare", "--set", "keep_targets=true"],
            ("data.jsonl", "held-out.jsonl", "compare.yaml"),
            "runs/compare",
        ),
        Scenario(
            "evaluate",
            ["evaluate", "model", "--task", "questions.jsonl", "--form", "direct", "--out",
             "runs/answers", "--max-new-tokens", "4", "--batch-size", "2", "--threads", "1",
             "--template", "alpaca"],
            ("model", "questions.jsonl"),
            "runs/answers",
        ),
        Scenario("sample-data", ["sample-data", "samples", "--rows", "12"], ()),
        Scenario(
            "prepare", ["prepare", "mimic", "notes.csv.gz", "--out", "reports"], ("notes.csv.gz",)
        ),
        Scenario(
            "verify", ["verify", "runs/subset"], ("data.jsonl", "subset.jsonl", "runs"),
            "runs/subset",
        ),
    )
}  # fmt: skip


def make_materials(folder: Path) -> None:
    """Make what the commands find, once: data in every format, losses, a model, a finished run."""
    folder.mkdir(parents=True)
    rows = [_row(number) for number in range(ROWS)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data.jsonl").write_text(lines)
    (folder / "data.json").write_text(json.dumps(rows))
    (folder / "data.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "data.csv", index=False)
    frame.to_parquet(folder / "data.parquet", index=False)
    held_out = [_row(number) for number in range(900, 912)]
    (folder / "held-out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held_out))
    questions = [
        {"question": row["instruction"], "answer": row["output"].split()[-1].rstrip(".")}
        for row in held_out[:6]
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    (folder / "compare.yaml").write_text(yaml.safe_dump(_COMPARISON))
    noteevents.write(folder / "notes.csv.gz", noteevents.notes(24))

    from datasets import Dataset

    Dataset.from_list(rows).save_to_disk(folder / "saved")
    for words in (TRAIN, RECORD, [*CLUSTERED, *PROXY]):
        done = process.learn(words, folder)
        if done.exit != 0:
            raise RuntimeError(f"s2l {' '.join(words)}: {done.brief}")
    for name in ("runs/model", "runs/losses"):
        shutil.rmtree(folder / name)


def lay_out(scenario: Scenario, materials: Path, folder: Path) -> None:
    """Make ``folder`` what the command of a scenario finds, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in scenario.needs:
        copy: Callable[..., object] = (
            shutil.copytree if (materials / name).is_dir() else shutil.copy2
        )
        copy(materials / name, folder / name)


def _row(number: int) -> dict[str, str]:
    kind = ("sum", "product", "difference")[number % 3]
    left, right = number, number * 7 % 31
    value = {"sum": left + right, "product": left * right, "difference": left - right}[kind]
    return {
        "instruction": f"What is the {kind} of {left} and {right}?",
        "output": "Easy. " * (number % 4) + f"It is {value}.",
        "source": kind,
    }
