"""One recording in several processes: the same bytes from any number, whatever becomes of one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from threading import Timer
from typing import Any

import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file
from torch.distributed import TCPStore

from smalltolarge.cli import processes
from smalltolarge.errors import Interrupted, RecipeError, S2LError
from smalltolarge.lm import Prepared, World, joined, prepare, record
from smalltolarge.lm.plan import SHARDS, cut_into_units, dealt
from smalltolarge.settings import ProxySettings

from .conftest import Cli
from .lm_samples import examples_of, model_folder, sums
from .processes import forks, python

ROWS = 36
SECONDS = 20.0
"""How long a process may say nothing, unless a test says otherwise."""
LOOKING = 5.0
"""Seconds in which it is found out who is gone."""


def prepared_with(n: int = ROWS, **settings: Any) -> Prepared:
    """Prepare a recording of 6 steps, of more units in a batch than there are shards."""
    usual: dict[str, Any] = {
        "proxy": "scratch-0.1m", "epochs": 2, "batch_size": 12, "checkpoints": 4,
        "unit_tokens": 60, "threads": 1, "precision": "float32",
    }  # fmt: skip
    return prepare(examples_of(sums(n)), ProxySettings(**(usual | settings)), 3)


def take_part(
    rank: int,
    size: int,
    port: int,
    folder: Path,
    pause: float,
    stops_at: int,
    seconds: float,
    given: dict[str, Any],
) -> None:
    """Be one process of a recording; write what came of it into ``folder``."""
    named = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in named.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", TORCHELASTIC_USE_AGENT_STORE="True")
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        time.sleep(pause)
        if calls == stops_at:
            raise Interrupted("stopped by a signal")

    told: dict[str, Any] = {}
    world = Meeting(rank, size, seconds, given.pop("meets", "at once"))
    try:
        with joined(world, "cpu"):
            if given.pop("is_stopped", False):
                os.kill(os.getpid(), signal.SIGSTOP)
            kept = None if rank else folder / "state"
            prepared = prepared_with(**given)
            found = record(prepared, folder=kept, check=check, world=world)
        told["facts"] = sorted(found.facts)
        losses = found.trajectories.losses
        told["digest"] = hashlib.sha256(losses.tobytes()).hexdigest()
        told["losses"] = losses.tolist()
    except S2LError as error:
        told |= {
            "error": str(error),
            "kind": type(error).__name__,
            "speaks": world.speaker == rank,
        }
    told |= {"calls": calls}
    (folder / f"{rank}.json").write_text(json.dumps(told))


class Meeting(World):
    """A process that may be gone before it comes, come late, or be gone while all connect."""

    def __init__(self, rank: int, size: int, seconds: float, how: str) -> None:
        super().__init__(rank, size, seconds)
        self.how = how

    def join(self, kind: str) -> None:
        if self.how == "never":
            os.kill(os.getpid(), signal.SIGKILL)
        super().join(kind)

    def _connect(self, kind: str) -> None:
        if self.how == "late":
            time.sleep(1)
        if self.how == "killed":
            Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
        super()._connect(kind)


class Several:
    """Processes of one recording, each a fork that finds torch loaded.

    Every check takes ``pause`` seconds, and that of a rank in ``stops`` is stopped at a number.
    """

    def __init__(
        self,
        size: int,
        folder: Path,
        *,
        pause: float = 0.0,
        stops: dict[int, int] | None = None,
        seconds: float = SECONDS,
        last: dict[str, Any] | None = None,
        **given: Any,
    ) -> None:
        self.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self.folder = folder
        for file in folder.glob("*.json"):
            file.unlink()
        self.processes: list[BaseProcess] = []
        for rank in range(size):
            own = given | ((last or {}) if rank == size - 1 else {})
            stop = (stops or {}).get(rank, 0)
            words = (rank, size, self.store.port, folder, pause, stop, seconds, own)
            self.processes.append(forks.Process(target=take_part, args=words))
        for process in self.processes:
            process.start()

    def wait_for(self, name: str) -> None:
        """Wait until there is such a file among what is kept."""
        while not (self.folder / "state" / name).exists():
            assert any(process.is_alive() for process in self.processes)
            time.sleep(0.002)

    def signal(self, rank: int, number: signal.Signals) -> None:
        pid = self.processes[rank].pid
        assert pid is not None
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def outcomes(self, seconds: float = 120) -> list[dict[str, Any] | None]:
        """Give what each came to; None for one that was killed."""
        end = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(end - time.monotonic(), 0.01))
        alive = [process for process in self.processes if process.exitcode is None]
        for process in alive:
            process.kill()
        files = [self.folder / f"{rank}.json" for rank in range(len(self.processes))]
        return [json.loads(file.read_text()) if file.exists() else None for file in files]


def digest_with(size: int, folder: Path, **given: Any) -> str:
    """Record to the end in so many processes; all have the same trajectories."""
    folder.mkdir(exist_ok=True)
    outcomes = Several(size, folder, **given).outcomes()
    (digest,) = {str(outcome and outcome.get("digest", outcome)) for outcome in outcomes}
    return digest


def digest_alone(**given: Any) -> str:
    losses = record(prepared_with(**given)).trajectories.losses
    return hashlib.sha256(losses.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def alone() -> str:
    assert prepared_with().order.units_of_a_batch() > SHARDS
    return digest_alone()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("rounds", [1, 5])
def test_every_example_is_dealt_exactly_once(size: int, more: int, rounds: int) -> None:
    n = size * 4 * rounds + more
    units = cut_into_units(np.arange(n), np.full(n, 10), 40)
    rows = [row for rank in range(size) for unit in dealt(units, rank, size) for row in unit]
    assert sorted(rows) == list(range(n))
    counts = [len(dealt(units, rank, size)) for rank in range(size)]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("units", [1, 2, 3, 5, 8, 13, 40])
def test_worlds_of_1_2_4_and_8_add_by_one_tree(units: int) -> None:
    def tree(shards: Sequence[Any]) -> Any:
        if len(shards) == 1:
            return tuple(shards[0])
        return frozenset([tree(shards[::2]), tree(shards[1::2])])

    def of(size: int) -> Any:
        parts = []
        for rank in range(size):
            own = dealt(range(units), rank, size)
            shards = SHARDS // size
            parts.append(tree([dealt(own, shard, shards) for shard in range(shards)]))
        distance = size // 2
        while distance:
            parts = [frozenset([parts[r], parts[r ^ distance]]) for r in range(size)]
            distance //= 2
        (one,) = set(parts)
        return one

    assert of(1) == of(2) == of(4) == of(8)


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.faults)])
def test_any_number_of_processes_records_the_same_bytes(
    size: int, alone: str, tmp_path: Path
) -> None:
    assert digest_with(size, tmp_path) == alone


@pytest.mark.faults
def test_a_recording_goes_on_in_another_number_of_processes(alone: str, tmp_path: Path) -> None:
    for size, stage in ((2, "losses-1"), (1, "losses-2")):
        several = Several(size, tmp_path, pause=0.05)
        several.wait_for(f"{stage}.safetensors")
        for process in several.processes:
            process.kill()
        several.outcomes()
    assert digest_with(4, tmp_path) == alone


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.faults)])
def test_a_killed_process_ends_the_others_by_name(rank: int, alone: str, tmp_path: Path) -> None:
    several = Several(2, tmp_path, pause=0.05)
    several.wait_for("losses-1.safetensors")
    time.sleep(0.1)
    several.signal(rank, signal.SIGKILL)
    began = time.monotonic()
    outcome = several.outcomes()[1 - rank]
    assert time.monotonic() - began < 2 * LOOKING
    assert outcome is not None and outcome["kind"] == "Interrupted"
    assert outcome["error"].startswith(f"rank {rank} on ")
    assert "ended; what is done is kept, and the same command goes on" in outcome["error"]
    assert outcome["speaks"]
    assert digest_with(1, tmp_path) == alone


@pytest.mark.faults
@pytest.mark.parametrize("reads", [True, False])
def test_a_process_that_says_nothing_ends_the_others_by_name(reads: bool, tmp_path: Path) -> None:
    last = {"is_stopped": True} if reads else None
    several = Several(2, tmp_path, pause=0.05, seconds=3.0, last=last)
    if not reads:
        several.wait_for("losses-1.safetensors")
        several.signal(1, signal.SIGSTOP)
    began = time.monotonic()
    several.processes[0].join(3 + 2 * LOOKING)
    assert time.monotonic() - began < 3 + 2 * LOOKING
    several.signal(1, signal.SIGKILL)
    outcome = several.outcomes()[0]
    assert outcome is not None and "said nothing for 3 s; what is done" in outcome["error"]
    assert outcome["error"].startswith("rank 1 on ")


def test_one_that_is_stopped_stops_all_at_the_same_step(alone: str, tmp_path: Path) -> None:
    outcomes = Several(2, tmp_path, stops={1: 30}).outcomes()
    for outcome in outcomes:
        assert outcome is not None
        assert (outcome["kind"], outcome["error"]) == ("Interrupted", "stopped by a signal")
        assert outcome["calls"] == 30
    assert (tmp_path / "state" / "state.safetensors").exists()
    assert digest_with(1, tmp_path) == alone


@pytest.mark.parametrize(
    ("other", "what"),
    [
        pytest.param({"n": 35}, "rows", marks=pytest.mark.faults),
        ({"epochs": 4}, "epochs is 2 on rank 0, 4 there"),
    ],
)
def test_processes_with_other_data_or_settings_are_told_at_the_start(
    other: dict[str, Any], what: str, tmp_path: Path
) -> None:
    outcomes = Several(2, tmp_path, last=other).outcomes()
    for outcome in outcomes:
        assert outcome is not None and outcome["kind"] == "DataError"
        assert "has not what rank 0 has: " in outcome["error"]
        assert what in outcome["error"]
        assert outcome["calls"] == 0
    assert not (tmp_path / "state" / "losses-0.safetensors").exists()


def test_what_ends_one_process_is_told_by_rank_0(tmp_path: Path) -> None:
    wrong = {"max_length": 1}
    first, second = Several(2, tmp_path, last=wrong).outcomes()
    assert first is not None and second is not None
    assert first["kind"] == second["kind"] == "DataError"
    assert first["error"].startswith("rank 1 on ")
    assert first["error"].endswith(second["error"])


@pytest.mark.parametrize("losses", ["free", "perturbed"])
def test_free_losses_and_dropout_and_perturbed_ones_are_the_same_bytes_too(
    losses: str, tmp_path: Path
) -> None:
    config = transformers.GPT2Config(
        vocab_size=384, n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=None,
        eos_token_id=None,
    )  # fmt: skip
    assert config.resid_pdrop
    given: dict[str, Any] = {
        "proxy": str(model_folder(tmp_path / "model", config)), "losses": losses,
    }  # fmt: skip
    assert digest_with(2, tmp_path / "two", **given) == digest_alone(**given)


OPTIONS = [
    "--proxy", "scratch-0.1m", "--epochs", "2", "--checkpoints", "3", "--batch-size", "12",
    "--unit-tokens", "256", "--threads", "1",
]  # fmt: skip


@pytest.mark.usefixtures("data")
def test_the_command_begins_its_processes_and_one_of_them_speaks(tmp_path: Path, s2l: Cli) -> None:
    s2l("record", "data.jsonl", *OPTIONS, "--out", "one.parquet")
    done = s2l("record", "data.jsonl", *OPTIONS, "--out", "two.parquet", "--processes", "2")
    assert (tmp_path / "two.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
    assert done.stderr.count("2 processes on ") == 1
    assert done.stdout.count("Trajectories  two.parquet") == 1
    again = s2l("record", "data.jsonl", *OPTIONS, "--out", "two.parquet")
    assert "there is nothing to do" in again.stderr


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("weights", [(), ("--weights", "w")])
def test_two_processes_train_one_target_by_trl(
    weights: tuple[str, ...], tmp_path: Path, s2l: Cli
) -> None:
    data = tmp_path / "data.jsonl"
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    data.write_text("".join(f"{json.dumps({**row, 'w': len(row['output'])})}\n" for row in rows))
    plain = [
        "train", "scratch-0.1m", "data.jsonl", "--epochs", "1", "--batch-size", "24", "--threads",
        "1", "--learning-rate", "1e-3",
    ]  # fmt: skip
    words = [*plain, *weights, "--accumulate", "2", "--out"]
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    meeting = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "2",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }  # fmt: skip

    def take_part(words: list[str], rank: int) -> subprocess.CompletedProcess[str]:
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        return python(["-m", "smalltolarge", *words], tmp_path, {**os.environ, **meeting, **own})

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(partial(take_part, [*words, "two"]), range(2))
    assert first.returncode == 0
    assert first.stderr.count("2 processes on ") == 1
    assert (second.returncode, second.stdout) == (0, "")
    s2l(*words, "one")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, weight in one.items():
        np.testing.assert_allclose(two[name], weight, atol=1e-5)
    assert "there is nothing to do" in s2l(*words, "two").stderr
    refused = take_part([*plain, "--trainer", "own", "--out", "three"], 0)
    assert refused.returncode == 2
    assert "--trainer own trains in one process, and 2 were begun" in refused.stderr


@pytest.mark.usefixtures("data")
def test_processes_that_cannot_be_begun_are_refused(s2l: Cli) -> None:
    for options, said in [
        (["--devices", "3"], "GPUs are visible here"),
        (["--devices", "1", "--processes", "2"], "give one of them"),
    ]:
        assert said in s2l("record", "data.jsonl", *options, expect=2).stderr
    lone = s2l("record", "data.jsonl", expect=2, RANK="0")
    assert "RANK is set, and WORLD_SIZE is ''" in lone.stderr


@pytest.mark.parametrize(
    ("devices", "proxy", "shown", "found"),
    [
        (None, "auto", "", (4, 4, None)),
        (None, "cuda:1", "", (1, 4, None)),
        ("2", "auto", "", (2, 4, "0,1")),
        ("0,2", "cuda", "", (2, 4, "0,2")),
        ("2,", "auto", "", (1, 4, "2")),
        ("0,2", "auto", "4,5,6,7", (2, 4, "4,6")),
    ],
)
def test_devices_are_so_many_gpus_or_a_list_of_them(
    devices: str | None,
    proxy: str,
    shown: str,
    found: tuple[int, int, str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    number, visible, environment = processes.gpus(ProxySettings(device=proxy), devices)
    assert (number, visible, environment.get("CUDA_VISIBLE_DEVICES")) == found
    for wrong in ("5", "0", "1,1", "4,", "two", "-1", ""):
        with pytest.raises(RecipeError, match="4 GPUs are visible here"):
            processes.gpus(ProxySettings(), wrong)


def test_a_process_that_is_killed_while_all_connect_ends_the_others_by_name(tmp_path: Path) -> None:
    several = Several(2, tmp_path, seconds=4, meets="late", last={"meets": "killed"})
    first, second = several.outcomes()
    assert second is None and first is not None and first["kind"] == "Interrupted"
    said = r"rank 1 (ended|said nothing for 4 s); what is done is kept"
    assert re.match(said, first["error"]) and first["speaks"]


def test_a_process_that_does_not_come_is_named(tmp_path: Path) -> None:
    first, second, third = Several(3, tmp_path, seconds=2, last={"meets": "never"}).outcomes()
    assert first is not None and second is not None and third is None
    assert "the processes do not meet (rank 2 did not come in 2 s)" in first["error"]
    assert [first["speaks"], second["speaks"]] == [True, False]


@pytest.mark.faults
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_command_ends_its_processes(
    number: signal.Signals, tmp_path: Path, s2l: Cli
) -> None:
    words = ["record", "data.jsonl", *OPTIONS, "--epochs", "8", "--out", "t.parquet"]
    command = [sys.executable, "-m", "smalltolarge", *words, "--processes", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    kept = tmp_path / "runs" / "t" / ".working" / "proxy"
    while not (kept / "losses-1.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]  # once all have closed it
    if number == signal.SIGTERM:
        assert process.returncode == 75
        assert said.count("stopped by SIGTERM; what is done is kept. To go on: ") == 1
        assert "--processes 2" in said
    s2l(*words)
    s2l(*words[:-1], "alone.parquet")
    assert (tmp_path / "t.parquet").read_bytes() == (tmp_path / "alone.parquet").read_bytes()


@pytest.mark.faults
def test_three_processes_differ_by_rounding_alone(tmp_path: Path) -> None:
    outcome = Several(3, tmp_path).outcomes()[0]
    assert outcome is not None
    losses = record(prepared_with()).trajectories.losses
    assert "all_reduced_steps" in outcome["facts"]
    np.testing.assert_allclose(np.array(outcome["losses"]), losses, atol=1e-5)


@pytest.mark.faults
def test_fifty_kills_of_one_process_change_nothing(alone: str, tmp_path: Path) -> None:
    random, kills, ends = Random(0), 0, 0
    while kills < 50:
        several = Several(2, tmp_path, pause=0.02, seconds=LOOKING)
        rank = random.randrange(2)
        several.processes[rank].join(random.uniform(0, 4))
        several.signal(rank, signal.SIGKILL)
        began = time.monotonic()
        outcome = several.outcomes()[1 - rank]
        assert time.monotonic() - began < 4 * LOOKING
        assert outcome is not None
        if "digest" in outcome:
            assert outcome["digest"] == alone
            shutil.rmtree(tmp_path / "state")
            ends += 1
        else:
            unmet = "the processes do not meet" in outcome["error"]  # killed before they did
            assert unmet or outcome["kind"] == "Interrupted", outcome["error"]
            kills += 1
    assert digest_with(4, tmp_path) == alone
    assert ends
