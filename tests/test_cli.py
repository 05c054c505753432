"""The command line as a user meets it: real files, real training, real signals."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
import yaml
from typer.testing import CliRunner

import smalltolarge
from smalltolarge import store
from smalltolarge.cli.commands import app
from smalltolarge.errors import IntegrityError, OutOfSpace, RecipeError, StaleArtifact
from smalltolarge.examples import load
from smalltolarge.progress import Watch
from smalltolarge.runs import estimate
from smalltolarge.runs.manifest import as_bytes
from smalltolarge.runs.recipe import PRESETS
from smalltolarge.selection.s2l import S2L
from smalltolarge.trajectories import Trajectories
from smalltolarge.verbs.verify import verify

from . import processes
from .conftest import QUICK, SELECT, Cli, check_facts, write_data

CLI: Any = typer.main.get_command(app)
RESULTS = ["trajectories.parquet", "selection.parquet", "clusters.parquet"]


def test_one_command_gives_the_subset_and_a_run_folder(tmp_path: Path, finished: str) -> None:
    lines = (tmp_path / "data.jsonl").read_bytes().splitlines(keepends=True)
    subset = (tmp_path / "subset.jsonl").read_bytes().splitlines(keepends=True)
    assert len(subset) == 24
    places = [lines.index(line) for line in subset]
    assert places == sorted(places)
    run = tmp_path / "runs" / "subset"
    assert {path.name for path in run.iterdir()} == {
        ".lock", "clusters.parquet", "environment.json", "excluded.jsonl", "manifest.json",
        "proxy.safetensors", "recipe.yaml", "selection.parquet", "tokenizer.json",
        "trajectories.parquet",
    }  # fmt: skip
    for words in ("Rows read", "120", "Rows selected", "20.0%", "cot/", "Next", "--trajectories"):
        assert words in finished
    table = pq.read_table(run / "selection.parquet").to_pydict()
    chosen = [row for row, taken in zip(table["row"], table["selected"], strict=True) if taken]
    assert chosen == [place + 1 for place in places]
    assert sorted(table["rank"]) == list(range(120))
    assert set(table["reason"]) == {"selected", "not selected"}
    clusters = pq.read_table(run / "clusters.parquet").to_pydict()
    assert sum(clusters["size"]) == 120
    assert sum(clusters["selected"]) == 24


def test_what_a_subset_has_to_beat_is_offered_as_a_command_that_runs(
    tmp_path: Path, s2l: Cli, finished: str
) -> None:
    def offered(shown: str) -> list[str]:
        line = shown.split("what it has to beat: ")[1].splitlines()[1]
        return shlex.split(line)[1:]

    command = offered(finished)
    assert command[command.index("--method") + 1] == "random-by-source"
    again = offered(s2l(*command).stdout)
    assert again[again.index("--method") + 1] == "random"
    assert "what it has to beat" not in s2l(*again).stdout
    rows = [json.loads(line) for line in (tmp_path / "data.jsonl").read_bytes().splitlines()]
    bare = "".join(json.dumps({**row, "source": "one"}) + "\n" for row in rows)
    (tmp_path / "bare.jsonl").write_text(bare)
    shown = s2l("select", "bare.jsonl", "--method", "longest", "--budget", "5", "--out", "l.jsonl")
    assert "--method random --budget 5" in shown.stdout


@pytest.mark.usefixtures("finished")
def test_the_same_command_again_has_nothing_to_do(tmp_path: Path, s2l: Cli) -> None:
    files = [tmp_path / "subset.jsonl", *(tmp_path / "runs" / "subset").iterdir()]
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    del before[tmp_path / "runs" / "subset" / ".lock"]
    again = s2l(*SELECT)
    assert "nothing to do" in again.stderr
    assert "Rows selected" in again.stdout
    assert before == {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in before}


@pytest.mark.usefixtures("finished")
def test_a_lost_subset_is_written_again_from_what_is_recorded(tmp_path: Path, s2l: Cli) -> None:
    before = (tmp_path / "subset.jsonl").read_bytes()
    (tmp_path / "subset.jsonl").unlink()
    (tmp_path / "runs" / "subset" / "selection.parquet").unlink()
    assert "training" not in s2l(*SELECT, "--no-progress").stderr
    assert (tmp_path / "subset.jsonl").read_bytes() == before


@pytest.mark.usefixtures("finished")
def test_two_runs_are_the_same_bytes_and_order_does_not_matter(tmp_path: Path, s2l: Cli) -> None:
    s2l(*SELECT, "--run", "other", "--overwrite")
    for name in RESULTS:
        assert (tmp_path / "runs/subset" / name).read_bytes() == (
            tmp_path / "other" / name
        ).read_bytes()
    lines = (tmp_path / "data.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "turned.jsonl").write_text("".join(reversed(lines)))
    s2l("select", "turned.jsonl", *SELECT[2:], "--out", "turned-subset.jsonl")
    assert set((tmp_path / "subset.jsonl").read_text().splitlines()) == set(
        (tmp_path / "turned-subset.jsonl").read_text().splitlines()
    )


@pytest.mark.usefixtures("finished")
def test_recorded_losses_are_used_again_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from smalltolarge import cli\n"
        "sys.argv = ['s2l', 'select', 'data.jsonl', '--trajectories',"
        " 'runs/subset/trajectories.parquet', '--budget', '30', '--out', 'more.jsonl',"
        " '--clusters', '5']\n"
        "try: cli.main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)
    fewer = set((tmp_path / "subset.jsonl").read_text().splitlines())
    more = set((tmp_path / "more.jsonl").read_text().splitlines())
    assert (len(fewer), len(more)) == (24, 30)
    assert fewer < more


def test_record_writes_the_trajectories_that_select_would(
    tmp_path: Path, s2l: Cli, finished: str
) -> None:
    shown = s2l("record", "data.jsonl", "--out", "t.parquet", *QUICK).stdout
    assert "--trajectories t.parquet --budget 11% --out subset.jsonl" in shown
    assert (tmp_path / "t.parquet").read_bytes() == (
        tmp_path / "runs/subset/trajectories.parquet"
    ).read_bytes()
    s2l(
        "select", "data.jsonl", "--trajectories", "t.parquet", "--budget", "1K-tokens",
        "--clusters", "5", "--out", "some.jsonl",
    )  # fmt: skip
    facts = manifest(tmp_path / "runs/some")["stages"]["select"]["facts"]
    assert 800 < facts["tokens_selected"] <= 1000


@pytest.mark.usefixtures("finished")
def test_a_run_stopped_by_a_signal_says_so_and_goes_on_to_the_same_bytes(
    tmp_path: Path, s2l: Cli
) -> None:
    again = [*SELECT, "--run", "stopped", "--out", "stopped.jsonl"]
    proxy = tmp_path / "stopped" / ".working" / "proxy"
    files = [tmp_path / "stdout", tmp_path / "stderr"]
    for number in (signal.SIGTERM, signal.SIGKILL):
        so_far = len(list(proxy.glob("losses*")))
        run = processes.start(["-m", "smalltolarge", *again], tmp_path, os.environ, files)
        while run.is_alive() and len(list(proxy.glob("losses*"))) == so_far:
            time.sleep(0.01)
        assert run.pid is not None
        os.kill(run.pid, number)
        run.join(60)
        said = files[1].read_text()
        assert run.exitcode == (75 if number == signal.SIGTERM else -signal.SIGKILL), said
        assert number == signal.SIGKILL or "stopped by SIGTERM" in said
    s2l(*again)
    for name in RESULTS:
        assert (tmp_path / "runs/subset" / name).read_bytes() == (
            tmp_path / "stopped" / name
        ).read_bytes()
    assert (tmp_path / "subset.jsonl").read_bytes() == (tmp_path / "stopped.jsonl").read_bytes()
    assert not proxy.parent.exists()


@pytest.mark.usefixtures("finished")
def test_a_kill_between_the_subset_and_its_record_is_mended(tmp_path: Path, s2l: Cli) -> None:
    file = tmp_path / "runs" / "subset" / "manifest.json"
    stages = manifest(file.parent)["stages"]
    facts = stages.pop("write")["facts"]
    said = {"out": facts["out"], "sha256": facts["sha256"]}
    stages["writing"] = {"facts": said, "measured": {}, "outputs": {}}
    file.write_bytes(as_bytes(stages))
    s2l(*SELECT)
    assert list(manifest(file.parent)["stages"]) == ["load", "record", "select", "write"]


@pytest.mark.usefixtures("finished")
def test_damage_to_a_run_is_mended_without_training_again(tmp_path: Path, s2l: Cli) -> None:
    run, before = tmp_path / "runs" / "subset", (tmp_path / "subset.jsonl").read_bytes()
    with (run / "recipe.yaml").open("a") as file:
        file.write("\n")
    (run / "excluded.jsonl").write_text("damaged")
    (run / "selection.parquet").write_text("damaged")
    said = s2l(*SELECT, "--no-progress").stderr
    assert "excluded.jsonl is not what was" in said and "selection.parquet is not" in said
    assert "training" not in said
    assert (tmp_path / "subset.jsonl").read_bytes() == before
    s2l("verify", "runs/subset")


@pytest.mark.usefixtures("finished")
def test_a_selection_of_another_kind_is_refused_though_its_digest_fits(
    tmp_path: Path, s2l: Cli
) -> None:
    file = tmp_path / "runs/subset/selection.parquet"
    table = pq.read_table(file)
    n = table.num_rows
    stages = manifest(file.parent)["stages"]
    for name, values, code, told in (
        ("length", pa.array(["x"] * n), 5, "has other columns than a selection"),
        ("id", pa.nulls(n, pa.string()), 5, "selects no row"),
        ("id", pa.array(["\u00e9"] * n), 3, "have no trajectory"),
        ("selected", pa.array([False] * n), 5, "selects no row"),
    ):
        place = table.column_names.index(name)
        pq.write_table(table.set_column(place, name, values), file)
        stages["select"]["outputs"][file.name]["sha256"] = store.digest(file)
        (file.parent / "manifest.json").write_bytes(as_bytes(stages))
        assert told in s2l("verify", "runs/subset", expect=code).stderr
        assert told in s2l("inspect", "runs/subset", "--no-gradients", expect=code).stderr


@pytest.mark.usefixtures("finished")
def test_changed_trajectories_are_a_changed_input(tmp_path: Path, s2l: Cli) -> None:
    recorded = tmp_path / "runs" / "subset" / "trajectories.parquet"
    (tmp_path / "t.parquet").write_bytes(recorded.read_bytes())
    command = ["select", "data.jsonl", "--trajectories", "t.parquet", "--budget", "9", "-o"]
    s2l(*command, "nine.jsonl")
    other = Trajectories.from_parquet(recorded)
    Trajectories(other.losses + 1, other.steps, other.ids).to_parquet(tmp_path / "t.parquet")
    said = s2l(*command, "nine.jsonl", expect=4).stderr
    assert "t.parquet" in said and "changed since the run" in said


def test_an_output_that_cannot_be_or_must_not_be_is_refused_before_training(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    (tmp_path / "folder").mkdir()
    shutil.copy(data, tmp_path / "folder" / "a.jsonl")
    for source, out, words in (
        ("data.jsonl", "data.jsonl/x.jsonl", "cannot be written"),
        ("data.jsonl", "runs/x/selection.jsonl", "folder of the run"),
        ("folder", "folder/subset.jsonl", "read it as data"),
        ("folder/*.jsonl", "folder/subset.jsonl", "read it as data"),
    ):
        command = ["select", source, "--budget", "5", "--run", "runs/x", "--out", out]
        assert words in s2l(*command, expect=2).stderr
    assert not (tmp_path / "runs" / "x").exists()


def test_runs_are_named_after_their_outputs_and_never_shared(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    command = ["select", "data.jsonl", "--method", "random", "--budget", "5", "--out"]
    for out in ("a.v2.jsonl", "a.v2-20.jsonl", "größe.jsonl", "gruße.jsonl", "x" * 120 + ".jsonl"):
        s2l(*command, out)
        assert len((tmp_path / out).read_text().splitlines()) == 5
    assert len(list((tmp_path / "runs").iterdir())) == 5


def test_other_settings_in_the_same_folder_are_refused_by_name(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    random = ["select", "data.jsonl", "--method", "random", "--out", "r.jsonl"]
    s2l(*random, "--budget", "10")
    said = s2l(*random, "--budget", "11", expect=4).stderr
    assert 'budget: "10" there, "11" now' in said
    assert "--run" in said


def test_a_changed_input_is_refused(data: Path, tmp_path: Path, s2l: Cli) -> None:
    command = ["select", "data.jsonl", "--method", "random", "--budget", "10", "--out", "r.jsonl"]
    s2l(*command)
    data.write_bytes(data.read_bytes().replace(b"The answer", b"the answer", 1))
    assert "changed since the run" in s2l(*command, expect=4).stderr


def test_a_foreign_output_is_not_overwritten_and_an_input_never(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    (tmp_path / "mine.jsonl").write_text("precious\n")
    command = ["select", "data.jsonl", "--method", "random", "--budget", "10"]
    assert "--overwrite" in s2l(*command, "--out", "mine.jsonl", expect=4).stderr
    assert (tmp_path / "mine.jsonl").read_text() == "precious\n"
    s2l(*command, "--out", "mine.jsonl", "--overwrite")
    assert len((tmp_path / "mine.jsonl").read_text().splitlines()) == 10
    before = data.read_bytes()
    said = s2l(*command, "--out", "data.jsonl", "--overwrite", "--run", "x", expect=2).stderr
    assert "data.jsonl is" in said and "input" in said
    assert data.read_bytes() == before


def test_bad_rows_stop_everything_before_training_or_are_listed(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    lines = data.read_text().splitlines()
    lines[4] = '{"instruction": "What?", "output": ["a", "b"], "source": "x"}'
    lines[9] = '{"instruction": "What?", "output": "", "source": "x"}'
    data.write_text("\n".join(lines) + "\n")
    said = s2l(*SELECT, expect=3).stderr
    for words in ("data.jsonl", "line 5", "line 10", "output", "--on-bad-row exclude"):
        assert words in said
    assert not (tmp_path / "runs/subset/proxy").exists()
    shown = s2l(*SELECT, "--on-bad-row", "exclude", "--run", "excluding").stdout
    assert "excluded: " in shown
    listed = [
        json.loads(line)
        for line in (tmp_path / "excluding/excluded.jsonl").read_text().splitlines()
    ]
    assert [entry["row"] for entry in listed] == [5, 10]
    table = pq.read_table(tmp_path / "excluding/selection.parquet")
    assert table.num_rows == 120
    assert table["selected"].to_pylist().count(True) == int(118 * 0.2)


def test_rows_without_completion_tokens_are_excluded_by_name(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    lines = data.read_text().splitlines()
    long = {"instruction": "why " * 3000, "output": "because", "source": "x"}
    data.write_text("\n".join([*lines, json.dumps(long)]) + "\n")
    shown = s2l(*SELECT).stdout
    assert "excluded: no completion token within max_length" in shown
    reuse = ["select", "data.jsonl", "--trajectories", "runs/subset/trajectories.parquet"]
    shown = s2l(*reuse, "--budget", "100%", "--out", "all.jsonl").stdout
    assert "excluded: no completion token within max_length" in shown
    assert (tmp_path / "all.jsonl").read_text().splitlines() == lines


def test_a_budget_that_does_not_fit_is_refused_before_training(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    for budget in ("121", "9M-tokens", "0", "0.5%"):
        command = ["select", "data.jsonl", "--budget", budget, "--run", "wrong", *QUICK]
        assert "budget" in s2l(*command, expect=3).stderr
        assert not (tmp_path / "wrong" / "trajectories.parquet").exists()
        for file in (tmp_path / "wrong").glob("*"):
            file.unlink()


@pytest.mark.usefixtures("finished")
def test_stratified_selection_is_even_over_sources(tmp_path: Path, s2l: Cli) -> None:
    rows = [json.loads(line) for line in (tmp_path / "data.jsonl").open()]
    for place, row in enumerate(rows):
        row["topic"] = "rare" if place < 20 else "frequent"
    (tmp_path / "topics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    s2l(
        "select", "topics.jsonl", "--stratify", "source", "--columns", "source=topic",
        "--columns", "output=output", "--trajectories", "runs/subset/trajectories.parquet",
        "--budget", "24", "--clusters", "5", "--out", "even.jsonl",
    )  # fmt: skip
    topics = [json.loads(line)["topic"] for line in (tmp_path / "even.jsonl").open()]
    assert topics.count("rare") == topics.count("frequent") == 12


def test_the_demo_with_fixed_losses_is_these_bytes(tmp_path: Path, s2l: Cli) -> None:
    """Trained losses differ by rounding between processors; all else of the demo does not."""
    s2l("sample-data", "demo", "--rows", "3000")
    ids = load(tmp_path / "demo" / "train.jsonl").ids
    bits = np.frombuffer(bytes.fromhex("".join(name.decode() for name in ids.tolist())), ">u4")
    start, end, speed, _ = (bits.reshape(-1, 4) / 2**32).T[:, :, None]
    steps = np.arange(12) * 25
    losses = (2 * end + (4 + 4 * start) / (1 + speed * steps / 50)).astype(np.float32)
    n_tokens = (20 + bits[::4] % 60).astype(np.int32)
    Trajectories(losses, steps, ids, n_tokens).to_parquet(tmp_path / "t.parquet")
    s2l("select", "demo/train.jsonl", "--trajectories", "t.parquet", "--budget", "11%",
        "--out", "subset.jsonl")  # fmt: skip
    found = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()[:16]
             for name in ("demo/train.jsonl", "subset.jsonl")}  # fmt: skip
    assert found == {
        "demo/train.jsonl": "379ce13a3764768d",
        "subset.jsonl": "e2a1b116420b695c",
    }


@pytest.mark.usefixtures("finished")
def test_a_recipe_replays_a_run(tmp_path: Path, s2l: Cli) -> None:
    recipe = tmp_path / "runs" / "subset" / "recipe.yaml"
    s2l("select", "--recipe", recipe, "--out", "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "subset.jsonl").read_bytes()
    for name in ("recipe.yaml", *RESULTS):
        again = tmp_path / "runs" / "again" / name
        assert again.read_bytes() == (recipe.parent / name).read_bytes(), name
    written = yaml.safe_load(recipe.read_text())
    open_still = {name for name, value in written["proxy"].items() if value in (None, "auto")}
    assert open_still == {
        "from_checkpoints", "perturbation", "revision", "tokenizer", "template", "template_arg",
    }  # fmt: skip
    assert (written["seed"], written["proxy"]["proxy"], written["settings"]["clusters"]) == (
        0, "scratch-0.1m", 5,
    )  # fmt: skip


@pytest.mark.usefixtures("finished")
def test_a_preset_lies_under_the_options(tmp_path: Path, s2l: Cli) -> None:
    def recipe(name: str) -> dict[str, Any]:
        written: dict[str, Any] = yaml.safe_load(
            (tmp_path / f"runs/{name}/recipe.yaml").read_text()
        )
        return written

    select = ["select", "data.jsonl", "--budget", "20%", "--preset"]
    losses = ["--trajectories", "runs/subset/trajectories.parquet"]
    s2l(*select, "authors-code", *losses, "--clusters", "5", "--out", "code.jsonl")
    found = recipe("code")
    assert (found["proxy"], found["settings"]["stratify"]) == (None, "source")
    assert (found["settings"]["points_per_cluster"], found["settings"]["clusters"]) == (256, 5)
    s2l(*select, "paper", "--method", "random", "--out", "random.jsonl")
    assert (recipe("random")["proxy"], recipe("random")["settings"]) == (None, {})
    small = ["--proxy", "scratch-0.1m", "--epochs", "1", "--checkpoints", "2"]
    s2l("record", "data.jsonl", "--preset", "paper", *small, "--out", "losses.parquet")
    proxy = recipe("losses")["proxy"]
    assert (proxy["proxy"], proxy["epochs"], proxy["checkpoints"]) == ("scratch-0.1m", 1, 2)
    assert (proxy["learning_rate"], proxy["batch_size"]) == (2e-5, 128)
    assert proxy["template"] == "alpaca"
    again = smalltolarge.select(
        tmp_path / "data.jsonl", trajectories=tmp_path / losses[1], budget="20%",
        preset="authors-code", clusters=5,
    )  # fmt: skip
    again.write(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "code.jsonl").read_bytes()
    with pytest.raises(RecipeError, match="preset papers is not there; did you mean paper?"):
        smalltolarge.record(tmp_path / "data.jsonl", preset="papers")
    left_open = {"restarts"}
    for values in PRESETS.values():
        assert values["settings"].keys() == {f.name for f in fields(S2L)} - left_open


def test_a_recipe_cannot_name_code_to_run(data: Path, tmp_path: Path, s2l: Cli) -> None:
    (tmp_path / "stranger.py").write_text("open('ran', 'w')")
    (tmp_path / "r.yaml").write_text("data: [data.jsonl]\nbudget: 5\nmethod: stranger:Method\n")
    assert "stranger:Method" in s2l("select", "--recipe", "r.yaml", expect=7).stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("finished")
def test_a_budget_below_the_clusters_is_said_by_the_choice_and_not_by_verify(s2l: Cli) -> None:
    losses = ["--trajectories", "runs/subset/trajectories.parquet", "--clusters", "5"]
    chosen = s2l("select", "data.jsonl", *losses, "--budget", "3", "--out", "few.jsonl")
    assert "a budget of 3 rows over 5 clusters" in chosen.stderr
    assert "over 5 clusters" not in s2l("verify", "runs/few").stderr


@pytest.mark.usefixtures("finished")
def test_verify_finds_every_changed_file(
    tmp_path: Path, s2l: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = s2l("verify", "runs/subset").stdout
    assert "the subset chosen again: the same rows" in shown
    assert shown.endswith(f"runs/subset is sound: {shown.count(chr(10)) - 1} checks\n")
    monkeypatch.chdir(tmp_path)
    kept = [path for path in (tmp_path / "runs" / "subset").iterdir() if path.name != ".lock"]
    for file in [*kept, tmp_path / "data.jsonl", tmp_path / "subset.jsonl"]:
        before = file.read_bytes()
        flipped = before[:-1] + bytes([(before or b" ")[-1] ^ 1])
        for changed in (flipped, before[1:], b"", before + b" ", None):
            file.unlink(missing_ok=True)
            if changed is not None and changed != before:
                file.write_bytes(changed)
            elif file.name in ("data.jsonl", "manifest.json"):
                continue  # said to be not here; no run folder
            with pytest.raises(IntegrityError, match=re.escape(file.name)):
                verify("runs/subset")
        file.write_bytes(before)
    s2l("verify", "runs/subset")


@pytest.mark.parametrize("name", ["recipe.yaml", "environment.json", "excluded.jsonl"])
@pytest.mark.usefixtures("finished")
def test_what_a_run_keeps_beside_its_results_is_made_again_aloud(
    name: str, tmp_path: Path, s2l: Cli
) -> None:
    file = tmp_path / "runs" / "subset" / name
    before = file.read_bytes()
    file.write_bytes(before + b"\0")
    said = s2l(*SELECT, "--no-progress").stderr
    assert f"it is set aside as {name}.damaged" in said and "training" not in said
    assert file.read_bytes() == before
    assert file.with_name(f"{name}.damaged").read_bytes() == before + b"\0"
    s2l("verify", "runs/subset")


@pytest.mark.usefixtures("finished")
def test_a_damaged_manifest_is_set_aside_and_the_run_begins_again_aloud(
    tmp_path: Path, s2l: Cli
) -> None:
    run = tmp_path / "runs" / "subset"
    (tmp_path / "subset.jsonl").rename(tmp_path / "before.jsonl")
    file = run / "manifest.json"
    file.write_bytes(file.read_bytes().replace(b'"rows": 120', b'"rows": 121'))
    said = s2l("verify", "runs/subset", expect=5).stderr
    assert "it is not what was written" in said and "--trajectories" in said
    said = s2l(*SELECT).stderr
    assert "it is set aside as manifest.json.damaged and the run begins again" in said
    assert (tmp_path / "subset.jsonl").read_bytes() == (tmp_path / "before.jsonl").read_bytes()
    s2l("verify", "runs/subset")


@pytest.mark.usefixtures("finished")
def test_verify_waits_for_no_pipe_and_opens_no_device(tmp_path: Path, s2l: Cli) -> None:
    (tmp_path / "data.jsonl").unlink()
    os.mkfifo(tmp_path / "data.jsonl")
    assert "data.jsonl is not what the run read" in s2l("verify", "runs/subset", expect=5).stderr
    (tmp_path / "runs" / "subset" / "selection.parquet").unlink()
    os.mkfifo(tmp_path / "runs" / "subset" / "selection.parquet")
    said = s2l("verify", "runs/subset", expect=5).stderr
    assert "selection.parquet is missing or not what was written" in said


def test_dry_run_prints_the_plan_and_leaves_nothing_behind(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    shown = s2l(*SELECT, "--dry-run").stdout
    for words in ("Rows read", "Tokens", "Training steps", "FLOPs of training", "FLOPs of scoring"):
        assert words in shown
    assert os.listdir(tmp_path) == ["data.jsonl"]


def test_log_lines_say_how_fast_each_stage_is_and_are_asked_for(data: Path, s2l: Cli) -> None:
    said = s2l(*SELECT, "--no-progress").stderr
    for stage in ("reading", "tokenising", "training", "scoring", "selecting"):
        assert any(
            line.startswith(stage) and ("/s" in line or "s each" in line)
            for line in said.splitlines()
        )
    assert "loss" in said
    quiet = s2l(*SELECT, "--run", "other", "--budget", "9", "--overwrite").stderr
    assert quiet.splitlines()[0].startswith("alpaca: instruction, output; 120 rows")
    assert "reading" not in quiet


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["select", "data.jsonl"], 2, "--budget"),
        (["select", "--budget", "5%"], 2, "DATA"),
        (["select", "data.jsonl", "--budget", "5%", "--clusters", "many"], 2, "--clusters"),
        (["select", "data.jsonl", "--budget", "5%", "--clustres", "9"], 2, "--clusters"),
        (["select", "data.jsonl", "--budget", "5%", "--method", "s2"], 2, "Did you mean"),
        (["select", "data.jsonl", "--budget", "5%", "--proxy", "scratch-1b"], 2, "scratch-0.5m"),
        (["select", "data.jsonl", "--budget", "5%", "--out", "x.csv"], 2, ".jsonl"),
        (["select", "none.jsonl", "--budget", "5%"], 3, "none.jsonl"),
        (["select", "data.jsonl", "--budget", "5%", "--trajectories", "no.parquet"], 4, "no.parq"),
        (["select", "data.jsonl", "--budget", "5%", "--run", "a b"], 2, "run name"),
        (["select", "data.jsonl", "--budget", "5%", "--columns", "output"], 2, "ROLE=COLUMN"),
        (["verify", "nowhere"], 4, "no run folder nowhere: check the spelling"),
        (["record", "data.jsonl", "--out", "t.csv"], 2, "t.parquet"),
    ],
)
def test_mistakes_get_one_message_and_their_exit_code(
    arguments: list[str], code: int, words: str, data: Path, s2l: Cli
) -> None:
    said = s2l(*arguments, expect=code).stderr
    assert words in said
    assert "Traceback" not in said


def test_a_folder_that_is_made_for_an_output_is_named(data: Path, tmp_path: Path, s2l: Cli) -> None:
    random = ["select", "data.jsonl", "--method", "random", "--budget", "5", "--out"]
    said = "there is no folder {}: it is made for --out {}"
    made = s2l(*random, "sbusets/five.jsonl").stderr
    assert said.format("sbusets", "five.jsonl") in made
    assert "no folder" not in s2l(*random, "sbusets/again.jsonl").stderr
    loaded = s2l("load", "data.jsonl", "--out", "tabels/examples.parquet").stderr
    assert said.format("tabels", "examples.parquet") in loaded


def test_load_says_how_many_sources_it_does_not_list(tmp_path: Path, s2l: Cli) -> None:
    rows = [
        {"instruction": f"q{number}", "output": "a", "source": f"s{number}"} for number in range(33)
    ]
    (tmp_path / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert re.search(r"\(3 more\) +3\n", s2l("load", "many.jsonl").stdout)


def test_another_budget_is_proposed_than_the_one_that_was_used(tmp_path: Path, s2l: Cli) -> None:
    write_data(tmp_path)
    ids = load(tmp_path / "data.jsonl").ids
    Trajectories(np.ones((120, 2), np.float32), np.array([0, 1]), ids).to_parquet(
        tmp_path / "t.parquet"
    )
    again = ["select", "data.jsonl", "--trajectories", "t.parquet", "--clusters", "5", "--budget"]
    for budget, proposed in {"20%": "10%", "24": "10%", "11%": "20%"}.items():
        shown = s2l(*again, budget, "--out", f"{budget}.jsonl").stdout
        assert f"--budget {proposed} --out" in shown


@pytest.mark.parametrize("command", [None, *CLI.commands])
def test_help_shows_no_value_for_a_flag(command: str | None) -> None:
    shown = CliRunner().invoke(app, [*filter(None, [command]), "--help"]).output
    assert "--help" in shown
    assert "bool" not in shown.lower()


def test_a_data_set_of_the_hub_is_refused_at_once_where_there_is_no_network(s2l: Cli) -> None:
    began = time.monotonic()
    nowhere = "http://127.0.0.1:9"
    said = s2l("load", "nobody/nothing", expect=3, HF_ENDPOINT=nowhere).stderr
    assert "nobody/nothing" in said and "hub" in said
    assert time.monotonic() - began < 20  # retries wait for 23 seconds alone


def test_load_writes_the_ids_that_own_losses_need(data: Path, tmp_path: Path, s2l: Cli) -> None:
    s2l("load", "data.jsonl", "--out", "examples.parquet")
    ids = pq.read_table(tmp_path / "examples.parquet")["id"].to_pylist()
    Trajectories([[float(i % 7), 1.0] for i in range(120)], [0, 1], ids).to_parquet(  # type: ignore[arg-type]
        tmp_path / "mine.parquet"
    )
    s2l(
        "select", "data.jsonl", "--trajectories", "mine.parquet", "--clusters", "7",
        "--budget", "14", "--out", "out.jsonl",
    )  # fmt: skip
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 14


def test_sample_data_is_written_and_repeatable(tmp_path: Path, s2l: Cli) -> None:
    s2l("sample-data", "a", "--rows", "50", "--seed", "4")
    s2l("sample-data", "b", "--rows", "50", "--seed", "4")
    names = sorted(
        str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*.jsonl")
    )
    assert len(names) == 7
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_secrets_of_the_environment_are_written_nowhere(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    s2l(
        "select", "data.jsonl", "--method", "random", "--budget", "9",
        HF_TOKEN="canary-8f1", WANDB_API_KEY="canary-8f1",
    )  # fmt: skip
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"canary-8f1" not in file.read_bytes()


def manifest(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    return found


@pytest.mark.usefixtures("finished")
def test_every_row_is_accounted_for_in_the_manifest(tmp_path: Path) -> None:
    stages = manifest(tmp_path / "runs/subset")["stages"]
    load, chosen = stages["load"]["facts"], stages["select"]["facts"]
    assert load["read"] == load["used"] + sum(load["excluded"].values())
    assert chosen["rows"] + sum(chosen["excluded"].values()) == load["read"]
    assert sum(source["rows"] for source in chosen["sources"]) == chosen["rows"]
    assert sum(source["selected"] for source in chosen["sources"]) == chosen["selected"] == 24


@pytest.mark.usefixtures("finished")
def test_the_page_on_formats_names_the_facts_of_a_select_run(tmp_path: Path) -> None:
    assert check_facts(tmp_path / "runs/subset") == {"load", "record", "select", "write"}


def test_a_run_goes_on_in_the_precision_it_began_with(data: Path, s2l: Cli) -> None:
    s2l(*SELECT, "--precision", "bfloat16", "--run", "run")
    assert "nothing to do" in s2l(*SELECT, "--run", "run").stderr
    s2l(*SELECT, "--out", "other.jsonl", "--run", "other")
    recipe = (data.parent / "other" / "recipe.yaml").read_text(encoding="utf-8")
    assert "precision: float32" in recipe


METHOD = """
import hashlib, os, signal
import numpy as np
from smalltolarge.selection import Pool, Ranking, Selector

