"""A model put to the tasks, offline, through both entries."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from smalltolarge.assessment import evaluate, tasks_folder
from smalltolarge.errors import DataError, MissingArtifact, RecipeError
from smalltolarge.evaluation.tasks import FORMS, TASKS, find_tasks
from smalltolarge.settings import AskingSettings

from .conftest import Cli
from .lm_samples import CHATML, SMALL, model_folder

QUESTIONS: list[dict[str, Any]] = [
    {"question": "Ann has 3 pens and buys 4. How many has she?", "answer": 7},
    {"question": "A box holds 12 eggs. How many do 2 boxes hold?", "answer": "24"},
    {"question": "Half of 9 litres is how much?", "answer": 4.5},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a few thousand random weights."""
    folder = tmp_path_factory.mktemp("models") / "model"
    return model_folder(folder, LlamaConfig(**SMALL), chat=CHATML)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    folder = tmp_path / "eval"
    folder.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in QUESTIONS)
    (folder / "svamp.jsonl").write_text(lines)
    (folder / "gsm8k.2.jsonl").write_text(lines)
    pair = {"findings": "Lungs are clear. No effusion.", "impression": "No acute disease."}
    (folder / "radiology_impression.jsonl").write_text(json.dumps(pair) + "\n")
    return folder


def test_a_model_is_evaluated_and_a_finished_task_is_not_repeated(
    s2l: Cli, model: Path, questions: Path, tmp_path: Path
) -> None:
    command = [
        "evaluate", str(model), "--task", "svamp", "--task", "gsm8k", "--data", str(questions),
        "--task", "radiology_impression", "--max-new-tokens", "12", "--threads", "1",
        "--trained-on", str(questions / "rows.jsonl"), "--out", "results",
    ]  # fmt: skip
    row = {"instruction": QUESTIONS[0]["question"], "output": "7"}
    (questions / "rows.jsonl").write_text(json.dumps(row) + "\n")
    first = s2l(*command)
    assert first.returncode == 0, first.stderr
    assert "programs run in: " in first.stderr
    assert "1 of the 1 training rows overlap with svamp" in first.stderr
    written = {name: (tmp_path / "results" / name).read_bytes() for name in (
        "svamp.json", "svamp.jsonl", "gsm8k.json", "radiology_impression.json", "results.md"
    )}  # fmt: skip
    rows = [json.loads(line) for line in written["svamp.jsonl"].splitlines()]
    assert [row["question"] for row in rows] == [row["question"] for row in QUESTIONS]
    assert all(len(row["completions"]) == 2 for row in rows)
    score = json.loads(written["svamp.json"])["score"]
    assert score["questions"] == 3
    assert 0 <= score["value"] <= 1
    assert score["failed_programs"] == sum(row["failed_program"] is not None for row in rows)
    assert json.loads(written["radiology_impression.json"])["score"]["more"]["bleu_signature"]
    again = s2l(*command)
    assert again.returncode == 0, again.stderr
    assert "svamp is there already" in again.stderr
    assert all((tmp_path / "results" / name).read_bytes() == written[name] for name in written)
    other = s2l(*command, "--form", "cot", expect=4)
    assert "asking" in other.stderr


