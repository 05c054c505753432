"""Comparisons: every arm once, whatever happens, and a table that says what was found."""

from __future__ import annotations

import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from smalltolarge.errors import MissingArtifact
from smalltolarge.runs import recipe as recipes
from smalltolarge.runs.recipe import CompareRecipe
from smalltolarge.selection import SELECTORS
from smalltolarge.trajectories import Trajectories

from .conftest import Cli, check_facts, write_data

TINY: dict[str, Any] = {
    "data": ["data.jsonl"],
    "methods": ["random-by-source"],
    "budgets": ["20%"],
    "seeds": [0],
    "target": {
        "target": "scratch-0.1m", "trainer": "own", "epochs": 1, "template": "alpaca", "threads": 1,
    },
    "evaluation": {"held_out": ["held-out.jsonl"]},
}  # fmt: skip
"""A comparison of a few seconds, without a proxy."""


def write_recipe(folder: Path, **changes: Any) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(TINY | changes))
    return file


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """``tiny.yaml`` and its data in ``tmp_path``."""
    data = write_data(tmp_path)
    lines = data.read_text().splitlines(keepends=True)
    data.write_text("".join(lines[:90]))
    (tmp_path / "held-out.jsonl").write_text("".join(lines[90:]))
    return write_recipe(tmp_path)


def without_times(table: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader(table.open()))
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


@pytest.mark.heavy
def test_a_killed_comparison_continues_to_the_same_table(tmp_path: Path, s2l: Cli) -> None:
    fewer = ["proxy.threads=1", "target.threads=1", "target.target=scratch-0.1m", "seeds=[0]"]
    fewer += ["target.epochs=1", "evaluation.questions=4", "evaluation.max_new_tokens=8"]
    single = [word for one in fewer for word in ("--set", one)]
    command = [sys.executable, "-m", "smalltolarge", "run", "smoke", "--out", "killed"]
    process = subprocess.Popen([*command, *single], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "killed").glob("arm-*.json"))) < 3:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stages = json.loads((tmp_path / "killed/manifest.json").read_text())["stages"]
    files = [
        tmp_path / "killed" / f"arm-{name[4:]}.json" for name in stages if name.startswith("arm ")
    ]
    done = {file: file.stat().st_mtime_ns for file in files}
    assert len(done) >= 2
    shown = s2l("run", "smoke", "--out", "killed", *single).stdout
    assert all(file.stat().st_mtime_ns == then for file, then in done.items())
    s2l("run", "smoke", "--out", "whole", *single)
    assert without_times(tmp_path / "killed/table.csv") == without_times(
        tmp_path / "whole/table.csv"
    )
    for name in ("full", "random", "s2l", "facility-location", "confidence-curriculum"):
        assert name in shown and name in (tmp_path / "killed/table.md").read_text()
    assert "done: there is nothing to do" in s2l("run", "smoke", "--out", "killed", *single).stderr
    answers = (tmp_path / "killed/answers-s2l-20pct-epochs-0.jsonl").read_text().splitlines()
    assert len(answers) == 24 and {"task", "completion", "score"} <= json.loads(answers[0]).keys()
    assert not (tmp_path / "killed/target").exists()
    done_stages = {"load", "record", "embeddings", "ranking", "arm", "table"}
    assert check_facts(tmp_path / "killed") == done_stages


def test_methods_that_need_no_proxy_train_none(tmp_path: Path, tiny: Path, s2l: Cli) -> None:
    s2l("run", tiny, "--out", "run")
    assert not (tmp_path / "run/trajectories.parquet").exists()
    assert yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())["proxy"] is None
    rows = list(csv.DictReader((tmp_path / "run/table.csv").open()))
    assert [row["method"] for row in rows] == ["full", "random-by-source", "random"]
    assert {row["break_even"] for row in rows} == {"0.0"}
    assert [row["rows"] for row in rows] == ["90.0", "18.0", "18.0"]
    assert float(rows[0]["loss"]) > 0


