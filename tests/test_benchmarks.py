"""What measures speed on a GPU, and how answers are judged, runs here on small shapes."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from .lm_samples import SMALL, model_folder
from .processes import fresh_python, python

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPT = BENCHMARKS / "gpu.py"
PARTS = tuple(runpy.run_path(str(SCRIPT))["SHARES"])
QUICK = ("machine", "ceiling", "score")
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


@pytest.mark.parametrize(
    "part",
    [part if part in QUICK else pytest.param(part, marks=pytest.mark.heavy) for part in PARTS],
)
def test_every_part_runs_and_gives_numbers(part: str, model: str, tmp_path: Path) -> None:
    command = [str(SCRIPT.with_name("gpu_parts.py")), part, "--tiny", "--device=cpu"]
    command += [f"--model={model}", f"--out={tmp_path}", "--seconds=240", "--study=smoke"]
    done = python(command, BENCHMARKS.parent, ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    found = findings(tmp_path)
    assert {row["part"] for row in found} == {part}
    assert not [row for row in found if "FAILED" in row["what"] + row["note"]]
    assert not [row for row in found if row["reached"] is False]
    assert [row for row in found if row["value"] is not None]
    assert all(model in row["note"] for row in found if row["unit"] == "answers/s")


@pytest.mark.heavy
def test_parts_run_in_their_order_and_say_what_they_took(tmp_path: Path) -> None:
    found = measured(tmp_path, "--parts", "ceiling")
    assert [row["part"] for row in found if row["what"] == "whole part"] == ["machine", "ceiling"]
    assert not [row for row in found if "FAILED" in row["what"]]


@pytest.mark.heavy
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


@pytest.fixture(scope="module")
def answers() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module("bench_answers")


def judged(answers: Any, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bench_answers.py", "--json", *options])
        answers.main()
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_answers_are_judged_in_many_dresses(
    answers: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [
        {"problem": "Find all real roots.", "solution": r"If $x=2$, it holds. So $\boxed{-1,2}$."},
        {"problem": "What is $x$?", "solution": r"Half of 14. Thus $x=\boxed{7}$."},
        {"problem": "What is it, as $x > 1$?", "answer": r"\frac{3x^2 - 1}{2}"},
        {"problem": "Find two.", "solution": r"It is $\boxed{1}$ or $\boxed{2}$."},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = judged(answers, capsys, str(file), "--task", "math", "--no-math-verify")
    assert set(found) == {"styles", "rewritten", "misses", "outside"}
    assert all(group["ours"]["cases"] > 10 for group in found.values())
    assert len(answers.STYLES) >= 26
    assert len(answers.REWRITES) >= 20
    assert len(answers.MISSES) + len(answers.SLIPS) >= 34
    assert len(found["styles"]["ours"]["dresses"]) >= 40


def test_math_verify_judges_the_same_cases(
    answers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("math_verify")
    found = judged(answers, capsys, "--rows", "1", "--groups", "rewritten")["rewritten"]
    assert found["ours"]["cases"] == found["math-verify"]["cases"] > 0


def test_programs_are_judged_by_what_they_print(
    answers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    found = judged(answers, capsys, "--rows", "1", "--groups", "programs")["programs"]["ours"]
    assert found["cases"] == len(answers.PROGRAMS)
    assert found["dresses"]["fence"] == [1, 1]


@pytest.mark.parametrize(
    ("gold", "equal", "unequal"),
    [
        (r"\frac{3}{4}", ["3/4", "0.75", r"{3 \over 4}"], ["4/3", "4/4", "3/5", "1/4", "3/1"]),
        ("1,\\!234", ["1234", "1,234", "1{,}234", "1234.0"], ["1235", "617", "1243", "1 2 3 4"]),
        ("(1,-2)", [r"\left(1,-2\right)"], ["(-2, 1)", "(1, -2, -2)", "(-1, -2)"]),
        ("x^2-1", ["- 1 + x^2", "x**2 - 1"], ["x^{3}-1", "x-1", "x^2 + 1", "x^2"]),
        (r"90^\circ", ["90", "90°"], ["91^\\circ", "900^\\circ"]),
        (r"\text{even}", ["even"], [r"\text{odd}"]),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", ["[[1], [2]]"],
         [r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}", r"\begin{pmatrix} 1 \end{pmatrix}"]),
        (r"(-\infty,2]", [r"x \le 2"], [r"(-\infty, 2)", r"(-\infty, 3]", r"(-\infty, \infty)"]),
    ],
)  # fmt: skip
def test_forms_of_an_answer_are_equal_and_misses_are_not(
    answers: Any, gold: str, equal: list[str], unequal: list[str]
) -> None:
    row = answers.Row("What is $x$?", gold, "latex", "")
    forms = {*answers.written(answers.REWRITES, row).values()}
    misses = {*answers.written(answers.MISSES, row).values()}
    assert {*equal} <= forms
    assert not forms & misses
    assert {*unequal} <= misses


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_hostile_completion_raises_or_takes_long(answers: Any, data: st.DataObject) -> None:
    hostile = answers.hostile
    kind = data.draw(st.sampled_from(sorted(hostile.HOSTILE)))
    text = hostile.HOSTILE[kind](Random(data.draw(st.integers(0, 2**32))))
    # far above the goal, which is measured: what grows out of bounds takes minutes
    assert hostile.slowest_judgement(text[:50_000]) < 10 * hostile.GOAL


@pytest.mark.heavy
def test_what_many_rows_cost_is_measured_for_every_command(tmp_path: Path) -> None:
    command = [str(BENCHMARKS / "bench_rows.py"), "--rows", "300", "--folder", str(tmp_path)]
    done = fresh_python(command, tmp_path, ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[1:]
    assert [line.split()[4] for line in lines] == ["load", "random", "given", "verify"]
    assert not [*tmp_path.iterdir()]