def test_the_harness_itself_runs_our_tasks(model: Path, questions: Path, tmp_path: Path) -> None:
    shown = {"question": "What is 2 times 6?", "answer": "12", "program": "print(2 * 6)"}
    (questions / "svamp.train.jsonl").write_text(json.dumps(shown) + "\n")
    metadata = {"data": str(questions), "form": "combined"}
    command = [
        sys.executable, "-m", "lm_eval", "run", "--model", "hf",
        "--model_args", f"pretrained={model},attn_implementation=eager", "--tasks", "s2l_svamp",
        "--include_path", str(tasks_folder()), "--metadata", json.dumps(metadata),
        "--apply_chat_template", "--num_fewshot", "1", "--device", "cpu",
        "--gen_kwargs", "max_gen_toks=12", "--output_path", str(tmp_path / "out"), "--log_samples",
    ]  # fmt: skip
    done = subprocess.run(
        command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(next((tmp_path / "out").rglob("results_*.json")).read_text())
    found = results["results"]["s2l_svamp"]
    assert 0 <= found["accuracy,answer"] <= 1
    assert 0 <= found["failed_programs,answer"] <= 1
    samples = next((tmp_path / "out").rglob("samples_*.jsonl")).read_text().splitlines()
    by_form = json.loads(samples[0])["arguments"]
    prompts = [by_form[name]["arg_0"] for name in sorted(by_form)]
    answers = ("Let's write a program.", "print(2 * 6)"), ("6?", "The answer is 12.")
    for (ending, answer), prompt in zip(answers, prompts, strict=True):
        assert f"{ending}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n" in prompt
        assert prompt.endswith("<|im_start|>assistant\n")


def test_answers_that_leave_no_room_for_the_prompt_are_refused_before_any_is_asked(
    model: Path, questions: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def ask(new_tokens: int) -> None:
        asking = AskingSettings(max_new_tokens=new_tokens, form="direct")
        evaluate(str(model), ["svamp"], tmp_path / "out", data=str(questions), asking=asking)

    told = (
        r"--max-new-tokens is 600, but .*model has room for 256 tokens, a prompt and its answer "
        r"together. That leaves 0 for the prompt, and those of svamp have (\d+) to (\d+). "
        r"Give (\d+) or less, and all of them fit"
    )
    with pytest.raises(RecipeError, match=told) as refused:
        ask(600)
    shortest, longest, best = map(int, re.search(told, str(refused.value)).groups())  # type: ignore[union-attr]
    assert best == 256 - longest
    with pytest.raises(RecipeError, match=f"That leaves {shortest - 1} for the prompt"):
        ask(256 - shortest + 1)
    assert not (tmp_path / "out").exists()
    ask(best + 1)
    assert (
        f"1 of 3 prompts do not fit: they count as unanswered and truncated. Give {best}"
        in caplog.text
    )
    rows = [json.loads(line) for line in (tmp_path / "out/svamp.jsonl").read_text().splitlines()]
    assert [row["completion"] == "" and row["is_cut"] for row in rows].count(True) == 1


def test_a_program_that_fails_gives_way_to_the_question_alone() -> None:
    from smalltolarge.evaluation.harness import Read, judge

    task = TASKS["svamp"]
    doc = {
        "index": 0, "task": "svamp", "question": "How many?", "reference": "12",
        "forms": list(FORMS["combined"]), "asked": ["a", "b"],
        "jail": {"seconds": 5.0, "megabytes": 512, "unconfined": False},
    }  # fmt: skip
    other = doc | {"index": 1}
    responses = [["print(1 / 0)"], ["The answer is 12."], ["print(3 * 4)"], ["The answer is 5."]]
    read = Read().apply(responses, [doc, doc, other, other])
    assert [one["found"] for one in read] == [None, "12", "12", "5"]
    assert "ZeroDivisionError" in read[0]["failure"]
    assert judge(doc, read[:2]) == {"unanswered": 0.0, "accuracy": 1.0, "failed_programs": 1.0}
    assert judge(other, read[2:])["accuracy"] == 1.0
    assert task.ask("How many?", "pot") == "How many? Let's write a program."


def test_published_columns_are_read(tmp_path: Path) -> None:
    rows = [
        {"question": "q", "answer": "so it is\n#### 1,200"},
        {"Body": "Ann has 3", "Question": "How many?", "Answer": 3.0},
        {"problem": "p", "solution": "thus $\\boxed{\\frac12}$"},
    ]
    file = tmp_path / "math.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert TASKS["math"].questions(str(tmp_path)) == [
        ("q", "1,200"), ("Ann has 3. How many?", "3.0"), ("p", "\\frac12"),
    ]  # fmt: skip


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean gsm8k"):
        find_tasks(["gsm8"])
    with pytest.raises(MissingArtifact, match="numglue.jsonl"):
        TASKS["numglue"].questions(None)
    with pytest.raises(MissingArtifact, match="found none"):
        TASKS["svamp"].questions(str(tmp_path))
    (tmp_path / "svamp.jsonl").write_text('{"question": "q"}\n')
    with pytest.raises(DataError, match="line 1: answer"):
        TASKS["svamp"].questions(str(tmp_path))
    (tmp_path / "svamp.jsonl").write_text("nonsense\n")
    with pytest.raises(DataError, match="not JSON"):
        TASKS["svamp"].questions(str(tmp_path))