def test_a_weighted_arm_is_what_the_column_of_weights_trains(
    tmp_path: Path, tiny: Path, s2l: Cli
) -> None:
    own = ["--trainer", "own", "--epochs", "1", "--template", "alpaca", "--threads", "1"]
    s2l("train", "scratch-0.1m", "data.jsonl", *own, "--out", "base")
    drawn, again = ({"method": "random-by-source", "settings": {"balance": 0.9}} for _ in range(2))
    weighted = {**again, "label": "weighted", "weighted": True}
    target = {**TINY["target"], "target": "base"}
    write_recipe(tmp_path, methods=[drawn, weighted], target=target, keep_targets=True)
    s2l("run", tiny, "--out", "run")
    by_source = ["--method", "random-by-source", "--set", "settings.balance=0.9"]
    subset = ["select", "data.jsonl", *by_source, "--budget", "20%", "--out", "subset.jsonl"]
    s2l(*subset, "--add-column", "weight")
    s2l("train", "base", "subset.jsonl", *own, "--weights", "s2l_weight", "--out", "by-hand")
    names = ("run/targets/weighted-20pct-epochs-0", "by-hand")
    one, other = (tmp_path / name / "model.safetensors" for name in names)
    assert one.read_bytes() == other.read_bytes()
    arms = {name: (tmp_path / f"run/arm-{name}-20pct-epochs-0.json").read_text() for name in (
        "random-by-source", "weighted",
    )}  # fmt: skip
    assert len({json.loads(arm)["train_loss"] for arm in arms.values()}) == 2
    assert "the same places" in s2l("verify", "run").stdout


def test_equal_steps_give_every_target_the_steps_of_full(
    tmp_path: Path, tiny: Path, s2l: Cli
) -> None:
    s2l("run", tiny, "--out", "run", "--set", "equal=[epochs, steps]")
    rows = list(csv.DictReader((tmp_path / "run/table.csv").open()))
    steps = {(row["equal"], row["method"]): float(row["steps"]) for row in rows}
    assert steps["epochs", "full"] == steps["steps", "full"] == steps["steps", "random"] == 3
    assert steps["epochs", "random"] == 1


def test_the_untuned_model_is_scored_once_and_stands_in_every_part(
    tmp_path: Path, tiny: Path, s2l: Cli
) -> None:
    sets = ["equal=[epochs, steps]", "methods=[{method: untuned, label: base}]"]
    single = [word for one in sets for word in ("--set", one)]
    shown = s2l("run", tiny, "--out", "run", *single).stdout
    rows = list(csv.DictReader((tmp_path / "run/table.csv").open()))
    (base,) = [row for row in rows if row["method"] == "base"]
    full = next(row for row in rows if row["method"] == "full")
    assert (base["seeds"], base["rows"], base["tokens"], base["flops"]) == (
        "1",
        "0.0",
        "0.0",
        "0.0",
    )
    assert float(base["loss"]) > float(full["loss"])
    assert float(base["to_full"]) == pytest.approx(float(base["loss"]) - float(full["loss"]))
    assert shown.count("\nbase ") == 2
    assert "the same numbers" in s2l("verify", "run").stdout


def test_proxies_of_several_seeds_have_a_recording_and_arms_each(
    tmp_path: Path, tiny: Path, s2l: Cli
) -> None:
    proxy = "{proxy: scratch-0.1m, epochs: 1, checkpoints: 2, template: alpaca, threads: 1}"
    methods = "[{method: s2l, settings: {clusters: 4}}]"
    sets = [f"proxy={proxy}", f"methods={methods}", "seed=3", "proxy_seeds=[3, 7]"]
    command = ["run", tiny, "--out", "run", *(word for one in sets for word in ("--set", one))]
    s2l(*command)
    run = tmp_path / "run"
    arms = {file.name for file in run.glob("arm-*.json")}
    assert arms == {
        "arm-full-100pct-epochs-0.json", "arm-random-20pct-epochs-0.json",
        "arm-s2l-20pct-epochs-0.json", "arm-s2l-20pct-epochs-0-proxy7.json",
    }  # fmt: skip
    first, second = (run / f"{name}.parquet" for name in ("trajectories", "trajectories-proxy7"))
    assert first.read_bytes() != second.read_bytes()
    (row,) = [row for row in csv.DictReader((run / "table.csv").open()) if row["method"] == "s2l"]
    results = [
        json.loads((run / f"arm-s2l-20pct-epochs-0{end}.json").read_text())
        for end in ("", "-proxy7")
    ]
    balanced = [
        statistics.mean(map(statistics.mean, arm["losses"]["held-out"].values())) for arm in results
    ]
    assert float(row["loss"]) == pytest.approx(sum(balanced) / 2)
    assert float(row["to_random_p"]) <= 1 and row["seeds"] == "1"
    assert "The proxy took, as the mean of 2 seeds," in (run / "table.md").read_text()
    assert "ranking-s2l-0-proxy7.parquet made again: the same places" in s2l("verify", "run").stdout
    kept = (run / "arm-s2l-20pct-epochs-0.json").stat().st_mtime_ns
    before = without_times(run / "table.csv")
    second.write_bytes(b"")
    assert "stage record-proxy7 is done again" in s2l(*command).stderr
    assert (run / "arm-s2l-20pct-epochs-0.json").stat().st_mtime_ns == kept
    assert without_times(run / "table.csv") == before


