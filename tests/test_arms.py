"""Several processes on one comparison: every arm once, and what one process alone would leave."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

import smalltolarge
from smalltolarge.errors import RecipeError
from smalltolarge.runs import stages
from smalltolarge.runs.recipe import CompareRecipe, read, read_yaml

from .conftest import Cli, command_line, write_data
from .faults.trees import differences, tree_of
from .processes import SECONDS, start

_MODEL = {"epochs": 1, "threads": 1, "device": "cpu", "template": "alpaca"}
SHARED: dict[str, Any] = {
    "data": ["data.jsonl"],
    "methods": ["s2l"],
    "budgets": ["20%"],
    "seeds": [0],
    "proxy": {"proxy": "scratch-0.1m", "checkpoints": 3, **_MODEL},
    "target": {"target": "scratch-0.1m", "trainer": "own", "save_every": 1, **_MODEL},
    "evaluation": {"held_out": ["held-out.jsonl"]},
}
"""A comparison of seconds: a proxy, and the arms full, s2l and random."""
RUN = ["run", "small.yaml", "--out", "runs/several"]
NAMES = ["full-100pct-epochs-0", "s2l-20pct-epochs-0", "random-20pct-epochs-0"]


def lay_out(folder: Path) -> None:
    data = write_data(folder)
    lines = data.read_text().splitlines(keepends=True)
    data.write_text("".join(lines[:64]))
    (folder / "held-out.jsonl").write_text("".join(lines[100:]))
    (folder / "small.yaml").write_text(yaml.safe_dump(SHARED))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one process leaves."""
    folder = tmp_path_factory.mktemp("alone")
    lay_out(folder)
    command_line(folder)(*RUN)
    return tree_of(folder)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recipe and its data in the current folder."""
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recipe() -> CompareRecipe:
    return read(read_yaml(Path("small.yaml")), CompareRecipe).resolved()


def test_two_commands_on_one_folder_leave_what_one_leaves(
    here: Path, s2l: Cli, alone: dict[str, str]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        shown = list(pool.map(lambda _: s2l(*RUN).stdout, range(2)))
    assert differences(tree_of(here), alone) == []
    assert all("s2l" in one and "random" in one for one in shown)
    assert "there is nothing to do" in s2l(*RUN).stderr


def test_arms_one_after_the_other_leave_what_one_process_leaves(
    here: Path, s2l: Cli, alone: dict[str, str]
) -> None:
    listed = json.loads(s2l(*RUN, "--list-arms", "--json").stdout)
    assert [one["name"] for one in listed] == NAMES
    assert not any(one["done"] for one in listed) and not (here / "runs").exists()
    assert "there is no run folder" in s2l(*RUN, "--table", expect=4).stderr
    assert "3 arms are not done" in s2l(*RUN, "--shared").stdout
    assert len(list((here / "runs/several").glob("ranking-*.parquet"))) == 2
    assert "no arm is done yet" in s2l(*RUN, "--table", expect=4).stderr
    other = s2l(*RUN, "--list-arms", "--set", "target.epochs=2", expect=4).stderr
    assert "target.epochs: 1.0 there, 2.0 now" in other
    assert "2 arms are not done" in s2l(*RUN, "--arm", "2").stdout
    so_far = s2l(*RUN, "--table").stdout
    assert "s2l" in so_far and f"2 arms are not done: {NAMES[0]}, {NAMES[2]}" in so_far
    assert not (here / "runs/several/table.md").exists()
    assert f"   2  {NAMES[1]}  done" in s2l(*RUN, "--list-arms").stdout
    again = s2l(*RUN, "--arm", NAMES[1])
    assert "there is nothing to do" in again.stderr
    last = s2l(*RUN, "--arm", "3", "--arm", NAMES[0])
    assert "Table  runs/several/table.md" in last.stdout
    assert "Table  runs/several/table.md" in s2l(*RUN, "--table").stdout
    assert differences(tree_of(here), alone) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--arm", "4"], "there is no arm '4'; "),
        (["--arm", "s2l-20pct-epochs-1"], "did you mean s2l-20pct-epochs-0?"),
        (["--arm", "1", "--jobs", "2"], "--arm and --jobs: give one of them"),
        (["--jobs", "0"], "--jobs 0: a whole number from 1"),
        (["--json"], "--json goes with --list-arms"),
        (["--submit", "--table"], "--submit goes with --on"),
    ],
)
def test_what_cannot_be_divided_is_refused(
    here: Path, s2l: Cli, words: list[str], said: str
) -> None:
    assert said in s2l(*RUN, *words, expect=2).stderr
    assert not (here / "runs").exists()


def test_what_another_process_does_is_waited_for_or_refused(
    here: Path, s2l: Cli, alone: dict[str, str]
) -> None:
    folder = Path("runs/several")
    with ThreadPoolExecutor(1) as pool:
        with (
            stages.hold(recipe(), folder, shared=True) as (run, _),
            run.claim(f"arm {NAMES[1]}") as place,
        ):
            waits = pool.submit(s2l, *RUN)
            wait_until(lambda: len(list(folder.glob("arm-*.json"))) == 2)
            said = s2l(*RUN, "--arm", NAMES[1], "--no-wait", expect=4).stderr
            assert f"runs/several: arm {NAMES[1]} is in use by another run (process " in said
            assert "in use by another run" in s2l("inspect", folder, expect=4).stderr
            assert not waits.done()
            run.is_left_open = True
            (place / "left").touch()
        assert "s2l" in waits.result().stdout
    assert differences(tree_of(here), alone) == []


def test_what_a_killed_process_did_another_takes_up(
    here: Path, alone: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    printed = tmp_path_factory.mktemp("printed")
    words, delay = ["-m", "smalltolarge", *RUN], Random().uniform(0.2, 3)
    first, second = (
        start(words, here, os.environ, [printed / f"{number}-{name}" for name in ("out", "err")])
        for number in range(2)
    )
    first.join(delay)
    first.kill()
    second.join(SECONDS)
    assert second.exitcode == 0, (delay, (printed / "1-err").read_text())
    assert differences(tree_of(here), alone) == [], delay


@pytest.mark.faults
def test_a_killed_worker_loses_its_arm_to_another_and_nothing_else(
    here: Path, alone: dict[str, str]
) -> None:
    folder = here / "runs" / "several"
    command = [sys.executable, "-m", "smalltolarge", *RUN, "--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: list(folder.glob(".working/arm-*/.lock")) != [])
        delay = Random().uniform(0, 0.5)
        time.sleep(delay)
        held = [file.read_text() for file in folder.glob(".working/arm-*/.lock")]
        for holder in held[:1]:
            os.kill(int(holder.split()[1]), signal.SIGKILL)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 0, (delay, said)
    assert "2 workers of 1 thread on" in said
    assert not held or "a worker was ended by SIGKILL" in said
    assert differences(tree_of(here), alone) == [], delay


def test_every_worker_has_a_gpu_of_its_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from smalltolarge.lm.device import visible_gpus

    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5, GPU-7")
    assert visible_gpus() == ["GPU-5", "GPU-7"]
    anywhere = {"target": {**SHARED["target"], "device": "auto"}}
    with pytest.raises(RecipeError, match="a GPU of its own, and 2 can be seen"):
        smalltolarge.run(SHARED | anywhere, out="runs/several", jobs=3)


def wait_until(there: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not there():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_several_processes_are_refused_where_there_are_no_locks(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", fail)
    for words in ({"arms": [1]}, {"jobs": 2}):
        with pytest.raises(RecipeError, match="its file system has no locks"):
            smalltolarge.run("small.yaml", out="runs/several", **words)
    assert not (here / "runs/several").exists()


SBATCH = """\
#!{python}
# Takes what the manual of sbatch says: options, and a script on the standard input; the job begins
# when those that it depends on have ended well. The jobs of an array find their numbers in
# SLURM_ARRAY_TASK_ID.
import os, pathlib, subprocess, sys
known = {{"--parsable", "--job-name", "--chdir", "--dependency", "--kill-on-invalid-dep", "--array",
         "--gres"}}
