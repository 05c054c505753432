"""A sample of what the fault kit claims; ``make faults`` tries all of it (docs/reliability.md)."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import real
from tests.faults import disk
from tests.faults.__main__ import CHUNK, Worker, chunks, in_memory, read_book
from tests.faults.campaigns import CAMPAIGNS
from tests.faults.known import reason_for
from tests.faults.malformed import mutate
from tests.faults.process import compiler
from tests.faults.trees import differences, tree_of

KILLED = ("select-folder", "select-given", "record", "export-trl", "train", "run", "evaluate")
SAMPLE = {
    "fail": ("select-random", "train"),
    "left": ("select-random", "prepare"),
    "double": ("record", "select-folder"),
    "power": ("select-random", "load"),
    "training": ("record",),
    "stop": ("record",),
    "stop-twice": ("select-given",),
    "damage": ("select-given",),
    "damage-half": ("record",),
    "damage-read": ("select-proxy",),
    "manifest": ("select-random",),
    "malformed": ("load",),
    "hostile": ("inspect",),
    "sealed": ("select-given",),
    "models": ("record-model",),
    "planted": ("select-random", "inspect"),
}
"""Scenarios of each campaign of which a few trials are made here."""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """A process with its libraries loaded that makes trials."""
    if compiler() is None:
        pytest.skip("no C compiler (cc), which makes the library that fails operations")
    with TemporaryDirectory(dir=in_memory(), prefix="faults-") as name:
        found = Worker(Path(name))
        yield found
        found.close()


def broken(worker: Worker, campaign: str, scenario: str, trials: int) -> list[str]:
    """Make some trials, and list those whose claim did not hold, but for what is known."""
    chunk = (campaign, scenario, 1, 0, trials)
    results = [one for one in worker.ask({"chunk": chunk}) if "trial" in one]
    return [
        f"python -m tests.faults '{one['trial']}': {one['what']}"
        for one in results
        if one["what"] and reason_for(one["trial"], one["what"]) is None
    ]


@pytest.mark.parametrize("scenario", KILLED)
def test_a_killed_command_given_again_leaves_what_it_always_leaves(
    scenario: str, worker: Worker
) -> None:
    assert broken(worker, "kill", scenario, 2) == []


@pytest.mark.parametrize(("campaign", "scenario"), [(c, s) for c in SAMPLE for s in SAMPLE[c]])
def test_what_is_promised_under_faults_holds(campaign: str, scenario: str, worker: Worker) -> None:
    assert broken(worker, campaign, scenario, 2) == []


def test_of_many_starts_at_once_one_works(worker: Worker) -> None:
    for trial in ("race/select-random/folder@8", "race/select-random/out@8"):
        assert [one["what"] for one in worker.ask({"trial": trial})] == [""]


def test_the_others_end_when_one_of_several_processes_is_killed_or_stopped(worker: Worker) -> None:
    for trial in ("ranks/record/2:1:SIGSTOP@0.9>1", "ranks/record/2:0:kill@60>2"):
        assert [one["what"] for one in worker.ask({"trial": trial})] == [""]


def test_the_kit_goes_on_with_what_it_has_not_tried(tmp_path: Path) -> None:
    log, targets = tmp_path / "results.jsonl", {"race": 99}
    first, second = islice(chunks(targets, read_book(log)), 2)
    lines = [{"trial": "race/train/out@2", "what": "", "seconds": 1}]
    lines.append({"chunk": first, "listed": CHUNK})
    log.write_text("\n".join(map(json.dumps, lines)) + '\n{"chunk": ["ra')
    book = read_book(log)
    assert book.held["race"] == 1
    assert next(chunks(targets, book)) == second
    for scenario in CAMPAIGNS["race"].scenarios:  # there are no more of them
        book.add({"chunk": ("race", scenario, 0, 0, CHUNK), "listed": CHUNK - 1})
    assert list(chunks(targets, book)) == []


@pytest.mark.faults
@pytest.mark.real_data
def test_a_selection_from_real_rows_killed_ten_times_ends_in_the_same_bytes(
    tmp_path: Path,
) -> None:
    command = [
        sys.executable, "-m", "smalltolarge", "select", str(real("train/mathmix.jsonl")),
        "--budget", "11%", "--out", "subset.jsonl", "--proxy", "scratch-0.1m", "--clusters", "20",
        "--epochs", "0.02", "--checkpoints", "2", "--max-length", "192", "--threads", "1",
    ]  # fmt: skip
    folders = [tmp_path / name for name in ("whole", "killed")]
    for folder in folders:
        folder.mkdir()
    began = time.monotonic()
    subprocess.run(command, cwd=folders[0], check=True)
    took = time.monotonic() - began
    draw, kills = Random(took), 0
    while kills < 10:
        process = subprocess.Popen(command, cwd=folders[1])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.05, 0.4) * took)
        process.kill()
        if process.wait() == 0:
            break
        kills += 1
    subprocess.run(command, cwd=folders[1], check=True)
    print(f"{kills} kills, {took:.0f} s undisturbed")
    assert differences(*map(tree_of, reversed(folders))) == []


def test_times_in_tables_do_not_count_and_all_else_does(tmp_path: Path) -> None:
    table = "|method|loss|seconds of training|\n|---|---:|---:|\n|s2l|{}|{}|\n"
    trees = []
    for loss, seconds in (("1.0", "3"), ("1.0", "14"), ("1.1", "3")):
        (tmp_path / "table.md").write_text(table.format(loss, seconds))
        row = {"loss": loss, "break_even_seconds": seconds}
        (tmp_path / "table.json").write_text(json.dumps({"rows": [row]}))
        trees.append(tree_of(tmp_path))
    assert differences(trees[0], trees[1]) == []
    assert differences(trees[0], trees[2]) == ["table.json is other", "table.md is other"]


def test_a_name_outlives_a_power_loss_when_its_folder_was_synced(tmp_path: Path) -> None:
    def did(what: str, path: str, second: str = "", data: bytes = b"") -> disk.Operation:
        return disk.Operation(what, path, second, 0, data, 0)

    log = [
        did("open", "new"),
        did("write", "new", data=b"text"),
        did("rename", "new", "name"),
        did("sync", "."),
        did("sync", "name"),
    ]
    left = {
        model: [dict(image) for _, image in disk.images(disk.Disk(tmp_path, model), log)]
        for model in disk.MODELS
    }
    assert left["strict"] == [{}, {"name": b""}, {"name": b"text"}]
    assert left["eager"] == [{"new": b""}, {"name": b""}, {"name": b"text"}]
    assert left["ordered"] == [{}, {"name": b""}, {"name": b"text"}]


def test_trees_differ_in_what_is_left_over_missing_or_other() -> None:
    assert differences({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == [
        "a is left over", "c is missing", "b is other",
    ]  # fmt: skip


def test_the_same_seed_mutates_in_the_same_way() -> None:
    first, again, other = (
        [mutate(b'{"a": 1}\n' * 20, draw) for _ in range(9)]
        for draw in (Random(3), Random(3), Random(4))
    )
    assert first == again != other
    assert len(set(islice(first, 9))) > 5