def test_one_proxy_seed_that_is_the_seed_changes_nothing(tmp_path: Path) -> None:
    given = TINY | {"methods": ["s2l"], "seed": 3}
    plain = recipes.read(given, CompareRecipe).resolved()
    assert recipes.read(given | {"proxy_seeds": [3]}, CompareRecipe).resolved() == plain
    assert plain.proxy_seeds is None


def test_methods_have_proxies_of_their_own(tmp_path: Path, tiny: Path, s2l: Cli) -> None:
    proxy = "{proxy: scratch-0.1m, epochs: 1, checkpoints: 2, template: alpaca, threads: 1}"
    methods = (
        "[s2l, {method: s2l, label: s2l-long, proxy: long}, {method: ifd, proxy: long}, "
        "{method: least-confidence, proxy: high}]"
    )
    sets = [
        f"proxy={proxy}", "methods=" + methods, "target.threads=1",
        "proxies={long: {epochs: 2, checkpoints: 3}, high: {learning_rate: 0.01}}",
    ]  # fmt: skip
    command = ["run", tiny, "--out", "run", *(word for one in sets for word in ("--set", one))]
    planned = s2l(*command, "--dry-run").stdout
    assert "Proxies" in planned and "scratch-0.1m, long, high" in planned
    shown = s2l(*command).stdout
    run = tmp_path / "run"
    recorded = {
        name: Trajectories.from_parquet(run / f"trajectories{name}.parquet")
        for name in ("", "-long", "-high")
    }
    assert [found.losses.shape[1] for found in recorded.values()] == [2, 3, 2]
    assert not np.array_equal(recorded[""].losses, recorded["-high"].losses)
    assert (run / "losses_alone-long.parquet").exists()
    assert not (run / "losses_alone.parquet").exists()
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert recipe["proxies"]["long"] == recipe["proxy"] | {"epochs": 2.0, "checkpoints": 3}
    table = json.loads((run / "table.json").read_text())
    paid = {name: cost["flops"] for name, cost in table["recording"].items()}
    assert paid["long"] > paid[""] == paid["high"] > 0
    evens = {row["method"]: row["break_even"] for row in table["rows"]}
    assert evens["s2l-long"] > evens["s2l"] > evens["random"] == 0
    assert "The proxy long took" in shown and "The proxy took" in shown
    assert "the same places" in s2l("verify", "run").stdout
    assert "is done: there is nothing to do" in s2l(*command).stderr
    falls = -np.diff(recorded[""].losses, axis=1)[:, 0]
    pruned = f"methods=[{{method: s2l, settings: {{prune_slope: {np.sort(falls)[-10]}}}}}]"
    words = ["--set", f"proxy={proxy}", "--set", pruned, "--shared"]
    warned = s2l("run", tiny, "--out", "pruned", *words).stderr
    assert "s2l: a budget of 18 rows, and 10 are left after pruning: it takes 8 pruned" in warned
    (run / "trajectories-long.parquet").unlink()
    assert "stage record-long is done again" in s2l(*command).stderr


def test_a_kept_target_is_a_model_folder(tmp_path: Path, tiny: Path, s2l: Cli) -> None:
    s2l("run", tiny, "--out", "run", "--set", "keep_targets=true")
    kept = tmp_path / "run/targets/random-20pct-epochs-0"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(os.listdir(kept))