options = dict(word.partition("=")[::2] for word in sys.argv[1:])
assert options.keys() <= known, options
log = pathlib.Path(os.environ["JOBS"])
number = 7 + len(log.read_text().splitlines()) if log.exists() else 7
if "--dependency" in options:
    kind, _, before = options["--dependency"].partition(":")
    assert kind == "afterok" and f"job {{before}} 0" in log.read_text().splitlines()
script = sys.stdin.read()
ends = [part.split("-") for part in options["--array"].split(",")] if "--array" in options else []
tasks = [n for end in ends for n in range(int(end[0]), int(end[-1]) + 1)] or [None]
for task in tasks:
    given = {{}} if task is None else {{"SLURM_ARRAY_TASK_ID": str(task)}}
    code = subprocess.run(["sh", "-c", script], cwd=options["--chdir"], env=os.environ | given)
    with log.open("a") as file:
        print("job", number, code.returncode, file=file)
print(f"{{number}};cluster" if "--parsable" in options else f"Submitted batch job {{number}}")
"""
SRUN = """\
#!{python}
import json, os, pathlib, sys
with pathlib.Path(os.environ["STEPS"]).open("a") as file:
    print(json.dumps(sys.argv[1:]), file=file)
"""


def test_slurm_does_the_shared_stages_and_then_the_arms_that_are_not_done(
    here: Path, s2l: Cli, alone: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("slurm")
    for name, program in (("sbatch", SBATCH), ("srun", SRUN)):
        (place / name).write_text(program.format(python=sys.executable))
        (place / name).chmod(0o755)
    s2l(*RUN, "--arm", "2")
    assert "there is no sbatch here" in s2l(*RUN, "--on", "slurm", "--submit", expect=2).stderr
    script = s2l(*RUN, "--set", "target.threads=1", "--on", "slurm").stdout
    surroundings = {
        **os.environ,
        "PATH": f"{place}:{os.environ['PATH']}",
        "JOBS": str(place / "jobs"),
        "STEPS": str(place / "steps"),
    }
    (place / "script").write_text(script)
    done = subprocess.run(
        ["sh", place / "script", "--gres=gpu:1"],
        env=surroundings, cwd=place, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "Submitted batch job 8\n" and done.stderr == ""
    steps = [json.loads(line) for line in (place / "steps").read_text().splitlines()]
    assert [step[-1] for step in steps] == ["--shared", "1", "3"]
    for step in steps:
        assert step[:3] == [sys.executable, "-m", "smalltolarge"]
        s2l(*step[3:])
    assert differences(tree_of(here), alone) == []
    assert "all arms are done" in s2l(*RUN, "--on", "slurm").stderr


@pytest.mark.faults
def test_tasks_of_ray_leave_what_one_process_leaves(here: Path, alone: dict[str, str]) -> None:
    pytest.importorskip("ray", reason="the package ray is not installed")
    slow = {**os.environ, "RAY_raylet_start_wait_time_s": "300"}
    command = [sys.executable, "-m", "smalltolarge", *RUN, "--on", "ray"]
    done = subprocess.run(command, env=slow, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Table  runs/several/table.md" in done.stdout
    # Ray sets OMP_NUM_THREADS, which environment.json tells.
    assert differences(tree_of(here), alone) == [
        f"runs/several/{name}.json is other" for name in ("environment", "manifest")
    ]