class Busy(Selector):
    name = "busy"

    def rank(self, pool, keys, seed):
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

class Patient(Busy):
    def rank(self, pool, keys, seed):
        os.kill(os.getpid(), signal.SIGHUP)
        while True:
            pool.check()

class Done(Busy):
    def rank(self, pool, keys, seed):
        os.kill(os.getpid(), signal.SIGTERM)
        return Ranking(np.argsort(keys))

class Wrong(Busy):
    def rank(self, pool, keys, seed):
        raise type("PanicException", (BaseException,), {})("unforeseen \\x1b[31m")
"""
BY_METHOD = ["select", "data.jsonl", "--budget", "5", "--out", "five rows.jsonl", "--method"]


def start(folder: Path, *words: str, **given: Any) -> subprocess.Popen[str]:
    """Begin a command that is not waited for."""
    command = [sys.executable, "-m", "smalltolarge", *words]
    return subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, text=True,
**given,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which signals are heard")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_stops_a_command_as_soon_as_it_begins(
    number: signal.Signals, tmp_path: Path
) -> None:
    run = start(tmp_path, "methods", stdout=subprocess.DEVNULL)
    state = Path(f"/proc/{run.pid}/status")

    def is_heard() -> bool:
        caught = state.read_text().partition("SigCgt:")[2].split()[0]
        # The last that is caught; Python itself catches SIGINT before.
        return bool(int(caught, 16) >> (signal.SIGUSR1 - 1) & 1)

    while run.poll() is None and not is_heard():
        time.sleep(0.001)
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 75, said
    assert said.count(number.name) == 1 and "python -m smalltolarge methods" in said


def test_a_second_signal_of_another_kind_ends_a_library_at_once(data: Path) -> None:
    (data.parent / "mine.py").write_text(METHOD)
    run = start(data.parent, *BY_METHOD, "mine:Busy", stdout=subprocess.DEVNULL)
    assert run.stderr is not None
    while run.poll() is None and not (data.parent / "runs").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    run.send_signal(signal.SIGUSR1)
    while run.poll() is None and "next safe point" not in run.stderr.readline():
        pass
    began = time.monotonic()
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 75 and time.monotonic() - began < 5
    said = run.stderr.read()
    assert said.startswith("error: stopped at once by SIGTERM") and len(said.splitlines()) == 1
    run.stderr.close()


def test_a_method_of_ones_own_is_stopped_or_its_choice_kept(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    (tmp_path / "mine.py").write_text(METHOD)
    said = s2l(*BY_METHOD, "mine:Patient", expect=75).stderr
    assert "--out 'five rows.jsonl' --method mine:Patient" in said.splitlines()[-1]
    assert said.count("SIGHUP") == 1
    s2l(*BY_METHOD, "mine:Done", "--run", "done")
    assert len((tmp_path / "five rows.jsonl").read_text().splitlines()) == 5


def test_what_nobody_foresaw_is_one_line_with_its_place(
    data: Path, tmp_path: Path, s2l: Cli
) -> None:
    (tmp_path / "mine.py").write_text(METHOD)
    said = s2l(*BY_METHOD, "mine:Wrong", expect=70).stderr.splitlines()[-1]
    assert "PanicException: unforeseen \\x1b[31m" in said and "mine.py:" in said
    assert "Traceback" in s2l(*BY_METHOD, "mine:Wrong", "--debug", expect=70).stderr


def test_streams_that_are_closed_full_or_unread_lose_no_exit_code(
    data: Path, tmp_path: Path
) -> None:
    reading, unread = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    for words, streams, code in (
        (["methods"], {"stdout": unread}, 141),
        (["--help"], {"stdout": unread}, 141),
        (["methods"], {"stdout": full}, 6),
        (["load", "none.jsonl"], {"stderr": full}, 3),
        (["load", "--none"], {"stderr": full}, 2),
        (["load", "data.jsonl"], {"stdin": subprocess.DEVNULL, "stderr": unread}, 0),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "smalltolarge", *words], cwd=tmp_path, text=True, check=False,
            **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **streams},  # type: ignore[call-overload]
        )  # fmt: skip
        assert done.returncode == code, (words, done.stderr)
        assert "Traceback" not in (done.stderr or "") and "mistake" not in (done.stderr or "")
    os.close(unread)
    os.close(full)


def test_names_can_do_nothing_to_a_terminal(data: Path, tmp_path: Path, s2l: Cli) -> None:
    shutil.copy(data, tmp_path / "~\x1b[31m\x9b.jsonl")
    done = s2l("select", "~\x1b[31m\x9b.jsonl", "--method", "random", "--budget", "5",
               "--out", "o\x1b]0;.jsonl")  # fmt: skip
    assert not set(done.stdout + done.stderr) & {"\x1b", "\x9b", "\r"}
    assert "o\\x1b]0;.jsonl" in done.stdout
    assert (tmp_path / "o\x1b]0;.jsonl").is_file()


def test_a_model_without_docstrings_is_refused_in_words(data: Path, s2l: Cli) -> None:
    said = s2l("record", "data.jsonl", expect=2, PYTHONOPTIMIZE="2").stderr
    assert "PYTHONOPTIMIZE" in said


def test_a_disk_that_is_too_small_for_several_things_is_refused(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    estimate.require_room({tmp_path / "a" / "b": free // 8})
    with pytest.raises(OutOfSpace, match="at least .* MB are needed on the disk of .*b, which has"):
        estimate.require_room({tmp_path / "a": free, tmp_path / "b": free})


RANDOM = ["select", "data.jsonl", "--budget", "20%", "--method", "random", "--out", "subset.jsonl"]


@pytest.mark.usefixtures("data")
def test_a_recipe_alone_does_not_make_a_folder_ours(tmp_path: Path, s2l: Cli) -> None:
    s2l(*RANDOM)
    (tmp_path / "project" / "proxy").mkdir(parents=True)
    shutil.copy(tmp_path / "runs" / "subset" / "recipe.yaml", tmp_path / "project")
    (tmp_path / "project" / "proxy" / "model.safetensors").write_bytes(b"mine")
    said = s2l(*RANDOM, "--run", "project", expect=4).stderr
    assert "not a run folder" in said
    assert (tmp_path / "project" / "proxy" / "model.safetensors").read_bytes() == b"mine"


def test_a_file_that_appears_during_the_run_is_not_replaced(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "subset.jsonl"

    def appear() -> None:
        if (tmp_path / "run" / "manifest.json").exists():
            out.write_text("mine")

    with pytest.raises(StaleArtifact, match="with other content"):
        smalltolarge.select(
            str(data), budget="20%", method="random", out=out, run=tmp_path / "run",
            progress=Watch(check=appear),
        )  # fmt: skip
    assert out.read_text() == "mine"


@pytest.mark.usefixtures("data")
def test_two_runs_with_one_output_are_one_too_many(tmp_path: Path, s2l: Cli) -> None:
    with store.holding(tmp_path / "subset.jsonl"):
        said = s2l(*RANDOM, "--run", "other", expect=4).stderr
    assert f"subset.jsonl is in use by another run (process {os.getpid()} on" in said
    assert sorted(os.listdir(tmp_path)) == ["data.jsonl"]


@pytest.mark.usefixtures("finished")
def test_no_command_writes_through_a_link_of_a_folder_that_was_received(
    tmp_path: Path, s2l: Cli
) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "runs" / "subset" / "inspection.json").symlink_to(tmp_path / "mine")
    said = s2l("inspect", "runs/subset", "--no-gradients", expect=7).stderr
    assert "inspection.json is a link" in said
    (tmp_path / "subset.trl.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "subset.trl.yaml").symlink_to(tmp_path / "mine")
    said = s2l("export", "subset.jsonl", "--to", "trl", "--overwrite", expect=7).stderr
    assert "is a link" in said
    assert (tmp_path / "mine").read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_subset_in_a_folder_is_left_by_the_same_command_again(tmp_path: Path, s2l: Cli) -> None:
    rows = [json.loads(line) for line in write_data(tmp_path).read_text().splitlines()]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    select = ["select", "saved", "--budget", "20%", "--method", "random", "--out", "subset"]
    s2l(*select)
    assert "nothing to do" in s2l(*select).stderr
    (tmp_path / "subset" / "mine").touch()
    assert "is not what this run wrote" in s2l(*select, expect=4).stderr
    s2l(*select, "--overwrite")
    assert not (tmp_path / "subset" / "mine").exists()
    assert [name for name in os.listdir(tmp_path) if name.endswith(".s2l-part")] == []