def test_a_dry_run_lists_the_arms_and_writes_nothing(tmp_path: Path, tiny: Path, s2l: Cli) -> None:
    shown = s2l("run", tiny, "--out", "run", "--dry-run").stdout
    assert "Arms, a target each" in shown and "random-by-source, random" in shown
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (["targt.epochs=1"], 2, "targt is not a setting; did you mean target?"),
        (["target.epoch=1"], 2, "target.epoch is not a setting; did you mean epochs?"),
        (["methods=[s2ll]"], 2, "Did you mean 's2l'?"),
        (["methods=[{method: random, labl: x}]"], 2, "methods.0.labl is not a setting"),
        (["methods=[s2l, {method: s2l}]"], 2, "methods: s2l is there twice"),
        (["methods=[{method: s2l, proxy: lng}]", "proxies={long: {}}"], 2, "did you mean long?"),
        (["proxies={long: {}}"], 2, "proxies.long: no method has it"),
        (["methods=[{method: s2l, proxy: a}]", "proxies={a: {epoch: 2}}"], 2, "proxies.a.epoch"),
        (["methods=[{method: s2l, proxy: a}]", "proxies={a: {epochs: -2}}"], 2, "epochs"),
        (["methods=[{method: s2l, proxy: proxy1}]", "proxies={proxy1: {}}"], 2, "at its end"),
        (["methods=[{method: longest, proxy: a}]", "proxies={a: {}}"], 2, "longest needs no proxy"),
        (["methods=['os:system']"], 7, "--trust-code"),
        (["budgets=['2M-tokens']"], 2, "in tokens"),
        (["budgets=[91]"], 2, "budgets.0"),
        (["budgets=['91']"], 3, "only 90 can be used"),
        (["evaluation.held_out=[]"], 2, "tasks or held_out are needed"),
        (["evaluation.tasks=[nowhere.jsonl]"], 4, "task nowhere.jsonl: there is no such file"),
        (["evaluation.tasks=[gsm9k]"], 2, "did you mean gsm8k?"),
        (["evaluation.tasks=['os:system']"], 7, "--trust-code"),
        (["target"], 2, "NAME=VALUE is needed"),
        (["data.x=1"], 2, "data is no section"),
        (["target.trainer=own", "target.lora_rank=4"], 2, "only trainer trl can do that"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_before_anything_is_trained(
    tmp_path: Path, tiny: Path, s2l: Cli, changes: list[str], code: int, words: str
) -> None:
    sets = [word for change in changes for word in ("--set", change)]
    assert words in s2l("run", tiny, "--out", "run", *sets, expect=code).stderr
    assert not list((tmp_path / "run").glob("arm-*"))


def test_models_that_are_nowhere_are_missed_before_anything_takes_time(
    tiny: Path, s2l: Cli
) -> None:
    for change in ("target.target=bases/of/none", "proxy.proxy=bases/of/none"):
        sets = ["--set", "methods=[s2l]", "--set", change]
        said = s2l("run", tiny, "--out", "run", *sets, expect=4).stderr
        assert "there is no folder bases/of/none" in said
        assert "what the targets are scored on" not in said


def test_another_recipe_or_another_test_set_is_refused_in_the_same_folder(
    tmp_path: Path, tiny: Path, s2l: Cli
) -> None:
    s2l("run", tiny, "--out", "run")
    other = s2l("run", tiny, "--out", "run", "--set", "target.epochs=2", expect=4).stderr
    assert "target.epochs: 1" in other and "2.0 now" in other
    held_out = tmp_path / "held-out.jsonl"
    held_out.write_text("".join(held_out.read_text().splitlines(keepends=True)[:20]))
    assert "held-out.jsonl" in s2l("run", tiny, "--out", "run", expect=4).stderr


def test_a_finished_comparison_verifies_and_a_changed_one_does_not(
    tmp_path: Path, tiny: Path, s2l: Cli
) -> None:
    s2l("run", tiny, "--out", "run")
    assert "table.csv: as written" in s2l("verify", "run").stdout
    (tmp_path / "run/table.csv").write_text("better\n")
    assert "table.csv is missing or not what was written" in s2l("verify", "run", expect=5).stderr


def test_a_finished_comparison_makes_again_what_is_damaged_of_it(
    tmp_path: Path, tiny: Path, s2l: Cli
) -> None:
    command = ("run", tiny, "--out", "run", "--set", "keep_targets=true")
    s2l(*command)
    run = tmp_path / "run"
    ranking = next(run.glob("ranking-random-*.parquet"))
    target = next(run.glob("targets/random-*")) / "model.safetensors"
    for file in (ranking, target, run / "environment.json", run / "excluded.jsonl"):
        before = file.read_bytes()
        file.write_bytes(before + b"x")
        told = file.parent.name if file == target else file.name
        assert f"{told} is missing or not" in s2l("verify", "run", expect=5).stderr
        said = s2l(*command).stderr
        assert f"is set aside as {told}.damaged" in said and "nothing to do" not in said
        assert file.read_bytes() == before
        assert "made again: the same" in s2l("verify", "run").stdout


def test_a_damaged_arm_is_done_again_and_no_other(tmp_path: Path, tiny: Path, s2l: Cli) -> None:
    s2l("run", tiny, "--out", "run")
    before = without_times(tmp_path / "run/table.csv")
    arm = tmp_path / "run/arm-random-20pct-epochs-0.json"
    arm.write_text("{}")
    full = (tmp_path / "run/arm-full-100pct-epochs-0.json").stat().st_mtime_ns
    said = s2l("run", tiny, "--out", "run").stderr
    assert "not what was written" in said
    assert (tmp_path / "run/arm-full-100pct-epochs-0.json").stat().st_mtime_ns == full
    assert without_times(tmp_path / "run/table.csv") == before


@pytest.mark.parametrize("name", recipes.ready_made())
def test_every_recipe_of_the_package_can_be_read_and_says_what_it_is_for(name: str) -> None:
    file = recipes.find_recipe(name)
    assert recipes.about(file).endswith(".")
    recipe = recipes.read(recipes.read_yaml(file), CompareRecipe).resolved()
    again = recipes.read(yaml.safe_load(recipes.to_yaml(recipe)), CompareRecipe)
    assert again == recipe


def test_the_recipes_of_the_paper_ask_its_test_sets() -> None:
    tasks = {"mathinstruct": ("s2l_math",), "mimic": ("radiology_impression",)}
    for name, asked in tasks.items():
        recipe = recipes.read(recipes.read_yaml(recipes.find_recipe(name)), CompareRecipe)
        assert recipe.evaluation.tasks == asked


def test_a_recipe_that_is_not_there_is_answered_with_those_there_are() -> None:
    with pytest.raises(MissingArtifact, match="no recipe at recipes/smok.yaml; did you mean smoke"):
        recipes.find_recipe("recipes/smok.yaml")
    with pytest.raises(
        MissingArtifact, match="by name there are held-out-loss, math-small, math, "
    ):
        recipes.find_recipe("elsewhere")


def test_a_file_goes_before_a_recipe_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke").write_text("data: [mine.jsonl]")
    assert recipes.find_recipe("smoke") == Path("smoke")


def test_a_target_is_trained_on_a_subset_and_is_there_once(tmp_path: Path, s2l: Cli) -> None:
    write_data(tmp_path)
    train = ["train", "scratch-0.1m", "data.jsonl", "--out", "model", "--trainer", "own"]
    quick = ["--epochs", "1", "--threads", "1"]
    shown = s2l(*train, *quick).stdout
    assert "Parameters" in shown and "Model  model" in shown
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(
        os.listdir(tmp_path / "model")
    )
    assert not (tmp_path / "runs/model/target").exists()
    assert check_facts(tmp_path / "runs/model") == {"load", "train"}
    target = yaml.safe_load((tmp_path / "runs/model/recipe.yaml").read_text())["target"]
    assert all(isinstance(target[name], int) for name in ("threads", "unit_tokens"))
    assert target["device"] != "auto" and target["precision"] != "auto"
    assert "there is nothing to do" in s2l(*train, *quick).stderr
    assert "model: as written" in s2l("verify", "runs/model").stdout
    again = s2l("train", "model", "data.jsonl", "--out", "again", "--trainer", "own", *quick)
    assert "Model  again" in again.stdout
    (tmp_path / "model/config.json").unlink()
    assert "model exists" in s2l(*train, *quick, expect=4).stderr


def test_methods_are_listed_and_shown_with_their_settings(s2l: Cli) -> None:
    shown = s2l("methods").stdout
    assert all(name in shown for name in (*SELECTORS, "full"))
    one = s2l("methods", "middle-perplexity").stdout
    assert "reference (default: late)" in one and "Source:" in one
    assert "Did you mean 'random'?" in s2l("methods", "randm", expect=2).stderr


def test_arms_are_scored_on_tasks_with_programs_in_a_jail(s2l: Cli, tiny: Path) -> None:
    folder = tiny.parent / "eval"
    folder.mkdir()
    rows = [{"question": f"What is {n} and {n}?", "answer": 2 * n} for n in range(4)]
    (folder / "svamp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluation = {"tasks": ["svamp"], "data": "eval", "max_new_tokens": 8}
    recipe = write_recipe(tiny.parent, evaluation=evaluation)
    done = s2l("run", recipe, "--out", "runs/tasks")
    assert "programs run in: " in done.stderr
    run = tiny.parent / "runs" / "tasks"
    for file in run.glob("arm-*.json"):
        arm = json.loads(file.read_text())
        assert len(arm["scores"]["svamp"]) == 4
        assert 0 < sum(arm["failed_programs"]["svamp"].values()) <= 4
    kind = next(iter(arm["failed_programs"]["svamp"]))
    assert "failed programs" in done.stdout
    assert kind in (run / "table.md").read_text()
    answers = [json.loads(line) for line in next(run.glob("answers-*.jsonl")).open()]
    assert [row["question"] for row in answers] == [row["question"] for row in rows]
    assert any(row["failed_program"] is not None for row in answers)
    assert "svamp" in (run / "table.md").read_text()
    (folder / "svamp.jsonl").write_text(json.dumps(rows[0]) + "\n")
    s2l("run", recipe, "--out", "runs/tasks", expect=4)
